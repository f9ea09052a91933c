"""Members of groups."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial

from metaq.cluster import Claim, Holder, Offer
from metaq.errors import MetaQError, TimedOutError
from metaq.model import TopicPartition
from metaq.zk.assign import Assignment
from metaq.zk.data import join_topics, member_id, split_topics
from metaq.zk.directory import SUBSCRIBE, Directory
from metaq.zk.group import wanted_by
from metaq.zk.layout import Layout
from metaq.zk.lookout import Lookout
from metaq.zk.session import Look, Session, State, ZooKeeperError

log = logging.getLogger("metaq.zk")

_FALLBACK = 30.0
"""is how long nothing has to happen until a member looks anyway, in seconds."""

_FIRST_PAUSE, _CLAIM_PAUSE = 0.05, 0.5
"""Pauses before a partition is tried again that another member has not given up yet: the first and the longest one, in seconds."""

_SESSIONS_KEPT = 64
"""of those that are over: what was registered in older ones has gone long ago."""


class NotYetError(Exception):
    """The member has not all that it should have, and looks again soon."""


class MemberClaim:
    """A partition that a member has got in a session."""

    def __init__(self, place: TopicPartition, session: Session) -> None:
        self.place = place
        self.began = time.monotonic()
        self.session_id = session.id
        self._session = session

    def valid(self) -> bool:
        """Whether it is the member's for sure."""
        return self._session.holds(self.session_id)


class Member:
    """A consumer of a group while it is there, on a thread of its own, which calls the holder.

    It shares the partitions of its topics with the other members, also those written in Java and Go: each computes what it should have, gives up what
    it should not, and takes what is free. Partitions that stay its own are not interrupted.
    """

    def __init__(
        self,
        session: Session,
        layout: Layout,
        directory: Directory,
        group: str,
        consumer: str,
        topics: Iterable[str],
        assign: Assignment,
        holder: Holder,
    ) -> None:
        self._session = session
        self._layout = layout
        self._group = group
        self._id = member_id(group, consumer)
        self._topics = sorted(set(topics))
        self._assign = assign
        self._holder = holder
        self._wake = threading.Event()
        self._lookout = Lookout(session, self._wake.set)
        self._offers: dict[str, Sequence[Offer]] = {}
        self._claims: dict[TopicPartition, MemberClaim] = {}
        self._leaving: set[TopicPartition] = set()  # given up, or perhaps claimed; the owner node may be there yet
        self._sessions: deque[int] = deque(maxlen=_SESSIONS_KEPT)  # that the member has had
        self._first_session = 0  # in which the first partitions were got; 0 before
        self._quit = threading.Event()
        self._following = [directory.follow(SUBSCRIBE, topic, partial(self._told, topic)) for topic in self._topics]
        session.listen(self._wake.set)
        self._thread = threading.Thread(target=self._run, name="metaq-zk-member", daemon=True)
        self._thread.start()

    def _told(self, topic: str, offers: Sequence[Offer]) -> None:
        self._offers[topic] = offers
        self._wake.set()

    def offset_may_come(self, claim: Claim) -> bool:
        """Whether another member may still put back the offset of a partition, which was lost with everything in ZooKeeper."""
        own = self._claims.get(claim.place)
        return own is not None and own.session_id != self._first_session and time.monotonic() < own.began + self._session.timeout

    def leave(self, timeout: float) -> None:
        """Gives everything up and leaves the group. What cannot be removed in time goes with the session."""
        until = time.monotonic() + min(timeout, self._session.timeout)
        self._quit.set()
        self._wake.set()
        for followed in self._following:
            followed.close()
        self._thread.join(max(until - time.monotonic(), 0))
        if self._thread.is_alive():
            raise TimedOutError(f"the group {self._group} is not left within {timeout:g} s; the partitions go to others when the session ends")
        self._release(list(self._claims.values()))
        try:
            self._remove_owners()
            (own,) = self._session.look([Look(self._node)])
            if own is not None and own.owner in self._sessions:
                self._session.delete([(self._node, own.version)])
        except ZooKeeperError as e:
            log.info("group %s: others have the partitions when the session ends: %s", self._group, e)

    @property
    def _node(self) -> str:
        return self._layout.member(self._group, self._id)

    def _owner(self, place: TopicPartition) -> str:
        return self._layout.owner(self._group, place.topic, place.partition)

    def _run(self) -> None:
        pause, reason = _FIRST_PAUSE, ""
        while not self._quit.is_set() and self._session.state is not State.CLOSED:
            self._wake.clear()
            wait = _FALLBACK
            try:
                self._drop_invalid()
                if self._session.state is State.CONNECTED:
                    self._rebalance()
                    pause, reason = _FIRST_PAUSE, ""
            except (NotYetError, MetaQError) as e:
                if str(e) != reason:
                    reason = str(e)
                    log.info("group %s: partitions are not as they should be yet: %s", self._group, reason)
                wait, pause = pause, min(2 * pause, _CLAIM_PAUSE)
            except Exception:  # it must not end and keep what it has
                log.exception("group %s", self._group)
                wait = _CLAIM_PAUSE
            self._wake.wait(wait)

    def _drop_invalid(self) -> None:
        """Gives up what was claimed in a session that is over."""
        over = [claim for claim in self._claims.values() if not claim.valid()]
        if over:
            log.warning("group %s: the session is over, and with it %d partitions that were claimed in it", self._group, len(over))
            self._release(over)

    def _release(self, claims: Sequence[MemberClaim]) -> None:
        """Gives up claims. Their owner nodes are removed later."""
        if claims:
            self._holder.release(claims)
        for claim in claims:
            del self._claims[claim.place]
            self._leaving.add(claim.place)

    def _rebalance(self) -> None:
        """Gives up and takes until the member has what it should have; NotYetError says what is missing."""
        session = self._session.id
        if session not in self._sessions:
            self._sessions.append(session)
        members = self._members(session)
        unknown = [topic for topic in self._topics if topic not in self._offers]
        if unknown:
            raise NotYetError("it is not known yet who has " + ", ".join(unknown))
        wanted = wanted_by(self._id, self._topics, members, dict(self._offers), self._assign)
        self._release([claim for place, claim in self._claims.items() if place not in wanted])
        self._remove_owners()
        self._claim(session, sorted(wanted - self._claims.keys()))

    def _members(self, session: int) -> dict[str, Sequence[str]]:
        """Who is in the group, and which topics each wants. The member itself has to be among them."""
        listed, own = self._lookout.children(self._layout.members(self._group)), self._lookout.data(self._node)
        self._lookout.refresh()
        followed = {own}
        if listed.node is not None:
            followed |= {self._lookout.data(self._layout.member(self._group, name)) for name in listed.node.children}
        self._lookout.refresh()
        self._lookout.keep({listed} | followed)
        if own.node is None or own.node.owner != session:
            self._register(own.node.owner if own.node else 0)
        names = listed.node.children if listed.node else frozenset()
        if self._id not in names:
            raise NotYetError("this consumer is not registered in the group yet")
        there = {name: self._lookout.data(self._layout.member(self._group, name)).node for name in names}
        return {name: split_topics(node.data) for name, node in there.items() if node is not None}  # who leaves just now wants nothing

    def _register(self, owner: int) -> None:
        """Makes the member's node. One that an earlier session has left is removed before."""
        if owner in self._sessions:
            self._session.delete([(self._node, -1)])
        if not all(self._session.create([(self._node, join_topics(self._topics))], ephemeral=True)):
            raise NotYetError(f"another consumer is registered as {self._id}, or an earlier one is until its session ends")
        raise NotYetError("this consumer is not registered in the group yet")

    def _remove_owners(self) -> None:
        """Lets others have the partitions that were given up."""
        places = list(self._leaving)
        nodes = self._session.look([Look(self._owner(place)) for place in places])
        self._session.delete([(self._owner(p), node.version) for p, node in zip(places, nodes) if node is not None and node.owner in self._sessions])
        self._leaving.difference_update(places)

    def _claim(self, session: int, places: Sequence[TopicPartition]) -> None:
        """Takes partitions that nobody has. NotYetError tells of one that somebody has yet."""
        if not places:
            return
        questions = [Look(self._owner(place)) for place in places]
        free = [place for place, node in zip(places, self._session.look(questions)) if node is None]
        self._leaving.update(places)  # what is made and then not known of is given up like what was claimed
        self._session.create([(self._owner(place), self._id.encode()) for place in free], ephemeral=True)
        nodes = self._session.look(questions)  # the session may have changed before one was made, then it is not the member's
        got = [place for place, node in zip(places, nodes) if node is not None and node.owner == session]
        self._leaving.difference_update(got)
        claims = [MemberClaim(place, self._session) for place in got]
        if any(claim.session_id != session for claim in claims):
            self._leaving.update(got)
            raise NotYetError("the session is another one")
        self._claims.update((claim.place, claim) for claim in claims)
        if claims:
            self._first_session = self._first_session or session
            log.info("group %s: %d partitions taken, %d in all", self._group, len(claims), len(self._claims))
            self._holder.acquire(claims)
        for place, node in zip(places, nodes):
            if place not in self._claims:
                raise NotYetError(f"{place} is {node.data.decode(errors='replace') if node else 'nobody'}'s yet")


_count = itertools.count(1)


def new_consumer_id() -> str:
    """An id that no other consumer has, made as the original does: address, process, time in milliseconds and a count."""
    return f"{_own_address()}-{os.getpid()}-{time.time_ns() // 1_000_000}-{next(_count)}"


def _own_address() -> str:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(("192.0.2.1", 9))  # sends nothing: it only says which address would be used
            return str(s.getsockname()[0])
    except OSError:
        return "127.0.0.1"
