"""A session as one JSON document: what `replay` and `export` print and `import` reads.

    {"session_id", "instruction", "created_at",
     "tool_calls": [{"sequence", "tool_name", "arguments", "response", "operation_type", "timestamp", "elapsed_ms"}],
     "stats": {"TotalToolCalls", "ReadCalls", "WriteCalls", "UniqueTools", "Duration"},
     "tools": [{"server", "digest", "listed"}], "format": "belljar.session/1", ...}

The first three lines are the shape other tools write and read; ours adds to it and takes nothing away. `Duration` is in
nanoseconds, `elapsed_ms` counts from the session's beginning, and times are UTC with nanoseconds, so that reading a
document and writing it again gives the same one. `response` is the result of `tools/call` as it was answered; null with
`error` beside it, where the answer was an error of JSON-RPC. `listed` is a tool's entry of `tools/list`, whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from belljar.errors import ValidationError
from belljar.faker.calls import Tool
from belljar.faker.sessions.model import Event, ServedTool, Session, text_of
from belljar.faker.sessions.reading import Reading

__all__ = ["FORMAT", "Recorded", "iso", "ns_of", "read", "stats", "write"]

FORMAT = "belljar.session/1"

Recorded = tuple[Session, Sequence[Event], Sequence[ServedTool]]
"""A session with all that is kept of it."""

_TIME = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_SOURCES = ("real", "overlay", "synthesized", "ai", "cache", "fault", "replay")


def write(session: Session, events: Sequence[Event], tools: Sequence[ServedTool]) -> dict[str, Any]:
    """The document of a session."""
    return {
        "session_id": session.id,
        "instruction": session.instruction,
        "created_at": iso(session.created_at_ns),
        "tool_calls": [_call(event) for event in events],
        "stats": stats(session, events),
        "tools": [
            {"server": each.server, "digest": each.tool.digest, "listed": dict(each.tool.listed)} for each in tools
        ],
        "format": FORMAT,
        "status": session.status,
        "error": session.error,
        "ended_at": None if session.ended_at_ns is None else iso(session.ended_at_ns),
        "safety_mode": session.safety_mode,
        "command": list(session.command),
        "origin": session.origin,
        "redacted": session.redacted,
        "lost_calls": session.lost,
    }


def stats(session: Session, events: Sequence[Event]) -> dict[str, int]:
    """Counted from the calls; `Duration` in nanoseconds."""
    writes = sum(event.operation == "write" for event in events)
    return {
        "TotalToolCalls": len(events),
        "ReadCalls": len(events) - writes,
        "WriteCalls": writes,
        "UniqueTools": len({(event.server, event.tool) for event in events}),
        "Duration": session.duration_ns,
    }


def _call(event: Event) -> dict[str, Any]:
    found: dict[str, Any] = {
        "sequence": event.sequence,
        "tool_name": event.tool,
        "arguments": event.arguments,
        "response": None if event.error is not None else event.response,
        "operation_type": event.operation,
        "timestamp": iso(event.started_at_ns),
        "elapsed_ms": max(0, round(event.elapsed_ms)),
        "server": event.server,
        "source": event.source,
        "is_error": event.is_error,
        "latency_ms": round(event.latency_ms, 3),
        "risk": event.risk,
        "reason": event.reason,
        "real_mcp_used": event.real_used,
        "intercepted_write": event.intercepted,
        "synthesized_response": event.synthesized,
        "ai": event.ai,
        "schema_digest": event.schema_digest,
    }
    for name in ("error", "detail", "real_ms", "ai_ms", "trace_id", "span_id"):
        if (value := getattr(event, name)) is not None:
            found[name] = value
    return found


def read(value: Mapping[str, Any]) -> Recorded:
    """A session of a document, ours or one that has the shape alone.

    Raises:
        ValidationError: it is none; names the place.
    """
    top = Reading(value)
    if (found := top.text("format", FORMAT)) != FORMAT:
        raise ValidationError(f"a session of format {found[:40]!r}: this version reads {FORMAT}")
    created = ns_of(top.text("created_at"), "created_at")
    calls = [_event(each, n, created) for n, each in enumerate(top.objects("tool_calls"), 1)]
    if len({event.sequence for event in calls}) < len(calls):
        raise ValidationError("tool_calls has a sequence number twice")
    tools = [_tool(each) for each in top.objects("tools", required=False)]
    ended = top.text("ended_at", "")
    session = Session(
        id=_id(top.text("session_id")),
        created_at_ns=created,
        instruction=top.text("instruction", ""),
        safety_mode=top.flag("safety_mode", default=True),
        command=[str(word) for word in top.items("command", required=False)],
        status="failed" if top.text("status", "completed") == "failed" else "completed",
        error=top.text("error", ""),
        ended_at_ns=ns_of(ended, "ended_at") if ended else created + top.child("stats").whole("Duration", 0),
        origin=top.text("origin", "seed" if "format" not in value else "belljar"),
        redacted=top.flag("redacted", default=False),
        lost=top.whole("lost_calls", 0),
    )
    return session, sorted(calls, key=lambda event: event.sequence), tools


def _event(call: Reading, n: int, created: int) -> Event:
    elapsed = call.number("elapsed_ms", 0.0)
    stamp = call.text("timestamp", "")
    started = ns_of(stamp, "timestamp") if stamp else created + round(elapsed * 1e6)
    error = call.child("error").value if call.has("error") else None
    response = {} if error is not None else _response(call.any("response"))
    return Event(
        sequence=call.whole("sequence", n),
        server=call.text("server", "server"),
        tool=call.text("tool_name"),
        arguments=call.child("arguments").value,
        response=response,
        started_at_ns=started,
        operation=call.one_of("operation_type", ("read", "write"), "write"),
        risk=call.one_of("risk", ("low", "medium", "high"), "low"),
        reason=call.text("reason", "imported"),
        source=call.one_of("source", _SOURCES, "real"),
        detail=call.text("detail") if call.has("detail") else None,
        error=error,
        is_error=call.flag("is_error", default=error is not None or response.get("isError") is True),
        real_used=call.flag("real_mcp_used", default=False),
        intercepted=call.flag("intercepted_write", default=False),
        synthesized=call.flag("synthesized_response", default=False),
        ai=call.flag("ai", default=False),
        elapsed_ms=(started - created) / 1e6,
        latency_ms=call.number("latency_ms", 0.0),
        real_ms=call.number("real_ms", 0.0) if call.has("real_ms") else None,
        ai_ms=call.number("ai_ms", 0.0) if call.has("ai_ms") else None,
        schema_digest=call.text("schema_digest", ""),
        trace_id=call.text("trace_id") if call.has("trace_id") else None,
        span_id=call.text("span_id") if call.has("span_id") else None,
    )


def _tool(entry: Reading) -> ServedTool:
    listed = entry.child("listed")
    return ServedTool(entry.text("server", "server"), Tool(listed.text("name"), listed.value))


def _response(value: Any) -> dict[str, Any]:
    """A result as it is; of what others keep in its place, a result with that in it."""
    if value is None:
        return {}
    if isinstance(value, dict) and ("content" in value or not value):
        return value  # pyright: ignore[reportUnknownVariableType]
    text = value if isinstance(value, str) else text_of(value)
    return {"content": [{"type": "text", "text": text}], "isError": False}


def _id(text: str) -> str:
    if not 0 < len(text) <= 128 or not text.isascii() or not text.isprintable() or " " in text:
        raise ValidationError("session_id is none: up to 128 visible ASCII characters")
    return text


def iso(ns: int) -> str:
    """RFC 3339 in UTC, with nanoseconds."""
    seconds, rest = divmod(ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def ns_of(text: str, place: str) -> int:
    """The other way round; a time without a zone is UTC.

    Raises:
        ValidationError: no time.
    """
    found = _TIME.fullmatch(text.strip()) if len(text) < 64 else None
    try:
        if found is None:
            raise ValueError
        moment = datetime.fromisoformat(f"{found[1]}{found[3] or 'Z'}")
        return round(moment.timestamp()) * 10**9 + int((found[2] or "0").ljust(9, "0"))
    except (ValueError, OverflowError, OSError):
        raise ValidationError(f"{place} is no time such as 2026-01-31T12:00:00Z") from None
