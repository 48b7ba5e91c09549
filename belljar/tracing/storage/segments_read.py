"""Reading a spool segment, believing nothing; the format is in `storage.segments`.

Apart from the writing, because a run's process writes and never reads, and pays for what it imports.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast
from zlib import crc32

import msgpack  # pyright: ignore[reportMissingTypeStubs]

from belljar.tracing.destination import Destination
from belljar.tracing.storage.segments import COUNTERS, FORMAT, HEADER, MAX_RECORD_BYTES, PREFIX, TRACE, is_id

__all__ = [
    "Counted",
    "Dropped",
    "Ending",
    "Frames",
    "Header",
    "SpooledTrace",
    "Tally",
    "decode",
    "is_trace",
    "lost",
    "records_after",
]

_COUNTER = re.compile(r"captured|spooled|dropped\.[a-z_]{1,40}")

# msgpack comes without types.
_unpackb = cast("Callable[..., list[Any]]", msgpack.unpackb)  # pyright: ignore[reportUnknownMemberType]

Ending = Literal["clean", "torn", "damaged"]
"""How the records of a file end: at its end; in the middle of one; at something that is none."""


@dataclass(frozen=True, slots=True)
class Header:
    """Who wrote a segment, and for whom."""

    destination: Destination
    sanitizer_version: str
    version: int


@dataclass(frozen=True, slots=True)
class SpooledTrace:
    """One trace as it was captured."""

    trace_id: str
    parent_id: str | None
    at_ns: int
    cost_us: int
    text: str
    """Its wire form, JSON."""


class Dropped(NamedTuple):
    """A whole segment that a writer dropped to make room."""

    name: str
    traces: int
    """That were in it."""
    counters: dict[str, int]
    """That were told in it."""

    @property
    def total(self) -> Counter[str]:
        """What is lost with it, and what was counted in it, if nobody has read any of it."""
        return Counter(self.counters) + lost(self.traces)


@dataclass(frozen=True, slots=True)
class Counted:
    """What a writer counted beside the traces that are there."""

    counters: dict[str, int]
    dropped: list[Dropped]


class Frames:
    """The whole records of an open file from `position` on, as they lie there; never raises over what is in it.

    `position` moves to the end of the last whole record as they are taken; after the last one, `ending` says why it was
    the last. In a file that is still written, an ending that is not clean means nothing yet.
    """

    def __init__(self, descriptor: int, position: int = 0) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self.position = position
        self.ending: Ending = "clean"

    def __iter__(self) -> Iterator[bytes]:
        while self.position < self._size:
            payload = self._next()
            if payload is None:
                return
            self.position += PREFIX.size + len(payload)
            yield payload

    def _next(self) -> bytes | None:
        left = self._size - self.position - PREFIX.size
        prefix = os.pread(self._descriptor, PREFIX.size, self.position)
        if left < 0 or len(prefix) < PREFIX.size:
            return self._ends("torn")
        length, checksum = PREFIX.unpack(prefix)
        if not 0 < length <= MAX_RECORD_BYTES:
            return self._ends("damaged")
        if length > left:
            return self._ends("torn")
        payload = os.pread(self._descriptor, length, self.position + PREFIX.size)
        return payload if len(payload) == length and crc32(payload) == checksum else self._ends("damaged")

    def _ends(self, ending: Ending) -> None:
        self.ending = ending


def records_after(descriptor: int, position: int) -> int:
    """How many records seem to follow a place where reading ended, by their lengths: at least one."""
    size, found = os.fstat(descriptor).st_size, 0
    while position < size:
        found += 1
        prefix = os.pread(descriptor, PREFIX.size, position)
        length = PREFIX.unpack(prefix)[0] if len(prefix) == PREFIX.size else 0
        if not 0 < length <= MAX_RECORD_BYTES:
            break
        position += PREFIX.size + length
    return max(found, 1)


def lost(traces: int) -> Counter[str]:
    """The counters of traces that were in the spool and had to go."""
    return Counter({"captured": traces, "spooled": traces, "dropped.full": traces})


def is_trace(payload: bytes) -> bool:
    """Whether a record is a trace, without decoding it."""
    return _kind_of(payload) == TRACE


class Tally(NamedTuple):
    """What is in some records: so many traces, the sum of their counters, and the segments they say were dropped."""

    traces: int
    counters: Counter[str]
    dropped: list[Dropped]

    @classmethod
    def of(cls, payloads: Iterable[bytes]) -> Tally:
        """Count without decoding a trace."""
        traces, counters, dropped = 0, Counter[str](), list[Dropped]()
        for payload in payloads:
            if is_trace(payload):
                traces += 1
            elif _kind_of(payload) == COUNTERS and isinstance(counted := decode(payload), Counted):
                counters.update(counted.counters)
                dropped += counted.dropped
        return cls(traces, counters, dropped)

    def as_dropped(self, name: str) -> Dropped:
        """How it is told that these were a segment, and have been dropped."""
        return Dropped(name, self.traces, dict(self.counters))


def _kind_of(payload: bytes) -> int:
    """A record's kind, without decoding it."""
    return payload[1] if len(payload) > 1 and payload[0] >> 4 == 0x9 else -1


def decode(payload: bytes) -> Header | SpooledTrace | Counted | None:
    """What a record says; None if it says nothing we understand."""
    try:
        fields = _unpackb(payload)
        return _READERS[fields[0]](*fields[1:])
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is not a record
        return None


def _header(fields: dict[str, Any]) -> Header:
    url, key_id, sanitizer, version = (fields[name] for name in ("url", "key_id", "sanitizer", "version"))
    if fields["format"] != FORMAT or type(version) is not int or not _all_str(url, key_id, sanitizer):
        raise ValueError
    return Header(Destination(url, key_id), sanitizer, version)


def _trace(trace_id: str, parent: str | None, at_ns: int, cost_us: int, text: str) -> SpooledTrace:
    if not is_id(trace_id) or not (parent is None or is_id(parent)) or type(text) is not str:
        raise ValueError
    if not (_fits(at_ns) and _fits(cost_us)):
        raise ValueError
    return SpooledTrace(trace_id, parent, at_ns, cost_us, text)


def _counted(counters: dict[str, int], dropped: list[list[Any]]) -> Counted:
    entries = [
        Dropped(name, traces, _counters(told)) for name, traces, told in dropped if _all_str(name) and _fits(traces)
    ]
    return Counted(_counters(counters), entries)


def _counters(counters: dict[str, int]) -> dict[str, int]:
    """Those that a writer counts; another name is not made room for."""
    return {name: n for name, n in counters.items() if type(name) is str and _COUNTER.fullmatch(name) and _fits(n)}


_READERS: dict[int, Any] = {HEADER: _header, TRACE: _trace, COUNTERS: _counted}


def _all_str(*values: object) -> bool:
    """Whether all are strings that a database can hold."""
    return all(type(value) is str and value.isascii() for value in values)


def _fits(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 62
