"""Questions to one broker, for asyncio."""

from __future__ import annotations

from datetime import datetime
from types import TracebackType
from typing import Optional

from metaq.core.asking import Asking
from metaq.model import Message, Receipt
from metaq.protocol import Lag, Route, TopicInfo


class Connection:
    """A connection to one broker, for what producers and consumers do not do: statistics, topics, single puts and gets. It is made at the first question and
    made anew when it broke.

        async with Connection("127.0.0.1:8123") as broker:
            print(await broker.stats())

    timeout   seconds within which an answer has to come
    """

    def __init__(self, address: str, *, timeout: float = 10.0) -> None:
        self._asking = Asking(address, timeout)

    async def version(self) -> str:
        """The version of the broker."""
        return await self._asking.version()

    async def stats(self, item: str = "") -> str:
        """The statistics as text, of the broker or of an item: `stats("help")` tells which there are."""
        return await self._asking.stats(item)

    async def topics(self) -> list[TopicInfo]:
        """The topics of the broker."""
        return await self._asking.topics()

    async def route(self, topic: str) -> list[Route]:
        """Where the partitions of a topic are, in a cluster those of all brokers. Empty if nobody has made the topic."""
        return await self._asking.route(topic)

    async def lag(self, topic: str, partition: int, offset: int) -> Lag:
        """What lies between an offset and the end of a partition."""
        return await self._asking.lag(topic, partition, offset)

    async def seek(self, topic: str, partition: int, at: datetime) -> int:
        """The offset of the first message stored at a time or later, the end if there is none."""
        return await self._asking.seek(topic, partition, at)

    async def end(self, topic: str, partition: int) -> int:
        """Where the next message of a partition will begin."""
        return await self._asking.end(topic, partition)

    async def committed(self, topic: str, group: str, partition: int) -> Optional[int]:
        """Where a group goes on that keeps its offsets on the broker; None if it never committed."""
        return await self._asking.committed(topic, group, partition)

    async def commit(self, topic: str, group: str, partition: int, offset: int) -> None:
        """Sets where such a group goes on."""
        await self._asking.commit(topic, group, partition, offset)

    async def put(self, topic: str, body: bytes, *, partition: int = -1, attribute: str = "") -> Receipt:
        """Stores one message, once: nothing is tried again. With partition -1 the broker chooses one."""
        return await self._asking.put(topic, body, partition, attribute)

    async def get(self, topic: str, partition: int, offset: int, *, max_size: int = 1 << 20, wait: float = 0.0) -> list[Message]:
        """The whole messages from an offset on, as many as fit; none if there is nothing within the wait. MovedError tells where to go on if no message
        begins there."""
        return await self._asking.get(topic, partition, offset, max_size, wait)

    async def close(self) -> None:
        """Ends it."""
        await self._asking.close()

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        await self.close()
