"""How the partition of a message is chosen. The same as in the Go client: a key has the same partition in both."""

from __future__ import annotations

from collections.abc import Sequence

from metaq.model import Outgoing, Partition, Selector


def round_robin() -> Selector:
    """Takes the partitions in turn, for each topic; messages with a key go where by_key puts them."""
    turns: dict[str, int] = {}

    def select(message: Outgoing, partitions: Sequence[Partition]) -> Partition:
        if message.key:
            return by_key(message, partitions)
        topic = message.topic
        turn = turns.get(topic, 0)
        turns[topic] = turn + 1
        return partitions[turn % len(partitions)]

    return select


def by_key(message: Outgoing, partitions: Sequence[Partition]) -> Partition:
    """Hashes the key (FNV-1a, 32 bits) modulo the number of partitions, so that a key stays in its partition while that number stays."""
    return partitions[fnv1a((message.key or "").encode()) % len(partitions)]


def fixed(partition: Partition) -> Selector:
    """Takes one partition always."""
    return lambda message, partitions: partition


def fnv1a(data: bytes) -> int:
    """The hash FNV-1a of 32 bits."""
    h = 0x811C9DC5
    for byte in data:
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h
