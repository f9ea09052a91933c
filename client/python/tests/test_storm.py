"""The spout: what it has in flight, whatever happens, and what it says to a Storm that is none. test/storm of the repository has the real one."""

from __future__ import annotations

import functools
import json
import os
import threading
import time
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import metaq.storm
from conftest import Broker, eventually, python
from metaq import Connection, Consumer, Message, Offset, Partition, Producer, TopicPartition, UsageError
from metaq.core.flights import Flight, InFlight
from metaq.storm import Command, Spout
from played import ADDRESS, Played, offers

# What is in flight.

ACTIONS = st.lists(st.tuples(st.sampled_from(["add", "add", "emit", "emit", "ack", "fail", "pass", "bury", "drop"]), st.integers(0, 1000)), max_size=120)


@settings(max_examples=300, deadline=None)
@given(ACTIONS, st.integers(1, 3), st.integers(0, 5))
def test_whatever_happens_the_group_goes_on_before_the_first_message_that_is_not_done(actions: list[tuple[str, int]], tries: int, most: int) -> None:
    now = 0.0
    positions: dict[TopicPartition, int] = {}

    def done(place: TopicPartition, at: Offset) -> None:
        assert at.offset > positions.get(place, 0), "it goes back"
        positions[place] = at.offset

    flights = InFlight(done, tries=tries, retry_from=1.0, retry_to=2.0, answer_in=5.0, most=most)
    places = [TopicPartition("t", Partition(0, n)) for n in range(2)]
    taken: dict[TopicPartition, list[int]] = {p: [] for p in places}  # offsets behind messages, since the partition is ours
    settled: dict[TopicPartition, set[int]] = {p: set() for p in places}
    tuples: list[str] = []
    dying: list[Flight] = []

    def settle(flight: Flight) -> None:
        settled[flight.place].add(flight.message.next_offset)

    def emit() -> None:
        flight = flights.next()
        if flight is not None:
            tuples.append(flights.emit(flight, now))

    def bury() -> None:
        if dying:
            flight = dying.pop()
            if flight.dying():
                settle(flight)
            flights.buried(flight)

    for action, n in actions:
        place = places[n % 2]
        if action == "add":
            offset = taken[place][-1] if taken[place] else positions.get(place, 0)
            flights.add(Message("t", place.partition, offset, offset + 10, offset, "", b"x" * (n % 5)))
            taken[place].append(offset + 10)
        elif action == "emit":
            emit()
        elif action == "ack" and tuples:
            name = tuples[n % len(tuples)]
            if name in flights.emitted:  # it may be a later one of the same message
                settle(flights.emitted[name])
            flights.ack(name)
        elif action == "fail" and tuples:
            dead = flights.fail(tuples[n % len(tuples)], now)
            dying += [dead] if dead is not None else []
        elif action == "pass":
            now += n / 100
            dying += flights.expire(now)
        elif action == "bury":
            bury()
        elif action == "drop":
            flights.drop(place)
            taken[place], settled[place] = [], set()
        assert not most or len(flights.emitted) <= most
        for place in places:
            ends = [end for end in taken[place] if end <= positions.get(place, 0)]
            assert all(end in settled[place] for end in ends), "it goes on behind a message that is not done"
            first = next((end for end in taken[place] if end not in settled[place]), None)
            if first is not None and taken[place][0] != first:
                assert positions.get(place) == first - 10, "it does not go on although it could"
    for _ in range(10_000):  # Storm answers for nothing any more, and nothing is stuck
        if not flights.counts["inFlight"]:
            break
        emit()
        now += 1.0
        dying += flights.expire(now)
        bury()
    assert flights.counts["inFlight"] == 0
    assert flights.bytes == 0
    assert not flights.emitted


def test_a_partition_that_is_read_anew_begins_anew() -> None:
    moved: list[Offset] = []
    flights = InFlight(lambda _, at: moved.append(at), tries=0, retry_from=1, retry_to=1, answer_in=0, most=0)

    def name(offset: int) -> str:
        flights.add(Message("t", Partition(0, 0), offset, offset + 10, 0, "", b""))
        flight = flights.next()
        assert flight is not None
        return flights.emit(flight, 0.0)

    name(0)
    second = name(10)
    again = name(0)  # it was another's in between
    flights.ack(second)  # of before
    assert moved == []
    flights.ack(again)
    assert moved == [Offset(10, 0)]
    assert flights.counts["dropped"] == 2


# Storm.


class Storm:
    """The other end of the pipes."""

    def __init__(self, spout: Spout, folder: Path, conf: Optional[dict[str, Any]] = None) -> None:
        spout_in, to_spout = os.pipe()
        from_spout, spout_out = os.pipe()
        self.write_end = os.fdopen(to_spout, "wb")
        self.read_end = os.fdopen(from_spout, "rb")
        self.logs: list[str] = []
        self.failure: Optional[BaseException] = None

        def serve() -> None:
            try:
                with os.fdopen(spout_in, "rb") as commands, os.fdopen(spout_out, "wb") as answers:
                    spout.serve(commands, answers)
            except BaseException as err:
                self.failure = err

        self.thread = threading.Thread(target=serve)
        self.thread.start()
        self.write({"pidDir": str(folder), "conf": conf or {}, "context": {}})
        assert self.read() == {"pid": os.getpid()}
        assert (folder / str(os.getpid())).exists()

    def write(self, message: object) -> None:
        self.write_end.write(json.dumps(message).encode() + b"\nend\n")
        self.write_end.flush()

    def read(self) -> Any:
        line = self.read_end.readline()
        assert line, self.failure
        assert self.read_end.readline() == b"end\n"
        return json.loads(line)

    def do(self, name: str, tuple_id: str = "") -> list[Any]:
        """Sends a command, and returns the tuples of its answer, which ends in time."""
        began = time.monotonic()
        self.write({"command": name, "id": tuple_id})
        tuples: list[Any] = []
        while True:
            message = self.read()
            if message["command"] == "sync":
                assert time.monotonic() - began < 2.0
                return tuples
            if message["command"] == "emit":
                assert message["need_task_ids"] is False
                tuples.append(message)
            elif message["command"] == "log":
                self.logs.append(message["msg"])
            else:
                assert message["command"] == "metrics"

    def tuples(self, count: int) -> list[Any]:
        found: list[Any] = []

        def enough() -> bool:
            found.extend(self.do("next"))
            return len(found) >= count

        eventually(enough, f"{count} tuples")
        assert len(found) == count
        return found

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Asks for tuples, which there must not be, until something holds."""
        eventually(lambda: self.do("next") == [] and condition(), what)

    def end(self) -> None:
        self.write_end.close()
        self.thread.join(20)
        assert not self.thread.is_alive()
        self.read_end.close()
        if self.failure is not None:
            raise self.failure


def options(**more: Any) -> dict[str, Any]:
    return {"retry_from": 0.02, "retry_to": 0.1, "tries": 3, **more}


def send(broker: Broker, topic: str, *bodies: bytes, attribute: str = "") -> int:
    """Returns where the next one begins."""
    with Producer(broker.address) as producer:
        for body in bodies:
            receipt = producer.send(topic, body, partition=0, attribute=attribute)
    return receipt.offset + 20 + len(body) + (4 + len(attribute) if attribute else 0)


def committed(broker: Broker, topic: str, group: str) -> Optional[int]:
    with Connection(broker.address) as connection:
        return connection.committed(topic, group, 0)


def quiet(storm: Storm, seconds: float) -> None:
    over = time.monotonic() + seconds
    storm.until(lambda: time.monotonic() > over, "it is quiet for a while")


def test_tuples_are_acknowledged_in_any_order(shared: Broker, topic: str, tmp_path: Path) -> None:
    end = send(shared, topic, b"0", b"1", b"2", b"3")
    storm = Storm(Spout(shared.address, topic, [topic], **options()), tmp_path)
    storm.do("activate")
    tuples = storm.tuples(4)
    assert [t["tuple"] for t in tuples] == [["0"], ["1"], ["2"], ["3"]]
    assert tuples[0]["id"] == f"{topic}:0-0:0#1"
    storm.do("ack", tuples[1]["id"])
    storm.do("ack", tuples[0]["id"])
    storm.do("ack", tuples[3]["id"])
    storm.until(lambda: committed(shared, topic, topic) == end - 42, "two are committed")
    storm.do("ack", tuples[2]["id"])
    storm.end()
    assert committed(shared, topic, topic) == end


def test_what_fails_too_often_or_is_unreadable_goes_to_the_dead_letter_topic(shared: Broker, topic: str, tmp_path: Path) -> None:
    send(shared, topic, b'{"a": 1}', attribute="red")
    end = send(shared, topic, b"{", b'{"a": 2}', b"[" * 300 + b"]" * 300)
    dead = topic[:150] + ".dead"
    storm = Storm(Command(shared.address, topic, [topic], scheme="json", fields=[".a", "attribute"], dead=dead, **options()), tmp_path)
    seen: list[Any] = []
    while len(seen) < 4:
        for t in storm.do("next"):
            seen.append((t["tuple"], t["id"][-2:]))
            storm.do("ack" if t["tuple"][0] == 2 else "fail", t["id"])
    assert seen == [([1, "red"], "#1"), ([2, ""], "#1"), ([1, "red"], "#2"), ([1, "red"], "#3")]
    storm.until(lambda: committed(shared, topic, topic) == end, "the group has gone on")
    storm.end()
    with Consumer(shared.address, topic, [dead]) as consumer:
        letters: dict[bytes, Any] = {}
        while len(letters) < 3:
            message = next(consumer)
            letters[message.body[:2]] = json.loads(message.attribute)
    assert letters[b'{"']["error"] == "it failed in the topology"
    assert letters[b'{"']["attribute"] == "red"
    assert letters[b'{"']["tries"] == 3
    assert letters[b"{"]["error"] == "it is no JSON"
    assert "levels" in letters[b"[["]["error"]


def test_storm_never_answers(shared: Broker, topic: str, tmp_path: Path) -> None:
    end = send(shared, topic, b"x")
    storm = Storm(Spout(shared.address, topic, [topic], **options(tries=2)), tmp_path, {"topology.message.timeout.secs": 0.1})
    storm.tuples(2)
    storm.until(lambda: committed(shared, topic, topic) == end, "it is in the dead-letter topic")
    storm.end()


def test_storm_has_no_more_than_it_wants_and_a_partition_no_more_than_it_may(shared: Broker, topic: str, tmp_path: Path) -> None:
    send(shared, topic, *[b"x"] * 30)
    for conf, in_flight, want in (({"topology.max.spout.pending": 7}, 100, 7), ({}, 9, 9)):
        storm = Storm(Spout(shared.address, topic, [topic], **options(in_flight=in_flight)), tmp_path, conf)
        tuples = storm.tuples(want)
        quiet(storm, 0.1)
        storm.do("ack", tuples[1]["id"])
        storm.tuples(1)
        storm.end()


def test_commands_are_answered_while_the_broker_says_nothing(start_broker: Callable[..., Broker], topic: str, tmp_path: Path) -> None:
    broker = start_broker()
    end = send(broker, topic, b"0", b"1")
    storm = Storm(Spout(broker.address, topic, [topic], **options()), tmp_path)
    tuples = storm.tuples(2)
    broker.pause()
    storm.do("ack", tuples[0]["id"])
    for _ in range(20):
        storm.do("next")
    broker.resume()
    broker.kill()
    for _ in range(20):
        storm.do("next")
    broker.start()
    storm.do("ack", tuples[1]["id"])
    storm.until(lambda: committed(broker, topic, topic) == end, "both are committed")
    storm.end()


def test_a_topology_that_is_deactivated_gives_up_what_it_has(shared: Broker, topic: str, tmp_path: Path) -> None:
    end = send(shared, topic, b"0", b"1", b"2", b"3")
    storm = Storm(Spout(shared.address, topic, [topic], **options()), tmp_path, {"topology.max.spout.pending": 2})
    tuples = storm.tuples(2)
    storm.do("deactivate")
    storm.do("ack", tuples[0]["id"])
    storm.do("ack", tuples[1]["id"])
    storm.do("activate")
    again = storm.tuples(2)
    assert [t["tuple"] for t in again] == [["2"], ["3"]]
    storm.do("ack", again[0]["id"])
    storm.do("ack", again[1]["id"])
    storm.until(lambda: committed(shared, topic, topic) == end, "everything is committed")
    storm.end()


def values(body: bytes, *fields: str) -> list[str]:
    """The values of a tuple as they are written."""
    made = Command("127.0.0.1:1", "g", ["t"], scheme="json", fields=fields).tuple_of(Message("t", Partition(0, 0), 0, 10, 7, "tag", body))
    return [v if isinstance(v, str) else json.dumps(v) for v in made]


def test_json_stays_as_it_was_written() -> None:
    """The spout in Go hands it over like that too."""
    huge = b"1" * 4096
    for number in (b"1e999", b"-0", b"1.10", b"0.1000000000000000000000001", b"12345678901234567890", huge):
        assert values(b'{"b\\u0022" : [ 1, "x \\" y" ], "a" : ' + number + b"}", "message", ".a", '.b"', ".none") == [
            '{"b\\u0022":[1,"x \\" y"],"a":' + number.decode() + "}",
            number.decode(),
            '[1,"x \\" y"]',
            "null",
        ]
    assert values(b'["' + 2 * huge + b'"]', "message", "attribute") == ['["' + 2 * huge.decode() + '"]', "tag"], "no number"
    for wrong, says in (
        (huge + b"1", "4096 digits"),
        (b"[" * 300 + b"]" * 300, "256 levels"),
        (b"NaN", "no JSON"),
        (b'\\"' * 100_000, "no JSON"),
        (b"\xff", "UTF-8"),
    ):
        with pytest.raises(metaq.storm.Unreadable, match=says):
            values(wrong, "message")
    with pytest.raises(metaq.storm.Unreadable, match="no object"):
        values(b"[1]", ".a")


def test_a_tuple_is_a_list(shared: Broker, topic: str, tmp_path: Path) -> None:
    """Storm ends its worker at anything else, again and again."""

    class Careless(Spout):
        def tuple_of(self, message: Message) -> Any:
            return json.loads(message.body)

    end = send(shared, topic, b"null", b'"text"', b'{"a": 1}', b"[1]")
    storm = Storm(Careless(shared.address, topic, [topic], **options()), tmp_path)
    tuples = storm.tuples(1)
    assert tuples[0]["tuple"] == [1]
    storm.do("ack", tuples[0]["id"])
    storm.until(lambda: committed(shared, topic, topic) == end, "the others are in the dead-letter topic")
    assert any("tuple_of returns a list of values, not None" in line for line in storm.logs)
    storm.end()


def test_what_the_program_makes_of_a_message(shared: Broker, topic: str, tmp_path: Path) -> None:
    class Doubled(Spout):
        def tuple_of(self, message: Message) -> list[Any]:
            return [2 * int(message.body)]

    end = send(shared, topic, b"21", b"no number")
    storm = Storm(Doubled(shared.address, topic, [topic], metric="metaq", **options()), tmp_path)
    tuples = storm.tuples(1)
    assert tuples[0]["tuple"] == [42]
    storm.do("ack", tuples[0]["id"])
    storm.until(lambda: committed(shared, topic, topic) == end, "the other is in the dead-letter topic")
    assert any("invalid literal" in line for line in storm.logs)
    storm.end()


def test_a_partition_that_goes_and_comes_back(cluster: Played, start_broker: Callable[..., Broker], topic: str, tmp_path: Path) -> None:
    broker = start_broker(numPartitions=2)
    with Producer(broker.address) as producer:
        for n in range(10):
            producer.send(topic, str(n), partition=n % 2)
    cluster.offers = offers(broker)
    places = [TopicPartition(topic, Partition(0, n)) for n in range(2)]
    kept = cluster.store.kept
    storm = Storm(Spout(ADDRESS, topic, [topic], **options()), tmp_path)
    storm.until(lambda: cluster.holder is not None, "it is a member of the group")
    [going, _] = cluster.give(topic, *(p.partition for p in places))
    has = {t["tuple"][0]: t["id"] for t in storm.tuples(10)}
    storm.do("ack", has["0"])
    cluster.take([going])
    assert kept[places[0]].offset == 21  # what was acknowledged before it went
    storm.do("ack", has["2"])  # too late: the next owner emits it
    for n in range(1, 10, 2):
        storm.do("ack", has[str(n)])
    storm.until(lambda: kept.get(places[1], Offset(0)).offset == 105, "the other partition goes on")
    cluster.give(topic, places[0].partition)
    again = storm.tuples(4)
    assert [t["tuple"][0] for t in again] == ["2", "4", "6", "8"]
    for t in again:
        storm.do("ack", t["id"])
    storm.until(lambda: kept[places[0]].offset == 105, "all are dealt with")
    storm.end()
    assert cluster.left


def test_a_dead_letter_topic_that_takes_nothing_does_not_hold_up_storm(
    start_broker: Callable[..., Broker], topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metaq.storm, "_PAUSES", (0.1, 0.1))
    monkeypatch.setattr(metaq.storm, "Producer", functools.partial(Producer, buffer_messages=2))
    broker = start_broker()
    end = send(broker, topic, *[b"%d" % n for n in range(5)])
    storm = Storm(Spout(broker.address, topic, [topic], **options(tries=1)), tmp_path)
    tuples = storm.tuples(5)
    broker.pause()
    for t in tuples:
        storm.do("fail", t["id"])
    broker.resume()
    storm.until(lambda: committed(broker, topic, topic) == end, "all are in the dead-letter topic")
    storm.end()
    assert sorted(broker.run("get", topic + ".dead").split()) == [str(n) for n in range(5)]


def test_whatever_keeps_a_consumer_from_beginning_it_is_tried_again(shared: Broker, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[bool] = []

    def moody(*args: Any, **options: Any) -> Consumer:
        tried.append(True)
        if len(tried) == 1:
            raise OSError("too many open files")
        return Consumer(*args, **options)

    monkeypatch.setattr(metaq.storm, "_PAUSES", (0.1, 0.1))
    monkeypatch.setattr(metaq.storm, "Consumer", moody)
    send(shared, topic, b"x")
    storm = Storm(Spout(shared.address, topic, [topic], **options()), tmp_path)
    storm.tuples(1)
    assert any("too many open files" in line for line in storm.logs)
    storm.end()


def test_a_signal_in_the_middle_of_an_answer_ends_it(shared: Broker, topic: str, tmp_path: Path) -> None:
    send(shared, topic, b"first", b"second")
    script = f"""
import os, signal
from metaq.storm import Spout
class Interrupted(Spout):
    def tuple_of(self, message):
        if message.body == b"second":
            os.kill(os.getpid(), signal.SIGTERM)
        return [message.text]
Interrupted({shared.address!r}, {topic!r}, [{topic!r}]).run()
"""
    process = python("-c", script)
    assert process.stdin is not None and process.stdout is not None

    def say(message: object) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps(message) + "\nend\n")
        process.stdin.flush()

    say({"pidDir": str(tmp_path), "conf": {}, "context": {}})
    said: list[str] = []
    while not any("second" in line for line in said):
        say({"command": "next"})
        line = process.stdout.readline()
        while "sync" not in line:
            said.append(line)
            line = process.stdout.readline()
    assert process.wait(20) == 0  # and Storm has said nothing more
    assert committed(shared, topic, topic) in (None, 0)


@pytest.mark.parametrize("more", [{"in_flight": 0}, {"tries": -1}, {"retry_to": 0.5}, {"dead": "a b"}, {"answer_in": 0}])
def test_options_that_cannot_be(more: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Spout("127.0.0.1:1", "g", ["t"], **more)


TWO_TASKS = b'{"context": {"taskid": 2, "task->component": {"1": "bolt", "2": "s", "3": "s"}}}\nend\n'


@pytest.mark.parametrize("said", [b"", b"hello\nend\n", b'{"conf": {}}\n', TWO_TASKS])
def test_a_storm_that_is_none(said: bytes, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(said)
    with (tmp_path / "in").open("rb") as commands, (tmp_path / "out").open("wb") as answers, pytest.raises(UsageError):
        Spout("127.0.0.1:1", "g", ["t"]).serve(commands, answers)
