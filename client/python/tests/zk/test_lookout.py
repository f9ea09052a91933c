"""What a thread follows, without a ZooKeeper."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Optional, cast

import pytest

from metaq.zk.lookout import Lookout
from metaq.zk.session import Look, Node, Session, ZooKeeperError


class Played:
    """A session in which nothing is there, and which remembers what it was asked for last."""

    def __init__(self) -> None:
        self.client: object = "one"
        self.answers = True
        self.asked: Sequence[Look] = ()

    def look(self, questions: Sequence[Look]) -> list[Optional[Node]]:
        self.asked = questions
        if not self.answers:
            raise ZooKeeperError("no answer")
        return [None for _ in questions]

    def paths(self) -> list[str]:
        return sorted(question.path for question in self.asked)


@pytest.fixture
def session() -> Played:
    return Played()


@pytest.fixture
def woken() -> threading.Event:
    return threading.Event()


@pytest.fixture
def lookout(session: Played, woken: threading.Event) -> Lookout:
    followed = Lookout(cast(Session, session), woken.set)
    followed.data("/a")
    followed.data("/b")
    followed.refresh()
    return followed


def change(session: Played, path: str) -> None:
    for question in session.asked:
        if question.path == path and question.changed is not None:
            question.changed()


def test_only_what_may_have_changed_is_read_again(session: Played, woken: threading.Event, lookout: Lookout) -> None:
    assert session.paths() == ["/a", "/b"]
    change(session, "/b")
    assert woken.is_set()
    lookout.refresh()
    assert session.paths() == ["/b"]
    lookout.refresh()
    assert session.paths() == []


def test_what_was_not_answered_is_read_again(session: Played, lookout: Lookout) -> None:
    change(session, "/a")
    session.answers = False
    with pytest.raises(ZooKeeperError):
        lookout.refresh()
    session.answers = True
    lookout.refresh()
    assert session.paths() == ["/a"]


def test_another_connection_of_the_library_knows_of_no_watches(session: Played, lookout: Lookout) -> None:
    session.client = "two"
    lookout.refresh()
    assert session.paths() == ["/a", "/b"]
    lookout.refresh()
    assert session.paths() == []


def test_what_is_not_followed_any_more_wakes_nobody(session: Played, woken: threading.Event, lookout: Lookout) -> None:
    lookout.keep({lookout.data("/a")})
    change(session, "/b")
    assert not woken.is_set()
    change(session, "/a")
    assert woken.is_set()
