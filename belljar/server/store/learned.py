"""What the outcomes of runs taught, kept in the database: counts that every batch adds to, and reads before it does.

A run consists of things: the tools of its path, the path's beginnings, each tool after the one before it, the
capability. For every thing, and every key that sent runs with it, a row holds decayed counts (what estimates are made
of) and whole ones (what people are told). A batch reads the rows of its things in one statement, foresees each of its
runs in the order of their ids - each with what those before it taught - and adds what it saw in one more. So N replicas
on one database add up: the whole counts are exact, and an estimate misses at most what is being added at that moment.

Runs in which anything but the real world answered have rows of their own, and move none of the real ones. A run that
ended because somebody had to be asked, or stopped it, says nothing of anything, and moves none.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import compress
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from belljar.learning.estimates import DECAY, MAX_PATH, NOTHING, Evidence, estimate, foreseen
from belljar.learning.things import Shape, Thing, shape
from belljar.server.store import _bulk
from belljar.server.store._content import MAX_TOOL_CHARS, NO_WORD
from belljar.server.store._names import name_of
from belljar.server.store.ingest import Lesson, Sent
from belljar.server.store.room import Room
from belljar.server.store.schema import learned

__all__ = ["Known", "known", "learn", "successors"]

_KINDS = ("tool", "pair", "path", "capability")
# A statement takes 32,766 values on SQLite.
_AT_ONCE = 5000


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a thing."""

    thing: Thing
    by_key: tuple[Evidence, ...]
    n: int
    n_failed: int

    @property
    def chance(self) -> float:
        """Estimated success, in (0, 1)."""
        return estimate(self.by_key)


def learn(
    connection: Connection, tenant_id: int, sent: Sequence[Sent], *, now: datetime, room: Room | None = None
) -> Lesson:
    """What is foreseen of these, and what they teach once they are stored; in the transaction that stores them.

    Args:
        room: for things that nobody saw before; None: there is always some.
    """
    runs = [_Run.of(each) for each in sent]
    memory, fresh = _recalled(connection, tenant_id, runs), set[_Place]()
    return _Lesson(tenant_id, now, runs, [_foreseen_then_seen(memory, run, fresh) for run in runs], fresh, room)


def known(connection: Connection, tenant_id: int, things: Iterable[Thing]) -> dict[Thing, Known]:
    """What real runs taught of these things; without those of which nothing is known."""
    rows = list[Any]()
    for some in _chunks(sorted({thing.subject for thing in things})):
        rows += connection.execute(_EVERYTHING.where(_ROW.tenant_id == tenant_id, ~_ROW.mocked, _ROW.subject.in_(some)))
    wanted = {thing[:2] for thing in things}
    return _summed(row for row in rows if (row.kind, row.subject) in wanted)


def successors(connection: Connection, tenant_id: int, kind: str, parent: str) -> list[Known]:
    """What came next in real runs, after a beginning (`path`) or after a tool (`pair`); and every `capability`."""
    where = [_ROW.tenant_id == tenant_id, _ROW.kind == kind, ~_ROW.mocked]
    if kind != "capability":
        where.append(_ROW.parent == parent)
    rows = connection.execute(_EVERYTHING.where(*where).order_by(_ROW.n.desc()).limit(_AT_ONCE))
    return list(_summed(rows).values())


# A run


class _Run(NamedTuple):
    key_id: str
    success: bool
    mocked: bool
    says: bool
    """Whether its end says anything: not if somebody had to be asked, or stopped it."""
    shape: Shape

    @classmethod
    def of(cls, sent: Sent) -> _Run:
        trace = sent.trace
        path = tuple([task.tool[:MAX_TOOL_CHARS] for task in trace.task_results[:MAX_PATH]])
        mocked = any(task.source != "real" for task in trace.task_results)
        says = trace.error_code not in NO_WORD
        return cls(sent.key_id, trace.success, mocked, says, shape(name_of(trace.capability_id), path))


# What is remembered while a batch is learned from

_Memory = dict[bool, dict[Thing, dict[str, Evidence]]]
"""Evidence by whether it was mocked, by thing, by key."""


_Place = tuple[bool, str, Thing]
"""What a row is for: whether it is of mocked runs, whose key, which thing."""


def _foreseen_then_seen(memory: _Memory, run: _Run, fresh: set[_Place]) -> float:
    """What was foreseen of the run; the next one is foreseen with what this one taught. `fresh` get what has no row."""
    known = memory[run.mocked]
    mine = {thing: known[thing] for thing in run.shape.things}
    steps = [(mine[beginning].values(), mine[tool].values()) for beginning, tool in run.shape.steps]
    chance = foreseen(steps, mine[run.shape.capability].values())
    for thing, by_key in mine.items() if run.says else ():
        before = by_key.get(run.key_id)
        if before is None:
            before = NOTHING
            fresh.add((run.mocked, run.key_id, thing))
        by_key[run.key_id] = before.then(run.success)
    return chance


@dataclass(frozen=True, slots=True)
class _Lesson:
    """See `ingest.Lesson`."""

    tenant_id: int
    now: datetime
    runs: Sequence[_Run]
    predicted: Sequence[float]
    fresh: set[_Place]
    room: Room | None

    def learn(self, connection: Connection, stored: Sequence[bool]) -> None:
        seen = defaultdict[tuple[bool, str], dict[Thing, list[bool]]](lambda: defaultdict(list))
        for run in (run for run in compress(self.runs, stored) if run.says):
            outcomes = seen[run.mocked, run.key_id]
            for thing in run.shape.things:
                outcomes[thing].append(run.success)
        refused = self._refused(connection, [(*whose, thing) for whose, things in seen.items() for thing in things])
        rows = [
            self._row(thing, *whose, each)
            for whose, things in seen.items()
            for thing, each in things.items()
            if (*whose, thing) not in refused
        ]
        # In the order of their keys: concurrent batches meet in it and never deadlock.
        rows.sort(key=itemgetter("kind", "subject", "mocked", "key_id"))
        _bulk.insert_or_decay(connection, learned, rows, DECAY)

    def _refused(self, connection: Connection, places: Sequence[_Place]) -> set[_Place]:
        """Of these, those without a row for which there is no room."""
        if self.room is None or not self.fresh:
            return set()
        fresh = [place for place in places if place in self.fresh]
        admitted = self.room.admit(connection, self.tenant_id, [place[2].kind for place in fresh], now=self.now)
        return {place for place, made in zip(fresh, admitted, strict=True) if not made}

    def _row(self, thing: Thing, mocked: bool, key_id: str, outcomes: Sequence[bool]) -> dict[str, Any]:
        evidence = NOTHING
        for outcome in outcomes:
            evidence = evidence.then(outcome)
        return {
            "tenant_id": self.tenant_id,
            **thing._asdict(),
            "mocked": mocked,
            "key_id": key_id,
            "successes": evidence.successes,
            "failures": evidence.failures,
            "n": len(outcomes),
            "n_failed": outcomes.count(False),
            "last_at": self.now,
        }


# Rows

_ROW = learned.c
_EVERYTHING = select(
    _ROW.kind,
    _ROW.subject,
    _ROW.parent,
    _ROW.tool,
    _ROW.mocked,
    _ROW.key_id,
    _ROW.successes,
    _ROW.failures,
    _ROW.n,
    _ROW.n_failed,
)


_SEEN = "SELECT kind, subject, mocked, key_id, successes, failures"
# By the driver alone: SQLAlchemy would build it anew for each number of things.
_RECALL = {
    "sqlite": f"{_SEEN} FROM json_each(?) AS one CROSS JOIN learned ON tenant_id = ? AND kind = one.value ->> 0"
    " AND subject = one.value ->> 1",
    "postgresql": f"{_SEEN} FROM jsonb_array_elements(%s::jsonb) AS one JOIN learned ON tenant_id = %s"
    " AND kind = one ->> 0 AND subject = one ->> 1",
}


def _recalled(connection: Connection, tenant_id: int, runs: Sequence[_Run]) -> _Memory:
    things = {thing[:2]: thing for each in {run.shape for run in runs} for thing in each.things}
    found: _Memory = {mocked: defaultdict(dict) for mocked in (False, True)}
    asked = (json.dumps(list(things)), tenant_id)
    for kind, subject, mocked, key_id, *counts in connection.exec_driver_sql(_RECALL[connection.dialect.name], asked):
        found[bool(mocked)][things[kind, subject]][key_id] = Evidence(*counts)
    return found


def _summed(rows: Iterable[Any]) -> dict[Thing, Known]:
    grouped = defaultdict[Thing, list[Any]](list)
    for row in rows:
        grouped[_thing(row)].append(row)
    return {thing: _known(thing, some) for thing, some in grouped.items()}


def _known(thing: Thing, rows: Sequence[Any]) -> Known:
    evidence = tuple(Evidence(row.successes, row.failures) for row in rows)
    return Known(thing, evidence, sum(row.n for row in rows), sum(row.n_failed for row in rows))


def _thing(row: Any) -> Thing:
    return Thing(row.kind, row.subject, row.parent, row.tool)


def _chunks(texts: Sequence[str]) -> Iterable[Sequence[str]]:
    return (texts[start : start + _AT_ONCE] for start in range(0, len(texts), _AT_ONCE))
