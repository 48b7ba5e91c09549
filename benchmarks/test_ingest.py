"""ingest: traces stored through HTTP by a server process of its own, client included, on both engines.

Batches of ten, as a client of ours sends them but for gzip: from one connection that waits for each answer and from
four at once; three calls of 200 bytes a trace, and ten of 1 KB. No limiter; without learning, and with it. Then the
time of a batch at half the rate that was found, sent by the clock whatever the answers take; and the server's memory
while it takes 200,000 traces (`BELLJAR_BENCH_TRACES`).

Baselines: a bare INSERT loop of the same rows by the driver alone; for a batch's time, a request that asks nothing of
the database (`/healthz`).
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from belljar.tracing.types import decode
from benchmarks.report import Baseline, Figure, Report, median
from benchmarks.server import Client, cpu, database_url, prepared, serving

_BATCH = 10
_BATCHES = 100
_CLIENTS = 4
_TRACES = int(os.environ.get("BELLJAR_BENCH_TRACES", "200000"))
_WORDS = "the quick brown fox release notes commit merged branch main title author number state open".split()
_draw = random.Random(7)


def _words(size: int) -> str:
    return " ".join(_draw.choices(_WORDS, k=size // 4))[:size]


def _trace(calls: int, size: int) -> dict[str, Any]:
    """On the wire, with everything a client of ours writes."""
    task = {
        "tool": "git:git_log",
        "success": True,
        "state": "applied",
        "durationMs": 1.2,
        "timestamp": "2026-01-02T03:04:05.678Z",
        "callSite": 3,
        "source": "real",
        "isWrite": False,
    }
    values = [
        {"taskId": f"t{n}", "args": {"q": _words(size // 4)}, "result": _words(size * 3 // 4)} for n in range(calls)
    ]
    bare = {
        "traceId": _trace_id(),
        "capabilityId": "local.default.git.release_notes.a7f3",
        "capabilityHash": "a" * 64,
        "success": True,
        "durationMs": 12.5,
        "timestamp": "2026-01-02T03:04:05.678Z",
        "taskResults": [{**task, **value} for value in values],
        "metadata": {"backend": "wasm", "walls": ["wasm", "landlock"], "sdkVersion": "0.1.0", "redactions": {}},
    }
    return decode(bare).to_wire()


def _trace_id() -> str:
    return str(UUID(int=_draw.getrandbits(128), version=4))


def _bodies(count: int, calls: int, size: int) -> list[bytes]:
    batches = ([_trace(calls, size) for _ in range(_BATCH)] for _ in range(count))
    return [json.dumps({"traces": batch}, separators=(",", ":")).encode() for batch in batches]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database_url(request.param, tmp_path) as found:
        yield found


@pytest.mark.parametrize("learning", [False, True], ids=["alone", "learning"])
@pytest.mark.parametrize(("calls", "size"), [(3, 200), (10, 1000)])
def test_ingest(report: Report, url: str, calls: int, size: int, learning: bool) -> None:
    case = f"{_engine(url)}{', learning' * learning}"
    payload = f"batches of {_BATCH}, {calls} calls x {size} B"
    reach = _reach(url, learning) if size == 200 else ""
    key = prepared(url)
    with serving(url, *([] if learning else ["--no-learn"])) as (address, process), Client(address, key) as client:
        for body in _bodies(20, calls, size):
            client.post(body)
        bodies, before = _bodies(_BATCHES, calls, size), cpu(process)
        alone = [client.post(body) for body in bodies]
        spent = (cpu(process) - before) / (_BATCH * _BATCHES)
        report.note(f"ingest, {case}, {payload}: {spent * 1e6:.0f} us of the server's processor a trace.")
        empty = Baseline("/healthz", median([client.get("/healthz") for _ in range(_BATCHES)]))
        report.add(Figure("ingest", f"{case}: a batch, one client", payload, alone, (empty,)))
        rates = [_BATCH / seconds for seconds in alone]
        bare = Baseline("bare INSERT", _bare_rate(url, bodies))
        report.add(Figure("ingest", f"{case}: one client", payload, rates, (bare,), reach, rate=True))
        several = [_together(address, key, calls, size) for _ in range(3)]
        report.add(Figure("ingest", f"{case}: {_CLIENTS} clients", payload, several, (bare,), reach, rate=True))


def test_a_batch_at_half_the_rate(report: Report, url: str) -> None:
    """Open loop: each batch has its moment, and one that had to wait for an earlier one waited."""
    key = prepared(url)
    with serving(url, "--no-learn") as (address, _process), ExitStack() as stack:
        for _ in range(2):
            rate = _together(address, key, 3, 200) / _BATCH
        clients = [stack.enter_context(Client(address, key)) for _ in range(2 * _CLIENTS)]
        bodies = iter(_bodies(500, 3, 200))
        taken, lock = list[float](), threading.Lock()
        began, step = time.perf_counter() + 0.1, 2 / rate

        def send(client: Client) -> None:
            while True:
                with lock:
                    body, due = next(bodies, None), began + step * len(taken)
                    place = len(taken)
                    taken.append(0.0)
                if body is None:
                    return
                time.sleep(max(0.0, due - time.perf_counter()))
                client.post(body)
                taken[place] = time.perf_counter() - due

        _at_once([lambda c=c: send(c) for c in clients])
    late = sorted(seconds for seconds in taken if seconds)
    payload = f"{rate / 2:.0f} batches/s of {_BATCH}, 3 calls x 200 B"
    p99 = late[int(len(late) * 0.99)]
    report.add(Figure("ingest", f"{_engine(url)}: a batch at half the rate", payload, late, (), "p99 <= 50 ms"))
    report.note(f"ingest, {_engine(url)}, {payload}: p99 {p99 * 1e3:.1f} ms.")


def test_memory(report: Report, url: str) -> None:
    """Flat: after the first tenth, which fills caches, what comes must not stay."""
    key = prepared(url)
    with serving(url) as (address, process), Client(address, key) as client:
        batches = [json.loads(body)["traces"] for body in _bodies(10, 3, 200)]
        held = list[int]()
        for n in range(_TRACES // 100):
            traces = [{**trace, "traceId": _trace_id()} for trace in batches[n % 10] * 10]
            client.post(json.dumps({"traces": traces}, separators=(",", ":")).encode())
            if n % (_TRACES // 1000) == 0:
                held.append(process.memory_info().rss)
    grown = (max(held[-2:]) - held[1]) / (1 << 20)
    report.note(
        f"ingest, {_engine(url)}: the server holds {held[1] >> 20} MiB after {_TRACES // 10} traces and "
        f"{held[-1] >> 20} MiB after {_TRACES} ({grown:+.1f} MiB), learning."
    )


def _engine(url: str) -> str:
    return url.partition(":")[0].partition("+")[0]


def _reach(url: str, learning: bool) -> str:
    rate = {"sqlite": 2000, "postgresql": 1500}[_engine(url)] // (2 if learning else 1)
    return f">= {rate}/s"


def _together(address: tuple[str, int], key: str, calls: int, size: int) -> float:
    """Traces a second that several clients store at once."""
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(address, key)) for _ in range(_CLIENTS)]
        shares = [_bodies(_BATCHES // 2, calls, size) for _ in clients]

        def send(client: Client, share: list[bytes]) -> None:
            for body in share:
                client.post(body)

        began = time.perf_counter()
        _at_once([lambda c=c, s=s: send(c, s) for c, s in zip(clients, shares, strict=True)])
        return _CLIENTS * (_BATCHES // 2) * _BATCH / (time.perf_counter() - began)


def _at_once(work: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=each) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# The driver alone: the same rows in one table with one index, one commit a batch; no names, tools, hashes

_TABLE = "CREATE TABLE IF NOT EXISTS bare (id TEXT PRIMARY KEY, name TEXT, at TEXT, m {j}, r {j})"


def _bare_rate(url: str, bodies: list[bytes]) -> float:
    """Traces a second."""
    batches = [[_bare_row(trace) for trace in json.loads(body)["traces"]] for body in bodies]
    store, close = (_bare_sqlite if _engine(url) == "sqlite" else _bare_postgresql)(url)
    rates = list[float]()
    for batch in batches:
        began = time.perf_counter()
        store(batch)
        rates.append(_BATCH / (time.perf_counter() - began))
    close()
    return median(rates)


def _bare_row(trace: dict[str, Any]) -> tuple[str, ...]:
    texts = (json.dumps(trace[name]) for name in ("metadata", "taskResults"))
    return (_trace_id(), trace["capabilityId"], trace["timestamp"], *texts)


_Bare = tuple[Callable[[list[tuple[str, ...]]], None], Callable[[], None]]


def _bare_sqlite(url: str) -> _Bare:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, timeout=30)
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", _TABLE.format(j="TEXT")):
        connection.execute(statement)

    def store(rows: list[tuple[str, ...]]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO bare VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")

    return store, connection.close


def _bare_postgresql(url: str) -> _Bare:
    connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
    connection.execute(_TABLE.format(j="JSONB").encode())

    def store(rows: list[tuple[str, ...]]) -> None:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany("INSERT INTO bare VALUES (%s, %s, %s, %s, %s)", rows)

    return store, connection.close
