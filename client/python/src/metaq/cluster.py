"""What a producer or a consumer has to know of a cluster, as an interface that `metaq.zk` fills.

A broker that stands alone needs none of this: its partitions are asked for with `route`, and offsets lie on it. For an address that begins with `zk://`,
`metaq.zk.open_cluster(address)` is called, and everything goes through the Cluster that it returns.

Threads. The package runs its own work on an event loop; a Cluster lives in threads. Methods marked *returns at once* are called on the loop and must not
wait for anything. All others may block, and are called in worker threads. `tell` and the methods of a Holder may be called from any thread.

The way of a member of a group: `join` -> the Cluster calls `holder.acquire(claims)` with what it has got, and when something has to go to another member
`holder.release(claims)`, which returns when nothing of them is fetched, handed over or in a handler's hands any more, and how far they came is saved; only
then are the owner nodes removed. `claim.valid()` is asked before each message is handed over and before each save.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable, NamedTuple, Optional, Protocol

from metaq.model import OffsetStore, TopicPartition


class Offer(NamedTuple):
    """A replica of a topic: the master of a broker (slave is None) or one of its slaves, its address as host:port, and how many partitions it has."""

    broker: int
    slave: Optional[int]
    address: str
    partitions: int


Tell = Callable[[Sequence[Offer]], None]
"""Takes everything that is known of a topic, each time that it changes. It returns at once."""


class Following(Protocol):
    def close(self) -> None:
        """Ends it: `tell` is not called again after a little while. Returns at once."""


class Claim(Protocol):
    """A partition that a member of a group has."""

    @property
    def place(self) -> TopicPartition: ...

    def valid(self) -> bool:
        """Whether the partition is still this member's for sure, by the clock: nothing was heard for two thirds of the session's time-out, and others may
        have it. It is asked for each message, so it looks at a clock and at nothing else. Returns at once."""


class Holder(Protocol):
    """The consumer, as the membership sees it."""

    def acquire(self, claims: Sequence[Claim]) -> None:
        """Begins to read partitions. Returns at once."""

    def release(self, claims: Sequence[Claim]) -> None:
        """Stops reading, waits until no message of them is in a handler's hands, at most for the session's time-out, and saves how far the valid ones came.
        It blocks, and raises nothing."""


class Membership(Protocol):
    def offset_may_come(self, claim: Claim) -> bool:
        """Whether another member may still put the offset of a partition back that was lost together with everything in ZooKeeper: sessions were lost since
        this member joined, and it has had the claim for less than the session's time-out. Without an offset the consumer waits while this is so. Returns at once."""

    def leave(self, timeout: float) -> None:
        """Gives everything up, by `release`, and removes what belongs to the member. It takes no longer than the session's time-out."""


class Cluster(Protocol):
    @property
    def session_timeout(self) -> float:
        """Of the session with ZooKeeper, in seconds."""

    def publishers(self, topic: str, tell: Tell) -> Following:
        """Follows who takes messages of a topic; producers use the masters only. Returns at once."""

    def subscribers(self, topic: str, tell: Tell) -> Following:
        """Follows where a topic can be read: masters and slaves. Returns at once."""

    def join(self, group: str, topics: Sequence[str], holder: Holder, *, consumer_id: Optional[str], assignment: str) -> Membership:
        """Becomes a member of a group. Without an id one is made. The assignment is 'ranges' or 'hash'; UsageError for another one. Does not wait for
        the session or for partitions."""

    def offsets(self, group: str) -> OffsetStore:
        """Where the offsets of the group lie in ZooKeeper; a new store for each consumer, which remembers the versions it has seen. A `save` that meets
        another version raises OffsetsMovedError. It is asked while the session is away too: then load and save wait for a while, and raise.
        Returns at once."""

    def close(self) -> None:
        """Ends the session."""
