"""Traces weighed anew with what is known now."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from sqlalchemy import select

from belljar.learning.runs import Run
from belljar.server.learner.keeping import Keeping
from belljar.server.learner.weighing import by_counts, weigh
from belljar.server.store import learned, runs
from belljar.server.store.engine import Database
from belljar.server.store.ingest import ingest
from belljar.server.store.keys import Principal
from belljar.server.store.schema import execution_trace
from belljar.tracing.types import Trace
from tests.server.conftest import NOW
from tests.server.learner.test_keeping import free, remove
from tests.server.traces import call, trace


def run(n: int, tool: str, *, success: bool) -> Trace:
    return trace(n, success=success, capabilityId=f"acme.tools.git.{tool}.abab", taskResults=[call(tool=f"s:{tool}")])


def send(db: Database, owner: Principal, *traces: Trace) -> None:
    for one in traces:
        ingest(db, owner, [one], now=NOW, learn=partial(learned.learn, now=NOW))


def priorities(db: Database) -> list[float]:
    with db.read() as connection:
        return list(connection.scalars(select(execution_trace.c.priority).order_by(execution_trace.c.row_id)))


def test_what_surprised_once_is_foreseen_by_now(db: Database, owner: Principal) -> None:
    """F43 F45: the first failures of a tool that always fails are no surprise any more, its one success is; counts say
    so without any model, and the rows and the replay have it."""
    send(db, owner, *(run(n, "bad", success=n == 0) for n in range(15)))
    before = priorities(db)
    assert before[1] > 0.4
    keeping = Keeping(db, owner.tenant_id, paid=free)
    keeping.follow()
    foresee = partial(by_counts, db, owner.tenant_id)
    assert weigh(db, owner.tenant_id, keeping, 200, np.random.default_rng(1), foresee) > 0
    after = priorities(db)
    assert after[1] < 0.25
    assert after[0] > 0.75
    expected = [abs(run.success - chance) for run, chance in zip(*_all(db, owner), strict=True)]
    assert after == pytest.approx(expected, abs=0.006)
    assert keeping.replay.priorities(keeping.replay.rows) == pytest.approx(after)
    assert weigh(db, owner.tenant_id, keeping, 200, np.random.default_rng(1), foresee) == 0


def _all(db: Database, owner: Principal) -> tuple[list[Run], list[float]]:
    found = runs.newest(db, owner.tenant_id, 100)
    return found, by_counts(db, owner.tenant_id, found)


def test_a_few_at_a_time(db: Database, owner: Principal) -> None:
    """No more than asked for; a row that was removed since it was read is drawn no more."""
    send(db, owner, *(run(n, "ok", success=True) for n in range(10)))
    keeping = Keeping(db, owner.tenant_id, paid=free)
    keeping.follow()
    gone = keeping.replay.rows[:5].tolist()
    remove(db, gone)
    asked = list[int]()

    def foresee(some: Sequence[Run]) -> list[float]:
        asked.extend(run.row for run in some)
        return [0.0] * len(some)

    for seed in range(20):
        weigh(db, owner.tenant_id, keeping, 3, np.random.default_rng(seed), foresee)
        assert len(asked) <= 3
        asked.clear()
    assert set(priorities(db)) == {1.0}
    assert len(keeping.replay) == 5


def test_nothing_to_weigh(db: Database, owner: Principal) -> None:
    """An empty replay is no error."""
    keeping = Keeping(db, owner.tenant_id, paid=free)
    assert weigh(db, owner.tenant_id, keeping, 5, np.random.default_rng(1), lambda some: [0.5] * len(some)) == 0
