"""Producers of both faces against a real broker."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any, Callable

import pytest

import metaq
from conftest import REPOSITORY, Broker, eventually
from metaq import Connection, Partition
from metaq.core import connection, lane


def bodies(address: str, topic: str) -> dict[int, list[bytes]]:
    """Everything that is stored, by partition."""
    found: dict[int, list[bytes]] = {}
    with Connection(address) as broker:
        for route in broker.route(topic):
            offset = 0
            while True:
                messages = broker.get(topic, route.number, offset)
                if not messages:
                    break
                found.setdefault(route.number, []).extend(m.body for m in messages)
                offset = messages[-1].next_offset
    return found


def all_bodies(address: str, topic: str) -> list[bytes]:
    return [b for some in bodies(address, topic).values() for b in some]


def test_a_receipt_tells_where_the_message_is(face: Any, shared: Broker, topic: str) -> None:
    with face.producer(shared.address) as producer:
        receipt = producer.send(topic, "Grüße", attribute="länd", partition=2)
    with Connection(shared.address) as broker:
        [message] = broker.get(topic, 2, receipt.offset)
    assert message.partition == receipt.partition == Partition(0, 2)
    assert (message.id, message.attribute, message.text) == (receipt.id, "länd", "Grüße")


@pytest.mark.parametrize("body", [b"", bytes(range(256)), bytearray(b"ab"), memoryview(b"ab"), "ab", b"x" * 900_000])
def test_bodies_are_stored_as_they_are(face: Any, shared: Broker, topic: str, body: Any) -> None:
    with face.producer(shared.address) as producer:
        receipt = producer.send(topic, body)
    with Connection(shared.address) as broker:
        [message] = broker.get(topic, receipt.partition.number, receipt.offset, max_size=100)
    assert message.body == (body.encode() if isinstance(body, str) else bytes(body))


def test_messages_take_turns_and_keys_stay(face: Any, shared: Broker, topic: str) -> None:
    with face.producer(shared.address) as producer:
        producer.send(topic, b"makes the topic", partition=0)
        turns = [producer.send(topic, b"x").partition.number for _ in range(8)]
        keys = {producer.send(topic, b"x", key="customer-17").partition for _ in range(5)}
    assert turns == [0, 1, 2, 3, 0, 1, 2, 3]
    rows = json.loads((REPOSITORY / "client/testdata/keys.json").read_text())["rows"]
    [row] = [r for r in rows if r["key"] == "customer-17"]
    assert keys == {Partition(0, row["among"]["4"])}


def test_a_selector_of_the_program_chooses(face: Any, shared: Broker, topic: str) -> None:
    def last(message: metaq.Outgoing, partitions: Any) -> Partition:
        assert (message.topic, message.key, message.attribute, message.body) == (topic, "k", "a", b"body")
        return partitions[-1]  # type: ignore[no-any-return]

    with face.producer(shared.address, selector=last) as producer:
        producer.send(topic, b"makes the topic", partition=0)
        assert producer.send(topic, b"body", key="k", attribute="a").partition == Partition(0, 3)


def test_a_selector_that_fails_fails_its_message_only(face: Any, shared: Broker, topic: str) -> None:
    def picky(message: metaq.Outgoing, partitions: Any) -> Partition:
        if message.body == b"bad":
            raise KeyError("bad")
        if message.body == b"none":
            return 0  # type: ignore[return-value]
        return partitions[0]  # type: ignore[no-any-return]

    with face.producer(shared.address, selector=picky) as producer:
        producer.send(topic, b"makes the topic", partition=0)
        with pytest.raises(metaq.UsageError, match="selector"):
            producer.send(topic, b"bad")
        with pytest.raises(metaq.UsageError, match="0 is no Partition"):
            producer.send(topic, b"none")
        assert producer.send(topic, b"good").partition == Partition(0, 0)


def test_messages_of_a_partition_keep_their_order(face: Any, shared: Broker, topic: str) -> None:
    expected = [b"%d" % n for n in range(10_000)]
    with face.producer(shared.address) as producer:
        deliveries = [producer.send_async(topic, body, partition=1) for body in expected]
        offsets = [d.result().offset for d in deliveries]
    assert bodies(shared.address, topic) == {1: expected}
    assert offsets == sorted(offsets)


def test_close_sends_what_was_accepted(face: Any, shared: Broker, topic: str) -> None:
    producer = face.producer(shared.address)
    deliveries = [producer.send_async(topic, b"%d" % n) for n in range(3000)]
    producer.close()
    assert all(d.done() for d in deliveries)
    assert sorted(all_bodies(shared.address, topic)) == sorted(b"%d" % n for n in range(3000))
    with pytest.raises(metaq.ClosedError):
        producer.send(topic, b"late")
    producer.close()


def test_callbacks_are_called_once(face: Any, shared: Broker, topic: str) -> None:
    calls: list[int] = []
    with face.producer(shared.address) as producer:
        for n in range(500):
            producer.send_async(topic, b"x").add_done_callback(lambda d, n=n: calls.append(n))
        done = producer.send_async(topic, b"x")
        done.result()
        done.add_done_callback(lambda d: calls.append(500))
        eventually(lambda: len(calls) >= 501, "callbacks")
    assert sorted(calls) == list(range(501))


def test_a_broker_that_is_killed_loses_nothing(face: Any, start_broker: Callable[..., Broker], topic: str) -> None:
    broker = start_broker()
    total = 20_000
    with face.producer(broker.address) as producer:
        producer.send(topic, b"first")

        def restart() -> None:
            broker.kill()
            broker.start()

        killed = threading.Thread(target=restart)
        deliveries = []
        for n in range(total):
            deliveries.append(producer.send_async(topic, b"%05d" % n))
            if n == total // 4:
                killed.start()
        receipts = [d.result() for d in deliveries]
        killed.join()
    stored = [b for b in all_bodies(broker.address, topic) if b != b"first"]
    assert set(stored) == {b"%05d" % n for n in range(total)}
    # What was sent again begins with a message that was stored before, so the first appearances are in order.
    assert list(dict.fromkeys(stored)) == sorted(set(stored))
    assert len(set(r.id for r in receipts)) == total


def test_a_broker_that_says_nothing_is_given_up_and_asked_again(face: Any, topic: str) -> None:
    connected: list[float] = []

    def answer(client: socket.socket, talks: bool) -> None:
        lines = client.makefile("rb")
        for line in lines:
            words = line.split()
            if words[0] == b"route":
                client.sendall(b"result 200 13 %b\r\n0 127.0.0.1:1" % words[-1])
            elif words[0] == b"put":
                lines.read(int(words[3]))
                if talks:
                    client.sendall(b"result 200 5 %b\r\n7 0 9" % words[-1])

    def serve(server: socket.socket) -> None:
        for talks in (False, True):
            client, _ = server.accept()
            connected.append(time.monotonic())
            threading.Thread(target=answer, args=(client, talks), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        with face.producer(f"127.0.0.1:{server.getsockname()[1]}", timeout=0.4) as producer:
            assert producer.send(topic, b"x") == metaq.Receipt(7, Partition(0, 0), 9)
    assert len(connected) == 2
    assert 0.4 <= connected[1] - connected[0] < 5


def test_a_stranger_fails_the_message(face: Any, topic: str) -> None:
    """The HTTP port, for example. It breaks the connection with an error that no retry helps while the partitions are asked for."""

    def answer(server: socket.socket) -> None:
        for _ in range(2):
            client, _ = server.accept()
            with client:
                client.recv(100)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                client.recv(100)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer, args=(server,), daemon=True).start()
        with face.producer(f"127.0.0.1:{server.getsockname()[1]}") as producer:
            for _ in range(2):
                with pytest.raises(metaq.ProtocolError, match="HTTP"):
                    producer.send(topic, b"x", timeout=20)


def test_without_retries_a_message_fails_at_once(face: Any, start_broker: Callable[..., Broker], topic: str) -> None:
    broker = start_broker()
    with face.producer(broker.address, retry_for=0) as producer:
        producer.send(topic, b"first")
        broker.kill()
        with pytest.raises(metaq.ConnectionLostError):
            producer.send(topic, b"second")


def test_an_error_of_many_messages_does_not_grow(face: Any, start_broker: Callable[..., Broker], topic: str) -> None:
    broker = start_broker()
    broker.kill()
    with face.producer(broker.address, retry_for=0) as producer:
        deliveries = [producer.send_async(topic, b"x") for _ in range(50)]
        depths = []
        for delivery in deliveries:
            with pytest.raises(metaq.ConnectionLostError) as told:
                delivery.result()
            depths.append(len(told.traceback))
    assert len(set(depths)) == 1


@pytest.mark.parametrize("when", ["at once", "with an answer"])
def test_a_connection_that_breaks_before_anything_is_sent(face: Any, shared: Broker, topic: str, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is full closes it, or a proxy without a broker behind it, between two steps of the loop."""
    broken: list[connection.Connection] = []
    lost = metaq.ConnectionLostError("closed at once")
    real_connect, real_call = connection.connect, connection.Connection.call

    async def connect(*args: Any) -> connection.Connection:
        made = await real_connect(*args)
        if when == "at once" and len(broken) < 3:
            broken.append(made)
            made.fail(lost)
        return made

    async def call(made: connection.Connection, *args: Any) -> bytes:
        answer = await real_call(made, *args)
        if when == "with an answer" and len(broken) < 3:
            broken.append(made)
            made.fail(lost)
        return answer

    monkeypatch.setattr(lane, "connect", connect)
    monkeypatch.setattr(connection.Connection, "call", call)
    with face.producer(shared.address) as producer:
        partition = 0 if when == "at once" else None
        deliveries = [producer.send_async(topic, b"%d" % n, partition=partition) for n in range(100)]
        eventually(lambda: all(d.done() for d in deliveries), "all are stored")
        for delivery in deliveries:
            delivery.result()
    assert broken


def test_retries_end(face: Any, start_broker: Callable[..., Broker], topic: str) -> None:
    broker = start_broker()
    broker.kill()
    with face.producer(broker.address, retry_for=0.3) as producer:
        began = time.monotonic()
        with pytest.raises(metaq.ConnectionLostError, match=str(broker.port)):
            producer.send(topic, b"x")
        assert 0.3 <= time.monotonic() - began < 5


def test_a_timeout_of_the_caller(face: Any, start_broker: Callable[..., Broker], topic: str) -> None:
    broker = start_broker()
    with face.producer(broker.address) as producer:
        producer.send(topic, b"first")
        broker.pause()
        with pytest.raises(metaq.TimedOutError):
            producer.send(topic, b"second", timeout=0.2)
        broker.resume()
    assert all_bodies(broker.address, topic) == [b"first", b"second"]


def test_close_ends_when_its_time_is_over(face: Any, start_broker: Callable[..., Broker], topic: str) -> None:
    broker = start_broker()
    producer = face.producer(broker.address)
    producer.send(topic, b"first")
    broker.pause()
    delivery = producer.send_async(topic, b"second")
    with pytest.raises(metaq.TimedOutError):
        producer.close(timeout=0.2)
    assert isinstance(delivery.exception(), metaq.ClosedError)


def test_a_closed_partition_refuses(face: Any, shared: Broker, topic: str) -> None:
    with face.producer(shared.address) as producer:
        producer.send(topic, b"x", partition=1)
        with socket.create_connection(("127.0.0.1", shared.port)) as operator:
            operator.sendall(b"close %s 1 1 7\r\n" % topic.encode())
            assert operator.recv(100) == b"result 200 0 7\r\n"
        with pytest.raises(metaq.ForbiddenError):
            producer.send(topic, b"x", partition=1)
        with pytest.raises(metaq.FailedError):
            producer.send(topic, b"x", partition=99)


def test_a_message_that_the_broker_does_not_take_harms_no_other(face: Any, start_broker: Callable[..., Broker], topic: str) -> None:
    broker = start_broker(maxMessageSize="64K")
    with face.producer(broker.address, retry_for=3) as producer:
        before = [producer.send_async(topic, b"before %d" % n) for n in range(100)]
        large = producer.send_async(topic, b"x" * 100_000)
        after = [producer.send_async(topic, b"after %d" % n) for n in range(100)]
        assert isinstance(large.exception(), metaq.BadRequestError)
        for delivery in before + after:
            delivery.result()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"topic": "no good", "body": b""}, metaq.UsageError),
        ({"topic": "", "body": b""}, metaq.UsageError),
        ({"topic": "t", "body": 7}, metaq.UsageError),
        ({"topic": "t", "body": b"", "key": b"k"}, metaq.UsageError),
        ({"topic": "t", "body": b"", "key": 17}, metaq.UsageError),
        ({"topic": "t", "body": b"", "attribute": b"a"}, metaq.UsageError),
        ({"topic": "t", "body": b"", "partition": -1}, metaq.UsageError),
        ({"topic": "t", "body": b"", "partition": Partition(1, 0)}, metaq.UsageError),
        ({"topic": "t", "body": b"x" * 2000}, metaq.TooLargeError),
    ],
)
def test_what_can_never_be_sent_is_told_at_once(face: Any, shared: Broker, arguments: dict[str, Any], error: type[Exception]) -> None:
    with face.producer(shared.address, buffer_bytes=1000) as producer, pytest.raises(error):
        producer.send(**arguments)


@pytest.mark.parametrize("address", ["", "localhost", "localhost:0", ":8123", "localhost:x", "localhost:99999", None])
def test_addresses_that_are_none(face: Any, address: Any) -> None:
    with pytest.raises(metaq.UsageError, match="host:port"):
        face.producer(address)
    with pytest.raises(metaq.UsageError, match="host:port"):
        face.consumer(address, "g", ["t"])


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "a\0b"])
def test_a_host_that_is_no_name(face: Any, host: str) -> None:
    with face.producer(f"{host}:8123", retry_for=0.1) as producer, pytest.raises(metaq.ConnectionLostError, match="no connection to"):
        producer.send("t", b"x")
    with face.connection(f"{host}:8123") as connection, pytest.raises(metaq.ConnectionLostError, match="no connection to"):
        connection.version()


@pytest.mark.parametrize("settings", [{"window": 0}, {"buffer_messages": 0}, {"buffer_bytes": 0}, {"timeout": 0}, {"retry_for": -1}])
def test_settings_that_cannot_work(face: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(metaq.UsageError):
        face.producer("127.0.0.1:1", **settings)


def test_the_buffer_is_bounded(start_broker: Callable[..., Broker], topic: str) -> None:
    broker = start_broker()
    with metaq.Producer(broker.address, buffer_messages=10) as producer:
        producer.send(topic, b"first")
        broker.pause()
        for n in range(10):
            producer.send_async(topic, b"%d" % n)
        with pytest.raises(metaq.TimedOutError, match="10 messages"):
            producer.send_async(topic, b"too much", timeout=0.1)
        broker.resume()
        producer.send_async(topic, b"room again", timeout=30)
    assert len(all_bodies(broker.address, topic)) == 12


def test_many_threads_share_a_producer(shared: Broker, topic: str) -> None:
    with metaq.Producer(shared.address, buffer_messages=100) as producer:

        def work(name: int) -> None:
            for n in range(500):
                producer.send_async(topic, b"%d-%d" % (name, n), key=str(name))

        threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    found = bodies(shared.address, topic)
    assert sum(map(len, found.values())) == 4000
    for name in range(8):
        mine = [b for some in found.values() for b in some if b.startswith(b"%d-" % name)]
        assert mine == [b"%d-%d" % (name, n) for n in range(500)]
