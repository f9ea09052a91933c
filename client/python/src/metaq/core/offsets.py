"""Where offsets are kept, as the loop sees it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Optional, Protocol

from metaq import protocol
from metaq.core.ways import Ways
from metaq.core.work import in_thread
from metaq.errors import MetaQError, NotFoundError, OffsetsMovedError, OffsetStoreError
from metaq.model import Offset, OffsetStore, TopicPartition

_WINDOW = 256  # commits that wait for their answers; a broker refuses what is beyond its maxCommandsInFlight


class Offsets(Protocol):
    """The offsets of one group."""

    async def load(self, place: TopicPartition) -> Optional[Offset]: ...

    async def save(self, offsets: dict[TopicPartition, Offset]) -> None: ...


class BrokerOffsets:
    """Keeps offsets on a broker that stands alone (`commit` and `committed`), as safe as the messages of the topic."""

    def __init__(self, ways: Ways, address: str, group: str) -> None:
        self._ways, self._address, self._group = ways, address, group

    async def load(self, place: TopicPartition) -> Optional[Offset]:
        connection = await self._ways.to(self._address)
        topic, partition = place
        try:
            body = await connection.call(lambda opaque: protocol.committed(topic, self._group, partition.number, opaque))
        except NotFoundError:
            return None
        return Offset(protocol.parse_offset(body))

    async def save(self, offsets: dict[TopicPartition, Offset]) -> None:
        """Many at a time, without waiting for one answer before the next request. One that fails keeps no other from being kept."""
        connection = await self._ways.to(self._address)
        errors: list[MetaQError] = []
        todo = deque(offsets.items())

        async def work() -> None:
            while todo:
                (topic, partition), offset = todo.popleft()

                def encode(opaque: int, topic: str = topic, number: int = partition.number, at: int = offset.offset) -> bytes:
                    return protocol.commit(topic, self._group, number, at, opaque)

                try:
                    await connection.call(encode)
                except NotFoundError:
                    pass  # nobody has written the partition yet, and whoever begins there misses nothing
                except MetaQError as err:
                    errors.append(err)

        await asyncio.gather(*(work() for _ in range(min(_WINDOW, len(offsets)))))
        if errors:
            raise errors[0]


class StoredOffsets:
    """Keeps offsets in a store, which may block and is called in a worker thread."""

    def __init__(self, store: OffsetStore, group: str) -> None:
        self._store, self._group = store, group

    async def load(self, place: TopicPartition) -> Optional[Offset]:
        try:
            return await in_thread(self._store.load, self._group, place)
        except Exception as err:
            raise OffsetStoreError(f"the offset of {place} is not loaded: {err}") from err

    async def save(self, offsets: dict[TopicPartition, Offset]) -> None:
        try:
            await in_thread(self._store.save, self._group, offsets)
        except OffsetsMovedError:
            raise
        except Exception as err:
            raise OffsetStoreError(f"{len(offsets)} offsets are not saved: {err}") from err
