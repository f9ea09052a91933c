"""How partitions are chosen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Optional

import pytest

from conftest import REPOSITORY
from metaq import Partition, by_key, fixed, round_robin


@dataclass
class Mail:
    topic: str = "t"
    key: Optional[str] = None
    attribute: str = ""
    body: bytes = b""


def among(n: int) -> list[Partition]:
    return [Partition(0, i) for i in range(n)]


def test_keys_have_the_partitions_of_the_go_client() -> None:
    rows = json.loads((REPOSITORY / "client/testdata/keys.json").read_text())["rows"]
    assert len(rows) >= 10
    for row in rows:
        for n, want in row["among"].items():
            assert by_key(Mail(key=row["key"]), among(int(n))).number == want, (row["key"], n)


def test_round_robin_takes_turns_in_each_topic() -> None:
    select, three = round_robin(), among(3)
    assert [select(Mail("a"), three).number for _ in range(5)] == [0, 1, 2, 0, 1]
    assert [select(Mail("b"), three).number for _ in range(2)] == [0, 1]
    keyed = Mail("a", key="customer-17")
    assert select(keyed, three) == by_key(keyed, three)
    assert select(Mail("a"), three).number == 2


def test_fixed_takes_one() -> None:
    assert fixed(Partition(0, 2))(Mail(), among(3)) == Partition(0, 2)


@pytest.mark.parametrize(("text", "want"), [("3", Partition(0, 3)), ("1-0", Partition(1, 0))])
def test_partitions_are_read_as_they_are_written(text: str, want: Partition) -> None:
    assert Partition.parse(text) == want
    assert Partition.parse(str(want)) == want


@pytest.mark.parametrize("text", ["", "-", "1-", "-1", "1-2-3", "a", "٣"])
def test_what_is_no_partition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no partition"):
        Partition.parse(text)
