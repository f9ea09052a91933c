"""The nouns of the package: partitions, messages, receipts, offsets and places to begin."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Callable, Literal, NamedTuple, Optional, Protocol, Union

from metaq.errors import UsageError


class Partition(NamedTuple):
    """One of a topic: the id of its broker, which is 0 if it stands alone, and the number there, which begins with 0. Written `0-2`."""

    broker: int
    number: int

    def __str__(self) -> str:
        return f"{self.broker}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> Partition:
        """Reads `2` (of a broker that stands alone) or `0-2`."""
        broker, dash, number = text.partition("-")
        if not dash:
            broker, number = "0", broker
        if not (broker.isdecimal() and number.isdecimal() and text.isascii()):
            raise UsageError(f"{text!r} is no partition: it is written as number, or as broker-number in a cluster")
        return cls(int(broker), int(number))


class TopicPartition(NamedTuple):
    """A partition of a topic. Written `orders/0-2`."""

    topic: str
    partition: Partition

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


class Message(NamedTuple):
    """A message as a consumer gets it."""

    topic: str
    partition: Partition
    offset: int  # where it begins, in bytes
    next_offset: int  # where the next one begins
    id: int
    attribute: str  # empty if there is none
    body: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()


class Receipt(NamedTuple):
    """What the broker says of a stored message."""

    id: int
    partition: Partition
    offset: int  # where it begins in its partition, in bytes


UNKNOWN_MESSAGE = -1


class Offset(NamedTuple):
    """How far a group has come in a partition: where it goes on, and the id of the last message before, UNKNOWN_MESSAGE if that is not known."""

    offset: int
    message_id: int = UNKNOWN_MESSAGE


class OffsetStore(Protocol):
    """Keeps where groups go on. It is called from worker threads, several at once, never for the same key at once. An error is reported as an
    OffsetStoreError, and what was to be done is tried again."""

    def load(self, group: str, place: TopicPartition) -> Optional[Offset]:
        """The offset, None if there never was one."""

    def save(self, group: str, offsets: dict[TopicPartition, Offset]) -> None:
        """Keeps offsets. With an error some may be kept and others not; those are saved again. OffsetsMovedError says that somebody else has set some of
        them meanwhile: they are not saved, the rest is, and the consumer goes on there where the store says."""


Body = Union[bytes, bytearray, memoryview, str]
"""What may be sent. Text is stored as UTF-8."""

Position = Union[Literal["earliest", "latest"], int, datetime]
"""A place to begin: the oldest message, what comes from now on, an offset, or the first message stored at or after a time (of the local zone if the
datetime says none)."""


class Outgoing(Protocol):
    """What a selector sees of a message."""

    @property
    def topic(self) -> str: ...

    @property
    def key(self) -> Optional[str]: ...

    @property
    def attribute(self) -> str: ...

    @property
    def body(self) -> bytes: ...


Selector = Callable[[Outgoing, Sequence[Partition]], Partition]
"""Chooses the partition of a message among those of its topic, which are never empty and sorted by broker, then number. In a cluster, messages
without a key are offered the partitions of those brokers alone that work."""


def position_of(value: Position) -> Position:
    """Checks a place to begin."""
    if isinstance(value, bool) or not (value in ("earliest", "latest") or isinstance(value, (int, datetime))):
        raise UsageError(f"{value!r} is no place to begin: it is 'earliest', 'latest', an offset or a datetime")
    if isinstance(value, int) and not 0 <= value <= MAX_OFFSET:
        raise UsageError(f"the offset {value}: it goes from 0 to {MAX_OFFSET}")
    return value


MAX_OFFSET = (1 << 63) - 1
