"""F38: from names to UUIDs."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest

from belljar.server.store.engine import Database
from belljar.server.store.ingest import ingest
from belljar.server.store.keys import Principal
from belljar.server.store.queries import get_trace
from belljar.server.store.registry import Publication, publish, yank
from tests.server.conftest import NOW, principal
from tests.server.statements import recorded
from tests.server.traces import trace, trace_id

CODE = "def main(): return 1\n"
SHA = hashlib.sha256(CODE.encode()).hexdigest()
NAME = "acme.tools.git.log"


@pytest.fixture
def uuid(db: Database, owner: Principal) -> str:
    """Of a capability that `owner` has published."""
    made = publish(db, owner, Publication(fqdn=NAME, code=CODE, sha256=SHA), now=NOW)
    return made.capability.id


def resolved(db: Database, owner: Principal, **fields: Any) -> str | None:
    assert ingest(db, owner, [trace(1, **fields)], now=NOW)[0].status == "stored"
    found = get_trace(db, owner.tenant_id, trace_id(1))
    assert found is not None
    assert found.to_wire().get("capabilityUuid") == found.summary.capability_id
    return found.summary.capability_id


@pytest.mark.parametrize(
    ("name", "ran"),
    [
        (f"{NAME}.{SHA[:4]}", SHA),
        (f"{NAME}.{SHA}", SHA),
        (NAME, SHA),
        (f"{NAME}.{SHA[:4]}", ""),
        (f"{NAME}.{SHA}", ""),
    ],
)
def test_known(db: Database, owner: Principal, uuid: str, name: str, ran: str) -> None:
    """F38: by four digits or all of them, from the name or from what ran."""
    assert resolved(db, owner, capabilityId=name, capabilityHash=ran) == uuid


@pytest.mark.parametrize(
    ("name", "ran"),
    [
        (f"acme.tools.git.other.{SHA[:4]}", SHA),
        (f"{NAME}.{SHA[:4]}", SHA[:4] + "0" * 60),  # the same four digits, other code
        (f"{NAME}.{SHA[:4]}", "0" * 64),  # says one thing and ran another
        (f"{NAME}.0000", ""),
        (NAME, ""),
        (f"local.tools.git.log.{SHA[:4]}", SHA),
        ("", SHA),
        ("no name", SHA),
        ("a.b.c.d.e.f", SHA),
        ("'; DROP TABLE capability_record; --", SHA),
        (f"{NAME.upper()}.{SHA[:4]}", SHA),
    ],
)
def test_unknown_and_malformed(db: Database, owner: Principal, uuid: str, name: str, ran: str) -> None:
    """F38: stored all the same, linked to nothing."""
    assert resolved(db, owner, capabilityId=name, capabilityHash=ran) is None


def test_another_tenants_name_and_uuid(db: Database, owner: Principal, uuid: str) -> None:
    """F38: behave as if they did not exist; a UUID is no name at all."""
    other = principal(db, "other")
    assert resolved(db, other, capabilityId=f"{NAME}.{SHA[:4]}", capabilityHash=SHA) is None
    for n, who in ((2, other), (3, owner)):
        ingest(db, who, [trace(n, capabilityId=uuid)], now=NOW)
        found = get_trace(db, who.tenant_id, trace_id(n))
        assert found is not None
        assert found.summary.capability_id is None


def test_yanked_is_still_what_ran(db: Database, owner: Principal, uuid: str) -> None:
    """F38: who runs it from the cache is linked to it."""
    assert yank(db, owner.tenant_id, f"{NAME}.{SHA[:4]}", now=NOW + timedelta(days=1))
    assert resolved(db, owner, capabilityId=f"{NAME}.{SHA[:4]}", capabilityHash=SHA) == uuid


@pytest.mark.parametrize(("names", "queries"), [([f"{NAME}.{SHA[:4]}", "acme.x.y.z.abab", "bad"], 1), (["a:b"], 0)])
def test_one_query_for_a_batch(db: Database, owner: Principal, uuid: str, names: list[str], queries: int) -> None:
    """F38: however many names; none where none can be known."""
    batch = [trace(n, capabilityId=name, capabilityHash="") for n, name in enumerate(names * 30)]
    with recorded() as seen:
        ingest(db, owner, batch, now=NOW)
    assert len([statement for statement, _ in seen if "FROM capability_record" in statement]) == queries
