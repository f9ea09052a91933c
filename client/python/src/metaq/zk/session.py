"""The connection to ZooKeeper, and its clock."""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Callable, NamedTuple, Optional

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import BadVersionError, KazooException, NodeExistsError, NoNodeError, RolledBackError, RuntimeInconsistency
from kazoo.handlers.threading import KazooTimeoutError, SequentialThreadingHandler
from kazoo.retry import KazooRetry

from metaq.errors import ClosedError, ConnectionLostError
from metaq.zk.greeting import GreetedSocket

log = logging.getLogger("metaq.zk")

SESSION_TIMEOUT = 10.0
"""is asked for, in seconds; ZooKeeper grants 2 to 20 of its ticks."""

_BEATS = 10
"""is how often in a time-out the server is asked whether it is there."""

_LONGEST_PAUSE = 1.0
"""between two attempts to connect, in seconds."""


_AT_ONCE = 500
"""is how many requests of one job are under way at a time."""


class State(enum.Enum):
    """That of a Session."""

    SUSPENDED = "suspended"  # there is no connection just now. The ephemeral nodes are there yet
    CONNECTED = "connected"  # a server answers
    LOST = "lost"  # no server has answered for two thirds of the time-out. What the ephemeral nodes stood for may be somebody else's
    CLOSED = "closed"  # it never becomes anything else


class ZooKeeperError(ConnectionLostError):
    """ZooKeeper does not answer, or not as it should. What was to be written may have been written."""


class Node(NamedTuple):
    """What is in a node."""

    data: bytes
    children: frozenset[str]  # if they were asked for
    version: int  # of the data
    owner: int  # session of an ephemeral node; 0: a persistent one


class Look(NamedTuple):
    """A question for a node: for its data, or for the names below it. `changed` is called once when the answer may be another one."""

    path: str
    children: bool = False
    changed: Optional[Callable[[], None]] = None


class Change(NamedTuple):
    """New data of a node that has a version."""

    path: str
    data: bytes
    version: int


class _Standing(NamedTuple):
    """Which session it is, and until when what was registered in it stands for sure. They change together."""

    id: int
    until: float


class Session:
    """A connection to ZooKeeper that is opened again for as long as it is wanted. It may be used from several threads."""

    def __init__(self, servers: str, timeout: float = SESSION_TIMEOUT) -> None:
        self._servers = servers  # host:port,host:port. The library's own chroot does not make the nodes above itself
        self._asked = self.timeout = timeout
        self._listeners: list[Callable[[], None]] = []
        self._quit = threading.Event()
        self._nudge = threading.Event()
        self._state_changed = threading.Condition()
        self._state = State.SUSPENDED
        self._standing = _Standing(0, 0.0)
        self._heard = time.monotonic()  # ZooKeeper has heard of this session at this time, or later
        self._beating: Optional[Any]  # the question that is under way
        self._open()
        self._clock = threading.Thread(target=self._watch_clock, name="metaq-zk-clock", daemon=True)
        self._clock.start()

    def _open(self) -> None:
        """Makes a connection of the library, and does not wait for it."""
        handler = SequentialThreadingHandler()
        connect = handler.create_connection
        handler.create_connection = lambda *args, **kwargs: GreetedSocket(connect(*args, **kwargs), self._grant)
        client = KazooClient(
            hosts=self._servers,
            timeout=self._asked,
            handler=handler,
            connection_retry=KazooRetry(max_tries=-1, delay=0.1, max_delay=_LONGEST_PAUSE, sleep_func=handler.sleep_func),
            logger=logging.getLogger("metaq.zk.kazoo"),
        )
        client.add_listener(lambda state: self._happened(client, state))
        self._client, self._opened, self._beating = client, time.monotonic(), None
        client.start_async()

    def _grant(self, timeout: float) -> None:
        if timeout not in (self.timeout, self._asked):
            log.warning("the server grants a time-out of %g s, %g s were asked for", timeout, self._asked)
        self.timeout = timeout

    # How it stands.

    @property
    def state(self) -> State:
        """How it is now."""
        return self._state

    @property
    def id(self) -> int:
        """Of ZooKeeper's session, 0 before the first. Ephemeral nodes of another one are not there, or will not be for long."""
        return self._standing.id

    @property
    def client(self) -> object:
        """Another one when the library had to begin anew: what watched the last one says nothing any more."""
        return self._client

    def holds(self, session: int) -> bool:
        """Whether what was registered in a session still stands for sure.

        That is so if it is the session now, and was heard of within two thirds of its time-out. It looks at the clock itself, so it is right also in
        a process that was stopped for a while.
        """
        standing = self._standing
        return standing.id == session and time.monotonic() < standing.until

    def listen(self, changed: Callable[[], None]) -> None:
        """Calls a function after each change of the state. It must not block."""
        self._listeners.append(changed)

    def await_connected(self, timeout: float) -> None:
        """Waits until a server answers; ZooKeeperError if none does in time."""
        with self._state_changed:
            self._state_changed.wait_for(lambda: self._state in (State.CONNECTED, State.CLOSED), timeout)
        self._check_connected()

    def _check_connected(self) -> None:
        if self._state is State.CLOSED:
            raise ClosedError("the session with ZooKeeper is closed")
        if self._state is not State.CONNECTED:
            raise ZooKeeperError(f"no answer from ZooKeeper at {self._servers}")

    def _become(self, state: State) -> None:
        with self._state_changed:
            if self._state in (state, State.CLOSED):
                return
            before, self._state = self._state, state
            self._state_changed.notify_all()
        if state is State.LOST or state is State.SUSPENDED:
            log.warning("session %#x is %s", self.id, state.value)
        else:
            log.info("session %#x is %s, it was %s", self.id, state.value, before.value)
        for changed in self._listeners:
            changed()

    def _happened(self, client: KazooClient, state: str) -> None:
        """Takes what the library says, which waits for it."""
        if client is not self._client:
            return
        if state == KazooState.CONNECTED:
            self._nudge.set()  # it counts as connected when it has answered
        elif state == KazooState.SUSPENDED and self._state is State.CONNECTED:
            self._become(State.SUSPENDED)
        elif state == KazooState.LOST:
            self._standing = _Standing(self.id, 0.0)
            self._become(State.LOST)

    # The clock.

    def _watch_clock(self) -> None:
        """Asks the server now and then, and declares the session lost.

        ZooKeeper ends a session when it has not heard of it for the time-out, and it has heard of it after a question was asked that it has answered.
        The library tells neither when it heard something last nor that a connection is gone for long.
        """
        while not self._quit.is_set():
            self._nudge.clear()
            self._beat()
            if time.monotonic() >= self._heard + self._safe:
                if self._state is State.CONNECTED or (self._state is State.SUSPENDED and self.id):
                    log.warning("no answer for two thirds of the time-out of %g s, so the session counts as lost", self.timeout)
                    self._become(State.LOST)
                self._renew()
            self._nudge.wait(min(self.timeout / _BEATS, max(self._heard + self._safe - time.monotonic(), 0.05)))

    @property
    def _safe(self) -> float:
        return self.timeout * 2 / 3

    def _beat(self) -> None:
        client = self._client
        if not client.connected or (self._beating is not None and not self._beating.ready()):
            return  # another question would keep the library from seeing that nobody answers
        session, asked = (client.client_id or (0,))[0], time.monotonic()
        self._beating = answer = client.exists_async("/")
        answer.rawlink(lambda result: self._answered(client, session, asked, result))

    def _answered(self, client: KazooClient, session: int, asked: float, result: Any) -> None:
        if not result.successful() or client is not self._client or (client.client_id or (0,))[0] != session:
            return  # not even connected any more
        self._heard = asked
        self._standing = _Standing(session, asked + self._safe)
        if time.monotonic() < asked + self._safe:
            self._become(State.CONNECTED)

    def _renew(self) -> None:
        """Begins with a new connection of the library when a session is over and the library still tries to have it back.

        A server that knows less than the library has seen, because it was set up anew, sends it away each time without a word.
        """
        if self._state is not State.LOST or time.monotonic() < max(self._heard, self._opened) + self.timeout:
            return
        old = self._client
        self._open()
        threading.Thread(target=_end, args=(old,), name="metaq-zk-end", daemon=True).start()

    def close(self) -> None:
        """Ends the session: ZooKeeper removes its ephemeral nodes at once, if it can be reached."""
        self._become(State.CLOSED)
        self._standing = _Standing(self.id, 0.0)
        self._quit.set()
        self._nudge.set()
        self._clock.join()
        ending = threading.Thread(target=_end, args=(self._client,), name="metaq-zk-end", daemon=True)
        ending.start()
        ending.join(self.timeout)  # a server that says nothing is not waited for any longer; the session ends by itself

    # Requests. Those that are under way together are answered within a third of the time-out, or it is an error.

    def look(self, questions: Sequence[Look]) -> list[Optional[Node]]:
        """Asks several questions at once. A node that is not there is None, and `changed` is called when it comes."""
        answers: list[Optional[Node]] = []
        for question, answer in zip(questions, self._all([partial(_ask, question) for question in questions])):
            answers.append(None if isinstance(answer, NoNodeError) else _node(question, answer))
        absent = [i for i, question in enumerate(questions) if answers[i] is None and question.changed is not None]
        there = self._all([partial(_ask_existence, questions[i]) for i in absent])
        for i, stat in zip(absent, there):
            changed = questions[i].changed
            if stat is not None and changed is not None:
                changed()  # it was made just now
        return answers

    def create(self, nodes: Iterable[tuple[str, bytes]], *, ephemeral: bool) -> list[bool]:
        """Makes nodes, and as persistent ones those above them that are missing; False for each that was there already."""
        requests = {path: partial(_create, path, data, ephemeral) for path, data in nodes}
        answers = dict(zip(requests, self._all(list(requests.values()))))
        early = [path for path, answer in answers.items() if isinstance(answer, NoNodeError)]
        self._all([partial(_ensure, above) for above in {path.rpartition("/")[0] for path in early}])
        answers.update(zip(early, self._all([requests[path] for path in early])))
        if any(isinstance(answer, NoNodeError) for answer in answers.values()):
            raise ZooKeeperError("somebody removes nodes above those that are to be made")
        return [not isinstance(answer, NodeExistsError) for answer in answers.values()]

    def delete(self, nodes: Iterable[tuple[str, int]]) -> None:
        """Removes nodes that have these versions, if they are there yet. One with another version stays."""
        self._all([partial(_delete, path, version) for path, version in nodes])

    def change(self, changes: Sequence[Change]) -> bool:
        """Changes nodes at once, all of them or none, which is False: one of them has another version, or is not there."""
        failed = [result for result in self._all([partial(_change, changes)])[0] if isinstance(result, Exception)]
        for result in failed:
            if not isinstance(result, _NOT_AS_EXPECTED):
                raise ZooKeeperError(f"ZooKeeper refuses a change: {result!r}")
        return not failed

    def _all(self, requests: Sequence[Callable[[KazooClient], Any]]) -> list[Any]:
        """Sends requests side by side and waits for all answers. That a node is there, is not there or has another version is an answer."""
        self._check_connected()
        client, answers = self._client, []
        try:
            for i in range(0, len(requests), _AT_ONCE):
                until = time.monotonic() + self.timeout / 3
                for result in [request(client) for request in requests[i : i + _AT_ONCE]]:
                    try:
                        answers.append(result.get(timeout=max(until - time.monotonic(), 0)))
                    except (NoNodeError, NodeExistsError, BadVersionError) as answer:
                        answers.append(answer)
        except (KazooException, KazooTimeoutError, OSError) as e:
            if self._state is State.CLOSED:
                raise ClosedError("the session with ZooKeeper is closed") from e
            raise ZooKeeperError(f"ZooKeeper at {self._servers}: {e!r}; it is not known what has happened") from e
        return answers


_NOT_AS_EXPECTED = (NoNodeError, BadVersionError, RolledBackError, RuntimeInconsistency)
"""are the results of a transaction that did not happen, of which one was not as expected and the others went with it."""


def _calls(changed: Optional[Callable[[], None]]) -> Optional[Callable[[object], None]]:
    """What the library calls with an event."""
    return None if changed is None else lambda event: changed()


def _ask(question: Look, client: KazooClient) -> Any:
    if question.children:
        return client.get_children_async(question.path, watch=_calls(question.changed), include_data=True)
    return client.get_async(question.path, watch=_calls(question.changed))


def _ask_existence(question: Look, client: KazooClient) -> Any:
    return client.exists_async(question.path, watch=_calls(question.changed))


def _create(path: str, data: bytes, ephemeral: bool, client: KazooClient) -> Any:
    return client.create_async(path, data, ephemeral=ephemeral)


def _ensure(path: str, client: KazooClient) -> Any:
    return client.ensure_path_async(path)


def _delete(path: str, version: int, client: KazooClient) -> Any:
    return client.delete_async(path, version)


def _change(changes: Sequence[Change], client: KazooClient) -> Any:
    transaction = client.transaction()
    for change in changes:
        transaction.set_data(change.path, change.data, change.version)
    return transaction.commit_async()


def _node(question: Look, answer: Any) -> Node:
    value, stat = answer
    data, children = (b"", frozenset(value)) if question.children else (value, frozenset())
    return Node(data, children, stat.version, stat.ephemeralOwner)


def _end(client: KazooClient) -> None:
    try:
        client.stop()
        client.close()
    except (KazooException, OSError) as e:
        log.debug("a connection to ZooKeeper does not end as it should: %r", e)
