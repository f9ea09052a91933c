"""Questions to one broker, blocking."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime
from types import TracebackType
from typing import Any, Optional, TypeVar

from metaq.core.asking import Asking
from metaq.core.thread import LoopThread, made
from metaq.model import Message, Receipt
from metaq.protocol import Lag, Route, TopicInfo

T = TypeVar("T")


class Connection:
    """A connection to one broker, for what producers and consumers do not do: statistics, topics, single puts and gets. It is made at the first question and
    made anew when it broke.

        with Connection("127.0.0.1:8123") as broker:
            print(broker.stats())

    timeout   seconds within which an answer has to come
    """

    def __init__(self, address: str, *, timeout: float = 10.0) -> None:
        self._thread = LoopThread("metaq-connection")
        try:
            self._asking = self._thread.call(made(lambda: Asking(address, timeout)))
        except BaseException:
            self._thread.stop()
            raise

    def _ask(self, question: Coroutine[Any, Any, T]) -> T:
        return self._thread.call(question)

    def version(self) -> str:
        """The version of the broker."""
        return self._ask(self._asking.version())

    def stats(self, item: str = "") -> str:
        """The statistics as text, of the broker or of an item: `stats("help")` tells which there are."""
        return self._ask(self._asking.stats(item))

    def topics(self) -> list[TopicInfo]:
        """The topics of the broker."""
        return self._ask(self._asking.topics())

    def route(self, topic: str) -> list[Route]:
        """Where the partitions of a topic are, in a cluster those of all brokers. Empty if nobody has made the topic."""
        return self._ask(self._asking.route(topic))

    def lag(self, topic: str, partition: int, offset: int) -> Lag:
        """What lies between an offset and the end of a partition."""
        return self._ask(self._asking.lag(topic, partition, offset))

    def seek(self, topic: str, partition: int, at: datetime) -> int:
        """The offset of the first message stored at a time or later, the end if there is none."""
        return self._ask(self._asking.seek(topic, partition, at))

    def end(self, topic: str, partition: int) -> int:
        """Where the next message of a partition will begin."""
        return self._ask(self._asking.end(topic, partition))

    def committed(self, topic: str, group: str, partition: int) -> Optional[int]:
        """Where a group goes on that keeps its offsets on the broker; None if it never committed."""
        return self._ask(self._asking.committed(topic, group, partition))

    def commit(self, topic: str, group: str, partition: int, offset: int) -> None:
        """Sets where such a group goes on."""
        self._ask(self._asking.commit(topic, group, partition, offset))

    def put(self, topic: str, body: bytes, *, partition: int = -1, attribute: str = "") -> Receipt:
        """Stores one message, once: nothing is tried again. With partition -1 the broker chooses one."""
        return self._ask(self._asking.put(topic, body, partition, attribute))

    def get(self, topic: str, partition: int, offset: int, *, max_size: int = 1 << 20, wait: float = 0.0) -> list[Message]:
        """The whole messages from an offset on, as many as fit; none if there is nothing within the wait. MovedError tells where to go on if no message
        begins there."""
        return self._ask(self._asking.get(topic, partition, offset, max_size, wait))

    def close(self) -> None:
        """Ends it."""
        if not self._thread.ending:
            self._thread.end(self._asking.close())

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.close()
