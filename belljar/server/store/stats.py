"""Counts, success rates and latencies: of a tenant's traces, of its capabilities, and of its tools' calls.

Counting reads indexes alone - all rows from one, those of a time, the failed and the mocked from ones that hold nothing
else - so that a million traces are a fraction of a second. Latencies are percentiles (nearest rank) of the newest 5,000
traces; more would not make them truer. Tools are counted over all time, traces that retention removed included, unless
a time is asked for. Their latency is that of one call, its mean where a trace called the tool several times.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, literal_column, select

from belljar.server.store._views import iso
from belljar.server.store.engine import Database
from belljar.server.store.queries import TraceFilter, conditions
from belljar.server.store.schema import execution_trace, tool_stats, trace_tool

__all__ = ["SAMPLE", "Group", "Stats", "stats"]

SAMPLE = 5_000
"""Newest traces that latencies are taken from."""


@dataclass(frozen=True, slots=True)
class Group:
    """Figures of all traces, of one capability's, or of one tool's calls."""

    name: str
    count: int
    failures: int
    mocked: int
    """Of traces: those with any mocked call, within `count`. Of calls: beside `count`, which has the real ones."""
    last_at: datetime | None
    durations: tuple[float, ...]
    """Of the sample, in milliseconds, ascending."""

    @property
    def success_rate(self) -> float | None:
        """0 to 1; None of nothing."""
        return 1 - self.failures / self.count if self.count else None

    def percentile(self, share: float) -> float | None:
        """The duration in milliseconds that this share does not exceed; None if the sample has none."""
        return self.durations[max(0, math.ceil(share * len(self.durations)) - 1)] if self.durations else None

    def to_wire(self) -> dict[str, Any]:
        """{name, count, failures, successRate, mocked, p50Ms, p95Ms, sampled, lastAt}."""
        return {
            "name": self.name,
            "count": self.count,
            "failures": self.failures,
            "successRate": self.success_rate,
            "mocked": self.mocked,
            "p50Ms": self.percentile(0.5),
            "p95Ms": self.percentile(0.95),
            "sampled": len(self.durations),
            "lastAt": iso(self.last_at) if self.last_at else None,
        }


@dataclass(frozen=True, slots=True)
class Stats:
    """Groups most used first."""

    total: Group
    capabilities: list[Group]
    tools: list[Group]

    def to_wire(self) -> dict[str, Any]:
        """{total, capabilities: [...], tools: [...]}."""
        return {
            "total": self.total.to_wire(),
            "capabilities": [group.to_wire() for group in self.capabilities],
            "tools": [group.to_wire() for group in self.tools],
        }


def stats(
    db: Database, tenant_id: int, *, since: datetime | None = None, until: datetime | None = None, top: int = 50
) -> Stats:
    """The `top` most used capabilities and tools, and all together.

    Raises:
        StoreRefused: a time without an offset (`BAD_FILTER`).
    """
    where = TraceFilter(since=since, until=until)
    with db.read() as connection:
        newest = connection.execute(_newest(tenant_id, where)).all()
        sample = defaultdict[str, list[float]](list)
        for row in newest:
            sample[row.capability_name].append(row.duration_ms)
        capabilities = _capabilities(connection, tenant_id, where, sample)
        tools = _tools(connection, tenant_id, where, [row.row_id for row in newest])
    last = max((group.last_at for group in capabilities if group.last_at), default=None)
    everything = sorted(duration for durations in sample.values() for duration in durations)
    total = Group(
        "",
        sum(group.count for group in capabilities),
        sum(group.failures for group in capabilities),
        sum(group.mocked for group in capabilities),
        last,
        tuple(everything),
    )
    return Stats(total, _most_used(capabilities, top), _most_used(tools, top))


_TRACE = execution_trace.c


def _most_used(groups: list[Group], top: int) -> list[Group]:
    return sorted(groups, key=lambda group: (-group.count, group.name))[:top]


def _newest(tenant_id: int, where: TraceFilter) -> Any:
    newest = select(_TRACE.row_id, _TRACE.capability_name, _TRACE.duration_ms).where(*conditions(tenant_id, where))
    return newest.order_by(_TRACE.executed_at.desc(), _TRACE.row_id.desc()).limit(SAMPLE)


def _capabilities(
    connection: Connection, tenant_id: int, where: TraceFilter, sample: dict[str, list[float]]
) -> list[Group]:
    counted = _grouped(connection, tenant_id, where)
    failed, mocked = (
        Counter({name: count for name, count, _ in _grouped(connection, tenant_id, narrower)})
        for narrower in (_narrowed(where, success=False), _narrowed(where, mocked=True))
    )
    return [
        Group(name, count, failed[name], mocked[name], last_at, tuple(sorted(sample.get(name, ()))))
        for name, count, last_at in counted
    ]


def _narrowed(where: TraceFilter, *, success: bool | None = None, mocked: bool | None = None) -> TraceFilter:
    return TraceFilter(since=where.since, until=where.until, success=success, mocked=mocked)


def _grouped(connection: Connection, tenant_id: int, where: TraceFilter) -> Sequence[tuple[str, int, datetime]]:
    name: Any = _TRACE.capability_name
    if where != TraceFilter():
        # Grouped by the column itself, SQLite, which has rarely looked at its tables, reads all traces in its order.
        name = name + literal_column("''")
    statement = (
        select(name, func.count(), func.max(_TRACE.executed_at)).where(*conditions(tenant_id, where)).group_by(name)
    )
    return [(name, count, last_at) for name, count, last_at in connection.execute(statement)]


def _tools(connection: Connection, tenant_id: int, where: TraceFilter, sample: list[int]) -> list[Group]:
    tool = trace_tool.c
    # The ids themselves: joined with the query that gave them, PostgreSQL reads every tool of every trace.
    of_sample = select(tool.tool, tool.duration_ms, tool.calls).where(tool.row_id.in_(sample), tool.calls > 0)
    durations = defaultdict[str, list[float]](list)
    for name, duration, calls in connection.execute(of_sample):
        durations[name].append(duration / calls)
    return [
        Group(row.tool, row.calls, row.failures, row.mocked, row.last_at, tuple(sorted(durations.get(row.tool, ()))))
        for row in connection.execute(_tool_counts(tenant_id, where))
    ]


def _tool_counts(tenant_id: int, where: TraceFilter) -> Select[Any]:
    if where.since is None and where.until is None:
        return select(tool_stats).where(tool_stats.c.tenant_id == tenant_id)
    tool = trace_tool.c
    sums = [func.sum(tool[name]).label(name) for name in ("calls", "failures", "mocked")]
    # By way of the traces: those of a time are an index's, and their tools lie beside each other.
    return (
        select(tool.tool, *sums, func.max(tool.executed_at).label("last_at"))
        .select_from(execution_trace)
        .join(trace_tool, tool.row_id == _TRACE.row_id)
        .where(*conditions(tenant_id, where))
        .group_by(tool.tool)
    )
