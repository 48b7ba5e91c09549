"""Traces in.

One transaction a batch, or for several batches that come at once (`_together`): then they share the commit, which waits
for the disk, and the statements. All of it is one INSERT that skips what is there; what it skipped is compared by
content hash with what is stored under its id: the same is a duplicate, anything else is rejected. So a client may send
a batch again and again and nothing is stored twice, also when two replicas receive it at once. Rows go in sorted by
trace id and tools by name, so that concurrent transactions meet in the same order and never deadlock.

Only if the one INSERT fails - the engine refuses a value that `_content` let through - each batch is done again by
itself, with a savepoint for each trace, and the traces at fault are rejected alone.

A parent may come after its children: a child names it by trace id, and is linked by the parent being there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal, NamedTuple, Protocol

from sqlalchemy import Connection, exc, select

from belljar.learning.estimates import UNKNOWN, priority_of, td_error
from belljar.server.store import _bulk, keys
from belljar.server.store._content import Content, Rejected, Written, content_of, written
from belljar.server.store._resolve import resolve
from belljar.server.store.engine import Database
from belljar.server.store.errors import StoreDenied, StoreRefused, StoreUnavailable
from belljar.server.store.keys import Principal
from belljar.server.store.schema import execution_trace, tool_stats
from belljar.tracing.types import Trace

__all__ = [
    "MAX_BATCH",
    "ItemResult",
    "KeyRevoked",
    "Learn",
    "Lesson",
    "Rejected",
    "Sent",
    "Status",
    "Written",
    "ingest",
    "written",
]

MAX_BATCH = 100
Status = Literal["stored", "duplicate", "rejected", "retry"]

_log = logging.getLogger(__name__)


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


class Sent(NamedTuple):
    """A trace that is about to be stored, as the learner sees it."""

    trace: Trace
    key_id: str


class Lesson(Protocol):
    """What the learner makes of them."""

    @property
    def predicted(self) -> Sequence[float]:
        """How likely each was to succeed, before its outcome was known: 0 to 1."""
        ...

    def learn(self, connection: Connection, stored: Sequence[bool]) -> None:
        """Learn from those that were stored; the others were there before."""
        ...


Learn = Callable[[Connection, int, Sequence[Sent]], Lesson]
"""(connection, tenant id, traces sorted by trace id) -> what they teach; in the transaction that stores them."""


@dataclass(slots=True)
class _Batch:
    """What is known of a batch while it is stored."""

    principal: Principal
    now: datetime
    learn: Learn | None
    contents: list[Content]
    """One for each id."""
    ask: bool = False
    """Whether its key still is good."""
    denied: bool = False
    """It is not."""
    predicted: dict[str, float] = field(default_factory=dict[str, float])
    """How likely each was to succeed, as far as the learner says so."""
    new: dict[str, Content] = field(default_factory=dict[str, Content])
    hashes: dict[str, str] = field(default_factory=dict[str, str])
    """Content hash of what is stored under each id, after the batch."""
    refused: dict[str, Rejected] = field(default_factory=dict[str, Rejected])
    failure: Exception | None = None
    """Why it could not be stored, alone."""

    @property
    def tenant_id(self) -> int:
        return self.principal.tenant_id

    def forget(self) -> None:
        """What was done was taken back."""
        self.predicted, self.new, self.hashes, self.refused = {}, {}, {}, {}


class KeyRevoked(StoreDenied):
    """The key with which the traces came is no key any more."""

    default_reason = "KEY_REVOKED"


def ingest(
    db: Database,
    principal: Principal,
    traces: Sequence[Trace | Written],
    *,
    now: datetime,
    learn: Learn | None = None,
    ask: bool = False,
) -> list[ItemResult]:
    """Store a batch; one result per trace, in their order. Committed when it returns.

    With `ask`, the same transaction asks whether the principal's key still is good.

    Raises:
        KeyRevoked: it is not; nothing was stored.
        StoreUnavailable: nothing was stored; the whole batch may be sent again.
        StoreRefused: more than MAX_BATCH traces (`TOO_LARGE`).
    """
    if len(traces) > MAX_BATCH:
        raise StoreRefused(f"more than {MAX_BATCH} traces in a batch", reason="TOO_LARGE")
    contents = [_checked(trace, now) for trace in traces]
    # Of an id that comes twice the first is stored; the others are then compared with what is stored.
    firsts = {c.trace.trace_id: c for c in reversed(contents) if isinstance(c, Content)}
    batch = _Batch(principal, now, learn, list(firsts.values()), ask)
    if firsts or ask:
        db.together(batch, lambda batches: _store(db, batches), size=len(firsts))
    if batch.denied:
        raise KeyRevoked("the key was revoked")
    if batch.failure is not None:
        raise batch.failure
    seen = set[str]()
    ids = [trace.trace_id if isinstance(trace, Trace) else trace.trace.trace_id for trace in traces]
    return [_result(trace_id, content, batch, seen) for trace_id, content in zip(ids, contents, strict=True)]


def _checked(trace: Trace | Written, now: datetime) -> Content | Rejected:
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


def _store(db: Database, batches: list[_Batch]) -> None:
    try:
        _attempt(db, batches, _all_at_once)
    except StoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - somebody of the group is at fault; each is then heard alone
        kind = type(error.orig if isinstance(error, exc.DBAPIError) else error).__name__
        _log.warning("%d batches failed as a whole (%s) and are stored one by one", len(batches), kind)
        for batch in batches:
            _alone(db, batch)


def _alone(db: Database, batch: _Batch) -> None:
    """Trace by trace, in a transaction of its own: what is wrong with one client's batch is no other's failure."""
    batch.forget()
    try:
        _attempt(db, [batch], _one_by_one)
    except StoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - raised again by whoever sent it
        batch.forget()
        batch.failure = error


def _attempt(db: Database, batches: list[_Batch], store: Callable[[Connection, list[_Batch]], None]) -> None:
    with db.write() as connection:
        batches = _admitted(connection, batches)
        lessons = _lessons(connection, batches)
        store(connection, batches)
        _count_tools(connection, batches)
        for sent, lesson in lessons:
            lesson.learn(connection, [content.trace.trace_id in batch.new for batch, content in sent])


def _admitted(connection: Connection, batches: list[_Batch]) -> list[_Batch]:
    """Without those whose key was revoked meanwhile."""
    asked = {batch.principal.key_id for batch in batches if batch.ask}
    now = max(batch.now for batch in batches)
    good = keys.still_good(connection, asked, now=now) if asked else asked
    for batch in batches:
        batch.denied = batch.ask and batch.principal.key_id not in good
    return [batch for batch in batches if not batch.denied and batch.contents]


def _all_at_once(connection: Connection, batches: list[_Batch]) -> None:
    # Of an id that two batches of a tenant have, too, the first is stored.
    firsts = _firsts(batches)
    tools = {key: content.tools for key, (_, content) in firsts.items()}
    stored = _bulk.insert_traces(connection, _rows(connection, firsts), tools)
    for key in sorted(stored):
        batch, content = firsts[key]
        batch.new[key[1]] = content
    _note_hashes(connection, batches, {key: firsts[key][1].hash for key in stored})


def _firsts(batches: list[_Batch]) -> dict[_bulk.TraceKey, tuple[_Batch, Content]]:
    return {(b.tenant_id, c.trace.trace_id): (b, c) for b in reversed(batches) for c in b.contents}


def _rows(connection: Connection, contents: dict[_bulk.TraceKey, tuple[_Batch, Content]]) -> list[dict[str, Any]]:
    """Sorted by tenant and trace id."""
    found = dict[_bulk.TraceKey, str | None]()
    for tenant_id, group in groupby(sorted(contents), key=itemgetter(0)):
        listed = list(group)
        ids = resolve(connection, tenant_id, [contents[key][1].trace for key in listed])
        found.update(zip(listed, ids, strict=True))
    return [_row(*contents[key], capability_id) for key, capability_id in found.items()]


def _note_hashes(connection: Connection, batches: list[_Batch], known: dict[_bulk.TraceKey, str]) -> None:
    """What is stored now under the ids of each batch."""
    for batch in batches:
        ids = [content.trace.trace_id for content in batch.contents]
        there = [trace_id for trace_id in ids if (batch.tenant_id, trace_id) not in known]
        batch.hashes |= {i: known[batch.tenant_id, i] for i in ids if (batch.tenant_id, i) in known}
        batch.hashes |= _hashes(connection, batch.tenant_id, there) if there else {}


def _one_by_one(connection: Connection, batches: list[_Batch]) -> None:
    for owner, content in [(batch, content) for batch in batches for content in batch.contents]:
        alone = replace(owner, contents=[content])
        try:
            with connection.begin_nested():
                _all_at_once(connection, [alone])
        except exc.OperationalError:
            raise
        except exc.DBAPIError as error:
            _log.warning("a trace cannot be stored: %s", type(error.orig).__name__)
            owner.refused[content.trace.trace_id] = Rejected("UNSTORABLE", "the database refuses a value of this trace")


def _hashes(connection: Connection, tenant_id: int, trace_ids: list[str]) -> dict[str, str]:
    row = execution_trace.c
    statement = select(row.trace_id, row.content_hash).where(row.tenant_id == tenant_id, row.trace_id.in_(trace_ids))
    return {found.trace_id: found.content_hash for found in connection.execute(statement)}


# What they teach


def _lessons(connection: Connection, batches: list[_Batch]) -> list[tuple[list[tuple[_Batch, Content]], Lesson]]:
    """One for each tenant, from all its batches and in the order of trace ids: so replicas meet in the same order.

    What is foreseen goes into the rows, so it is asked for before they are written; what they teach, after.
    """
    found = sorted((item for item in _firsts(batches).items() if item[1][0].learn), key=itemgetter(0))
    lessons = list[tuple[list[tuple[_Batch, Content]], Lesson]]()
    for tenant_id, group in groupby(found, key=lambda item: item[0][0]):
        several = [each for _, each in group]
        learn = several[0][0].learn
        assert learn is not None
        lesson = learn(connection, tenant_id, [Sent(c.trace, batch.principal.key_id) for batch, c in several])
        for (batch, content), chance in zip(several, lesson.predicted, strict=True):
            batch.predicted[content.trace.trace_id] = chance
        lessons.append((several, lesson))
    return lessons


# Rows


def _row(batch: _Batch, content: Content, capability_id: str | None) -> dict[str, Any]:
    return {
        "tenant_id": batch.tenant_id,
        **content.columns,
        "capability_id": capability_id,
        "user_id": batch.principal.key_id,
        **_estimated(content.trace.success, batch.predicted.get(content.trace.trace_id, UNKNOWN)),
        "executed_at": content.executed_at,
        "received_at": batch.now,
        "size_bytes": content.size,
        "content_hash": content.hash,
        **content.pieces,
    }


def _estimated(success: bool, predicted: float) -> dict[str, float]:
    """How much of a surprise the outcome was, and how much there is to learn from it."""
    predicted = min(1.0, max(0.0, predicted))
    error = td_error(success, predicted)
    return {"predicted": predicted, "td_error": error, "priority": priority_of(error)}


def _count_tools(connection: Connection, batches: list[_Batch]) -> None:
    """Add what is new to what is known of each tool: once per tool, in the order of their names."""
    total = dict[tuple[int, str], dict[str, Any]]()
    for batch in batches:
        for tool in (tool for content in batch.new.values() for tool in content.tools):
            one = {"tenant_id": batch.tenant_id, "tool": tool["tool"], "last_at": batch.now}
            sums = total.setdefault((batch.tenant_id, tool["tool"]), one | dict.fromkeys(_FIGURES, 0))
            for name in _FIGURES:
                sums[name] += tool[name]
    _bulk.insert_or_add(connection, tool_stats, [total[key] for key in sorted(total)])


_FIGURES = ("calls", "failures", "mocked", "duration_ms")
