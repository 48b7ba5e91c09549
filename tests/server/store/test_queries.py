"""F41 F85: traces out, one by one, as trees, and in lists."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.server.store import _cursors
from belljar.server.store.engine import Database
from belljar.server.store.errors import StoreRefused
from belljar.server.store.ingest import ingest
from belljar.server.store.keys import Principal
from belljar.server.store.maintenance import anonymize
from belljar.server.store.queries import TraceFilter, TraceTree, get_trace, list_traces, trace_tree
from tests.server.conftest import NOW, principal
from tests.server.traces import SHA256, call, trace, trace_id


def numbers(db: Database, owner: Principal, **where: Any) -> list[int]:
    """Which traces a filter finds, by number, in the order given."""
    items = list_traces(db, owner.tenant_id, TraceFilter(**where)).items
    return [int(item.trace_id[-12:], 16) for item in items]


def at(minute: int) -> str:
    return (NOW - timedelta(minutes=60 - minute)).isoformat()


@pytest.fixture
def some(db: Database, owner: Principal) -> Principal:
    """Five traces, a minute apart, and one of another tenant."""
    other_text = "cd" * 32
    batch = [
        trace(1, timestamp=at(1), workflowId="w1", intent="Sum up 100% of it"),
        trace(2, timestamp=at(2), success=False, errorMessage="disk_full", parentTraceId=trace_id(1)),
        trace(3, timestamp=at(3), capabilityHash=other_text, capabilityId="local.default.git.release_notes.cdcd"),
        trace(4, timestamp=at(4), capabilityId="acme.tools.fs.tidy.abab", taskResults=[call(tool="fs:move")]),
        trace(5, timestamp=at(5), taskResults=[call(source="fake"), call(2, tool="fs:move")], workflowId="w1"),
    ]
    ingest(db, owner, batch, now=NOW)
    ingest(db, principal(db, "other"), [trace(6, timestamp=at(6), workflowId="w1")], now=NOW)
    return owner


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({}, [5, 4, 3, 2, 1]),
        ({"success": False}, [2]),
        ({"success": True}, [5, 4, 3, 1]),
        ({"capability": "git:release_notes"}, [5, 3, 2, 1]),
        ({"capability": "local.default.git.release_notes"}, [5, 3, 2, 1]),
        ({"capability": "local.default.git.release_notes.cdcd"}, [3]),
        ({"capability": f"local.default.git.release_notes.{SHA256}"}, [5, 2, 1]),
        ({"capability": "no name at all"}, []),
        ({"since": NOW - timedelta(minutes=57)}, [5, 4, 3]),
        ({"until": NOW - timedelta(minutes=57)}, [2, 1]),
        ({"since": (NOW - timedelta(minutes=57)).astimezone(timezone(timedelta(hours=9)))}, [5, 4, 3]),
        ({"workflow": "w1"}, [5, 1]),
        ({"workflow": "w1", "success": True, "until": NOW - timedelta(minutes=57)}, [1]),
        ({"tool": "fs:move"}, [5, 4]),
        ({"tool": "fs:move", "mocked": False}, [4]),
        ({"tool": "git:git_log", "success": False}, [2]),
        ({"mocked": True}, [5]),
        ({"mocked": False}, [4, 3, 2, 1]),
        ({"text": "DISK_FULL"}, [2]),
        ({"text": "100%"}, [1]),
        ({"text": "100_"}, []),
        ({"text": "TIDY"}, [4]),
        ({"text": ""}, [5, 4, 3, 2, 1]),
        ({"roots": True}, [5, 4, 3, 1]),
        ({"roots": False}, [2]),
    ],
    ids=str,
)
def test_filters(db: Database, some: Principal, where: dict[str, Any], found: list[int]) -> None:
    """F85: each filter finds what it says, newest first, of one tenant alone."""
    assert numbers(db, some, **where) == found


@pytest.mark.parametrize(
    "where",
    [
        {"text": "\0"},
        {"text": "\ud800"},
        {"workflow": "x" * 1001},
        {"tool": "a\0"},
        {"capability": "\0"},
        {"since": NOW.replace(tzinfo=None)},
        {"until": datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))},
        {"since": datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))},
    ],
    ids=["nul", "surrogate", "long", "tool", "capability", "naive", "year 0", "year 10000"],
)
def test_filters_that_mean_nothing_are_refused(db: Database, owner: Principal, where: dict[str, Any]) -> None:
    """The same on both engines, with a reason."""
    with pytest.raises(StoreRefused) as caught:
        list_traces(db, owner.tenant_id, TraceFilter(**where))
    assert caught.value.reason == "BAD_FILTER"


@pytest.mark.parametrize("limit", [0, -1, _cursors.MAX_PAGE + 1])
def test_a_page_has_a_size(db: Database, owner: Principal, limit: int) -> None:
    with pytest.raises(StoreRefused):
        list_traces(db, owner.tenant_id, TraceFilter(), limit=limit)


@pytest.mark.parametrize("where", [TraceFilter(), TraceFilter(tool="git:git_log"), TraceFilter(success=True)], ids=str)
def test_pages_are_stable_while_traces_arrive(db: Database, owner: Principal, where: TraceFilter) -> None:
    """F85: every trace there at the beginning is seen once, in order, whatever arrives meanwhile; equal times too."""
    ingest(db, owner, [trace(n, timestamp=at(n // 4)) for n in range(30)], now=NOW)
    seen, cursor, arriving = list[int](), None, 1000
    while True:
        page = list_traces(db, owner.tenant_id, where, limit=7, cursor=cursor)
        seen += [int(item.trace_id[-12:], 16) for item in page.items]
        ingest(db, owner, [trace(arriving + n, timestamp=at(59)) for n in range(5)], now=NOW)
        arriving += 5
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == sorted(range(30), reverse=True)


def test_the_last_page_says_so(db: Database, owner: Principal) -> None:
    """A page that is full to the brim is not followed by an empty one."""
    ingest(db, owner, [trace(n) for n in range(4)], now=NOW)
    assert list_traces(db, owner.tenant_id, TraceFilter(), limit=4).next_cursor is None
    assert list_traces(db, owner.tenant_id, TraceFilter(), limit=3).next_cursor is not None


def forged(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor", ["", "x", "=", "ä", "\0", forged("[]"), forged("{}"), forged("[" * 900), "A" * 10**6]
)
def test_a_cursor_that_is_none_is_refused(db: Database, owner: Principal, cursor: str) -> None:
    """A clear error, not the first page and not a fault."""
    with pytest.raises(StoreRefused) as caught:
        list_traces(db, owner.tenant_id, TraceFilter(), cursor=cursor)
    assert caught.value.reason == "BAD_CURSOR"


@pytest.mark.parametrize(
    "position",
    [["x", 1], ["2026-01-01", -1], ["2026-01-01", 1 << 63], ["0001-01-01T00:00:00+14:00", 1], [1, "x"], ["2026-01-01"]],
    ids=str,
)
def test_a_position_that_makes_no_sense_is_refused(db: Database, owner: Principal, position: list[Any]) -> None:
    """Cursors are not signed: whoever forges one gets an error or some page of their own list."""
    cursor = _cursors.cursor_of(position, (owner.tenant_id, TraceFilter()))
    with pytest.raises(StoreRefused) as caught:
        list_traces(db, owner.tenant_id, TraceFilter(), cursor=cursor)
    assert caught.value.reason == "BAD_CURSOR"


def test_a_cursor_belongs_to_its_filter_and_tenant(db: Database, some: Principal) -> None:
    """Another list begins at its own beginning."""
    cursor = list_traces(db, some.tenant_id, TraceFilter(), limit=1).next_cursor
    for tenant_id, where in ((some.tenant_id, TraceFilter(success=True)), (some.tenant_id + 1, TraceFilter())):
        with pytest.raises(StoreRefused):
            list_traces(db, tenant_id, where, cursor=cursor)


@given(st.lists(st.text() | st.integers(0, (1 << 63) - 1), min_size=1, max_size=3), st.text())
def test_a_cursor_carries_its_position(position: list[str | int], belongs_to: str) -> None:
    """Whatever texts and numbers a position is made of."""
    cursor = _cursors.cursor_of(position, belongs_to)
    assert _cursors.position_of(cursor, belongs_to, tuple(map(type, position))) == position


# One


@pytest.mark.parametrize(
    "wrong", ["", "x", "\0", trace_id(1).replace("-", ""), f"{trace_id(1)}\n", trace_id(99), "%", "1' OR 1=1"]
)
def test_what_is_no_trace_of_the_tenant_is_not_there(db: Database, some: Principal, wrong: str) -> None:
    """F41: unknown, malformed, another's: all the same."""
    assert get_trace(db, some.tenant_id, wrong) is None
    assert trace_tree(db, some.tenant_id, wrong) is None
    assert get_trace(db, some.tenant_id, trace_id(6)) is None


def test_the_etag_changes_with_what_is_shown(db: Database, owner: Principal) -> None:
    """Of a trace and of its tree: with a new child, when anonymized, with another priority; not by looking."""

    def etags() -> tuple[str, str]:
        found, tree = get_trace(db, owner.tenant_id, trace_id(1)), trace_tree(db, owner.tenant_id, trace_id(1))
        assert found is not None
        assert tree is not None
        return found.etag, tree.etag

    ingest(db, owner, [trace(1)], now=NOW)
    first = etags()
    assert etags() == first
    ingest(db, owner, [trace(2, parentTraceId=trace_id(1))], now=NOW)
    second = etags()
    assert (second[0] == first[0], second[1] == first[1]) == (True, False)
    anonymize(db, owner.tenant_id, [trace_id(1)], now=NOW)
    third = etags()
    assert third[0] != second[0]
    assert third[1] != second[1]
    with db.write() as connection:
        connection.exec_driver_sql("UPDATE execution_trace SET priority = 0.7")
    assert not set(etags()) & set(third)


def shape(tree: TraceTree) -> Any:
    return int(tree.trace.summary.trace_id[-12:], 16), [shape(child) for child in tree.children]


def test_a_tree_has_its_children_in_order(db: Database, owner: Principal) -> None:
    """F21 F41 F85: nested runs below the run that made them, oldest first; JSON as deep."""
    parents = {2: 1, 3: 1, 4: 2, 5: 3, 6: 3}
    ingest(db, owner, [trace(n, parentTraceId=trace_id(p), timestamp=at(n)) for n, p in parents.items()], now=NOW)
    ingest(db, owner, [trace(1, timestamp=at(1)), trace(7)], now=NOW)
    tree = trace_tree(db, owner.tenant_id, trace_id(1))
    assert tree is not None
    assert shape(tree) == (1, [(2, [(4, [])]), (3, [(5, []), (6, [])])])
    wire = tree.to_wire()
    assert wire["children"][1]["children"][0]["traceId"] == trace_id(5)
    assert "childrenTruncated" not in wire
    inner = trace_tree(db, owner.tenant_id, trace_id(3))
    assert inner is not None
    assert shape(inner) == (3, [(5, []), (6, [])])


def test_traces_that_are_each_others_parents_are_shown_once(db: Database, owner: Principal) -> None:
    """A client may claim anything: its own parent, or a ring."""
    ring = {1: 2, 2: 3, 3: 1, 4: 4, 5: 1}
    ingest(db, owner, [trace(n, parentTraceId=trace_id(p)) for n, p in ring.items()], now=NOW)
    for n, expected in ((1, (1, [(3, [(2, [])]), (5, [])])), (4, (4, []))):
        tree = trace_tree(db, owner.tenant_id, trace_id(n))
        assert tree is not None
        assert shape(tree) == expected
        assert not tree.truncated


def test_a_tree_is_bounded(db: Database, owner: Principal) -> None:
    """In levels, traces and bytes; what is cut is said."""
    chain = [trace(n, parentTraceId=trace_id(n - 1)) for n in range(1, 40)]
    ingest(db, owner, [trace(0), *chain], now=NOW)
    ingest(db, owner, [trace(100 + n, parentTraceId=trace_id(39)) for n in range(50)], now=NOW)
    bounds = ({"max_depth": 5}, 5), ({"max_nodes": 7, "max_depth": 50}, 7), ({"max_depth": 38}, 38)
    for limits, below in bounds:
        tree = trace_tree(db, owner.tenant_id, trace_id(0), **limits)
        assert tree is not None
        assert (count(tree) - 1, tree.truncated, tree.to_wire()["childrenTruncated"]) == (below, True, True)
    whole = trace_tree(db, owner.tenant_id, trace_id(0), max_depth=40)
    assert whole is not None
    assert (count(whole), whole.truncated) == (90, False)
    large = [trace(200 + n, parentTraceId=trace_id(199), intent="x" * 900_000) for n in range(12)]
    ingest(db, owner, [trace(199), *large], now=NOW)
    tree = trace_tree(db, owner.tenant_id, trace_id(199))
    assert tree is not None
    assert 5 < count(tree) < 12
    assert tree.truncated


def count(tree: TraceTree) -> int:
    return 1 + sum(map(count, tree.children))


def test_times_are_utc(db: Database, owner: Principal) -> None:
    """F40: whatever offset they came with."""
    ingest(db, owner, [trace(1, timestamp="2026-11-21T05:59:00.123456-06:00")], now=NOW)
    found = get_trace(db, owner.tenant_id, trace_id(1))
    assert found is not None
    assert found.summary.executed_at == datetime(2026, 11, 21, 11, 59, 0, 123456, tzinfo=UTC)
    assert found.summary.executed_at.tzinfo is UTC
    assert found.to_wire()["timestamp"] == "2026-11-21T11:59:00.123456Z"
