"""Members of a group, without brokers: what brokers write is written by the tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Callable, Optional, TypeVar

import pytest

from metaq.cluster import Claim, Offer
from metaq.errors import UsageError
from metaq.model import Partition, TopicPartition
from metaq.zk.address import ClusterAddress
from metaq.zk.assign import assign_by_hash
from metaq.zk.coordinator import Coordinator
from metaq.zk.session import Look, Node, Session

from .conftest import PATIENCE, ZooKeeper, eventually

T = TypeVar("T")


class Tree:
    """What others see in ZooKeeper, and write there."""

    def __init__(self, zookeeper: ZooKeeper) -> None:
        self.root = zookeeper.root
        self.session = Session(zookeeper.servers, 5)
        self.session.await_connected(PATIENCE)

    def broker(self, id: int, topic: str, partitions: int, slave: Optional[int] = None) -> None:
        node, name = ("master", f"{id}-m") if slave is None else (f"slave{slave}", f"{id}-s{slave}")
        says = b'{"broker":"%s","numParts":%d}' % (name.encode(), partitions)
        self.make(f"/brokers/ids/{id}/{node}", b"meta://10.0.0.%d:8123" % (id + 1))
        for use in ("pub", "sub"):
            self.make(f"/brokers/topics-{use}/{topic}/{name}", says)

    def make(self, path: str, data: bytes) -> None:
        """Makes an ephemeral node."""
        self._patiently(lambda: self.session.create([(self.root + path, data)], ephemeral=True))

    def remove(self, path: str) -> None:
        self._patiently(lambda: self.session.delete([(self.root + path, -1)]))

    def node(self, path: str, *, children: bool = False) -> Optional[Node]:
        return self._patiently(lambda: self.session.look([Look(self.root + path, children)]))[0]

    def _patiently(self, do: Callable[[], T]) -> T:
        """Does something, however busy ZooKeeper is."""
        done: list[T] = []

        def once() -> bool:
            done.append(do())
            return True

        eventually(once, "ZooKeeper answers")
        return done[0]

    def owners(self, topic: str = "t") -> dict[str, str]:
        (listed,) = self.session.look([Look(f"{self.root}/consumers/g/owners/{topic}", children=True)])
        names = sorted(listed.children) if listed else []
        nodes = self.session.look([Look(f"{self.root}/consumers/g/owners/{topic}/{name}") for name in names])
        return {name: node.data.decode() for name, node in zip(names, nodes) if node}

    def shared(self, want: dict[str, str]) -> None:
        eventually(lambda: self.owners() == want, f"{want}")


@pytest.fixture
def tree(zookeeper: ZooKeeper) -> Iterator[Tree]:
    t = Tree(zookeeper)
    yield t
    t.session.close()


class Consumer:
    """A holder that remembers what it was told."""

    def __init__(self, zookeeper: ZooKeeper, name: str, topics: Sequence[str] = ("t",), assignment: str = "ranges") -> None:
        self.cluster = Coordinator(ClusterAddress(zookeeper.servers, "", zookeeper.root))
        self.name = name
        self.claims: dict[TopicPartition, Claim] = {}
        self.told: list[str] = []
        self.releasing: Callable[[], None] = lambda: None
        self.acquiring: Callable[[Sequence[Claim]], None] = lambda claims: None
        self.member = self.cluster.join("g", topics, self, consumer_id=name, assignment=assignment)

    def acquire(self, claims: Sequence[Claim]) -> None:
        self.acquiring(claims)
        self.claims.update((claim.place, claim) for claim in claims)
        self.told += [f"+{claim.place.partition}" for claim in claims]

    def release(self, claims: Sequence[Claim]) -> None:
        self.releasing()
        for claim in claims:
            del self.claims[claim.place]
        self.told += [f"-{claim.place.partition}" for claim in claims]

    def has(self, *partitions: str) -> None:
        eventually(lambda: sorted(str(p.partition) for p in self.claims) == sorted(partitions), f"{partitions}")

    def close(self) -> None:
        self.member.leave(10)
        self.cluster.close()


def test_members_share_and_leave(zookeeper: ZooKeeper, tree: Tree) -> None:
    tree.broker(0, "t", 2)
    tree.broker(1, "t", 2)
    tree.broker(1, "t", 2, slave=0)  # has the same partitions
    a = Consumer(zookeeper, "a")
    tree.shared(dict.fromkeys(["0-0", "0-1", "1-0", "1-1"], "g_a"))
    b = Consumer(zookeeper, "b")
    tree.shared({"0-0": "g_a", "0-1": "g_a", "1-0": "g_b", "1-1": "g_b"})
    a.has("0-0", "0-1")
    b.has("1-0", "1-1")
    assert sorted(a.told) == sorted(["+0-0", "+0-1", "+1-0", "+1-1", "-1-0", "-1-1"]), "what stays is not interrupted"
    tree.broker(2, "t", 1)
    tree.shared({"0-0": "g_a", "0-1": "g_a", "1-0": "g_a", "1-1": "g_b", "2-0": "g_b"})
    a.close()
    tree.shared(dict.fromkeys(["0-0", "0-1", "1-0", "1-1", "2-0"], "g_b"))
    assert not a.claims
    members = tree.node("/consumers/g/ids", children=True)
    assert members is not None
    assert members.children == {"g_b"}
    b.close()
    tree.shared({})


def test_a_partition_is_released_before_another_has_it(zookeeper: ZooKeeper, tree: Tree) -> None:
    tree.broker(0, "t", 2)
    a = Consumer(zookeeper, "a")
    a.has("0-0", "0-1")
    asked, done = threading.Event(), threading.Event()

    def releasing() -> None:
        asked.set()
        assert done.wait(PATIENCE)

    a.releasing = releasing
    b = Consumer(zookeeper, "b")
    assert asked.wait(PATIENCE)
    time.sleep(0.3)  # time enough for b to take it, were that not prevented
    tree.shared({"0-0": "g_a", "0-1": "g_a"})
    assert not b.claims
    done.set()
    tree.shared({"0-0": "g_a", "0-1": "g_b"})
    b.has("0-1")
    b.close()
    a.close()


def test_only_those_who_want_a_topic_share_it(zookeeper: ZooKeeper, tree: Tree) -> None:
    tree.broker(0, "t", 2)
    tree.broker(0, "u", 2)
    a, b = Consumer(zookeeper, "a", ["t", "u", "not-there"]), Consumer(zookeeper, "b", ["u"])
    tree.shared({"0-0": "g_a", "0-1": "g_a"})
    eventually(lambda: tree.owners("u") == {"0-0": "g_a", "0-1": "g_b"}, "u is shared")
    node = tree.node("/consumers/g/ids/g_a")
    assert node is not None
    assert node.data == b"not-there,t,u"
    tree.broker(1, "not-there", 1)  # comes later
    eventually(lambda: tree.owners("not-there") == {"1-0": "g_a"}, "a topic that came later")
    a.close()
    b.close()


def test_by_hash_few_move(zookeeper: ZooKeeper, tree: Tree) -> None:
    tree.broker(0, "t", 16)

    def shared(*consumers: Consumer) -> None:
        shares = assign_by_hash([Partition(0, n) for n in range(16)], [f"g_{consumer.name}" for consumer in consumers])
        tree.shared({str(p): member for member, share in shares.items() for p in share})
        for consumer in consumers:
            consumer.has(*map(str, shares[f"g_{consumer.name}"]))

    a, b, c = (Consumer(zookeeper, name, assignment="hash") for name in "abc")
    shared(a, b, c)
    told = len(a.told)
    c.close()
    shared(a, b)
    assert not [t for t in a.told[told:] if t.startswith("-")], "what a had it keeps"
    a.close()
    b.close()


def test_a_lost_session_ends_claims_in_time_and_the_member_comes_back(zookeeper: ZooKeeper, tree: Tree) -> None:
    tree.broker(0, "t", 2)
    a = Consumer(zookeeper, "a")
    a.has("0-0", "0-1")
    first = next(iter(a.claims.values()))
    zookeeper.pause()
    begin = time.monotonic()
    eventually(lambda: not first.valid(), "the claims are not valid")
    assert time.monotonic() - begin < a.cluster.session_timeout
    eventually(lambda: not a.claims, "they are released")
    zookeeper.resume()
    a.has("0-0", "0-1")
    assert first not in a.claims.values(), "it was claimed again"
    assert all(claim.valid() for claim in a.claims.values())
    a.close()


def test_an_empty_zookeeper_is_a_new_beginning(zookeeper: ZooKeeper, tree: Tree) -> None:
    tree.broker(0, "t", 1)
    a = Consumer(zookeeper, "a")
    a.has("0-0")
    (claim,) = a.claims.values()
    assert not a.member.offset_may_come(claim)
    may_come: list[bool] = []
    a.acquiring = lambda claims: may_come.extend(a.member.offset_may_come(claim) for claim in claims)
    zookeeper.kill()
    eventually(lambda: not a.claims, "the claims are lost")
    zookeeper.empty()
    zookeeper.start()
    tree.session.await_connected(PATIENCE)
    tree.broker(0, "t", 1)
    a.has("0-0")
    (claim,) = a.claims.values()
    assert may_come == [True], "whoever had it before may know how far the group is"
    eventually(lambda: not a.member.offset_may_come(claim), "not for ever")
    a.close()


def test_a_name_that_another_has_is_waited_for(zookeeper: ZooKeeper, tree: Tree) -> None:
    tree.broker(0, "t", 1)
    tree.make("/consumers/g/ids/g_a", b"other")
    a = Consumer(zookeeper, "a")
    time.sleep(0.3)
    assert not a.claims
    tree.remove("/consumers/g/ids/g_a")
    a.has("0-0")
    a.close()


def test_what_an_earlier_session_has_left_is_taken_over(zookeeper: ZooKeeper, tree: Tree) -> None:
    tree.broker(0, "t", 1)
    tree.make("/consumers/g/ids/g_a", b"t")
    a = Consumer(zookeeper, "a")
    time.sleep(0.3)
    assert not a.claims
    a.member._sessions.append(tree.session.id)  # as if it had been the member's own, which it has lost by its own clock
    a.has("0-0")
    a.close()


def test_an_owner_that_stays_is_waited_for(zookeeper: ZooKeeper, tree: Tree) -> None:
    tree.broker(0, "t", 2)
    tree.make("/consumers/g/owners/t/0-0", b"g_java")
    a = Consumer(zookeeper, "a")
    a.has("0-1")
    tree.remove("/consumers/g/owners/t/0-0")
    a.has("0-0", "0-1")
    assert a.told == ["+0-1", "+0-0"]
    a.close()


def test_a_strategy_that_is_none_is_an_error(zookeeper: ZooKeeper) -> None:
    with pytest.raises(UsageError, match="'best' is no way of sharing partitions: 'ranges' or 'hash'"):
        Consumer(zookeeper, "a", assignment="best")


def test_an_unknown_error_does_not_end_a_member(zookeeper: ZooKeeper, tree: Tree) -> None:
    tree.broker(0, "t", 2)
    a = Consumer(zookeeper, "a")
    a.has("0-0", "0-1")

    def releasing() -> None:
        a.releasing = lambda: None
        raise RuntimeError("once")

    a.releasing = releasing
    b = Consumer(zookeeper, "b")
    tree.shared({"0-0": "g_a", "0-1": "g_b"})
    b.close()
    a.has("0-0", "0-1")
    a.close()


def test_a_closed_cluster_leaves_no_thread(zookeeper: ZooKeeper, tree: Tree) -> None:
    before = threading.active_count()
    tree.broker(0, "t", 2)
    a = Consumer(zookeeper, "a")
    a.has("0-0", "0-1")
    a.cluster.close()
    eventually(lambda: threading.active_count() == before, "its threads have ended")


def test_who_has_a_topic_is_told_as_it_changes(zookeeper: ZooKeeper, tree: Tree) -> None:
    cluster = Coordinator(ClusterAddress(zookeeper.servers, "", zookeeper.root))
    told: list[Sequence[Offer]] = []
    subscribed: list[Sequence[Offer]] = []
    following = cluster.publishers("t", told.append)
    cluster.subscribers("t", subscribed.append)
    eventually(lambda: told == [[]], "nobody has it")
    tree.broker(1, "t", 4)
    one = Offer(1, None, "10.0.0.2:8123", 4)
    eventually(lambda: told[-1] == [one], "a broker has it")
    tree.broker(0, "t", 2)
    zero = Offer(0, None, "10.0.0.1:8123", 2)
    eventually(lambda: told[-1] == [zero, one], "two have it")
    tree.broker(1, "t", 4, slave=0)
    eventually(lambda: subscribed[-1] == [zero, one, one._replace(slave=0)], "consumers may read from the slave")
    tree.remove("/brokers/ids/0/master")
    tree.make("/brokers/ids/0/master", b"meta://[::1]:9")
    eventually(lambda: told[-1] == [zero._replace(address="[::1]:9"), one], "it has moved")
    tree.remove("/brokers/topics-pub/t/1-m")
    eventually(lambda: told[-1] == [zero._replace(address="[::1]:9")], "one takes no puts any more")
    following.close()
    n = len(told)
    tree.remove("/brokers/ids/0/master")
    eventually(lambda: subscribed[-1] == [one, one._replace(slave=0)], "it has gone")
    assert len(told) == n, "who has closed is not told"
    cluster.close()
