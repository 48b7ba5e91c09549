"""`belljar serve` with its learner, as it is started: neither of them is the other's trouble."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from belljar.server.store import keys
from belljar.server.store.engine import Database
from belljar.server.store.keys import Principal
from tests.server.api.conftest import SQLITE_ALONE, trace
from tests.server.api.processes import Server
from tests.server.api.test_replicas import replica
from tests.server.learner.conftest import feed, until, versions

Serve = Callable[..., Server]


@pytest.fixture
def serve(db_url: str, tmp_path: Path) -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda *words: stack.enter_context(replica(db_url, tmp_path, "--rate", "0", *words))


def learner(server: Server) -> psutil.Process | None:
    found = psutil.Process(server.process.pid).children()
    return found[0] if found else None


def maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def events(server: Server) -> list[str]:
    return [json.loads(line)["event"] for line in list(server.lines) if line.startswith("{")]


@pytest.mark.slow
@SQLITE_ALONE
def test_told_to_end_while_it_trains(db: Database, owner: Principal, serve: Serve) -> None:
    """SIGTERM in the middle of a training: the server ends well within its grace, and nothing of either is left. What
    trains was in the learner's memory alone."""
    feed(db, owner, 400)
    server = serve("--learn-share", "0.02")
    key = keys.create_key(db, "acme", ["read", "admin"], now=datetime.now(UTC)).key
    with server.client(key) as client:
        until(lambda: client.get("/api/learning").json()["learner"]["state"] == "training", "a training")
        assert "belljar_learner_training 1.0" in client.get("/metrics").text
    child = learner(server)
    assert child is not None
    until(lambda: "libtorch" in maps(child.pid), "PyTorch, in the learner")
    assert "libtorch" not in maps(server.process.pid)
    began = time.monotonic()
    assert server.end() == 0
    assert time.monotonic() - began < 10
    assert not child.is_running()
    assert versions(db, owner) == []
    assert events(server)[-1] == "ended"


@pytest.mark.slow
@SQLITE_ALONE
def test_a_learner_that_crashes(db: Database, owner: Principal, serve: Serve) -> None:
    """kill -9, again and again, while clients send and ask: everything is stored, everything answered, and the pauses
    between new learners grow."""
    server = serve()
    with server.client(keys.create_key(db, "acme", ["admin"], now=datetime.now(UTC)).key) as client:
        for _ in range(2):
            until(lambda: learner(server) is not None, "a learner")
            child = learner(server)
            assert child is not None
            child.kill()
            for _ in range(20):
                assert client.post("/api/traces", json=[trace() for _ in range(5)]).json()["stored"] == 5
                assert client.get("/api/suggest").status_code == 200
        assert client.get("/readyz").status_code == 200
        until(lambda: events(server).count("learner-died") == 2, "both ends to be seen")
        assert "belljar_learner_deaths_total 2.0" in client.get("/metrics").text
    pauses = [json.loads(line)["again_s"] for line in server.lines if '"learner-died"' in line]
    assert pauses == sorted(set(pauses))


@SQLITE_ALONE
def test_without_a_learner(db: Database, owner: Principal, serve: Serve) -> None:
    """--no-learn: none is started, and it is said that nobody learns."""
    server = serve("--no-learn")
    with server.client(keys.create_key(db, "acme", ["read"], now=datetime.now(UTC)).key) as client:
        told = client.get("/api/learning").json()["learner"]
    assert (told["state"], "--no-learn" in told["why"]) == ("off", True)
    assert learner(server) is None
    assert server.end() == 0
    assert not [event for event in events(server) if event.startswith("learner")]
