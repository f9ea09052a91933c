"""The session, its clock, and what is seen of nodes."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from metaq.errors import ClosedError
from metaq.zk import session
from metaq.zk.lookout import Lookout
from metaq.zk.session import Change, Look, Session, State, ZooKeeperError

from .conftest import PATIENCE, ZooKeeper, eventually

TIMEOUT = 2.5


def connected(zookeeper: ZooKeeper, timeout: float = TIMEOUT) -> Session:
    s = Session(zookeeper.servers, timeout)
    s.await_connected(PATIENCE)
    return s


def test_a_server_that_says_nothing_is_a_lost_session_at_two_thirds(zookeeper: ZooKeeper) -> None:
    s = connected(zookeeper)
    id = s.id
    assert s.holds(id)
    assert not s.holds(id + 1)
    s.create([(f"{zookeeper.root}/a", b"")], ephemeral=True)
    zookeeper.pause()
    begin = time.monotonic()
    eventually(lambda: not s.holds(id), "it holds nothing any more")
    took = time.monotonic() - begin
    eventually(lambda: s.state is State.LOST, "it counts as lost")
    assert TIMEOUT / 3 < took < TIMEOUT, "others have what it held after the time-out"
    with pytest.raises(ZooKeeperError, match="no answer"):
        s.look([Look(f"{zookeeper.root}/a")])
    zookeeper.resume()
    eventually(lambda: s.state is State.CONNECTED and s.holds(s.id), "it goes on, in the same session or a new one")
    s.close()


def test_a_broken_connection_is_no_lost_session(zookeeper: ZooKeeper) -> None:
    s = connected(zookeeper)
    id, states = s.id, []
    s.listen(lambda: states.append(s.state))
    s.create([(f"{zookeeper.root}/a", b"x")], ephemeral=True)
    s._client._connection._socket.shutdown(2)
    eventually(lambda: State.SUSPENDED in states, "it is seen")
    eventually(lambda: s.state is State.CONNECTED, "it connects again")
    assert s.id == id
    assert State.LOST not in states
    (node,) = s.look([Look(f"{zookeeper.root}/a")])
    assert node is not None
    assert (node.data, node.owner) == (b"x", id)
    s.close()


def test_a_server_that_comes_back_empty_gives_a_new_session(zookeeper: ZooKeeper) -> None:
    s = connected(zookeeper)
    for i in range(20):  # the server's count of changes is far ahead of what it will be
        s.create([(f"{zookeeper.root}/n{i}", b"")], ephemeral=False)
    id = s.id
    zookeeper.kill()
    eventually(lambda: s.state is State.LOST, "it is lost")
    zookeeper.empty()
    zookeeper.start()
    eventually(lambda: s.state is State.CONNECTED, "a new session")
    assert s.id != id
    assert s.look([Look(f"{zookeeper.root}/n1")]) == [None]
    s.close()


def test_the_granted_time_out_counts(zookeeper: ZooKeeper) -> None:
    s = connected(zookeeper, 60)
    assert s.timeout == pytest.approx(5.0)  # 20 ticks
    zookeeper.pause()
    begin = time.monotonic()
    eventually(lambda: s.state is State.LOST, "it counts as lost")
    assert time.monotonic() - begin < 5
    zookeeper.resume()
    s.close()


def test_closing_removes_what_was_registered(zookeeper: ZooKeeper) -> None:
    s, other = connected(zookeeper), connected(zookeeper)
    s.create([(f"{zookeeper.root}/a", b"")], ephemeral=True)
    s.close()
    assert other.look([Look(f"{zookeeper.root}/a")]) == [None]
    with pytest.raises(ClosedError):
        s.look([Look(f"{zookeeper.root}/a")])
    other.close()


def test_nobody_there_is_an_error_in_time() -> None:
    s = Session("127.0.0.1:1", TIMEOUT)
    with pytest.raises(ZooKeeperError, match=r"no answer from ZooKeeper at 127\.0\.0\.1:1"):
        s.await_connected(0.1)
    s.close()


def test_nodes(zookeeper: ZooKeeper) -> None:
    s = connected(zookeeper)
    assert s.create([(f"{zookeeper.root}/x/a", b"1"), (f"{zookeeper.root}/x/b", b"2")], ephemeral=False) == [True, True]
    assert s.create([(f"{zookeeper.root}/x/a", b"3"), (f"{zookeeper.root}/x/c", b"4")], ephemeral=False) == [False, True]
    a, none, x = s.look([Look(f"{zookeeper.root}/x/a"), Look(f"{zookeeper.root}/x/none"), Look(f"{zookeeper.root}/x", children=True)])
    assert a is not None
    assert (a.data, a.version, a.owner) == (b"1", 0, 0)
    assert none is None
    assert x is not None
    assert x.children == {"a", "b", "c"}
    assert s.change([Change(f"{zookeeper.root}/x/a", b"5", 0), Change(f"{zookeeper.root}/x/b", b"6", 0)])
    assert not s.change([Change(f"{zookeeper.root}/x/a", b"7", 1), Change(f"{zookeeper.root}/x/b", b"7", 0)]), "b has another version"
    assert not s.change([Change(f"{zookeeper.root}/x/a", b"7", 1), Change(f"{zookeeper.root}/x/none", b"7", 0)]), "one is not there"
    s.delete([(f"{zookeeper.root}/x/a", 0), (f"{zookeeper.root}/x/b", 1), (f"{zookeeper.root}/x/none", -1)])
    a, b = s.look([Look(f"{zookeeper.root}/x/a"), Look(f"{zookeeper.root}/x/b")])
    assert a is not None, "it had another version"
    assert a.data == b"5"
    assert b is None
    s.close()


def test_a_node_that_comes_while_it_is_looked_for_is_seen(zookeeper: ZooKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    s, other = connected(zookeeper), connected(zookeeper)
    path, changed, ask = f"{zookeeper.root}/a", threading.Event(), session._ask_existence

    def late(question: Look, client: object) -> Any:
        other.create([(path, b"")], ephemeral=False)
        return ask(question, client)

    monkeypatch.setattr(session, "_ask_existence", late)
    assert s.look([Look(path, changed=changed.set)]) == [None]
    assert changed.wait(PATIENCE)
    s.close()
    other.close()


def test_a_lookout_misses_nothing(zookeeper: ZooKeeper) -> None:
    s, other = connected(zookeeper), connected(zookeeper)
    woken = threading.Event()
    lookout = Lookout(s, woken.set)
    names, data = lookout.children(f"{zookeeper.root}/t"), lookout.data(f"{zookeeper.root}/t/a")

    def seen(children: set[str], value: object) -> None:
        def right() -> bool:
            lookout.refresh()
            return (names.node.children if names.node else set()) == children and (data.node.data if data.node else None) == value

        eventually(right, f"{children} and {value!r}")

    def change(children: set[str], value: object) -> None:
        assert woken.wait(10)
        woken.clear()
        seen(children, value)

    seen(set(), None)
    assert names.known
    assert not woken.is_set()
    other.create([(f"{zookeeper.root}/t/b", b"")], ephemeral=False)
    change({"b"}, None)
    other.create([(f"{zookeeper.root}/t/a", b"1")], ephemeral=False)
    change({"a", "b"}, b"1")
    other.change([Change(f"{zookeeper.root}/t/a", b"2", 0)])
    change({"a", "b"}, b"2")
    other.delete([(f"{zookeeper.root}/t/a", -1), (f"{zookeeper.root}/t/b", -1)])
    change(set(), None)
    s._client._connection._socket.shutdown(2)  # what happens meanwhile is seen too
    eventually(woken.is_set, "a broken connection is a reason to look")
    other.create([(f"{zookeeper.root}/t/a", b"3")], ephemeral=False)
    s.await_connected(PATIENCE)
    change({"a"}, b"3")
    lookout.keep({names})
    seen({"a"}, b"3")
    woken.clear()
    other.change([Change(f"{zookeeper.root}/t/a", b"4", 0)])
    other.create([(f"{zookeeper.root}/t/c", b"")], ephemeral=False)
    change({"a", "c"}, b"3")  # which is not followed any more
    s.close()
    other.close()
