"""The format of a spool segment: what a record is, and how one is written; `storage.segments_read` reads them.

A record is u32 length, u32 crc32 (both little-endian, both of what follows), then one msgpack array whose first item is
its kind. A segment's first record is its header; then come traces and counters in any order:

    [0, {"format", "version", "url", "key_id", "sanitizer", "created_ns", "pid"}]
    [1, trace id, parent's id | nil, captured at (ns), what capturing cost (us), the trace's wire form]
    [2, {counter: n}, [[name of a segment that was dropped, how many traces were in it, {counter: n}], ...]]

A writer that was killed leaves at most one record unfinished at the end. A reader takes whole records until the first
that is not, and never allocates what a length field says before it has seen that the file is as long. There is nothing
to resynchronize on: past damage, what a length says is not believed.

What msgpack has no room for is carried by an extension: integers beyond 64 bits. Lone surrogates pass as they are.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from zlib import crc32

import msgpack  # pyright: ignore[reportMissingTypeStubs]

from belljar.limits import MIB
from belljar.tracing.destination import Destination

__all__ = [
    "BIG_INT",
    "COUNTERS",
    "FORMAT",
    "HEADER",
    "MAX_RECORD_BYTES",
    "PREFIX",
    "TRACE",
    "VERSION",
    "encode_counters",
    "encode_header",
    "encode_trace",
    "is_id",
]

FORMAT, VERSION = "belljar segment", 1
HEADER, TRACE, COUNTERS = 0, 1, 2
MAX_RECORD_BYTES = 1 * MIB
"""Of a record's msgpack. A sanitized trace is capped at a quarter of it."""
PREFIX = struct.Struct("<II")
BIG_INT = 1
"""The extension for integers beyond 64 bits: big-endian, two's complement."""

_MAX_ID = 200

# msgpack comes without types.
_packb = cast("Callable[..., bytes]", msgpack.packb)  # pyright: ignore[reportUnknownMemberType]


def encode_header(destination: Destination, sanitizer_version: str, created_ns: int) -> bytes:
    """A segment's first record."""
    fields = {
        "format": FORMAT,
        "version": VERSION,
        "url": destination.url,
        "key_id": destination.key_id,
        "sanitizer": sanitizer_version,
        "created_ns": created_ns,
        "pid": os.getpid(),
    }
    return _record([HEADER, fields])


def encode_trace(wire: dict[str, Any], at_ns: int, cost_us: int) -> bytes:
    """A trace's record. Raises whatever is wrong with a value that the sanitizer did not make."""
    trace_id, parent = wire["traceId"], wire.get("parentTraceId")
    if not is_id(trace_id) or not (parent is None or is_id(parent)):
        raise TypeError("a trace id is a short string of ASCII")
    return _record([TRACE, trace_id, parent, at_ns, cost_us, wire])


def encode_counters(counters: Mapping[str, int], dropped: Sequence[tuple[str, int, Mapping[str, int]]]) -> bytes:
    """A record of counters; `dropped` are segments, by name, with how many traces and which counters were in them."""
    return _record([COUNTERS, dict(counters), dropped])


def _record(fields: list[Any]) -> bytes:
    try:
        payload = _packb(fields, default=_big_int)
    except UnicodeEncodeError:
        # Asking for this at once would cost every record two thirds more.
        payload = _packb(fields, default=_big_int, unicode_errors="surrogatepass")
    return PREFIX.pack(len(payload), crc32(payload)) + payload


def _big_int(value: object) -> msgpack.ExtType:
    if type(value) is not int:
        raise TypeError("not a value of JSON")
    return msgpack.ExtType(BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def is_id(value: object) -> bool:
    """Whether this can be a trace's id."""
    return type(value) is str and value.isascii() and len(value) <= _MAX_ID
