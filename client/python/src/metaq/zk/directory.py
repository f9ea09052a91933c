"""Who has which topic, as it changes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Callable, NamedTuple, Optional

from metaq.cluster import Offer, Tell
from metaq.errors import MetaQError
from metaq.zk.data import Replica, parse_address, parse_replica, parse_topic_node
from metaq.zk.layout import Layout
from metaq.zk.lookout import Lookout
from metaq.zk.session import Session, State

log = logging.getLogger("metaq.zk")

_AGAIN = 0.5
"""is the pause before something is asked again that ZooKeeper did not answer, in seconds."""


class Use(NamedTuple):
    """What a broker offers a topic for."""

    topic: Callable[[Layout, str], str]
    of: Callable[[Layout, str, Replica], str]
    by_slaves: bool  # slaves count


PUBLISH = Use(Layout.publishers, Layout.publisher, by_slaves=False)
SUBSCRIBE = Use(Layout.subscribers, Layout.subscriber, by_slaves=True)


class Followed:
    """Somebody who is told of a topic."""

    def __init__(self, directory: Directory, use: Use, topic: str, tell: Tell) -> None:
        self.directory = directory
        self.use = use
        self.topic = topic
        self.tell = tell
        self.told: Optional[list[Offer]] = None  # what was told last

    def close(self) -> None:
        """Ends it."""
        self.directory.forget(self)


class Directory:
    """Tells where topics are, from a thread of its own."""

    def __init__(self, session: Session, layout: Layout) -> None:
        self._session = session
        self._layout = layout
        self._wake = threading.Event()
        self._lookout = Lookout(session, self._wake.set)
        self._lock = threading.Lock()
        self._followed: list[Followed] = []
        self._closing = False
        self._thread: Optional[threading.Thread] = None
        session.listen(self._wake.set)

    def follow(self, use: Use, topic: str, tell: Tell) -> Followed:
        """Begins to tell who has a topic: sorted by broker, masters before slaves. Nothing is told as long as ZooKeeper has not said anything."""
        followed = Followed(self, use, topic, tell)
        with self._lock:
            self._followed.append(followed)
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="metaq-zk-directory", daemon=True)
                self._thread.start()
        self._wake.set()
        return followed

    def forget(self, followed: Followed) -> None:
        """Tells somebody no longer."""
        with self._lock:
            if followed in self._followed:
                self._followed.remove(followed)
        self._wake.set()

    def close(self) -> None:
        """Ends it."""
        with self._lock:
            self._closing, thread = True, self._thread
        self._wake.set()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while not self._closing:
            self._wake.clear()
            pause = None
            with self._lock:
                everybody = list(self._followed)
            try:
                if self._session.state is State.CONNECTED:
                    self._look({(f.use, f.topic) for f in everybody})
                self._tell(everybody)
            except MetaQError as e:
                log.info("who has which topic is asked again: %s", e)
                pause = _AGAIN
            except Exception:  # nobody else would be told
                log.exception("who has which topic")
                pause = _AGAIN
            self._wake.wait(pause)

    def _tell(self, everybody: Iterable[Followed]) -> None:
        """Tells those for whom something has changed."""
        for f in everybody:
            offers = self._offers(f.use, f.topic)
            if offers is not None and offers != f.told:
                f.told = offers
                f.tell(offers)

    def _look(self, topics: Iterable[tuple[Use, str]]) -> None:
        """Looks at topics and at the replicas that have them, and at nothing else any more."""
        wanted = {self._lookout.children(use.topic(self._layout, topic)) for use, topic in topics}
        self._lookout.refresh()
        for use, topic in topics:
            for replica in self._replicas(use, topic):
                wanted.add(self._lookout.data(use.of(self._layout, topic, replica)))
                wanted.add(self._lookout.data(self._layout.replica(replica)))
        self._lookout.refresh()
        self._lookout.keep(wanted)

    def _replicas(self, use: Use, topic: str) -> list[Replica]:
        listed = self._lookout.children(use.topic(self._layout, topic)).node
        replicas = (parse_replica(name) for name in (listed.children if listed else ()))
        return sorted(r for r in replicas if r is not None and (r.is_master or use.by_slaves))

    def _offers(self, use: Use, topic: str) -> Optional[list[Offer]]:
        """Who has a topic, as far as it was seen; None if that is not known yet."""
        if not self._lookout.children(use.topic(self._layout, topic)).known:
            return None
        offers = []
        for replica in self._replicas(use, topic):
            node, at = self._lookout.data(use.of(self._layout, topic, replica)), self._lookout.data(self._layout.replica(replica))
            if not node.known or not at.known:
                return None
            says = parse_topic_node(node.node.data) if node.node else None
            address = parse_address(at.node.data) if at.node else None
            if says and address:  # otherwise it goes just now, or does not know its address yet
                offers.append(Offer(replica.broker, None if replica.is_master else replica.slave, address, says.partitions))
        return offers
