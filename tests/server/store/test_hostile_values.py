"""Values that one engine or the other cannot hold: the same on both, and never the whole batch's ruin."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from belljar.server.store._content import content_of
from belljar.server.store.engine import Database
from belljar.server.store.ingest import ingest
from belljar.server.store.keys import Principal
from belljar.server.store.queries import TraceFilter, get_trace, list_traces
from belljar.tracing.types import Trace
from tests.server.conftest import NOW
from tests.server.traces import call, trace, trace_id

BAD_TEXT = "a\0b\ud800c"
CLEAN_TEXT = "a\ufffdb\ufffdc"


def with_args(value: Any, n: int = 1) -> Trace:
    """As a decoder without checks would hand it over."""
    plain = trace(n)
    return replace(plain, task_results=[replace(plain.task_results[0], args=value)])


def args_back(db: Database, owner: Principal, n: int = 1) -> Any:
    found = get_trace(db, owner.tenant_id, trace_id(n))
    assert found is not None
    return found.task_results[0]["args"]


def test_nul_and_lone_surrogates_are_replaced_and_marked(db: Database, owner: Principal) -> None:
    """In every field, keys and tool names included; the same trace again is a duplicate."""
    dirty = trace(
        intent=BAD_TEXT,
        errorMessage=BAD_TEXT,
        errorCode=BAD_TEXT,
        workflowId=BAD_TEXT,
        capabilityId=BAD_TEXT,
        taskResults=[call(tool=BAD_TEXT, args={BAD_TEXT: [BAD_TEXT]}, result=BAD_TEXT, sourceDetail=BAD_TEXT)],
        decisions=[{"nodeId": "L1", "outcome": "true", "condition": BAD_TEXT}],
        metadata={"backend": BAD_TEXT, "walls": [BAD_TEXT], "redactions": {BAD_TEXT: 1}},
    )
    assert [r.status for r in ingest(db, owner, [dirty, trace(2)], now=NOW)] == ["stored", "stored"]
    found = get_trace(db, owner.tenant_id, trace_id(1))
    assert found is not None
    shown = found.to_wire()
    assert (shown["intent"], shown["capabilityId"], shown["workflowId"]) == (CLEAN_TEXT,) * 3
    assert shown["taskResults"][0]["args"] == {CLEAN_TEXT: [CLEAN_TEXT]}
    assert shown["metadata"]["replaced"] == 2 * 14
    assert "\\u0000" not in repr(shown)
    assert "\\ud800" not in repr(shown)
    assert [r.status for r in ingest(db, owner, [dirty], now=NOW)] == ["duplicate"]
    assert len(list_traces(db, owner.tenant_id, TraceFilter(tool=CLEAN_TEXT)).items) == 1


def test_a_backslash_and_digits_are_no_nul(db: Database, owner: Principal) -> None:
    """The text `\\u0000` written out is six characters, and stays."""
    ingest(db, owner, [with_args(r"C:\u0000 \ud800")], now=NOW)
    assert args_back(db, owner) == r"C:\u0000 \ud800"


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, b"bytes", {1, 2}, object(), {(1, 2): 3}, {1: 2, "a": 3}],
    ids=["nan", "inf", "-inf", "bytes", "set", "object", "tuple key", "mixed keys"],
)
def test_what_is_no_json_is_rejected_alone(db: Database, owner: Principal, value: Any) -> None:
    """The others are stored; the message holds nothing of the value."""
    results = ingest(db, owner, [trace(1), with_args({"deep": [value]}, 2), trace(3)], now=NOW)
    assert [r.status for r in results] == ["stored", "rejected", "stored"]
    assert results[1].code == "VALIDATION_ERROR"
    assert "\n" not in str(results[1].message)


def test_a_value_that_contains_itself_is_rejected(db: Database, owner: Principal) -> None:
    """No recursion without end."""
    loop: list[Any] = []
    loop.append(loop)
    assert ingest(db, owner, [with_args(loop)], now=NOW)[0].code == "VALIDATION_ERROR"


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 2**64, 10**400, 1e308, -1e-308, 5e-324, 0.1, 1e22, 1e23, -0.0])
def test_numbers_of_any_size_are_kept(db: Database, owner: Principal, value: float) -> None:
    """The same number comes back, to whoever reads JSON's numbers exactly or as doubles."""
    assert ingest(db, owner, [with_args([value])], now=NOW)[0].status == "stored"
    back = args_back(db, owner)[0]
    assert back == value or float(back) == value


@pytest.mark.parametrize("levels", [81, 500, 5_000, 100_000])
def test_nesting_is_bounded(db: Database, owner: Principal, levels: int) -> None:
    """Ten thousand levels reject the trace and hurt nobody's stack."""
    deep: list[Any] = []
    for _ in range(levels):
        deep = [deep]
    results = ingest(db, owner, [with_args(deep), trace(2)], now=NOW)
    assert [(r.status, r.code) for r in results] == [("rejected", "VALIDATION_ERROR"), ("stored", None)]


def test_nesting_within_what_a_client_may_send_is_kept(db: Database, owner: Principal) -> None:
    """Sixty-four levels of arguments."""
    deep: list[Any] = []
    for _ in range(63):
        deep = [deep]
    assert ingest(db, owner, [with_args(deep)], now=NOW)[0].status == "stored"
    assert args_back(db, owner) == deep


def test_many_brackets_are_not_depth(db: Database, owner: Principal) -> None:
    """A thousand empty lists side by side are one level."""
    assert ingest(db, owner, [with_args([[] for _ in range(1000)])], now=NOW)[0].status == "stored"


def test_size_is_bounded(db: Database, owner: Principal) -> None:
    """More than a megabyte is refused, by name."""
    results = ingest(db, owner, [with_args("x" * (1 << 20)), trace(2)], now=NOW)
    assert [(r.status, r.code) for r in results] == [("rejected", "TOO_LARGE"), ("stored", None)]


@pytest.mark.parametrize(
    "changes",
    [
        {"capabilityId": "x" * 401},
        {"workflowId": "\U0001f600" * 257},
        {"errorCode": "E" * 65},
        {"durationMs": 1e13},
        {"taskResults": [call(durationMs=1.7e308), call(2, durationMs=1.7e308)]},
        {"timestamp": "9999-12-31T23:59:59-14:00"},
        {"timestamp": "0001-01-01T00:00:00+14:00"},
    ],
    ids=["name", "workflow", "code", "duration", "durations", "year 10000", "year 0"],
)
def test_fields_beyond_their_bounds_are_rejected_alone(db: Database, owner: Principal, changes: dict[str, Any]) -> None:
    """An index row, a sum of durations and the calendar have ends."""
    results = ingest(db, owner, [trace(1, **changes), trace(2)], now=NOW)
    assert [(r.status, r.code) for r in results] == [("rejected", "VALIDATION_ERROR"), ("stored", None)]


@pytest.mark.parametrize("field", ["capabilityId", "workflowId"])
def test_the_longest_texts_fit_their_index(db: Database, owner: Principal, field: str) -> None:
    """Four bytes a character, as many as are let in; and tools longer than that are cut in the index alone."""
    longest = "\U0001f600" * (400 if field == "capabilityId" else 256)
    tool = "".join(chr(0x1F600 + n % 50) for n in range(2000))
    fields: dict[str, Any] = {"taskResults": [call(tool=tool)], field: longest}
    assert ingest(db, owner, [trace(**fields)], now=NOW)[0].status == "stored"
    found = get_trace(db, owner.tenant_id, trace_id(1))
    assert found is not None
    assert found.task_results[0]["tool"] == tool
    assert len(list_traces(db, owner.tenant_id, TraceFilter(tool=tool[:256])).items) == 1


@pytest.mark.parametrize("timestamp", ["9999-12-31T23:59:59Z", "2026-11-21T12:06:00Z", "2026-11-21T14:06:00+02:00"])
def test_a_clock_that_is_ahead_does_not_head_the_list(db: Database, owner: Principal, timestamp: str) -> None:
    """It is stored as executed when it was received, and marked."""
    ingest(db, owner, [trace(1, timestamp=timestamp)], now=NOW)
    later = NOW + timedelta(minutes=10)
    ingest(db, owner, [trace(2, timestamp=(NOW + timedelta(minutes=1)).isoformat())], now=later)
    first, second = list_traces(db, owner.tenant_id, TraceFilter()).items
    assert [first.trace_id, second.trace_id] == [trace_id(2), trace_id(1)]
    assert second.executed_at == NOW
    found = get_trace(db, owner.tenant_id, trace_id(1))
    assert found is not None
    assert found.metadata["clockAhead"] is True


def test_sql_and_html_are_texts(db: Database, owner: Principal) -> None:
    """Nothing in a trace is ever part of a statement."""
    attack = "'); DROP TABLE execution_trace; -- %s :doc {} <script>alert(1)</script>"
    ingest(db, owner, [trace(intent=attack, capabilityId=attack, workflowId=attack)], now=NOW)
    for where in (TraceFilter(text=attack), TraceFilter(workflow=attack), TraceFilter(capability=attack)):
        assert [item.intent for item in list_traces(db, owner.tenant_id, where).items] == [attack]


# Laws

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
_JSON = st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def same(back: Any, sent: Any) -> bool:
    """Equal as JSON: of numbers their value as doubles, of texts what UTF-8 without NUL can hold."""
    if isinstance(sent, dict):
        return len(back) == len({clean(key) for key in sent}) and all(clean(key) in back for key in sent)
    if isinstance(sent, list):
        return len(back) == len(sent) and all(map(same, back, sent))
    if isinstance(sent, str):
        return back == clean(sent)
    return back == sent or (isinstance(sent, float) and float(back) == sent)


def clean(text: str) -> str:
    return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(_JSON, min_size=1, max_size=5))
def test_any_json_is_stored_and_comes_back(db: Database, owner: Principal, values: list[Any]) -> None:
    """F40: whatever JSON the arguments are, both engines store it and give the same value."""
    start = test_any_json_is_stored_and_comes_back.__dict__.setdefault("next", [0])
    first = start[0] = start[0] + 10
    batch = [with_args(value, first + n) for n, value in enumerate(values)]
    assert {r.status for r in ingest(db, owner, batch, now=NOW)} == {"stored"}
    assert {r.status for r in ingest(db, owner, batch, now=NOW)} == {"duplicate"}
    assert all(same(args_back(db, owner, first + n), value) for n, value in enumerate(values))


@given(_JSON)
def test_the_hash_follows_the_content(value: Any) -> None:
    """F37: keys in another order make no other hash, another value does."""
    own = content_of(with_args(value), NOW).hash
    assert content_of(with_args(reordered(value)), NOW).hash == own
    assert content_of(with_args([value]), NOW).hash != own


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reordered(item) for key, item in reversed(value.items())}
    return [reordered(item) for item in value] if isinstance(value, list) else value
