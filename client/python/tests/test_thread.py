"""The thread of the blocking face: nobody waits for ever for one that is ending, is in another process, or waits itself."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from typing import Any, Callable

import pytest

import metaq
from conftest import Broker, eventually, python


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a broker that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    """Begins to do something, and collects the error that it ends with."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as err:
            errors.append(err)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, errors


def test_a_child_ends_and_the_parent_goes_on(shared: Broker, topic: str) -> None:
    script = f"""
import metaq, os, sys
producer = metaq.Producer({shared.address!r})
consumer = metaq.Consumer({shared.address!r}, "g", [{topic!r}])
producer.send({topic!r}, "parent")
child = os.fork()
if child == 0:
    for use in (lambda: producer.send({topic!r}, "child"), lambda: producer.send_async({topic!r}, "child"), lambda: consumer.poll(1), consumer.commit):
        try:
            use()
        except metaq.ClosedError as err:
            print(err)
    consumer.close()
    with metaq.Producer({shared.address!r}) as own:
        own.send({topic!r}, "own")
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
producer.send({topic!r}, "parent")
consumer.close()
"""
    process = python("-c", script)
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert (process.returncode, err) == (0, "")
    assert [line.startswith("it was made before os.fork") for line in out.splitlines()] == [True] * 4
    assert sorted(shared.run("get", topic).split()) == ["own", "parent", "parent"]


def test_who_waits_for_an_answer_is_told_of_the_end(silent: str) -> None:
    consumer = metaq.Consumer(silent, "g", ["t"])
    seeking, errors = in_thread(lambda: consumer.seek("latest"))
    eventually(lambda: consumer._core._started, "the question is asked")
    consumer.close()
    seeking.join(20)
    assert not seeking.is_alive()
    assert [type(e) for e in errors] == [metaq.ClosedError]


class Slow:
    """A store that keeps nothing before it is told to."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()

    def load(self, group: str, place: metaq.TopicPartition) -> None:
        return None

    def save(self, group: str, offsets: Any) -> None:
        self.asked.set()
        self.go_on.wait(60)


def test_who_closes_too_does_not_end_what_the_first_one_does(shared: Broker, topic: str) -> None:
    with metaq.Producer(shared.address) as producer:
        producer.send(topic, "x", partition=0)
    store = Slow()
    consumer = metaq.Consumer(shared.address, topic, [topic], offsets=store, commit_every=0)
    message = consumer.poll(20)
    assert message is not None and consumer.done(message)
    first, errors = in_thread(consumer.close)
    assert store.asked.wait(20)
    consumer.close()
    assert first.is_alive()
    store.go_on.set()
    first.join(20)
    assert not first.is_alive() and not errors


def test_a_callback_that_waits_is_told_that_it_would_do_so_for_ever(shared: Broker, topic: str) -> None:
    told: list[type[BaseException]] = []
    ended = threading.Event()
    with metaq.Producer(shared.address) as producer:

        def again(delivery: metaq.Delivery) -> None:
            for wait in (lambda: producer.send(topic, "again"), producer.flush, producer.close):
                try:
                    wait()
                except metaq.MetaQError as err:
                    told.append(type(err))
            producer.send_async(topic, "later")
            ended.set()

        producer.send_async(topic, "first").add_done_callback(again)
        assert ended.wait(20)
    assert told == [metaq.UsageError] * 3
    assert sorted(shared.run("get", topic).split()) == ["first", "later"]
