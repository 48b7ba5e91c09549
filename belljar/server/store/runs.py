"""Stored traces as the learner sees them, and its priorities back to the rows they came from.

Real runs alone: what a fake or a recording answered teaches nothing about the world; nor does one that ended because
somebody had to be asked, or stopped it. Of a trace no more leaves the
database than its names, its intent and its outcome: the calls' arguments and results, which are most of it, are taken
apart there. Reading goes along the index of real runs, in pages with no transaction between them.

Priorities are written by row id and tenant, in the order of their rows, a few hundred a transaction: so that batches
that arrive get their turn, and nobody deadlocks. A row that was removed meanwhile is passed over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Select, Text, and_, bindparam, func, literal_column, or_, select, text, update

from belljar.learning.runs import Run
from belljar.server.store._content import MAX_TOOL_CHARS, NO_WORD
from belljar.server.store._json import decoded
from belljar.server.store.engine import Database
from belljar.server.store.errors import StoreUnavailable
from belljar.server.store.schema import capability_record, execution_trace, tenant

__all__ = [
    "MAX_CALLS",
    "PAGE",
    "Priorities",
    "arrivals",
    "count",
    "floor",
    "last_row",
    "mark",
    "newest",
    "of_rows",
    "past",
    "priorities",
    "rows",
    "tenant_named",
    "tenants",
    "texts",
    "write_priorities",
]

MAX_CALLS = 64
"""Calls of a run that count as its path here."""
PAGE = 20_000
_FEW = 500
_TRIES = 6
_PAUSE_S = 0.1

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Priorities = tuple[Ints, Floats]
"""Rows and the priority of each, ascending by row."""

_TRACE = execution_trace.c
# The very words of the index: neither engine uses one of some rows for a comparison with a parameter. Runs whose end
# says nothing are few, and not worth an index.
_REAL: ColumnElement[bool] = and_(
    text("mocked_share = 0"), or_(_TRACE.error_code.is_(None), _TRACE.error_code.not_in(NO_WORD))
)
_MAX_INTENT = 2000


def tenants(db: Database) -> list[int]:
    """Everybody's ids."""
    with db.read() as connection:
        return list(connection.scalars(select(tenant.c.tenant_id).order_by(tenant.c.tenant_id)))


def arrivals(db: Database, after: int) -> tuple[int, set[int]]:
    """The newest row of all, and whose traces came above `after`; takes as long as they are many."""
    with db.read() as connection:
        newest_row = connection.scalar(select(func.max(_TRACE.row_id))) or 0
        if newest_row <= after:
            return newest_row, set()
        return newest_row, set(connection.scalars(select(_TRACE.tenant_id).where(_TRACE.row_id > after).distinct()))


def tenant_named(db: Database, name: str) -> int | None:
    """The id of a tenant."""
    with db.read() as connection:
        return connection.scalar(select(tenant.c.tenant_id).where(tenant.c.name == name))


def newest(db: Database, tenant_id: int, most: int) -> list[Run]:
    """The newest real runs, `most` of them, oldest first."""
    found = list[Run]()
    page = _runs(db, tenant_id).order_by(_TRACE.row_id.desc())
    while len(found) < most:
        size = min(_FEW, most - len(found))
        with db.read() as connection:
            older = page.where(_TRACE.row_id < found[-1].row) if found else page
            some = connection.execute(older.limit(size)).all()
        found += map(_run, some)
        if len(some) < size:
            break
    return found[::-1]


def of_rows(db: Database, tenant_id: int, wanted: Iterable[int]) -> list[Run]:
    """The real runs in these rows, oldest first; without those that are not there, or another tenant's."""
    found = list[Run]()
    for some in _parts(sorted(set(wanted)), _FEW):
        with db.read() as connection:
            there = connection.execute(_runs(db, tenant_id).where(_TRACE.row_id.in_(some)).order_by(_TRACE.row_id))
            found += map(_run, there.all())
    return found


def texts(db: Database, tenant_id: int, names: Iterable[str]) -> dict[str, str]:
    """What these capabilities are said to be for, where they were published: the newest description of each."""
    record, found = capability_record.c, dict[str, str]()
    with db.read() as connection:
        for some in _parts(sorted(set(names)), _FEW):
            said = select(record.name, record.description).where(record.tenant_id == tenant_id, record.name.in_(some))
            found |= {row.name: row.description for row in connection.execute(said.order_by(record.published_at))}
    return found


# Rows and priorities, for replay


def mark(db: Database) -> int:
    """A moment, for `past`. Whatever rows are seen before it is taken, those missing among them are being written.

    PostgreSQL's row ids are given out before their transactions commit, and so come to light out of turn. SQLite has
    one writer, who gives ids out as it commits: there nothing is ever late.
    """
    if db.dialect == "sqlite":
        return 0
    with db.read() as connection:
        # A number of our own: a snapshot's upper end is the first that has not *ended*, not that has not begun.
        return int(connection.scalar(text("SELECT CAST(CAST(pg_current_xact_id() AS text) AS bigint)")) or 0)


def past(db: Database, moment: int) -> bool:
    """Whether everybody who was writing at that moment has ended."""
    if db.dialect == "sqlite":
        return True
    with db.read() as connection:
        oldest = text("SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)")
        return int(connection.scalar(oldest) or 0) > moment


def last_row(db: Database, tenant_id: int) -> int:
    """The newest real run's row; 0 if there is none."""
    with db.read() as connection:
        mine = select(_TRACE.row_id).where(_TRACE.tenant_id == tenant_id, _REAL)
        return connection.scalar(mine.order_by(_TRACE.row_id.desc()).limit(1)) or 0


def count(db: Database, tenant_id: int, *, after: int = 0, until: int | None = None) -> int:
    """How many real runs there are in rows above `after`, up to `until`."""
    with db.read() as connection:
        mine = select(func.count()).select_from(execution_trace).where(_TRACE.tenant_id == tenant_id, _REAL)
        mine = mine.where(_TRACE.row_id > after) if after else mine
        return connection.scalar(mine if until is None else mine.where(_TRACE.row_id <= until)) or 0


def floor(db: Database, tenant_id: int, most: int) -> int:
    """The row above which the newest `most` real runs are; 0 if there are no more than that."""
    with db.read() as connection:
        mine = select(_TRACE.row_id).where(_TRACE.tenant_id == tenant_id, _REAL)
        return connection.scalar(mine.order_by(_TRACE.row_id.desc()).offset(most).limit(1)) or 0


def rows(db: Database, tenant_id: int, *, after: int = 0, until: int, page: int = PAGE) -> Iterator[Ints]:
    """Rows of all real runs above `after`, up to `until`, ascending, a page at a time."""
    for found in _pages(db, tenant_id, after, until, page, _TRACE.row_id):
        yield np.fromiter((row[0] for row in found), np.int64, len(found))


def priorities(db: Database, tenant_id: int, *, after: int, until: int, page: int = PAGE) -> Iterator[Priorities]:
    """Real runs in rows above `after`, up to `until`, ascending, a page at a time."""
    for found in _pages(db, tenant_id, after, until, page, _TRACE.row_id, _TRACE.priority):
        yield (
            np.fromiter((row[0] for row in found), np.int64, len(found)),
            np.fromiter((row[1] for row in found), np.float64, len(found)),
        )


def write_priorities(
    db: Database,
    tenant_id: int,
    wanted: Ints,
    values: Floats,
    *,
    sleep: Callable[[float], object] = time.sleep,
    batch: int = _FEW,
) -> int:
    """Give rows their new priorities, both of shape (n,), in whatever order; how many of them were there.

    Nothing else of a row is touched. A batch that meets others is tried again after a pause.

    Raises:
        ValueError: shapes that differ, or a priority outside [0, 1]; nothing was written.
        StoreUnavailable: the database does not answer, or was busy each time; what came before is written.
    """
    if wanted.shape != values.shape or not np.all((values >= 0) & (values <= 1)):
        raise ValueError("one priority a row, each of 0 to 1")
    order = np.argsort(wanted, kind="stable")
    pairs = list(zip(wanted[order].tolist(), values[order].tolist(), strict=True))
    return sum(_write(db, tenant_id, some, sleep) for some in _parts(pairs, batch))


# ----


def _runs(db: Database, tenant_id: int) -> Select[Any, Any, Any, Any, Any, Any, str]:
    trace = (_TRACE.row_id, _TRACE.capability_name, _TRACE.intent, _TRACE.success, _TRACE.priority, _TRACE.predicted)
    path: ColumnElement[str] = literal_column(_PATH[db.dialect], Text)
    return select(*trace, path.label("path")).where(_TRACE.tenant_id == tenant_id, _REAL)


# Of the first MAX_CALLS. As JSON text, which is all that SQLite has.
_PATH = {
    "sqlite": "(SELECT json_group_array(json_extract(value, '$.tool')) FROM json_each(task_results) WHERE key < 64)",
    "postgresql": "CAST(jsonb_path_query_array(task_results, '$[0 to 63].tool') AS text)",
}


def _run(row: Any) -> Run:
    return Run(
        row=row.row_id,
        capability=row.capability_name,
        intent=(row.intent or "")[:_MAX_INTENT],
        path=tuple(str(tool)[:MAX_TOOL_CHARS] for tool in decoded(row.path)),
        success=row.success,
        priority=row.priority,
        foreseen=row.predicted,
    )


def _pages(db: Database, tenant_id: int, after: int, until: int, size: int, *columns: Any) -> Iterator[Sequence[Any]]:
    mine = select(*columns).where(_TRACE.tenant_id == tenant_id, _REAL, _TRACE.row_id <= until)
    while True:
        with db.read() as connection:
            found = connection.execute(mine.where(_TRACE.row_id > after).order_by(_TRACE.row_id).limit(size)).all()
        if found:
            yield found
        if len(found) < size:
            return
        after = found[-1].row_id


_SET = (
    update(execution_trace)
    .where(_TRACE.row_id == bindparam("of"), _TRACE.tenant_id == bindparam("whose"))
    .values(priority=bindparam("new"))
)


def _write(db: Database, tenant_id: int, some: Sequence[tuple[int, float]], sleep: Callable[[float], object]) -> int:
    given = [{"of": row, "whose": tenant_id, "new": value} for row, value in some]
    for again in range(_TRIES):
        try:
            with db.write() as connection:
                return connection.execute(_SET, given).rowcount
        except StoreUnavailable as exc:
            if exc.reason != "STORE_BUSY" or again == _TRIES - 1:
                raise
            sleep(_PAUSE_S * 2**again)
    return 0


def _parts(items: Sequence[Any], size: int) -> Iterator[Any]:
    return (items[start : start + size] for start in range(0, len(items), size))
