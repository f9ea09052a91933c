"""How the partitions of a topic are dealt out to the members of a group.

Every member computes it for itself, also those written in Java and Go, so the result must follow from the arguments alone and never change.
"""

from __future__ import annotations

import bisect
import hashlib
import struct
from collections.abc import Iterable
from typing import Callable

from metaq.errors import UsageError
from metaq.model import Partition

Assignment = Callable[[Iterable[Partition], Iterable[str]], dict[str, list[Partition]]]
"""deals partitions out to those members of a group that want the topic; who gets none is not in the result."""


def assign_ranges(partitions: Iterable[Partition], members: Iterable[str]) -> dict[str, list[Partition]]:
    """Deals out ranges of the partitions in the order of their names, to the first members one more if it does not come out even.

    The order is that of text, 0-10 before 0-2; the members of a group have to agree on it, so it stays.
    """
    ordered, names = sorted(partitions, key=str), sorted(members)
    out: dict[str, list[Partition]] = {}
    begin = 0
    for i, member in enumerate(names):
        each, more = divmod(len(ordered), len(names))
        end = begin + each + (i < more)
        if begin < end:
            out[member] = ordered[begin:end]
        begin = end
    return out


_POINT_DIGESTS = 40
"""is how many MD5 digests a member has on the ring, each of four points."""

_POINTS = struct.Struct("<4I")


def assign_by_hash(partitions: Iterable[Partition], members: Iterable[str]) -> dict[str, list[Partition]]:
    """Puts the members on a ring (Ketama), and each partition to the next one. When a member comes or goes, few partitions move."""
    ring = [(point, member) for member in sorted(members) for k in range(_POINT_DIGESTS) for point in _points(f"{member}-{k}")]
    ring.sort(key=lambda place: place[0])
    at = [point for point, _ in ring]
    out: dict[str, list[Partition]] = {}
    for p in sorted(partitions, key=str) if ring else ():
        _, member = ring[bisect.bisect_left(at, _points(str(p))[0]) % len(ring)]
        out.setdefault(member, []).append(p)
    return out


def _points(text: str) -> list[int]:
    # The points of the original; nothing is secret.
    return list(_POINTS.unpack(hashlib.new("md5", text.encode(), usedforsecurity=False).digest()))


_BY_NAME = {"ranges": assign_ranges, "hash": assign_by_hash}


def parse_assignment(name: str) -> Assignment:
    """Finds one by its name."""
    if name not in _BY_NAME:
        raise UsageError(f"{name!r} is no way of sharing partitions: 'ranges' or 'hash'")
    return _BY_NAME[name]
