"""What becomes of a batch of traces."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import msgpack
import pytest
from sqlalchemy import Connection, select, text

from belljar.server.store.engine import Database
from belljar.server.store.errors import StoreRefused
from belljar.server.store.ingest import MAX_BATCH, ItemResult, KeyRevoked, Sent, ingest
from belljar.server.store.keys import Principal, authenticate, create_key, revoke_key
from belljar.server.store.queries import TraceDetail, get_trace, trace_tree
from belljar.server.store.schema import execution_trace, tool_stats, trace_tool
from belljar.tracing.types import decode
from tests.server.conftest import NOW, principal
from tests.server.statements import recorded
from tests.server.traces import call, trace, trace_id, wire


def outcomes(results: list[ItemResult]) -> list[tuple[str, str | None]]:
    return [(result.status, result.code) for result in results]


def stored(db: Database, owner: Principal, n: int = 1) -> TraceDetail:
    found = get_trace(db, owner.tenant_id, trace_id(n))
    assert found is not None
    return found


def rows(db: Database, owner: Principal) -> int:
    with db.read() as connection:
        mine = select(execution_trace.c.row_id).where(execution_trace.c.tenant_id == owner.tenant_id)
        return len(connection.execute(mine).all())


# Idempotence


def test_a_batch_twice_is_stored_once(db: Database, owner: Principal) -> None:
    """F37: sending again changes nothing and says so, item by item."""
    batch = [trace(n) for n in range(10)]
    assert outcomes(ingest(db, owner, batch, now=NOW)) == [("stored", None)] * 10
    assert outcomes(ingest(db, owner, batch, now=NOW)) == [("duplicate", None)] * 10
    assert rows(db, owner) == 10


def test_results_come_in_the_order_of_the_batch(db: Database, owner: Principal) -> None:
    """F36: each item has its own result, whatever order the rows went in."""
    ingest(db, owner, [trace(5), trace(2, intent="first")], now=NOW)
    results = ingest(db, owner, [trace(9), trace(2, intent="second"), trace(5), trace(1)], now=NOW)
    assert [r.trace_id for r in results] == [trace_id(n) for n in (9, 2, 5, 1)]
    assert [r.status for r in results] == ["stored", "rejected", "duplicate", "stored"]
    assert results[1].to_wire() == {
        "traceId": trace_id(2),
        "status": "rejected",
        "code": "CONTENT_MISMATCH",
        "message": "this id is stored with other content",
    }
    assert stored(db, owner, 2).summary.intent == "first"


def test_the_same_id_twice_in_one_batch(db: Database, owner: Principal) -> None:
    """F37: the first counts; the same again is a duplicate, another one rejected."""
    batch = [trace(1), trace(1), trace(1, intent="other"), trace(1)]
    expected = [("stored", None), ("duplicate", None), ("rejected", "CONTENT_MISMATCH"), ("duplicate", None)]
    assert outcomes(ingest(db, owner, batch, now=NOW)) == expected
    again = [trace(1, intent="other"), trace(1)]
    assert outcomes(ingest(db, owner, again, now=NOW)) == [("rejected", "CONTENT_MISMATCH"), ("duplicate", None)]
    assert rows(db, owner) == 1


def test_what_is_compared_is_content(db: Database, owner: Principal) -> None:
    """F37: the order of keys, msgpack instead of JSON, a userId and unknown keys make no other trace."""
    ingest(db, owner, [trace()], now=NOW)
    reordered = decode(dict(reversed(wire().items())))
    packed = decode(msgpack.unpackb(msgpack.packb(wire())))
    claimed = trace(userId="somebody", unheardOf=[1])
    assert outcomes(ingest(db, owner, [reordered, packed, claimed], now=NOW)) == [("duplicate", None)] * 3
    for changed in (trace(success=False), trace(taskResults=[call(args={"max_count": 2})]), trace(decisions=[])):
        assert outcomes(ingest(db, owner, [changed], now=NOW)) == [("rejected", "CONTENT_MISMATCH")]


def test_a_trace_is_its_senders(db: Database, owner: Principal) -> None:
    """F36: the userId is the key that sent it, whatever the client says."""
    ingest(db, owner, [trace(userId="root")], now=NOW)
    assert stored(db, owner).to_wire()["userId"] == owner.key_id


def test_tenants_do_not_meet(db: Database, owner: Principal) -> None:
    """F38: the same id of two tenants is two traces; neither sees, blocks or parents the other's."""
    other = principal(db, "other")
    assert outcomes(ingest(db, owner, [trace(1)], now=NOW)) == [("stored", None)]
    child = trace(2, parentTraceId=trace_id(1))
    assert outcomes(ingest(db, other, [trace(1, intent="theirs"), child], now=NOW)) == [("stored", None)] * 2
    assert stored(db, owner, 1).summary.intent == "what changed"
    mine = trace_tree(db, owner.tenant_id, trace_id(1))
    assert mine is not None
    assert mine.children == []
    assert get_trace(db, owner.tenant_id, trace_id(2)) is None


def test_nothing_and_too_much(db: Database, owner: Principal) -> None:
    """F36: an empty batch is no error; one trace too many refuses the batch and stores none."""
    assert ingest(db, owner, [], now=NOW) == []
    with pytest.raises(StoreRefused, match="more than 100") as caught:
        ingest(db, owner, [trace(n) for n in range(MAX_BATCH + 1)], now=NOW)
    assert caught.value.reason == "TOO_LARGE"
    assert rows(db, owner) == 0
    assert len(ingest(db, owner, [trace(n) for n in range(MAX_BATCH)], now=NOW)) == MAX_BATCH


def test_parents_may_come_after_their_children(db: Database, owner: Principal) -> None:
    """F21: grandchild, child, then parent, in separate batches: one tree."""
    for n, parent in ((3, 2), (2, 1), (4, 1)):
        ingest(db, owner, [trace(n, parentTraceId=trace_id(parent))], now=NOW)
    ingest(db, owner, [trace(1)], now=NOW)
    tree = trace_tree(db, owner.tenant_id, trace_id(1))
    assert tree is not None
    assert [child.trace.summary.trace_id for child in tree.children] == [trace_id(2), trace_id(4)]
    assert [child.trace.summary.trace_id for child in tree.children[0].children] == [trace_id(3)]


def test_a_whole_batch_is_few_statements(db: Database, owner: Principal) -> None:
    """A batch costs the same number of statements whether it has one trace or a hundred."""
    counts = list[int]()
    for size, first in ((1, 1000), (MAX_BATCH, 2000)):
        batch = [trace(first + n, capabilityId=f"acme.x.y.z{n}.abab") for n in range(size)]
        with recorded() as seen:
            ingest(db, owner, batch, now=NOW)
        counts.append(len([statement for statement, _ in seen if not statement.startswith(("BEGIN", "SELECT 1"))]))
    # names, traces with their tools, the tools' figures; SQLite: also what is there, the last row, tools by themselves
    assert counts == ([6, 6] if db.dialect == "sqlite" else [3, 3])


def test_a_key_that_is_no_more(db: Database, owner: Principal) -> None:
    """F36: the transaction itself asks; the batch of a revoked key is refused whole, that of a good one is stored."""
    good, gone = principal(db, "acme"), principal(db, "acme")
    assert revoke_key(db, gone.key_id, now=NOW)
    assert outcomes(ingest(db, good, [trace(1)], now=NOW, ask=True)) == [("stored", None)]
    for batch in ([trace(2)], []):
        with pytest.raises(KeyRevoked):
            ingest(db, gone, batch, now=NOW, ask=True)
    ends = create_key(db, "acme", ["ingest"], expires_at=NOW + timedelta(seconds=1), now=NOW)
    brief = authenticate(db, ends.key, now=NOW)
    assert brief is not None
    assert outcomes(ingest(db, brief, [trace(3)], now=NOW, ask=True)) == [("stored", None)]
    with pytest.raises(KeyRevoked):
        ingest(db, brief, [trace(4)], now=NOW + timedelta(seconds=1), ask=True)
    assert rows(db, owner) == 2


# What is kept


def test_a_trace_comes_back_as_it_was_sent(db: Database, owner: Principal) -> None:
    """F19 F22 F40: every field of calls and decisions survives, iterations included."""
    calls = [call(n, callSite=7, iteration=n, layerIndex=n % 2, sourceDetail="x", errorCode="E") for n in (1, 2, 3)]
    sent = trace(taskResults=calls, workflowId="w", errorMessage="boom", errorCode="RPC_ERROR", success=False)
    ingest(db, owner, [sent], now=NOW)
    back = stored(db, owner).to_wire()
    expected = sent.to_wire() | {"userId": owner.key_id}
    assert {key: back[key] for key in expected} | {"timestamp": expected["timestamp"]} == expected
    assert (back["predicted"], back["tdError"], back["priority"]) == (0.5, -0.5, 0.5)
    assert back["receivedAt"] == "2026-11-21T12:00:00.000000Z"
    assert decode(back).task_results == sent.task_results


def test_tools_are_counted(db: Database, owner: Principal) -> None:
    """F82: per trace and for ever; mocked calls are counted apart and move nothing real."""
    calls = [call(1), call(2, success=False), call(3, source="fake", success=False), call(4, tool="fs:read")]
    ingest(db, owner, [trace(1, taskResults=calls), trace(2)], now=NOW)
    ingest(db, owner, [trace(1, taskResults=calls)], now=NOW)  # a duplicate counts once
    with db.read() as connection:
        found = connection.execute(select(tool_stats).order_by(tool_stats.c.tool)).all()
        per_trace = connection.execute(select(trace_tool).order_by(trace_tool.c.row_id, trace_tool.c.tool)).all()
    assert [(t.tool, t.calls, t.failures, t.mocked, t.duration_ms) for t in found] == [
        ("fs:read", 1, 0, 0, 1.5),
        ("git:git_log", 3, 1, 1, 4.5),
    ]
    assert [(t.tool, t.calls, t.mocked) for t in per_trace] == [
        ("fs:read", 1, 0),
        ("git:git_log", 2, 1),
        ("git:git_log", 1, 0),
    ]
    assert stored(db, owner).to_wire()["metadata"]["mockedShare"] == 0.25  # counted here, whatever was claimed


# One bad item


def make_refuse(db: Database, intent: str) -> None:
    """Have the database itself refuse traces with this intent: something that no check of ours foresaw."""
    if db.dialect == "postgresql":
        statements = [f"ALTER TABLE execution_trace ADD CONSTRAINT poison CHECK (intent <> '{intent}')"]
    else:
        condition = f"WHEN NEW.intent = '{intent}' BEGIN SELECT RAISE(ABORT, 'refused'); END"
        statements = [f"CREATE TRIGGER poison BEFORE INSERT ON execution_trace {condition}"]
    with db.write() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_what_the_database_refuses_is_rejected_alone(db: Database, owner: Principal) -> None:
    """F36: the batch is done again trace by trace; the others are stored, counted and learned from once."""
    make_refuse(db, "poison")
    lessons = list[Taught]()

    def learn(_connection: Connection, _tenant_id: int, sent: Sequence[Sent]) -> Taught:
        lessons.append(Taught(sent))
        return lessons[-1]

    batch = [trace(n, intent="poison" if n in (0, 4) else "fine") for n in range(6)]
    results = ingest(db, owner, batch, now=NOW, learn=learn)
    assert [(r.status, r.code) for r in results] == [
        ("rejected", "UNSTORABLE") if n in (0, 4) else ("stored", None) for n in range(6)
    ]
    assert lessons[-1].learned == [trace_id(n) for n in (1, 2, 3, 5)]
    assert not any(lesson.learned for lesson in lessons[:-1])
    with db.read() as connection:
        assert connection.scalar(select(tool_stats.c.calls)) == 4
    assert "poison" not in str(results[0].message)


# The learner's seam


class Taught:
    """A lesson that foresees the same of every trace, and notes what it was told to learn from."""

    def __init__(self, sent: Sequence[Sent], chance: float = 0.5) -> None:
        self.predicted = [chance] * len(sent)
        self.learned = list[str]()
        self._sent = sent

    def learn(self, connection: Connection, stored: Sequence[bool]) -> None:
        self.learned += [each.trace.trace_id for each, new in zip(self._sent, stored, strict=True) if new]


def test_the_learner_sees_new_traces_and_says_what_it_expected(db: Database, owner: Principal) -> None:
    """F43: a failure thought unlikely has a priority above 0.5 in its row; duplicates are not learned twice."""
    seen = list[tuple[int, list[str]]]()

    class Lesson(Taught):
        def learn(self, connection: Connection, stored: Sequence[bool]) -> None:
            super().learn(connection, stored)
            there = connection.execute(select(execution_trace.c.trace_id)).scalars().all()
            assert set(self.learned) <= set(there)  # the same transaction
            seen.append((owner.tenant_id, self.learned))

    def learn(_connection: Connection, tenant_id: int, sent: Sequence[Sent]) -> Lesson:
        assert tenant_id == owner.tenant_id
        return Lesson(sent, 0.9)

    batch = [trace(3), trace(2, success=False), trace(1)]
    ingest(db, owner, batch, now=NOW, learn=learn)
    ingest(db, owner, batch, now=NOW, learn=learn)
    assert seen == [(owner.tenant_id, [trace_id(n) for n in (1, 2, 3)]), (owner.tenant_id, [])]
    failed, fine = stored(db, owner, 2).summary, stored(db, owner, 1).summary
    assert (failed.predicted, failed.td_error, failed.priority) == (0.9, -0.9, 0.9)
    assert (round(fine.td_error, 6), round(fine.priority, 6)) == (0.1, 0.1)


@pytest.mark.parametrize(("predicted", "priority"), [(1.0, 0.01), (7.0, 0.01), (-3.0, 1.0)])
def test_a_priority_is_never_nothing_nor_beyond_one(
    db: Database, owner: Principal, predicted: float, priority: float
) -> None:
    """F43: clip(|td error|, 0.01, 1), whatever the learner says."""
    ingest(db, owner, [trace()], now=NOW, learn=lambda _c, _t, sent: Taught(sent, predicted))
    assert stored(db, owner).summary.priority == priority


def test_a_learner_that_fails_takes_the_batch_back(db: Database, owner: Principal) -> None:
    """What is stored was learned from: a batch is both or neither."""

    class Broken(Taught):
        def learn(self, connection: Connection, stored: Sequence[bool]) -> None:
            raise RuntimeError("broken")

    def learn(_connection: Connection, _tenant_id: int, sent: Sequence[Sent]) -> Broken:
        return Broken(sent)

    with pytest.raises(RuntimeError, match="broken"):
        ingest(db, owner, [trace()], now=NOW, learn=learn)
    assert rows(db, owner) == 0
    with db.read() as connection:
        assert connection.execute(select(tool_stats)).all() == []


# Several clients in one go


def test_what_one_client_sent_fails_nobody_else(db: Database, owner: Principal) -> None:
    """A batch that cannot be stored or learned from, in one go with others': they are stored, and it alone fails."""
    other, entered, leave = principal(db, "other"), threading.Event(), threading.Event()

    def learn(_connection: Connection, tenant_id: int, sent: Sequence[Sent]) -> Taught:
        if not entered.is_set():  # the first go holds the others back until all of them wait
            entered.set()
            assert leave.wait(20)
        if tenant_id == other.tenant_id:
            raise ArithmeticError("a fault of ours")
        return Taught(sent)

    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(ingest, db, owner, [trace(1)], now=NOW, learn=learn)
        assert entered.wait(20)
        good = threads.submit(ingest, db, owner, [trace(2)], now=NOW, learn=learn)
        bad = threads.submit(ingest, db, other, [trace(3)], now=NOW, learn=learn)
        late = threads.submit(ingest, db, owner, [trace(4)], now=NOW, learn=learn)
        deadline = time.monotonic() + 20
        while len(db._together._waiting) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        leave.set()
        assert [outcomes(each.result(20)) for each in (first, good, late)] == [[("stored", None)]] * 3
        with pytest.raises(ArithmeticError):
            bad.result(20)
    assert (rows(db, owner), rows(db, other)) == (3, 0)
