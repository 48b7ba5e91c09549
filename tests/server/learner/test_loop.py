"""The learner at work, in this process: what it does with tenants, with what goes wrong, and when it leads no more."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from belljar.learning.embedding import embed
from belljar.server.learner import lesson
from belljar.server.learner.loop import Learner
from belljar.server.store import learners
from belljar.server.store.engine import Database
from belljar.server.store.keys import Principal
from belljar.server.store.learners import Status
from belljar.server.store.schema import execution_trace
from tests.server.api.conftest import SQLITE_ALONE
from tests.server.conftest import principal
from tests.server.learner.conftest import DEADLINE_S, SOON, feed, versions


class Lead:
    """A leader that says what it is told to."""

    def __init__(self, says: Callable[[], bool] = lambda: True) -> None:
        self._says = says
        self.closed = False

    def leads(self) -> bool:
        return self._says()

    def close(self) -> None:
        self.closed = True


class Work:
    """A learner that works until something is so, and what it said meanwhile."""

    def __init__(self, db: Database, leader: Lead | None = None) -> None:
        self.db = db
        self.leader = leader or Lead()
        self.told = dict[str, float]()
        self.enough: Callable[[], object] = lambda: True
        self.ends = 0.0

    def until(self, enough: Callable[[], object]) -> None:
        """In turns that follow each other at once: nothing here waits for time to pass."""
        self.enough, self.ends = enough, time.monotonic() + DEADLINE_S
        learner = Learner(self.db, self.leader, self._rest, share=1.0, embedder=embed, rules=SOON, tell=self._tell)
        learner.run()
        assert time.monotonic() < self.ends, self.told

    def _rest(self, seconds: float) -> bool:
        # Looked at between turns only: it asks the database.
        return (seconds > 0 and bool(self.enough())) or time.monotonic() > self.ends

    def _tell(self, name: str, value: float) -> None:
        self.told[name] = value if name in ("leading", "training") else self.told.get(name, 0) + value

    def status(self, owner: Principal) -> Status:
        with self.db.read() as connection:
            return learners.status_of(connection, owner.tenant_id, now=datetime.now(UTC))[0]


def priorities(db: Database) -> dict[int, float]:
    with db.read() as connection:
        rows = connection.execute(select(execution_trace.c.row_id, execution_trace.c.priority))
        return {row.row_id: row.priority for row in rows}


def test_without_pytorch(db: Database, owner: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, trains nothing, and weighs traces anew from counts all the same; when it ends, nobody learns."""
    monkeypatch.setattr(lesson, "cannot", lambda: "PyTorch is not installed: pip install 'belljar[learn]'")
    feed(db, owner, 100)
    work = Work(db)
    seen = list[Status]()
    before = dict[int, float]()

    def enough() -> bool:
        if not before:
            feed(db, owner, 40, seed=2)
            before.update(priorities(db))
        seen.append(work.status(owner))
        return work.told.get("weighed", 0) > 0

    work.until(enough)
    said = seen[-1]
    assert said.state == "absent"
    assert "pip install 'belljar[learn]'" in said.why
    assert priorities(db) != before
    assert "trained" not in work.told
    assert versions(db, owner) == []
    assert work.status(owner).state == "off"
    assert work.leader.closed


@SQLITE_ALONE
def test_where_nothing_comes_nothing_is_written(db: Database, owner: Principal) -> None:
    """An idle server is idle: too few traces to train on, none of them new, and turn after turn no row changes."""
    feed(db, owner, 50)
    before, turns = priorities(db), list[None]()

    def enough() -> bool:
        turns.append(None)
        return len(turns) > 20

    Work(db).until(enough)
    assert priorities(db) == before


@SQLITE_ALONE
def test_a_training_that_fails(db: Database, owner: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted and rested for, another tenant's is not touched by it, and it is tried again later."""
    other = principal(db, "other")
    for each in (owner, other):
        feed(db, each, 80)
    learn, calls = lesson.learn, list[str]()

    def failing(runs: Any, texts: Any, **how: Any) -> Any:
        calls.append(runs[0].capability)
        if len(calls) == 1:
            raise FloatingPointError("the loss is no number")
        return learn(runs, texts, **how)

    monkeypatch.setattr(lesson, "learn", failing)
    work = Work(db)
    work.until(lambda: versions(db, owner) and versions(db, other))
    assert (work.told["failed"], work.told["trained"], work.told["training"]) == (1, 2, 0)


@SQLITE_ALONE
def test_it_leads_no_more(db: Database, owner: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a training another one leads: it is given up and nothing is kept; when it leads again, it
    begins anew."""
    monkeypatch.setattr("belljar.server.learner.loop._LOOK_S", 0.0)
    feed(db, owner, 80)
    work = Work(db)
    lost, kept = list[None](), list[list[int]]()

    def says() -> bool:
        if work.told.get("training") and not lost:
            lost.append(None)
            return False
        if lost and not kept:
            kept.append(versions(db, owner))
        return True

    work.leader = Lead(says)
    work.until(lambda: versions(db, owner))
    assert kept == [[]]
    assert versions(db, owner) == [1]


@SQLITE_ALONE
def test_pytorch_that_cannot_be_loaded(db: Database, owner: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there and broken: found out when it is wanted, said, and not tried in every turn."""
    feed(db, owner, 80)
    calls = list[None]()

    def failing(*_runs: Any, **_how: Any) -> Any:
        calls.append(None)
        raise ImportError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr(lesson, "learn", failing)
    work, seen = Work(db), list[Status]()

    def enough() -> bool:
        seen.append(work.status(owner))
        return seen[-1].state == "absent"

    work.until(enough)
    assert "libgomp" in seen[-1].why
    assert len(calls) == 1
