"""A cluster that the test plays itself (metaq.cluster)."""

from __future__ import annotations

import threading
import types
from collections.abc import Sequence
from typing import Any, Callable, Optional

import metaq
from conftest import Broker, eventually
from metaq import Offset, OffsetsMovedError, Partition, TopicPartition
from metaq.cluster import Claim, Holder, Offer, Tell

ADDRESS = "zk://played:2181"


class PlayedClaim:
    def __init__(self, place: TopicPartition) -> None:
        self._place = place
        self.holds = True

    @property
    def place(self) -> TopicPartition:
        return self._place

    def valid(self) -> bool:
        return self.holds


class PlayedStore:
    """Offsets with a hand from outside."""

    def __init__(self) -> None:
        self.kept: dict[TopicPartition, Offset] = {}
        self.moved: set[TopicPartition] = set()  # which somebody else has changed
        self.before_load: Callable[[], object] = lambda: None
        self.before_save: Callable[[], object] = lambda: None

    def load(self, group: str, place: TopicPartition) -> Optional[Offset]:
        self.before_load()
        self.moved.discard(place)
        return self.kept.get(place)

    def save(self, group: str, offsets: dict[TopicPartition, Offset]) -> None:
        self.before_save()
        moved = [p for p in offsets if p in self.moved]
        self.kept.update({p: o for p, o in offsets.items() if p not in moved})
        if moved:
            raise OffsetsMovedError(moved)


class Played:
    """The cluster: what it tells, the test says."""

    session_timeout = 2.0

    def __init__(self) -> None:
        self.address = ""  # by which it was opened
        self.tells: dict[str, list[tuple[str, Tell]]] = {"pub": [], "sub": []}
        self.offers: list[Offer] = []
        self.holder: Optional[Holder] = None
        self.store = PlayedStore()
        self.left = self.closed = False
        self.may_come = False
        self.claims: list[PlayedClaim] = []

    def open(self, address: str) -> Played:
        self.address = address
        return self

    def _follow(self, use: str, topic: str, tell: Tell) -> Any:
        self.tells[use].append((topic, tell))
        if self.offers:
            threading.Thread(target=tell, args=(self.offers,)).start()
        return types.SimpleNamespace(close=lambda: None)

    def publishers(self, topic: str, tell: Tell) -> Any:
        return self._follow("pub", topic, tell)

    def subscribers(self, topic: str, tell: Tell) -> Any:
        return self._follow("sub", topic, tell)

    def tell(self, *offers: Offer) -> None:
        self.offers = list(offers)
        for use in self.tells.values():
            for _, tell in use:
                tell(self.offers)

    def join(self, group: str, topics: Sequence[str], holder: Holder, *, consumer_id: Optional[str], assignment: str) -> Any:
        if assignment not in ("ranges", "hash"):
            raise metaq.UsageError(f"the assignment {assignment!r}")
        self.holder = holder
        return self

    def offset_may_come(self, claim: Claim) -> bool:
        return self.may_come

    def leave(self, timeout: float) -> None:
        assert self.holder is not None
        self.holder.release(self.claims)
        self.left = True

    def offsets(self, group: str) -> PlayedStore:
        return self.store

    def close(self) -> None:
        self.closed = True

    def give(self, topic: str, *partitions: Partition) -> list[PlayedClaim]:
        eventually(lambda: self.holder is not None, "a member")
        assert self.holder is not None
        claims = [PlayedClaim(TopicPartition(topic, p)) for p in partitions]
        self.claims += claims
        self.holder.acquire(claims)
        return claims

    def take(self, claims: list[PlayedClaim]) -> None:
        assert self.holder is not None
        self.claims = [c for c in self.claims if c not in claims]
        self.holder.release(claims)


def offers(*brokers: Broker) -> list[Offer]:
    return [Offer(n, None, b.address, 2) for n, b in enumerate(brokers)]
