"""A trace on its way into its row: checked, cleaned, hashed.

What the two engines cannot both hold is dealt with here, so that it is dealt with the same on both and a batch does not
fail over it:

- NUL (PostgreSQL has no place for it) and lone surrogates (UTF-8 has none) are replaced by U+FFFD, in texts and keys
  alike, and `metadata.replaced` says how many; the rest of the trace is worth keeping.
- NaN, Infinity and what is not JSON at all cannot be meant: the trace is rejected.
- Integers of any length and floats are JSON numbers to both. `jsonb` keeps a number, not its spelling: 1e23 comes back
  as an integer there, the same number to whoever reads JSON numbers as doubles.
- A time beyond what a calendar holds in UTC is rejected. One that lies in the future by more than a clock may be wrong
  is stored as executed when it was received, with `metadata.clockAhead`: such a trace would head every list for ever.

The hash is taken over everything the client said, but not the userId, which is never the client's to say. Resending
frozen bytes gives the same hash; so does the same trace in msgpack.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from belljar.limits import MAX_JSON_DEPTH, MIB
from belljar.rpc import jsontext
from belljar.server.store._json import Encoded, text_of
from belljar.server.store._names import name_of
from belljar.tracing.types import Trace, decode

__all__ = ["MAX_TRACE_BYTES", "Content", "Rejected", "content_of"]

MAX_TRACE_BYTES = 1 * MIB
"""Of one trace as JSON; four times what our client sends at most."""

# A trace puts a value of the deepest JSON we take a few levels deeper.
_MAX_DEPTH = MAX_JSON_DEPTH + 16
# Indexed texts: PostgreSQL's index rows end at 2.7 KB, and a character has up to four bytes.
_MAX_CHARS = {"capability_id": 400, "workflow_id": 256, "error_code": 64}
MAX_TOOL_CHARS = 256
# Thirty years in milliseconds: sums of durations stay numbers.
_MAX_DURATION_MS = 1e12
_CLOCK_SLACK = timedelta(minutes=5)

_REPLACEMENT = "\ufffd"
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
# NUL in JSON text, where every other backslash is escaped itself or begins another escape.
_NUL = r"\u0000"


class Rejected(ValueError):
    """This trace cannot be stored. `code` for programs; the message names the field and holds none of its value."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Content:
    """A trace as it is stored. `columns` are texts and numbers, `pieces` the JSON columns; `trace` is cleaned."""

    trace: Trace
    columns: dict[str, Any]
    pieces: dict[str, Encoded]
    hash: str
    size: int
    executed_at: datetime


def content_of(trace: Trace, now: datetime) -> Content:
    """Raises Rejected."""
    _check_durations(trace)
    try:
        wire = trace.to_wire()
        texts, replaced = _texts(wire), 0
        _check_size(texts)
        if _needs_cleaning(texts):
            wire, replaced = _cleaned(wire)
            texts, trace = _texts(wire), decode(wire)
    except jsontext.JsonError as error:
        raise Rejected("VALIDATION_ERROR", f"not a trace that can be stored: {error}") from None
    digest = hashlib.sha256("\n".join(texts.values()).encode())
    executed_at, ahead = _executed(trace, now)
    marks: dict[str, Any] = {"replaced": replaced} if replaced else {}
    marks |= {"clockAhead": True} if ahead else {}
    if marks:
        texts["metadata"] = text_of(wire["metadata"] | marks)
    head = texts.pop("")
    return Content(
        trace=trace,
        columns=_columns(wire),
        pieces=texts,
        hash=digest.hexdigest(),
        size=len(head) + sum(map(len, texts.values())),
        executed_at=executed_at,
    )


_PIECES = (("task_results", "taskResults"), ("decisions", "decisions"), ("metadata", "metadata"))


def _texts(wire: dict[str, Any]) -> dict[str, Encoded]:
    """The trace as four JSON texts, none of which holds a line feed: the rest of it under "", then the JSON columns."""
    parts = {key for _, key in _PIECES} | {"userId"}
    rest = {key: value for key, value in wire.items() if key not in parts}
    return {"": text_of(rest)} | {column: text_of(wire[key]) for column, key in _PIECES}


def _check_size(texts: dict[str, Encoded]) -> None:
    if sum(map(len, texts.values())) > MAX_TRACE_BYTES:
        raise Rejected("TOO_LARGE", f"the trace is larger than {MAX_TRACE_BYTES} bytes")
    for text in texts.values():
        if text.count("[") + text.count("{") > _MAX_DEPTH:
            _check_depth(text)


def _check_depth(text: str) -> None:
    """The whole is looked at once more only where the count of brackets leaves it open."""
    text = text.encode(errors="replace").decode()
    jsontext.parse(text, max_bytes=4 * MAX_TRACE_BYTES, max_depth=_MAX_DEPTH)


def _check_durations(trace: Trace) -> None:
    if max([trace.duration_ms, *(call.duration_ms for call in trace.task_results)]) > _MAX_DURATION_MS:
        raise Rejected("VALIDATION_ERROR", "a duration is longer than 30 years")


def _executed(trace: Trace, now: datetime) -> tuple[datetime, bool]:
    try:
        moment = datetime.fromisoformat(trace.timestamp).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Rejected("VALIDATION_ERROR", "timestamp is beyond the calendar") from None
    ahead = moment > now + _CLOCK_SLACK
    return (now.astimezone(UTC) if ahead else moment), ahead


def _columns(wire: dict[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "trace_id": wire["traceId"],
        "parent_trace_id": wire.get("parentTraceId"),
        "capability_id": wire["capabilityId"],
        "capability_hash": wire["capabilityHash"],
        "workflow_id": wire.get("workflowId"),
        "success": wire["success"],
        "duration_ms": wire["durationMs"],
        "calls": len(wire["taskResults"]),
        "mocked_share": _mocked_share(wire["taskResults"]),
        "error_code": wire.get("errorCode"),
        "error_message": wire.get("errorMessage"),
        "intent": wire.get("intent"),
    }
    for name, most in _MAX_CHARS.items():
        if columns[name] is not None and len(columns[name]) > most:
            raise Rejected("VALIDATION_ERROR", f"{name} is longer than {most} characters")
    columns["capability_fqdn"] = columns.pop("capability_id")
    columns["capability_name"] = name_of(columns["capability_fqdn"])
    return columns


def _mocked_share(results: list[dict[str, Any]]) -> float:
    """Counted here from the sources, whatever the client says of itself."""
    return sum(result["source"] != "real" for result in results) / len(results) if results else 0.0


# Cleaning


def _needs_cleaning(texts: dict[str, Encoded]) -> bool:
    return any(_NUL in text or (not text.isascii() and _UNSTORABLE.search(text)) for text in texts.values())


def _cleaned(wire: dict[str, Any]) -> tuple[dict[str, Any], int]:
    count = 0

    def clean(value: Any) -> Any:
        nonlocal count
        if isinstance(value, str):
            text, found = _UNSTORABLE.subn(_REPLACEMENT, value)
            count += found
            return text
        if isinstance(value, dict):
            return {clean(key): clean(item) for key, item in cast("dict[str, Any]", value).items()}
        if isinstance(value, list | tuple):
            return [clean(item) for item in cast("list[Any]", value)]
        return value

    return clean(wire), count
