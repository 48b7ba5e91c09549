"""How capabilities do: success rate, latency, what fails, which tools they usually call in which order.

Figures are of the newest runs of each, a fixed number, so that a page costs the same with a thousand traces and with a
million; rates say how sure so few can be (Wilson's interval, 95 %). Runs in which anything but the real world answered
are counted apart and move no rate. Names come from the index one by one, each look-up skipping all traces of the last.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from typing import Any

from sqlalchemy import Connection, Row, func, select

from belljar.limits import KIB
from belljar.server.store._cursors import check_text
from belljar.server.store.engine import Database
from belljar.server.store.schema import execution_trace
from belljar.server.store.stats import Group

__all__ = ["PAGE", "Figures", "Names", "Path", "capabilities", "capability", "interval"]

PAGE = 25
"""Capabilities on one page."""
_RUNS_OF_MANY, _PATHS_OF_MANY = 100, 5
_RUNS_OF_ONE, _PATHS_OF_ONE = 300, 50
# A path is read out of a trace's calls: of large ones that is dear, and small ones go the same ways.
_MAX_PATH_BYTES = 64 * KIB
_MAX_STEPS = 8
_Z = 1.96
_TRACE = execution_trace.c


@dataclass(frozen=True, slots=True)
class Path:
    """One order of tools, and how many of the runs looked at went this way."""

    steps: tuple[tuple[str, int], ...]
    """(tool, times in a row)."""
    more: bool
    """It goes on."""
    runs: int
    of: int


@dataclass(frozen=True, slots=True)
class Figures:
    """One capability's."""

    name: str
    real: Group
    """Runs against the real world."""
    mocked: int
    more: bool
    """There are older runs that were not looked at."""
    last_at: datetime
    errors: list[tuple[str, int]]
    paths: list[Path]

    @property
    def runs(self) -> int:
        """Looked at."""
        return self.real.count + self.mocked

    @property
    def interval(self) -> tuple[float, float]:
        """Of the success rate."""
        return interval(self.real.count - self.real.failures, self.real.count)


@dataclass(frozen=True, slots=True)
class Names:
    """A page of capabilities; `after` is where the next begins, None at the end."""

    items: list[Figures]
    after: str | None


def interval(successes: int, runs: int) -> tuple[float, float]:
    """Where the true rate lies with 95 % certainty; Wilson 1927. (0, 1) of nothing."""
    if runs == 0:
        return 0.0, 1.0
    share, z2 = successes / runs, _Z * _Z
    middle = (share + z2 / (2 * runs)) / (1 + z2 / runs)
    reach = _Z / (1 + z2 / runs) * math.sqrt(share * (1 - share) / runs + z2 / (4 * runs * runs))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def capabilities(db: Database, tenant_id: int, *, after: str = "") -> Names:
    """By name, those behind `after`.

    Raises:
        StoreRefused: `after` is no text a name could be (`BAD_FILTER`).
    """
    check_text("after", after)
    with db.read() as connection:
        names = list(islice(_names(connection, tenant_id, after), PAGE + 1))
        shown = names[:PAGE]
        found = [_figures(connection, tenant_id, name, _RUNS_OF_MANY, _PATHS_OF_MANY) for name in shown]
    return Names([figures for figures in found if figures], shown[-1] if len(names) > PAGE else None)


def capability(db: Database, tenant_id: int, name: str) -> Figures | None:
    """One, by its name without hash; None if it never ran."""
    check_text("name", name)
    with db.read() as connection:
        return _figures(connection, tenant_id, name, _RUNS_OF_ONE, _PATHS_OF_ONE)


def _names(connection: Connection, tenant_id: int, after: str) -> Iterable[str]:
    following = select(func.min(_TRACE.capability_name))
    while True:
        asked = following.where(_TRACE.tenant_id == tenant_id, _TRACE.capability_name > after)
        name = connection.scalar(asked)
        if name is None:
            return
        yield name
        after = name


def _figures(connection: Connection, tenant_id: int, name: str, runs: int, paths: int) -> Figures | None:
    columns = (_TRACE.row_id, _TRACE.success, _TRACE.duration_ms, _TRACE.mocked_share, _TRACE.executed_at)
    newest = (
        select(*columns, _TRACE.error_code, _TRACE.size_bytes)
        .where(_TRACE.tenant_id == tenant_id, _TRACE.capability_name == name)
        .order_by(_TRACE.executed_at.desc(), _TRACE.row_id.desc())
        .limit(runs + 1)
    )
    rows = connection.execute(newest).all()
    if not rows:
        return None
    seen = rows[:runs]
    real = [row for row in seen if row.mocked_share == 0]
    codes = Counter[str](row.error_code or "(no code)" for row in seen if not row.success)
    return Figures(
        name=name,
        real=_group(name, real),
        mocked=len(seen) - len(real),
        more=len(rows) > runs,
        last_at=seen[0].executed_at,
        errors=codes.most_common(5),
        paths=_paths(connection, [row.row_id for row in seen if row.size_bytes <= _MAX_PATH_BYTES][:paths]),
    )


def _group(name: str, rows: Sequence[Row[*tuple[Any, ...]]]) -> Group:
    durations = tuple(sorted(row.duration_ms for row in rows))
    last_at = rows[0].executed_at if rows else None
    return Group(name, len(rows), sum(not row.success for row in rows), 0, last_at, durations)


def _paths(connection: Connection, row_ids: list[int]) -> list[Path]:
    """The five most frequent."""
    if not row_ids:
        return []
    calls = connection.execute(select(_TRACE.task_results).where(_TRACE.row_id.in_(row_ids))).scalars()
    ways = Counter(_steps(results) for results in calls)
    return [Path(steps[:_MAX_STEPS], len(steps) > _MAX_STEPS, n, len(row_ids)) for steps, n in ways.most_common(5)]


def _steps(results: list[dict[str, Any]]) -> tuple[tuple[str, int], ...]:
    """The tools in order, repetitions taken together; one more than is shown tells that it goes on."""
    tools = (result.get("tool", "") for result in results)
    taken = ((tool, sum(1 for _ in again)) for tool, again in groupby(tools))
    return tuple(islice(taken, _MAX_STEPS + 1))
