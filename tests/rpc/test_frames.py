"""Frames: every message makes the way, cuts do not matter, hostile bytes end in a ProtocolError and nothing else."""

from __future__ import annotations

import struct
import tracemalloc
from itertools import pairwise
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from belljar.errors import ProtocolError
from belljar.limits import MAX_FRAME_BYTES, MIB
from belljar.rpc.frames import MAX_CLOCK, MAX_DECISIONS, MAX_NAME_CHARS, MAX_STATS, MAX_WALLS, Frames, encode
from belljar.rpc.messages import Call, Cancel, Execute, Fault, Log, Ready, Result, Return

SECRET = "hunter2"

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=50)
count = st.integers(0, 2**63 - 1)
line = st.integers(0, 2**31 - 1)
call_id = st.integers(1, 2**63 - 1)
decisions = st.lists(st.tuples(text, text, text), max_size=5).map(tuple)
clock = st.lists(count, max_size=5).map(tuple)
stats = st.dictionaries(text, count, max_size=5)
seed = st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")

to_worker = st.one_of(
    st.builds(Execute, run=text, code=text, args=text, seed=seed, now_ns=count, decisions=st.booleans(), clock=clock),
    st.builds(Return, call=call_id, ok=st.booleans(), value=text, code=text, message=text, data=text),
    st.builds(Cancel),
)
from_worker = st.one_of(
    st.builds(Ready, backend=text, python=text, walls=st.lists(text, max_size=5).map(tuple)),
    st.builds(Call, call=call_id, server=text, tool=text, args=text, line=line),
    st.builds(Log, stream=st.sampled_from(["stdout", "stderr"]), text=text),
    st.builds(Result, value=text, decisions=decisions, clock=clock, stats=stats),
    st.builds(
        Fault,
        code=text,
        message=text,
        traceback=text,
        line=line,
        data=text,
        decisions=decisions,
        clock=clock,
        stats=stats,
    ),
)


def pack(content: Any) -> bytes:
    body = msgpack.packb(content)
    assert body is not None
    return body


def framed(body: bytes) -> bytes:
    return struct.pack("<I", len(body)) + body


def packed(**fields: Any) -> bytes:
    return framed(pack(fields))


def call_fields(**changes: Any) -> dict[str, Any]:
    return {"type": "call", "call": 1, "server": "git", "tool": "log", "args": SECRET, "line": 3, **changes}


def execute_fields(**changes: Any) -> dict[str, Any]:
    return {
        "type": "execute",
        "run": "",
        "code": "",
        "args": "",
        "seed": "0" * 64,
        "now_ns": 0,
        "decisions": True,
        "clock": [],
        **changes,
    }


def refused(data: bytes, frames: Frames[Any] | None = None) -> str:
    """The rule that the bytes break; the decoder must be closed after it and must not echo what was sent."""
    frames = frames or Frames.from_worker()
    with pytest.raises(ProtocolError) as caught:
        frames.feed(data)
        frames.close()
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    for again in (lambda: frames.feed(b""), lambda: frames.feed(encode(Log("stdout", ""))), frames.close):
        with pytest.raises(ProtocolError):
            again()
    return caught.value.message


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.lists(from_worker, max_size=5), st.lists(st.integers(0), max_size=8))
def test_cuts_do_not_matter_to_the_host(messages: list[Any], places: list[int]) -> None:
    """Every message of a worker makes the way unchanged and in order, wherever the bytes are cut."""
    frames = Frames.from_worker()
    stream = b"".join(map(encode, messages))
    assert [message for chunk in cut(stream, places) for message in frames.feed(chunk)] == messages
    frames.close()


@given(st.lists(to_worker, max_size=5), st.lists(st.integers(0), max_size=8))
def test_cuts_do_not_matter_to_the_worker(messages: list[Any], places: list[int]) -> None:
    """The same the other way."""
    frames = Frames.to_worker()
    stream = b"".join(map(encode, messages))
    assert [message for chunk in cut(stream, places) for message in frames.feed(chunk)] == messages
    frames.close()


@given(st.lists(from_worker, min_size=1, max_size=3))
def test_byte_by_byte(messages: list[Any]) -> None:
    """A message is handed out with its last byte, not earlier and not later."""
    frames = Frames.from_worker()
    for message in messages:
        data = encode(message)
        assert [frames.feed(data[i : i + 1]) for i in range(len(data))] == [*[[]] * (len(data) - 1), [message]]


@given(from_worker)
def test_a_cut_frame_is_an_error_at_the_end(message: Any) -> None:
    """G: a stream that ends inside a frame is a violation, one that ends after it is not."""
    data = encode(message)
    for length in {1, 3, 4, len(data) // 2, len(data) - 1}:
        assert "inside a frame" in refused(data[:length])


@given(st.binary(max_size=200))
@example(b"\x00" * 8)
@example(framed(b"\x80"))
@example(framed(b"\xc1"))
def test_random_bytes(data: bytes) -> None:
    """G: any bytes give messages or a ProtocolError."""
    for frames in (Frames.from_worker(), Frames.to_worker()):
        try:
            frames.feed(data)
            frames.close()
        except ProtocolError:
            pass


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats()
        | st.text()
        | st.binary()
        | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary()),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(text | st.integers(-9, 9) | st.binary(), inner, max_size=4)
        ),
        max_leaves=10,
    )
)
def test_random_msgpack(content: Any) -> None:
    """G: any msgpack that is no message is a ProtocolError, as a body and as a field."""
    try:
        body, field = pack(content), packed(**call_fields(server=content))
    except UnicodeEncodeError:
        return
    refused(framed(body))
    if type(content) is not str:
        refused(field)


@given(from_worker, st.data())
def test_mutations(message: Any, data: st.DataObject) -> None:
    """G: a valid frame with bytes changed, added or left out gives messages or a ProtocolError."""
    frame = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(frame)))
        frame[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    frames = Frames.from_worker()
    try:
        frames.feed(bytes(frame))
        frames.close()
    except ProtocolError:
        pass


# What a worker that was taken over will try


@pytest.mark.parametrize("length", [0, MAX_FRAME_BYTES + 1, 2**31, 2**32 - 1])
def test_length_prefix(length: int) -> None:
    """G: a length of 4 GiB is refused with its four bytes, before anything is buffered for it."""
    assert "length" in refused(struct.pack("<I", length))
    assert "length" in refused(encode(Log("stdout", "")) + struct.pack("<I", length) + b"x" * 100)


DECLARED = [
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01",
    b"\xdc\xff\xff" + b"\xc0" * 0xFFFF,
    b"\xde\xff\xff" + b"\x00" * 0xFFFF,
]


@pytest.mark.parametrize("body", DECLARED)
def test_declared_lengths(body: bytes) -> None:
    """G: a body that declares 2^32 items costs no memory, alone, inside a message and many times nested."""
    tracemalloc.start()
    try:
        assert "msgpack" in refused(framed(body))
        assert "msgpack" in refused(framed(b"\x81\xa4type" + body))
        assert "msgpack" in refused(framed(b"\x91" * 1000 + body))
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()


def test_many_small_containers() -> None:
    """F: 8 MiB of empty lists, two to a message's field or nested as a tree, do not become 600 MiB of objects."""
    lists = b"\xdc\x27\x10" + b"\x90" * 10_000
    maps = b"\xdc\x27\x10" + b"\x80" * 10_000
    tracemalloc.start()
    try:
        for inner in (lists, maps):
            assert "more lists" in refused(framed(b"\xdc\x03\x20" + inner * 800))
        assert tracemalloc.get_traced_memory()[1] < 32 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1a", b"\x92\xc0"])
def test_depth(opening: bytes) -> None:
    """G: depth 10^4 is refused, as a body and inside a field that may be a list."""
    deep = opening * 10_000 + b"\xc0"
    refused(framed(deep))
    refused(framed(b"\x84\xa4type\xa6result\xa5value\xa0\xa9decisions" + deep))
    refused(packed(type="result", value="", decisions=[[[["a"]]]], clock=[], stats={}))


def test_extension_types() -> None:
    """G: no extension type is built, a timestamp neither."""
    for code in (0, 1, 127, -1):
        for data in (b"", b"\x00" * 4, b"\x00" * 8, b"\x00" * 12):
            body = b"\xc7" + bytes([len(data)]) + struct.pack("b", code) + data
            refused(framed(body))
            refused(framed(b"\x81\xa4type" + body))


def test_keys() -> None:
    """G: keys are text, and each is there once."""
    good = pack(call_fields())
    for key in (b"\x01", b"\xc4\x04line", b"\xc0", b"\x90", b"\x80", b"\xcb" + b"\x7f\xf8" + b"\x00" * 6):
        refused(framed(good.replace(b"\xa4line", key)))
    twice = b"\x87" + good[1:] + b"\xa4line\x03"
    assert "twice" in refused(framed(twice))
    refused(packed(type="result", value="", decisions=[], clock=[], stats={b"a": 1}))


@pytest.mark.parametrize(
    "body", [b"\x93\x01\x02\x03", b"\xa4call", b"\x01", b"\xc0", b"\xc3", b"\xcb\x7f\xf8" + b"\x00" * 6]
)
def test_a_body_is_a_map(body: bytes) -> None:
    """A body that is a list, a text, a number, NaN or nothing is refused."""
    assert "not a map" in refused(framed(body))


def test_trailing_bytes() -> None:
    """G: a body holds one map and nothing behind it."""
    good = pack(call_fields())
    for tail in (b"\x00", b"\xc0", good, b"\xc1"):
        assert "msgpack" in refused(framed(good + tail))
    assert "msgpack" in refused(framed(good[:-1]))


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "calls"},
        {"type": "Call"},
        {"type": ""},
        {"type": b"call"},
        {"type": 1},
        {"type": None},
        {"type": ["call"]},
        {"type": "execute"},
        {"type": "return"},
        {"call": True},
        {"call": 1.0},
        {"call": "1"},
        {"call": None},
        {"call": 0},
        {"call": -1},
        {"call": -(2**63)},
        {"call": 2**63},
        {"call": float("nan")},
        {"server": b"git"},
        {"server": None},
        {"server": ["git"]},
        {"server": "x" * (MAX_NAME_CHARS + 1)},
        {"tool": 7},
        {"tool": "x" * (MAX_NAME_CHARS + 1)},
        {"args": {"secret": SECRET}},
        {"args": None},
        {"line": False},
        {"line": -1},
        {"line": 2**31},
        {"extra": SECRET},
    ],
)
def test_a_call_that_does_not_fit(changes: dict[str, Any]) -> None:
    """G: names, types and ranges must fit exactly; a bool is no int."""
    refused(packed(**call_fields(**changes)))


@pytest.mark.parametrize("missing", list(call_fields()))
def test_a_missing_field(missing: str) -> None:
    """Each field must be there, in the declared order."""
    fields = call_fields()
    value = fields.pop(missing)
    refused(packed(**fields))
    if missing != "line":
        refused(packed(**fields, **{missing: value}))


def result_fields(**changes: Any) -> dict[str, Any]:
    return {"type": "result", "value": "", "decisions": [], "clock": [], "stats": {}, **changes}


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "log", "stream": "stdin", "text": SECRET},
        {"type": "log", "stream": "", "text": SECRET},
        {"type": "ready", "backend": "wasm", "python": "3", "walls": "seccomp"},
        {"type": "ready", "backend": "wasm", "python": "3", "walls": [1]},
        {"type": "ready", "backend": "wasm", "python": "3", "walls": ["x"] * (MAX_WALLS + 1)},
        result_fields(decisions=[["a", "b"]]),
        result_fields(decisions=[["a", "b", 3]]),
        result_fields(decisions=["abc"]),
        result_fields(decisions=[{"a": 1, "b": 2, "c": 3}]),
        result_fields(decisions=[["a", "b", "c"]] * (MAX_DECISIONS + 1)),
        result_fields(clock=[True]),
        result_fields(clock=[-(2**20) - 2]),
        result_fields(clock=[2**63]),
        result_fields(clock=[0.5]),
        result_fields(clock=[0] * (MAX_CLOCK + 1)),
        result_fields(stats={"a": "b"}),
        result_fields(stats={"a": -1}),
        result_fields(stats={"a": True}),
        result_fields(stats={"a": {"b": 1}}),
        result_fields(stats=dict.fromkeys(map(str, range(MAX_STATS + 1)), 1)),
        result_fields(value=None),
        {"type": "cancel"},
    ],
)
def test_other_messages_that_do_not_fit(fields: dict[str, Any]) -> None:
    """What nests is bounded in number, shape, type and range; the other direction's messages are unknown."""
    assert Frames.from_worker().feed(packed(**result_fields()))
    refused(packed(**fields))


@pytest.mark.parametrize(
    "fields",
    [
        execute_fields(seed="0" * 63),
        execute_fields(seed="A" * 64),
        execute_fields(seed="0" * 64 + "\n"),
        execute_fields(now_ns=-1),
        execute_fields(decisions=1),
        execute_fields(clock=[-(2**20) - 2]),
        execute_fields(clock=0),
        execute_fields(extra=1),
        {"type": "return", "call": 1, "ok": 1, "value": "", "code": "", "message": "", "data": ""},
        {"type": "return", "call": 0, "ok": True, "value": "", "code": "", "message": "", "data": ""},
        {"type": "cancel", "why": ""},
        call_fields(),
    ],
)
def test_the_worker_is_as_strict(fields: dict[str, Any]) -> None:
    """The worker's decoder refuses what does not fit, and its own messages sent back."""
    assert Frames.to_worker().feed(packed(**execute_fields()))
    refused(packed(**fields), Frames.to_worker())


def test_the_largest_messages() -> None:
    """Every bound is reachable: a message at its limits makes the way, a frame of 16 MiB too; a byte more does not."""
    name = "x" * MAX_NAME_CHARS
    messages = [
        Call(2**63 - 1, name, name, "{}", 2**31 - 1),
        Ready("wasm", "3.14", ("wall",) * MAX_WALLS),
        Result(
            "1",
            (("L1", "true", "x"),) * MAX_DECISIONS,
            (2**63 - 1,) * MAX_CLOCK,
            {str(number): 2**63 - 1 for number in range(MAX_STATS)},
        ),
    ]
    for message in messages:
        assert Frames.from_worker().feed(encode(message)) == [message]
    overhead = len(encode(Log("stdout", "x" * (1 << 16)))) - (1 << 16) - 4
    largest = Log("stdout", "x" * (MAX_FRAME_BYTES - overhead))
    assert Frames.from_worker().feed(encode(largest)) == [largest]
    with pytest.raises(ProtocolError):
        encode(Log("stdout", largest.text + "x"))


def test_a_large_frame_in_small_chunks() -> None:
    """F: a 16 MiB frame that comes in 4 KiB pieces is copied once, not once a piece."""
    message = Log("stdout", "x" * (15 * MIB))
    data = encode(message)
    frames = Frames.from_worker()
    got = [m for start in range(0, len(data), 4096) for m in frames.feed(data[start : start + 4096])]
    assert got == [message]
    frames.close()


def test_encode_refuses_what_cannot_travel() -> None:
    """Text that is no UTF-8 and integers beyond 64 bits are refused before a byte is sent."""
    for message in (Log("stdout", "\ud800"), Result("1", (), (2**64,)), Result("1", (), (), {"a": 2**70})):
        with pytest.raises(ProtocolError):
            encode(message)
