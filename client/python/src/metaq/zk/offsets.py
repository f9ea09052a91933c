"""Where groups go on, kept in ZooKeeper as the original does."""

from __future__ import annotations

import threading
from typing import NamedTuple, Optional

from metaq.errors import MetaQError, OffsetsMovedError
from metaq.model import Offset, TopicPartition
from metaq.zk.data import encode_offset, parse_offset
from metaq.zk.layout import Layout
from metaq.zk.session import Change, Look, Session, ZooKeeperError

_AT_ONCE = 100
"""is how many offsets are one transaction of ZooKeeper. With the longest names there are it is far from the largest request."""


class _Seen(NamedTuple):
    """The node of an offset as it was seen or made last."""

    version: Optional[int] = None  # None: it was not there
    unsure: Optional[bytes] = None  # data of a change whose outcome is not known


class ZooKeeperOffsets:
    """Keeps where groups go on.

    It remembers which version of each offset it has seen, and changes no other one, so that a consumer that has lost a partition without knowing
    cannot undo what its next owner does.
    """

    def __init__(self, session: Session, layout: Layout) -> None:
        self._session = session
        self._layout = layout
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, TopicPartition], _Seen] = {}

    def load(self, group: str, place: TopicPartition) -> Optional[Offset]:
        """Where the group goes on, None if that was never kept."""
        self._session.await_connected(self._session.timeout / 3)
        path = self._layout.offset(group, place.topic, place.partition)
        (node,) = self._session.look([Look(path)])
        with self._lock:
            self._seen[group, place] = _Seen(node.version if node else None)
        if node is None or not node.data:
            return None  # or made as a parent, or emptied by hand
        try:
            return parse_offset(node.data)
        except ValueError as e:
            raise MetaQError(f"{path}: {e}") from None

    def save(self, group: str, offsets: dict[TopicPartition, Offset]) -> None:
        """Keeps offsets that were loaded or kept before, many with one request.

        OffsetsMovedError: somebody else has changed some of them, which stay as they are; the others are kept. After another error some may be kept.
        """
        self._session.await_connected(self._session.timeout / 3)
        known, fresh, unsure = [], {}, []
        for place, offset in offsets.items():
            seen = self._of(group, place)
            if seen.unsure is not None:
                unsure.append(place)
            elif seen.version is None:
                fresh[place] = offset
            else:
                known.append(place)
        moved = self._create(group, fresh)
        for i in range(0, len(known), _AT_ONCE):
            chunk = known[i : i + _AT_ONCE]
            if not self._change(group, {place: offsets[place] for place in chunk}):
                # One of them was changed: which one?
                moved += [place for place in chunk if not self._change(group, {place: offsets[place]})]
        moved += [place for place in unsure if not self._save_unsure(group, place, offsets[place])]
        if moved:
            raise OffsetsMovedError(moved)

    def _of(self, group: str, place: TopicPartition) -> _Seen:
        with self._lock:
            return self._seen.get((group, place), _Seen())

    def _note(self, group: str, place: TopicPartition, seen: _Seen) -> None:
        with self._lock:
            self._seen[group, place] = seen

    def _change(self, group: str, offsets: dict[TopicPartition, Offset]) -> bool:
        """Keeps offsets whose nodes are known, all or none; False: one of them is not as expected."""
        changes = {}
        for place, offset in offsets.items():
            path = self._layout.offset(group, place.topic, place.partition)
            changes[place] = Change(path, encode_offset(offset), self._of(group, place).version or 0)
        try:
            done = self._session.change(list(changes.values()))
        except ZooKeeperError:
            for place, change in changes.items():
                self._note(group, place, _Seen(change.version, unsure=change.data))
            raise
        if done:
            for place, change in changes.items():
                self._note(group, place, _Seen(change.version + 1))
        return done

    def _create(self, group: str, offsets: dict[TopicPartition, Offset]) -> list[TopicPartition]:
        """Keeps offsets that were not there, and returns those that somebody else has made meanwhile."""
        nodes = {p: (self._layout.offset(group, p.topic, p.partition), encode_offset(offset)) for p, offset in offsets.items()}
        try:
            made = self._session.create(nodes.values(), ephemeral=False)
        except ZooKeeperError:
            for place, (_, data) in nodes.items():
                self._note(group, place, _Seen(None, unsure=data))
            raise
        for place, new in zip(nodes, made):
            if new:
                self._note(group, place, _Seen(0))
        return [place for place, new in zip(nodes, made) if not new]

    def _save_unsure(self, group: str, place: TopicPartition, offset: Offset) -> bool:
        """Keeps one offset whose last change got no answer; False: somebody else has changed it."""
        if not self._settle(group, place):
            return False
        if self._of(group, place).version is None:
            return not self._create(group, {place: offset})
        return self._change(group, {place: offset})

    def _settle(self, group: str, place: TopicPartition) -> bool:
        """Finds out whether a change has happened that got no answer; False: somebody else has made another one."""
        before = self._of(group, place)
        (node,) = self._session.look([Look(self._layout.offset(group, place.topic, place.partition))])
        version = node.version if node else None
        after = 0 if before.version is None else before.version + 1
        if version != before.version and not (node is not None and version == after and node.data == before.unsure):
            return False
        self._note(group, place, _Seen(version))
        return True
