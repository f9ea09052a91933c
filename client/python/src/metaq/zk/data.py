"""What is in the nodes, and how partitions and replicas are written there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import NamedTuple, Optional
from urllib.parse import urlsplit

from metaq.model import MAX_OFFSET, UNKNOWN_MESSAGE, Offset, Partition

_INT32_MAX = 2**31 - 1

MAX_PARTITIONS = 1 << 16
"""How many partitions of a topic a replica has at most. A node that tells more is garbage, and nobody who believed it would end counting them."""


class Replica(NamedTuple):
    """The master of a broker, or one of its slaves."""

    broker: int
    slave: int = -1  # from 0 on; -1: the master. Sorted, a master comes before its slaves

    @property
    def is_master(self) -> bool:
        """Tells a master from a slave."""
        return self.slave < 0

    def __str__(self) -> str:
        """Writes `B-m` or `B-sS`, as the children of topics are named."""
        return f"{self.broker}-m" if self.is_master else f"{self.broker}-s{self.slave}"


_REPLICA = re.compile(r"([0-9]{1,18})-(?:m|s([0-9]{1,18}))")


def parse_replica(text: str) -> Optional[Replica]:
    """Reads what str of a Replica writes; None if it is none, which others may have put beside them."""
    match = _REPLICA.fullmatch(text)
    return Replica(int(match[1]), int(match[2] or -1)) if match else None


_PARTITION = re.compile(r"([0-9]{1,18})-([0-9]{1,10})")


def parse_partition(text: str) -> Optional[Partition]:
    """Reads what str of a Partition writes; None if it is none."""
    match = _PARTITION.fullmatch(text)
    return Partition(int(match[1]), int(match[2])) if match and int(match[2]) <= _INT32_MAX else None


_ADDRESS_SCHEME = "meta"


def parse_address(data: bytes) -> Optional[str]:
    """Reads host:port out of the data of a replica's node, an IPv6 host in brackets; None if there is none in it."""
    try:
        url = urlsplit(data.decode())
        host, port = url.hostname, url.port
    except ValueError:
        return None
    if url.scheme != _ADDRESS_SCHEME or not host or port is None:
        return None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class TopicNode(NamedTuple):
    """What a replica says of a topic that it offers."""

    broker: str  # str of the Replica
    partitions: int  # from 1 to MAX_PARTITIONS

    def encode(self) -> bytes:
        """Makes the JSON with the fields in the order and without the spaces that the original writes."""
        return json.dumps({"broker": self.broker, "numParts": self.partitions}, separators=(",", ":")).encode()


def parse_topic_node(data: bytes) -> Optional[TopicNode]:
    """Reads what encode makes, and what the original writes; None if it tells no number of partitions."""
    try:
        fields = json.loads(data)
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    broker, n = fields.get("broker", ""), fields.get("numParts")
    if not isinstance(broker, str) or not isinstance(n, int) or isinstance(n, bool) or not 0 < n <= MAX_PARTITIONS:
        return None
    return TopicNode(broker, n)


def encode_offset(o: Offset) -> bytes:
    """Makes `MSGID-OFFSET`. The id is often negative."""
    return b"%d-%d" % (o.message_id, o.offset)


_OFFSET = re.compile(rb"(?:(-?[0-9]{1,19})-)?([0-9]{1,19})")


def parse_offset(data: bytes) -> Offset:
    """Reads what encode_offset makes, and the offset alone that old clients wrote."""
    match = _OFFSET.fullmatch(data)
    if match:
        o = Offset(int(match[2]), int(match[1] or UNKNOWN_MESSAGE))
        if -MAX_OFFSET - 1 <= o.message_id <= MAX_OFFSET and o.offset <= MAX_OFFSET:
            return o
    raise ValueError(f"{data[:100]!r} is no offset, such as -5468921164271190016-44")


def member_id(group: str, consumer: str) -> str:
    """How a consumer of a group is named there; consumer is its own id."""
    return f"{group}_{consumer}"


def join_topics(topics: Iterable[str]) -> bytes:
    """Makes the data of a member, sorted."""
    return ",".join(sorted(topics)).encode()


def split_topics(data: bytes) -> list[str]:
    """Reads the data of a member. The order means nothing, nor that a topic is named twice."""
    names = (name.strip() for name in data.decode(errors="replace").split(","))
    return list(dict.fromkeys(name for name in names if name))
