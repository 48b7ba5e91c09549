"""What happens to traces later: retention, anonymizing, export.

All three work through the table in pages and hold no transaction between them, so that a server goes on taking traces
meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, delete, func, literal, or_, select, update

from belljar.server.store._views import DETAIL, TraceDetail, detail_of
from belljar.server.store.engine import Database
from belljar.server.store.errors import StoreRefused
from belljar.server.store.queries import TraceFilter, conditions, is_trace_id
from belljar.server.store.schema import execution_trace, trace_tool

__all__ = ["Pruned", "anonymize", "anonymous", "export", "prune"]

_PAGE = 200
# A chain of runs is at most 8 long; what claims to be longer is looked at no further.
_MAX_DEPTH = 64
_TRACE = execution_trace.c

# Retention


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many old traces were looked at, and what became of them."""

    looked_at: int = 0
    removed: int = 0
    kept_priority: int = 0
    kept_parents: int = 0

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(
            self.looked_at + other.looked_at,
            self.removed + other.removed,
            self.kept_priority + other.kept_priority,
            self.kept_parents + other.kept_parents,
        )


def prune(
    db: Database, *, received_before: datetime, keep_above: float = 0.5, tenant_id: int | None = None, batch: int = 500
) -> Pruned:
    """Remove old traces, but none with a priority above `keep_above`, and none above one that stays.

    Age is when *we* received it: a client's clock decides nothing. 0.5 is the priority of a run of which nothing had
    been known; what is above it surprised the learner. What is known of each tool (`tool_stats`) stays.
    """
    total, last = Pruned(), 0
    while True:
        page, last = _prune_page(db, last, received_before, keep_above, tenant_id, batch)
        total += page
        if page.looked_at == 0:
            return total


def _prune_page(
    db: Database, after: int, before: datetime, keep_above: float, tenant_id: int | None, batch: int
) -> tuple[Pruned, int]:
    # Row ids grow with arrival (two replicas' by a little out of turn), so the old ones are at the front, and a page
    # without any is where the work ends. Nothing needs an index that every arriving trace would pay for.
    some = select(_TRACE.row_id, _TRACE.priority, _TRACE.received_at).where(_TRACE.row_id > after)
    some = some.where(_TRACE.tenant_id == tenant_id) if tenant_id is not None else some
    with db.write() as connection:
        rows = connection.execute(some.order_by(_TRACE.row_id).limit(batch)).all()
        old = [row for row in rows if row.received_at < before]
        low = [row.row_id for row in old if row.priority <= keep_above]
        parents = _above_kept(connection, low, before, keep_above) if low else set[int]()
        going = [row_id for row_id in low if row_id not in parents]
        if going:
            connection.execute(delete(trace_tool).where(trace_tool.c.row_id.in_(going)))
            connection.execute(delete(execution_trace).where(_TRACE.row_id.in_(going)))
    page = Pruned(len(old), len(going), len(old) - len(low), len(parents))
    return page, (rows[-1].row_id if rows else after)


def _above_kept(connection: Connection, row_ids: list[int], before: datetime, keep_above: float) -> set[int]:
    """Those that have, at any depth, a run below them that stays."""
    below = (
        select(_TRACE.row_id.label("top"), _TRACE.tenant_id, _TRACE.trace_id, literal(0).label("depth"))
        .where(_TRACE.row_id.in_(row_ids))
        .cte("below", recursive=True)
    )
    child = execution_trace.alias("child")
    under = and_(child.c.tenant_id == below.c.tenant_id, child.c.parent_trace_id == below.c.trace_id)
    further = select(below.c.top, child.c.tenant_id, child.c.trace_id, below.c.depth + 1).where(
        under, below.c.depth < _MAX_DEPTH
    )
    # UNION, not UNION ALL: traces that claim to be each other's parents end at the depth, not never.
    below = below.union(further)
    stays = or_(_TRACE.received_at >= before, _TRACE.priority > keep_above)
    kept = (
        select(below.c.top)
        .join(execution_trace, and_(_TRACE.tenant_id == below.c.tenant_id, _TRACE.trace_id == below.c.trace_id))
        .where(below.c.depth > 0, stays)
    )
    return set(connection.scalars(kept.distinct()))


# Anonymizing


def anonymize(db: Database, tenant_id: int, trace_ids: Sequence[str], *, now: datetime) -> int:
    """Take everything out of traces that could say who or what; how many were found.

    Their shape, outcome and times stay, so that statistics and learning lose nothing. The content hash stays too: the
    same trace sent again is a duplicate, and does not come back.
    """
    changed = 0
    for start in range(0, len(trace_ids), _PAGE):
        some = [trace_id for trace_id in trace_ids[start : start + _PAGE] if is_trace_id(trace_id)]
        with db.write() as connection:
            rows = connection.execute(
                select(*DETAIL).where(_TRACE.tenant_id == tenant_id, _TRACE.trace_id.in_(some)).with_for_update()
            ).all()
            for row in rows:
                values = _anonymous_columns(detail_of(row)) | {"anonymized_at": row.anonymized_at or now}
                connection.execute(update(execution_trace).where(_TRACE.row_id == row.row_id).values(values))
        changed += len(rows)
    return changed


_CALL = (
    "taskId", "tool", "success", "state", "durationMs", "timestamp", "layerIndex", "callSite", "iteration", "source",
    "isWrite", "isCapabilityCall", "errorCode",
)  # fmt: skip
_METADATA = ("backend", "walls", "sdkVersion", "redactions", "mockedShare", "decisions", "errorLine")


def _anonymous_columns(trace: TraceDetail) -> dict[str, Any]:
    calls = [{"args": None, "result": None, **_only(call, _CALL)} for call in trace.task_results]
    return {
        "user_id": None,
        "workflow_id": None,
        "intent": None,
        "error_message": None,
        "task_results": calls,
        "decisions": [_only(decision, ("nodeId", "outcome")) for decision in trace.decisions],
        "metadata": _only(trace.metadata, _METADATA),
    }


def anonymous(trace: TraceDetail) -> dict[str, Any]:
    """The trace's JSON as it would be after `anonymize`, which leaves the store alone."""
    wire, columns = trace.to_wire(), _anonymous_columns(trace)
    for key in ("userId", "workflowId", "intent", "errorMessage"):
        wire.pop(key, None)
    return wire | {
        "taskResults": columns["task_results"],
        "decisions": columns["decisions"],
        "metadata": columns["metadata"],
    }


def _only(value: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value[key] for key in keys if key in value}


# Export


def export(
    db: Database, tenant_id: int, where: TraceFilter | None = None, *, anonymized: bool = False
) -> Iterator[str]:
    """One line of JSON, with its line feed, per trace, first received first; what is there when it begins.

    Raises:
        StoreRefused: `BAD_FILTER`, before the first line.
    """
    where = where or TraceFilter()
    if where.tool is not None:
        raise StoreRefused("an export cannot be filtered by tool", reason="BAD_FILTER")
    chosen = conditions(tenant_id, where)
    return _lines(db, tenant_id, chosen, anonymized)


def _lines(db: Database, tenant_id: int, chosen: list[Any], anonymized: bool) -> Iterator[str]:
    last, page = 0, select(*DETAIL).where(*chosen).order_by(_TRACE.row_id).limit(_PAGE)
    with db.read() as connection:
        end = connection.scalar(select(func.max(_TRACE.row_id))) or 0
    while True:
        with db.read() as connection:
            rows = connection.execute(page.where(_TRACE.row_id > last, _TRACE.row_id <= end)).all()
        for row in rows:
            trace = detail_of(row)
            yield json.dumps(anonymous(trace) if anonymized else trace.to_wire(), ensure_ascii=False) + "\n"
        if len(rows) < _PAGE:
            return
        last = rows[-1].row_id
