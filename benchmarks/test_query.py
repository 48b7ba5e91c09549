"""query: what people and programs ask of a million traces, on both engines.

The rows are made by the database itself, in seconds: fifty capabilities of unequal use, sixty tools, one run in forty
failed, one in fifty mocked, one in twenty of a workflow, one in thirty a child; three calls of 200 bytes each; twelve
days. What is timed is the store's function that a route calls, row to value; the list through HTTP stands beside it.
Baseline: the driver alone reading fifty rows of the same table by their keys.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from belljar.server.store import keys
from belljar.server.store.engine import Database, open_database
from belljar.server.store.ingest import ingest
from belljar.server.store.migrating import migrate
from belljar.server.store.queries import TraceFilter, list_traces, trace_tree
from belljar.server.store.stats import stats
from belljar.server.web import views
from belljar.server.web.capabilities import capabilities
from benchmarks.report import Baseline, Figure, Report, median, samples
from benchmarks.server import database_url
from benchmarks.test_ingest_store import made

NAME = "query"
TOTAL = 1_000_000
NOW = datetime.now(UTC).replace(microsecond=0)
# Between two traces.
STEP = timedelta(seconds=1)
_ROUNDS = 20


@dataclass(frozen=True)
class Million:
    """The database, and who it belongs to."""

    db: Database
    url: str
    key: str
    tenant_id: int
    large: str
    """Id of a trace with a hundred calls."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def million(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Million]:
    with database_url(request.param, tmp_path_factory.mktemp("query")) as url:
        db = open_database(url, read_s=1800)
        migrate(db)
        key = keys.create_key(db, "bench", ["admin"], now=NOW)
        owner = keys.authenticate(db, key.key, now=NOW)
        assert owner is not None
        fill(db, owner.tenant_id, TOTAL)
        large = made(100, 200)
        assert ingest(db, owner, [large], now=NOW)[0].status == "stored"
        yield Million(db, url, key.key, owner.tenant_id, large.trace_id)
        db.close()


_SQLITE = {
    "numbers": "WITH RECURSIVE g(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM g WHERE i + 1 < {total})",
    "from": "g",
    "id": "printf('019a0000-0000-7000-8000-%012x', {})",
    "at": "strftime('%Y-%m-%d %H:%M:%S.000000', {newest} - i * {step}, 'unixepoch')",
    "json": "",
    "hash": "printf('%064x', i)",
}
_POSTGRESQL = {
    "numbers": "",
    "from": "generate_series(0, {total} - 1) AS g(i)",
    "id": "'019a0000-0000-7000-8000-' || lpad(to_hex({}), 12, '0')",
    "at": "to_timestamp({newest} - i * {step})",
    "json": "::jsonb",
    "hash": "lpad(to_hex(i), 64, '0')",
}
# A number that looks like chance, the same on both.
_CHANCE = "((i * CAST(48271 AS bigint)) % 997)"
_TASK = (
    '{{"args":{{"path":"{a}"}},"callSite":3,"durationMs":1.25,"isCapabilityCall":false,"isWrite":false,"iteration":1,'
    '"layerIndex":0,"result":"{r}","source":"real","state":"applied","success":true,"taskId":"t{n}",'
    '"timestamp":"2026-11-21T11:59:00.000Z","tool":"s:t{n}"}}'
)


def fill(db: Database, tenant_id: int, total: int) -> None:
    """So many traces, and their tools."""
    given = {"total": total, "newest": int(NOW.timestamp()), "step": int(STEP.total_seconds())}
    sql = {name: words if name == "id" else words.format(**given) for name, words in _OF[db.dialect].items()}
    tasks = "[" + ",".join(_TASK.format(a="x" * 50, r="y" * 150, n=n) for n in range(3)) + "]"
    # A quarter of the runs are of one capability, the rest is spread over the others.
    name = f"CASE WHEN {_CHANCE} < 250 THEN 'acme.tools.git.c0' ELSE 'acme.tools.git.c' || ({_CHANCE} % 50) END"
    traces = f"""
        INSERT INTO execution_trace (tenant_id, trace_id, parent_trace_id, capability_name, capability_fqdn,
            capability_hash, workflow_id, user_id, success, duration_ms, calls, priority, predicted, td_error,
            mocked_share, executed_at, received_at, size_bytes, content_hash, error_code, metadata, decisions,
            task_results)
        {sql["numbers"]}
        SELECT {tenant_id}, {sql["id"].format("i")}, CASE WHEN i % 30 = 1 THEN {sql["id"].format("i - 1")} END, {name},
            {name} || '.abab', '{"ab" * 32}', CASE WHEN i % 20 = 0 THEN 'w' || (i % 400) END, 'key', i % 40 <> 0,
            {_CHANCE} / 10.0, 3, 0.5, 0.5, 0.5, CASE WHEN i % 50 = 7 THEN 1.0 ELSE 0.0 END, {sql["at"]},
            {sql["at"]}, 900, {sql["hash"]}, CASE WHEN i % 40 = 0 THEN 'RPC_ERROR' END,
            '{{"backend":"wasm"}}'{sql["json"]}, '[]'{sql["json"]}, '{tasks}'{sql["json"]}
        FROM {sql["from"]} ORDER BY i DESC
    """
    tools = """
        INSERT INTO trace_tool (row_id, tool, tenant_id, executed_at, calls, failures, mocked, duration_ms)
        SELECT row_id, 's:t' || (row_id % 60), tenant_id, executed_at, 3, 0, 0, duration_ms FROM execution_trace
    """
    known = """
        INSERT INTO tool_stats (tenant_id, tool, calls, failures, mocked, duration_ms, last_at)
        SELECT tenant_id, tool, sum(calls), 0, 0, sum(duration_ms), max(executed_at) FROM trace_tool GROUP BY 1, 2
    """
    with db.write() as connection:
        cursor = connection.connection.cursor()
        for statement in (traces, tools, known):
            cursor.execute(statement)


_OF = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL}


def test_query(report: Report, million: Million) -> None:
    m, day = million, timedelta(days=1)
    middle = NOW - STEP * (TOTAL // 2)
    lists = {
        "newest 50": TraceFilter(),
        "... of one capability": TraceFilter(capability="acme.tools.git.c7"),
        "... that failed": TraceFilter(success=False),
        "... that went well": TraceFilter(success=True),
        "... of a capability, failed": TraceFilter(capability="acme.tools.git.c7", success=False),
        "... of a day in the middle": TraceFilter(since=middle - day, until=middle),
        "... of a workflow": TraceFilter(workflow="w20"),
        "... that called a tool": TraceFilter(tool="s:t11"),
        "... that called a tool, failed": TraceFilter(tool="s:t11", success=False),
        "... mocked": TraceFilter(mocked=True),
        "... not mocked": TraceFilter(mocked=False),
        "... without a parent": TraceFilter(roots=True),
        "... children": TraceFilter(roots=False),
        "... of nothing (no such capability)": TraceFilter(capability="acme.tools.git.none"),
        "... of a hash nobody ran": TraceFilter(capability="acme.tools.git.c0.ffff"),
        "... with a text that is nowhere": TraceFilter(text="nowhere"),
    }
    cases: dict[str, Callable[[], object]] = {
        name: partial(list_traces, m.db, m.tenant_id, where) for name, where in lists.items()
    }
    deep = list_traces(m.db, m.tenant_id, TraceFilter(until=middle), limit=50)
    assert len(deep.items) == 50
    cases |= {
        "one trace of 100 calls": lambda: trace_tree(m.db, m.tenant_id, m.large),
        "stats": lambda: stats(m.db, m.tenant_id),
        "stats of a day": lambda: stats(m.db, m.tenant_id, since=NOW - day),
        "page of capabilities": lambda: capabilities(m.db, m.tenant_id),
        "page of one capability": lambda: views.capability_page(m.db, m.tenant_id, "acme.tools.git.c0"),
        "page of the list": lambda: views.trace_list(m.db, m.tenant_id, views.Wanted(), "", NOW),
        "page of one trace, 100 calls": lambda: views.trace_page(m.db, m.tenant_id, m.large),
    }
    bare = Baseline("the driver, 50 rows", median(samples(_ROUNDS, lambda: _bare(m.db))))
    for case, work in cases.items():
        work()
        began = time.perf_counter()
        work()
        rounds = _ROUNDS if time.perf_counter() - began < 1 else 3
        reach = "<= 20 ms" if case == "newest 50" else ""
        report.add(Figure(NAME, f"{m.db.dialect}: {case}", f"of {TOTAL} traces", samples(rounds, work), (bare,), reach))


def _bare(db: Database) -> list[Any]:
    with db.read() as connection:
        some = "SELECT * FROM execution_trace WHERE row_id BETWEEN 500000 AND 500049"
        return list(connection.exec_driver_sql(some))
