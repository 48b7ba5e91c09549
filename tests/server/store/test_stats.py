"""F41: counts, success rates, latencies."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.server.store.engine import Database
from belljar.server.store.errors import StoreRefused
from belljar.server.store.ingest import ingest
from belljar.server.store.keys import Principal
from belljar.server.store.maintenance import prune
from belljar.server.store.stats import Group, stats
from tests.server.conftest import NOW, principal
from tests.server.traces import call, trace


@pytest.fixture
def some(db: Database, owner: Principal) -> Principal:
    """Twenty runs of one capability, one of them failed; two of another, one mocked; some of another tenant."""
    batch = [
        trace(n, durationMs=n, success=n != 7, timestamp=(NOW - timedelta(hours=n)).isoformat()) for n in range(1, 21)
    ]
    other = [
        trace(30, capabilityId="acme.t.fs.tidy", taskResults=[call(1, tool="fs:move", durationMs=4, success=False)]),
        trace(31, capabilityId="acme.t.fs.tidy", taskResults=[call(1, tool="fs:move", source="fake"), call(2)]),
    ]
    ingest(db, owner, batch + other, now=NOW)
    ingest(db, principal(db, "other"), batch, now=NOW)
    return owner


def test_counts_rates_and_percentiles(db: Database, some: Principal) -> None:
    """F41: of everything, by capability, by tool; most used first; one tenant's alone."""
    found = stats(db, some.tenant_id)
    assert (found.total.count, found.total.failures, found.total.mocked) == (22, 1, 1)
    notes, tidy = found.capabilities
    assert (notes.name, notes.count, notes.success_rate) == ("local.default.git.release_notes", 20, 0.95)
    assert (notes.percentile(0.5), notes.percentile(0.95)) == (10, 19)
    assert notes.last_at == NOW - timedelta(hours=1)
    assert (tidy.name, tidy.count, tidy.mocked, tidy.success_rate) == ("acme.t.fs.tidy", 2, 1, 1.0)
    log, move = found.tools
    assert (log.name, log.count, log.failures, log.percentile(0.5)) == ("git:git_log", 21, 0, 1.5)
    assert (move.name, move.count, move.failures, move.mocked, move.percentile(0.5)) == ("fs:move", 1, 1, 1, 4)
    assert found.to_wire()["tools"][1]["successRate"] == 0.0


def test_a_time_is_kept_to(db: Database, some: Principal) -> None:
    """F41: since and until narrow every figure."""
    found = stats(db, some.tenant_id, since=NOW - timedelta(hours=10), until=NOW - timedelta(hours=5))
    assert (found.total.count, found.total.failures) == (5, 1)
    assert [group.name for group in found.capabilities] == ["local.default.git.release_notes"]
    assert [(group.name, group.count, group.percentile(1)) for group in found.tools] == [("git:git_log", 5, 1.5)]
    with pytest.raises(StoreRefused):
        stats(db, some.tenant_id, since=NOW.replace(tzinfo=None))


def test_nothing_is_no_fault(db: Database, owner: Principal) -> None:
    """A fresh tenant: zeros, and no rate of nothing."""
    found = stats(db, owner.tenant_id)
    assert found.to_wire() == {
        "total": {
            "name": "",
            "count": 0,
            "failures": 0,
            "successRate": None,
            "mocked": 0,
            "p50Ms": None,
            "p95Ms": None,
            "sampled": 0,
            "lastAt": None,
        },
        "capabilities": [],
        "tools": [],
    }


def test_what_was_never_called_did_not_fail(db: Database, owner: Principal) -> None:
    """F41: a call that was denied, or waits for a person, is no call of its tool and no failure of it."""
    unmade = [call(n, success=False, state=state) for n, state in enumerate(("denied", "pending"))]
    ingest(db, owner, [trace(1, success=False, taskResults=[*unmade, call(3), call(4, success=False)])], now=NOW)
    (log,) = stats(db, owner.tenant_id).tools
    assert (log.count, log.failures, log.mocked, log.percentile(0.5)) == (2, 1, 0, 1.5)


def test_only_the_top(db: Database, owner: Principal) -> None:
    """A thousand names do not make a page of a thousand lines; the total counts them all."""
    ingest(db, owner, [trace(n, capabilityId=f"a.b.c.d{n}") for n in range(30)], now=NOW)
    found = stats(db, owner.tenant_id, top=5)
    assert (len(found.capabilities), found.total.count) == (5, 30)


def test_tools_are_remembered_when_traces_are_gone(db: Database, some: Principal) -> None:
    """F42: retention forgets runs, not what they taught of tools."""
    before = stats(db, some.tenant_id).tools
    prune(db, received_before=NOW + timedelta(days=1), keep_above=1.0)
    after = stats(db, some.tenant_id)
    assert after.total.count == 0
    assert [(g.name, g.count, g.failures) for g in after.tools] == [(g.name, g.count, g.failures) for g in before]


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_what_the_share_does_not_exceed(durations: list[float], share: float) -> None:
    """Nearest rank: at least the share of them are no greater, and it is one of them."""
    group = Group("", 0, 0, 0, None, tuple(sorted(durations)))
    value = group.percentile(share)
    assert value in durations
    assert value is not None
    assert sum(d <= value for d in durations) >= share * len(durations) - 1e-9
