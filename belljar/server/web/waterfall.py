"""A trace as a waterfall: its calls, and the runs they started with theirs, in the order they began.

Each row's bar is drawn on a line of 1000 units, which the page stretches to its width. Times are what clients said:
where they contradict each other, a bar ends at the edge of its line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from belljar import show
from belljar.server.store.queries import TraceDetail, TraceTree
from belljar.server.web.display import Block, Budget, Segment, block, segments

__all__ = ["MAX_ROWS", "Bar", "Row", "Waterfall", "waterfall"]

MAX_ROWS = 500
"""Rows on one page; a run makes at most 1000 calls itself."""
SCALE = 1000
_LEAST = 3.0
_PREVIEW = 160


# What an older client's call may lack.
_LACKING: dict[str, Any] = {
    "taskId": "",
    "tool": "",
    "args": None,
    "result": None,
    "success": False,
    "state": "unknown",
    "durationMs": 0.0,
    "timestamp": "",
    "callSite": 0,
    "iteration": 1,
    "source": "real",
    "sourceDetail": None,
    "isWrite": True,
    "isCapabilityCall": False,
    "errorCode": None,
    "grant": None,
}


@dataclass(frozen=True, slots=True)
class Bar:
    """Where on the line, of SCALE units."""

    x: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A call, or a run that a call started."""

    depth: int
    name: str
    state: str
    good: bool
    bar: Bar
    duration_ms: float
    trace_id: str = ""
    """Of a run: its page."""
    call: dict[str, Any] | None = None
    """Of a call: all that is known of it."""
    preview: list[Segment] | None = None
    args: Block | None = None
    result: Block | None = None


@dataclass(frozen=True, slots=True)
class Waterfall:
    """What is drawn."""

    rows: list[Row]
    left_out: int
    total_ms: float
    ticks: list[tuple[float, float]]
    """(place on the line, milliseconds)."""


@dataclass(frozen=True, slots=True)
class _Span:
    start_ms: float
    duration_ms: float
    depth: int
    trace: TraceDetail
    call: dict[str, Any] | None


def waterfall(tree: TraceTree, budget: Budget) -> Waterfall:
    """Of a trace and what hangs below it."""
    start = tree.trace.summary.executed_at
    spans = list(islice(_spans(tree, start, 0), MAX_ROWS))
    total = max([tree.trace.summary.duration_ms, *(span.start_ms + span.duration_ms for span in spans)]) or 1.0
    rows = [_row(span, total, budget) for span in spans]
    ticks = [(SCALE * quarter / 4, total * quarter / 4) for quarter in range(5)]
    return Waterfall(rows, _size(tree) - len(rows), total, ticks)


def _spans(tree: TraceTree, start: datetime, depth: int) -> Iterator[_Span]:
    """A child comes after the call that began before it, its own calls indented below it."""
    calls = [_of_call(_LACKING | call, tree.trace, start, depth) for call in tree.trace.task_results]
    children = [(_offset(child.trace.summary.executed_at, start), child) for child in tree.children]
    for span in sorted(calls, key=lambda span: span.start_ms):
        while children and children[0][0] < span.start_ms:
            yield from _of_run(children.pop(0)[1], start, depth)
        yield span
    for _, child in children:
        yield from _of_run(child, start, depth)


def _of_call(call: dict[str, Any], trace: TraceDetail, start: datetime, depth: int) -> _Span:
    return _Span(_offset(_time(call["timestamp"], start), start), call["durationMs"], depth, trace, call)


def _of_run(child: TraceTree, start: datetime, depth: int) -> Iterator[_Span]:
    summary = child.trace.summary
    yield _Span(_offset(summary.executed_at, start), summary.duration_ms, depth + 1, child.trace, None)
    yield from _spans(child, start, depth + 2)


def _row(span: _Span, total: float, budget: Budget) -> Row:
    width = min(max(SCALE * span.duration_ms / total, _LEAST), SCALE)
    bar = Bar(round(min(max(SCALE * span.start_ms / total, 0.0), SCALE - width), 2), round(width, 2))
    depth = min(span.depth, 12)
    summary, call = span.trace.summary, span.call
    if call is None:
        return Row(
            depth=depth,
            name=summary.capability_fqdn,
            state="succeeded" if summary.success else "failed",
            good=summary.success,
            bar=bar,
            duration_ms=summary.duration_ms,
            trace_id=summary.trace_id,
        )
    return Row(
        depth=depth,
        name=call["tool"],
        state=call["state"],
        good=call["success"],
        bar=bar,
        duration_ms=call["durationMs"],
        call=call,
        preview=segments(show.value(call["args"], max_chars=_PREVIEW)),
        args=block(call["args"], budget),
        result=block(call["result"], budget),
    )


def _size(tree: TraceTree) -> int:
    return len(tree.trace.task_results) + sum(1 + _size(child) for child in tree.children)


def _time(text: str, otherwise: datetime) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return otherwise


def _offset(at: datetime, start: datetime) -> float:
    return max(0.0, (at - start).total_seconds() * 1e3)
