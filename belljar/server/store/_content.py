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

from belljar.learning.runs import NO_WORD
from belljar.limits import MAX_JSON_DEPTH, MIB
from belljar.rpc import jsontext
from belljar.server.store._json import Encoded, text_of
from belljar.server.store._names import name_of
from belljar.tracing.types import Trace, decode

__all__ = ["MAX_TOOL_CHARS", "MAX_TRACE_BYTES", "NO_WORD", "Content", "Rejected", "Written", "content_of", "written"]

MAX_TRACE_BYTES = 1 * MIB
"""Of one trace as JSON; four times what our client sends at most."""

# A trace puts a value of the deepest JSON we take a few levels deeper.
_MAX_DEPTH = MAX_JSON_DEPTH + 16
# Indexed texts: PostgreSQL's index rows end at 2.7 KB, and a character has up to four bytes.
_MAX_CHARS = {"capability_id": 400, "workflow_id": 256, "error_code": 64}
MAX_TOOL_CHARS = 256
# A call that a rule or a person forbade, or that waited for one.
_NOT_MADE = frozenset({"denied", "pending"})
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
    tools: list[dict[str, Any]]
    """What it called: rows of `trace_tool`, without what they have from their trace."""
    hash: str
    size: int
    executed_at: datetime


@dataclass(frozen=True, slots=True)
class Written:
    """A trace and its JSON, made once: it is looked at, hashed and stored as this very text."""

    trace: Trace
    wire: dict[str, Any]
    texts: dict[str, Encoded]
    """Four, none of which holds a line feed: the columns of JSON, and under "" the rest."""
    whole: str
    """All four, a line each: what is hashed."""


def written(trace: Trace) -> Written:
    """Raises Rejected: there is no JSON for it."""
    try:
        wire = trace.to_wire()
        texts = _texts(wire)
        return Written(trace, wire, texts, "\n".join(texts.values()))
    except jsontext.JsonError as error:
        raise _unstorable(error) from None


def _unstorable(error: jsontext.JsonError) -> Rejected:
    return Rejected("VALIDATION_ERROR", f"not a trace that can be stored: {error}")


def content_of(trace: Trace | Written, now: datetime) -> Content:
    """Raises Rejected."""
    own, replaced = written(trace) if isinstance(trace, Trace) else trace, 0
    _check_durations(own.trace)
    _check_size(own)
    if _NUL in own.whole or (not own.whole.isascii() and _UNSTORABLE.search(own.whole)):
        wire, replaced = _cleaned(own.wire)
        own = written(decode(wire))
    executed_at, ahead = _executed(own.trace, now)
    marks: dict[str, Any] = {"replaced": replaced} if replaced else {}
    marks |= {"clockAhead": True} if ahead else {}
    pieces = {column: own.texts[column] for column, _ in _PIECES}
    if marks:
        pieces["metadata"] = text_of(own.wire["metadata"] | marks)
    return Content(
        trace=own.trace,
        columns=_columns(own.wire),
        pieces=pieces,
        tools=_tools(own.trace),
        hash=hashlib.sha256(own.whole.encode()).hexdigest(),
        size=len(own.texts[""]) + sum(map(len, pieces.values())),
        executed_at=executed_at,
    )


_PIECES = (("task_results", "taskResults"), ("decisions", "decisions"), ("metadata", "metadata"))
_EMPTY = Encoded("[]")
_NOT_REST = frozenset([key for _, key in _PIECES] + ["userId"])


def _texts(wire: dict[str, Any]) -> dict[str, Encoded]:
    rest = {key: value for key, value in wire.items() if key not in _NOT_REST}
    return {"": text_of(rest)} | {column: text_of(wire[key]) if wire[key] else _EMPTY for column, key in _PIECES}


def _check_size(own: Written) -> None:
    if len(own.whole) > MAX_TRACE_BYTES:
        raise Rejected("TOO_LARGE", f"the trace is larger than {MAX_TRACE_BYTES} bytes")
    try:
        for text in own.texts.values():
            jsontext.check_brackets(text, _MAX_DEPTH, MAX_TRACE_BYTES)
    except jsontext.JsonError as error:
        raise _unstorable(error) from None


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


def _tools(trace: Trace) -> list[dict[str, Any]]:
    """Mocked calls are counted apart and never among the others. What was never called did not fail."""
    counted = dict[str, dict[str, Any]]()
    for call in trace.task_results:
        name, real = call.tool[:MAX_TOOL_CHARS], call.source == "real"
        made = real and call.state not in _NOT_MADE
        tool = counted.get(name)
        if tool is None:
            tool = counted[name] = {"tool": name, "calls": 0, "failures": 0, "mocked": 0, "duration_ms": 0.0}
        tool["calls"] += made
        tool["failures"] += made and not call.success
        tool["mocked"] += not real
        tool["duration_ms"] += call.duration_ms if made else 0.0
    return list(counted.values())


# Cleaning


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
