"""Offsets in a file, for a consumer whose group is one process: one that reads everything (broadcast), or whose place belongs to its machine.

    offsets = FileOffsets("/var/lib/shop/offsets.json")
    consumer = Consumer("zk://10.0.0.1:2181", "prices", ["prices"], broadcast=True, offsets=offsets)

The file is JSON as LocalOffsetStorage of the original Java client writes it, and as the Go client does, so that a consumer of any kind goes on where
another has ended. It is replaced as a whole, and the new one is on disk before it takes the place of the old one. Beside it lies another, with `.lock`
behind its name: the file is one process's until close. Java knows nothing of that, so do not let a Java consumer write it at the same time.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Optional, Union

from metaq.errors import ClosedError, MetaQError, UsageError
from metaq.model import MAX_OFFSET, UNKNOWN_MESSAGE, Offset, Partition, TopicPartition

Key = tuple[str, TopicPartition]


class FileOffsets:
    """An OffsetStore in a file. All groups of a file are written together. Close it after the consumer."""

    def __init__(self, path: Union[str, os.PathLike[str]]) -> None:
        """Reads the file, which need not exist: it is made by the first save. Its directory has to exist."""
        self.path = Path(path)
        self._mutex = threading.Lock()  # also held while the file is written
        self._lock: Optional[IO[bytes]] = _locked(self.path)
        try:
            self._offsets = decode(self.path.read_bytes())
        except FileNotFoundError:
            self._offsets = {}
        except ValueError as e:
            self.close()
            raise UsageError(f"the offsets in {self.path} are damaged; mend the file, or move it away to begin without offsets: {e}") from None

    def load(self, group: str, place: TopicPartition) -> Optional[Offset]:
        """Answers from memory."""
        with self._mutex:
            self._check()
            return self._offsets.get((group, place))

    def save(self, group: str, offsets: dict[TopicPartition, Offset]) -> None:
        """Replaces the file by one with the new offsets: all of them are kept or none."""
        with self._mutex:
            self._check()
            every = {**self._offsets, **{(group, place): offset for place, offset in offsets.items()}}
            _replace(self.path, encode(every))
            self._offsets = every

    def _check(self) -> None:
        if self._lock is None:
            raise ClosedError(f"the offsets in {self.path} are closed")

    def close(self) -> None:
        """Gives the file to others. Nothing is written: everything is saved when save returns."""
        with self._mutex:
            if self._lock is not None:
                self._lock.close()  # with it goes the lock
                self._lock = None

    def __enter__(self) -> FileOffsets:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.close()


def encode(offsets: dict[Key, Offset]) -> bytes:
    """Makes the file, in the order of groups, topics and partitions, with the fields as Java orders them."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for (group, place), at in sorted(offsets.items()):
        partition = {"partition": place.partition.number, "brokerId": place.partition.broker}
        entry = {"offset": at.offset, "messageId": at.message_id, "topic": place.topic, "partition": partition, "modified": False}
        groups.setdefault(group, []).append(entry)
    return json.dumps(groups, separators=(",", ":")).encode()


def decode(data: bytes) -> dict[Key, Offset]:
    """Reads what encode makes, and what Java writes: also an empty file, with which LocalOffsetStorage begins. ValueError says what is wrong."""
    offsets: dict[Key, Offset] = {}
    groups = json.loads(data) if data.strip() else {}
    if not isinstance(groups, dict):
        raise ValueError("no groups are in it")
    for group, entries in groups.items():
        for i, entry in enumerate(entries if isinstance(entries, list) else [entries]):
            try:
                place = TopicPartition(entry["topic"], Partition(entry["partition"]["brokerId"], entry["partition"]["partition"]))
                at = Offset(entry["offset"], entry.get("messageId", UNKNOWN_MESSAGE))
                sound = isinstance(place.topic, str) and all(type(n) is int for n in (*place.partition, *at)) and 0 <= at.offset <= MAX_OFFSET
            except (KeyError, TypeError, AttributeError):
                sound = False
            if not sound or min(place.partition) < 0:
                raise ValueError(f"entry {i} of group {group} is no offset")
            offsets[group, place] = at
    return offsets


def _locked(path: Path) -> IO[bytes]:
    lock = open(f"{path}.lock", "ab")  # noqa: SIM115, PTH123 - it is held until close
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        lock.close()
        raise MetaQError(f"the offsets in {path} are in use by another consumer: give each a file of its own") from e
    return lock


def _replace(path: Path, data: bytes) -> None:
    """Writes a file beside the old one and puts it into its place when it is on disk. After an error the old one is still there, or the new one."""
    new = Path(f"{path}.new")
    with new.open("wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    new.replace(path)
    if sys.platform != "win32":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
