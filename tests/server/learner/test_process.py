"""The learner as a process beside a server: it leads, trains, ends, dies, and is nobody else's trouble."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from belljar.server.learner.service import USUAL
from belljar.server.store import learners, models
from belljar.server.store.engine import Database, open_database
from belljar.server.store.keys import Principal
from belljar.server.store.migrating import migrate
from tests.server.conftest import principal
from tests.server.learner.conftest import Hold, feed, learning, until, versions
from tests.server.postgres import Postgres, programs, running

LONG = {"least": 60, "rest_s": 0.5, "linger_s": 0.5, "steps": 20}


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def state(db: Database, owner: Principal) -> str:
    with db.read() as connection:
        return learners.status_of(connection, owner.tenant_id, now=datetime.now(UTC))[0].state


@pytest.mark.slow
def test_it_trains_and_keeps_what_it_trained(db: Database, db_url: str, owner: Principal) -> None:
    """F47: from stored traces to a checkpoint with its evaluation, by itself; again when enough new ones came."""
    feed(db, owner, 80)
    with learning(db_url, learn_share=1.0) as (_, metrics):
        until(lambda: versions(db, owner) == [1], "a checkpoint")
        with db.read() as connection:
            found = models.newest(connection, owner.tenant_id)
        assert found is not None
        assert (found.traces, found.evaluation["heldOut"], found.evaluation["fitted"]) == (80, 16, 64)
        assert found.uses == {"capabilities": False, "tools": False, "chance": False}  # too few to tell
        until(lambda: state(db, owner) == "waiting", "what it does now")
        feed(db, owner, 40, seed=2)
        until(lambda: 2 in versions(db, owner), "another one")
        assert metrics.value("belljar_learner_trainings_total", outcome="trained") >= 1
    assert state(db, owner) == "off"


@pytest.mark.slow
def test_another_takes_over(db_url: str, db: Database, owner: Principal, hold: Hold) -> None:
    """Two servers on one database: one leads. kill -9 its server: its learner dies with it, and within seconds the
    other one leads and goes on."""
    feed(db, owner, 50)
    first, second = hold(db_url, **LONG), hold(db_url, **LONG)
    until(lambda: first.leads() or second.leads(), "a leader")
    if second.leads():
        first, second = second, first
    assert not second.leads()
    pid, _ = first.ask("leading")
    assert pid is not None
    first.kill()
    killed = time.monotonic()
    until(lambda: gone(pid), "the learner to die with its server", 10)
    until(second.leads, "the other one", 15)
    assert time.monotonic() - killed < 15
    feed(db, owner, 20)
    until(lambda: versions(db, owner) == [1], "a checkpoint")


def test_it_dies_and_is_started_again(sqlite_url: str) -> None:
    """kill -9 the learner alone: the server counts it, and starts another one."""
    with learning(sqlite_url) as (handle, metrics):
        until(lambda: metrics.value("belljar_learner_leading"), "a leader")
        pid = handle.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda: metrics.value("belljar_learner_leading") == 0, "its end to be seen")
        until(lambda: metrics.value("belljar_learner_leading"), "another one")
        assert handle.pid not in (None, pid)
        assert metrics.value("belljar_learner_deaths_total") == 1


@pytest.mark.slow
@pytest.mark.parametrize("db_url", ["sqlite"], indirect=True)
def test_its_share_of_a_core(db: Database, db_url: str, owner: Principal) -> None:
    """While it trains, its processor time over the time on the wall is no more than its share."""
    feed(db, owner, 400)
    with learning(db_url, USUAL, learn_share=0.2) as (handle, metrics):
        until(lambda: metrics.value("belljar_learner_training"), "a training")
        assert handle.pid is not None
        process = psutil.Process(handle.pid)
        # Loading PyTorch is one piece of work, which is then paid for.
        until(lambda: process.cpu_times().user > 2 and process.memory_info().rss > 150 << 20, "PyTorch")
        assert process.nice() >= 10
        began, used = time.monotonic(), sum(process.cpu_times()[:2])
        time.sleep(6)  # what is measured is time
        share = (sum(process.cpu_times()[:2]) - used) / (time.monotonic() - began)
        assert share < 0.3, share


def test_no_password_is_seen(hold: Hold, postgres_url: str) -> None:
    """A URL with a password, PGPASSWORD and BELLJAR_DB: neither argv nor environment of the learner shows them."""
    secret = "hunter2-and-more"
    url = postgres_url.replace("postgres@", f"postgres:{secret}@")
    holder = hold(url, environment={"PGPASSWORD": secret, "BELLJAR_DB": url})
    until(holder.leads, "a leader, by that very URL")
    pid, _ = holder.ask("leading")
    for name in ("cmdline", "environ"):
        seen = Path(f"/proc/{pid}/{name}").read_bytes()
        assert seen
        assert secret.encode() not in seen
    assert not [line for line in holder.lines if secret in line]


@pytest.mark.parametrize("db_url", ["sqlite"], indirect=True)
def test_it_logs_as_the_server_does(db_url: str, hold: Hold) -> None:
    """One JSON object a line on the server's stderr, and nothing else."""
    holder = hold(db_url)
    until(holder.leads, "a leader")
    holder.kill()
    events = [json.loads(line)["event"] for line in holder.lines]
    assert events[:2] == ["learner-started", "learner-leads"]


@pytest.mark.slow
def test_a_database_that_is_not_migrated(tmp_path: Path) -> None:
    """It waits, and says why, until it is."""
    url = f"sqlite:///{tmp_path}/empty.db"
    db = open_database(url)
    with learning(url) as (handle, metrics):
        until(lambda: metrics.value("belljar_learner_leading"), "a leader")
        pid = handle.pid
        migrate(db)
        owner = principal(db, "acme")
        feed(db, owner, 10)
        until(lambda: state(db, owner) == "waiting", "a first look")
        assert handle.pid == pid
    db.close()


@pytest.mark.slow
def test_a_database_that_crashes(postgres: Postgres) -> None:
    """PostgreSQL dies and comes back: the learner leads no more, waits, and leads again, the same process."""
    found = programs()
    assert found is not None  # `postgres` was not skipped
    with running(found, "fsync=off") as server:
        url = server.url(server.create())
        with closing(open_database(url)) as db:
            migrate(db)
        with learning(url) as (handle, metrics):
            until(lambda: metrics.value("belljar_learner_leading"), "a leader")
            pid = handle.pid
            server.stop(signal.SIGQUIT)
            until(lambda: not metrics.value("belljar_learner_leading"), "it to notice")
            server.start()
            until(lambda: metrics.value("belljar_learner_leading"), "it to lead again")
            assert handle.pid == pid
            assert metrics.value("belljar_learner_deaths_total") == 0
