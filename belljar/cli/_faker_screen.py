"""How sessions look: to a person in tables, to a program as JSON. Every text of a tool is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from belljar import show
from belljar.cli import _screen
from belljar.faker.sessions import Event, ServedTool, Session
from belljar.faker.sessions.compare import Difference, Row
from belljar.faker.sessions.document import iso

__all__ = ["call", "difference", "difference_facts", "facts", "figures", "session", "sessions"]

_MAX_TEXT = 60
_MAX_ROWS = 200


def facts(found: Session) -> dict[str, Any]:
    """One session, for programs."""
    return {
        "session_id": found.id,
        "instruction": found.instruction,
        "created_at": iso(found.created_at_ns),
        "ended_at": None if found.ended_at_ns is None else iso(found.ended_at_ns),
        "status": found.status,
        "error": found.error,
        "calls": found.calls,
        "reads": found.calls - found.writes,
        "writes": found.writes,
        "errors": found.errors,
        "lost_calls": found.lost,
        "duration_ms": round(found.duration_ns / 1e6, 3),
        "safety_mode": found.safety_mode,
        "origin": found.origin,
        "redacted": found.redacted,
        "command": list(found.command),
    }


def sessions(found: Sequence[Session]) -> None:
    """A table of them."""
    rows = [
        (
            show.name(each.id),
            _time(each.created_at_ns),
            each.status,
            _calls(each),
            _duration(each.duration_ns),
            show.text(each.instruction or " ".join(each.command), max_chars=_MAX_TEXT),
        )
        for each in found
    ]
    _screen.table(("session", "since", "status", "calls", "took", "what"), rows, to_stdout=True, whole=5)


def _calls(found: Session) -> str:
    parts = [f"{found.calls}"]
    parts += [f"{found.writes} writes"] if found.writes else []
    parts += [f"{found.errors} failed"] if found.errors else []
    parts += [f"{found.lost} lost"] if found.lost else []
    return ", ".join(parts)


def session(found: Session, events: Sequence[Event], tools: Sequence[ServedTool]) -> None:
    """One session and its calls."""
    _screen.table(("", ""), _about(found, tools), to_stdout=True)
    if not events:
        _screen.out("\nNo calls.")
        return
    _screen.out("")
    rows = [
        (
            f"{event.sequence}",
            f"+{event.elapsed_ms / 1e3:.3f}",
            show.name(event.tool),
            event.operation,
            event.source,
            "failed" if event.is_error else "ok",
            f"{event.latency_ms:.1f}",
            show.value(dict(event.arguments), max_chars=_MAX_TEXT),
        )
        for event in events[:_MAX_ROWS]
    ]
    _screen.table(("call", "s", "tool", "kind", "source", "", "ms", "arguments"), rows, to_stdout=True)
    if len(events) > _MAX_ROWS:
        _screen.out(f"... and {len(events) - _MAX_ROWS} more (--json)")


def _about(found: Session, tools: Sequence[ServedTool]) -> Iterator[tuple[str, str]]:
    yield "session", show.name(found.id)
    yield "status", found.status + (f": {show.text(found.error)}" if found.error else "")
    yield "since", f"{_time(found.created_at_ns)}, for {_duration(found.duration_ns)}"
    if found.instruction:
        yield "instruction", show.text(found.instruction)
    if found.command:
        yield "server", show.text(" ".join(found.command))
    if found.origin != "belljar" or found.redacted:
        yield "origin", show.text(found.origin) + (", redacted" if found.redacted else "")
    yield "writes", "intercepted" if found.safety_mode else "let through"
    yield "calls", _calls(found)
    yield "tools", f"{len(tools)}"


def call(found: Event) -> None:
    """One call with all that was said."""
    _screen.table(("", ""), _about_call(found), to_stdout=True)
    _screen.out("\narguments")
    _screen.out(_pretty(found.arguments))
    _screen.out("\nresponse" if found.error is None else "\nerror")
    _screen.out(_pretty(found.response if found.error is None else found.error))


def _about_call(found: Event) -> Iterator[tuple[str, str]]:
    yield "call", f"{found.sequence} of {show.name(found.server)}:{show.name(found.tool)}"
    yield "at", f"{_time(found.started_at_ns)}, {found.latency_ms:.1f} ms"
    yield "kind", f"{found.operation}, risk {found.risk} ({show.text(found.reason)})"
    detail = f" ({show.text(found.detail)})" if found.detail else ""
    yield "source", f"{found.source}{detail}{', the write was intercepted' if found.intercepted else ''}"
    yield "answer", "an error" if found.is_error else "ok"
    if found.trace_id:
        yield "trace", f"{found.trace_id}, span {found.span_id}"


def figures(found: Mapping[str, Any]) -> None:
    """What `metrics` says."""
    _screen.table(("", ""), _figures(found), to_stdout=True)


def _figures(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "sessions", f"{found['sessions']}"
    lost = f", {found['lost']} lost" if found["lost"] else ""
    yield (
        "calls",
        f"{found['calls']} ({found['reads']} reads, {found['writes']} writes), {found['errors']} failed{lost}",
    )
    yield "answered by", ", ".join(f"{show.name(name)} {n}" for name, n in found["sources"].items()) or "nobody"
    yield "cache hits", f"{found['cacheHits']} ({found['cacheHitShare']:.1%})"
    for name, title in (("latencyMs", "latency"), ("overheadMs", "overhead"), ("realMs", "server"), ("aiMs", "model")):
        spread = found[name]
        shown = (
            f"p50 {spread['p50']:.3f} ms, p95 {spread['p95']:.3f} ms ({spread['n']} calls)" if spread else "no calls"
        )
        yield title, shown
    yield "tools", ", ".join(f"{show.name(each['tool'])} {each['calls']}" for each in found["topTools"]) or "none"


def difference_facts(found: Difference) -> dict[str, Any]:
    """What is different, for programs."""
    return {
        "different": bool(found),
        "same": found.same,
        "moved": found.moved,
        "added": [_row_facts(row) for row in found.added],
        "removed": [_row_facts(row) for row in found.removed],
        "changed": [
            {"what": each.what, "before": _row_facts(each.before), "after": _row_facts(each.after)}
            for each in found.changed
        ],
        "tools": {"added": found.tools_added, "removed": found.tools_removed, "changed": found.tools_changed},
    }


def _row_facts(row: Row) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "sequence": row["sequence"],
        "server": row["server"],
        "tool_name": row["tool"],
        "arguments": json.loads(row["arguments"]),
    }
    if row["error"] is None:
        return {**facts, "response": json.loads(row["response"])}
    return {**facts, "response": None, "error": json.loads(row["error"])}


def difference(found: Difference) -> None:
    """What is different, a line for each."""
    lines = list(_lines(found))
    for line in lines[:_MAX_ROWS]:
        _screen.out(line)
    if len(lines) > _MAX_ROWS:
        _screen.out(f"... and {len(lines) - _MAX_ROWS} more (--json)")
    moved = f", {found.moved} moved" if found.moved else ""
    counts = f"{len(found.added)} added, {len(found.removed)} removed, {len(found.changed)} changed{moved}"
    _screen.out(f"{found.same} calls are the same; {counts}" if found else f"{found.same} calls, all the same")


def _lines(found: Difference) -> Iterator[str]:
    for sign, names in (("+", found.tools_added), ("-", found.tools_removed), ("~", found.tools_changed)):
        yield from (f"{sign} tool {show.name(name)}" for name in names)
    yield from (f"- {_row(row)}" for row in found.removed)
    yield from (f"+ {_row(row)}" for row in found.added)
    for each in found.changed:
        yield f"~ {_row(each.before)}: other {each.what}"
        if each.what != "answer":
            yield f"  {_row(each.after)}"
        if each.what != "arguments":
            yield f"  was {_answer(each.before)}"
            yield f"  is  {_answer(each.after)}"


def _row(row: Row) -> str:
    args = show.value(json.loads(row["arguments"]), max_chars=_MAX_TEXT)
    return f"{row['sequence']} {show.name(row['server'])}:{show.name(row['tool'])} {args}"


def _answer(row: Row) -> str:
    return show.value(json.loads(row["error"] or row["response"]), max_chars=2 * _MAX_TEXT)


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2)


def _time(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns / 1e9, UTC):%Y-%m-%d %H:%M:%S}Z"


def _duration(ns: int) -> str:
    seconds = ns / 1e9
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"
