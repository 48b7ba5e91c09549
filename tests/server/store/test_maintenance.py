"""F41 F42: retention, anonymizing, export."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text

from belljar.server.store.engine import Database
from belljar.server.store.errors import StoreRefused
from belljar.server.store.ingest import ingest
from belljar.server.store.keys import Principal
from belljar.server.store.maintenance import Pruned, anonymize, export, prune
from belljar.server.store.queries import TraceFilter, get_trace, list_traces
from belljar.server.store.schema import execution_trace, trace_tool
from tests.server.conftest import NOW, principal
from tests.server.traces import call, trace, trace_id

OLD, CUT = NOW - timedelta(days=100), NOW - timedelta(days=90)


def left(db: Database, owner: Principal) -> set[int]:
    mine = select(execution_trace.c.trace_id).where(execution_trace.c.tenant_id == owner.tenant_id)
    with db.read() as connection:
        return {int(found[-12:], 16) for found in connection.scalars(mine)}


def prioritize(db: Database, priorities: dict[int, float]) -> None:
    with db.write() as connection:
        for n, priority in priorities.items():
            row = execution_trace.c.trace_id == trace_id(n)
            connection.execute(execution_trace.update().where(row).values(priority=priority))


# Retention


def test_old_traces_go_and_what_taught_much_stays(db: Database, owner: Principal) -> None:
    """F42: by the time we received them, whatever their clock said; what is at 0.5 taught nothing special."""
    ingest(db, owner, [trace(n) for n in range(6)], now=OLD)
    ingest(db, owner, [trace(10, timestamp="1999-01-01T00:00:00Z")], now=NOW)
    prioritize(db, {1: 0.9, 2: 0.51, 3: 0.01})
    assert prune(db, received_before=CUT) == Pruned(looked_at=6, removed=4, kept_priority=2, kept_parents=0)
    assert left(db, owner) == {1, 2, 10}
    with db.read() as connection:
        assert connection.scalar(select(func.count()).select_from(trace_tool)) == 3
    assert prune(db, received_before=CUT) == Pruned(looked_at=2, removed=0, kept_priority=2, kept_parents=0)


def test_what_is_above_a_kept_trace_stays(db: Database, owner: Principal) -> None:
    """F42: a whole line of parents, whether the child is young or taught much; siblings go."""
    family = {2: 1, 3: 2, 4: 2, 5: 1, 7: 6, 8: 7}
    ingest(db, owner, [trace(1), trace(6), *(trace(n, parentTraceId=trace_id(p)) for n, p in family.items())], now=OLD)
    ingest(db, owner, [trace(20, parentTraceId=trace_id(8))], now=NOW)
    prioritize(db, {3: 0.8})
    assert prune(db, received_before=CUT) == Pruned(looked_at=8, removed=2, kept_priority=1, kept_parents=5)
    assert left(db, owner) == {1, 2, 3, 6, 7, 8, 20}


def test_another_tenants_child_keeps_nothing(db: Database, owner: Principal) -> None:
    """F42: and one tenant can be pruned alone."""
    other = principal(db, "other")
    for who in (owner, other):
        ingest(db, who, [trace(1)], now=OLD)
    ingest(db, other, [trace(2, parentTraceId=trace_id(1))], now=NOW)
    assert prune(db, received_before=CUT, tenant_id=owner.tenant_id).removed == 1
    assert (left(db, owner), left(db, other)) == (set(), {1, 2})
    assert prune(db, received_before=CUT).kept_parents == 1


def test_traces_that_are_each_others_parents_go_too(db: Database, owner: Principal) -> None:
    """F42: nobody makes traces that stay for ever by claiming a ring, and the search ends."""
    ring = {1: 2, 2: 3, 3: 1, 4: 4}
    ingest(db, owner, [trace(n, parentTraceId=trace_id(p)) for n, p in ring.items()], now=OLD)
    chain = [trace(n, parentTraceId=trace_id(n - 1)) for n in range(100, 180)]
    ingest(db, owner, chain, now=OLD)
    assert prune(db, received_before=CUT).removed == 84
    assert left(db, owner) == set()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_pruning_keeps_exactly_what_it_says(db: Database, owner: Principal, data: st.DataObject) -> None:
    """F42: against the rule written out, over forests of any shape, arriving in any order."""
    size = data.draw(st.integers(1, 12))
    parents = {n: data.draw(st.integers(0, n - 1)) for n in range(1, size) if data.draw(st.booleans())}
    young = {n for n in range(size) if data.draw(st.integers(0, 4)) == 0}
    dear = {n for n in range(size) if data.draw(st.integers(0, 4)) == 0}
    with db.write() as connection:
        connection.execute(text("DELETE FROM trace_tool"))
        connection.execute(text("DELETE FROM execution_trace"))
    for n in data.draw(st.permutations(range(size))):
        of = {"parentTraceId": trace_id(parents[n])} if n in parents else {}
        ingest(db, owner, [trace(n, **of)], now=NOW if n in young else OLD)
    prioritize(db, dict.fromkeys(dear, 0.9))
    kept = young | dear
    for n in range(size - 1, 0, -1):
        if n in kept and n in parents:
            kept = kept | {parents[n]}
    pages = 1
    while prune(db, received_before=CUT, batch=data.draw(st.integers(13, 40))).removed:
        pages += 1
    assert left(db, owner) == kept
    assert pages <= 2


def test_pruning_goes_page_by_page(db: Database, owner: Principal) -> None:
    """F42: more than a page; the server can write between them."""
    ingest(db, owner, [trace(n) for n in range(100)], now=OLD)
    ingest(db, owner, [trace(n) for n in range(100, 130)], now=NOW)
    assert prune(db, received_before=CUT, batch=7).removed == 100
    assert left(db, owner) == set(range(100, 130))


# Anonymizing

SECRET = "s3cr3t"


def telling() -> Any:
    """A trace that says its secret wherever it can."""
    return trace(
        1,
        intent=SECRET,
        workflowId=SECRET,
        errorMessage=SECRET,
        errorCode="RPC_ERROR",
        success=False,
        taskResults=[
            call(
                1,
                args={SECRET: SECRET},
                result=[SECRET],
                sourceDetail=SECRET,
                grant=SECRET,
                errorCode="RPC_ERROR",
                success=False,
            ),
            call(2, source="fake", callSite=9, layerIndex=1, args=SECRET, result=SECRET),
        ],
        decisions=[{"nodeId": "L3", "outcome": "false", "condition": SECRET}],
        metadata={
            "backend": "wasm",
            "walls": ["w"],
            "ledgerHead": SECRET,
            "truncated": {f"/taskResults/0/args/{SECRET}": 9},
        },
    )


def test_anonymizing_removes_who_and_what(db: Database, owner: Principal) -> None:
    """F41: arguments too, and everything else that could say it, in every column; the shape, success and times stay."""
    ingest(db, owner, [telling()], now=NOW)
    before = get_trace(db, owner.tenant_id, trace_id(1))
    assert anonymize(db, owner.tenant_id, [trace_id(1), trace_id(2)], now=NOW) == 1
    with db.read() as connection:
        assert SECRET not in repr(connection.execute(select(execution_trace)).all())
    found = get_trace(db, owner.tenant_id, trace_id(1))
    assert found is not None
    assert before is not None
    wire, was = found.to_wire(), before.to_wire()
    assert owner.key_id not in repr(wire)
    for key in (
        "traceId",
        "capabilityId",
        "capabilityHash",
        "success",
        "durationMs",
        "timestamp",
        "errorCode",
        "priority",
    ):
        assert wire[key] == was[key]
    for key in ("tool", "success", "state", "durationMs", "timestamp", "callSite", "iteration", "layerIndex", "source"):
        assert [c[key] for c in wire["taskResults"]] == [c[key] for c in was["taskResults"]]
    assert [(c["args"], c["result"]) for c in wire["taskResults"]] == [(None, None)] * 2
    assert wire["decisions"] == [{"nodeId": "L3", "outcome": "false"}]
    assert wire["anonymizedAt"] == "2026-11-21T12:00:00.000000Z"


def test_what_was_anonymized_does_not_come_back(db: Database, owner: Principal) -> None:
    """F37 F41: the same trace sent again is a duplicate; anonymizing again changes nothing, not the time either."""
    ingest(db, owner, [telling()], now=NOW)
    anonymize(db, owner.tenant_id, [trace_id(1)], now=NOW)
    first = get_trace(db, owner.tenant_id, trace_id(1))
    assert ingest(db, owner, [telling()], now=NOW)[0].status == "duplicate"
    assert anonymize(db, owner.tenant_id, [trace_id(1)], now=NOW + timedelta(days=1)) == 1
    assert get_trace(db, owner.tenant_id, trace_id(1)) == first
    assert list_traces(db, owner.tenant_id, TraceFilter(text=SECRET)).items == []


def test_anonymizing_is_a_tenants_own_business(db: Database, owner: Principal) -> None:
    """F41: another's trace behaves as absent."""
    ingest(db, owner, [telling()], now=NOW)
    assert anonymize(db, principal(db, "other").tenant_id, [trace_id(1)], now=NOW) == 0
    assert anonymize(db, owner.tenant_id, ["", "\0", "\ud800"], now=NOW) == 0


# Export


def test_export_is_json_lines(db: Database, owner: Principal) -> None:
    """F41: one per trace, first received first, whole, over more than a page; one tenant's alone."""
    for start in (0, 100, 200, 300, 400):
        ingest(db, owner, [trace(n, intent="a\nb") for n in range(start, start + 100)], now=NOW)
    ingest(db, principal(db, "other"), [trace(1)], now=NOW)
    lines = list(export(db, owner.tenant_id))
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    traces = [json.loads(line) for line in lines]
    assert [found["traceId"] for found in traces] == [trace_id(n) for n in range(500)]
    one = get_trace(db, owner.tenant_id, trace_id(7))
    assert one is not None
    assert traces[7] == one.to_wire()


def test_export_streams(db: Database, owner: Principal) -> None:
    """Between lines nothing is held: a writer writes, and what arrives meanwhile is not part of it."""
    ingest(db, owner, [trace(n) for n in range(100)], now=NOW)
    lines = export(db, owner.tenant_id)
    next(lines)
    assert db.pool().in_use == 0
    ingest(db, owner, [trace(500)], now=NOW)
    assert len(list(lines)) == 99


def test_export_can_be_filtered_and_anonymous(db: Database, owner: Principal) -> None:
    """F41: without touching what is stored."""
    ingest(db, owner, [telling(), trace(2)], now=NOW)
    (line,) = export(db, owner.tenant_id, TraceFilter(success=False), anonymized=True)
    assert SECRET not in line
    assert owner.key_id not in line
    assert json.loads(line)["traceId"] == trace_id(1)
    kept = get_trace(db, owner.tenant_id, trace_id(1))
    assert kept is not None
    assert kept.summary.intent == SECRET
    for bad in (TraceFilter(tool="x"), TraceFilter(text="\0")):
        with pytest.raises(StoreRefused):
            export(db, owner.tenant_id, bad)
