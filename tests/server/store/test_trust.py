"""What `auto` is decided by: the newest real runs, of a tool and of one code with it, as one key may believe them."""

from __future__ import annotations

import pytest

from belljar import fqdn
from belljar.learning.trust import WINDOW, Standing
from belljar.server.store.engine import Database
from belljar.server.store.ingest import ingest
from belljar.server.store.keys import Principal
from belljar.server.store.trust import MAX_TOOLS, ToolTrust, trust
from belljar.tracing.types import Trace
from tests.server.conftest import NOW, principal
from tests.server.traces import SHA256, call, trace

CODE = fqdn.parse(f"local.default.git.release_notes.{SHA256}")
TOOL = "git:git_log"


def send(db: Database, who: Principal, *traces: Trace) -> None:
    for start in range(0, len(traces), 100):
        results = ingest(db, who, traces[start : start + 100], now=NOW)
        assert {result.status for result in results} == {"stored"}


def asked(db: Database, who: Principal, *patterns: str, code: fqdn.Fqdn = CODE) -> dict[str, ToolTrust]:
    return {each.tool: each for each in trust(db, who, code, patterns or (TOOL,))}


def counts(standing: Standing) -> tuple[int, int]:
    return standing.n, standing.n_failed


def test_a_tool_and_a_code_with_it(db: Database, owner: Principal) -> None:
    """F49: a tool by what its calls came to, a code by what its runs did; what else has its name is other code."""
    other = "cd" * 32
    fails_beside = [call(1), call(2, tool="s:bad", success=False, state="failed")]
    send(
        db,
        owner,
        *(trace(n) for n in range(3)),
        trace(3, success=False, taskResults=fails_beside),
        trace(4, success=False, taskResults=[call(success=False, state="failed")]),
        trace(5, capabilityHash=other),
    )
    found = asked(db, owner, TOOL, "s:bad")
    assert (counts(found[TOOL].overall), counts(found[TOOL].capability)) == ((6, 1), (5, 2))
    assert (counts(found["s:bad"].overall), counts(found["s:bad"].capability)) == ((1, 1), (1, 1))
    assert found[TOOL].overall.evidence.successes == pytest.approx(sum(0.98**age for age in (0, 2, 3, 4, 5)))
    assert counts(asked(db, owner, code=CODE.at(other))[TOOL].capability) == (1, 0)
    assert counts(asked(db, owner, code=fqdn.parse(f"local.default.git.other.{SHA256}"))[TOOL].capability) == (0, 0)


def test_what_was_not_called_says_nothing(db: Database, owner: Principal) -> None:
    """F49 F82: waiting for a person, a denial, an interruption, a fake: neither for a tool nor against it."""
    waiting = {"success": False, "errorCode": "APPROVAL_REQUIRED"}
    pending = call(success=False, state="pending", errorCode="APPROVAL_REQUIRED")
    send(
        db,
        owner,
        trace(1, taskResults=[pending], **waiting),
        trace(2, success=False, taskResults=[call(success=False, state="denied", errorCode="PERMISSION_DENIED")]),
        trace(3, taskResults=[call(source="fake")]),
        trace(4, taskResults=[call(1), call(2, tool="s:x", source="fake")]),
        trace(5, taskResults=[]),
    )
    assert asked(db, owner) == {}
    send(
        db, owner, trace(6, success=False, errorCode="INTERRUPTED"), trace(7, taskResults=[call(), pending], **waiting)
    )
    found = asked(db, owner)[TOOL]
    assert (counts(found.overall), counts(found.capability)) == ((2, 0), (0, 0))


def test_each_key_believes_itself(db: Database, owner: Principal) -> None:
    """F49: whose evidence it is is said; another key's is not one's own, another tenant's is not there."""
    other = principal(db, "acme")
    send(db, other, *(trace(n) for n in range(20)))
    assert [(found.keys, found.own) for found in (asked(db, who)[TOOL].overall for who in (owner, other))] == [
        (1, False),
        (1, True),
    ]
    send(db, owner, *(trace(n, success=False, taskResults=[call(success=False)]) for n in range(20, 30)))
    believed = asked(db, owner)[TOOL].overall
    assert (believed.keys, believed.own, counts(believed)) == (2, True, (30, 10))
    assert believed.evidence.mean() <= 0.3
    assert asked(db, principal(db, "stranger")) == {}


def test_the_newest_runs(db: Database, owner: Principal) -> None:
    """F49: what is long ago is gone: so many newest runs count, and mocked ones fill no place."""
    old = [
        trace(n, timestamp="2026-11-01T00:00:00Z", success=False, taskResults=[call(success=False)]) for n in range(9)
    ]
    fake = [trace(n, timestamp="2026-11-20T00:00:00Z", taskResults=[call(source="fake")]) for n in range(100, 140)]
    send(db, owner, *(trace(n) for n in range(200, 200 + WINDOW - 4)), *fake, *old)
    found = asked(db, owner)[TOOL]
    assert (counts(found.overall), counts(found.capability)) == ((WINDOW, 4), (WINDOW, 4))


def test_patterns(db: Database, owner: Principal) -> None:
    """Patterns mean what they mean in a policy; named tools come first, then the last used; so many at most."""
    names = ["git:a", "GIT:a", "git:b", "gi_:a", "git%:a", "time:a"]
    send(db, owner, *(trace(n, taskResults=[call(tool=name)]) for n, name in enumerate(names)))
    assert set(asked(db, owner, "git:*")) == {"git:a", "git:b"}
    assert set(asked(db, owner, "gi_:*")) == {"gi_:a"}
    assert set(asked(db, owner, "git%:*")) == {"git%:a"}
    assert set(asked(db, owner, "*:a")) == set(names) - {"git:b"}
    assert set(asked(db, owner, "*")) == set(names)
    many = [call(n, tool=f"many:{n}") for n in range(MAX_TOOLS + 10)]
    send(db, owner, trace(50, taskResults=many, timestamp="2026-11-21T11:59:30Z"))
    found = [each.tool for each in trust(db, owner, CODE, ("*", "git:b"))]
    assert (len(found), found[0]) == (MAX_TOOLS, "git:b")
