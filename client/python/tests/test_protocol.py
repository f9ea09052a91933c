"""The wire format, against what the broker itself is tested with."""

from __future__ import annotations

import json
import re
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import REPOSITORY
from metaq import protocol
from metaq.errors import ChecksumError, ProtocolError, UsageError
from metaq.model import Message, Partition, TopicPartition
from metaq.protocol import Answers

PLACE = TopicPartition("t", Partition(0, 0))
VECTORS = json.loads((REPOSITORY / "test/conformance/testdata/vectors.json").read_text())["vectors"]
CORPUS = REPOSITORY / "protocol/testdata/fuzz"


def raw(text: str) -> bytes:
    """The bytes of a text of the vectors, in which a character is a byte and ${hex:} and ${rep:} stand for some."""

    def token(m: re.Match[str]) -> str:
        kind, _, rest = m[1].partition(":")
        if kind == "hex":
            return bytes.fromhex(rest).decode("latin-1")
        if kind == "rep":
            char, _, times = rest.partition(":")
            return char * int(times)
        return "1"  # some number or word

    return re.sub(r"\$\{([^}]*)\}", token, text).encode("latin-1")


def written(answer: tuple[int, int, bytes]) -> bytes:
    opaque, status, body = answer
    if status == protocol.VALUE:
        return b"value %d %d\r\n%b" % (len(body), opaque, body)
    return b"result %d %d %d\r\n%b" % (status, len(body), opaque, body)


def stored(id: int, flag: int, data: bytes) -> bytes:
    return (
        len(data).to_bytes(4, "big")
        + (crc32(data) & 0x7FFFFFFF).to_bytes(4, "big")
        + id.to_bytes(8, "big", signed=True)
        + flag.to_bytes(4, "big", signed=True)
        + data
    )


# Their recordings were shortened.
SHORTENED = ("stats-topics", "stats-offsets", "stats-config")
# The original sends bytes from the middle of a message on, where we answer 301.
INSIDE = "get-offset-inside-a-message"


def observed(*without: str) -> list[bytes]:
    """What the original broker answered, as it was recorded."""
    found = [raw(o) for v in VECTORS if v["name"] not in (*SHORTENED, *without) for s in v["steps"] for o in s.get("observed", ())]
    assert len(found) > 100
    return found


def test_recorded_answers_are_read_whatever_their_pieces() -> None:
    for answer in observed():
        for piece in (1, 2, 3, 7, len(answer)):
            answers, found = Answers(), []
            for at in range(0, len(answer), piece):
                found += answers.feed(answer[at : at + piece])
            assert [written(f) for f in found] == [answer]


def test_recorded_answers_together_are_those_answers() -> None:
    everything = observed()
    assert [written(f) for f in Answers().feed(b"".join(everything))] == everything


def test_recorded_values_hold_messages() -> None:
    whole = 0
    for answer in observed(INSIDE):
        [(_, status, body)] = Answers().feed(answer)
        if status == protocol.VALUE:
            messages, used = protocol.decode(PLACE, 100, body)
            assert used <= len(body)
            assert [m.offset for m in messages] == [100, *(m.next_offset for m in messages[:-1])][: len(messages)]
            whole += len(messages)
    assert whole > 20


def test_requests_are_those_of_the_vectors() -> None:
    """Every recorded request that this client could have sent, it sends in the same bytes."""
    made: dict[bytes, int] = {}
    number = re.compile(rb"-?\d{1,19}\Z")
    for step in (s for v in VECTORS for s in v["steps"] if s.get("send")):
        sent = raw(step["send"])
        line, _, body = sent.partition(b"\r\n")
        verb, *words = line.split(b" ")
        names, numbers = [w.decode("latin-1") for w in words if not number.match(w)], [int(w) for w in words if number.match(w)]
        again = None
        if verb == b"put" and len(names) == 1 and len(numbers) == 5 and numbers[1] == len(body) and numbers[3] == protocol.checksum(body):
            again = protocol.put(names[0], numbers[0], numbers[2], body, numbers[4])
        elif verb == b"get" and len(names) == 2 and len(numbers) == 4 and not body:
            again = protocol.get(names[0], names[1], numbers[0], numbers[1], numbers[2], -1, numbers[3])
        elif verb == b"offset" and len(names) == 2 and len(numbers) == 3 and not body:
            again = protocol.offset(names[0], names[1], numbers[0], numbers[1], numbers[2])
        elif verb == b"version" and len(numbers) == 1 and not names and not body:
            again = protocol.version(numbers[0])
        elif verb == b"stats" and len(words) == 2 and len(numbers) == 1 and len(names) == 1 and not body:
            again = protocol.stats(names[0], numbers[0])
        if again is not None:
            assert again == sent
            made[verb] = made.get(verb, 0) + 1
    assert set(made) == {b"put", b"get", b"offset", b"version", b"stats"} and sum(made.values()) > 50, made


def test_examples_of_the_specification() -> None:
    """The table of stored messages in PROTOCOL.md."""
    found = []
    for line in (REPOSITORY / "protocol/PROTOCOL.md").read_text().splitlines():
        example = re.search(r"\| `(00000[0-9a-f ]+)` \|", line)
        if example:
            data = bytes.fromhex(example[1].replace(" ", ""))
            [message], used = protocol.decode(PLACE, 0, data)
            assert used == len(data) and message.id == 1234567
            found.append((message.attribute, message.body))
    assert found == [("", b"hello"), ("", b"a"), ("", b""), ("abc", b"hello")]


def corpus(target: str) -> dict[str, bytes]:
    """Entries of a fuzz test of the broker that were kept."""
    entries = {}
    for file in sorted((CORPUS / target).iterdir()):
        quoted = re.search(r'\[\]byte\("(.*)"\)', file.read_text())
        assert quoted
        entries[file.name] = quoted[1].encode("latin-1").decode("unicode_escape").encode("latin-1")
    return entries


def test_corpus_of_the_broker() -> None:
    """What the broker makes of these entries is in their names."""
    entries = corpus("FuzzMessageDecode")
    assert len(entries) >= 9
    for name, data in entries.items():
        if name in ("checksum-wrong", "length-negative"):
            with pytest.raises(ChecksumError):
                protocol.decode(PLACE, 0, data)
            continue
        messages, used = protocol.decode(PLACE, 0, data)
        if name in ("cut-header", "cut-data", "length-2gb"):
            assert (messages, used) == ([], 0), name
        else:
            assert len(messages) == 1 and used == len(data), name
    assert protocol.decode(PLACE, 0, entries["attribute"])[0][0].attribute == "abc"
    too_long = protocol.decode(PLACE, 0, entries["attribute-too-long"])[0][0]
    assert (too_long.attribute, too_long.body) == ("", b"\x7f\xff\xff\xff")


def test_names_of_the_broker() -> None:
    kept = {}
    for file in (CORPUS / "FuzzName").iterdir():
        quoted = re.search(r'string\("(.*)"\)', file.read_text())
        assert quoted
        kept[file.name] = quoted[1].encode("latin-1").decode("unicode_escape")
    good = {n for n, text in kept.items() if accepted(text)}
    assert len(kept) >= 10
    assert good == {n for n, text in kept.items() if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}", text, re.ASCII)}
    assert "longest" in good and "too-long" not in good and "newline" not in good


def accepted(name: str) -> bool:
    try:
        return bool(protocol.check_topic(name))
    except UsageError:
        return False


def test_a_name_with_a_newline_at_its_end_is_refused() -> None:
    with pytest.raises(UsageError):
        protocol.check_topic("orders\n")


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"result 200 x 1\r\n",
        b"result 200 5\r\n",
        b"value 5\r\n",
        b"value -1 5\r\n",
        b"value 99999999999 5\r\n",
        b"\r\n",
        b"x" * 200,
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_garbage_is_told_from_a_broker(garbage: bytes) -> None:
    with pytest.raises(ProtocolError):
        Answers().feed(garbage)


answer = st.tuples(st.integers(0, 0x7FFFFFFF), st.sampled_from([protocol.VALUE, 200, 301, 404, 500]), st.binary(max_size=200))


@given(st.lists(answer, max_size=8), st.lists(st.integers(1, 50), max_size=60))
def test_answers_do_not_depend_on_pieces(expected: list[tuple[int, int, bytes]], pieces: list[int]) -> None:
    data = b"".join(map(written, expected))
    answers, found, at = Answers(), [], 0
    for size in [*pieces, len(data)]:
        found += answers.feed(data[at : at + size]) if data[at : at + size] else []
        at += size
    assert found == expected


@given(st.binary(max_size=300), st.lists(st.integers(1, 20), max_size=30))
def test_bytes_of_strangers_are_read_or_refused(data: bytes, pieces: list[int]) -> None:
    """Nothing but ProtocolError comes out of what is no answer, and the pieces make no difference."""
    outcomes = []
    for sizes in ([len(data)], pieces):
        answers, found, at = Answers(), [], 0
        try:
            for size in [*sizes, len(data)]:
                if data[at : at + size]:
                    found += answers.feed(data[at : at + size])
                at += size
            outcomes.append((found, "all"))
        except ProtocolError:
            outcomes.append((found, "refused"))
    if outcomes[0][1] == "all":
        assert outcomes[0] == outcomes[1]


record = st.tuples(st.integers(-(2**63), 2**63 - 1), st.binary(max_size=100), st.one_of(st.none(), st.text(max_size=20)))


@given(st.lists(record, max_size=6), st.integers(0, 400), st.integers(0, 2**40))
def test_stored_messages_come_back(records: list[tuple[int, bytes, str | None]], cut: int, offset: int) -> None:
    data, expected, ends = b"", [], [0]
    for id, body, attribute in records:
        kept = body if attribute is None else protocol.join_attribute(attribute, body)
        begin = len(data)
        data += stored(id, 0 if attribute is None else 1, kept)
        ends.append(len(data))
        expected.append(Message("t", Partition(0, 0), offset + begin, offset + len(data), id, attribute or "", body))
    cut = min(cut, len(data))
    messages, used = protocol.decode(PLACE, offset, data[:cut])
    whole = sum(1 for end in ends[1:] if end <= cut)
    assert messages == expected[:whole]
    assert used == ends[whole]


@settings(max_examples=200)
@given(st.binary(min_size=1, max_size=60), st.data())
def test_a_changed_bit_of_the_data_is_seen(body: bytes, data: st.DataObject) -> None:
    record = bytearray(stored(1, 0, body))
    record[data.draw(st.integers(20, len(record) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    # The broker clears the top bit of the checksum, and a single changed bit shows in the others.
    with pytest.raises(ChecksumError):
        protocol.decode(PLACE, 0, bytes(record))


@given(st.binary(max_size=80))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        messages, used = protocol.decode(PLACE, 0, data)
    except ChecksumError:
        return
    assert 0 <= used <= len(data) and len(messages) <= len(data) // 20


@given(st.binary(max_size=40))
def test_texts_of_answers_are_read_or_refused(text: bytes) -> None:
    for parse in (protocol.parse_offset, protocol.parse_route, protocol.parse_topics, protocol.parse_lag, lambda b: protocol.parse_receipt(b, 0)):
        try:
            parse(text)
        except ProtocolError:
            continue
