"""Traces out: one, one with the runs it made, and lists.

Every statement names the tenant first, and every list is read from an index in the order it is shown: newest first, the
row id deciding between equals. A list has the large columns left out. Filters that no index knows (`text`, `until`
beside others) are looked at on the way, within the database's deadline for reading.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, literal, literal_column, or_, select, true, tuple_

from belljar import fqdn
from belljar.errors import ValidationError
from belljar.server.store._cursors import bad_cursor, check_limit, check_moment, check_text, cursor_of, position_of
from belljar.server.store._names import base_name
from belljar.server.store._views import DETAIL, SUMMARY, TraceDetail, TraceSummary, TraceTree, detail_of, summary_of
from belljar.server.store.engine import Database
from belljar.server.store.schema import RowId, Utc, execution_trace, trace_tool

__all__ = [
    "Page",
    "TraceDetail",
    "TraceFilter",
    "TraceSummary",
    "TraceTree",
    "conditions",
    "get_trace",
    "is_trace_id",
    "list_statement",
    "list_traces",
    "trace_tree",
]

_Item = TypeVar("_Item")

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What one answer may hold of a tree: thirty of the largest traces our client makes.
_MAX_TREE_BYTES = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFilter:
    """Which traces; None means any."""

    capability: str | None = None
    """FQDN with or without its hash, or `namespace:action`."""
    success: bool | None = None
    since: datetime | None = None
    """Executed at or after."""
    until: datetime | None = None
    """Executed before."""
    workflow: str | None = None
    tool: str | None = None
    """`server:tool`."""
    mocked: bool | None = None
    """Whether anything but the real world answered."""
    text: str | None = None
    """Found in name, intent or error message; case does not matter (ASCII)."""
    roots: bool | None = None
    """True: only traces without a parent; False: only children."""


@dataclass(frozen=True, slots=True)
class Page(Generic[_Item]):
    """Some of a list, and where it goes on; `next_cursor` is None at the end."""

    items: list[_Item]
    next_cursor: str | None


def is_trace_id(candidate: str) -> bool:
    """Whether this could be one: what could not is never asked for."""
    return _UUID.fullmatch(candidate) is not None


def get_trace(db: Database, tenant_id: int, trace_id: str) -> TraceDetail | None:
    """None: no such trace of this tenant; so for anything that is no trace id."""
    if not is_trace_id(trace_id):
        return None
    with db.read() as connection:
        found = connection.execute(_one(tenant_id, trace_id)).one_or_none()
    return None if found is None else detail_of(found)


def list_traces(
    db: Database, tenant_id: int, where: TraceFilter, *, limit: int = 50, cursor: str | None = None
) -> Page[TraceSummary]:
    """Newest first. A cursor belongs to its filter.

    Raises:
        StoreRefused: `BAD_CURSOR`, `BAD_FILTER`.
        StoreUnavailable: also when a filter without an index took too long (`STORE_BUSY`).
    """
    check_limit(limit)
    belongs_to = (tenant_id, where)
    statement = list_statement(tenant_id, where).limit(limit + 1)
    if cursor is not None:
        at, row_id = position_of(cursor, belongs_to, (str, int))
        statement = statement.where(_after(_ordered_by(where), at, row_id))
    with db.read() as connection:
        rows = connection.execute(statement).all()
    items = [summary_of(row) for row in rows[:limit]]
    more = cursor_of([items[-1].executed_at.isoformat(), items[-1].row_id], belongs_to) if len(rows) > limit else None
    return Page(items, more)


def list_statement(tenant_id: int, where: TraceFilter) -> Select[Any]:
    """What a list is read with, without its end; public for those who ask the engine how it would do it."""
    at, row_id = _ordered_by(where)
    statement = select(*SUMMARY).where(*conditions(tenant_id, where)).order_by(at.desc(), row_id.desc())
    if where.tool is not None:
        return statement.select_from(trace_tool).join(execution_trace, _TRACE.row_id == trace_tool.c.row_id)
    return statement


def conditions(tenant_id: int, where: TraceFilter) -> list[ColumnElement[bool]]:
    """The filter as SQL; with `tool`, `trace_tool` must be among what is selected from.

    Raises:
        StoreRefused: a value that nothing stored can have (`BAD_FILTER`).
    """
    for name in ("capability", "workflow", "tool", "text"):
        check_text(name, getattr(where, name))
    for moment in (where.since, where.until):
        check_moment(moment)
    at, _ = _ordered_by(where)
    asked = [_TRACE.tenant_id == tenant_id]
    if where.tool is not None:
        asked += [trace_tool.c.tenant_id == tenant_id, trace_tool.c.tool == where.tool]
    if where.since is not None:
        asked.append(at >= where.since)
    if where.until is not None:
        asked.append(at < where.until)
    made = {name: make(getattr(where, name)) for name, make in _CONDITIONS.items() if getattr(where, name) is not None}
    return [*asked, *made.values()]


_TRACE = execution_trace.c


def _one(tenant_id: int, trace_id: str) -> Select[Any]:
    return select(*DETAIL).where(_TRACE.tenant_id == tenant_id, _TRACE.trace_id == trace_id)


def _ordered_by(where: TraceFilter) -> tuple[ColumnElement[datetime], ColumnElement[int]]:
    """A list by tool is read from the index of tools, which has copies of both columns."""
    columns = trace_tool.c if where.tool is not None else _TRACE
    return columns.executed_at, columns.row_id


def _after(columns: tuple[ColumnElement[datetime], ColumnElement[int]], at: str, row_id: int) -> ColumnElement[bool]:
    try:
        moment = datetime.fromisoformat(at).astimezone(UTC)
    except (ValueError, OverflowError):
        raise bad_cursor() from None
    return tuple_(*columns) < tuple_(literal(moment, Utc), literal(row_id, RowId))


def _of_capability(name: str) -> ColumnElement[bool]:
    try:
        wanted = fqdn.parse(name)
    except ValidationError:
        return _TRACE.capability_name == name
    of_name = _TRACE.capability_name == base_name(wanted)
    if not wanted.hash:
        return of_name
    return of_name & or_(_TRACE.capability_hash.startswith(wanted.hash), _TRACE.capability_fqdn == name)


def _with_text(wanted: str) -> ColumnElement[bool]:
    texts = (_TRACE.capability_fqdn, _TRACE.intent, _TRACE.error_message)
    return or_(*(column.icontains(wanted, autoescape=True) for column in texts)) if wanted else true()


def _is_mocked(mocked: bool) -> ColumnElement[bool]:
    # A literal, the index's own words: an engine cannot know that a parameter will be 0.
    none = literal_column("0", _TRACE.mocked_share.type)
    return _TRACE.mocked_share > none if mocked else _TRACE.mocked_share == none


_CONDITIONS: dict[str, Callable[[Any], ColumnElement[bool]]] = {
    "capability": _of_capability,
    "success": lambda success: _TRACE.success if success else ~_TRACE.success,
    "workflow": lambda workflow: _TRACE.workflow_id == workflow,
    "mocked": _is_mocked,
    "text": _with_text,
    "roots": lambda roots: _TRACE.parent_trace_id.is_(None) if roots else _TRACE.parent_trace_id.is_not(None),
}


# A trace with the runs it made


def trace_tree(
    db: Database, tenant_id: int, trace_id: str, *, max_depth: int = 16, max_nodes: int = 200
) -> TraceTree | None:
    """A trace and what it ran, level by level; None as `get_trace`.

    Bounded in levels, traces and bytes, and says so when there is more. Traces that claim to be each other's parents
    are shown once.
    """
    if not is_trace_id(trace_id):
        return None
    with db.read() as connection:
        root = connection.execute(_one(tenant_id, trace_id)).one_or_none()
        if root is None:
            return None
        below, truncated = _descendants(connection, tenant_id, trace_id, max_depth, max_nodes)
        rows = connection.execute(select(*DETAIL).where(_TRACE.row_id.in_(below))).all()
    return _tree(detail_of(root), [detail_of(row) for row in rows], truncated)


def _descendants(
    connection: Connection, tenant_id: int, root: str, max_depth: int, max_nodes: int
) -> tuple[list[int], bool]:
    """Row ids of what hangs below, and whether something was left out."""
    level, seen, chosen, room = [root], {root}, list[int](), _MAX_TREE_BYTES
    # In no order: SQLite, which has rarely looked at its tables, would read all of them in that order instead.
    shape = select(_TRACE.row_id, _TRACE.trace_id, _TRACE.size_bytes)
    for _ in range(max_depth):
        of_level = shape.where(_TRACE.tenant_id == tenant_id, _TRACE.parent_trace_id.in_(level))
        # One more than fits tells that there is more; what was seen may come again.
        found = connection.execute(of_level.limit(max_nodes + len(seen) + 1)).all()
        fresh = [row for row in found if row.trace_id not in seen]
        for row in fresh:
            room -= row.size_bytes
            if len(chosen) == max_nodes or room < 0:
                return chosen, True
            chosen.append(row.row_id)
        level = [row.trace_id for row in fresh]
        seen |= set(level)
        if not level:
            return chosen, False
    # At the last level allowed: is there anything below it?
    return chosen, connection.execute(
        select(_TRACE.row_id).where(_TRACE.tenant_id == tenant_id, _TRACE.parent_trace_id.in_(level)).limit(1)
    ).first() is not None


def _tree(root: TraceDetail, below: Sequence[TraceDetail], truncated: bool) -> TraceTree:
    children = dict[str, list[TraceDetail]]()
    for trace in sorted(below, key=lambda trace: (trace.summary.executed_at, trace.summary.row_id)):
        children.setdefault(trace.summary.parent_trace_id or "", []).append(trace)

    def node(trace: TraceDetail) -> TraceTree:
        return TraceTree(trace, [node(child) for child in children.get(trace.summary.trace_id, [])], trace.etag)

    top = node(root)
    etags = repr((root.etag, sorted(trace.etag for trace in below), truncated))
    return TraceTree(top.trace, top.children, sha256(etags.encode()).hexdigest()[:32], truncated)
