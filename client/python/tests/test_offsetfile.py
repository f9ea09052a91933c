"""Offsets in a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metaq.errors import ClosedError, MetaQError, UsageError
from metaq.model import Offset, Partition, TopicPartition
from metaq.offsetfile import FileOffsets, decode, encode

ONE, TWO = TopicPartition("orders", Partition(0, 1)), TopicPartition("orders", Partition(1, 0))
WRITTEN_BY_JAVA = Path(__file__).parents[2] / "offsetfile/testdata"


def test_kept_as_java_does(tmp_path: Path) -> None:
    path = tmp_path / "offsets"
    with FileOffsets(path) as store:
        assert store.load("billing", ONE) is None
        store.save("billing", {ONE: Offset(4711, -5468921164271190016)})
        assert (
            path.read_text() == '{"billing":[{"offset":4711,"messageId":-5468921164271190016,"topic":"orders",'
            '"partition":{"partition":1,"brokerId":0},"modified":false}]}'
        )
        store.save("shop", {ONE: Offset(1), TWO: Offset(2)})
    with FileOffsets(path) as again:
        assert again.load("billing", ONE) == Offset(4711, -5468921164271190016)
        assert (again.load("shop", ONE), again.load("shop", TWO)) == (Offset(1), Offset(2))


def test_reads_what_java_has_written() -> None:
    files = [f for f in WRITTEN_BY_JAVA.iterdir() if f.is_file()]
    assert files
    for f in files:
        offsets = decode(f.read_bytes())
        entries = [e for group in json.loads(f.read_bytes() or b"{}").values() for e in group]
        assert sorted(at.offset for at in offsets.values()) == sorted(e["offset"] for e in entries)
        assert decode(encode(offsets)) == offsets


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"g":[{}]}',
        '{"g":1}',
        '{"g":[{"offset":-1,"topic":"t","partition":{"partition":1,"brokerId":0}}]}',
        '{"g":[{"offset":1,"topic":"t","partition":{"partition":-1,"brokerId":0}}]}',
        '{"g":[{"offset":"1","topic":"t","partition":{"partition":1,"brokerId":0}}]}',
        '{"g":[{"offset":1,"topic":1,"partition":{"partition":1,"brokerId":0}}]}',
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "offsets"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"{path} are damaged"):
        FileOffsets(path)
    path.write_text("")  # and is not locked any more
    FileOffsets(path).close()


def test_one_consumer_a_file(tmp_path: Path) -> None:
    one = FileOffsets(tmp_path / "offsets")
    with pytest.raises(MetaQError, match="in use by another consumer"):
        FileOffsets(tmp_path / "offsets")
    one.close()
    FileOffsets(tmp_path / "offsets").close()
    with pytest.raises(ClosedError):
        one.load("g", ONE)
    with pytest.raises(ClosedError):
        one.save("g", {ONE: Offset(1)})


def test_a_save_that_fails_changes_nothing(tmp_path: Path) -> None:
    with FileOffsets(tmp_path / "offsets") as store:
        store.save("g", {ONE: Offset(1)})
        blocked = tmp_path / "offsets.new"  # where the next file is to be written
        blocked.mkdir()
        with pytest.raises(OSError, match=r"offsets\.new"):
            store.save("g", {ONE: Offset(2)})
        assert store.load("g", ONE) == Offset(1)
        blocked.rmdir()
        store.save("g", {ONE: Offset(3)})
    with FileOffsets(tmp_path / "offsets") as again:
        assert again.load("g", ONE) == Offset(3)
