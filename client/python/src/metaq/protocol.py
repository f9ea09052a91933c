"""The wire format, without any I/O: requests as bytes, and what comes back taken apart. protocol/PROTOCOL.md of the broker specifies it."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple
from zlib import crc32

from metaq.errors import ChecksumError, ProtocolError, UsageError
from metaq.model import Message, Partition, Receipt, TopicPartition

NO_OPAQUE = 0x7FFFFFFF
"""What the broker answers with when a request had no opaque. It is never used for a request."""

VALUE = 0
"""Stands for the status of a `value` answer, which has none."""

OK = 200

FLAG_ATTRIBUTE = 1
"""The bit of a flag that says that the data begin with an attribute."""

MAX_ANSWER = 1 << 30
"""Bytes of one answer; a larger one is taken for garbage."""

_MAX_LINE = 128  # bytes of the first line of an answer; real ones are much shorter
_MESSAGE = struct.Struct(">iiqi")  # length, checksum, id, flag
_LENGTH = struct.Struct(">i")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}\Z", re.ASCII)
_NUMBER = re.compile(rb"-?[0-9]{1,20}\Z")
_ADVICE = "letters, digits, '_', '-' and '.', at most 255, the first neither '-' nor '.'"

RECORD_HEADER = _MESSAGE.size


def check_topic(name: str) -> str:
    """Refuses what is no name of a topic."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise UsageError(f"the topic {name!r}: a topic has {_ADVICE}")
    return name


def check_group(name: str) -> str:
    """Refuses what is no name of a group."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise UsageError(f"the group {name!r}: a group has {_ADVICE}")
    return name


def checksum(data: bytes) -> int:
    """The CRC-32 without its top bit."""
    return crc32(data) & 0x7FFFFFFF


# Requests.


def put(topic: str, partition: int, flag: int, data: bytes, opaque: int) -> bytes:
    """Stores a message; with partition -1 the broker chooses one."""
    return b"put %b %d %d %d %d %d\r\n%b" % (topic.encode(), partition, len(data), flag, crc32(data) & 0x7FFFFFFF, opaque, data)


def get(topic: str, group: str, partition: int, offset: int, max_size: int, wait_ms: int, opaque: int) -> bytes:
    """Asks for stored messages. With wait_ms >= 0 the broker waits so long for something to come."""
    if wait_ms < 0:
        return f"get {topic} {group} {partition} {offset} {max_size} {opaque}\r\n".encode()
    return f"get {topic} {group} {partition} {offset} {max_size} {wait_ms} {opaque}\r\n".encode()


def offset(topic: str, group: str, partition: int, at: int, opaque: int) -> bytes:
    """Asks for an offset to begin at; with 0 it is the first one."""
    return f"offset {topic} {group} {partition} {at} {opaque}\r\n".encode()


def seek(topic: str, partition: int, unix_ms: int, opaque: int) -> bytes:
    """Asks for the offset of the first message stored at a time or later."""
    return f"seek {topic} {partition} {unix_ms} {opaque}\r\n".encode()


def lag(topic: str, partition: int, at: int, opaque: int) -> bytes:
    """Asks what lies between an offset and the end."""
    return f"lag {topic} {partition} {at} {opaque}\r\n".encode()


def commit(topic: str, group: str, partition: int, at: int, opaque: int) -> bytes:
    """Keeps on the broker where a group goes on."""
    return f"commit {topic} {group} {partition} {at} {opaque}\r\n".encode()


def committed(topic: str, group: str, partition: int, opaque: int) -> bytes:
    """Asks where a group goes on."""
    return f"committed {topic} {group} {partition} {opaque}\r\n".encode()


def route(topic: str, opaque: int) -> bytes:
    """Asks where the partitions of a topic are."""
    return f"route {topic} {opaque}\r\n".encode()


def topics(opaque: int) -> bytes:
    """Asks for the topics of the broker."""
    return f"topics {opaque}\r\n".encode()


def stats(item: str, opaque: int) -> bytes:
    """Asks for an item of the statistics, the empty one for those of the broker."""
    if any(c in " \r\n" for c in item):
        raise UsageError(f"the item {item!r} is not one word")
    return f"stats {item} {opaque}\r\n".encode()


def version(opaque: int) -> bytes:
    """Asks for the version of the broker."""
    return f"version {opaque}\r\n".encode()


# Answers.


class Answer(NamedTuple):
    """An answer; its status is VALUE if it holds stored messages."""

    opaque: int
    status: int
    body: bytes


class Answers:
    """Takes a stream of bytes apart. Whatever the pieces in which it comes, the answers are the same."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # of an answer that is not whole
        self._have = 0
        self._need = 0  # bytes without which looking at the pieces is of no use

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Takes the next bytes and returns the answers that are whole now, as (opaque, status, body). ProtocolError if no broker answers so."""
        if self._pieces:
            self._pieces.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._pieces)
            self._pieces.clear()
        found: list[tuple[int, int, bytes]] = []
        at, end = 0, len(data)
        while at < end:
            eol = data.find(b"\r\n", at, at + _MAX_LINE)
            if eol < 0:
                if end - at >= _MAX_LINE:
                    raise ProtocolError(f"no broker answers like this: {data[at : at + 40]!r}")
                self._keep(data, at, end - at + 1)
                break
            words = data[at:eol].split(b" ")
            try:
                if words[0] == b"result":
                    _, status, length, opaque = words
                    code, size = int(status), int(length)
                else:
                    verb, length, opaque = words
                    code, size = VALUE, int(length)
                    if verb != b"value":
                        raise ValueError
                number = int(opaque)
            except ValueError:
                raise ProtocolError(f"no broker answers like this: {data[at:eol]!r}") from None
            if not 0 <= size <= MAX_ANSWER:
                raise ProtocolError(f"an answer of {size} bytes: the limit is {MAX_ANSWER}")
            begin = eol + 2
            past = begin + size
            if past > end:
                self._keep(data, at, past - at)
                break
            found.append((number, code, data[begin:past]))
            at = past
        return found

    def _keep(self, data: bytes, at: int, need: int) -> None:
        rest = data[at:] if at else data
        self._pieces.append(rest)
        self._have, self._need = len(rest), need


def _number(text: bytes, what: str) -> int:
    if not _NUMBER.match(text):
        raise ProtocolError(f"{text!r} is no {what}")
    return int(text)


def parse_offset(body: bytes) -> int:
    """An answer that is one offset."""
    return _number(body, "offset")


def parse_receipt(body: bytes, broker: int) -> Receipt:
    """The answer to a put."""
    words = body.split(b" ")
    if len(words) != 3:
        raise ProtocolError(f"{body!r} is no answer to a put")
    return Receipt(_number(words[0], "id"), Partition(broker, _number(words[1], "partition")), _number(words[2], "offset"))


class Route(NamedTuple):
    """Where a partition is: its number, and the addresses of its master and slaves as host:port."""

    number: int
    master: str
    slaves: tuple[str, ...]


def parse_route(body: bytes) -> list[Route]:
    """The answer to route."""
    found = []
    for line in body.decode(errors="replace").splitlines():
        words = line.split()
        if len(words) < 2 or not words[0].isdecimal():
            raise ProtocolError(f"line {line!r} of route")
        found.append(Route(int(words[0]), words[1], tuple(words[2:])))
    return found


class TopicInfo(NamedTuple):
    """A topic of a broker."""

    name: str
    partitions: int
    messages: int
    bytes: int


def parse_topics(body: bytes) -> list[TopicInfo]:
    """The answer to topics."""
    found = []
    for line in body.splitlines():
        words = line.split()
        if len(words) != 4:
            raise ProtocolError(f"line {line!r} of topics")
        name, *numbers = words
        partitions, messages, size = (_number(n, "number") for n in numbers)
        found.append(TopicInfo(name.decode(errors="replace"), partitions, messages, size))
    return found


class Lag(NamedTuple):
    """What a reader has before it: messages, bytes, and how long ago the first of them was stored, in milliseconds."""

    messages: int
    bytes: int
    age_ms: int


def parse_lag(body: bytes) -> Lag:
    """The answer to lag."""
    words = body.split(b" ")
    if len(words) != 3:
        raise ProtocolError(f"{body!r} is no lag")
    messages, size, age = (_number(w, "number") for w in words)
    return Lag(messages, size, age)


# Stored messages.


def decode(place: TopicPartition, offset: int, data: bytes) -> tuple[list[Message], int]:
    """Takes the whole messages out of the bytes of a partition from an offset on, and tells how many bytes they are. ChecksumError if they are damaged."""
    topic, partition = place
    unpack, header = _MESSAGE.unpack_from, RECORD_HEADER
    found: list[Message] = []
    add = found.append
    at, end = 0, len(data)
    while end - at >= header:
        length, crc, id, flag = unpack(data, at)
        past = at + header + length
        if past > end and length >= 0:
            break
        body = data[at + header : past]
        if length < 0 or crc32(body) & 0x7FFFFFFF != crc:
            raise ChecksumError(f"the message of {place} at offset {offset + at} is damaged")
        attribute = ""
        if flag & FLAG_ATTRIBUTE:
            attribute, body = split_attribute(body)
        add(Message(topic, partition, offset + at, offset + past, id, attribute, body))
        at = past
    return found, at


def message_size(data: bytes) -> int:
    """How many bytes the message at the beginning has, with its header; 0 if its length has not come yet."""
    if len(data) < _LENGTH.size:
        return 0
    return int(_LENGTH.unpack_from(data)[0]) + RECORD_HEADER


def join_attribute(attribute: str, payload: bytes) -> bytes:
    """The data of a message with an attribute."""
    text = attribute.encode()
    return _LENGTH.pack(len(text)) + text + payload


def split_attribute(data: bytes) -> tuple[str, bytes]:
    """The way back. Data that do not hold what their flag says are a writer's mistake, and still its message: all of them are the payload then."""
    if len(data) >= _LENGTH.size:
        past = _LENGTH.size + int(_LENGTH.unpack_from(data)[0])
        if _LENGTH.size <= past <= len(data):
            return data[_LENGTH.size : past].decode(errors="replace"), data[past:]
    return "", data
