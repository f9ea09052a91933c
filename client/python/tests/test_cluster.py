"""Producers and consumers of a cluster, over real brokers and a cluster that the test plays itself (metaq.cluster)."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any, Callable

import pytest

import metaq
from conftest import Broker, eventually
from metaq import Connection, Message, Offset, Partition, TopicPartition
from metaq.cluster import Offer
from metaq.core import consuming
from played import ADDRESS, Played, PlayedStore, offers


def stored(broker: Broker, topic: str) -> list[bytes]:
    found = []
    with Connection(broker.address) as connection:
        for number in range(2):
            offset = 0
            while True:
                messages = connection.get(topic, number, offset)
                if not messages:
                    break
                found += [m.body for m in messages]
                offset = messages[-1].next_offset
    return found


def put(broker: Broker, topic: str, count: int, number: int = 0) -> None:
    with metaq.Producer(broker.address) as producer:
        for n in range(count):
            producer.send_async(topic, b"%d" % n, partition=number)


def test_messages_spread_over_all_brokers(face: Any, cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    cluster.offers = offers(start_broker(numPartitions=2), start_broker(numPartitions=2))
    with face.producer(ADDRESS) as producer:
        turns = [producer.send(topic, b"x").partition for _ in range(8)]
        assert Counter(turns) == {Partition(b, n): 2 for b in (0, 1) for n in (0, 1)}
        assert len({producer.send(topic, b"x", key="customer-17").partition for _ in range(5)}) == 1
        assert producer.send(topic, b"x", partition=Partition(1, 1)).partition == Partition(1, 1)


def test_a_broker_that_dies_is_gone_around(face: Any, cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    one, two = start_broker(numPartitions=2), start_broker(numPartitions=2)
    cluster.offers = offers(one, two)
    with face.producer(ADDRESS) as producer:
        producer.send(topic, b"first")
        deliveries = []
        for n in range(5000):
            deliveries.append(producer.send_async(topic, b"%d" % n))
            if n == 2000:
                for delivery in deliveries:
                    delivery.result()
            if n == 3000:
                two.kill()
        began = time.monotonic()
        receipts = [d.result() for d in deliveries]
        assert time.monotonic() - began < 15
    two.start()
    found = Counter(stored(one, topic) + stored(two, topic))
    assert set(found) == {b"first", *(b"%d" % n for n in range(5000))}
    assert {r.partition.broker for r in receipts} == {0, 1}


def test_a_selector_that_fails_for_another_broker_fails_its_message_only(face: Any, cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    one, two = start_broker(), start_broker()
    cluster.offers = offers(one, two)

    def second(message: metaq.Outgoing, partitions: Sequence[Partition]) -> Partition:
        return partitions[2]  # which is not there when one broker alone is offered

    with face.producer(ADDRESS, selector=second, retry_for=10) as producer:
        producer.send(topic, b"0")
        two.kill()
        deliveries = [producer.send_async(topic, b"%d" % n) for n in range(10)]
        assert {type(d.exception()) for d in deliveries} == {metaq.UsageError}
        two.start()
        eventually(lambda: _sent(producer, topic), "the broker is back")


def _sent(producer: Any, topic: str) -> bool:
    with contextlib.suppress(metaq.MetaQError):
        producer.send(topic, b"again")
        return True
    return False


def test_a_key_waits_for_its_broker_and_a_partition_too(face: Any, cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    one, two = start_broker(numPartitions=2), start_broker(numPartitions=2)
    cluster.offers = offers(one, two)
    with face.producer(ADDRESS) as producer:
        home = producer.send(topic, b"first", key="k").partition
        away = [one, two][home.broker]
        away.kill()
        waiting = [producer.send_async(topic, b"keyed", key="k"), producer.send_async(topic, b"fixed", partition=home)]
        assert producer.send(topic, b"free").partition.broker != home.broker
        assert not any(d.done() for d in waiting)
        away.start()
        assert [d.result().partition for d in waiting] == [home, home]


def test_a_closed_partition_is_gone_around(face: Any, cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    one = start_broker(numPartitions=2)
    cluster.offers = offers(one)
    with face.producer(ADDRESS) as producer:
        producer.send(topic, b"x")
        producer.send(topic, b"x")
        import socket

        with socket.create_connection(("127.0.0.1", one.port)) as operator:
            operator.sendall(b"close %s 0 0 7\r\n" % topic.encode())
            assert operator.recv(100) == b"result 200 0 7\r\n"
        assert [producer.send(topic, b"x").partition.number for _ in range(4)] == [1] * 4


def test_a_broker_that_moves(face: Any, cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    """Whoever is at the old address takes messages yet: they go where consumers look for them."""
    before, after = start_broker(), start_broker()
    cluster.offers = offers(before)
    with face.producer(ADDRESS) as producer:
        producer.send(topic, b"before", key="k")
        cluster.tell(*offers(after))

        def moved() -> bool:
            producer.send(topic, b"after", key="k")
            return b"after" in stored(after, topic)

        eventually(moved, "a message goes to the new address")


def test_brokers_that_become_known_later(face: Any, cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    with face.producer(ADDRESS, retry_for=20) as producer:
        delivery = producer.send_async(topic, b"x")
        eventually(lambda: cluster.tells["pub"], "somebody follows")
        assert not delivery.done()
        cluster.tell(*offers(start_broker()))
        assert delivery.result().partition == Partition(0, 0)


def test_a_topic_that_no_broker_takes(face: Any, cluster: Played, topic: str) -> None:
    with face.producer(ADDRESS, retry_for=3) as producer, pytest.raises(metaq.NoBrokerError, match=topic):
        producer.send(topic, b"x")


def test_a_member_reads_what_it_is_given(face: Any, cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    one, two = start_broker(numPartitions=2), start_broker(numPartitions=2)
    for broker in (one, two):
        put(broker, topic, 100)
    cluster.offers = offers(one, two)
    with face.consumer(ADDRESS, "g", [topic], commit_every=0) as consumer:
        assert consumer.poll(0.1) is None
        [claim] = cluster.give(topic, Partition(1, 0))
        messages = list(islice(consumer, 100))
        assert [int(m.body) for m in messages] == list(range(100)) and {m.partition for m in messages} == {Partition(1, 0)}
        assert consumer.poll(0.1) is None  # the last is done
        cluster.take([claim])
        assert cluster.store.kept == {claim.place: Offset(messages[-1].next_offset, messages[-1].id)}
        assert consumer.assigned() == set()
        cluster.give(topic, Partition(0, 0))
        assert consumer.poll(20).partition == Partition(0, 0)
    assert cluster.left


def test_from_the_latest_nothing_is_left_out_of_a_broker_that_comes_later(face: Any, cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    one, two = start_broker(numPartitions=2), start_broker(numPartitions=2)
    for broker in (one, two):
        put(broker, topic, 3)
    stored_by = time.time()
    eventually(lambda: time.time() > stored_by + 0.002, "the clock goes on by the millisecond in which messages are dated")
    cluster.offers = offers(one)
    with face.consumer(ADDRESS, "g", [topic], start="latest") as consumer:
        assert consumer.poll(0.1) is None
        cluster.give(topic, Partition(0, 0))

        def reads() -> bool:
            put(one, topic, 1)
            return consumer.poll(0.1) is not None

        eventually(reads, "the partition that was there is read")
        put(two, topic, 3)
        cluster.tell(*offers(one, two))
        cluster.give(topic, Partition(1, 0))
        later: list[Message] = []

        def all_of_it() -> bool:
            message = consumer.poll(0.1)
            if message is not None and message.partition == Partition(1, 0):
                later.append(message)
            return len(later) == 3

        eventually(all_of_it, "what came since the consumer began is read")
        assert [m.body for m in later] == [b"0", b"1", b"2"] and later[0].offset > 0, "and nothing of what was there before"


def test_a_release_waits_for_the_message_in_hand(cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    one = start_broker(numPartitions=2)
    put(one, topic, 100)
    cluster.offers = offers(one)
    revoked: list[TopicPartition] = []
    with metaq.Consumer(ADDRESS, "g", [topic], on_revoked=revoked.extend) as consumer:
        threading.Thread(target=lambda: cluster.give(topic, Partition(0, 0))).start()
        first = consumer.poll(20)
        assert first is not None
        [claim] = cluster.claims
        releasing = threading.Thread(target=cluster.take, args=([claim],))
        releasing.start()
        eventually(lambda: revoked == [claim.place], "the release begins")
        assert releasing.is_alive() and cluster.store.kept == {}
        assert consumer.poll(0.1) is None, "nothing more of the partition"
        releasing.join(20)
        assert cluster.store.kept == {claim.place: Offset(first.next_offset, first.id)}


def test_a_release_does_not_wait_for_ever(cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    one = start_broker(numPartitions=2)
    put(one, topic, 100)
    cluster.offers = offers(one)
    with metaq.Consumer(ADDRESS, "g", [topic]) as consumer:
        threading.Thread(target=lambda: cluster.give(topic, Partition(0, 0))).start()
        assert consumer.poll(20) is not None
        began = time.monotonic()
        cluster.take(list(cluster.claims))
        assert cluster.session_timeout <= time.monotonic() - began < 10
        assert cluster.store.kept in ({}, {TopicPartition(topic, Partition(0, 0)): Offset(0)})


def test_a_close_that_takes_too_long_leaves_nothing_behind(cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    broker = start_broker()
    put(broker, topic, 3)
    cluster.offers = offers(broker)
    consumer = metaq.Consumer(ADDRESS, "g", [topic], commit_every=0)
    consumer.poll(0)
    cluster.give(topic, Partition(0, 0))
    message = consumer.poll(20)
    assert message is not None and consumer.done(message)
    going_on = threading.Event()
    cluster.store.before_save = going_on.wait
    with pytest.raises(metaq.TimedOutError):
        consumer.close(timeout=0.1)
    # Others have its partitions now, and not when this process ends.
    eventually(lambda: cluster.closed, "the end of the session")
    going_on.set()


def test_a_store_that_hangs_keeps_no_partition_from_its_next_owner(
    cluster: Played, start_broker: Callable[..., Broker], topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "_LAST_COMMIT", 0.2, raising=False)
    broker = start_broker(numPartitions=2)
    for number in range(2):
        put(broker, topic, 1, number)
    cluster.offers = offers(broker)
    going_on, saving = threading.Event(), threading.Event()

    def hang() -> None:
        saving.set()
        going_on.wait(60)

    cluster.store.before_save = hang
    consumer = metaq.Consumer(ADDRESS, "g", [topic], commit_every=0)
    consumer.poll(0)
    first, second = cluster.give(topic, Partition(0, 0), Partition(0, 1))
    assert all(consumer.done(message) for message in islice(consumer, 2))

    def commit() -> None:
        with contextlib.suppress(metaq.ClosedError):
            consumer.commit()

    committing = threading.Thread(target=commit)
    committing.start()
    assert saving.wait(20)
    for claim in (first, second):  # while a save is under way, and the next one waits for it
        taking = threading.Thread(target=cluster.take, args=([claim],), daemon=True)
        taking.start()
        taking.join(20)
        assert not taking.is_alive()
    closing = threading.Thread(target=consumer.close, daemon=True)
    closing.start()
    eventually(lambda: cluster.closed, "the end of the session")
    going_on.set()
    closing.join(20)
    committing.join(20)
    assert not closing.is_alive()
    assert not committing.is_alive()


def test_close_does_not_wait_for_offsets_that_nobody_needs_any_more(cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    """ZooKeeper is away, and each question is answered with an error after a while."""
    asked = threading.Semaphore(0)

    def away() -> None:
        asked.release()
        over.wait(0.3)
        raise metaq.OffsetStoreError("ZooKeeper is away")

    over = threading.Event()
    cluster.store.before_load = away
    cluster.offers = [offers(start_broker())[0]._replace(partitions=200)]
    consumer = metaq.Consumer(ADDRESS, "g", [topic])
    consumer.poll(0)
    cluster.give(topic, *(Partition(0, n) for n in range(200)))
    for _ in range(40):  # more than are asked at once: the others wait for their turn
        assert asked.acquire(timeout=20)
    began = time.monotonic()
    consumer.close()
    took = time.monotonic() - began
    over.set()
    assert took < 5


def test_nothing_of_a_claim_that_is_not_sure_is_handed_over_or_kept(face: Any, cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    one = start_broker(numPartitions=2)
    put(one, topic, 100)
    cluster.offers = offers(one)
    with face.consumer(ADDRESS, "g", [topic], commit_every=0) as consumer:
        consumer.poll(0.05)
        [claim] = cluster.give(topic, Partition(0, 0))
        assert consumer.poll(20).body == b"0"
        claim.holds = False
        assert consumer.poll(0.1) is None
        consumer.commit()
        assert cluster.store.kept == {}
        cluster.take([claim])
        # What it has done is put back where there is no offset at all, for the group not to begin again.
        eventually(lambda: cluster.store.kept, "the offset is put back")
        assert cluster.store.kept[claim.place].offset == 21


def test_what_is_done_while_the_claim_is_in_doubt_counts_when_it_is_not(face: Any, cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    """The session with ZooKeeper counts as lost, and is had back before it ends."""
    one = start_broker(numPartitions=2)
    put(one, topic, 3)
    cluster.offers = offers(one)
    with face.consumer(ADDRESS, "g", [topic], commit_every=0, manual=True) as consumer:
        consumer.poll(0.05)
        [claim] = cluster.give(topic, Partition(0, 0))
        first = consumer.poll(20)
        claim.holds = False
        assert consumer.poll(0.1) is None
        assert consumer.done(first)
        consumer.commit()
        assert cluster.store.kept == {}
        claim.holds = True
        consumer.commit()
        assert cluster.store.kept == {claim.place: Offset(first.next_offset, first.id)}
        assert [m.body for m in islice(consumer, 2)] == [b"1", b"2"]


def test_a_place_to_begin_is_not_put_back(face: Any, cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    one = start_broker(numPartitions=2)
    put(one, topic, 10)
    cluster.offers = offers(one)
    with face.consumer(ADDRESS, "g", [topic], commit_every=0) as consumer:
        consumer.poll(0.05)
        claims = cluster.give(topic, Partition(0, 1), Partition(0, 0))
        empty, begun = (claim.place for claim in claims)
        assert len(list(islice(consumer, 2))) == 2  # of which one is done
        eventually(lambda: empty in consumer.positions(), "it reads both")
        for claim in claims:
            claim.holds = False
        cluster.take(claims)
        eventually(lambda: begun in cluster.store.kept, "how far it came is put back")
        assert empty not in cluster.store.kept, "the next owner may have stored something by now"


def test_an_offset_that_somebody_else_has_changed_counts(face: Any, cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    one = start_broker(numPartitions=2)
    put(one, topic, 10)
    cluster.offers = offers(one)
    with face.consumer(ADDRESS, "g", [topic], commit_every=0) as consumer:
        consumer.poll(0.05)
        [claim] = cluster.give(topic, Partition(0, 0))
        messages: list[Message] = list(islice(consumer, 8))
        cluster.store.kept[claim.place] = Offset(messages[3].offset)
        cluster.store.moved.add(claim.place)
        consumer.commit()
        assert cluster.store.kept[claim.place] == Offset(messages[3].offset)
        eventually(lambda: (m := consumer.poll(5)) is not None and m.body == b"3", "it goes on where it was told to")


def test_an_offset_that_may_still_come_is_waited_for(face: Any, cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    one = start_broker(numPartitions=2)
    put(one, topic, 10)
    cluster.offers = offers(one)
    cluster.may_come = True
    with face.consumer(ADDRESS, "g", [topic]) as consumer:
        consumer.poll(0.05)
        [claim] = cluster.give(topic, Partition(0, 0))
        assert consumer.poll(0.5) is None
        cluster.store.kept[claim.place] = Offset(5 * 21)
        assert consumer.poll(20).body == b"5"


def test_a_slave_is_read_while_there_is_no_master(face: Any, cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    master, slave = start_broker(numPartitions=2), start_broker(numPartitions=2)
    for broker in (master, slave):
        put(broker, topic, 10)
    cluster.offers = [Offer(0, None, master.address, 2), Offer(0, 1, slave.address, 2)]
    with face.consumer(ADDRESS, "g", [topic], wait=0.2) as consumer:
        consumer.poll(0.05)
        cluster.give(topic, Partition(0, 0))
        assert [m.body for m in islice(consumer, 10)] == [b"%d" % n for n in range(10)]
        master.kill()
        put(slave, topic, 5)
        assert [m.body for m in islice(consumer, 5)] == [b"%d" % n for n in range(5)]


def test_broadcast_reads_everything(face: Any, cluster: Played, start_broker: Callable[..., Broker], topic: str) -> None:
    one, two = start_broker(numPartitions=2), start_broker(numPartitions=2)
    put(one, topic, 10)
    put(two, topic, 10, number=1)
    cluster.offers = offers(one, two)
    with face.consumer(ADDRESS, "g", [topic], broadcast=True, offsets=PlayedStore()) as consumer:
        assert Counter(m.partition for m in islice(consumer, 20)) == {Partition(0, 0): 10, Partition(1, 1): 10}
        cluster.tell()  # ZooKeeper has lost everything: it reads on
        put(two, topic, 1, number=1)
        assert consumer.poll(20).partition == Partition(1, 1)
        cluster.tell(*offers(one))
        eventually(lambda: {p.partition.broker for p in consumer.assigned()} == {0}, "the broker that is gone is not read")


def test_an_assignment_that_there_is_not_ends_the_consumer(face: Any, cluster: Played, topic: str) -> None:
    with face.consumer(ADDRESS, "g", [topic], assignment="best") as consumer, pytest.raises(metaq.UsageError, match="best"):
        consumer.poll(20)


def test_a_cluster_takes_one_more_package(monkeypatch: pytest.MonkeyPatch, face: Any) -> None:
    monkeypatch.setitem(sys.modules, "metaq.zk", None)
    with pytest.raises(metaq.UsageError, match=r"pip install 'kazoo"):
        face.producer(ADDRESS)
