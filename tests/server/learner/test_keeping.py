"""A replay that is in step with the store, whatever happens there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Transaction, insert, select, text

from belljar.server.learner.budget import Stopped
from belljar.server.learner.keeping import Keeping
from belljar.server.store.engine import Database, open_database
from belljar.server.store.ingest import ingest
from belljar.server.store.keys import Principal
from belljar.server.store.schema import execution_trace
from tests.server.conftest import NOW, principal
from tests.server.traces import call, trace, trace_id

TRACE = execution_trace.c
# hypothesis seeds `random`, and a database is the same for all examples.
TENANTS = count(1)


def free() -> None:
    """Costs nothing."""


def real(db: Database, owner: Principal) -> dict[int, float]:
    with db.read() as connection:
        mine = select(TRACE.row_id, TRACE.priority).where(TRACE.tenant_id == owner.tenant_id, TRACE.mocked_share == 0)
        return {row.row_id: row.priority for row in connection.execute(mine)}


def template(db: Database, owner: Principal) -> dict[str, Any]:
    """A row that is stored, to make others like it."""
    ingest(db, owner, [trace(0)], now=NOW)
    with db.read() as connection:
        row = connection.execute(select(execution_trace).where(TRACE.tenant_id == owner.tenant_id)).one()
    return {key: value for key, value in row._mapping.items() if key != "row_id"}


def like(row: dict[str, Any], n: int, **changes: Any) -> dict[str, Any]:
    return {**row, "trace_id": trace_id(n), **changes}


def remove(db: Database, rows: list[int]) -> None:
    with db.write() as connection:
        for row in rows:
            connection.execute(text(f"DELETE FROM trace_tool WHERE row_id = {row}"))
            connection.execute(text(f"DELETE FROM execution_trace WHERE row_id = {row}"))


def weights(keeping: Keeping) -> dict[int, float]:
    """Probability of each row to be drawn, from many draws' own words."""
    sample = keeping.replay.sample(4000, np.random.default_rng(1))
    return dict(zip(sample.rows.tolist(), sample.probabilities.tolist(), strict=True))


def in_step(keeping: Keeping, db: Database, owner: Principal) -> None:
    there = real(db, owner)
    assert keeping.replay.rows.tolist() == sorted(there)
    assert len(keeping.replay) == len(there)


def test_new_rows_come_and_removed_ones_go(db: Database, owner: Principal) -> None:
    """F44: real ones alone, of this tenant, with their priorities; counted since any row."""
    keeping = Keeping(db, owner.tenant_id, paid=free)
    assert (keeping.follow(), keeping.compare()) == (0, 0)
    ingest(db, owner, [trace(n) for n in range(10)], now=NOW)
    ingest(db, principal(db, "stranger"), [trace(n) for n in range(5)], now=NOW)
    ingest(db, owner, [trace(20, taskResults=[call(source="fake")])], now=NOW)
    assert (keeping.follow(), keeping.follow()) == (10, 0)
    in_step(keeping, db, owner)
    rows = sorted(real(db, owner))
    assert (keeping.new_since(0), keeping.new_since(rows[6]), keeping.new_since(rows[-1])) == (10, 3, 0)
    remove(db, rows[2:4])
    assert (keeping.compare(), keeping.compare()) == (2, 0)
    in_step(keeping, db, owner)
    ingest(db, owner, [trace(n) for n in range(30, 33)], now=NOW)
    assert keeping.follow() == 3
    in_step(keeping, db, owner)


@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("db_url", ["sqlite"], indirect=True)
def test_whatever_happens_on_sqlite(db: Database, data: st.DataObject) -> None:
    """F44: any row of inserts, removals - of the newest rows too, whose ids are given out again - and looks: after one
    more look the rows are the store's."""
    owner = principal(db, f"t{next(TENANTS)}")
    row = template(db, owner)
    keeping, numbers = Keeping(db, owner.tenant_id, paid=free), iter(range(1, 10_000))
    for act in data.draw(st.lists(st.sampled_from(["insert", "remove", "newest", "follow", "compare"]), max_size=25)):
        there = sorted(real(db, owner))
        if act == "insert":
            with db.write() as connection:
                connection.execute(insert(execution_trace), [like(row, next(numbers)) for _ in range(3)])
        elif act == "remove" and there:
            remove(db, data.draw(st.lists(st.sampled_from(there), max_size=4, unique=True)))
        elif act == "newest":
            remove(db, there[-2:])
        elif act == "follow":
            keeping.follow()
        else:
            keeping.compare()
    keeping.follow()
    keeping.compare()
    in_step(keeping, db, owner)


class Writer:
    """A transaction of its own, for as long as it likes."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.open: Transaction | None = None

    def insert(self, row: dict[str, Any]) -> None:
        if self.open is None:
            self.open = self.connection.begin()
        self.connection.execute(insert(execution_trace), [row])

    def end(self, commit: bool) -> None:
        if self.open is not None:
            (self.open.commit if commit else self.open.rollback)()
            self.open = None


@pytest.fixture
def writers(postgres_url: str) -> Iterator[list[Writer]]:
    with ExitStack() as stack:
        connections = list[Connection]()
        for _ in range(3):
            db = stack.enter_context(closing(open_database(postgres_url)))
            connections.append(stack.enter_context(closing(db.alone())))
        made = [Writer(connection.execution_options(isolation_level="READ COMMITTED")) for connection in connections]
        yield made
        for writer in made:
            writer.end(commit=False)


@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("db_url", ["postgresql"], indirect=True)
def test_whatever_happens_on_postgresql(db: Database, writers: list[Writer], data: st.DataObject) -> None:
    """F44: transactions that take row ids and commit in any other order, or never, while the replay follows: none is
    skipped, none comes twice, and what it knows is a beginning of what there will be."""
    owner = principal(db, f"t{next(TENANTS)}")
    row = template(db, owner)
    keeping, numbers = Keeping(db, owner.tenant_id, paid=free), iter(range(1, 10_000))
    acts = st.tuples(st.sampled_from(["insert", "insert", "commit", "abort", "follow", "remove"]), st.integers(0, 2))
    for act, which in data.draw(st.lists(acts, max_size=25)):
        if act == "insert":
            writers[which].insert(like(row, next(numbers)))
        elif act in ("commit", "abort"):
            writers[which].end(commit=act == "commit")
        elif act == "remove" and (there := sorted(real(db, owner))):
            remove(db, [data.draw(st.sampled_from(there))])
        else:
            keeping.follow()
    for writer in writers:
        writer.end(commit=True)
    keeping.follow()
    keeping.follow()
    keeping.compare()
    in_step(keeping, db, owner)


def test_a_late_row_is_not_skipped(postgres_url: str, writers: list[Writer]) -> None:
    """F44: a batch that took its ids first and commits last: nothing above it is taken before it is there."""
    with closing(open_database(postgres_url)) as db:
        owner = principal(db, "acme")
        row = template(db, owner)
        keeping = Keeping(db, owner.tenant_id, paid=free)
        assert keeping.follow() == 1
        slow, quick = writers[:2]
        slow.insert(like(row, 1))
        quick.insert(like(row, 2))
        quick.end(commit=True)
        assert [keeping.follow(), keeping.follow()] == [0, 0]
        slow.end(commit=True)
        assert keeping.follow() == 2
        in_step(keeping, db, owner)


def test_priorities_are_the_stores(db: Database, owner: Principal) -> None:
    """F44: rows are drawn by the priority that stands in them; and after an update by the new one."""
    row = template(db, owner)
    with db.write() as connection:
        connection.execute(insert(execution_trace), [like(row, n, priority=n / 10) for n in range(1, 8)])
    keeping = Keeping(db, owner.tenant_id, paid=free)
    keeping.follow()
    there = real(db, owner)
    total = sum(value**0.6 for value in there.values())
    assert weights(keeping) == pytest.approx({row: value**0.6 / total for row, value in there.items()})
    rows = np.array(sorted(there))
    keeping.update(rows[::-1].copy(), np.full(len(rows), 0.25))
    assert weights(keeping) == pytest.approx(dict.fromkeys(there, 1 / len(there)))


def test_no_more_than_the_newest(db: Database, owner: Principal) -> None:
    """Memory is bounded: above it, the oldest are let go of."""
    row = template(db, owner)
    keeping = Keeping(db, owner.tenant_id, paid=free, most=20)
    for start in range(1, 61, 5):
        with db.write() as connection:
            connection.execute(insert(execution_trace), [like(row, start + n) for n in range(5)])
        keeping.follow()
        assert len(keeping.replay) <= 25
    assert keeping.replay.rows.tolist() == sorted(real(db, owner))[-len(keeping.replay) :]
    late = Keeping(db, owner.tenant_id, paid=free, most=20)
    late.follow()
    assert late.replay.rows.tolist() == sorted(real(db, owner))[-20:]
    assert late.compare() == 0


@pytest.mark.parametrize("db_url", ["sqlite"], indirect=True)
def test_given_up_in_the_middle(db: Database, owner: Principal) -> None:
    """Told to stop while it reads: what was read is right, and it can go on from there."""
    row = template(db, owner)
    with db.write() as connection:
        connection.execute(insert(execution_trace), [like(row, n) for n in range(1, 50)])
    left = iter([None, None])

    def paid() -> None:
        if next(left, "over") == "over" and not going_on:
            raise Stopped

    going_on = False
    keeping = Keeping(db, owner.tenant_id, paid=paid, page=10)
    with pytest.raises(Stopped):
        keeping.follow()
    going_on = True
    keeping.follow()
    in_step(keeping, db, owner)


@pytest.mark.slow
@pytest.mark.parametrize("db_url", ["sqlite"], indirect=True)
def test_many_are_read_in_seconds(db: Database, owner: Principal) -> None:
    """F44: two hundred thousand rows, built in a fraction of a minute of processor: a million in seconds."""
    row = template(db, owner)
    names = ", ".join(row)
    values = ", ".join("printf('%08d-0000-7000-8000-000000000000', n)" if c == "trace_id" else c for c in row)
    with db.write() as connection:
        connection.execute(
            text(
                f"WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 200000)"
                f" INSERT INTO execution_trace ({names}) SELECT {values} FROM many, execution_trace"
            )
        )
    keeping, began = Keeping(db, owner.tenant_id, paid=free), time.process_time()
    assert keeping.follow() == 200_001
    assert time.process_time() - began < 10
