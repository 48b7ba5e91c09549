"""Runs for the learner, and its priorities back to their rows."""

from __future__ import annotations

import random
import re
import threading
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, select, text

from belljar.learning.runs import Run
from belljar.server.store import runs
from belljar.server.store.engine import Database, open_database
from belljar.server.store.errors import StoreUnavailable
from belljar.server.store.ingest import ingest
from belljar.server.store.keys import Principal
from belljar.server.store.registry import Publication, publish
from belljar.server.store.schema import execution_trace
from tests.server.conftest import NOW, principal
from tests.server.statements import plan, recorded
from tests.server.store.test_registry import sha
from tests.server.traces import call, trace

TRACE = execution_trace.c


def send(db: Database, owner: Principal, *numbers: int, **changes: Any) -> None:
    for start in range(0, len(numbers), 100):
        batch = [trace(n, **changes) for n in numbers[start : start + 100]]
        assert {result.status for result in ingest(db, owner, batch, now=NOW)} == {"stored"}


def stored(db: Database, tenant_id: int) -> dict[int, tuple[Any, ...]]:
    """Every row, whole."""
    with db.read() as connection:
        rows = connection.execute(select(execution_trace).where(TRACE.tenant_id == tenant_id)).all()
    return {row.row_id: tuple(row) for row in rows}


def priorities(db: Database, tenant_id: int) -> dict[int, float]:
    at = list(TRACE.keys()).index("priority")
    return {row_id: row[at] for row_id, row in stored(db, tenant_id).items()}


def test_a_run_as_it_was(db: Database, owner: Principal) -> None:
    """Names, intent, path in order, outcome and what was foreseen; oldest first; nested runs by their name."""
    calls = [call(i, tool=tool) for i, tool in enumerate(("a:x", "capability:deep", "a:x"))]
    send(db, owner, 1, taskResults=calls, intent=None, success=False)
    send(db, owner, 2, taskResults=[], capabilityId="acme.tools.git.log.abab")
    first, second = runs.newest(db, owner.tenant_id, 10)
    assert first == Run(first.row, "local.default.git.release_notes", "", ("a:x", "capability:deep", "a:x"), False)
    assert second == Run(second.row, "acme.tools.git.log", "what changed", (), True)
    assert first.row < second.row
    assert runs.newest(db, owner.tenant_id, 1) == [second]


def test_a_path_is_cut(db: Database, owner: Principal) -> None:
    """Of a run of hundreds of calls the first ones count, in their order."""
    send(db, owner, 1, taskResults=[call(i, tool=f"s:{i}") for i in range(300)])
    (run,) = runs.newest(db, owner.tenant_id, 5)
    assert run.path == tuple(f"s:{i}" for i in range(runs.MAX_CALLS))


def test_mocked_runs_are_none(db: Database, owner: Principal) -> None:
    """F82: what a fake or a recording answered, wholly or in part, is neither read nor counted, nor
    drawn; nor is what ended because somebody had to be asked, or stopped it."""
    send(db, owner, 1)
    send(db, owner, 2, taskResults=[call(source="fake")])
    send(db, owner, 3, taskResults=[call(1), call(2, source="replay")])
    send(db, owner, 4, success=False, errorCode="APPROVAL_REQUIRED")
    send(db, owner, 5, success=False, errorCode="INTERRUPTED")
    (real,) = runs.newest(db, owner.tenant_id, 10)
    assert runs.of_rows(db, owner.tenant_id, range(100)) == [real]
    assert runs.count(db, owner.tenant_id) == 1
    assert [list(rows) for rows, _ in runs.priorities(db, owner.tenant_id, after=0, until=100)] == [[real.row]]


def test_pages_of_rows(db: Database, owner: Principal) -> None:
    """Whatever the size of a page, all rows come, once, ascending; newest ones are the newest of them."""
    stranger = principal(db, "stranger")
    for n in range(0, 60, 2):
        send(db, owner, n)
        send(db, stranger, n)
    mine = sorted(stored(db, owner.tenant_id))
    for page in (1, 7, 30, 31):
        found = list(runs.priorities(db, owner.tenant_id, after=0, until=mine[-1], page=page))
        assert np.concatenate([rows for rows, _ in found]).tolist() == mine
        assert set(np.concatenate([values for _, values in found])) == {0.5}
        assert np.concatenate(list(runs.rows(db, owner.tenant_id, until=mine[9], page=page))).tolist() == mine[:10]
    assert [run.row for run in runs.newest(db, owner.tenant_id, 12)] == mine[-12:]
    assert runs.count(db, owner.tenant_id, after=mine[4]) == 25
    assert runs.count(db, owner.tenant_id, until=mine[4]) == 5
    assert runs.last_row(db, owner.tenant_id) == mine[-1]


def test_the_index_of_real_runs_is_used(db: Database, owner: Principal) -> None:
    """F44: rows are read along it, and counted in it; nothing is sorted or scanned whole."""
    send(db, owner, *range(300))
    with recorded() as seen:
        list(runs.priorities(db, owner.tenant_id, after=10, until=200))
        list(runs.rows(db, owner.tenant_id, until=200))
        runs.count(db, owner.tenant_id, after=250)
        runs.newest(db, owner.tenant_id, 5)
    asked = [statement for statement in seen if "FROM execution_trace" in statement[0]]
    assert len(asked) >= 4
    for statement in asked:
        how = plan(db, statement)
        assert "ix_execution_trace_real" in how, how
        assert not re.search(r"TEMP B-TREE|Sort", how), how


def test_descriptions(db: Database, owner: Principal) -> None:
    """What a capability is for, as its newest publication says; another tenant's says nothing."""
    for n, said in enumerate(("old words", "new words")):
        one = Publication(fqdn="acme.tools.git.log", code=f"{n}", sha256=sha(f"{n}"), description=said)
        publish(db, owner, one, now=NOW.replace(minute=n))
    assert runs.texts(db, owner.tenant_id, ["acme.tools.git.log", "acme.no.such.one"]) == {
        "acme.tools.git.log": "new words"
    }
    assert runs.texts(db, principal(db, "stranger").tenant_id, ["acme.tools.git.log"]) == {}


def test_priorities_return_to_their_rows(db: Database, owner: Principal) -> None:
    """F45: shuffled over several batches, each lands on its row alone, and nothing but it changes."""
    stranger = principal(db, "stranger")
    send(db, owner, *range(250))
    send(db, stranger, *range(10))
    before, others = stored(db, owner.tenant_id), stored(db, stranger.tenant_id)
    dice = random.Random(7)
    rows = dice.sample(sorted(before), 150)
    wanted = {row: dice.random() for row in rows}
    theirs, nowhere = min(others), max(others) + 1000
    given = [*rows, theirs, nowhere]
    values = np.array([wanted.get(row, 1.0) for row in given])
    assert runs.write_priorities(db, owner.tenant_id, np.array(given), values, batch=40) == 150
    after, at = stored(db, owner.tenant_id), list(TRACE.keys()).index("priority")
    assert {row: found[at] for row, found in after.items() if row in wanted} == pytest.approx(wanted)
    for row, found in after.items():
        kept = before[row] if row not in wanted else (*before[row][:at], found[at], *before[row][at + 1 :])
        assert found == kept
    assert stored(db, stranger.tenant_id) == others


def test_a_row_that_was_pruned_is_passed_over(db: Database, owner: Principal) -> None:
    """F45: the others of its batch are written."""
    send(db, owner, 1, 2, 3)
    first, second, third = sorted(stored(db, owner.tenant_id))
    with db.write() as connection:
        connection.execute(text(f"DELETE FROM trace_tool WHERE row_id = {second}"))
        connection.execute(delete(execution_trace).where(TRACE.row_id == second))
    written = runs.write_priorities(db, owner.tenant_id, np.array([third, second, first]), np.array([0.9, 0.8, 0.7]))
    assert written == 2
    assert priorities(db, owner.tenant_id) == {first: 0.7, third: 0.9}


@pytest.mark.parametrize("values", [[0.5], [0.5, 1.5], [0.5, float("nan")], [-0.1, 0.5]])
def test_what_is_no_priority_writes_nothing(db: Database, owner: Principal, values: list[float]) -> None:
    """A fault of whoever reckons them is told before anything is changed."""
    send(db, owner, 1, 2)
    before = stored(db, owner.tenant_id)
    with pytest.raises(ValueError, match="priority"):
        runs.write_priorities(db, owner.tenant_id, np.array(sorted(before)), np.array(values))
    assert stored(db, owner.tenant_id) == before


def test_contention_is_waited_out(db_url: str) -> None:
    """Somebody else holds the row, or the file: it is tried again, with pauses, and written once he is gone; if he
    stays, the error says busy."""
    with ExitStack() as stack:
        db, other = (stack.enter_context(closing(open_database(db_url, wait_s=0.1))) for _ in range(2))
        owner = principal(db, "acme")
        send(db, owner, 1)
        (row,) = stored(db, owner.tenant_id)
        rows, value = np.array([row]), np.array([0.9])
        holding, done = threading.Event(), threading.Event()

        def hold() -> None:
            with other.write() as connection:
                connection.execute(text("UPDATE execution_trace SET calls = calls"))
                holding.set()
                done.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        stack.callback(thread.join, 30)
        stack.callback(done.set)
        assert holding.wait(30)
        pauses = list[float]()
        with pytest.raises(StoreUnavailable) as caught:
            runs.write_priorities(db, owner.tenant_id, rows, value, sleep=pauses.append)
        assert caught.value.reason == "STORE_BUSY"
        assert pauses == sorted(pauses)
        assert len(pauses) == 5

        def let_go(_seconds: float) -> None:
            done.set()
            thread.join(30)

        assert runs.write_priorities(db, owner.tenant_id, rows, value, sleep=let_go) == 1
        assert priorities(db, owner.tenant_id) == {row: 0.9}


def test_who_is_writing_is_waited_for(postgres_url: str) -> None:
    """A moment is not past while a transaction is open that had taken ids by then; later ones do not matter."""
    with ExitStack() as stack:
        db, other, third = (stack.enter_context(closing(open_database(postgres_url))) for _ in range(3))
        change = text("UPDATE tenant SET name = name")
        principal(db, "acme")
        with other.write() as connection:
            connection.execute(change)
            then = runs.mark(db)
            assert not runs.past(db, then)
        with third.write() as connection:
            connection.execute(change)
            assert runs.past(db, then)
