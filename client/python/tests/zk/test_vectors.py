"""What the Go code names, reads, writes and deals out: a group whose members disagree about any of it is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from metaq.errors import UsageError
from metaq.model import Partition
from metaq.zk.address import parse_cluster_address
from metaq.zk.assign import assign_by_hash, assign_ranges
from metaq.zk.data import (
    Replica,
    encode_offset,
    join_topics,
    parse_address,
    parse_offset,
    parse_partition,
    parse_replica,
    parse_topic_node,
    split_topics,
)
from metaq.zk.layout import Layout

VECTORS: dict[str, list[dict[str, Any]]] = json.loads((Path(__file__).parents[4] / "zkcoord/testdata/vectors.json").read_text())


def argument(text: str) -> Any:
    replica, partition = parse_replica(text), parse_partition(text)
    return next((value for value in (replica, partition) if value is not None), text)


def test_layout() -> None:
    for row in VECTORS["layout"]:
        node = getattr(Layout(row["root"]), row["node"])
        assert node(*map(argument, row["args"])) == row["path"]


@pytest.mark.parametrize(("section", "parse"), [("replicas", parse_replica), ("partitions", parse_partition)])
def test_names(section: str, parse: Any) -> None:
    for row in VECTORS[section]:
        value = parse(row["text"])
        assert ("" if value is None else str(value)) == row["means"], row


def test_addresses_of_brokers() -> None:
    for row in VECTORS["addresses"]:
        assert (parse_address(row["text"].encode()) or "") == row["means"], row
    assert parse_address(b"meta://\xff:1") is None


def test_offsets() -> None:
    for row in VECTORS["offsets"]:
        if row["good"]:
            offset = parse_offset(row["text"].encode())
            assert (offset.offset, offset.message_id) == (row["offset"], row["message"]), row
            assert encode_offset(offset) == row["written"].encode(), row
        else:
            with pytest.raises(ValueError, match="is no offset"):
                parse_offset(row["text"].encode())


def test_topic_nodes() -> None:
    for row in VECTORS["topicNodes"]:
        node = parse_topic_node(row["text"].encode())
        assert (node is not None) == row["good"], row
        if node is not None:
            assert (node.broker, node.partitions) == (row["broker"], row["partitions"])
            assert node.encode() == row["written"].encode()


def test_topics_of_a_member() -> None:
    for row in VECTORS["topics"]:
        assert split_topics(row["text"].encode()) == row["topics"]
        assert join_topics(row["topics"]) == row["written"].encode()
    assert split_topics(b"a,b,a") == ["a", "b"], "one that is named twice is one"


def test_addresses_of_clusters() -> None:
    assert parse_cluster_address("zk://a/app?root=/x").layout.brokers() == "/app/x/brokers/ids"
    for row in VECTORS["clusters"]:
        if row["good"]:
            address = parse_cluster_address(row["text"])
            assert address.servers.split(",") == row["servers"], row
            assert (address.chroot, address.root) == (row["chroot"], row["root"]), row
        else:
            with pytest.raises(UsageError, match="zookeeper"):
                parse_cluster_address(row["text"])


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("host:8123", "such as zk://"),
        ("zk://", "there is no server"),
        ("zk://a:x", "no host:port"),
        ("zk://::1", "in brackets"),
        ("zk://a:1//b", "a path has no part"),
        ("zk://a:1?rot=/meta", "only \\?root="),
        ("zk://a:1?root=meta", "begins with a slash"),
    ],
)
def test_a_wrong_address_says_what_is_wrong(address: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_cluster_address(address)


@pytest.mark.parametrize(("strategy", "assign"), [("ranges", assign_ranges), ("hash", assign_by_hash)])
def test_shares(strategy: str, assign: Any) -> None:
    for row in VECTORS["shares"]:
        partitions = [parse_partition(name) for name in row["partitions"]]
        for order in (1, -1):  # the order of the arguments means nothing
            shares = assign(partitions[::order], row["members"][::order])
            assert {member: list(map(str, share)) for member, share in shares.items()} == row[strategy]


def test_replicas_sort_masters_first() -> None:
    assert sorted([Replica(1), Replica(0, 1), Replica(0, 0), Replica(0)]) == [Replica(0), Replica(0, 0), Replica(0, 1), Replica(1)]
    assert sorted([Partition(10, 0), Partition(2, 10), Partition(2, 9)]) == [Partition(2, 9), Partition(2, 10), Partition(10, 0)]
