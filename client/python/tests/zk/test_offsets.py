"""Offsets in ZooKeeper: nobody's change is undone without knowing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable

import pytest

from metaq.errors import MetaQError, OffsetsMovedError
from metaq.model import Offset, Partition, TopicPartition
from metaq.zk.layout import Layout
from metaq.zk.offsets import ZooKeeperOffsets
from metaq.zk.session import Change, Look, Session, ZooKeeperError

from .conftest import PATIENCE, ZooKeeper

PLACES = [TopicPartition("t", Partition(0, n)) for n in range(250)]
ONE, TWO = PLACES[:2]


class Group:
    """What a group keeps in ZooKeeper, and what others do to it there."""

    def __init__(self, zookeeper: ZooKeeper, session: Session) -> None:
        self.session = session
        self.root = zookeeper.root
        session.await_connected(PATIENCE)

    def store(self) -> ZooKeeperOffsets:
        return ZooKeeperOffsets(self.session, Layout(self.root))

    def path(self, place: TopicPartition) -> str:
        return f"{self.root}/consumers/g/offsets/t/{place.partition}"

    def data(self, place: TopicPartition) -> bytes:
        (node,) = self.session.look([Look(self.path(place))])
        assert node is not None
        return node.data


@pytest.fixture
def group(zookeeper: ZooKeeper) -> Iterator[Group]:
    g = Group(zookeeper, Session(zookeeper.servers, 5))
    yield g
    g.session.close()


def test_as_the_original_writes_them(group: Group) -> None:
    one = group.store()
    assert one.load("g", ONE) is None
    one.save("g", {ONE: Offset(44, -5468921164271190016)})
    assert group.data(ONE) == b"-5468921164271190016-44"
    assert one.load("g", ONE) == Offset(44, -5468921164271190016)
    group.session.create([(group.path(TWO), b"4711")], ephemeral=False)  # of an old client
    assert one.load("g", TWO) == Offset(4711)


def test_what_a_parent_holds_is_no_offset(group: Group) -> None:
    group.session.create([(group.path(ONE), b""), (group.path(TWO), b"x")], ephemeral=False)
    one = group.store()
    assert one.load("g", ONE) is None
    one.save("g", {ONE: Offset(1)})
    with pytest.raises(MetaQError, match=f"{group.path(TWO)}: b'x' is no offset"):
        one.load("g", TWO)


def test_another_version_stays_and_the_rest_is_saved(group: Group) -> None:
    one, other = group.store(), group.store()
    for place in PLACES:
        assert one.load("g", place) is None
    one.save("g", {place: Offset(1) for place in PLACES})
    one.save("g", {place: Offset(2) for place in PLACES})
    assert other.load("g", TWO) == Offset(2)
    other.save("g", {TWO: Offset(99)})
    with pytest.raises(OffsetsMovedError) as moved:
        one.save("g", {place: Offset(3) for place in PLACES})
    assert moved.value.places == (TWO,)
    assert [group.data(place) for place in PLACES] == [b"-1-99" if place == TWO else b"-1-3" for place in PLACES]
    assert one.load("g", TWO) == Offset(99)  # now it knows
    one.save("g", {TWO: Offset(100)})
    assert group.data(TWO) == b"-1-100"


def test_one_that_came_or_went_meanwhile_has_moved(group: Group) -> None:
    one, other = group.store(), group.store()
    assert one.load("g", ONE) is None
    other.save("g", {ONE: Offset(7)})
    with pytest.raises(OffsetsMovedError):
        one.save("g", {ONE: Offset(1)})
    assert one.load("g", ONE) == Offset(7)
    group.session.delete([(group.path(ONE), -1)])
    with pytest.raises(OffsetsMovedError):
        one.save("g", {ONE: Offset(8)})
    assert one.load("g", ONE) is None
    one.save("g", {ONE: Offset(8)})
    assert group.data(ONE) == b"-1-8"


class Deaf(Session):
    """A session whose next write gets no answer."""

    happens: bool
    then: Callable[[], None]
    deaf = False

    def change(self, changes: Any) -> bool:
        done: bool = self._lose(lambda: super(Deaf, self).change(changes))
        return done

    def create(self, nodes: Any, *, ephemeral: bool) -> list[bool]:
        made: list[bool] = self._lose(lambda: super(Deaf, self).create(nodes, ephemeral=ephemeral))
        return made

    def _lose(self, do: Callable[[], Any]) -> Any:
        if not self.deaf:
            return do()
        self.deaf = False
        if self.happens:
            do()
        self.then()
        raise ZooKeeperError("no answer")


@pytest.mark.parametrize("happens", [True, False])
@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("disturbed", [True, False])
def test_a_change_without_an_answer_is_looked_at(zookeeper: ZooKeeper, happens: bool, exists: bool, disturbed: bool) -> None:
    session = Deaf(zookeeper.servers, 5)
    group, other = Group(zookeeper, session), Group(zookeeper, Session(zookeeper.servers, 5))

    def disturb() -> None:
        if disturbed:
            second = other.store()
            second.load("g", ONE)
            second.save("g", {ONE: Offset(77)})

    one = group.store()
    assert one.load("g", ONE) is None
    if exists:
        one.save("g", {ONE: Offset(1)})
    session.deaf, session.happens, session.then = True, happens, disturb
    with pytest.raises(ZooKeeperError):
        one.save("g", {ONE: Offset(2)})
    if disturbed:
        with pytest.raises(OffsetsMovedError):
            one.save("g", {ONE: Offset(3)})
        assert other.data(ONE) == b"-1-77"
    else:
        one.save("g", {ONE: Offset(3)})
        assert other.data(ONE) == b"-1-3"
    session.close()
    other.session.close()


def test_without_zookeeper_it_fails_in_time(zookeeper: ZooKeeper, group: Group) -> None:
    one = group.store()
    assert one.load("g", ONE) is None
    zookeeper.kill()
    with pytest.raises(ZooKeeperError):
        one.load("g", ONE)
    with pytest.raises(ZooKeeperError):
        one.save("g", {ONE: Offset(1)})
    zookeeper.start()
    group.session.await_connected(PATIENCE)
    one.save("g", {ONE: Offset(2)})
    group.session.change([Change(group.path(ONE), b"-1-5", 0)])
    with pytest.raises(OffsetsMovedError):
        one.save("g", {ONE: Offset(3)})
