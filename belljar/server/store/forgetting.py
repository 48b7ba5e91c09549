"""What need not be known any longer: orders of calls that nobody makes, and what was seen once.

Of every new order of calls the beginnings and pairs become rows of `learned`, and stay when traces are pruned. Here
those go that were not seen for long; and of a tenant that still has more than it should, those that were seen once, the
oldest first. Of tools and capabilities no more goes than what was seen once, and that long ago.

Rows are looked at in the order of their key, in pages with no transaction between them, so that a server goes on
learning meanwhile; what it learned again before a row is removed keeps the row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, func, literal, or_, select, tuple_

from belljar.server.store import runs
from belljar.server.store.engine import Database
from belljar.server.store.room import PATHS
from belljar.server.store.schema import learned

__all__ = ["KEEP", "forget"]

KEEP = 50_000
"""Rows of paths and pairs of a tenant, beyond which those that were seen once go."""
_PAGE = 1000
_ROW = learned.c
# Not IN: a statement for many rows at once takes no list.
_OF_PATHS = or_(*(_ROW.kind == kind for kind in PATHS))
_KEY = (_ROW.kind, _ROW.subject, _ROW.mocked, _ROW.key_id)


def forget(db: Database, *, seen_before: datetime, keep: int = KEEP, tenant_id: int | None = None) -> int:
    """Remove paths and pairs last seen before that, and beyond `keep` those seen once; how many rows went.

    Of tools and capabilities last seen before that, too, those that were seen once.
    """
    tenants = runs.tenants(db) if tenant_id is None else [tenant_id]
    return sum(_old(db, each, seen_before) + _rare(db, each, keep) for each in tenants)


def _old(db: Database, tenant_id: int, before: datetime) -> int:
    gone = (_ROW.last_at < before) & (_OF_PATHS | (_ROW.n == 1))
    return sum(_remove(db, tenant_id, page, gone) for page in _pages(db, tenant_id, gone))


def _rare(db: Database, tenant_id: int, keep: int) -> int:
    """The oldest, as many as there are too many."""
    mine, once = (_ROW.tenant_id == tenant_id, _OF_PATHS), _OF_PATHS & (_ROW.n == 1)
    with db.read() as connection:
        too_many = (connection.scalar(select(func.count()).select_from(learned).where(*mine)) or 0) - keep
        if too_many <= 0:
            return 0
        oldest = select(_ROW.last_at).where(*mine, once).order_by(_ROW.last_at)
        last = connection.scalar(oldest.offset(too_many - 1).limit(1))
    gone = once if last is None else once & (_ROW.last_at <= last)
    removed = 0
    for page in _pages(db, tenant_id, gone):
        removed += _remove(db, tenant_id, page[: too_many - removed], gone)
        if removed >= too_many:
            break
    return removed


def _pages(db: Database, tenant_id: int, gone: ColumnElement[bool]) -> Iterator[Sequence[Any]]:
    mine = select(*_KEY).where(_ROW.tenant_id == tenant_id, gone)
    page = mine.order_by(*_KEY).limit(_PAGE)
    while True:
        with db.read() as connection:
            rows = connection.execute(page).all()
        if rows:
            yield rows
        if len(rows) < _PAGE:
            return
        end = [literal(value, column.type) for value, column in zip(rows[-1], _KEY, strict=True)]
        page = mine.where(tuple_(*_KEY) > tuple_(*end)).order_by(*_KEY).limit(_PAGE)


def _remove(db: Database, tenant_id: int, rows: Sequence[Any], gone: ColumnElement[bool]) -> int:
    these = [column == bindparam(f"its_{column.name}") for column in _KEY]
    statement = delete(learned).where(_ROW.tenant_id == tenant_id, *these, gone)
    given = [{f"its_{column.name}": value for column, value in zip(_KEY, row, strict=True)} for row in rows]
    if not given:
        return 0
    with db.write() as connection:
        return connection.execute(statement, given).rowcount
