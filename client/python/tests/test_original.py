"""The module of the original's scripts."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from conftest import Broker
from metaq import Connection
from metaq.producer import Message, MessageProducer, Partition, SendResult, get_round_robin_selector
from played import Played, offers


def test_an_old_script_runs(shared: Broker, topic: str) -> None:
    p = MessageProducer(topic, broker=shared.address)
    message = Message(topic, "http://example.com/")
    sent = p.send(message)
    assert isinstance(sent, SendResult) and sent.success and sent.error is None
    assert sent.partition == message.partition and message.id is not None
    assert str(sent) == f"SendResult[success=True, partition={sent.partition}, offset={sent.offset}, error=None]"
    with_attribute = p.send(Message(topic, b"data", "attribute"))
    p.close()
    assert with_attribute.partition is not None
    with Connection(shared.address) as broker:
        [first] = broker.get(topic, sent.partition.partition, sent.offset)[:1]
        assert (first.text, first.id) == ("http://example.com/", message.id)
        stored = broker.get(topic, with_attribute.partition.partition, with_attribute.offset)[0]
        assert (stored.attribute, stored.body) == ("attribute", b"data")


def test_an_old_script_names_zookeeper(cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    one, two = start_broker(numPartitions=2), start_broker(numPartitions=2)
    cluster.offers = offers(one, two)
    p = MessageProducer(topic, zk_servers="10.0.0.1:2181,10.0.0.2:2181/metaq", zk_root="/old")
    results = [p.send(Message(topic, str(n))) for n in range(8)]
    p.close()
    assert cluster.address == "zk://10.0.0.1:2181,10.0.0.2:2181/metaq?root=/old"
    assert [str(r.partition) for r in results] == ["0-1", "1-0", "1-1", "0-0"] * 2
    assert sum(len(b.run("get", topic).split()) for b in (one, two)) == 8


def test_a_selector_sees_what_it_saw(shared: Broker, topic: str) -> None:
    seen: list[Any] = []

    def select(name: str, partitions: Any, message: Message) -> Partition:
        seen.append((name, [(p.broker_id, p.partition, str(p)) for p in partitions], message))
        return partitions[3]  # type: ignore[no-any-return]

    p = MessageProducer(topic, partition_selector=select, broker=shared.address)
    message = Message(topic, "x")
    result = p.send(message)
    p.close()
    if seen:  # otherwise the topic was made by this message
        assert seen == [(topic, [(0, n, f"0-{n}") for n in range(4)], message)]
        assert result.partition == (0, 3)


def test_round_robin_is_that_of_the_original() -> None:
    select = get_round_robin_selector()
    partitions = [Partition(0, n) for n in range(3)]
    assert [select("t", partitions, Message("t", "")).partition for _ in range(3)] == [2, 0, 1]
    with pytest.raises(Exception, match="no available partition"):
        select("t", [], Message("t", ""))


def test_failures_are_results_and_mistakes_are_raised(shared: Broker, topic: str) -> None:
    p = MessageProducer(topic, broker="127.0.0.1:1", socket_timeout=0.3)
    result = p.send(Message(topic, "x"))
    assert not result.success and result.offset == -1 and result.partition is None and result.error and "127.0.0.1:1" in result.error
    for wrong in (None, Message("another", "x"), Message(topic, None)):
        with pytest.raises(ValueError):
            p.send(wrong)  # type: ignore[arg-type]
    p.close()
