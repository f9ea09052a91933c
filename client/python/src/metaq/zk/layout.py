"""Names of the nodes of an installation."""

from __future__ import annotations

from dataclasses import dataclass

from metaq.model import Partition
from metaq.zk.data import Replica

DEFAULT_ROOT = "/meta"
"""is where the tree lies if zk.zkRoot says nothing else."""


@dataclass(frozen=True)
class Layout:
    """Names the nodes of one installation, as Metamorphosis 1.4.6 does."""

    root: str = DEFAULT_ROOT
    """of the tree, without a slash at the end; "" is the root of ZooKeeper"""

    def brokers(self) -> str:
        """Has a child for each broker."""
        return f"{self.root}/brokers/ids"

    def replica(self, r: Replica) -> str:
        """Holds the address of a master or a slave while that is there."""
        return f"{self.root}/brokers/ids/{r.broker}/{'master' if r.is_master else f'slave{r.slave}'}"

    def publishers(self, topic: str) -> str:
        """Has a child for each replica that takes puts of the topic; slaves are among them, and mean nothing there."""
        return f"{self.root}/brokers/topics-pub/{topic}"

    def publisher(self, topic: str, r: Replica) -> str:
        """Holds a TopicNode while the replica takes puts of the topic."""
        return f"{self.publishers(topic)}/{r}"

    def subscribers(self, topic: str) -> str:
        """Has a child for each replica that serves gets of the topic."""
        return f"{self.root}/brokers/topics-sub/{topic}"

    def subscriber(self, topic: str, r: Replica) -> str:
        """Holds a TopicNode while the replica serves gets of the topic."""
        return f"{self.subscribers(topic)}/{r}"

    def members(self, group: str) -> str:
        """Has a child for each consumer of a group that is there."""
        return f"{self.root}/consumers/{group}/ids"

    def member(self, group: str, member: str) -> str:
        """Holds the topics that a consumer wants, see `data.join_topics`; its name is that of `data.member_id`."""
        return f"{self.members(group)}/{member}"

    def owners(self, group: str, topic: str) -> str:
        """Has a child for each partition of a topic that a consumer of the group has."""
        return f"{self.root}/consumers/{group}/owners/{topic}"

    def owner(self, group: str, topic: str, p: Partition) -> str:
        """Holds the id of the member that has a partition."""
        return f"{self.owners(group, topic)}/{p}"

    def offset(self, group: str, topic: str, p: Partition) -> str:
        """Holds an Offset."""
        return f"{self.root}/consumers/{group}/offsets/{topic}/{p}"
