"""F40 F85: with many traces every page still reads a few rows from an index. Times are printed, and gate nothing."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from belljar.server.store._json import text_of
from belljar.server.store.engine import Database
from belljar.server.store.schema import execution_trace, learned, trace_tool
from belljar.server.web import capabilities
from tests.server.statements import analyze, plan, recorded
from tests.server.traces import call, trace_id
from tests.server.web.conftest import Site, site_on

ROWS = 200_000
NAMES = 400
PAGES = {
    "traces": "/traces",
    "poll, unchanged": "/traces/rows?seen={seen}",
    "failed": "/traces?outcome=failed",
    "capability": "/traces?capability=acme.tools.git.c7",
    "tool": "/traces?tool=s:t11",
    "workflow": "/traces?workflow=w3",
    "mocked": "/traces?mocked=yes",
    "since": "/traces?since=24h",
    "trace, 100 calls": "/traces/{trace}",
    "capabilities": "/capabilities",
    "one capability": "/capability?name=acme.tools.git.c7",
    "learning": "/learning",
    "suggestion": "/learning?intent=what+changed&context=s:t11",
    "status": "/status",
    "keys": "/keys",
}


SCANS = re.compile(r"SCAN (execution_trace|trace_tool)$|Seq Scan|TEMP B-TREE|Sort", re.MULTILINE)


def fill(db: Database, tenant_id: int, rows: int) -> None:
    """Rows as ingest would have written them, straight into the tables."""
    now = datetime.now(UTC)
    many = text_of([call(n) for n in range(1, 101)])
    for start in range(0, rows, 5000):
        numbers = range(start, min(start + 5000, rows))
        with db.write() as connection:
            connection.execute(insert(execution_trace), [_trace(n, tenant_id, now, many) for n in numbers])
            connection.execute(insert(trace_tool), [_tool(n, tenant_id, now) for n in numbers])
    with db.write() as connection:
        names = [("capability", f"acme.tools.git.c{n}") for n in range(NAMES)] + [
            ("tool", f"s:t{n}") for n in range(60)
        ]
        connection.execute(insert(learned), [_learned(*name, tenant_id, now) for name in names])


def _learned(kind: str, subject: str, tenant_id: int, now: datetime) -> dict[str, Any]:
    whose = {"tenant_id": tenant_id, "kind": kind, "subject": subject, "mocked": False, "key_id": "0" * 16}
    return whose | {"successes": 40.0, "failures": 2.0, "n": 500, "n_failed": 12, "last_at": now}


def _trace(n: int, tenant_id: int, now: datetime, many: Any) -> dict[str, Any]:
    return {
        "row_id": n + 1,
        "tenant_id": tenant_id,
        "trace_id": trace_id(n),
        "parent_trace_id": trace_id(n + 1) if n % 30 == 1 else None,
        "capability_name": f"acme.tools.git.c{n % NAMES}",
        "capability_fqdn": f"acme.tools.git.c{n % NAMES}.abab",
        "capability_hash": "ab" * 32,
        "workflow_id": f"w{n % 400}" if n % 20 == 3 else None,
        "user_id": "0" * 16,
        "success": n % 40 != 0,
        "duration_ms": 10.0 + n % 90,
        "calls": 100 if n == 7 else 1,
        "priority": 0.5,
        "predicted": 0.5,
        "td_error": 0.5,
        "mocked_share": float(n % 50 == 0),
        "executed_at": now - timedelta(seconds=10 * n),
        "received_at": now,
        "size_bytes": 30_000 if n == 7 else 700,
        "content_hash": "cd" * 32,
        "error_code": None if n % 40 else "RPC_ERROR",
        "error_message": None,
        "intent": "what changed since the last release",
        "metadata": text_of({"backend": "wasm"}),
        "decisions": text_of([]),
        "task_results": many if n == 7 else text_of([call(tool=f"s:t{n % 60}", result="x" * 400)]),
    }


def _tool(n: int, tenant_id: int, now: datetime) -> dict[str, Any]:
    return {
        "row_id": n + 1,
        "tool": f"s:t{n % 60}",
        "tenant_id": tenant_id,
        "executed_at": now - timedelta(seconds=10 * n),
        "calls": 1,
        "failures": 0,
        "mocked": 0,
        "duration_ms": 1.0,
    }


@pytest.fixture
def large(db: Database) -> Iterator[Site]:
    with site_on(db) as site:
        fill(db, site.owner.tenant_id, ROWS)
        if db.dialect == "postgresql":  # SQLite must do right without having looked at its tables
            analyze(db)
        yield site


@pytest.mark.slow
def test_every_page_reads_from_indexes(large: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Two hundred thousand traces: no statement of any page scans or sorts the table, on either engine."""
    client = large.login()
    seen = re.search(r"seen=([0-9a-f]{16})", client.get("/traces").text)
    assert seen
    lines = [f"\n{large.api.db.dialect}, {ROWS} traces, milliseconds from request to answer: median (most) of 9"]
    for name, path in PAGES.items():
        address = path.format(seen=seen[1], trace=trace_id(7))
        with recorded() as statements:
            answer = client.get(address)
        assert answer.status_code in (200, 204), answer.text
        for statement in {text: (text, values) for text, values in statements if text.startswith("SELECT")}.values():
            if "execution_trace" in statement[0] or "trace_tool" in statement[0]:
                how = plan(large.api.db, statement)
                assert not SCANS.search(how), (name, statement[0], how)
        times = list[float]()
        for _ in range(9):
            began = time.perf_counter()
            client.get(address)
            times.append((time.perf_counter() - began) * 1e3)
        size, asked = len(answer.content), len(statements)
        lines.append(f"{name:18}{statistics.median(times):8.1f} ({max(times):.1f}){size:9} bytes {asked:4} statements")
    with capsys.disabled():
        print("\n".join(lines))
    assert "100,000 or more" in client.get("/status").text
    assert NAMES > capabilities.PAGE
