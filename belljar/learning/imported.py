"""Runs out of a file of traces, one JSON object a line, as `belljar server export` writes them or anybody else did.

A line may be anything. One that is no trace is counted, the first of them by number and reason, and the rest is read
all the same; a line is never longer in memory than a trace may be. Each trace counts once, and runs in which anything
but the real world answered are left out, as the server leaves them out; and so are those that ended because somebody
had to be asked, or stopped them.

A file says nothing of when its traces arrived, so runs are put in the order in which they began: what is held out of
them later is then later in truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, BinaryIO, cast

from belljar.errors import ValidationError
from belljar.fqdn import name_of
from belljar.learning.runs import NO_WORD, Run
from belljar.limits import MAX_JSON_DEPTH, MIB
from belljar.rpc import jsontext
from belljar.tracing.types import Trace, decode

__all__ = ["MAX_LINE_BYTES", "Imported", "Problem", "read"]

MAX_LINE_BYTES = 2 * MIB
"""Of one trace; a server takes 1 MiB, and adds a little."""

# As the server reads it: a value of the deepest JSON there is stands a few levels deeper in a trace.
_MAX_DEPTH = MAX_JSON_DEPTH + 16
_MOST_PROBLEMS = 20
_MAX_INTENT = 2000
_MAX_CALLS = 64
_MAX_TOOL = 256


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that is no trace."""

    line: int
    """The first is 1."""
    reason: str
    """Holds nothing of the line but names of fields."""


@dataclass(slots=True)
class Imported:
    """What a file held."""

    runs: list[Run] = field(default_factory=list[Run])
    """Oldest first; their rows are their places."""
    lines: int = 0
    """Empty ones not counted."""
    mocked: int = 0
    undecided: int = 0
    """Ended by people."""
    duplicates: int = 0
    broken: int = 0
    problems: list[Problem] = field(default_factory=list[Problem])
    """The first few of those broken."""


def read(stream: BinaryIO) -> Imported:
    """All of a file. One line of it is in memory at a time, and of each trace what its run needs."""
    found, seen = Imported(), set[str]()
    timed = list[tuple[float, Run]]()
    for number, line in enumerate(_lines(stream), 1):
        if line is not None and not line.strip():
            continue
        found.lines += 1
        try:
            trace = _trace(line)
        except (ValidationError, jsontext.JsonError) as exc:
            found.broken += 1
            if len(found.problems) < _MOST_PROBLEMS:
                found.problems.append(Problem(number, str(exc)))
            continue
        if trace.trace_id in seen:
            found.duplicates += 1
        elif any(task.source != "real" for task in trace.task_results):
            found.mocked += 1
        elif trace.error_code in NO_WORD:
            found.undecided += 1
        else:
            timed.append((datetime.fromisoformat(trace.timestamp).timestamp(), _run(trace)))
        seen.add(trace.trace_id)
    timed.sort(key=lambda each: each[0])
    found.runs = [replace(run, row=row) for row, (_, run) in enumerate(timed)]
    return found


def _lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Line by line; None for one that is too long to be a trace, which is passed over."""
    while line := stream.readline(MAX_LINE_BYTES + 1):
        if len(line) <= MAX_LINE_BYTES:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE_BYTES)
        yield None


def _trace(line: bytes | None) -> Trace:
    if line is None:
        raise ValidationError(f"longer than {MAX_LINE_BYTES} bytes")
    value = jsontext.parse(line, max_bytes=MAX_LINE_BYTES, max_depth=_MAX_DEPTH)
    if not isinstance(value, dict):
        raise ValidationError("not a trace: it is no JSON object")
    return decode(cast("dict[str, Any]", value))


def _run(trace: Trace) -> Run:
    path = tuple(task.tool[:_MAX_TOOL] for task in trace.task_results[:_MAX_CALLS])
    return Run(0, name_of(trace.capability_id), (trace.intent or "")[:_MAX_INTENT], path, trace.success)
