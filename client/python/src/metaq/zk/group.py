"""What a member of a group should have. Nothing here does I/O: members compute the same from the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from metaq.cluster import Offer
from metaq.model import Partition, TopicPartition
from metaq.zk.assign import Assignment


def partitions_of(offers: Iterable[Offer]) -> set[Partition]:
    """What replicas offer together: a master and its slaves have the same ones."""
    return {Partition(o.broker, n) for o in offers for n in range(o.partitions)}


def wanted_by(
    member: str, topics: Iterable[str], members: Mapping[str, Sequence[str]], offers: Mapping[str, Iterable[Offer]], assign: Assignment
) -> set[TopicPartition]:
    """What a member should have of its topics. `members` tells which topics each wants, `offers` who has which topic."""
    wanted: set[TopicPartition] = set()
    for topic in topics:
        interested = [name for name, theirs in members.items() if topic in theirs]
        wanted.update(TopicPartition(topic, p) for p in assign(partitions_of(offers[topic]), interested).get(member, ()))
    return wanted
