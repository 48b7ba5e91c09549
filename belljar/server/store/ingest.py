"""Traces in.

One transaction a batch. The whole batch is one INSERT that skips what is there; what it skipped is compared by content
hash with what is stored under its id: the same is a duplicate, anything else is rejected. So a client may send a batch
again and again and nothing is stored twice, also when two replicas receive it at once. Rows go in sorted by trace id
and tools by name, so that concurrent batches meet in the same order and never deadlock.

Only if the one INSERT fails - the engine refuses a value that `_content` let through - the batch is done again with a
savepoint for each trace, and the traces at fault are rejected alone.

A parent may come after its children: a child names it by trace id, and is linked by the parent being there.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, exc, select, update

from belljar.server.store import _bulk
from belljar.server.store._content import MAX_TOOL_CHARS, Content, Rejected, content_of
from belljar.server.store._resolve import resolve
from belljar.server.store.engine import Database
from belljar.server.store.errors import StoreRefused
from belljar.server.store.keys import Principal
from belljar.server.store.schema import execution_trace, tool_stats, trace_tool
from belljar.tracing.types import Trace

__all__ = ["MAX_BATCH", "Estimate", "ItemResult", "Learn", "NewTrace", "Status", "ingest"]

MAX_BATCH = 100
Status = Literal["stored", "duplicate", "rejected", "retry"]

_log = logging.getLogger(__name__)

_UNKNOWN = 0.5
"""What is predicted of a run of which nothing is known."""
_LEAST_PRIORITY = 0.01


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one trace of the batch.

    Codes: `CONTENT_MISMATCH`, `VALIDATION_ERROR`, `TOO_LARGE`, `UNSTORABLE` (rejected), `STORE_BUSY` (retry).
    """

    trace_id: str
    status: Status
    code: str | None = None
    message: str | None = None

    def to_wire(self) -> dict[str, Any]:
        """{traceId, status, code?, message?}."""
        wire = {"traceId": self.trace_id, "status": self.status, "code": self.code, "message": self.message}
        return {key: value for key, value in wire.items() if value is not None}


@dataclass(frozen=True, slots=True)
class NewTrace:
    """A trace this batch stored, as the learner sees it."""

    row_id: int
    trace: Trace
    key_id: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the learner had predicted for it: 0 to 1."""

    row_id: int
    predicted: float


Learn = Callable[[Connection, int, list[NewTrace]], list[Estimate]]
"""(connection, tenant id, new traces sorted by trace id) -> estimates; in the same transaction."""


@dataclass(slots=True)
class _Batch:
    """What is known of the batch while it is stored."""

    principal: Principal
    now: datetime
    new: dict[str, tuple[int, Content]] = field(default_factory=dict[str, tuple[int, Content]])
    hashes: dict[str, str] = field(default_factory=dict[str, str])
    """Content hash of what is stored under each id, after the batch."""
    tools: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Rows of `trace_tool` of the new ones."""
    refused: dict[str, Rejected] = field(default_factory=dict[str, Rejected])


def ingest(
    db: Database, principal: Principal, traces: Sequence[Trace], *, now: datetime, learn: Learn | None = None
) -> list[ItemResult]:
    """Store a batch; one result per trace, in their order. Committed when it returns.

    Raises:
        StoreUnavailable: nothing was stored; the whole batch may be sent again.
        StoreRefused: more than MAX_BATCH traces (`TOO_LARGE`).
    """
    if len(traces) > MAX_BATCH:
        raise StoreRefused(f"more than {MAX_BATCH} traces in a batch", reason="TOO_LARGE")
    contents = [_checked(trace, now) for trace in traces]
    # Of an id that comes twice the first is stored; the others are then compared with what is stored.
    firsts = {c.trace.trace_id: c for c in reversed(contents) if isinstance(c, Content)}
    batch = _stored(db, principal, [firsts[trace_id] for trace_id in sorted(firsts)], now, learn)
    seen = set[str]()
    return [_result(trace.trace_id, content, batch, seen) for trace, content in zip(traces, contents, strict=True)]


def _checked(trace: Trace, now: datetime) -> Content | Rejected:
    try:
        return content_of(trace, now)
    except Rejected as rejected:
        return rejected


def _result(trace_id: str, content: Content | Rejected, batch: _Batch, seen: set[str]) -> ItemResult:
    refused = content if isinstance(content, Rejected) else batch.refused.get(trace_id)
    if refused is not None:
        return ItemResult(trace_id, "rejected", refused.code, str(refused))
    assert isinstance(content, Content)
    first, stored = trace_id not in seen, batch.hashes.get(trace_id)
    seen.add(trace_id)
    if stored is None:
        return ItemResult(trace_id, "retry", "STORE_BUSY", "the trace under this id is being removed; send it again")
    if stored != content.hash:
        return ItemResult(trace_id, "rejected", "CONTENT_MISMATCH", "this id is stored with other content")
    return ItemResult(trace_id, "stored" if first and trace_id in batch.new else "duplicate")


def _stored(db: Database, principal: Principal, contents: list[Content], now: datetime, learn: Learn | None) -> _Batch:
    if not contents:
        return _Batch(principal, now)
    try:
        return _attempt(db, _Batch(principal, now), contents, learn, _all_at_once)
    except exc.DBAPIError as error:
        _log.warning("a batch failed as a whole (%s) and is stored trace by trace", type(error.orig).__name__)
        return _attempt(db, _Batch(principal, now), contents, learn, _one_by_one)


def _attempt(
    db: Database, batch: _Batch, contents: list[Content], learn: Learn | None, store: Callable[..., None]
) -> _Batch:
    with db.write() as connection:
        store(connection, batch, contents)
        _count_tools(connection, batch)
        if learn is not None and batch.new:
            _learn(connection, batch, learn)
    return batch


def _all_at_once(connection: Connection, batch: _Batch, contents: list[Content]) -> None:
    tenant_id = batch.principal.tenant_id
    capabilities = resolve(connection, tenant_id, (content.trace for content in contents))
    rows = [_row(batch, content, found) for content, found in zip(contents, capabilities, strict=True)]
    row_ids = {row.trace_id: row.row_id for row in _bulk.insert_new(connection, execution_trace, rows)}
    new = {c.trace.trace_id: (row_ids[c.trace.trace_id], c) for c in contents if c.trace.trace_id in row_ids}
    tools = [row for row_id, content in new.values() for row in _tools(tenant_id, row_id, content)]
    _bulk.insert(connection, trace_tool, tools)
    there = [content.trace.trace_id for content in contents if content.trace.trace_id not in new]
    batch.hashes |= {trace_id: content.hash for trace_id, (_, content) in new.items()}
    batch.hashes |= _hashes(connection, tenant_id, there) if there else {}
    batch.new |= new
    batch.tools += tools


def _one_by_one(connection: Connection, batch: _Batch, contents: list[Content]) -> None:
    for content in contents:
        try:
            with connection.begin_nested():
                _all_at_once(connection, batch, [content])
        except exc.OperationalError:
            raise
        except exc.DBAPIError as error:
            _log.warning("a trace cannot be stored: %s", type(error.orig).__name__)
            batch.refused[content.trace.trace_id] = Rejected("UNSTORABLE", "the database refuses a value of this trace")


def _hashes(connection: Connection, tenant_id: int, trace_ids: list[str]) -> dict[str, str]:
    row = execution_trace.c
    statement = select(row.trace_id, row.content_hash).where(row.tenant_id == tenant_id, row.trace_id.in_(trace_ids))
    return {found.trace_id: found.content_hash for found in connection.execute(statement)}


# Rows


def _row(batch: _Batch, content: Content, capability_id: str | None) -> dict[str, Any]:
    return {
        "tenant_id": batch.principal.tenant_id,
        **content.columns,
        "capability_id": capability_id,
        "user_id": batch.principal.key_id,
        **_estimated(content.trace.success, _UNKNOWN),
        "executed_at": content.executed_at,
        "received_at": batch.now,
        "size_bytes": content.size,
        "content_hash": content.hash,
        **content.pieces,
    }


def _estimated(success: bool, predicted: float) -> dict[str, float]:
    """How much of a surprise the outcome was, and how much there is to learn from it."""
    td_error = float(success) - predicted
    return {
        "predicted": predicted,
        "td_error": td_error,
        "priority": min(1.0, max(_LEAST_PRIORITY, abs(td_error))),
    }


def _tools(tenant_id: int, row_id: int, content: Content) -> list[dict[str, Any]]:
    """The tools a trace called; mocked calls are counted apart and never among the others."""
    counted = defaultdict[str, dict[str, Any]](lambda: {"calls": 0, "failures": 0, "mocked": 0, "duration_ms": 0.0})
    for call in content.trace.task_results:
        tool = counted[call.tool[:MAX_TOOL_CHARS]]
        real = call.source == "real"
        tool["calls"] += real
        tool["failures"] += real and not call.success
        tool["mocked"] += not real
        tool["duration_ms"] += call.duration_ms if real else 0.0
    head = {"row_id": row_id, "tenant_id": tenant_id, "executed_at": content.executed_at}
    return [head | {"tool": name} | figures for name, figures in counted.items()]


def _count_tools(connection: Connection, batch: _Batch) -> None:
    """Add the batch to what is known of each tool: once per tool, in the order of their names."""
    total = dict[str, dict[str, Any]]()
    for row in batch.tools:
        one = {"tenant_id": row["tenant_id"], "tool": row["tool"], "last_at": batch.now}
        sums = total.setdefault(row["tool"], one | dict.fromkeys(_FIGURES, 0))
        for name in _FIGURES:
            sums[name] += row[name]
    _bulk.insert_or_add(connection, tool_stats, [total[name] for name in sorted(total)])


_FIGURES = ("calls", "failures", "mocked", "duration_ms")


def _learn(connection: Connection, batch: _Batch, learn: Learn) -> None:
    new = [NewTrace(row_id, content.trace, batch.principal.key_id) for row_id, content in batch.new.values()]
    outcomes = {row_id: content.trace.success for row_id, content in batch.new.values()}
    estimates = learn(connection, batch.principal.tenant_id, new)
    rows = [{"of": e.row_id, **_estimated(outcomes[e.row_id], min(1.0, max(0.0, e.predicted)))} for e in estimates]
    if rows:
        names = ("predicted", "td_error", "priority")
        changes: dict[str, Any] = {name: bindparam(name) for name in names}
        statement = update(execution_trace).where(execution_trace.c.row_id == bindparam("of")).values(changes)
        connection.execute(statement, rows)
