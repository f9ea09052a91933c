"""Offsets in a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaq import ClosedError, FileOffsets, MetaQError, Offset, Partition, TopicPartition, UsageError
from metaq.offsetfile import _decode, _encode

HERE = TopicPartition("orders", Partition(1, 2))

# As the Go and the Java client write it (client/offsetfile).
TEXT = '{"billing":[{"offset":1234,"messageId":-77,"topic":"orders","partition":{"partition":2,"brokerId":1},"modified":false}]}'


def test_it_is_the_file_of_the_other_clients(tmp_path: Path) -> None:
    path = tmp_path / "offsets"
    path.write_text(TEXT)
    with FileOffsets(path) as store:
        assert store.load("billing", HERE) == Offset(1234, -77)
        assert store.load("another", HERE) is None
        store.save("billing", {HERE: Offset(1234, -77)})
    assert path.read_text() == TEXT


def test_what_is_saved_is_there_after_a_crash(tmp_path: Path) -> None:
    store = FileOffsets(tmp_path / "offsets")
    store.save("a", {HERE: Offset(5, 6)})
    store.save("b", {HERE: Offset(7)})
    assert _decode((tmp_path / "offsets").read_bytes()) == {("a", HERE): Offset(5, 6), ("b", HERE): Offset(7, -1)}
    store.close()


def test_a_file_belongs_to_one_consumer(tmp_path: Path) -> None:
    with FileOffsets(tmp_path / "offsets"), pytest.raises(UsageError, match="in use"):
        FileOffsets(tmp_path / "offsets")
    FileOffsets(tmp_path / "offsets").close()


@pytest.mark.parametrize("text", ["null", "[]", "{", '{"g":[{}]}', '{"g":[{"offset":-1,"topic":"t","partition":{"partition":0,"brokerId":0}}]}', '{"no good":[]}x'])
def test_damage_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "offsets"
    path.write_text(text)
    with pytest.raises(MetaQError, match="damaged"):
        FileOffsets(path)
    path.write_text("")
    FileOffsets(path).close()


def test_nothing_works_after_close(tmp_path: Path) -> None:
    store = FileOffsets(tmp_path / "offsets")
    store.close()
    store.close()
    with pytest.raises(ClosedError):
        store.load("g", HERE)
    with pytest.raises(ClosedError):
        store.save("g", {HERE: Offset(1)})


names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
places = st.builds(TopicPartition, names, st.builds(Partition, st.integers(0, 99), st.integers(0, 99)))
offsets = st.builds(Offset, st.integers(0, 2**63 - 1), st.integers(-(2**63), 2**63 - 1))


@given(st.dictionaries(st.tuples(names, places), offsets))
def test_what_is_written_is_read(kept: dict[tuple[str, TopicPartition], Offset]) -> None:
    assert _decode(_encode(kept)) == kept
