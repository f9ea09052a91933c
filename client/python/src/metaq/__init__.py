"""Client of the message broker MetaQ.

This module has the blocking face: Producer, Consumer, Connection. `metaq.aio` has the same names for asyncio. Addresses are host:port of a broker that
stands alone, or zk://host:2181,... of a cluster, which takes the extra `zk` of this package.
"""

from metaq.blocking.connection import Connection
from metaq.blocking.consumer import Consumer
from metaq.blocking.producer import Delivery, Producer
from metaq.core.options import Retry
from metaq.errors import (
    BadRequestError,
    BrokerTimeoutError,
    ChecksumError,
    ClosedError,
    ConnectionLostError,
    FailedError,
    ForbiddenError,
    MetaQError,
    MovedError,
    NoBrokerError,
    NotFoundError,
    OffsetsMovedError,
    OffsetStoreError,
    ProtocolError,
    StatusError,
    TimedOutError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
    UsageError,
)
from metaq.model import Body, Message, Offset, OffsetStore, Outgoing, Partition, Position, Receipt, Selector, TopicPartition
from metaq.offsetfile import FileOffsets
from metaq.protocol import Lag, Route, TopicInfo
from metaq.selector import by_key, fixed, round_robin

__all__ = [
    "BadRequestError",
    "Body",
    "BrokerTimeoutError",
    "ChecksumError",
    "ClosedError",
    "Connection",
    "ConnectionLostError",
    "Consumer",
    "Delivery",
    "FailedError",
    "FileOffsets",
    "ForbiddenError",
    "Lag",
    "Message",
    "MetaQError",
    "MovedError",
    "NoBrokerError",
    "NotFoundError",
    "Offset",
    "OffsetStore",
    "OffsetStoreError",
    "OffsetsMovedError",
    "Outgoing",
    "Partition",
    "Position",
    "Producer",
    "ProtocolError",
    "Receipt",
    "Retry",
    "Route",
    "Selector",
    "StatusError",
    "TimedOutError",
    "TooLargeError",
    "TopicInfo",
    "TopicPartition",
    "UnauthorizedError",
    "UnavailableError",
    "UsageError",
    "by_key",
    "fixed",
    "round_robin",
]
