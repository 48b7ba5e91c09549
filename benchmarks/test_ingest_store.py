"""The server's store without the server: traces stored per second, lists read, on both engines.

What HTTP, decoding and the client cost comes on top and is measured by `test_ingest.py`. The baseline is the driver
alone: the same rows in one table with one index, one commit per batch; no ids looked up, no tools counted, no hashes.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from belljar.server.store import keys
from belljar.server.store._content import content_of
from belljar.server.store.engine import Database, open_database
from belljar.server.store.ingest import ingest
from belljar.server.store.keys import Principal
from belljar.server.store.migrating import migrate
from belljar.server.store.queries import TraceFilter, list_traces, trace_tree
from belljar.server.store.stats import stats
from belljar.tracing.types import Trace, decode
from benchmarks.report import Baseline, Figure, Report, median, samples
from tests.server.postgres import programs, running

NOW = datetime.now(UTC)
NAME = "ingest_store"
BATCH = 10
ROUNDS = 15
PER_ROUND = 200

_serial = count(1)


def made(calls: int, size: int) -> Trace:
    """A trace with so many calls, each with about `size` bytes of arguments and result."""
    n = next(_serial)
    results = [
        {
            "taskId": f"t{i}",
            "tool": f"server{i % 3}:tool{i}",
            "args": {"path": "x" * (size // 2 - 12)},
            "result": "y" * (size // 2),
            "success": True,
            "state": "applied",
            "durationMs": 1.25,
            "timestamp": "2026-11-21T11:59:00.000Z",
        }
        for i in range(calls)
    ]
    return decode(
        {
            "traceId": str(UUID(int=(time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | 0x8 << 60 | n)),
            "capabilityId": f"local.default.bench.c{n % 20}.abab",
            "capabilityHash": "ab" * 32,
            "success": n % 10 != 0,
            "durationMs": 12.5,
            "timestamp": "2026-11-21T11:59:00.000Z",
            "taskResults": results,
            "metadata": {"backend": "wasm", "walls": ["wasm", "landlock", "seccomp"]},
        }
    )


def batches(size: int, calls: int, call_bytes: int) -> list[list[Trace]]:
    return [[made(calls, call_bytes) for _ in range(size)] for _ in range(PER_ROUND // size)]


Bare = Callable[[list[tuple[Any, ...]]], None]


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Database, Bare]]:
    """A migrated database with its default settings, disk flushes included, and the driver alone beside it."""
    if request.param == "sqlite":
        db = open_database(f"sqlite:///{tmp_path}/server.db")
        migrate(db)
        yield db, _bare_sqlite(tmp_path / "bare.db")
        db.close()
        return
    bin_folder = programs()
    if bin_folder is None:
        pytest.skip("PostgreSQL is not on this machine")
    with running(bin_folder) as server:
        db = open_database(server.url("postgres"))
        migrate(db)
        with server.connect() as connection:
            yield db, _bare_postgres(connection)
        db.close()


_BARE_TABLE = "CREATE TABLE bare (id TEXT PRIMARY KEY, name TEXT, at TEXT, hash TEXT, m TEXT, d TEXT, r TEXT)"


def _bare_sqlite(file: Path) -> Bare:
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", _BARE_TABLE):
        connection.execute(statement)

    def store(rows: list[tuple[Any, ...]]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO bare VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")

    return store


def _bare_postgres(connection: psycopg.Connection[Any]) -> Bare:
    connection.execute(_BARE_TABLE.replace("m TEXT, d TEXT, r TEXT", "m JSONB, d JSONB, r JSONB"))

    def store(rows: list[tuple[Any, ...]]) -> None:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany("INSERT INTO bare VALUES (%s, %s, %s, %s, %s, %s, %s)", rows)

    return store


def rates(store: Callable[[Any], object], rounds: list[list[Any]], workers: int = 1) -> list[float]:
    """Traces per second of each round."""
    found = list[float]()
    with ThreadPoolExecutor(workers) as pool:
        for work in rounds:
            began = time.perf_counter()
            list(pool.map(store, work))
            found.append(sum(map(len, work)) / (time.perf_counter() - began))
    return found


def rows_of(batch: list[Trace]) -> list[tuple[Any, ...]]:
    contents = [content_of(trace, NOW) for trace in batch]
    return [
        (c.trace.trace_id, c.trace.capability_id, c.trace.timestamp, c.hash, *map(str, c.pieces.values()))
        for c in contents
    ]


@pytest.mark.parametrize(
    ("size", "calls", "call_bytes", "workers"),
    [(BATCH, 3, 200, 1), (BATCH, 3, 200, 4), (BATCH, 10, 1024, 1), (100, 3, 200, 1)],
)
def test_storing(
    report: Report, opened: tuple[Database, Bare], size: int, calls: int, call_bytes: int, workers: int
) -> None:
    db, bare = opened
    owner = _owner(db)
    payload = f"batches of {size}, {calls} calls x {call_bytes} B"

    def store(batch: list[Trace]) -> None:
        assert {result.status for result in ingest(db, owner, batch, now=NOW)} == {"stored"}

    taken = rates(store, [batches(size, calls, call_bytes) for _ in range(ROUNDS)], workers)
    alone = [[rows_of(batch) for batch in batches(size, calls, call_bytes)] for _ in range(ROUNDS)]
    baseline = rates(bare, alone)
    case = f"{db.dialect}, {workers} thread{'s' * (workers > 1)}"
    against = [Baseline("bare INSERT", median(baseline))]
    report.add(Figure(NAME, case, payload, taken, against, "several times the ingest rate", rate=True))


@pytest.mark.parametrize("total", [50_000])
def test_reads(report: Report, opened: tuple[Database, Bare], total: int) -> None:
    db, _ = opened
    owner = _owner(db)
    for _ in range(total // 100):
        ingest(db, owner, [made(3, 200) for _ in range(100)], now=NOW)
    large = made(100, 200)
    ingest(db, owner, [large], now=NOW)
    cases: dict[str, Callable[[], object]] = {
        "newest 50": lambda: list_traces(db, owner.tenant_id, TraceFilter()),
        "newest 50 of one tool": lambda: list_traces(db, owner.tenant_id, TraceFilter(tool="server1:tool1")),
        "one trace of 100 calls": lambda: trace_tree(db, owner.tenant_id, large.trace_id),
        "stats": lambda: stats(db, owner.tenant_id),
    }
    for case, work in cases.items():
        reach = "20 ms of 1 M" if case.startswith("newest 50") else ""
        report.add(Figure(NAME, f"{db.dialect}: {case}", f"of {total} traces", samples(20, work), (), reach))


def _owner(db: Database) -> Principal:
    made_key = keys.create_key(db, "bench", ["ingest"], now=NOW)
    owner = keys.authenticate(db, made_key.key, now=NOW)
    assert owner is not None
    return owner
