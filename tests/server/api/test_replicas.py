"""Two replicas, two processes, one PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from belljar.server.store import keys, maintenance, migrating
from belljar.server.store.engine import Database, open_database
from tests.server.api.conftest import trace, until
from tests.server.api.processes import DEADLINE_S, Server
from tests.server.postgres import Postgres, programs, running

_ROOT = Path(__file__).parents[3]


def belljar(*words: str, url: str, home: Path) -> subprocess.Popen[bytes]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BELLJAR_", "XDG_"))}
    environment = {**inherited, "PYTHONPATH": str(_ROOT), "HOME": str(home), "BELLJAR_DB": url}
    command = [sys.executable, "-m", "belljar", *words]
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def replica(url: str, home: Path, *words: str) -> Server:
    return Server(belljar("serve", "--port", "0", "--json", *words, url=url, home=home))


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    db = open_database(postgres_url)
    yield db
    db.close()


@pytest.fixture
def key(database: Database) -> str:
    return keys.create_key(database, scopes=["admin"], now=datetime.now(UTC)).key


def stored(db: Database) -> list[str]:
    who = keys.local_principal(db, now=datetime.now(UTC))
    return [json.loads(line)["traceId"] for line in maintenance.export(db, who.tenant_id)]


def _programs() -> Path:
    found = programs()
    assert found is not None  # `postgres` was not skipped
    return found


@pytest.mark.slow
def test_the_same_batch_to_both_at_once(postgres_url: str, database: Database, key: str, tmp_path: Path) -> None:
    """F37: whichever replica gets it, each trace is stored once, and both answers say so."""
    with replica(postgres_url, tmp_path, "--rate", "0") as a, replica(postgres_url, tmp_path, "--rate", "0") as b:
        batches = [[trace() for _ in range(20)] for _ in range(15)]
        answers: dict[str, list[dict[str, Any]]] = {a.url: [], b.url: []}

        def send(server: Server, turn: int) -> None:
            with server.client(key) as client:
                for batch in batches:
                    answer = client.post("/api/traces", json=batch[::turn])
                    assert answer.status_code == 200, answer.text
                    answers[server.url].append(answer.json())

        threads = [threading.Thread(target=send, args=each) for each in ((a, 1), (b, -1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
        for one, other in zip(answers[a.url], answers[b.url], strict=True):
            assert one["stored"] + other["stored"] == 20
            assert one["duplicates"] + other["duplicates"] == 20
    assert sorted(stored(database)) == sorted(one["traceId"] for batch in batches for one in batch)


@pytest.mark.slow
def test_a_replica_dies_under_load(postgres_url: str, database: Database, key: str, tmp_path: Path) -> None:
    """F37: kill -9; clients send again to the other one; what was acknowledged is stored, everything once."""
    with replica(postgres_url, tmp_path, "--rate", "0") as a, replica(postgres_url, tmp_path, "--rate", "0") as b:
        sent, retried, enough = list[str](), list[str](), threading.Event()

        def send() -> None:
            servers = [a, b]
            for _ in range(20):
                batch = [trace() for _ in range(10)]
                while True:
                    try:
                        answer = httpx2.post(
                            f"{servers[0].url}/api/traces",
                            json=batch,
                            headers={"x-api-key": key},
                            timeout=DEADLINE_S,
                            trust_env=False,
                        )
                    except httpx2.TransportError as exc:
                        retried.append(type(exc).__name__)
                        servers.reverse()
                        continue
                    assert answer.status_code == 200, answer.text
                    sent.extend(one["traceId"] for one in batch)
                    break
                if len(sent) > 150:
                    enough.set()

        threads = [threading.Thread(target=send) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert enough.wait(DEADLINE_S)
        a.process.kill()
        for thread in threads:
            thread.join(2 * DEADLINE_S)
        assert retried
        assert len(sent) == 600
    assert sorted(stored(database)) == sorted(sent)


@pytest.mark.slow
def test_postgresql_crashes_under_load(postgres: Postgres, tmp_path: Path) -> None:
    """F37: PostgreSQL dies and comes back: 503 and Retry-After meanwhile, then all goes on by itself; what was
    acknowledged is stored, everything once, and both replicas are ready again."""
    with ExitStack() as stack:
        postgres = stack.enter_context(running(_programs(), "fsync=off"))
        url = postgres.url(postgres.create())
        db = stack.enter_context(closing(open_database(url)))
        migrating.migrate(db)
        key = keys.create_key(db, scopes=["admin"], now=datetime.now(UTC)).key
        servers = [stack.enter_context(replica(url, tmp_path, "--rate", "0")) for _ in range(2)]
        sent, refused, strange = list[str](), list[str](), list[str]()
        enough, over = threading.Event(), threading.Event()

        def send(server: Server) -> None:
            with server.client(key) as client:
                while not over.is_set():
                    batch = [trace() for _ in range(10)]
                    while (answer := client.post("/api/traces", json=batch)).status_code == 503:
                        refused.append(answer.headers["retry-after"])
                        over.wait(0.05)  # sooner than it asks for
                    if answer.status_code != 200:
                        strange.append(answer.text)
                        return
                    sent.extend(one["traceId"] for one in batch)
                    if len(sent) > 200:
                        enough.set()

        threads = [threading.Thread(target=send, args=(server,)) for server in servers for _ in range(2)]
        for thread in threads:
            thread.start()
        assert enough.wait(DEADLINE_S), strange
        for _ in range(2):
            postgres.stop(signal.SIGQUIT)
            known = len(refused)
            until(lambda known=known: len(refused) > known + 8, DEADLINE_S)
            at_crash = len(sent)
            postgres.start()
            until(lambda at_crash=at_crash: len(sent) > at_crash + 100, DEADLINE_S)
        over.set()
        for thread in threads:
            thread.join(DEADLINE_S)
        assert not strange
        for server in servers:
            with server.client(key) as client:
                assert client.get("/readyz").status_code == 200
        assert sorted(stored(db)) == sorted(sent)


@pytest.mark.slow
def test_limits_and_revocation_are_shared(postgres_url: str, database: Database, tmp_path: Path) -> None:
    """One bucket per key over all replicas; a key that is revoked ends on all of them."""
    made = keys.create_key(database, now=datetime.now(UTC))
    with ExitStack() as stack:
        servers = [stack.enter_context(replica(postgres_url, tmp_path, "--rate", "0.01")) for _ in range(2)]
        clients = [stack.enter_context(server.client(made.key)) for server in servers]
        statuses = [client.get("/api/suggest").status_code for _ in range(110) for client in clients]
        assert statuses.count(200) in range(195, 206)
        assert set(statuses[-5:]) == {429}
        assert keys.revoke_key(database, made.id, now=datetime.now(UTC))
        assert [client.get("/api/suggest").status_code for client in clients] == [401, 401]


@pytest.mark.slow
def test_not_ready_before_the_migration(postgres: Postgres, tmp_path: Path) -> None:
    """/readyz says 503 and what to do; ingest says 503; two migrations at once make one of it; then all is well."""
    name = postgres.create()
    url = postgres.url(name)
    try:
        with replica(url, tmp_path, "--no-auth") as server, server.client("") as client:
            for answer in (client.get("/readyz"), client.post("/api/traces", json=[trace()])):
                assert (answer.status_code, answer.json()["code"]) == (503, "NOT_MIGRATED")
                assert int(answer.headers["retry-after"]) >= 1
            assert client.get("/healthz").status_code == 200
            migrations = [belljar("server", "migrate", url=url, home=tmp_path) for _ in range(2)]
            said = [process.communicate(timeout=2 * DEADLINE_S) for process in migrations]
            assert [process.returncode for process in migrations] == [0, 0], said
            deadline = time.monotonic() + DEADLINE_S
            while client.get("/readyz").status_code != 200:
                assert time.monotonic() < deadline
            assert client.post("/api/traces", json=[trace()]).json()["stored"] == 1
    finally:
        postgres.drop(name)
