"""What the outcomes of runs taught, kept in the database: counts that every batch adds to, and reads before it does.

A run consists of things: the tools of its path, the path's beginnings, each tool after the one before it, the
capability. For every thing, and every key that sent runs with it, a row holds decayed counts (what estimates are made
of) and whole ones (what people are told). A batch reads the rows of its things in one statement, foresees each of its
runs in the order of their ids - each with what those before it taught - and adds what it saw in one more. So N replicas
on one database add up: the whole counts are exact, and an estimate misses at most what is being added at that moment.

Runs in which anything but the real world answered have rows of their own, and move none of the real ones.

The beginning of a path is known by a hash, because eight tools may have long names; its parent's hash makes them a tree
that can be walked down, from the calls that were made to those that came next.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from belljar.learning.estimates import DECAY, Evidence, estimate, foreseen, prefixes
from belljar.server.store import _bulk
from belljar.server.store._content import MAX_TOOL_CHARS
from belljar.server.store._names import name_of
from belljar.server.store.ingest import Estimate, NewTrace
from belljar.server.store.schema import learned

__all__ = ["Known", "Thing", "known", "learn", "path_id", "successors"]

_KINDS = ("tool", "pair", "path", "capability")
# A statement takes 32,766 values on SQLite.
_AT_ONCE = 5000


class Thing(NamedTuple):
    """Something a run consists of."""

    kind: str
    subject: str
    parent: str | None = None
    tool: str | None = None


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


def path_id(path: Iterable[str]) -> str:
    """What a beginning of a path is known by; the empty one too."""
    return hashlib.sha256("\0".join(path).encode(errors="replace")).hexdigest()[:32]


def learn(connection: Connection, tenant_id: int, new: list[NewTrace], *, now: datetime) -> list[Estimate]:
    """What had been foreseen of each of these, which are then learned from; in the transaction that stores them."""
    runs = [_Run.of(each) for each in new]
    things = {thing for run in runs for thing in run.things}
    memory = _Memory(_recalled(connection, tenant_id, things))
    estimates = list[Estimate]()
    for run in runs:
        estimates.append(Estimate(run.row_id, memory.foreseen(run)))
        memory.observe(run)
    _bulk.insert_or_decay(connection, learned, memory.news(tenant_id, now), DECAY)
    return estimates


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


@dataclass(frozen=True, slots=True)
class _Run:
    row_id: int
    key_id: str
    success: bool
    mocked: bool
    path: tuple[str, ...]
    """Of the first calls; longer ones are cut."""
    capability: Thing
    things: tuple[Thing, ...]

    @classmethod
    def of(cls, new: NewTrace) -> _Run:
        trace = new.trace
        calls = tuple(task.tool[:MAX_TOOL_CHARS] for task in trace.task_results)
        beginnings = prefixes(calls)
        path = beginnings[-1] if beginnings else ()
        capability = Thing("capability", name_of(trace.capability_id))
        things = [capability, *map(_tool, dict.fromkeys(path)), *map(_path, beginnings)]
        things += dict.fromkeys(Thing("pair", f"{a} > {b}", a, b) for a, b in pairwise(path))
        mocked = any(task.source != "real" for task in trace.task_results)
        return cls(new.row_id, new.key_id, trace.success, mocked, path, capability, tuple(things))


def _tool(name: str) -> Thing:
    return Thing("tool", name)


def _path(beginning: tuple[str, ...]) -> Thing:
    return Thing("path", path_id(beginning), path_id(beginning[:-1]), beginning[-1])


# What is remembered while a batch is learned from


@dataclass(slots=True)
class _News:
    seen: Evidence = field(default_factory=Evidence)
    n: int = 0
    n_failed: int = 0


@dataclass(slots=True)
class _Memory:
    """Evidence by thing and whether it was mocked, then by key; and what this batch adds to it."""

    evidence: dict[tuple[Thing, bool], dict[str, Evidence]]
    added: dict[tuple[Thing, bool, str], _News] = field(default_factory=lambda: defaultdict(_News))

    def foreseen(self, run: _Run) -> float:
        def of(thing: Thing) -> Sequence[Evidence]:
            return tuple(self.evidence.get((thing, run.mocked), {}).values())

        return foreseen(run.path, lambda tool: of(_tool(tool)), lambda path: of(_path(path)), of(run.capability))

    def observe(self, run: _Run) -> None:
        for thing in run.things:
            by_key = self.evidence.setdefault((thing, run.mocked), {})
            by_key[run.key_id] = by_key.get(run.key_id, Evidence()).then(run.success)
            news = self.added[thing, run.mocked, run.key_id]
            news.seen = news.seen.then(run.success)
            news.n += 1
            news.n_failed += not run.success

    def news(self, tenant_id: int, now: datetime) -> list[dict[str, Any]]:
        """Rows, in the order of their keys: concurrent batches meet in it and never deadlock."""
        ordered = sorted(self.added.items(), key=lambda item: (item[0][0][:2], *item[0][1:]))
        return [
            {
                "tenant_id": tenant_id,
                **thing._asdict(),
                "mocked": mocked,
                "key_id": key_id,
                "successes": news.seen.successes,
                "failures": news.seen.failures,
                "n": news.n,
                "n_failed": news.n_failed,
                "last_at": now,
            }
            for (thing, mocked, key_id), news in ordered
        ]


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


def _recalled(
    connection: Connection, tenant_id: int, things: Iterable[Thing]
) -> dict[tuple[Thing, bool], dict[str, Evidence]]:
    found = dict[tuple[Thing, bool], dict[str, Evidence]]()
    for some in _chunks(sorted({thing.subject for thing in things})):
        mine = _EVERYTHING.where(_ROW.tenant_id == tenant_id, _ROW.kind.in_(_KINDS), _ROW.subject.in_(some))
        for row in connection.execute(mine):
            found.setdefault((_thing(row), row.mocked), {})[row.key_id] = Evidence(row.successes, row.failures)
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
