"""Offsets in a file, for consumers that keep them to themselves: the same file as that of the Go client (client/offsetfile) and of the Java client
(LocalOffsetStorage)."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Optional, Union

from metaq.errors import ClosedError, MetaQError, UsageError
from metaq.model import UNKNOWN_MESSAGE, Offset, Partition, TopicPartition
from metaq.protocol import check_group, check_topic

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class FileOffsets:
    """An OffsetStore in a file. Each save writes a new file, flushes it and puts it into the place of the old one, so that a crash leaves one or the other. The
    file is locked, so two consumers with the same one are an error and not a mix-up (there is no lock on Windows). Close it after the consumer."""

    def __init__(self, path: Union[str, os.PathLike[str]]) -> None:
        self._path = Path(path)
        self._mutex = threading.Lock()
        self._lock: Optional[IO[bytes]] = self._path.with_name(self._path.name + ".lock").open("ab")
        try:
            if fcntl is not None:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._offsets = _decode(self._path.read_bytes() if self._path.exists() else b"")
        except BlockingIOError:
            self._lock.close()
            raise UsageError(f"the offsets in {self._path} are in use by another consumer") from None
        except (ValueError, TypeError, KeyError, AttributeError) as err:
            self._lock.close()
            raise MetaQError(f"the offsets in {self._path} are damaged; mend the file, or move it away to begin without offsets: {err!r}") from err
        except BaseException:
            self._lock.close()
            raise

    def load(self, group: str, place: TopicPartition) -> Optional[Offset]:
        """Answers from memory."""
        with self._mutex:
            self._check_open()
            return self._offsets.get((group, place))

    def save(self, group: str, offsets: dict[TopicPartition, Offset]) -> None:
        """Replaces the file by one with the new offsets: either all of them are kept or none."""
        with self._mutex:
            self._check_open()
            everything = {**self._offsets, **{(group, place): offset for place, offset in offsets.items()}}
            self._replace(_encode(everything))
            self._offsets = everything

    def _check_open(self) -> None:
        if self._lock is None:
            raise ClosedError("the store of offsets is closed")

    def _replace(self, text: bytes) -> None:
        new = self._path.with_name(self._path.name + ".new")
        with new.open("wb") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        new.replace(self._path)
        with contextlib.suppress(PermissionError):  # Windows opens no directories
            directory = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def close(self) -> None:
        """Gives the file to others. Everything is saved already."""
        with self._mutex:
            if self._lock is not None:
                self._lock.close()  # with it goes the lock
                self._lock = None

    def __enter__(self) -> FileOffsets:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.close()


def _encode(offsets: dict[tuple[str, TopicPartition], Offset]) -> bytes:
    groups: dict[str, list[dict[str, Any]]] = {}
    for (group, (topic, partition)), offset in sorted(offsets.items()):
        groups.setdefault(group, []).append(
            {
                "offset": offset.offset,
                "messageId": offset.message_id,
                "topic": topic,
                "partition": {"partition": partition.number, "brokerId": partition.broker},
                "modified": False,
            }
        )
    return json.dumps(groups, separators=(",", ":")).encode()


def _decode(text: bytes) -> dict[tuple[str, TopicPartition], Offset]:
    """Reads what _encode makes, and what Java writes: also an empty file."""
    offsets: dict[tuple[str, TopicPartition], Offset] = {}
    if not text.strip():
        return offsets
    for group, entries in json.loads(text).items():
        for entry in entries:
            partition = Partition(_natural(entry["partition"]["brokerId"]), _natural(entry["partition"]["partition"]))
            place = TopicPartition(check_topic(entry["topic"]), partition)
            offsets[check_group(group), place] = Offset(_natural(entry["offset"]), int(entry.get("messageId", UNKNOWN_MESSAGE)))
    return offsets


def _natural(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no number from 0 on")
    return value
