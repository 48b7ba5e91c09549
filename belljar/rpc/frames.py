"""Frames: messages to bytes and bytes to messages. Sans-IO: no socket, no await, no clock.

    frame   = length (u32, little-endian) + body (exactly that many bytes)
    body    = one msgpack map: "type" first, then the fields of that message in the order `messages.py` declares them

Both ends of the border use this module, the worker with the other table. The host must assume that the worker is taken
over, so a decoder believes nothing: the length is checked before a byte is buffered for it; what msgpack may build is
bounded while it is built (declared lengths, number of lists and maps, nesting, no extension types), because a few bytes
can declare gigabytes; and then names, types and ranges must fit exactly - `True` is no int here, a field too many is as
wrong as one too few. The order of fields is part of the format, which makes the whole check one comparison of tuples.

A violation is a `ProtocolError` that names the rule and never what was sent. It closes the decoder: after it nothing of
that stream is believed, and messages of the same chunk are not handed out either.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from itertools import chain
from typing import Any, Generic, TypeVar, cast

import msgpack  # pyright: ignore[reportMissingTypeStubs]

from belljar.errors import ProtocolError
from belljar.limits import MAX_FRAME_BYTES
from belljar.rpc.messages import Call, Cancel, Execute, Fault, FromWorker, Log, Ready, Result, Return, ToWorker

__all__ = ["MAX_CLOCK", "MAX_DECISIONS", "MAX_NAME_CHARS", "MAX_STATS", "MAX_WALLS", "Frames", "encode"]

MAX_CLOCK = 10_000
"""Clock readings a result may carry."""
MAX_DECISIONS = 1000
"""Branch outcomes a result may carry."""
MAX_NAME_CHARS = 1024
"""Characters of a server's or tool's name; the longest we have met have 128."""
MAX_STATS = 32
MAX_WALLS = 16

_PREFIX_BYTES = 4
_MAX_INT = 2**63 - 1
# Answers one wait of a timeline may have given: more than a run may have calls.
_MAX_ANSWERS = 1 << 20
_MAX_LINE = 2**31 - 1
# The decisions, the lists around them, the two maps: no message holds more.
_MAX_CONTAINERS = MAX_DECISIONS + 8
_SEED = re.compile(r"[0-9a-f]{64}", re.ASCII)
_STREAMS = frozenset({"stdout", "stderr"})

# msgpack comes without types.
_packb = cast("Callable[[object], bytes]", msgpack.packb)  # pyright: ignore[reportUnknownMemberType]
_unpackb = cast("Callable[..., object]", msgpack.unpackb)  # pyright: ignore[reportUnknownMemberType]

M = TypeVar("M")


# Ranges of each message, once its field types are known to be right


def _check(rule: bool, what: str) -> None:
    if not rule:
        raise ProtocolError(f"{what} out of range")


def _types_of(items: tuple[object, ...]) -> set[type]:
    return set(map(type, items))


def _check_execute(message: Execute) -> None:
    _check(_SEED.fullmatch(message.seed) is not None, "seed")
    _check(0 <= message.now_ns <= _MAX_INT, "now_ns")
    _check_clock(message.clock)
    _check_clock(message.clock)


def _check_return(message: Return) -> None:
    _check(0 < message.call <= _MAX_INT, "call id")


def _check_ready(message: Ready) -> None:
    _check(len(message.walls) <= MAX_WALLS and _types_of(message.walls) <= {str}, "walls")


def _check_call(message: Call) -> None:
    _check(0 < message.call <= _MAX_INT, "call id")
    _check(0 <= message.line <= _MAX_LINE, "line")
    _check(len(message.server) <= MAX_NAME_CHARS, "length of the server's name")
    _check(len(message.tool) <= MAX_NAME_CHARS, "length of the tool's name")


def _check_log(message: Log) -> None:
    _check(message.stream in _STREAMS, "stream")


def _check_result(message: Result) -> None:
    _check_decisions(message.decisions)
    _check_clock(message.clock)
    _check_stats(message.stats)


def _check_fault(message: Fault) -> None:
    _check(0 <= message.line <= _MAX_LINE, "line")
    _check_decisions(message.decisions)
    _check_clock(message.clock)
    _check_stats(message.stats)


def _check_cancel(_message: Cancel) -> None:
    """It has no fields."""


def _check_decisions(decisions: tuple[tuple[str, str, str], ...]) -> None:
    _check(len(decisions) <= MAX_DECISIONS, "number of decisions")
    _check(_types_of(decisions) <= {tuple}, "decisions")
    _check(set(map(len, decisions)) <= {3}, "decisions")
    _check(_types_of(tuple(chain.from_iterable(decisions))) <= {str}, "decisions")


def _check_clock(clock: tuple[int, ...]) -> None:
    _check(_types_of(clock) <= {int}, "clock")
    _check(not clock or (min(clock) >= -_MAX_ANSWERS - 1 and max(clock) <= _MAX_INT), "clock")


def _check_stats(stats: Mapping[str, int]) -> None:
    _check(len(stats) <= MAX_STATS, "number of stats")
    _check(_types_of(tuple(stats)) <= {str} and _types_of(tuple(stats.values())) <= {int}, "stats")
    _check(all(0 <= number <= _MAX_INT for number in stats.values()), "stats")


class _Rule:
    """One message type: the fields its map must hold, their types and ranges, and how to make it."""

    __slots__ = ("_check", "_expected", "_types", "make", "name", "names")

    def __init__(self, make: type[Any], types: tuple[type, ...], check: Callable[[Any], None]) -> None:
        self.make = make
        self.name = make.__name__.lower()
        self.names = ("type", *(field.name for field in fields(make)))
        self._types = (str, *types)
        self._check = check
        self._expected = f"{self.name}: its fields are {', '.join(self.names)}"

    def message(self, body: dict[str, object]) -> Any:
        if tuple(body) != self.names:
            raise ProtocolError(f"wrong fields in {self._expected}")
        values = tuple(body.values())
        if tuple(map(type, values)) != self._types:
            raise ProtocolError(f"wrong type of a field in {self._expected}")
        message = self.make(*values[1:])
        self._check(message)
        return message


def _table(*rules: _Rule) -> dict[str, _Rule]:
    return {rule.name: rule for rule in rules}


_TO_WORKER = _table(
    _Rule(Execute, (str, str, str, str, int, bool, tuple), _check_execute),
    _Rule(Return, (int, bool, str, str, str, str), _check_return),
    _Rule(Cancel, (), _check_cancel),
)
_FROM_WORKER = _table(
    _Rule(Ready, (str, str, tuple), _check_ready),
    _Rule(Call, (int, str, str, str, int), _check_call),
    _Rule(Log, (str, str), _check_log),
    _Rule(Result, (str, tuple, tuple, dict), _check_result),
    _Rule(Fault, (str, str, str, int, str, tuple, tuple, dict), _check_fault),
)
_RULES = {rule.make: rule for rule in chain(_TO_WORKER.values(), _FROM_WORKER.values())}


def encode(message: ToWorker | FromWorker) -> bytes:
    """The frame of a message.

    Raises:
        ProtocolError: longer than MAX_FRAME_BYTES, text that is not UTF-8 or an integer beyond 64 bits.
    """
    rule = _RULES[type(message)]
    body: dict[str, object] = {"type": rule.name}
    for name in rule.names[1:]:
        body[name] = getattr(message, name)
    try:
        packed = _packb(body)
    except (ValueError, TypeError, OverflowError):
        raise ProtocolError(f"a {rule.name} message holds what a frame cannot carry") from None
    if len(packed) > MAX_FRAME_BYTES:
        raise ProtocolError(f"a {rule.name} message of {len(packed)} bytes; a frame holds {MAX_FRAME_BYTES}")
    return len(packed).to_bytes(_PREFIX_BYTES, "little") + packed


class Frames(Generic[M]):
    """Turns one direction of a byte stream into messages.

        frames = Frames.from_worker()
        for message in frames.feed(chunk): ...
        frames.close()      # at the end of the stream

    Both methods raise ProtocolError at the first violation and at any use after it.
    """

    __slots__ = ("_buffer", "_closed", "_containers", "_rules")

    def __init__(self, rules: Mapping[str, _Rule]) -> None:
        self._rules = rules
        self._buffer = bytearray()
        self._containers = 0
        self._closed = ""

    @staticmethod
    def from_worker() -> Frames[FromWorker]:
        """The host's decoder."""
        return Frames[FromWorker](_FROM_WORKER)

    @staticmethod
    def to_worker() -> Frames[ToWorker]:
        """The worker's decoder."""
        return Frames[ToWorker](_TO_WORKER)

    def feed(self, chunk: bytes) -> list[M]:
        """The messages that are complete with this chunk."""
        if self._closed:
            raise ProtocolError(self._closed)
        try:
            return self._messages(chunk)
        except ProtocolError:
            self._end("the stream was closed by an earlier violation")
            raise

    def close(self) -> None:
        """Say that the stream has ended. Raises ProtocolError if that cuts a frame."""
        if self._closed:
            raise ProtocolError(self._closed)
        cut = bool(self._buffer)
        self._end("the stream has ended")
        if cut:
            raise ProtocolError("the stream ended inside a frame")

    def _end(self, why: str) -> None:
        self._closed = why
        self._buffer = bytearray()

    def _messages(self, chunk: bytes) -> list[M]:
        # Most chunks are whole frames; only what is cut is copied into the buffer.
        data: bytes | bytearray = chunk
        if self._buffer:
            self._buffer += chunk
            data = self._buffer
        messages: list[M] = []
        start = 0
        with memoryview(data) as view:
            while (end := _frame_end(view, start)) <= len(view):
                messages.append(self._message(view[start + _PREFIX_BYTES : end]))
                start = end
        if data is self._buffer:
            del self._buffer[:start]
        elif start < len(chunk):
            self._buffer += chunk[start:]
        return messages

    def _message(self, body: memoryview) -> M:
        unpacked = self._unpack(body)
        if type(unpacked) is not dict:
            raise ProtocolError("a frame's body is not a map")
        content = cast("dict[str, object]", unpacked)
        name = content.get("type")
        rule = self._rules.get(name) if type(name) is str else None
        if rule is None:
            raise ProtocolError(f"unknown type of message; there are: {', '.join(self._rules)}")
        return rule.message(content)

    def _unpack(self, body: memoryview) -> object:
        self._containers = 0
        try:
            return _unpackb(
                body,
                use_list=False,
                strict_map_key=True,
                max_array_len=MAX_CLOCK,
                max_map_len=MAX_STATS,
                max_ext_len=0,
                ext_hook=_no_extension,
                list_hook=self._list,
                object_pairs_hook=self._map,
            )
        except (ValueError, TypeError, OverflowError, MemoryError):
            # `from None`: the exception of msgpack carries the bytes it did not like.
            raise ProtocolError("a frame's body is not msgpack as we write it") from None

    def _list(self, items: tuple[object, ...]) -> tuple[object, ...]:
        self._count()
        return items

    def _map(self, pairs: list[tuple[object, object]]) -> dict[object, object]:
        self._count()
        content = dict(pairs)
        if len(content) != len(pairs):
            raise ProtocolError("a map with the same key twice")
        return content

    def _count(self) -> None:
        self._containers += 1
        if self._containers > _MAX_CONTAINERS:
            raise ProtocolError("more lists and maps than a message has")


def _frame_end(view: memoryview, start: int) -> int:
    """Where the frame that begins at `start` ends; beyond any view if its length is not known yet."""
    if len(view) - start < _PREFIX_BYTES:
        return len(view) + 1
    length = int.from_bytes(view[start : start + _PREFIX_BYTES], "little")
    if not 0 < length <= MAX_FRAME_BYTES:
        raise ProtocolError(f"a frame's length must be 1 to {MAX_FRAME_BYTES} bytes")
    return start + _PREFIX_BYTES + length


def _no_extension(_code: int, _data: bytes) -> object:
    raise ProtocolError("extension types are not used")
