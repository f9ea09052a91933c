"""A spout for Apache Storm: the process that a ShellSpout of a topology starts, and talks to over pipes in Storm's multilang protocol.

    python -m metaq.storm orders --group billing --zk 10.0.0.1:2181

does what `metaq spout` of the Go binary does. A program of its own makes tuples as it likes:

    class Orders(Spout):
        def tuple_of(self, message):
            order = json.loads(message.body)
            return [order["customer"], order["total"]]

    Orders("zk://10.0.0.1:2181", "billing", ["orders"]).run()

Storm has one thread for a spout, which waits for each answer. So nothing here waits for a broker while Storm waits: the consumer has threads of its own, commands
look at what it has. Each message stays in flight until the topology has dealt with it; where the group goes on is before the first one of a partition in flight."""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import logging
import os
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO, Callable, Optional, Union

from metaq.blocking.consumer import Consumer
from metaq.blocking.producer import Delivery, Producer
from metaq.core.flights import Flight, InFlight
from metaq.core.place import SCHEME, is_cluster
from metaq.errors import BadRequestError, MetaQError, UsageError
from metaq.model import Message, Offset, Position, TopicPartition, position_of
from metaq.protocol import check_group, check_topic

log = logging.getLogger("metaq.storm")

_BURST = 64
"""Tuples of one answer to next."""

_IDLE = 0.02
"""Seconds for which Storm waits for a message when there is none, and nothing else for it to do."""

_MAX_BYTES = 64 << 20
"""Bodies of messages in flight, of all partitions together."""

_MAX_LINES = 256
"""Lines for the log of Storm's worker that wait until it reads them."""

_MAX_DEPTH = 256
"""Levels of a message in JSON. Storm's parser ends its worker, again and again, at a message of 400."""

_MAX_DIGITS = 4096
"""Digits of a number in JSON. Storm's parser takes minutes for a million, and is taken for dead meanwhile."""

_REPORT_EVERY = 30.0
"""Seconds between reports of the counts."""

_DRAIN = 10.0
"""Seconds for which tuples are waited for that Storm has when the topology is deactivated."""

_CLOSE = 8.0
"""Seconds for leaving the group."""

_PAUSES = (1.0, 30.0)
"""Seconds of the first and the longest pause after a broker has failed."""


class _JSON(str):
    """A value as the text of JSON that it came in. Read and written again, a number would be what Python makes of it."""


class Unreadable(ValueError):
    """A message is none that the scheme reads. It goes to the dead-letter topic, where no further try would change that."""


class _Lines(logging.Handler):
    """Keeps what is logged until Storm reads it. Storm reads only while it waits for the answer to a command."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._waiting: deque[dict[str, object]] = deque()
        self._left = 0

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._waiting) >= _MAX_LINES:
            self._left += 1
            return
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        level = 4 if record.levelno >= logging.ERROR else 3 if record.levelno >= logging.WARNING else 2
        self._waiting.append({"command": "log", "msg": f"{record.name}: {text}", "level": level})

    def take(self) -> list[dict[str, object]]:
        """What has come since the last time."""
        taken = []
        while self._waiting:
            taken.append(self._waiting.popleft())
        left, self._left = self._left, 0
        if left:
            taken.append({"command": "log", "msg": f"metaq.storm: {left} more lines are left out", "level": 3})
        return taken


class Spout:
    """A spout that reads topics as a consumer of a group, from a broker at host:port or from a cluster at zk://host:2181,... `run` speaks with Storm.

    start        where a group begins that has no offset yet: "earliest", "latest", an offset or a datetime
    in_flight    messages of a partition that are under way at the same time; with 1 they are dealt with strictly in order
    tries        how often a message may fail before it goes to the dead-letter topic; 0: no limit
    retry_from, retry_to   seconds of the first and the longest pause after a failure; each is twice as long as the one before
    dead         the dead-letter topic; by default that of orders is orders.dead
    answer_in    seconds after which a tuple counts as failed that Storm has not answered for; by default twice topology.message.timeout.secs
    metric       a metric that the topology has registered, which is told the counts
    """

    def __init__(
        self,
        address: str,
        group: str,
        topics: Sequence[str],
        *,
        start: Position = "earliest",
        in_flight: int = 1000,
        tries: int = 5,
        retry_from: float = 1.0,
        retry_to: float = 60.0,
        dead: Optional[str] = None,
        answer_in: Optional[float] = None,
        metric: Optional[str] = None,
    ) -> None:
        if in_flight < 1 or tries < 0 or not 0 < retry_from <= retry_to or (answer_in is not None and answer_in <= 0):
            raise UsageError(
                f"{in_flight} in flight, {tries} tries, pauses of {retry_from} to {retry_to} s, an answer in {answer_in} s: "
                "each is more than 0, but tries may be 0; the last pause is not less than the first"
            )
        if isinstance(topics, str) or not topics:
            raise UsageError("a spout needs a list of topics")
        for topic in topics:
            check_topic(topic)
            check_topic(dead or topic + ".dead")
        self.address, self.group, self.topics, self.start = address, check_group(group), list(topics), position_of(start)
        self.in_flight, self.tries, self.retry_from, self.retry_to = in_flight, tries, retry_from, retry_to
        self.dead, self.answer_in, self.metric = dead, answer_in, metric
        self._flights = InFlight(self._go_on, tries=tries, retry_from=retry_from, retry_to=retry_to, answer_in=0, most=0)
        self._consumer: Optional[Consumer] = None  # while there is one
        self._keeper: Optional[_Keeper] = None  # of the last activation
        self._draining = 0.0  # until when, after a deactivation
        self._revoked: deque[TopicPartition] = deque()  # from the consumer's thread
        self._full: set[TopicPartition] = set()
        self._letters: deque[tuple[Flight, Delivery]] = deque()  # from the producer's thread
        self._producer: Optional[Producer] = None
        self._lines = _Lines()
        self._stopping = False  # SIGTERM has come
        self._waiting = False  # for Storm
        self._reported = 0.0
        self._told: dict[str, int] = {}

    def tuple_of(self, message: Message) -> list[Any]:
        """The tuple of a message, of what JSON can say. Any error that it raises sends the message to the dead-letter topic."""
        return [message.body.decode()]

    def run(self) -> None:
        """Speaks with Storm on standard input and output until that has gone, or SIGTERM comes. What the program prints goes to standard error."""
        out = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        if threading.current_thread() is threading.main_thread():

            def stop(*_: object) -> None:
                self._stopping = True
                if self._waiting:
                    self._waiting = False  # the next signal does not end the end
                    raise SystemExit(0)

            signal.signal(signal.SIGTERM, stop)
        self.serve(sys.stdin.buffer, out)

    def serve(self, commands: BinaryIO, answers: BinaryIO) -> None:
        """Speaks with a Storm that is somewhere else."""
        pipe = _Pipe(commands, answers)
        topology = pipe.greet(self._suits)
        self._flights.answer_in = self._answer_in(topology)
        self._flights.most = int(_number(topology.get("topology.max.spout.pending")))
        root = logging.getLogger()
        root.addHandler(self._lines)
        before = root.level
        root.setLevel(min(before or logging.INFO, logging.INFO))
        try:
            while True:
                self._waiting = True
                if self._stopping:
                    return
                command = pipe.read()
                self._waiting = False
                if command is None:
                    return
                if isinstance(command, dict):  # a list is of tasks that a tuple went to
                    self._answer(command, pipe)
        except BrokenPipeError:
            return
        finally:
            self._waiting = False
            root.removeHandler(self._lines)
            root.setLevel(before)
            self._end()

    def _suits(self, context: dict[str, Any]) -> None:
        components = context.get("task->component") or {}
        mine = components.get(str(context.get("taskid")))
        tasks = sum(c == mine for c in components.values())
        if tasks > 1 and not is_cluster(self.address):
            raise UsageError(
                f"against a broker that stands alone a group is one process, and this spout has {tasks} tasks, which would get every message {tasks} times: "
                "set its parallelism to 1, or name the ZooKeeper of a cluster"
            )

    def _answer_in(self, topology: dict[str, Any]) -> float:
        """How long Storm may take for a tuple. After its own time-out it fails the tuple, so that twice as long says that it has lost it."""
        if self.answer_in is not None:
            return self.answer_in
        if topology.get("topology.enable.message.timeouts") is False:
            return 0.0  # a tuple may take as long as it likes
        return 2 * (_number(topology.get("topology.message.timeout.secs")) or 30.0)

    def _answer(self, command: dict[str, Any], pipe: _Pipe) -> None:
        """Carries out one command. Every answer ends with a sync, which is what Storm waits for; nothing here waits for anything else for long."""
        self._catch_up()
        name, tuple_id = command.get("command"), command.get("id")
        if name == "next":
            self._activate()
            self._emit(pipe)
        elif name == "ack":
            self._flights.ack(tuple_id)
        elif name == "fail":
            self._bury(self._flights.fail(tuple_id, monotonic()))
        elif name == "activate":
            self._activate()
        elif name == "deactivate":
            self._deactivate()
        else:
            log.warning("Storm has sent a command that a spout does not know: %r", name)
        for flight in self._flights.expire(monotonic()):
            self._bury(flight)
        self._drain()
        self._report(pipe)
        pipe.write({"command": "sync"})
        pipe.flush()

    # Messages.

    def _catch_up(self) -> None:
        """Takes what the threads of the client have left here."""
        while self._revoked:
            place = self._revoked.popleft()
            self._flights.drop(place)
            self._full.discard(place)
        while self._letters:
            flight, delivery = self._letters.popleft()
            self._buried(flight, delivery)

    def _emit(self, pipe: _Pipe) -> None:
        for n in range(_BURST):
            flight = self._next(wait=n == 0)
            if flight is None:
                return
            try:
                text = _tuple(self.tuple_of(flight.message))
            except Exception as err:
                self._flights.unreadable(flight, str(err) or repr(err))
                self._bury(flight)
                continue
            pipe.write_tuple(self._flights.emit(flight, monotonic()), text)

    def _next(self, wait: bool) -> Optional[Flight]:
        flight = self._flights.next()
        consumer = self._consumer
        if flight is not None or consumer is None or self._draining or (self._flights.most and len(self._flights.emitted) >= self._flights.most):
            return flight
        for place in [p for p in self._full if self._flights.room(p, self.in_flight)]:
            self._full.discard(place)
            consumer.resume([place])
        if self._flights.bytes >= _MAX_BYTES:
            return None
        try:
            message = consumer.poll(_IDLE if wait and not self._flights.emitted else 0.0)
        except MetaQError as err:
            log.error("the consumer has ended and begins again: %s", err)
            self._consumer = None
            if self._keeper is not None:
                self._keeper.renew()
            return None
        if message is None:
            return None
        self._catch_up()  # what it says of the partition is older than the message, or the message is no longer ours and comes to nothing
        self._flights.add(message)
        place = TopicPartition(message.topic, message.partition)
        if not self._flights.room(place, self.in_flight):
            self._full.add(place)
            consumer.pause([place])
        return self._flights.next()

    def _go_on(self, place: TopicPartition, at: Offset) -> None:
        consumer = self._consumer
        if consumer is not None:
            consumer.set_position(place, at)

    # The dead-letter topic.

    def _bury(self, flight: Optional[Flight]) -> None:
        """Sends a message to the dead-letter topic. Its body is as it was, so that it can be read and sent again; its attribute says where it comes from."""
        if flight is None:
            return
        if self._producer is None:
            self._flights.bury_again(flight, monotonic() + _PAUSES[0])
            return
        m = flight.message
        said = {
            "topic": m.topic, "partition": str(m.partition), "offset": m.offset, "id": m.id, "attribute": m.attribute, "group": self.group,
            "error": flight.why, "tries": flight.failures,
        }  # fmt: skip
        attribute = m.attribute if flight.plain else json.dumps(said)
        try:
            delivery = self._producer.send_async(self.dead or m.topic + ".dead", m.body, attribute=attribute, timeout=0)
        except MetaQError as err:  # there is no room: other messages wait for a broker that is away
            self._bury_later(flight, err)
            return
        delivery.add_done_callback(lambda d: self._letters.append((flight, d)))

    def _buried(self, flight: Flight, delivery: Delivery) -> None:
        m = flight.message
        try:
            receipt = delivery.result(0)
        except BadRequestError as err:
            if flight.plain:
                self._bury_later(flight, err)
            elif flight.dying():
                flight.plain = True  # it was within the broker's limits like that
                self._bury(flight)
        except MetaQError as err:
            self._bury_later(flight, err)
        else:
            if flight.dying():
                log.warning("a message went to the dead-letter topic: %s offset %d: %s, now %s offset %d", flight.place, m.offset, flight.why, *receipt[1:])
            self._flights.buried(flight)

    def _bury_later(self, flight: Flight, err: Exception) -> None:
        text = "a message cannot be sent to the dead-letter topic and holds its partition's offset until it can: %s offset %d: %s"
        log.error(text, flight.place, flight.message.offset, err)
        self._flights.bury_again(flight, monotonic() + _PAUSES[1])

    # Activations.

    def _activate(self) -> None:
        if self._keeper is None or self._draining or self._keeper.stopping:
            if self._keeper is not None:
                self._stop_keeper()
            self._draining = 0.0
            self._keeper = _Keeper(self, self._keeper)

    def _deactivate(self) -> None:
        """Gives the partitions up, so that others of the group may have them, once Storm has answered for what it has."""
        if self._keeper is not None and not self._draining and not self._keeper.stopping:
            self._draining = monotonic() + _DRAIN
            self._flights.drop_unemitted()

    def _drain(self) -> None:
        if self._draining and (not self._flights.emitted or monotonic() > self._draining):
            self._draining = 0.0
            self._stop_keeper()

    def _stop_keeper(self) -> None:
        assert self._keeper is not None
        self._keeper.stop()
        self._consumer = None
        self._flights.drop_all()
        self._full.clear()

    def _end(self) -> None:
        """Storm has gone."""
        if self._keeper is not None:
            self._catch_up()
            self._stop_keeper()
            self._keeper.join()
        if self._producer is not None:
            with contextlib.suppress(MetaQError):
                self._producer.close(_CLOSE)

    # What Storm is told beside the tuples.

    def _report(self, pipe: _Pipe) -> None:
        now = monotonic()
        if now - self._reported >= _REPORT_EVERY:
            self._reported = now
            counts = self._flights.counts
            if any(counts.values()) and counts != self._told:
                self._told = dict(counts)
                log.info(", ".join(f"{count} {name}" for name, count in counts.items()))
            if self.metric is not None:
                pipe.write({"command": "metrics", "name": self.metric, "params": counts})
        for line in self._lines.take():
            pipe.write(line)


class _Keeper:
    """Has a consumer while the topology is active, in a thread of its own, since to join and to leave a group takes time."""

    def __init__(self, spout: Spout, before: Optional[_Keeper]) -> None:
        self.stopping = False
        self._spout = spout
        self._before = before
        self._changed = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="metaq-keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.stopping = True
        self._changed.set()

    def renew(self) -> None:
        """Lets the consumer be another one."""
        self._changed.set()

    def join(self) -> None:
        self._thread.join()

    def _keep(self) -> None:
        if self._before is not None:
            self._before.join()
            self._before = None
        s, pause = self._spout, _PAUSES[0]
        while not self.stopping:
            self._changed.clear()
            try:
                s._producer = s._producer or Producer(s.address)
                consumer = Consumer(s.address, s.group, s.topics, start=s.start, commit_every=1.0, manual=True, on_revoked=s._revoked.extend)
            except Exception as err:  # also that there are no more files, or threads: nobody else would try again
                log.error("there is no consumer, again in %g s: %s", pause, err)
                self._changed.wait(pause)
                pause = min(2 * pause, _PAUSES[1])
                continue
            if not self.stopping:
                s._consumer = consumer
                self._changed.wait()
            try:
                consumer.close(_CLOSE)
            except Exception as err:
                log.warning("the consumer does not end in order: %s", err)
            if not self.stopping:
                self._changed.wait(pause)


class _Pipe:
    """Messages of the protocol: each is JSON, followed by a line that says end."""

    def __init__(self, commands: BinaryIO, answers: BinaryIO) -> None:
        self._commands = commands
        self._answers = answers

    def read(self) -> Union[dict[str, Any], list[Any], None]:
        """The next message; None if Storm has gone."""
        lines: list[bytes] = []
        while True:
            line = self._commands.readline()
            if not line:
                if lines:
                    raise UsageError("Storm has gone in the middle of a message")
                return None
            if line.rstrip(b"\r\n") == b"end":
                break
            lines.append(line)
        try:
            message = json.loads(b"".join(lines))
        except ValueError as err:
            raise UsageError(f"a message of Storm is not understood: {err}: {b''.join(lines)[:100]!r}") from None
        if not isinstance(message, (dict, list)):
            raise UsageError(f"a message of Storm is not understood: {message!r:.100}")
        return message

    def greet(self, check: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Takes the first message, answers with the process's id, which Storm also looks for as the name of a file, and returns the topology's configuration."""
        first = self.read()
        if not isinstance(first, dict):
            raise UsageError("there was no first message of Storm: a ShellSpout starts this program; it is nothing to type into")
        check(first.get("context") or {})
        pid = os.getpid()
        if first.get("pidDir"):
            Path(first["pidDir"], str(pid)).touch()
        self.write({"pid": pid})
        self.flush()
        conf = first.get("conf")
        return conf if isinstance(conf, dict) else {}

    def write(self, message: object) -> None:
        self._answers.write(json.dumps(message).encode() + b"\nend\n")

    def write_tuple(self, tuple_id: str, values: str) -> None:
        self._answers.write(f'{{"command": "emit", "id": {json.dumps(tuple_id)}, "tuple": {values}, "need_task_ids": false}}\nend\n'.encode())

    def flush(self) -> None:
        self._answers.flush()


def _tuple(values: Sequence[Any]) -> str:
    """Writes a tuple in JSON. Storm ends the worker at anything but a list."""
    if not isinstance(values, (list, tuple)):
        raise TypeError(f"tuple_of returns a list of values, not {values!r:.100}")
    return "[" + ", ".join(v if isinstance(v, _JSON) else json.dumps(v, allow_nan=False) for v in values) + "]"


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0


class Command(Spout):
    """The spout of the command line, with its schemes and fields."""

    schemes = ("string", "json", "raw")
    names = ("message", "topic", "partition", "offset", "id", "attribute")

    def __init__(self, *args: Any, scheme: str = "string", fields: Sequence[str] = ("message",), **options: Any) -> None:
        super().__init__(*args, **options)
        self.scheme, self.fields = scheme, list(fields)
        for field in self.fields:
            if not (field in self.names or (scheme == "json" and len(field) > 1 and field[0] == ".")):
                raise UsageError(f"there is no field {field!r}: use {', '.join(self.names)}, or .NAME with the scheme json")

    def tuple_of(self, message: Message) -> list[Any]:
        body = self._body(message)
        m = message
        known = {"message": body, "topic": m.topic, "partition": str(m.partition), "offset": m.offset, "id": m.id, "attribute": m.attribute}
        members = _members(body) if any(field not in known for field in self.fields) else {}
        return [known[field] if field in known else members.get(field[1:]) for field in self.fields]

    def _body(self, message: Message) -> str:
        if self.scheme == "raw":
            return base64.b64encode(message.body).decode()
        try:
            text = message.body.decode()
        except UnicodeDecodeError:
            raise Unreadable("it is no text in UTF-8") from None
        if self.scheme == "string":
            return text
        if _depth(text) > _MAX_DEPTH:
            raise Unreadable(f"it is JSON of more than {_MAX_DEPTH} levels, which Storm does not read")
        try:
            _DECODER.decode(text)
        except ValueError:
            raise Unreadable("it is no JSON") from None
        if any(found[1] for found in _DIGITS.finditer(text)):
            raise Unreadable(f"it is JSON with a number of more than {_MAX_DIGITS} digits, which Storm does not read in time")
        return _JSON(_SPACES.sub(r"\1", text))  # in one line


def _depth(text: str) -> int:
    """How deep a message in JSON is nested."""
    depth = deepest = at = 0
    while at < len(text):
        c = text[at]
        if c == '"':
            at += 1
            while at < len(text) and text[at] != '"':
                at += 2 if text[at] == "\\" else 1
        elif c in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif c in "]}":
            depth -= 1
        at += 1
    return deepest


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_no_constant)
"""Leaves numbers as they are written."""

_TEXT = r'"[^"\\]*(?:\\.[^"\\]*)*"'
"""Of what is JSON for sure: in other texts it may look for its end again and again."""

_SPACES = re.compile(rf"({_TEXT})|[ \t\r\n]+")
_DIGITS = re.compile(rf"{_TEXT}|([0-9]{{{_MAX_DIGITS + 1}}})")


def _members(text: str) -> dict[str, _JSON]:
    """What an object in JSON, without spaces, has under its names."""
    if not text.startswith("{"):
        raise Unreadable("it is no object in JSON")
    members: dict[str, _JSON] = {}
    at = 1
    while text[at] != "}":
        name, colon = _DECODER.raw_decode(text, at)
        _, end = _DECODER.raw_decode(text, colon + 1)
        members[name] = _JSON(text[colon + 1 : end])
        at = end + (text[end] == ",")
    return members


def main(args: Optional[Sequence[str]] = None) -> int:
    """Runs the command and returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m metaq.storm", description="A spout for Apache Storm: a ShellSpout of a topology starts it.")
    parser.add_argument("topics", nargs="+", metavar="TOPIC")
    parser.add_argument("-b", "--broker", default=os.environ.get("METAQ_BROKER", "127.0.0.1:8123"), help="host:port, or zk://host:2181 of a cluster (METAQ_BROKER)")
    parser.add_argument("--zk", metavar="HOST:PORT", help="the cluster of this ZooKeeper")
    parser.add_argument("--group", required=True, help="read as a consumer of this group")
    parser.add_argument("--scheme", choices=Command.schemes, default="string", help="how a message becomes a value")
    parser.add_argument("--fields", default="message", help="the fields of a tuple, with commas between them")
    parser.add_argument("--in-flight", type=int, default=1000, help="most messages of a partition that are under way at the same time")
    parser.add_argument("--tries", type=int, default=5, help="send a message to the dead-letter topic when it has failed so often; 0: never")
    parser.add_argument("--retry-from", type=float, default=1.0, metavar="SECONDS", help="the pause after the first failure; it doubles with each one")
    parser.add_argument("--retry-to", type=float, default=60.0, metavar="SECONDS", help="the longest pause")
    parser.add_argument("--dead", metavar="TOPIC", help="the dead-letter topic; by default that of orders is orders.dead")
    parser.add_argument("--answer-in", type=float, metavar="SECONDS", help="by default twice topology.message.timeout.secs")
    parser.add_argument("--from", dest="start", choices=["earliest", "latest"], default="earliest", help="where a group begins that has no offset")
    parser.add_argument("--metric", help="a metric that the topology has registered, which is told the counts")
    given = parser.parse_args(args)
    try:
        Command(
            SCHEME + given.zk if given.zk else given.broker, given.group, given.topics, start=given.start, in_flight=given.in_flight, tries=given.tries,
            retry_from=given.retry_from, retry_to=given.retry_to, dead=given.dead, answer_in=given.answer_in, metric=given.metric,
            scheme=given.scheme, fields=given.fields.split(","),
        ).run()  # fmt: skip
    except MetaQError as err:
        sys.stderr.write(f"metaq: {err}\n")
        return 2 if isinstance(err, UsageError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
