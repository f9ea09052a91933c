"""The command: put, get and stats, with the flags and exit codes of the Go binary `metaq` where they are the same thing."""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Optional

from metaq.blocking.connection import Connection
from metaq.blocking.consumer import Consumer
from metaq.blocking.producer import Delivery, Producer
from metaq.core.place import SCHEME, is_cluster
from metaq.errors import BrokerTimeoutError, MetaQError, MovedError, NotFoundError, TimedOutError, UsageError
from metaq.model import Message, Offset, Partition, Position, TopicPartition
from metaq.protocol import check_group, check_topic

FAILED, USAGE, NOTHING, TIMED_OUT, INTERRUPTED = 1, 2, 3, 124, 130

_AGE = re.compile(r"(\d+)(s|m|h|d)\Z")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def main(args: Optional[Sequence[str]] = None) -> int:
    """Runs the command and returns its exit code."""
    given = _parser().parse_args(args)
    try:
        code: int = given.run(given)
        sys.stdout.flush()
        return code
    except UsageError as err:
        return _say(err, USAGE)
    except NotFoundError as err:
        return _say(err, NOTHING)
    except (TimedOutError, BrokerTimeoutError) as err:
        return _say(err, TIMED_OUT)
    except BrokenPipeError:  # of `| head`: nobody wants more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MetaQError, OSError) as err:
        return _say(err, FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED


def _say(error: BaseException, code: int) -> int:
    print(f"metaq: {error}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-b", "--broker", default=os.environ.get("METAQ_BROKER", "127.0.0.1:8123"), help="host:port, or zk://host:2181 of a cluster (METAQ_BROKER)")
    common.add_argument("--zk", metavar="HOST:PORT", help="the cluster of this ZooKeeper")
    parser = argparse.ArgumentParser(prog="python -m metaq", description="Puts and gets messages of the broker MetaQ, and shows its figures.")
    verbs = parser.add_subparsers(required=True, metavar="put|get|stats")

    put = verbs.add_parser("put", parents=[common], help="store messages", description="Stores each MESSAGE, or without one each line of standard input.")
    put.add_argument("topic")
    put.add_argument("message", nargs="*")
    put.add_argument("--file", help="read from a file; - is standard input")
    put.add_argument("--whole", action="store_true", help="the whole input is one message")
    put.add_argument("--partition", help="store in this partition, in a cluster BROKER-NUMBER")
    put.add_argument("--key", help="choose the partition by the key: the same key, the same partition")
    put.add_argument("--attribute", default="", help="give each message this attribute")
    put.add_argument("-o", "--output", choices=["text", "json"], default="text", help="json prints a receipt a message")
    put.set_defaults(run=_put)

    get = verbs.add_parser("get", parents=[common], help="print messages", description="Prints the messages that are stored now; with -f also those that come.")
    get.add_argument("topic")
    get.add_argument("--group", help="read as this group: begin where it stopped, and keep how far it came")
    get.add_argument("--from", dest="start", metavar="PLACE", help="earliest, latest, an offset, a time (2026-11-21T14:30) or an age (15m)")
    get.add_argument("-n", "--count", type=int, help="stop after so many messages")
    get.add_argument("-f", "--follow", action="store_true", help="wait for more")
    get.add_argument("--partition", type=int, help="only this partition")
    get.add_argument("-o", "--output", choices=["raw", "json"], default="raw")
    get.set_defaults(run=_get)

    stats = verbs.add_parser("stats", parents=[common], help="print the figures of a broker", description="Prints figures; `stats help` lists the items.")
    stats.add_argument("item", nargs="?", default="")
    stats.add_argument("-o", "--output", choices=["text", "raw", "json"], default="text")
    stats.set_defaults(run=_stats)
    return parser


def _address(given: argparse.Namespace) -> str:
    return SCHEME + given.zk if given.zk else str(given.broker)


# put


def _put(given: argparse.Namespace) -> int:
    failed: list[BaseException] = []

    def done(delivery: Delivery) -> None:
        error = delivery.exception()
        if error is not None:
            failed.append(error)
        elif given.output == "json":
            receipt = delivery.result()
            partition = receipt.partition
            print(json.dumps({"topic": delivery.topic, "partition": _shown(given, partition), "offset": receipt.offset, "id": receipt.id}))

    partition = Partition.parse(given.partition) if given.partition else None
    with ExitStack() as stack:
        bodies = _bodies(given, stack)
        producer = stack.enter_context(Producer(_address(given)))
        for body in bodies:
            if failed:
                break
            producer.send_async(given.topic, body, key=given.key, attribute=given.attribute, partition=partition).add_done_callback(done)
        producer.flush()
    if failed:
        print(f"metaq: {len(failed)} messages are not acknowledged", file=sys.stderr)
        raise failed[0]
    return 0


def _bodies(given: argparse.Namespace, stack: ExitStack) -> Iterable[bytes]:
    if given.message:
        if given.file:
            raise UsageError("messages are given on the command line, or by --file, not both")
        return [m.encode(errors="surrogateescape") for m in given.message]
    if given.file and given.file != "-":
        source: BinaryIO = stack.enter_context(Path(given.file).open("rb"))  # noqa: SIM115
    else:
        source = sys.stdin.buffer
    return [source.read()] if given.whole else _lines(source)


def _lines(source: BinaryIO) -> Iterator[bytes]:
    for line in source:
        yield line[:-1] if line.endswith(b"\n") else line


def _shown(given: argparse.Namespace, partition: Partition) -> object:
    return str(partition) if is_cluster(_address(given)) else partition.number


# get


class _Nowhere:
    """An offset store for who reads for himself."""

    def load(self, group: str, place: TopicPartition) -> Optional[Offset]:
        return None

    def save(self, group: str, offsets: dict[TopicPartition, Offset]) -> None:
        return None


def _get(given: argparse.Namespace) -> int:
    check_topic(given.topic)
    if given.group is not None:
        check_group(given.group)
    if given.count is not None and given.count < 1:
        raise UsageError(f"-n {given.count}: at least one message")
    start = _place(given.start) if given.start else "earliest"
    if given.follow:
        if given.partition is not None:
            raise UsageError("-f follows all partitions: leave out --partition")
        return _follow(given, start)
    if is_cluster(_address(given)):
        raise UsageError("of a cluster messages are followed: add -f")
    return _get_now(given, start)


def _follow(given: argparse.Namespace, start: Position) -> int:
    printed = 0
    nowhere = None if given.group else _Nowhere()
    broadcast = nowhere is not None and is_cluster(_address(given))
    with Consumer(_address(given), given.group or "python-get", [given.topic], start=start, offsets=nowhere, broadcast=broadcast) as consumer:
        for message in consumer:
            _print(given, message)
            sys.stdout.flush()
            consumer.done(message)  # it is out, whatever ends the iteration
            printed += 1
            if printed == given.count:
                break
    return 0


def _get_now(given: argparse.Namespace, start: Position) -> int:
    """Prints what is stored, partition after partition."""
    printed = 0
    with Connection(_address(given)) as broker:
        numbers = [r.number for r in broker.route(given.topic)] if given.partition is None else [given.partition]
        if isinstance(start, int) and len(numbers) > 1:
            raise UsageError(f"an offset belongs to a partition: add --partition, {given.topic} has {len(numbers)}")
        for number in numbers:
            kept = broker.committed(given.topic, given.group, number) if given.group and not given.start else None
            for message in _stored(broker, given.topic, number, start if kept is None else kept):
                _print(given, message)
                printed += 1
                last = message
                if printed == given.count:
                    break
            if printed and given.group and last.partition.number == number:
                sys.stdout.flush()
                broker.commit(given.topic, given.group, number, last.next_offset)
            if printed == given.count:
                break
    return 0 if printed else NOTHING


def _stored(broker: Connection, topic: str, number: int, start: Position) -> Iterator[Message]:
    """The messages of a partition from a place on to where it ends now."""
    try:
        end = broker.end(topic, number)
        if start == "latest":
            return
        offset = broker.seek(topic, number, start) if isinstance(start, datetime) else start if isinstance(start, int) else 0
    except NotFoundError:
        return  # nobody has written it yet
    while offset < end:
        try:
            messages = broker.get(topic, number, offset)
        except MovedError as moved:
            offset = moved.offset
            continue
        if not messages:
            return
        yield from messages
        offset = messages[-1].next_offset


def _place(text: str) -> Position:
    if text == "earliest":
        return "earliest"
    if text == "latest":
        return "latest"
    if text.isdecimal() and text.isascii():
        return int(text)
    age = _AGE.match(text)
    if age:
        return datetime.now() - timedelta(**{_UNITS[age[2]]: int(age[1])})
    try:
        return datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    except ValueError:
        raise UsageError(f"--from {text!r}: it is earliest, latest, an offset, a time like 2026-11-21T14:30, or an age like 15m") from None


def _print(given: argparse.Namespace, message: Message) -> None:
    if given.output == "raw":
        sys.stdout.buffer.write(message.body + b"\n")
        return
    shown: dict[str, object] = {
        "topic": message.topic,
        "partition": _shown(given, message.partition),
        "offset": message.offset,
        "id": message.id,
        "attribute": message.attribute,
    }
    try:
        shown["data"] = message.text
    except UnicodeDecodeError:
        shown["data_base64"] = base64.b64encode(message.body).decode()
    print(json.dumps(shown, ensure_ascii=False))


# stats


def _stats(given: argparse.Namespace) -> int:
    if is_cluster(_address(given)):
        raise UsageError("stats asks one broker: name it with --broker HOST:PORT")
    with Connection(_address(given)) as broker:
        text = broker.stats(given.item)
    if given.output == "raw":
        sys.stdout.write(text)
        return 0
    lines = [line for line in text.splitlines() if line not in ("STATS", "END")]
    if given.output == "text":
        print("\n".join(lines))
        return 0
    print(json.dumps([{"name": name, "value": value} for name, _, value in (line.partition(" ") for line in lines)], indent=2))
    return 0
