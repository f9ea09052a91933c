"""Consumers of both faces against a real broker."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any, Callable

import pytest

import metaq
import metaq.aio
from conftest import Broker, eventually
from metaq import Connection, Message, Offset, Partition, Producer, Retry, TopicPartition


def fill(broker: Broker, topic: str, count: int, **more: Any) -> list[metaq.Receipt]:
    with Producer(broker.address) as producer:
        if "partition" not in more:
            producer.send(topic, b"0", partition=0)
        deliveries = [producer.send_async(topic, b"%d" % n, **more) for n in range(0 if "partition" in more else 1, count)]
    return [d.result() for d in deliveries]


def numbers(messages: list[Message]) -> list[int]:
    return sorted(int(m.body) for m in messages)


def place(topic: str, number: int = 0) -> TopicPartition:
    return TopicPartition(topic, Partition(0, number))


def test_all_partitions_are_read_each_in_its_order(face: Any, shared: Broker, topic: str) -> None:
    fill(shared, topic, 5000)
    with face.consumer(shared.address, topic, [topic]) as consumer:
        messages = list(islice(consumer, 5000))
    assert numbers(messages) == list(range(5000))
    by_partition: dict[int, list[Message]] = {}
    for m in messages:
        by_partition.setdefault(m.partition.number, []).append(m)
    assert len(by_partition) == 4
    for some in by_partition.values():
        assert [int(m.body) for m in some] == sorted(int(m.body) for m in some)
        assert all(a.next_offset == b.offset for a, b in zip(some, some[1:]))


def test_a_group_goes_on_where_it_was(face: Any, shared: Broker, topic: str) -> None:
    fill(shared, topic, 100)
    seen: Counter[bytes] = Counter()
    for _ in range(10):
        with face.consumer(shared.address, topic, [topic]) as consumer:
            for message in islice(consumer, 10):
                seen[message.body] += 1
                consumer.done(message)
    assert seen == Counter(b"%d" % n for n in range(100))


def test_what_was_not_done_comes_again(face: Any, shared: Broker, topic: str) -> None:
    fill(shared, topic, 10, partition=0)
    with face.consumer(shared.address, topic, [topic]) as consumer:
        got = [m.body for m in islice(consumer, 3)]  # the third is in hand when the consumer is closed
    assert got == [b"0", b"1", b"2"]
    with face.consumer(shared.address, topic, [topic]) as consumer:
        assert [m.body for m in islice(consumer, 2)] == [b"2", b"3"]


def test_commit_keeps_offsets_on_the_broker(face: Any, shared: Broker, topic: str) -> None:
    fill(shared, topic, 10, partition=0)
    with face.consumer(shared.address, topic, [topic], commit_every=0) as consumer, Connection(shared.address) as broker:
        [first, second] = list(islice(consumer, 2))
        assert broker.committed(topic, topic, 0) is None
        consumer.commit()
        assert broker.committed(topic, topic, 0) == first.next_offset
        consumer.commit(second)
        assert broker.committed(topic, topic, 0) == second.next_offset
        assert consumer.positions()[place(topic)] == Offset(second.next_offset, second.id)


def test_commits_happen_while_messages_are_read(face: Any, shared: Broker, topic: str) -> None:
    fill(shared, topic, 10, partition=0)
    with face.consumer(shared.address, topic, [topic], commit_every=0.05) as consumer, Connection(shared.address) as broker:
        messages = list(islice(consumer, 5))
        eventually(lambda: broker.committed(topic, topic, 0) == messages[3].next_offset, "a commit of what is done")


def test_close_ends_whatever_is_under_way(face: Any, shared: Broker, topic: str) -> None:
    """Also when an answer comes at the very moment in which its reader is told to end."""
    fill(shared, topic, 1000)
    for n in range(300):
        with face.consumer(shared.address, topic, [topic], fetch_size=100, wait=0.001, commit_every=0) as consumer:
            consumer.poll((n % 20) / 1000)


def test_new_messages_arrive_at_once(face: Any, shared: Broker, topic: str) -> None:
    fill(shared, topic, 1, partition=0)
    with face.consumer(shared.address, topic, [topic], start="latest") as consumer, Producer(shared.address) as producer:
        assert consumer.poll(0.3) is None
        producer.send(topic, b"new", partition=0)
        message = consumer.poll(20)
        assert message is not None and message.body == b"new"
        assert consumer.poll(0) is None


def test_a_topic_that_is_made_later_is_found(face: Any, shared: Broker, topic: str) -> None:
    with face.consumer(shared.address, topic, [topic]) as consumer:
        assert consumer.poll(0.1) is None
        fill(shared, topic, 1, partition=0)
        message = consumer.poll(30)
        assert message is not None and message.body == b"0"


def test_places_to_begin(face: Any, shared: Broker, topic: str) -> None:
    receipts = fill(shared, topic, 10, partition=0)
    for start, first in (("earliest", b"0"), (receipts[4].offset, b"4"), (receipts[4].offset + 1, b"4"), (datetime.now() - timedelta(hours=1), b"0")):
        with face.consumer(
            shared.address, f"{topic}-{first.decode()}-{isinstance(start, int)}-{start}".replace(":", "").replace(" ", "")[:200], [topic], start=start
        ) as consumer:
            message = consumer.poll(20)
            assert message is not None
            # An offset within a message is moved to its beginning.
            assert message.body == first, start


def test_seek(face: Any, shared: Broker, topic: str) -> None:
    receipts = fill(shared, topic, 10, partition=0)
    with face.consumer(shared.address, topic, [topic]) as consumer:
        assert numbers(list(islice(consumer, 10))) == list(range(10))
        only = {"topic": topic, "partition": 0}

        def next_body() -> bytes:
            message = consumer.poll(20)
            assert message is not None
            return message.body  # type: ignore[no-any-return]

        assert consumer.seek("earliest", **only) == 1
        assert [next_body(), next_body()] == [b"0", b"1"]
        assert consumer.seek(receipts[7].offset, **only) == 1
        assert next_body() == b"7"
        assert consumer.seek(datetime.now(timezone.utc) - timedelta(minutes=5)) == 4
        assert next_body() == b"0"
        assert consumer.seek(datetime.now(timezone.utc) + timedelta(minutes=5)) == 4
        assert consumer.poll(0.2) is None
        assert consumer.seek("latest") == 4
        assert consumer.poll(0.2) is None
        fill(shared, topic, 1, partition=0)
        assert next_body() == b"0"
        assert consumer.seek("earliest", topic="another") == 0
        with pytest.raises(metaq.UsageError):
            consumer.seek("somewhere")


def test_what_seek_says_is_kept(face: Any, shared: Broker, topic: str) -> None:
    receipts = fill(shared, topic, 10, partition=0)
    with Connection(shared.address) as broker:
        end = broker.end(topic, 0)
        for position, want in (("latest", end), ("earliest", 0), (receipts[3].offset, receipts[3].offset)):
            with face.consumer(shared.address, topic, [topic], commit_every=0) as consumer:
                assert consumer.seek(position) == 4
                consumer.commit()
                assert broker.committed(topic, topic, 0) == want
            with face.consumer(shared.address, f"{topic}-close", [topic]) as consumer:
                consumer.seek(position, topic, 0)
            assert broker.committed(topic, f"{topic}-close", 0) == want


def test_seek_tells_of_a_broker_that_is_away(face: Any, start_broker: Callable[..., Broker], topic: str) -> None:
    broker = start_broker()
    fill(broker, topic, 10, partition=0)
    with face.consumer(broker.address, topic, [topic]) as consumer:
        assert consumer.poll(20) is not None
        broker.pause()
        with pytest.raises(metaq.TimedOutError, match="1 of 1 partitions"):
            consumer.seek("latest")
        broker.resume()
        eventually(lambda: consumer.positions().get(place(topic), Offset(0)).offset > 0, "it is there when the broker is back")


def test_seek_before_anything_was_read(face: Any, shared: Broker, topic: str) -> None:
    fill(shared, topic, 10, partition=0)
    with face.consumer(shared.address, topic, [topic]) as consumer:
        assert consumer.seek("latest") == 4
        assert consumer.poll(0.2) is None
    with Connection(shared.address) as broker:
        assert broker.committed(topic, topic, 0) == broker.end(topic, 0)


def test_what_comes_from_now_on_begins_with_the_first_message(face: Any, shared: Broker, topic: str) -> None:
    """Nobody has written the partition, and messages come while the consumer is not asking."""
    fill(shared, topic, 1)
    with face.consumer(shared.address, topic, [topic], start="latest", wait=0.01) as consumer:
        assert consumer.poll(0) is None
        eventually(lambda: len(consumer.positions()) == 4, "it has begun everywhere")
        fill(shared, topic, 3, partition=3)
        assert [m.partition.number for m in islice(consumer, 3)] == [3] * 3


@pytest.mark.parametrize(
    ("offset", "says"),
    [
        (1000, ["ERROR", "offset 1000", "beyond the end of the partition, 42", "metaq offsets reset"]),
        (5, ["WARNING", "at offset 5,", "removed before it was read", "goes on at 0"]),
    ],
)
def test_messages_that_are_not_there_are_told_of(face: Any, shared: Broker, topic: str, offset: int, says: list[str], caplog: pytest.LogCaptureFixture) -> None:
    fill(shared, topic, 2, partition=0)
    with Connection(shared.address) as connection:
        connection.commit(topic, topic, 0, offset)
    with face.consumer(shared.address, topic, [topic], wait=0.1) as consumer:
        assert (consumer.poll(0.1) is None) == (offset == 1000)
        eventually(lambda: any(all(word in f"{r.levelname} {r.getMessage()}" for word in [topic, *says]) for r in caplog.records), "it is said")
        consumer.poll(0.5)
        told = [r for r in caplog.records if r.levelname == says[0]]
        assert len(told) == 1, "once"


def test_a_broker_that_is_away_is_told_of_once(face: Any, start_broker: Callable[..., Broker], topic: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "metaq.consumer")
    broker = start_broker()
    broker.kill()
    with face.consumer(broker.address, topic, [topic]) as consumer:
        consumer.poll(2.5)
        assert [r.getMessage().partition(":")[0] for r in caplog.records] == ["the partitions are not known"]
        broker.start()
        fill(broker, topic, 1)
        assert consumer.poll(20) is not None


def test_messages_larger_than_a_fetch(face: Any, shared: Broker, topic: str) -> None:
    with Producer(shared.address) as producer:
        for size in (10, 5000, 900_000, 10):
            producer.send(topic, b"x" * size, partition=1)
    with face.consumer(shared.address, topic, [topic], fetch_size=100) as consumer:
        assert [len(m.body) for m in islice(consumer, 4)] == [10, 5000, 900_000, 10]


def test_a_broker_that_is_killed_is_read_on(face: Any, start_broker: Callable[..., Broker], topic: str) -> None:
    broker = start_broker()
    fill(broker, topic, 1000)
    with face.consumer(broker.address, topic, [topic], wait=0.5) as consumer:
        messages = list(islice(consumer, 500))
        broker.kill()
        broker.start()
        fill(broker, topic, 1000)
        messages += list(islice(consumer, 1500))
    assert Counter(m.body for m in messages) == Counter({b"%d" % n: 2 for n in range(1000)})


def test_a_broker_that_is_not_there_yet_is_waited_for(face: Any, start_broker: Callable[..., Broker], topic: str) -> None:
    broker = start_broker()
    fill(broker, topic, 1)
    broker.kill()
    with face.consumer(broker.address, topic, [topic]) as consumer:
        assert consumer.poll(0.2) is None
        broker.start()
        message = consumer.poll(20)
        assert message is not None and message.body == b"0"


def test_a_broker_that_says_nothing_is_asked_anew(face: Any, start_broker: Callable[..., Broker], topic: str) -> None:
    broker = start_broker()
    fill(broker, topic, 1)
    with face.consumer(broker.address, topic, [topic], wait=0.1) as consumer:
        assert consumer.poll(20) is not None
        broker.pause()
        assert consumer.poll(3.5) is None  # the wait and DIAL_TIMEOUT
        broker.resume()
        fill(broker, topic, 1)
        assert consumer.poll(20) is not None


def test_a_stranger_ends_the_consumer(face: Any, topic: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            client.recv(100)
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            client.recv(100)
            client.close()

        threading.Thread(target=answer, daemon=True).start()
        with face.consumer(f"127.0.0.1:{server.getsockname()[1]}", topic, [topic]) as consumer, pytest.raises(metaq.ProtocolError, match="HTTP"):
            consumer.poll(20)


def test_damage_on_the_way_is_seen(face: Any, topic: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            lines = client.makefile("rb")
            for line in lines:
                words = line.split()
                opaque = words[-1]
                if words[0] == b"route":
                    text = b"0 127.0.0.1:1"
                    client.sendall(b"result 200 %d %b\r\n%b" % (len(text), opaque, text))
                elif words[0] == b"get":
                    client.sendall(b"value 25 %b\r\n" % opaque + bytes.fromhex("00000005 3610a686 000000000012d687 00000000") + b"hallo")
                else:
                    client.sendall(b"result 404 0 %b\r\n" % opaque)

        threading.Thread(target=answer, daemon=True).start()
        with face.consumer(f"127.0.0.1:{server.getsockname()[1]}", topic, [topic]) as consumer, pytest.raises(metaq.ChecksumError, match="offset 0"):
            consumer.poll(20)


def test_run_hands_every_message_to_the_handler(face: Any, shared: Broker, topic: str) -> None:
    fill(shared, topic, 2000)
    for workers in (1, 4):
        seen: list[Message] = []
        busy: Counter[int] = Counter()
        group = f"{topic}-{workers}"
        with face.consumer(shared.address, group, [topic]) as consumer:

            def handle(message: Message, seen: list[Message] = seen, busy: Counter[int] = busy, consumer: Any = consumer) -> None:
                number = message.partition.number
                busy[number] += 1
                assert busy[number] == 1, "two messages of a partition at the same time"
                seen.append(message)
                busy[number] -= 1
                if len(seen) == 2000:
                    stop(face, consumer)

            consumer.run(handle, workers=workers)
        assert numbers(seen) == list(range(2000))
        for number in range(4):
            mine = [int(m.body) for m in seen if m.partition.number == number]
            assert mine == sorted(mine)
        with face.consumer(shared.address, group, [topic]) as consumer:
            assert consumer.poll(0.3) is None, "the message in the handler's hands was not committed"


def stop(face: Any, consumer: Any) -> None:
    """As a handler does it, which runs on the loop if there is one."""
    (consumer._inner if face.name == "asyncio" else consumer).stop()


def test_workers_handle_partitions_beside_each_other(face: Any, shared: Broker, topic: str) -> None:
    if face.name == "asyncio":
        import asyncio

        barrier_left = [4]
        event: list[asyncio.Event] = []

        async def meet(message: Message) -> None:
            event[:] = event or [asyncio.Event()]
            barrier_left[0] -= 1
            if barrier_left[0] == 0:
                event[0].set()
                consumer._inner.stop()
            await asyncio.wait_for(event[0].wait(), 20)

        handler: Any = meet
    else:
        barrier = threading.Barrier(4)

        def meet_all(message: Message) -> None:
            barrier.wait(20)
            consumer.stop()

        handler = meet_all
    for number in range(4):
        fill(shared, topic, 1, partition=number)
    with face.consumer(shared.address, topic, [topic]) as consumer:
        consumer.run(handler, workers=4)


def test_stop_lets_tasks_finish_what_they_have_in_hand(shared: Broker, topic: str) -> None:
    fill(shared, topic, 1, partition=0)
    finished: list[bytes] = []

    async def main() -> None:
        stopped = asyncio.Event()
        async with metaq.aio.Consumer(shared.address, topic, [topic]) as consumer:

            async def handle(message: Message) -> None:
                consumer.stop()
                asyncio.get_running_loop().call_later(0.2, stopped.set)  # other workers have nothing to do, and end first
                await stopped.wait()
                finished.append(message.body)

            await asyncio.wait_for(consumer.run(handle, workers=3), 20)

    asyncio.run(main())
    assert finished == [b"0"]
    with Connection(shared.address) as broker:
        assert broker.committed(topic, topic, 0) == broker.end(topic, 0)


def test_a_failure_lets_tasks_finish_what_they_have_in_hand(shared: Broker, topic: str) -> None:
    for number in range(2):
        fill(shared, topic, 1, partition=number)
    finished: list[int] = []

    async def main() -> None:
        began, failed = asyncio.Event(), asyncio.Event()

        async def handle(message: Message) -> None:
            if message.partition.number == 0:
                await began.wait()
                asyncio.get_running_loop().call_later(0.2, failed.set)
                raise RuntimeError("fails")
            began.set()
            await failed.wait()
            finished.append(message.partition.number)

        async with metaq.aio.Consumer(shared.address, topic, [topic]) as consumer:
            with pytest.raises(RuntimeError, match="fails"):
                await asyncio.wait_for(consumer.run(handle, workers=3), 20)

    asyncio.run(main())
    assert finished == [1]


def test_without_more_a_failure_ends_run_and_the_message_comes_again(face: Any, shared: Broker, topic: str) -> None:
    fill(shared, topic, 5, partition=0)
    for workers in (1, 2):
        with face.consumer(shared.address, topic, [topic]) as consumer:

            def handle(message: Message) -> None:
                if message.body == b"3":
                    raise KeyError("three")

            with pytest.raises(KeyError, match="three"):
                consumer.run(handle, workers=workers)
    with face.consumer(shared.address, topic, [topic]) as consumer:
        message = consumer.poll(20)
        assert message is not None and message.body == b"3"


def test_a_message_that_fails_is_tried_again_then_it_is_dead(face: Any, shared: Broker, topic: str) -> None:
    fill(shared, topic, 5, partition=0)
    fill(shared, topic, 5, partition=1)
    tries: list[tuple[int, bytes]] = []
    dead: list[tuple[bytes, str]] = []
    with face.consumer(shared.address, topic, [topic]) as consumer:

        def handle(message: Message) -> None:
            tries.append((message.partition.number, message.body))
            if message.partition.number == 0 and message.body in (b"1", b"3"):
                raise ValueError(f"no {message.text}")
            if len([t for t in tries if t[0] == 1]) == 5 and tries[-1] == (0, b"4"):
                stop(face, consumer)

        def bury(message: Message, error: Exception) -> None:
            dead.append((message.body, str(error)))

        consumer.run(handle, retry=Retry(attempts=3, first=0.05), dead=bury)
    assert dead == [(b"1", "no 1"), (b"3", "no 3")]
    assert [b for p, b in tries if p == 0] == [b"0", b"1", b"1", b"1", b"2", b"3", b"3", b"3", b"4"]
    # The other partition did not wait.
    assert [b for p, b in tries if p == 1] == [b"%d" % n for n in range(5)]


def test_retries_without_a_dead_handler_end_run(face: Any, shared: Broker, topic: str) -> None:
    fill(shared, topic, 1, partition=0)
    tries: list[bytes] = []

    def handle(message: Message) -> None:
        tries.append(message.body)
        raise ValueError("never")

    with face.consumer(shared.address, topic, [topic]) as consumer, pytest.raises(ValueError, match="never"):
        consumer.run(handle, retry=Retry(attempts=3, first=0.01))
    assert len(tries) == 3


def test_a_message_that_nobody_takes_holds_its_partition(face: Any, shared: Broker, topic: str) -> None:
    fill(shared, topic, 2, partition=0)
    tries: list[bytes] = []
    with face.consumer(shared.address, topic, [topic]) as consumer:

        def handle(message: Message) -> None:
            tries.append(message.body)
            if len(tries) < 3:
                raise ValueError("not yet")
            if message.body == b"1":
                stop(face, consumer)

        def bury(message: Message, error: Exception) -> None:
            raise OSError("disk full")

        consumer.run(handle, retry=Retry(attempts=1), dead=bury)
    assert tries == [b"0", b"0", b"0", b"1"]


def test_manual_positions(face: Any, shared: Broker, topic: str) -> None:
    fill(shared, topic, 10, partition=0)
    with face.consumer(shared.address, topic, [topic], manual=True) as consumer:
        messages = list(islice(consumer, 10))
        assert consumer.positions().get(place(topic)) in (None, Offset(0))
        consumer.done(messages[4])
    with face.consumer(shared.address, topic, [topic], manual=True) as consumer:
        message = consumer.poll(20)
        assert message == messages[5]
        assert consumer.set_position(place(topic), Offset(messages[7].offset))
        assert not consumer.set_position(place("another"), Offset(0))
    with face.consumer(shared.address, topic, [topic]) as consumer:
        assert consumer.poll(20) == messages[7]


def test_paused_partitions_wait(face: Any, shared: Broker, topic: str) -> None:
    fill(shared, topic, 100, partition=0)
    fill(shared, topic, 100, partition=1)
    with face.consumer(shared.address, topic, [topic]) as consumer:
        first = consumer.poll(20)
        assert first is not None
        held, other = first.partition, Partition(0, 1 - first.partition.number)
        consumer.pause([TopicPartition(topic, held)])
        assert {m.partition for m in islice(consumer, 100)} == {other}
        assert consumer.poll(0.2) is None
        consumer.resume([TopicPartition(topic, held)])
        assert [int(m.body) for m in islice(consumer, 99)] == list(range(1, 100))


def test_offsets_in_a_file(face: Any, shared: Broker, topic: str, tmp_path: Path) -> None:
    fill(shared, topic, 10, partition=0)
    with metaq.FileOffsets(tmp_path / "offsets") as store:
        with face.consumer(shared.address, topic, [topic], offsets=store) as consumer:
            list(islice(consumer, 5))
        assert store.load(topic, place(topic)) is not None
    with metaq.FileOffsets(tmp_path / "offsets") as store, face.consumer(shared.address, topic, [topic], offsets=store) as consumer:
        message = consumer.poll(20)
        assert message is not None and message.body == b"4"
    with Connection(shared.address) as broker:
        assert broker.committed(topic, topic, 0) is None


class Moody:
    """A store that fails for a while."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.kept: dict[TopicPartition, Offset] = {}

    def _fail(self) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise RuntimeError("moody")

    def load(self, group: str, at: TopicPartition) -> Any:
        self._fail()
        return self.kept.get(at)

    def save(self, group: str, offsets: dict[TopicPartition, Offset]) -> None:
        self._fail()
        self.kept.update(offsets)


def test_a_store_that_fails_is_waited_for(face: Any, shared: Broker, topic: str) -> None:
    fill(shared, topic, 10, partition=0)
    store = Moody(10)
    with face.consumer(shared.address, topic, [topic], offsets=store) as consumer:
        messages = list(islice(consumer, 3))
        assert [m.body for m in messages] == [b"0", b"1", b"2"]
        store.failures = 1
        with pytest.raises(metaq.OffsetStoreError, match="moody"):
            consumer.commit()
        consumer.commit()
        assert store.kept == {place(topic): Offset(messages[1].next_offset, messages[1].id)}


def test_stop_ends_the_iteration(shared: Broker, topic: str) -> None:
    with metaq.Consumer(shared.address, topic, [topic]) as consumer:
        threading.Timer(0.2, consumer.stop).start()
        assert list(consumer) == []


def test_close_in_another_thread_ends_the_iteration(shared: Broker, topic: str) -> None:
    fill(shared, topic, 3, partition=0)
    consumer = metaq.Consumer(shared.address, topic, [topic])
    seen: list[bytes] = []
    reading = threading.Thread(target=lambda: seen.extend(m.body for m in consumer))
    reading.start()
    eventually(lambda: consumer.positions().get(place(topic), Offset(0)).offset > 0, "something is done")
    consumer.close()
    reading.join(20)
    assert not reading.is_alive()
    assert seen == [b"0", b"1", b"2"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"group": "no good"},
        {"topics": []},
        {"topics": "orders"},
        {"topics": ["no good"]},
        {"start": "middle"},
        {"start": -1},
        {"start": True},
        {"fetch_size": 10},
        {"wait": -1},
        {"commit_every": -1},
        {"broadcast": True},
        {"consumer_id": "a/b"},
        {"consumer_id": ""},
    ],
)
def test_arguments_that_cannot_work(face: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(metaq.UsageError):
        face.consumer(**{"address": "127.0.0.1:1", "group": "g", "topics": ["t"], **arguments})


def test_retry_settings() -> None:
    bad: list[dict[str, Any]] = [{"attempts": 0}, {"first": -1}, {"first": 3, "longest": 2}]
    for arguments in bad:
        with pytest.raises(metaq.UsageError):
            Retry(**arguments)
    assert [Retry(first=0.1, longest=0.5).pause(n) for n in (1, 2, 3, 4, 1000)] == [0.1, 0.2, 0.4, 0.5, 0.5]


def test_a_connection_answers_questions(face: Any, shared: Broker, topic: str) -> None:
    receipts = fill(shared, topic, 3, partition=2)
    with face.connection(shared.address) as broker:
        assert broker.version()
        assert "pid" in broker.stats()
        assert [t for t in broker.topics() if t.name == topic] == [metaq.TopicInfo(topic, 4, 3, 63)]
        assert [(r.number, r.master) for r in broker.route(topic)] == [(n, shared.address) for n in range(4)]
        lag = broker.lag(topic, 2, receipts[1].offset)
        assert (lag.messages, lag.bytes) == (2, 42)
        assert broker.seek(topic, 2, datetime.now() - timedelta(hours=1)) == 0
        assert broker.end(topic, 2) == 63
        broker.commit(topic, topic, 2, 21)
        assert broker.committed(topic, topic, 2) == 21
        receipt = broker.put(topic, b"more", partition=2, attribute="a")
        [*_, last] = broker.get(topic, 2, 0)
        assert (last.offset, last.id, last.attribute, last.body) == (receipt.offset, receipt.id, "a", b"more")
        assert broker.get(topic, 2, last.next_offset, wait=0.1) == []
        with pytest.raises(metaq.MovedError) as moved:
            broker.get(topic, 2, 1)
        assert moved.value.offset == 0
        with pytest.raises(metaq.UsageError):
            broker.stats("two words")
