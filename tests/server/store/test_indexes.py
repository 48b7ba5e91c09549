"""F40: what is asked often is answered from an index, on both engines, and how each engine says so."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from belljar.server.store.engine import Database
from belljar.server.store.ingest import ingest
from belljar.server.store.keys import Principal, authenticate, create_key
from belljar.server.store.queries import TraceFilter, get_trace, list_traces, trace_tree
from belljar.server.store.registry import Publication, fetch, publish
from belljar.server.store.schema import execution_trace
from belljar.server.store.stats import stats
from tests.server.conftest import NOW
from tests.server.statements import analyze, plan, recorded
from tests.server.traces import call, trace, trace_id

ROWS = 20_000

LISTS = {
    "ix_execution_trace_executed": TraceFilter(),
    "ix_execution_trace_executed ": TraceFilter(since=NOW - timedelta(hours=300), until=NOW - timedelta(hours=200)),
    "ix_execution_trace_capability": TraceFilter(capability="acme.tools.git.c7"),
    "ix_execution_trace_workflow": TraceFilter(workflow="w3"),
    "ix_execution_trace_failed": TraceFilter(success=False),
    "ix_execution_trace_mocked": TraceFilter(mocked=True),
    "ix_trace_tool_listed": TraceFilter(tool="s:t11"),
}


def fill(db: Database, owner: Principal) -> None:
    """As many traces as the claim names: fifty capabilities, few failures, few mocked, few workflows, some children."""
    for start in range(0, ROWS, 100):
        batch = [
            trace(
                n,
                timestamp=(NOW - timedelta(minutes=n)).isoformat(),
                capabilityId=f"acme.tools.git.c{n % 50}.abab",
                success=n % 40 != 0,
                workflowId=f"w{n % 400}" if n % 20 == 0 or n % 400 == 3 else None,
                parentTraceId=trace_id(n - 1) if n % 30 == 1 else None,
                taskResults=[call(tool=f"s:t{n % 60}", source="fake" if n % 50 == 0 else "real", args={}, result=None)],
            )
            for n in range(start, start + 100)
        ]
        assert {result.status for result in ingest(db, owner, batch, now=NOW)} == {"stored"}


@pytest.mark.slow
def test_lists_are_read_from_an_index_in_their_order(db: Database, owner: Principal) -> None:
    """F40 F85: each filter has its index, on the first page and on a later one; nothing is sorted or scanned whole."""
    fill(db, owner)
    if db.dialect == "sqlite":  # it does not look at its tables by itself: it must do right without
        lists(db, owner)
        one_row(db, owner)
    analyze(db)
    lists(db, owner)
    one_row(db, owner)
    in_a_batch(db, owner)


def lists(db: Database, owner: Principal) -> None:
    """The first two pages of each."""
    for index, where in LISTS.items():
        cursor = None
        for _ in range(2):
            with recorded() as seen:
                page = list_traces(db, owner.tenant_id, where, cursor=cursor)
            assert len(page.items) == 50
            how = plan(db, asked(seen))
            assert index.strip() in how, how
            assert not re.search(r"Sort|TEMP B-TREE|Seq Scan|SCAN execution_trace$", how), how
            cursor = page.next_cursor


def one_row(db: Database, owner: Principal) -> None:
    """One trace by id, and its children."""
    with recorded() as seen:
        assert get_trace(db, owner.tenant_id, trace_id(77)) is not None
    assert "uq_execution_trace_tenant_id_trace_id" in plan(db, asked(seen)) or db.dialect == "sqlite"
    assert not re.search(r"SCAN|Seq Scan", plan(db, asked(seen)))
    with recorded() as seen:
        tree = trace_tree(db, owner.tenant_id, trace_id(30))
    assert tree is not None
    assert len(tree.children) == 1
    of_children = next(statement for statement in seen if "parent_trace_id IN" in statement[0])
    assert "ix_execution_trace_parent" in plan(db, of_children)


def in_a_batch(db: Database, owner: Principal) -> None:
    """What a batch looks up: keys, names, stored hashes."""
    key = create_key(db, "acme", ["admin"], now=NOW)
    for n in range(300):
        create_key(db, "acme", ["read"], now=NOW) if n < 20 else None
        code = f"{n}"
        publish(db, owner, Publication(fqdn=f"acme.tools.git.d{n}", code=code, sha256=sha(code)), now=NOW)
    analyze(db)
    with recorded() as seen:
        authenticate(db, key.key, now=NOW)
        fetch(db, owner.tenant_id, "acme.tools.git.d7")
        named = [trace(n, capabilityId=f"acme.tools.git.d{n}", capabilityHash=sha(str(n))) for n in range(20)]
        ingest(db, owner, named, now=NOW)
    looked_up = [statement for statement in seen if statement[0].startswith("SELECT") and "FROM" in statement[0]]
    # SQLite, which has one writer, is asked first what is there and which row comes next.
    asked = [statement for statement in looked_up if "max(row_id)" not in statement[0]]
    alone = db.dialect == "sqlite"
    assert len(looked_up) == len(asked) + alone
    assert len(asked) == 4 + alone  # the key, the capability, the batch's names, the hashes of what was there
    for statement in asked[1:]:
        how = plan(db, statement)
        assert re.search(r"Index|USING (COVERING )?INDEX", how), how
        assert not re.search(rf"Seq Scan on {execution_trace.name}|SCAN {execution_trace.name}", how), how


@pytest.mark.parametrize("db_url", ["sqlite"], indirect=True)
def test_counts_are_read_from_indexes_alone(db: Database, owner: Principal) -> None:
    """F40 F85: SQLite, without ever having looked at its tables, counts failed and mocked runs, and those of a time,
    from the index that holds nothing else; all runs from one that has what is counted."""
    ingest(db, owner, [trace(n) for n in range(10)], now=NOW)
    for since, all_runs in (
        (None, "COVERING INDEX ix_execution_trace_capability"),
        (NOW, "ix_execution_trace_executed"),
    ):
        with recorded() as seen:
            stats(db, owner.tenant_id, since=since)
        plans = [plan(db, statement) for statement in seen if "GROUP BY" in statement[0]]
        assert all_runs in plans[0]
        assert "ix_execution_trace_failed" in plans[1]
        assert "ix_execution_trace_mocked" in plans[2]
        assert all("ix_execution_trace_executed" in how and "PRIMARY KEY (row_id=?)" in how for how in plans[3:])


def sha(code: str) -> str:
    import hashlib

    return hashlib.sha256(code.encode()).hexdigest()


def asked(seen: list[tuple[str, object]]) -> tuple[str, object]:
    """The one SELECT of the block."""
    (statement,) = [
        statement for statement in seen if "FROM execution_trace" in statement[0] or "FROM trace_tool" in statement[0]
    ]
    return statement
