"""A message on its way through a producer."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Optional, Union

from metaq.core.breaker import SLOW_AFTER
from metaq.errors import MetaQError, TooLargeError, UsageError, from_status
from metaq.model import Body, Partition, Receipt
from metaq.protocol import FLAG_ATTRIBUTE, join_attribute, parse_receipt

if TYPE_CHECKING:
    from metaq.core.lane import Lane

ANY_NUMBER = -1
"""Stands for all partitions of a broker."""


class Sending:
    """What the faces hand to Producing, and what a selector sees. It is settled exactly once: with an answer of the broker or with an error."""

    __slots__ = (
        "answer",
        "attribute",
        "began",
        "broker",
        "chosen",
        "data",
        "error",
        "fixed",
        "flag",
        "give_up",
        "key",
        "lane",
        "may_help",
        "partition",
        "seq",
        "topic",
        "tried",
    )

    def __init__(self, topic: str, data: bytes, key: Optional[str], attribute: str, partition: Optional[Partition]) -> None:
        if key is not None and not isinstance(key, str):
            raise UsageError(f"a key of type {type(key).__name__}: it is str")
        self.topic = topic
        self.data = data  # as it is stored, the attribute included
        self.key = key
        self.attribute = attribute
        self.flag = FLAG_ATTRIBUTE if attribute else 0
        self.partition = partition
        self.fixed = partition is not None  # the sender has chosen it
        self.chosen = self.fixed  # partition counts; otherwise it is chosen at the first try, or by the broker
        self.answer: Optional[bytes] = None
        self.error: Optional[BaseException] = None

    seq: int
    give_up: float
    began: float
    broker: int  # that has answered
    lane: Lane
    tried: list[Partition]  # where it failed, of what may go anywhere; the number is ANY_NUMBER for the whole broker
    may_help: bool  # one of these failures may pass

    @property
    def body(self) -> bytes:
        """What was sent, without the attribute."""
        return self.data[4 + len(self.attribute.encode()) :] if self.attribute else self.data

    def accepted(self, seq: int, give_up: float) -> None:
        """It is the producer's now."""
        self.seq, self.give_up = seq, give_up
        self.tried, self.may_help = [], False

    def free(self) -> bool:
        """Whether it may go to any partition."""
        return not self.fixed and not self.key

    def landed(self, status: int, body: bytes, error: Optional[MetaQError]) -> None:
        """Takes the end of a try."""
        lane = self.lane
        lane.in_flight -= 1
        if status == 200:
            if lane.breaker is not None:
                lane.breaker.ended(monotonic() - self.began <= SLOW_AFTER)
            self.answer, self.broker = body, lane.broker
            lane.stored += 1
            lane.stored_bytes += len(self.data)
            self.settled()
        else:
            lane.fell(self, error or from_status(status, body.decode(errors="replace")))

    def fail(self, error: BaseException) -> None:
        """Settles it with an error."""
        self.error = error
        self.settled()

    def settled(self) -> None:
        """Tells whoever waits. It is called on the loop."""
        raise NotImplementedError

    def receipt(self) -> Receipt:
        """What a settled one came to."""
        if self.error is not None:
            # One error may be that of many messages. It would grow with each time that it is raised.
            raise self.error.with_traceback(None)
        assert self.answer is not None
        return parse_receipt(self.answer, self.broker)


def data_of(body: Body, attribute: str, most: int) -> bytes:
    """The bytes that are stored."""
    if isinstance(body, bytes):
        data = body
    elif isinstance(body, str):
        data = body.encode()
    elif isinstance(body, (bytearray, memoryview)):
        data = bytes(body)
    else:
        raise UsageError(f"a body of type {type(body).__name__}: it is bytes or str")
    if attribute:
        if not isinstance(attribute, str):
            raise UsageError(f"an attribute of type {type(attribute).__name__}: it is str")
        data = join_attribute(attribute, data)
    if len(data) > most:
        raise TooLargeError(f"a message of {len(data)} bytes: the buffer of the producer takes {most} (buffer_bytes)")
    return data


def partition_of(partition: Union[Partition, int, None]) -> Optional[Partition]:
    """The partition that the sender of a message has chosen; a number is one of a broker that stands alone."""
    if partition is None or isinstance(partition, Partition):
        return partition
    if isinstance(partition, bool) or not isinstance(partition, int) or partition < 0:
        raise UsageError(f"the partition {partition!r}: it is a number from 0 on, or a Partition")
    return Partition(0, partition)
