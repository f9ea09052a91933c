"""Single questions to one broker."""

from __future__ import annotations

from datetime import datetime
from typing import Callable, Optional

from metaq import protocol
from metaq.core import reader
from metaq.core.connection import split_address
from metaq.core.sending import data_of
from metaq.core.ways import Ways
from metaq.errors import NotFoundError, UsageError
from metaq.model import MAX_OFFSET, Message, Partition, Receipt, TopicPartition
from metaq.protocol import FLAG_ATTRIBUTE, MAX_ANSWER, Lag, Route, TopicInfo, check_group, check_topic

_GROUP = "-"  # of a get that belongs to nobody


class Asking:
    """What the Connections of both faces are, on the loop."""

    def __init__(self, address: str, timeout: float) -> None:
        split_address(address)
        if not timeout > 0:
            raise UsageError(f"a timeout of {timeout} s: it must be more than 0")
        self._address, self._timeout = address, timeout
        self._ways = Ways()

    async def _ask(self, encode: Callable[[int], bytes], more: float = 0.0) -> bytes:
        connection = await self._ways.to(self._address)
        return await connection.call(encode, self._timeout + more)

    async def version(self) -> str:
        return (await self._ask(protocol.version)).decode(errors="replace")

    async def stats(self, item: str) -> str:
        protocol.stats(item, 0)  # an item that is none is an error before anything is sent
        return (await self._ask(lambda opaque: protocol.stats(item, opaque))).decode(errors="replace")

    async def topics(self) -> list[TopicInfo]:
        return protocol.parse_topics(await self._ask(protocol.topics))

    async def route(self, topic: str) -> list[Route]:
        check_topic(topic)
        try:
            return protocol.parse_route(await self._ask(lambda opaque: protocol.route(topic, opaque)))
        except NotFoundError:
            return []

    async def lag(self, topic: str, partition: int, offset: int) -> Lag:
        check_topic(topic)
        return protocol.parse_lag(await self._ask(lambda opaque: protocol.lag(topic, partition, offset, opaque)))

    async def seek(self, topic: str, partition: int, at: datetime) -> int:
        check_topic(topic)
        unix_ms = int(at.timestamp() * 1000)
        return protocol.parse_offset(await self._ask(lambda opaque: protocol.seek(topic, partition, unix_ms, opaque)))

    async def end(self, topic: str, partition: int) -> int:
        return await reader.end(await self._ways.to(self._address), TopicPartition(check_topic(topic), Partition(0, partition)))

    async def committed(self, topic: str, group: str, partition: int) -> Optional[int]:
        check_topic(topic)
        check_group(group)
        try:
            return protocol.parse_offset(await self._ask(lambda opaque: protocol.committed(topic, group, partition, opaque)))
        except NotFoundError:
            return None

    async def commit(self, topic: str, group: str, partition: int, offset: int) -> None:
        check_topic(topic)
        check_group(group)
        if not 0 <= offset <= MAX_OFFSET:
            raise UsageError(f"the offset {offset}: it goes from 0 to {MAX_OFFSET}")
        await self._ask(lambda opaque: protocol.commit(topic, group, partition, offset, opaque))

    async def put(self, topic: str, body: bytes, partition: int, attribute: str) -> Receipt:
        check_topic(topic)
        data, flag = data_of(body, attribute, MAX_ANSWER), FLAG_ATTRIBUTE if attribute else 0
        return protocol.parse_receipt(await self._ask(lambda opaque: protocol.put(topic, partition, flag, data, opaque)), 0)

    async def get(self, topic: str, partition: int, offset: int, max_size: int, wait: float) -> list[Message]:
        place = TopicPartition(check_topic(topic), Partition(0, partition))
        wait_ms = int(wait * 1000)
        try:
            data = await self._ask(lambda opaque: protocol.get(topic, _GROUP, partition, offset, max_size, wait_ms, opaque), wait)
        except NotFoundError:
            return []
        messages, _ = protocol.decode(place, offset, data)
        if messages:
            return messages
        # The first message is larger than what was asked for.
        return await self.get(topic, partition, offset, max(protocol.message_size(data), 2 * max_size), wait)

    async def close(self) -> None:
        await self._ways.close()
