"""What the newest traces taught: how foreseen they were, and which of them moved an estimate, from what to what.

Counts say what is known, and not how it came to be. But an observation can be taken back (`estimates.Evidence.then` is
undone by a subtraction and a division), and so what is known now is unwound, trace by trace, to what was known before,
by the same functions and for each key apart: the last estimate is the one that the server answers with. Of each thing
no more than its last thirty are taken back, where rounding and what is missing - pruned, anonymized - are still small.

Everything is read from indexes, a fixed number of the newest real traces, and none of their calls' arguments.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, text

from belljar.learning.estimates import DECAY, MAX_PATH, NOTHING, Evidence, estimate
from belljar.server.store import runs
from belljar.server.store.engine import Database
from belljar.server.store.schema import execution_trace, learned, trace_tool

__all__ = ["WINDOW", "Change", "Move", "Seen", "changes", "newest", "unwound"]

WINDOW = 1000
"""Traces that are looked at."""
_OF_ONE = 30
_MOVES = 3
_THINGS = 500
# Of longer paths only the beginning is learned from, which stands in the calls themselves; those are dear to read.
_LONG = 50
_MAX_TOOLS = 20_000
# The very words of the index.
_REAL = text("mocked_share = 0")
_TRACE = execution_trace.c


@dataclass(frozen=True, slots=True)
class Seen:
    """One real trace."""

    row: int
    trace_id: str
    key_id: str | None
    capability: str
    success: bool
    predicted: float
    priority: float
    executed_at: datetime
    tools: frozenset[str]


@dataclass(frozen=True, slots=True)
class Move:
    """What one trace did to an estimate."""

    trace_id: str
    success: bool
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Change:
    """How the estimate of a capability or tool came to be what it is."""

    kind: str
    name: str
    estimates: tuple[float, ...]
    """Before the first of its newest traces, and after each; the last is what is thought now."""
    moves: tuple[Move, ...]
    """Those that moved it the most, in the order of time."""

    @property
    def far(self) -> float:
        """How far it went."""
        return abs(self.estimates[-1] - self.estimates[0])


def newest(db: Database, tenant_id: int, most: int = WINDOW) -> list[Seen]:
    """The newest real traces, in the order of their arrival, oldest first."""
    columns = (_TRACE.row_id, _TRACE.trace_id, _TRACE.user_id, _TRACE.capability_name, _TRACE.success)
    columns += (_TRACE.predicted, _TRACE.priority, _TRACE.executed_at, _TRACE.calls)
    mine = select(*columns).where(_TRACE.tenant_id == tenant_id, _REAL)
    with db.read() as connection:
        rows = connection.execute(mine.order_by(_TRACE.row_id.desc()).limit(most)).all()[::-1]
        tools = _tools(connection, [row.row_id for row in rows if row.calls <= MAX_PATH])
    long = [row.row_id for row in rows if row.calls > MAX_PATH][-_LONG:]
    for run in runs.of_rows(db, tenant_id, long):
        tools[run.row] = set(run.path[:MAX_PATH])
    return [
        Seen(
            row.row_id,
            row.trace_id,
            row.user_id,
            row.capability_name,
            row.success,
            row.predicted,
            row.priority,
            row.executed_at,
            frozenset(tools.get(row.row_id, ())),
        )
        for row in rows
    ]


def _tools(connection: Connection, row_ids: list[int]) -> dict[int, set[str]]:
    found = defaultdict[int, set[str]](set)
    called = select(trace_tool.c.row_id, trace_tool.c.tool).where(trace_tool.c.row_id.in_(row_ids)).limit(_MAX_TOOLS)
    for row_id, tool in connection.execute(called) if row_ids else ():
        found[row_id].add(tool)
    return found


# What changed

_Thing = tuple[str, str]


class _Observed(NamedTuple):
    trace_id: str
    key_id: str
    success: bool


def changes(db: Database, tenant_id: int, seen: Sequence[Seen], most: int = 12) -> list[Change]:
    """Of the capabilities and tools of these traces, those of which something else is thought now, the most first."""
    observed = defaultdict[_Thing, list[_Observed]](list)
    for each in seen:
        # An anonymized one no longer says whose it was.
        if each.key_id is not None:
            one = _Observed(each.trace_id, each.key_id, each.success)
            for thing in (("capability", each.capability), *(("tool", tool) for tool in each.tools)):
                observed[thing].append(one)
    asked = sorted(observed, key=lambda thing: (-len(observed[thing]), thing))[:_THINGS]
    with db.read() as connection:
        known = _known(connection, tenant_id, asked)
    found = [_change(thing, observed[thing][-_OF_ONE:], known[thing]) for thing in asked if thing in known]
    return sorted(found, key=lambda change: (-change.far, change.name))[:most]


def _known(connection: Connection, tenant_id: int, things: Iterable[_Thing]) -> dict[_Thing, dict[str, Evidence]]:
    row, wanted = learned.c, set(things)
    mine = select(row.kind, row.subject, row.key_id, row.successes, row.failures).where(
        row.tenant_id == tenant_id,
        row.kind.in_(("capability", "tool")),
        row.subject.in_({name for _, name in wanted}),
        ~row.mocked,
    )
    found = defaultdict[_Thing, dict[str, Evidence]](dict)
    for kind, subject, key_id, successes, failures in connection.execute(mine):
        if (kind, subject) in wanted:
            found[kind, subject][key_id] = Evidence(successes, failures)
    return found


def _change(thing: _Thing, observed: Sequence[_Observed], known: Mapping[str, Evidence]) -> Change:
    estimates = unwound([(each.key_id, each.success) for each in observed], known)
    moves = [
        Move(each.trace_id, each.success, before, after)
        for each, before, after in zip(observed, estimates, estimates[1:], strict=False)
    ]
    furthest = sorted(range(len(moves)), key=lambda at: -abs(moves[at].after - moves[at].before))[:_MOVES]
    return Change(*thing, tuple(estimates), tuple(moves[at] for at in sorted(furthest)))


def unwound(observed: Sequence[tuple[str, bool]], known: Mapping[str, Evidence]) -> list[float]:
    """What was estimated before the first of these observations, and after each.

    Args:
        observed: whose key saw it, and whether it succeeded; oldest first.
        known: what each key has seen of the thing, these observations included.
    """
    by_key: dict[str, Any] = dict(known)
    for key_id, success in reversed(observed):
        by_key[key_id] = _without(by_key.get(key_id, NOTHING), success)
    estimates = [estimate(by_key.values())]
    for key_id, success in observed:
        by_key[key_id] = by_key[key_id].then(success)
        estimates.append(estimate(by_key.values()))
    return estimates


def _without(evidence: Evidence, success: bool) -> Evidence:
    """As it was before its last observation. Never less than nothing, whatever is missing.

    The last observation of a key counts in full: where less than half of one is left, it is rounding.
    """
    successes, failures = evidence.successes - success, evidence.failures - (not success)
    left = Evidence(max(0.0, successes) / DECAY, max(0.0, failures) / DECAY)
    return left if left.n > 0.5 else NOTHING
