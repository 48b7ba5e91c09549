"""What a batch teaches: foreseen before it is stored, surprised by it, counted once, on both engines."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from belljar.learning.estimates import Evidence
from belljar.learning.things import Thing, path_id
from belljar.server.store import learned
from belljar.server.store.engine import Database, open_database
from belljar.server.store.ingest import ingest
from belljar.server.store.keys import Principal
from belljar.server.store.learned import Known
from belljar.server.store.queries import TraceDetail, get_trace
from belljar.tracing.types import Trace
from tests.server.conftest import NOW, principal
from tests.server.traces import call, trace, trace_id

LEARN = partial(learned.learn, now=NOW)


def run(n: int, *tools: str, success: bool = True, **changes: Any) -> Trace:
    """A trace that called these tools, all well but the last one of a failed run."""
    source = changes.pop("source", "real")
    last = len(tools) - 1
    tasks = [call(i, tool=tool, success=success or i < last, source=source) for i, tool in enumerate(tools)]
    return trace(n, success=success, taskResults=tasks, **changes)


def send(db: Database, owner: Principal, *traces: Trace) -> None:
    results = ingest(db, owner, traces, now=NOW, learn=LEARN)
    assert {result.status for result in results} == {"stored"}


def stored(db: Database, owner: Principal, n: int) -> TraceDetail:
    found = get_trace(db, owner.tenant_id, trace_id(n))
    assert found is not None
    return found


def of_tool(db: Database, owner: Principal, tool: str) -> Known | None:
    with db.read() as connection:
        return learned.known(connection, owner.tenant_id, [Thing("tool", tool)]).get(Thing("tool", tool))


def test_a_surprising_failure_is_worth_looking_at(db: Database, owner: Principal) -> None:
    """F43: what always worked and fails: priority over 0.5 in its row, TD error negative; what was foreseen, little."""
    send(db, owner, *(run(n, "git:log") for n in range(20)))
    send(db, owner, run(20, "git:log", success=False), run(21, "git:log"))
    failed, fine = stored(db, owner, 20).summary, stored(db, owner, 21).summary
    assert failed.predicted > 0.9
    assert failed.td_error == pytest.approx(-failed.predicted)
    assert failed.priority == pytest.approx(failed.predicted)
    assert fine.priority < 0.2


def test_the_first_run_of_all_is_even(db: Database, owner: Principal) -> None:
    """Where nothing is known 0.5 is foreseen, and each run of the same batch is learned from before the next."""
    send(db, owner, run(1, "a:x"), run(2, "a:x"))
    assert stored(db, owner, 1).summary.predicted == 0.5
    assert stored(db, owner, 2).summary.predicted > 0.5


def test_b_above_a(db: Database, owner: Principal) -> None:
    """F46: A fails 20 times, B succeeds 20 times."""
    send(db, owner, *(run(n, "s:a" if n % 2 else "s:b", success=n % 2 == 0) for n in range(40)))
    a, b = of_tool(db, owner, "s:a"), of_tool(db, owner, "s:b")
    assert a is not None
    assert b is not None
    assert (a.n, a.n_failed, b.n, b.n_failed) == (20, 20, 20, 0)
    assert a.chance < 0.1 < 0.9 < b.chance


def test_mocked_runs_move_nothing_real(db: Database, owner: Principal) -> None:
    """F82: runs that a fake answered, wholly or in part, leave every real statistic as it was, whatever they say."""
    send(db, owner, *(run(n, "s:t", "s:u") for n in range(5)))
    before = [of_tool(db, owner, tool) for tool in ("s:t", "s:u", "s:v")]
    mixed = [call(0, tool="s:t"), call(1, tool="s:v", source="fake", success=False)]
    send(
        db,
        owner,
        *(run(n, "s:t", "s:u", success=False, source="fake") for n in range(10, 30)),
        *(run(n, "s:t", success=False, source="replay", metadata={"mockedShare": 0.0}) for n in range(30, 40)),
        trace(50, success=False, taskResults=mixed),
    )
    assert [of_tool(db, owner, tool) for tool in ("s:t", "s:u", "s:v")] == before
    send(db, owner, run(60, "s:t", source="fake"))
    assert stored(db, owner, 60).summary.predicted < 0.3  # foreseen by what the fakes taught


def test_a_duplicate_teaches_nothing(db: Database, owner: Principal) -> None:
    """F37: a batch that comes again is not learned from again."""
    batch = [run(n, "s:t") for n in range(5)]
    send(db, owner, *batch)
    before = of_tool(db, owner, "s:t")
    assert {r.status for r in ingest(db, owner, batch, now=NOW, learn=LEARN)} == {"duplicate"}
    assert of_tool(db, owner, "s:t") == before


@pytest.mark.parametrize("code", ["APPROVAL_REQUIRED", "INTERRUPTED"])
def test_a_run_that_waits_for_people_teaches_nothing(db: Database, owner: Principal, code: str) -> None:
    """It failed at nobody's fault: what was known of its tools and its capability stays as it was."""
    send(db, owner, run(1, "a:1"), run(2, "a:1", success=False, errorCode=code), run(3, "b:1", "a:1"))
    found = of_tool(db, owner, "a:1")
    assert found is not None
    assert (found.n, found.n_failed) == (2, 0)
    assert found.by_key == (Evidence().then(True).then(True),)


def test_tenants_learn_apart(db: Database, owner: Principal) -> None:
    """What one tenant's runs taught is not known to another."""
    send(db, owner, *(run(n, "s:t") for n in range(5)))
    assert of_tool(db, principal(db, "stranger"), "s:t") is None


def test_what_came_next_is_a_tree(db: Database, owner: Principal) -> None:
    """From the calls made so far to those that came next, with how often and how well."""
    send(db, owner, run(1, "a:1", "b:2", "c:3"), run(2, "a:1", "b:2", "d:4", success=False), run(3, "b:2", "e:5"))
    with db.read() as connection:
        after = learned.successors(connection, owner.tenant_id, "path", path_id(["a:1", "b:2"]))
        first = learned.successors(connection, owner.tenant_id, "path", path_id([]))
        pairs = learned.successors(connection, owner.tenant_id, "pair", "b:2")
    assert {(each.thing.tool, each.n, each.n_failed) for each in after} == {("c:3", 1, 0), ("d:4", 1, 1)}
    assert {(each.thing.tool, each.n) for each in first} == {("a:1", 2), ("b:2", 1)}
    assert {each.thing.tool for each in pairs} == {"c:3", "d:4", "e:5"}


def test_two_replicas_count_exactly(db_url: str) -> None:
    """Batches that meet on the same rows, from several connections at once: no lost count, no deadlock."""
    databases = [open_database(db_url), open_database(db_url)]
    try:
        owner = principal(databases[0], "acme")
        batches = [[run(10 * i + j, "s:hot", f"s:{j % 3}", success=j % 2 == 0) for j in range(10)] for i in range(12)]

        def one(i: int) -> None:
            send(databases[i % 2], owner, *batches[i])

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(one, range(12)))
        hot = of_tool(databases[0], owner, "s:hot")
        assert hot is not None
        assert (hot.n, hot.n_failed) == (120, 60)
    finally:
        for database in databases:
            database.close()


def test_the_database_counts_as_the_formula_does(db: Database, owner: Principal) -> None:
    """However runs are cut into batches, the decayed counts are those of one observation after the other."""
    dice, expected = random.Random(5), dict[str, Evidence]()
    runs = [(f"s:{dice.randrange(4)}", dice.random() < 0.6) for _ in range(150)]
    for tool, success in runs:
        expected[tool] = expected.get(tool, Evidence()).then(success)
    sent = 0
    while sent < len(runs):
        size = dice.randint(1, 30)
        send(db, owner, *(run(sent + i, tool, success=ok) for i, (tool, ok) in enumerate(runs[sent : sent + size])))
        sent += size
    for tool, evidence in expected.items():
        found = of_tool(db, owner, tool)
        assert found is not None
        assert found.n == sum(tool == each for each, _ in runs)
        assert found.by_key[0].successes == pytest.approx(evidence.successes)
        assert found.by_key[0].failures == pytest.approx(evidence.failures)
