"""python -m metaq, from outside."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Callable

from conftest import Broker, python


def run(broker: Broker, *args: str, stdin: str = "", code: int = 0) -> tuple[str, str]:
    process = python("-m", "metaq", *args, "--broker", broker.address)
    out, err = process.communicate(stdin, timeout=60)
    assert process.returncode == code, err
    return out, err


def test_lines_come_back_as_they_were(shared: Broker, topic: str) -> None:
    text = "one\n\n  two \r\nGrüße\n".encode() + b"\xff\x00\n"
    command = [sys.executable, "-m", "metaq", "--broker", shared.address]
    subprocess.run([*command[:3], "put", topic, *command[3:], "--partition", "1"], input=text, check=True)
    assert subprocess.run([*command[:3], "get", topic, *command[3:]], check=True, stdout=subprocess.PIPE).stdout == text


def test_the_go_tool_reads_what_we_put_and_we_what_it_puts(shared: Broker, topic: str) -> None:
    run(shared, "put", topic, "from python", "--key", "k", "--attribute", "a")
    shared.run("put", topic, "from go", "--key", "k")
    assert shared.run("get", topic) == "from python\nfrom go\n"
    assert run(shared, "get", topic)[0] == "from python\nfrom go\n"


def test_json(shared: Broker, topic: str) -> None:
    out, _ = run(shared, "put", topic, "a", "b", "--partition", "2", "-o", "json")
    receipts = [json.loads(line) for line in out.splitlines()]
    assert [(r["topic"], r["partition"], r["offset"]) for r in receipts] == [(topic, 2, 0), (topic, 2, 21)]
    out, _ = run(shared, "get", topic, "-o", "json", "--partition", "2")
    assert [json.loads(line) for line in out.splitlines()] == [{**r, "attribute": "", "data": d} for r, d in zip(receipts, "ab")]


def test_a_group_goes_on(shared: Broker, topic: str) -> None:
    run(shared, "put", topic, *"abcde", "--partition", "0")
    assert run(shared, "get", topic, "--group", "g", "-n", "2")[0] == "a\nb\n"
    assert run(shared, "get", topic, "--group", "g", "-f", "-n", "2")[0] == "c\nd\n"
    assert shared.run("get", topic, "--group", "g") == "e\n"
    run(shared, "get", topic, "--group", "g", code=3)


def test_places(shared: Broker, topic: str) -> None:
    run(shared, "put", topic, *"abc", "--partition", "0")
    assert run(shared, "get", topic, "--from", "21", "--partition", "0")[0] == "b\nc\n"
    assert run(shared, "get", topic, "--from", "1h")[0] == "a\nb\nc\n"
    assert run(shared, "get", topic, "--from", "2020-01-01T00:00:00Z")[0] == "a\nb\nc\n"
    run(shared, "get", topic, "--from", "latest", code=3)


def test_exit_codes(shared: Broker, topic: str) -> None:
    assert "topic" in run(shared, "put", "no good", "x", code=2)[1]
    assert "--from" in run(shared, "get", topic, "--from", "somewhere", code=2)[1]
    assert "--partition" in run(shared, "get", topic, "--from", "5", code=2)[1]
    assert "1 messages are not acknowledged" in run(shared, "put", topic, "x", "--partition", "99", code=1)[1]
    process = python("-m", "metaq", "stats", "--broker", "127.0.0.1:1")
    assert "no connection to 127.0.0.1:1" in process.communicate(timeout=60)[1]
    assert process.returncode == 1


def test_stats(shared: Broker) -> None:
    assert "pid " in run(shared, "stats")[0]
    assert run(shared, "stats", "-o", "raw")[0].startswith("STATS")
    figures = {f["name"]: f["value"] for f in json.loads(run(shared, "stats", "-o", "json")[0])}
    assert figures["port"] == str(shared.port)


def test_interrupt_ends_following_cleanly(shared: Broker, topic: str) -> None:
    run(shared, "put", topic, *"abc", "--partition", "0")
    process = python("-m", "metaq", "get", topic, "--group", "g", "-f", "--broker", shared.address)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(3)] == ["a\n", "b\n", "c\n"]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")
    # What was printed is done, but for the last, which may have been in hand yet.
    left = python("-m", "metaq", "get", topic, "--group", "g", "--broker", shared.address)
    assert left.communicate(timeout=60)[0] in ("", "c\n")


def test_interrupt_ends_a_consumer_cleanly(shared: Broker, topic: str) -> None:
    """What is done is committed, what is in hand comes again, and Python's own KeyboardInterrupt is what ends the program."""
    run(shared, "put", topic, *"abc", "--partition", "0")
    for how in (
        "for m in consumer: handle(m)",
        "consumer.run(handle)",
        "consumer.run(handle, workers=3)",
    ):
        script = f"""
import metaq, sys, time, threading
def handle(m):
    print(m.text, flush=True)
    if m.text == "b" and {"'workers' not in " + repr(how)}:
        while True:
            time.sleep(0.01)
with metaq.Consumer({shared.address!r}, {"g" + str(len(how))!r}, [{topic!r}]) as consumer:
    {how}
"""
        process = python("-c", script)
        assert process.stdout is not None
        waits_in_b = "workers" not in how
        assert [process.stdout.readline() for _ in range(2 if waits_in_b else 3)] == ["a\n", "b\n", "c\n"][: 2 if waits_in_b else 3]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGINT and err.rstrip().endswith("KeyboardInterrupt"), err
        if waits_in_b:
            assert shared.run("get", topic, "--group", "g" + str(len(how))) == "b\nc\n"


def test_a_program_that_forgets_to_close_loses_nothing(shared: Broker, topic: str) -> None:
    script = f"""
import metaq
producer = metaq.Producer({shared.address!r})
for n in range(2000):
    producer.send_async({topic!r}, str(n))
"""
    process = python("-c", script)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert len(shared.run("get", topic).splitlines()) == 2000


def test_puts_survive_a_restart(start_broker: Callable[..., Broker], topic: str) -> None:
    broker = start_broker()
    process = python("-m", "metaq", "put", topic, "--broker", broker.address)
    assert process.stdin is not None
    process.stdin.write("".join(f"{n}\n" for n in range(1000)))
    process.stdin.flush()
    broker.kill()
    broker.start()
    _, err = process.communicate("".join(f"{n}\n" for n in range(1000, 2000)), timeout=60)
    assert process.returncode == 0, err
    assert set(broker.run("get", topic).split()) == {str(n) for n in range(2000)}
