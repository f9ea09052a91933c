"""What producers and consumers ask of a cluster, put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from metaq.cluster import Holder, Tell
from metaq.zk.address import ClusterAddress
from metaq.zk.assign import parse_assignment
from metaq.zk.directory import PUBLISH, SUBSCRIBE, Directory, Followed
from metaq.zk.member import Member, new_consumer_id
from metaq.zk.offsets import ZooKeeperOffsets
from metaq.zk.session import Session


class Coordinator:
    """The Cluster behind a ZooKeeper."""

    def __init__(self, address: ClusterAddress) -> None:
        self._layout = address.layout
        self._session = Session(address.servers)
        self._directory = Directory(self._session, self._layout)

    @property
    def session_timeout(self) -> float:
        """What ZooKeeper has granted, or what was asked for as long as that is not known."""
        return self._session.timeout

    def publishers(self, topic: str, tell: Tell) -> Followed:
        """Follows who takes messages of a topic."""
        return self._directory.follow(PUBLISH, topic, tell)

    def subscribers(self, topic: str, tell: Tell) -> Followed:
        """Follows where a topic can be read."""
        return self._directory.follow(SUBSCRIBE, topic, tell)

    def join(self, group: str, topics: Sequence[str], holder: Holder, *, consumer_id: Optional[str], assignment: str) -> Member:
        """Becomes a member of a group."""
        consumer = consumer_id if consumer_id is not None else new_consumer_id()
        return Member(self._session, self._layout, self._directory, group, consumer, topics, parse_assignment(assignment), holder)

    def offsets(self, group: str) -> ZooKeeperOffsets:
        """Where the offsets of a group lie."""
        return ZooKeeperOffsets(self._session, self._layout)

    def close(self) -> None:
        """Ends the session."""
        self._session.close()
        self._directory.close()
