"""The format of a spool segment: what a record is, and how one is written; `storage.segments_read` reads them.

A record is u32 length, u32 crc32 (both little-endian, both of what follows), then one msgpack array whose first item is
its kind. A segment's first record is its header; then come traces and counters in any order:

    [0, {"format", "version", "url", "key_id", "sanitizer", "created_ns", "pid"}]
    [1, trace id, parent's id | nil, captured at (ns), what capturing cost (us), the trace's wire form as JSON text]
    [2, {counter: n}, [[name of a segment that was dropped, how many traces were in it, {counter: n}], ...]]

A writer that was killed leaves at most one record unfinished at the end. A reader takes whole records until the first
that is not, and never allocates what a length field says before it has seen that the file is as long. There is nothing
to resynchronize on: past damage, what a length says is not believed.
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
from belljar.tracing.texts import MaskedTrace

__all__ = [
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

FORMAT, VERSION = "belljar segment", 2
HEADER, TRACE, COUNTERS = 0, 1, 2
MAX_RECORD_BYTES = 1 * MIB
"""Of a record's msgpack. A sanitized trace is capped at a quarter of it."""
PREFIX = struct.Struct("<II")

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


def encode_trace(trace: MaskedTrace, at_ns: int, cost_us: int) -> bytes:
    """A trace's record. Raises whatever is wrong with a trace that the sanitizer did not make."""
    trace_id, parent = trace.trace_id, trace.parent_id
    if not is_id(trace_id) or not (parent is None or is_id(parent)):
        raise TypeError("a trace id is a short string of ASCII")
    return _record([TRACE, trace_id, parent, at_ns, cost_us, trace.text])


def encode_counters(counters: Mapping[str, int], dropped: Sequence[tuple[str, int, Mapping[str, int]]]) -> bytes:
    """A record of counters; `dropped` are segments, by name, with how many traces and which counters were in them."""
    return _record([COUNTERS, dict(counters), dropped])


def _record(fields: list[Any]) -> bytes:
    payload = _packb(fields)
    return PREFIX.pack(len(payload), crc32(payload)) + payload


def is_id(value: object) -> bool:
    """Whether this can be a trace's id."""
    return type(value) is str and value.isascii() and len(value) <= _MAX_ID
