"""What the pages show, as values: read from the store, ready for a template. Blocking; nothing here knows HTTP.

Each is bounded: a page of a list, a number of newest runs, a count that stops counting.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Select, func, select

from belljar import __version__, fqdn
from belljar.errors import ValidationError
from belljar.server.metrics import OUTCOMES
from belljar.server.problems import Problem
from belljar.server.services import Services
from belljar.server.store import migrating, queries, registry
from belljar.server.store.engine import Database
from belljar.server.store.queries import Page, TraceFilter, TraceSummary, TraceTree
from belljar.server.store.registry import Published
from belljar.server.store.schema import execution_trace, tool_stats
from belljar.server.web.capabilities import Figures, capability
from belljar.server.web.display import Block, Budget, block
from belljar.server.web.waterfall import Waterfall, waterfall

__all__ = ["CapabilityPage", "Status", "TraceList", "TracePage", "Wanted", "capability_page", "status", "trace_list"]

PAGE = 50
SPANS = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30)}
_OUTCOMES = {"": None, "ok": True, "failed": False}
_MOCKED = {"": None, "yes": True, "no": False}
_MAX_CHARS = 400
_MAX_DECISIONS = 200
_MAX_COUNT = 100_000
_TRACE = execution_trace.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The filter of the list as the form has it; empty means any."""

    capability: str = ""
    outcome: str = ""
    tool: str = ""
    since: str = ""
    """`1h`, `24h`, `7d`, `30d`, or a time in ISO 8601."""
    workflow: str = ""
    mocked: str = ""

    @classmethod
    def of(cls, params: Any) -> Wanted:
        """From a query.

        Raises:
            Problem: 400, a value that the form cannot have.
        """
        given = {name: params.get(name, "").strip() for name in cls.__slots__}
        if any(len(value) > _MAX_CHARS or "\0" in value for value in given.values()):
            raise Problem(400, "a filter is a short text")
        if given["outcome"] not in _OUTCOMES or given["mocked"] not in _MOCKED:
            raise Problem(400, "there is no such filter")
        return cls(**given)

    def at(self, now: datetime) -> Wanted:
        """The same with a fixed time, so that the pages of one list belong together."""
        span = SPANS.get(self.since)
        return replace(self, since=(now - span).strftime("%Y-%m-%dT%H:%M:%SZ")) if span else self

    def where(self, now: datetime) -> TraceFilter:
        """As the store knows it.

        Raises:
            Problem: 400, `since` is no time.
        """
        return TraceFilter(
            capability=self.capability or None,
            success=_OUTCOMES[self.outcome],
            tool=self.tool or None,
            since=_moment(self.at(now).since),
            workflow=self.workflow or None,
            mocked=_MOCKED[self.mocked],
        )

    def query(self, **more: str) -> str:
        """For a link; starts with `?`, or is empty."""
        given = {name: getattr(self, name) for name in self.__slots__} | more
        pairs = {name: value for name, value in given.items() if value}
        return f"?{urlencode(pairs)}" if pairs else ""

    @property
    def any(self) -> bool:
        """Whether nothing is filtered."""
        return not self.query()


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Problem(400, "since is 1h, 24h, 7d, 30d or a time such as 2026-01-31T12:00:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


# Traces


@dataclass(frozen=True, slots=True)
class TraceList:
    """A page of the list."""

    wanted: Wanted
    page: Page[TraceSummary]
    first: bool
    older: str
    """Link to the next page; empty at the end."""
    seen: str
    """Another one whenever the page is."""


def trace_list(db: Database, tenant_id: int, wanted: Wanted, cursor: str, now: datetime) -> TraceList:
    """Newest first.

    Raises:
        Problem, StoreError: as `Wanted.where` and `queries.list_traces`.
    """
    # A later page is asked for with the time its cursor belongs to; only what is fixed comes back the same.
    fixed = wanted.at(now.replace(microsecond=0))
    page = queries.list_traces(db, tenant_id, fixed.where(now), limit=PAGE, cursor=cursor or None)
    older = f"/traces{fixed.query(cursor=page.next_cursor)}" if page.next_cursor else ""
    rows = ",".join(f"{item.row_id}{'a' if item.anonymized_at else ''}" for item in page.items)
    return TraceList(wanted, page, not cursor, older, sha256(rows.encode()).hexdigest()[:16])


@dataclass(frozen=True, slots=True)
class TracePage:
    """One trace with what hangs below it."""

    tree: TraceTree
    parent: TraceSummary | None
    waterfall: Waterfall
    metadata: dict[str, Any]
    decisions: list[dict[str, Any]]
    decisions_left_out: int
    redactions: list[tuple[str, int]]
    truncated: list[tuple[str, int]]
    extra: Block | None
    """Metadata that has no place of its own."""

    @property
    def summary(self) -> TraceSummary:
        """Of the trace itself."""
        return self.tree.trace.summary

    @property
    def family(self) -> str:
        """The capability's name without its hash."""
        return _family(self.summary.capability_fqdn)


_PLACED = {
    "redactions",
    "truncated",
    "backend",
    "walls",
    "sdkVersion",
    "ledgerHead",
    "mockedShare",
    "decisions",
    "errorLine",
}


# What an older client's trace may lack.
_LACKING: dict[str, Any] = {"backend": "", "walls": [], "sdkVersion": "", "ledgerHead": "", "errorLine": None}


def trace_page(db: Database, tenant_id: int, trace_id: str) -> TracePage | None:
    """None: no such trace of this tenant."""
    tree = queries.trace_tree(db, tenant_id, trace_id)
    if tree is None:
        return None
    budget, metadata = Budget(), tree.trace.metadata
    parent_id = tree.trace.summary.parent_trace_id
    parent = queries.get_trace(db, tenant_id, parent_id) if parent_id else None
    extra = {key: value for key, value in metadata.items() if key not in _PLACED}
    return TracePage(
        tree,
        parent.summary if parent else None,
        waterfall(tree, budget),
        _LACKING | metadata,
        [{"condition": None, **decision} for decision in tree.trace.decisions[:_MAX_DECISIONS]],
        max(0, len(tree.trace.decisions) - _MAX_DECISIONS),
        sorted(metadata.get("redactions", {}).items())[:_MAX_DECISIONS],
        sorted(metadata.get("truncated", {}).items())[:_MAX_DECISIONS],
        block(extra, budget) if extra else None,
    )


def _family(name: str) -> str:
    try:
        return fqdn.parse(name).family
    except ValidationError:
        return name


# Capabilities


@dataclass(frozen=True, slots=True)
class CapabilityPage:
    """One capability: how it does, its newest runs, and what the registry has of it."""

    name: str
    figures: Figures | None
    recent: list[TraceSummary]
    published: Published | None
    code: Block | None


def capability_page(db: Database, tenant_id: int, name: str) -> CapabilityPage | None:
    """By its name without hash; None if it neither ran nor was published."""
    figures = capability(db, tenant_id, name)
    published = registry.fetch(db, tenant_id, name)
    if figures is None and published is None:
        return None
    recent = queries.list_traces(db, tenant_id, TraceFilter(capability=name), limit=10).items if figures else []
    return CapabilityPage(name, figures, recent, published, block(published.code, Budget()) if published else None)


# Status


@dataclass(frozen=True, slots=True)
class Status:
    """What is stored for a tenant; and for those who run the server, how the process does."""

    version: str
    database: str
    traces: int
    counted_all: bool
    today: int
    newest: datetime | None
    oldest: datetime | None
    calls: int
    failures: int
    mocked: int
    tools: int
    process: list[tuple[str, int]]
    schema: str


def status(parts: Services, tenant_id: int, *, admin: bool, now: datetime) -> Status:
    """Counts end at a hundred thousand."""
    counted = select(func.count(), func.sum(tool_stats.c.calls), func.sum(tool_stats.c.failures))
    counted = counted.add_columns(func.sum(tool_stats.c.mocked)).where(tool_stats.c.tenant_id == tenant_id)
    ends = select(func.max(_TRACE.executed_at)), select(func.min(_TRACE.executed_at))
    with parts.db.read() as connection:
        traces = connection.execute(_count(tenant_id, None)).scalar_one()
        today = connection.execute(_count(tenant_id, now - timedelta(days=1))).scalar_one()
        newest, oldest = (connection.scalar(end.where(_TRACE.tenant_id == tenant_id)) for end in ends)
        tools, calls, failures, mocked = connection.execute(counted).one()
    return Status(
        version=__version__,
        database=parts.db.dialect,
        traces=min(traces, _MAX_COUNT),
        counted_all=traces <= _MAX_COUNT,
        today=min(today, _MAX_COUNT),
        newest=newest,
        oldest=oldest,
        calls=int(calls or 0),
        failures=int(failures or 0),
        mocked=int(mocked or 0),
        tools=tools,
        process=_process(parts) if admin else [],
        schema=migrating.state(parts.db).current or "none" if admin else "",
    )


def _count(tenant_id: int, since: datetime | None) -> Select[Any]:
    rows = select(_TRACE.row_id).where(_TRACE.tenant_id == tenant_id)
    rows = rows.where(_TRACE.executed_at >= since) if since else rows
    return select(func.count()).select_from(rows.order_by(_TRACE.executed_at.desc()).limit(_MAX_COUNT + 1).subquery())


def _process(parts: Services) -> list[tuple[str, int]]:
    """Since it began, for all tenants together."""
    words = {"stored": "stored", "duplicate": "sent again", "rejected": "rejected", "retry": "told to come again"}
    value = parts.metrics.value
    traces = [(f"Traces {words[outcome]}", value("belljar_traces_total", outcome=outcome)) for outcome in OUTCOMES]
    others = [
        ("Traces in which the server masked something", value("belljar_traces_masked_total")),
        ("Fields it did not know and left out", value("belljar_traces_ignored_fields_total")),
        ("Clients that left in the middle", value("belljar_http_disconnects_total")),
        ("Requests under way", value("belljar_http_requests_in_flight")),
        ("Open connections", value("belljar_http_connections")),
    ]
    return [(label, int(count)) for label, count in (*traces, *others)]
