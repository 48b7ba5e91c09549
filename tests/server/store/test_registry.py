"""F10 F39: the server's half of the registry."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from belljar import fqdn
from belljar.server.store.engine import Database
from belljar.server.store.errors import StoreConflict, StoreDenied, StoreRefused
from belljar.server.store.keys import Principal
from belljar.server.store.registry import (
    Publication,
    claim_org,
    fetch,
    list_capabilities,
    publish,
    yank,
)
from tests.server.conftest import NOW, principal

NAME = "acme.tools.git.release_notes"


def sha(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def publication(code: str = "1 + 1", name: str = NAME, **changes: Any) -> Publication:
    return Publication(
        fqdn=name,
        code=code,
        sha256=sha(code),
        description="What changed",
        args_schema={"type": "object", "properties": {"since": {"type": "string"}}},
        servers=("git",),
        permissions=("git:git_log",),
        **changes,
    )


def colliding() -> tuple[str, str]:
    """Two texts whose hashes begin with the same four digits."""
    seen = dict[str, str]()
    for n in range(100_000):
        code = f"{n}"
        other = seen.setdefault(sha(code)[:4], code)
        if other != code:
            return other, code
    raise AssertionError("no two of them")


def test_published_is_found_by_every_name(db: Database, owner: Principal) -> None:
    """F10: by 4 parts, by 5, with the full hash, and by the hash alone; with its code, schema and permissions."""
    made = publish(db, owner, publication(), now=NOW)
    assert made.created
    assert fqdn.parse(made.capability.fqdn).hash4 == sha("1 + 1")[:4]
    for name in (NAME, f"{NAME}.{sha('1 + 1')[:4]}", f"{NAME}.{sha('1 + 1')}", sha("1 + 1")):
        found = fetch(db, owner.tenant_id, name)
        assert found == made.capability
    wire = made.capability.to_wire()
    assert (wire["code"], wire["sha256"], wire["permissions"]) == ("1 + 1", sha("1 + 1"), ["git:git_log"])
    assert wire["schema"]["properties"]["since"] == {"type": "string"}


def test_publishing_the_same_again_changes_nothing(db: Database, owner: Principal) -> None:
    """F10: same id, same time; with the hash in the name or without."""
    first = publish(db, owner, publication(), now=NOW)
    again = publish(db, owner, publication(name=f"{NAME}.{sha('1 + 1')}"), now=NOW + timedelta(days=1))
    assert again.capability == first.capability
    assert not again.created


def test_the_same_code_under_another_name_is_the_same_code(db: Database, owner: Principal) -> None:
    """One UUID for one text: a name may change without its traces being lost."""
    first = publish(db, owner, publication(), now=NOW)
    second = publish(db, owner, publication(name="acme.tools.git.notes"), now=NOW + timedelta(hours=1))
    assert second.capability.id == first.capability.id
    assert second.created


def test_the_newest_is_found_without_a_hash(db: Database, owner: Principal) -> None:
    """F10: and a yanked one no more, but still by its own."""
    old = publish(db, owner, publication("1"), now=NOW).capability
    new = publish(db, owner, publication("2"), now=NOW + timedelta(hours=1)).capability
    assert fetch(db, owner.tenant_id, NAME) == new
    assert yank(db, owner.tenant_id, new.fqdn, now=NOW + timedelta(hours=2))
    assert not yank(db, owner.tenant_id, new.fqdn, now=NOW + timedelta(hours=3))
    assert fetch(db, owner.tenant_id, NAME) == old
    yanked = fetch(db, owner.tenant_id, new.fqdn)
    assert yanked == replace(new, yanked_at=NOW + timedelta(hours=2))
    assert fetch(db, owner.tenant_id, new.sha256) == yanked
    assert yanked is not None
    assert yanked.to_wire()["yankedAt"] == "2026-11-21T14:00:00.000000Z"
    assert yank(db, owner.tenant_id, old.fqdn, now=NOW)
    assert fetch(db, owner.tenant_id, NAME) is None


def test_four_digits_for_two_texts_are_a_conflict(db: Database, owner: Principal) -> None:
    """F39: the second is refused and leaves nothing; under another name it is welcome."""
    one, two = colliding()
    publish(db, owner, publication(one), now=NOW)
    with pytest.raises(StoreConflict) as caught:
        publish(db, owner, publication(two), now=NOW)
    assert caught.value.reason == "HASH_CONFLICT"
    assert fetch(db, owner.tenant_id, sha(two)) is None
    with db.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM workflow_pattern")).scalar() == 1
    assert publish(db, owner, publication(two, name="acme.tools.git.other"), now=NOW).created
    found = fetch(db, owner.tenant_id, f"{NAME}.{sha(one)[:4]}")
    assert found is not None
    assert found.code == one
    assert fetch(db, owner.tenant_id, f"{NAME}.{sha(two)}") is None


def test_other_metadata_for_the_same_code_is_a_conflict(db: Database, owner: Principal) -> None:
    """Permissions do not change behind a hash that somebody trusts."""
    publish(db, owner, publication(), now=NOW)
    with pytest.raises(StoreConflict) as caught:
        publish(db, owner, replace(publication(), permissions=("*",)), now=NOW)
    assert caught.value.reason == "METADATA_CONFLICT"
    found = fetch(db, owner.tenant_id, NAME)
    assert found is not None
    assert found.permissions == ("git:git_log",)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"sha256": "0" * 64}, "HASH_MISMATCH"),
        ({"sha256": sha("1 + 1").upper()}, "HASH_MISMATCH"),
        ({"code": "1 + 2"}, "HASH_MISMATCH"),
        ({"fqdn": f"{NAME}.0000"}, "HASH_MISMATCH"),
        ({"fqdn": f"{NAME}.{'0' * 64}"}, "HASH_MISMATCH"),
        ({"fqdn": "no name"}, "BAD_NAME"),
        ({"fqdn": "Acme.tools.git.log"}, "BAD_NAME"),
        ({"fqdn": "a.b.c.\0"}, "BAD_NAME"),
        ({"code": "", "sha256": sha("")}, "BAD_CODE"),
        ({"code": "a\0", "sha256": sha("a\0")}, "BAD_CODE"),
        ({"code": "\ud800", "sha256": "0" * 64}, "BAD_CODE"),
        ({"code": "x" * (256 * 1024 + 1), "sha256": sha("x" * (256 * 1024 + 1))}, "TOO_LARGE"),
        ({"description": "x" * 2001}, "TOO_LARGE"),
        ({"description": "\0"}, "BAD_METADATA"),
        ({"servers": ("\ud800",)}, "BAD_METADATA"),
        ({"args_schema": {"x": float("nan")}}, "BAD_METADATA"),
        ({"args_schema": {"x": "y" * 300_000}}, "TOO_LARGE"),
    ],
    ids=str,
)
def test_what_cannot_be_published(db: Database, owner: Principal, bad: dict[str, Any], reason: str) -> None:
    """F10 F39: integrity first; nothing is stored."""
    with pytest.raises(StoreRefused) as caught:
        publish(db, owner, replace(publication(), **bad), now=NOW)
    assert caught.value.reason == reason
    assert len(caught.value.message) < 400
    assert list_capabilities(db, owner.tenant_id).items == []


def test_deep_schemas_are_refused(db: Database, owner: Principal) -> None:
    """Sixty-four levels, as everywhere."""
    schema: dict[str, Any] = {}
    for _ in range(5000):
        schema = {"x": schema}
    with pytest.raises(StoreRefused):
        publish(db, owner, replace(publication(), args_schema=schema), now=NOW)


def test_an_organisation_belongs_to_one_tenant(db: Database, owner: Principal) -> None:
    """F10: the first that publishes, or the one it was given to; `local` to nobody."""
    other = principal(db, "other")
    publish(db, owner, publication(), now=NOW)
    with pytest.raises(StoreDenied) as caught:
        publish(db, other, publication("2", name="acme.theirs.x.y"), now=NOW)
    assert caught.value.reason == "ORG_TAKEN"
    claim_org(db, other.tenant_id, "globex", now=NOW)
    claim_org(db, other.tenant_id, "globex", now=NOW)
    with pytest.raises(StoreDenied):
        publish(db, owner, publication(name="globex.a.b.c"), now=NOW)
    with pytest.raises(StoreDenied) as caught:
        publish(db, owner, publication(name="git:release_notes"), now=NOW)
    assert caught.value.reason == "ORG_RESERVED"
    with pytest.raises(StoreRefused):
        claim_org(db, other.tenant_id, "Bad Org", now=NOW)


def test_another_tenants_capability_is_not_there(db: Database, owner: Principal) -> None:
    """F38: not by name, not by hash, not in the list, not to yank."""
    other = principal(db, "other")
    made = publish(db, owner, publication(), now=NOW).capability
    for name in (NAME, made.fqdn, made.sha256):
        assert fetch(db, other.tenant_id, name) is None
    assert list_capabilities(db, other.tenant_id).items == []
    assert not yank(db, other.tenant_id, made.fqdn, now=NOW)
    same = publish(db, other, publication(name="globex.a.b.c"), now=NOW).capability
    assert same.id != made.id  # the same text, but not the same tenant's


@pytest.mark.parametrize(
    "name", ["", "\0", "\ud800", "x", "a.b.c", NAME.upper(), "0" * 64, "0" * 63, f"{NAME}.00", "%"]
)
def test_what_is_no_name_finds_nothing(db: Database, owner: Principal, name: str) -> None:
    """F39: no fault, and nothing yanked."""
    publish(db, owner, publication(), now=NOW)
    assert fetch(db, owner.tenant_id, name) is None
    assert not yank(db, owner.tenant_id, name, now=NOW)
    assert not yank(db, owner.tenant_id, NAME, now=NOW)  # which one?


def test_the_list_is_paged_by_name(db: Database, owner: Principal) -> None:
    """Without code; a prefix is a prefix and no pattern."""
    names = sorted(f"acme.p{n % 3}.x_y.c{n}" for n in range(10))
    for n, name in enumerate(names):
        publish(db, owner, publication(f"{n}", name=name), now=NOW)
    seen, cursor = list[str](), None
    while True:
        page = list_capabilities(db, owner.tenant_id, limit=3, cursor=cursor)
        seen += [item.fqdn.rpartition(".")[0] for item in page.items]
        assert all(item.code == "" and "code" not in item.to_wire() for item in page.items)
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(seen) == names
    assert len(list_capabilities(db, owner.tenant_id, prefix="acme.p1.").items) == 3
    assert list_capabilities(db, owner.tenant_id, prefix="acme.p1%").items == []
    refused: list[dict[str, Any]] = [{"cursor": "x"}, {"prefix": "\0"}, {"limit": 0}]
    for bad in refused:
        with pytest.raises(StoreRefused):
            list_capabilities(db, owner.tenant_id, **bad)


def test_many_publish_at_once(db: Database, owner: Principal) -> None:
    """F10: of eight that publish the same text one creates it; two tenants at once get one owner of the name."""
    other = principal(db, "other")

    def attempt(n: int) -> object:
        who = owner if n % 2 else other
        try:
            return publish(db, who, publication(), now=NOW).created
        except StoreDenied as denied:
            return denied.reason

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(attempt, range(8)))
    assert sorted(map(str, answers)) == ["False"] * 3 + ["ORG_TAKEN"] * 4 + ["True"]
