"""Many rows in one statement, the fastest way each engine has; measured with ten traces a batch.

SQLite: the driver's `executemany`, whose statement is prepared once (44 us a trace with its tools; SQLAlchemy's VALUES
list, built anew for each batch, took 170). It cannot say which rows were new, so what is there is asked for first, and
row ids are given out here: whoever writes is alone.
PostgreSQL: one JSON document, taken apart by `jsonb_to_recordset`, traces and their tools in one statement (57 us of
our processor a trace; `executemany` in a pipeline 65, COPY into a temporary table 80, arrays and `unnest` 250, a VALUES
list 170).

Rows are inserted in the order given: callers that may meet each other on a unique index sort by it, and so cannot
deadlock.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

import orjson
from sqlalchemy import BigInteger, Connection, Double, Table
from sqlalchemy.dialects import postgresql, sqlite

from belljar.server.store._json import Encoded
from belljar.server.store.schema import execution_trace, trace_tool

__all__ = ["insert_or_add", "insert_or_decay", "insert_traces", "insert_unless_there"]

_Row = Mapping[str, Any]
TraceKey = tuple[int, str]
"""(tenant id, trace id)"""


def insert_traces(
    connection: Connection, rows: Sequence[_Row], tools: Mapping[TraceKey, Sequence[_Row]]
) -> dict[TraceKey, int]:
    """Insert those traces that are not there, with their tools; their row ids. Every row has the same columns.

    `tools` are rows of `trace_tool` without what they have from their trace.
    """
    store = _traces_on_sqlite if connection.dialect.name == "sqlite" else _traces_on_postgresql
    return store(connection, rows, tools) if rows else {}


def insert_or_add(connection: Connection, table: Table, rows: Sequence[_Row]) -> None:
    """Insert, or where the primary key is there: add numbers to its numbers, and let times replace its times."""
    _upsert(connection, table, rows, "1")


def insert_or_decay(connection: Connection, table: Table, rows: Sequence[_Row], decay: float) -> None:
    """As `insert_or_add`, but fractions there lose `decay` for each of the row's new `n` before they are added to."""
    _upsert(connection, table, rows, f"power(CAST({decay!r} AS DOUBLE PRECISION), excluded.n)")


def _upsert(connection: Connection, table: Table, rows: Sequence[_Row], left: str) -> None:
    if not rows:
        return
    names = tuple(rows[0])
    if connection.dialect.name == "sqlite":
        statement = f"{_into(table, names)} {_values(names)} {_changed(table, left)}"
        connection.exec_driver_sql(statement, _tuples(rows, names))
    else:
        source = f"SELECT {', '.join(names)} FROM {_given(table, names)}"  # noqa: S608 - names of our columns
        statement = f"{_into(table, names)} {source} {_changed(table, left)}"
        connection.exec_driver_sql(statement, (_document(rows),))


def insert_unless_there(connection: Connection, table: Table, row: _Row) -> bool:
    """Insert one row unless it breaks a unique rule; whether it was inserted."""
    module = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = module.insert(table).values(row).on_conflict_do_nothing()
    return connection.execute(statement.returning(*table.primary_key.columns)).first() is not None


# SQLite

_THERE = "SELECT trace_id FROM execution_trace WHERE tenant_id = ? AND trace_id IN (SELECT value FROM json_each(?))"
_LAST = "SELECT max(row_id) FROM execution_trace"


def _traces_on_sqlite(
    connection: Connection, rows: Sequence[_Row], tools: Mapping[TraceKey, Sequence[_Row]]
) -> dict[TraceKey, int]:
    there = _there(connection, map(_key, rows))
    fresh = [row for row in rows if _key(row) not in there]
    last = connection.exec_driver_sql(_LAST).scalar() or 0
    row_ids = {_key(row): row_id for row_id, row in enumerate(fresh, last + 1)}
    _insert(connection, execution_trace, [{"row_id": row_ids[_key(row)], **row} for row in fresh])
    of_tools = [
        {"row_id": row_ids[_key(row)], "tenant_id": row["tenant_id"], "executed_at": row["executed_at"], **tool}
        for row in fresh
        for tool in tools[_key(row)]
    ]
    _insert(connection, trace_tool, of_tools)
    return row_ids


def _there(connection: Connection, keys: Iterable[TraceKey]) -> set[TraceKey]:
    asked = defaultdict[int, list[str]](list)
    for tenant_id, trace_id in keys:
        asked[tenant_id].append(trace_id)
    return {
        (tenant_id, trace_id)
        for tenant_id, trace_ids in asked.items()
        for (trace_id,) in connection.exec_driver_sql(_THERE, (tenant_id, json.dumps(trace_ids)))
    }


def _insert(connection: Connection, table: Table, rows: Sequence[_Row]) -> None:
    if rows:
        names = tuple(rows[0])
        connection.exec_driver_sql(f"{_into(table, names)} {_values(names)}", _tuples(rows, names))


def _tuples(rows: Sequence[_Row], names: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return [
        tuple([_plain(value) if type(value) in _ODD else value for value in map(row.__getitem__, names)])
        for row in rows
    ]


_ODD = frozenset((datetime, Encoded))


def _plain(value: Any) -> str:
    """As `schema.Utc` writes times."""
    return _moment(value) if isinstance(value, datetime) else str(value)


@lru_cache(maxsize=64)
def _moment(value: datetime) -> str:
    # All rows of a batch were received at one time.
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


@cache
def _values(names: tuple[str, ...]) -> str:
    return f"VALUES ({', '.join('?' * len(names))})"


# PostgreSQL

_OF_TRACE = ("tool", "calls", "failures", "mocked", "duration_ms")


def _traces_on_postgresql(
    connection: Connection, rows: Sequence[_Row], tools: Mapping[TraceKey, Sequence[_Row]]
) -> dict[TraceKey, int]:
    of_tools = [
        {"of_tenant": tenant_id, "of_trace": trace_id, **tool}
        for (tenant_id, trace_id), several in tools.items()
        for tool in several
    ]
    found = connection.exec_driver_sql(_both(tuple(rows[0])), (_document(rows), _document(of_tools)))
    return {(tenant_id, trace_id): row_id for tenant_id, trace_id, row_id in found}


@cache
def _both(names: tuple[str, ...]) -> str:
    given, tools = _given(execution_trace, names), _given(trace_tool, _OF_TRACE, "of_tenant bigint", "of_trace text")
    listed, of_trace = ", ".join(names), ", ".join(_OF_TRACE)
    return f"""
        WITH fresh AS (
            {_into(execution_trace, names)} SELECT {listed} FROM {given}
            ON CONFLICT DO NOTHING RETURNING row_id, tenant_id, trace_id, executed_at
        ), tools AS (
            INSERT INTO trace_tool (row_id, tenant_id, executed_at, {of_trace})
            SELECT row_id, tenant_id, executed_at, {of_trace}
            FROM fresh JOIN {tools} ON of_tenant = tenant_id AND of_trace = trace_id
        )
        SELECT tenant_id, trace_id, row_id FROM fresh
    """  # noqa: S608 - names of our columns


@cache
def _given(table: Table, names: tuple[str, ...], *more: str) -> str:
    """The document as rows."""
    columns = [f"{name} {table.c[name].type.compile(_POSTGRESQL)}" for name in names]
    return f"jsonb_to_recordset(%s::jsonb) AS given({', '.join([*more, *columns])})"


_POSTGRESQL = postgresql.dialect()


# Both


def _key(row: _Row) -> TraceKey:
    return row["tenant_id"], row["trace_id"]


@cache
def _into(table: Table, names: tuple[str, ...]) -> str:
    return f"INSERT INTO {table.name} ({', '.join(names)})"


@cache
def _changed(table: Table, left: str) -> str:
    """What becomes of a row that is there; `left` is the share of its fractions that is left."""
    keys, changes = [c.name for c in table.primary_key.columns], list[str]()
    for c in (c for c in table.c if c.name not in keys):
        there = f"{table.name}.{c.name}"
        if isinstance(c.type, Double):
            changes.append(f"{c.name} = {there} * {left} + excluded.{c.name}")
        elif isinstance(c.type, BigInteger):
            changes.append(f"{c.name} = {there} + excluded.{c.name}")
        elif c.name.endswith("_at"):
            changes.append(f"{c.name} = excluded.{c.name}")
    return f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {', '.join(changes)}"


# The document


def _document(rows: Sequence[_Row]) -> str:
    return orjson.dumps(rows, default=_as_it_is, option=orjson.OPT_PASSTHROUGH_SUBCLASS).decode()


def _as_it_is(value: object) -> orjson.Fragment:
    assert type(value) is Encoded
    return orjson.Fragment(value.encode())
