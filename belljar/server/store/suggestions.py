"""Which capability or tool next, with what speaks for it; and how well outcomes are foreseen by now.

Only real runs count, and only what was run is suggested. Every suggestion names traces that are its evidence: the
newest ones, which whoever doubts it can open.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Select, cast, func, select
from sqlalchemy.dialects.postgresql import JSONB

from belljar.learning.estimates import MAX_PATH, Evidence, interval
from belljar.learning.merging import mixed, reordered
from belljar.learning.runs import Scorer
from belljar.learning.suggest import (
    MAX_CANDIDATES,
    Candidate,
    Next,
    Ranked,
    next_tools,
    rank,
    shortest,
    wording,
)
from belljar.learning.things import Thing, path_id
from belljar.server.store import learned as store
from belljar.server.store.engine import Database
from belljar.server.store.learned import Known
from belljar.server.store.schema import capability_record, execution_trace, learned, trace_tool

__all__ = ["COUNTS", "By", "Suggestion", "Suggestions", "learning_state", "suggest"]

COUNTS = "counts"
"""Decayed Beta counts: what answers where no model won."""
_EVIDENCE = 5
_RECENT = 1000
_BUCKETS = 10


@dataclass(frozen=True, slots=True)
class By:
    """Who ranks. What is ranked, its figures and its evidence are the store's in any case."""

    name: str = COUNTS
    capabilities: Scorer | None = None
    """None: counts."""
    tools: Scorer | None = None


_BY_COUNTS = By()


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Something to run next. Exactly one of `capability_id` and `tool` is there."""

    capability_id: str | None
    tool: str | None
    score: float
    n: int
    n_failed: int
    evidence: tuple[str, ...]

    def to_wire(self) -> dict[str, Any]:
        """As GET /api/suggest answers."""
        named = {"capabilityId": self.capability_id, "tool": self.tool}
        low, high = interval(Evidence(self.n - self.n_failed, self.n_failed))
        return {
            **{key: value for key, value in named.items() if value is not None},
            "score": round(self.score, 4),
            "successRate": round(1 - self.n_failed / self.n, 4),
            "interval": [round(low, 4), round(high, 4)],
            "n": self.n,
            "evidence": list(self.evidence),
        }


@dataclass(frozen=True, slots=True)
class Suggestions:
    """The best first. Nothing is known that fits: none, and `abstained`."""

    found: tuple[Suggestion, ...]
    path: tuple[Suggestion, ...] = ()
    """Where a goal was named: the calls most likely to reach it, itself the last."""
    model: str = COUNTS
    """What ranked them."""

    def to_wire(self) -> dict[str, Any]:
        """{suggestions, abstained, model, path?}."""
        wire: dict[str, Any] = {
            "suggestions": [each.to_wire() for each in self.found],
            "abstained": not self.found and not self.path,
            "model": self.model,
        }
        return {**wire, "path": [each.to_wire() for each in self.path]} if self.path else wire


def suggest(
    db: Database,
    tenant_id: int,
    *,
    intent: str = "",
    context: Sequence[str] = (),
    goal: str | None = None,
    limit: int = 5,
    by: By = _BY_COUNTS,
) -> Suggestions:
    """Capabilities that fit an intent, tools that came after those of `context`, the way to the tool `goal`.

    Without intent and context: the capabilities and first tools that do best.
    """
    of_capabilities, of_tools = bool(intent.strip() or not context), bool(context or not intent.strip())
    with db.read() as connection:
        asking = _Asking(connection, tenant_id, by)
        found = asking.capabilities(intent, limit) if of_capabilities else []
        found += asking.tools(intent, tuple(context), limit) if of_tools else []
        found.sort(key=lambda each: -each.score)
        way = asking.way(goal) if goal else ()
    # Without an intent there is nothing to hold capabilities against but how well they do.
    modelled = (of_capabilities and by.capabilities and intent.strip()) or (of_tools and by.tools)
    return Suggestions(tuple(found[:limit]), way, by.name if modelled and found else COUNTS)


@dataclass(frozen=True, slots=True)
class _Asking:
    connection: Connection
    tenant_id: int
    by: By

    # Capabilities

    def capabilities(self, intent: str, limit: int) -> list[Suggestion]:
        known = store.successors(self.connection, self.tenant_id, "capability", "")[:MAX_CANDIDATES]
        by_name = {each.thing.subject: each for each in known}
        texts = self._texts(list(by_name))
        candidates = [Candidate(name, texts[name], each.chance) for name, each in by_name.items()]
        ranked = rank(candidates, intent)
        if self.by.capabilities and intent.strip():
            ranked = reordered(ranked, self.by.capabilities.capabilities(intent), by_name)
        return [self._capability(best, by_name[best.name]) for best in ranked[:limit]]

    def _capability(self, best: Ranked, known: Known) -> Suggestion:
        trace = execution_trace.c
        newest = (
            select(trace.trace_id, trace.capability_fqdn)
            .where(trace.tenant_id == self.tenant_id, trace.capability_name == best.name, trace.mocked_share == 0)
            .order_by(trace.executed_at.desc(), trace.row_id.desc())
            .limit(_EVIDENCE)
        )
        rows = self.connection.execute(newest).all()
        name = rows[0].capability_fqdn if rows else best.name
        evidence = tuple(row.trace_id for row in rows)
        return Suggestion(name, None, best.score, known.n, known.n_failed, evidence)

    def _texts(self, names: list[str]) -> dict[str, str]:
        """What each capability is said to be for: where it was published, and where it last ran."""
        record = capability_record.c
        said = select(record.name, record.description).where(record.tenant_id == self.tenant_id, record.name.in_(names))
        rows = self.connection.execute(said.order_by(record.published_at))
        described = {row.name: row.description for row in rows}
        last = dict(self.connection.execute(self._last_intents(names)).all())
        return {name: wording(name, described.get(name, ""), last.get(name) or "") for name in names}

    def _last_intents(self, names: list[str]) -> Select[Any, Any]:
        """Of each name the newest trace's: a look into the index each, all of them in one statement."""
        trace = execution_trace.c
        if self.connection.dialect.name == "sqlite":
            name = func.json_each(json.dumps(names)).table_valued("value").c.value
        else:
            name = func.jsonb_array_elements_text(cast(names, JSONB)).table_valued("value").c.value
        mine = select(trace.intent).where(trace.tenant_id == self.tenant_id, trace.capability_name == name)
        newest = mine.order_by(trace.executed_at.desc(), trace.row_id.desc()).limit(1)
        return select(name, newest.scalar_subquery())

    # Tools

    def tools(self, intent: str, context: tuple[str, ...], limit: int) -> list[Suggestion]:
        after_path = self._after(context) if len(context) < MAX_PATH else []
        after_last = self._next("pair", context[-1]) if context else []
        known = {each.thing.tool or "": each for each in (*after_last, *after_path)}
        ranked = next_tools(_nexts(after_path), _nexts(after_last))
        if self.by.tools:
            modelled = self.by.tools.tools(intent, context)
            # Of calls that nobody has seen nothing follows.
            if ranked or (context and context[-1] in modelled):
                ranked = mixed(ranked, modelled)
                known |= self._at_all([each.name for each in ranked[:limit] if each.name not in known])
        return [self._tool(best, known[best.name]) for best in ranked[:limit] if best.name in known]

    def _at_all(self, names: list[str]) -> dict[str, Known]:
        """Tools that never came next there, by what is known of them anywhere."""
        things = [Thing("tool", name) for name in names]
        return {thing.subject: each for thing, each in store.known(self.connection, self.tenant_id, things).items()}

    def way(self, goal: str) -> tuple[Suggestion, ...]:
        known = dict[tuple[str, ...], Known]()

        def after(path: tuple[str, ...]) -> Iterable[Next]:
            some = self._after(path) if len(path) < MAX_PATH else []
            known.update({(*path, each.thing.tool or ""): each for each in some})
            return _nexts(some)

        path = tuple(step.tool for step in shortest(after, goal))
        steps = [known[path[: i + 1]] for i in range(len(path))]
        return tuple(self._tool(Ranked(tool, step.chance), step) for tool, step in zip(path, steps, strict=True))

    def _after(self, path: tuple[str, ...]) -> list[Known]:
        return self._next("path", path_id(path))

    def _next(self, kind: str, parent: str) -> list[Known]:
        return store.successors(self.connection, self.tenant_id, kind, parent)

    def _tool(self, best: Ranked, known: Known) -> Suggestion:
        row, trace = trace_tool.c, execution_trace.c
        newest = (
            select(trace.trace_id)
            .join(trace_tool, row.row_id == trace.row_id)
            .where(row.tenant_id == self.tenant_id, row.tool == best.name, row.mocked == 0)
            .order_by(row.executed_at.desc(), row.row_id.desc())
            .limit(_EVIDENCE)
        )
        evidence = tuple(self.connection.scalars(newest))
        return Suggestion(None, best.name, best.score, known.n, known.n_failed, evidence)


def _nexts(some: Sequence[Known]) -> list[Next]:
    return [Next(each.thing.tool or "", each.n, each.chance) for each in some]


# The state of learning


def learning_state(db: Database, tenant_id: int) -> dict[str, Any]:
    """What GET /api/learning answers: what is known, and how surprising the newest traces were, oldest first."""
    row, trace = learned.c, execution_trace.c
    counted = (
        select(row.kind, func.count(row.subject.distinct()).label("things"), func.sum(row.n).label("n"))
        .where(row.tenant_id == tenant_id, ~row.mocked)
        .group_by(row.kind)
    )
    newest = (
        select(trace.trace_id, trace.capability_name, trace.success, trace.predicted, trace.td_error, trace.priority)
        .where(trace.tenant_id == tenant_id, trace.mocked_share == 0)
        .order_by(trace.executed_at.desc(), trace.row_id.desc())
        .limit(_RECENT)
    )
    with db.read() as connection:
        known = {found.kind: {"things": found.things, "n": int(found.n)} for found in connection.execute(counted)}
        recent = connection.execute(newest).all()
    surprising = sorted(recent, key=lambda found: -abs(found.td_error))[:10]
    return {
        "model": COUNTS,
        "reason": "no model was trained yet",
        "known": known,
        "surprise": _surprise(recent[::-1]),
        "mostSurprising": [
            {
                "traceId": found.trace_id,
                "capability": found.capability_name,
                "success": found.success,
                "predicted": found.predicted,
                "tdError": found.td_error,
                "priority": found.priority,
            }
            for found in surprising
        ],
    }


def _surprise(recent: Sequence[Any]) -> list[dict[str, float]]:
    """In up to ten equal parts, oldest first: how many traces, their mean |TD error|, and the Brier score."""
    size = -(-len(recent) // _BUCKETS) or 1
    parts = [[found for _, found in some] for _, some in groupby(enumerate(recent), key=lambda each: each[0] // size)]
    return [
        {
            "traces": len(part),
            "meanAbsTdError": round(sum(abs(found.td_error) for found in part) / len(part), 4),
            "brier": round(sum(found.td_error**2 for found in part) / len(part), 4),
        }
        for part in parts
    ]
