"""The producer of the original's Python client (package metaq 0.2, Python 2), so that scripts written for it run on Python 3:

    from metaq.producer import Message, MessageProducer
    p = MessageProducer("orders", zk_servers="localhost:2181")
    print(p.send(Message("orders", "hello")))
    p.close()

New programs use metaq.Producer, which this is made of: it has batching, retries, keys and brokers without ZooKeeper."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Callable, Optional, Union

from metaq import model
from metaq.blocking.producer import Producer
from metaq.core.place import SCHEME
from metaq.errors import MetaQError, NoBrokerError, UsageError
from metaq.model import Outgoing

log = logging.getLogger("metaq.producer")

_Error = MetaQError


class Partition(model.Partition):
    """A partition, with the names that selectors of that time look at."""

    @property
    def broker_id(self) -> int:
        return self.broker

    @property
    def partition(self) -> int:
        return self.number


class Message:
    """A message: its data are text, which is stored as UTF-8, or bytes. After it was sent it has an id and a partition."""

    def __init__(self, topic: str, data: Union[str, bytes, None], attribute: Optional[str] = None) -> None:
        self.id: Optional[int] = None
        self.topic = topic
        self.data = data
        self.attribute = attribute
        self.flag = 0 if attribute is None else 1
        self.partition: Union[Partition, int] = -1


class SendResult:
    """What became of a message: its partition and offset, or an error as text."""

    def __init__(self, success: bool, partition: Optional[Partition], offset: int, error: Optional[str] = None) -> None:
        self.success = success
        self.partition = partition
        self.offset = offset
        self.error = error

    def __repr__(self) -> str:
        return f"SendResult[success={self.success}, partition={self.partition}, offset={self.offset}, error={self.error}]"


PartitionSelector = Callable[[str, Sequence[Partition], Message], Partition]


def get_round_robin_selector() -> PartitionSelector:
    """Takes the partitions in turn, beginning with the second one, as it did then with most numbers of partitions."""
    turns = -(1 << 31)

    def select(topic: str, partitions: Sequence[Partition], message: Message) -> Partition:
        nonlocal turns
        if not partitions:
            raise NoBrokerError(f"there is no available partition for topic {topic} right now")
        turns += 1
        return partitions[turns % len(partitions)]

    return select


class MessageProducer:
    """Sends the messages of one topic, one after the other. `broker`, which the original did not have, names a broker that stands alone: host:port. zk_timeout,
    dead_retry and idle_timeout are taken and mean nothing any more: a session with ZooKeeper is asked for with 10 s. debug logs to the logger "metaq.producer"."""

    def __init__(
        self,
        topic: str,
        zk_servers: str = "localhost:2181",
        partition_selector: Optional[PartitionSelector] = None,
        zk_timeout: int = 10000,
        zk_root: str = "/meta",
        dead_retry: float = 5,
        socket_timeout: float = 10,
        idle_timeout: float = 5,
        debug: bool = True,
        *,
        broker: Optional[str] = None,
    ) -> None:
        if topic is None or zk_servers is None or zk_root is None:
            raise UsageError("a topic, zk_servers and zk_root are needed")
        if dead_retry is None or dead_retry < 0:
            raise UsageError(f"invalid dead retry times {dead_retry}")
        self.topic = topic
        self._select = partition_selector or get_round_robin_selector()
        self._debug = debug
        self._sending = threading.Lock()
        self._message: Optional[Message] = None  # that is sent now; what the selector is told
        address = broker or f"{SCHEME}{zk_servers}?root={zk_root}"
        self._producer = Producer(address, selector=self._choose, retry_for=socket_timeout, timeout=socket_timeout)

    def _choose(self, outgoing: Outgoing, partitions: Sequence[model.Partition]) -> model.Partition:
        assert self._message is not None
        return self._select(self.topic, [Partition(*p) for p in partitions], self._message)

    def send(self, msg: Message) -> SendResult:
        """Sends a message of the producer's topic and waits for its acknowledgement. What the broker refuses, and broken connections, are a result without
        success; what can never be sent is raised."""
        if msg is None:
            raise UsageError("the message is none")
        if msg.topic != self.topic:
            raise UsageError(f"expect topic {self.topic}, but was {msg.topic}")
        if msg.data is None:
            raise UsageError("the message's data is none")
        with self._sending:
            self._message = msg
            try:
                receipt = self._producer.send(msg.topic, msg.data, attribute=msg.attribute or "")
            except (UsageError, NoBrokerError):
                raise
            except MetaQError as err:
                if self._debug:
                    log.debug("a message is not sent: %s", err)
                return SendResult(False, None, -1, error=str(err))
        msg.id, msg.partition = receipt.id, Partition(*receipt.partition)
        return SendResult(True, msg.partition, receipt.offset)

    def close(self) -> None:
        """Ends the producer."""
        self._producer.close()
