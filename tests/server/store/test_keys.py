"""Tenants, keys, sessions."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from belljar.server.store.engine import Database
from belljar.server.store.errors import StoreRefused
from belljar.server.store.keys import (
    DEFAULT_TENANT,
    Scope,
    any_key,
    authenticate,
    create_key,
    list_keys,
    local_principal,
    revoke_key,
)
from belljar.server.store.sessions import create_session, end_session, find_session
from tests.server.conftest import NOW
from tests.server.statements import recorded


def everything(db: Database) -> str:
    """All that is stored of keys and sessions, as text."""
    with db.read() as connection:
        tables = ("api_key", "web_session", "tenant", "rate_bucket")
        return repr([connection.execute(text(f"SELECT * FROM {table}")).all() for table in tables])


def test_a_key_is_seen_once(db: Database) -> None:
    """F36: `bj_` and 32 characters; neither stored, nor in a repr, nor the same twice."""
    made = create_key(db, "acme", ["ingest"], label="laptop", now=NOW)
    assert re.fullmatch(r"bj_[A-Za-z0-9]{32}", made.key)
    assert made.key not in repr(made)
    assert made.key not in everything(db)
    assert made.key[3:11] not in everything(db)
    assert made.id not in made.key
    assert create_key(db, "acme", ["ingest"], now=NOW).key != made.key


def test_whose_key_it_is(db: Database) -> None:
    """F36: tenant, id and scopes; `admin` includes the others."""
    made = create_key(db, "acme", ["ingest", "read"], now=NOW)
    found = authenticate(db, made.key, now=NOW)
    assert found is not None
    assert (found.tenant, found.key_id, found.scopes) == ("acme", made.id, {Scope.INGEST, Scope.READ})
    assert found.may(Scope.READ)
    assert not found.may(Scope.PUBLISH)
    boss = authenticate(db, create_key(db, "acme", ["admin"], now=NOW).key, now=NOW)
    assert boss is not None
    assert all(boss.may(scope) for scope in Scope)
    assert boss.tenant_id == found.tenant_id


def test_what_is_no_key(db: Database) -> None:
    """F36: unknown, malformed, hostile: nobody, and no fault."""
    made = create_key(db, now=NOW)
    for wrong in (
        "",
        "bj_",
        made.key[:-1],
        made.key + "x",
        made.key.upper(),
        made.key + "\n",
        "bj_" + "a" * 32,
        made.id,
    ):
        assert authenticate(db, wrong, now=NOW) is None
    for wrong in ("\0" * 35, "\ud800", "bj_" + "é" * 32, "x" * 10**6, "' OR 1=1 --"):
        assert authenticate(db, wrong, now=NOW) is None


def test_a_stored_hash_is_no_key(db: Database) -> None:
    """Whoever reads the table cannot come in with what they read; and a row found by its id must match by its hash."""
    made = create_key(db, now=NOW)
    with db.write() as connection:
        stored = connection.exec_driver_sql("SELECT key_hash FROM api_key").scalar_one()
        connection.exec_driver_sql("UPDATE api_key SET key_hash = '" + "0" * 64 + "'")
    assert authenticate(db, f"bj_{stored[:32]}", now=NOW) is None
    assert authenticate(db, made.key, now=NOW) is None


def test_a_revoked_key_ends_at_once(db: Database) -> None:
    """Its sessions too; a second time is False."""
    made, kept = create_key(db, "acme", ["read"], now=NOW), create_key(db, "acme", ["read"], now=NOW)
    owner = authenticate(db, made.key, now=NOW)
    assert owner is not None
    session = create_session(db, owner, now=NOW)
    assert any_key(db, now=NOW)
    assert revoke_key(db, made.id, now=NOW)
    assert not revoke_key(db, made.id, now=NOW)
    assert authenticate(db, made.key, now=NOW) is None
    assert find_session(db, session, now=NOW) is None
    assert authenticate(db, kept.key, now=NOW) is not None
    assert revoke_key(db, kept.id, now=NOW)
    assert not any_key(db, now=NOW)
    assert [info.revoked_at for info in list_keys(db)] == [NOW, NOW]


def test_a_key_ends_by_itself(db: Database) -> None:
    """F36: at its time, to the second, its sessions too; one without an end goes on; an end that has passed is none."""
    end = NOW + timedelta(days=1)
    made = create_key(db, "acme", ["read"], expires_at=end, now=NOW)
    before, after = end - timedelta(seconds=1), end
    owner = authenticate(db, made.key, now=before)
    assert owner is not None
    session = create_session(db, owner, now=before)
    assert find_session(db, session, now=before) == owner
    assert any_key(db, now=before)
    assert authenticate(db, made.key, now=after) is None
    assert find_session(db, session, now=after) is None
    assert not any_key(db, now=after)
    assert [info.works(after) for info in list_keys(db)] == [False]
    assert authenticate(db, create_key(db, "acme", ["read"], now=NOW).key, now=NOW + timedelta(days=36500)) is not None
    with pytest.raises(StoreRefused):
        create_key(db, "acme", ["read"], expires_at=NOW, now=NOW)


def test_a_tenant_revokes_its_own_keys_alone(db: Database) -> None:
    """Another's id behaves as absent; so does what is no id."""
    made = create_key(db, "acme", ["read"], now=NOW)
    create_key(db, "other", ["admin"], now=NOW)
    assert not revoke_key(db, made.id, now=NOW, tenant_name="other")
    assert not revoke_key(db, made.id, now=NOW, tenant_name="nobody")
    for wrong in ("", "\0", "\ud800", made.key):
        assert not revoke_key(db, wrong, now=NOW)
    assert revoke_key(db, made.id, now=NOW, tenant_name="acme")


def test_keys_are_listed_without_themselves(db: Database) -> None:
    """By tenant, with what a person needs to tell them apart."""
    made = create_key(db, "acme", ["read", "ingest"], label="ci", now=NOW)
    create_key(db, "other", ["read"], now=NOW + timedelta(seconds=1))
    (info,) = list_keys(db, "acme")
    assert (info.id, info.tenant, info.label, info.scopes) == (made.id, "acme", "ci", {Scope.READ, Scope.INGEST})
    assert [i.tenant for i in list_keys(db)] == ["acme", "other"]
    assert list_keys(db, "\0") == []


def test_last_use_is_noted_now_and_then(db: Database) -> None:
    """Within five minutes, and not by a write for every request."""
    made = create_key(db, now=NOW)
    for seconds, writes, noted in ((0, 1, 0), (10, 0, 0), (299, 0, 0), (301, 1, 301), (400, 0, 301)):
        with recorded() as seen:
            assert authenticate(db, made.key, now=NOW + timedelta(seconds=seconds))
        assert len([s for s, _ in seen if s.startswith("UPDATE")]) == writes
        assert list_keys(db)[0].last_used_at == NOW + timedelta(seconds=noted)


@pytest.mark.parametrize("scopes", [[], ["everything"], ["read", "root"], [""]])
def test_scopes_are_known_words(db: Database, scopes: list[str]) -> None:
    with pytest.raises(StoreRefused) as caught:
        create_key(db, "acme", scopes, now=NOW)
    assert caught.value.reason == "BAD_SCOPE"
    assert list_keys(db) == []


@pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a" * 65, "a\0", "../x", "é", "a\n"])
def test_a_tenant_has_a_plain_name(db: Database, name: str) -> None:
    with pytest.raises(StoreRefused) as caught:
        create_key(db, name, ["read"], now=NOW)
    assert caught.value.reason == "BAD_NAME"


def test_a_label_is_one_line(db: Database) -> None:
    with pytest.raises(StoreRefused):
        create_key(db, label="a\nb", now=NOW)


def test_a_server_without_keys_has_one_tenant(db: Database) -> None:
    """The default one, made when needed, the same each time."""
    first, second = local_principal(db, now=NOW), local_principal(db, now=NOW)
    assert first == second
    assert (first.tenant, first.key_id, first.scopes) == (DEFAULT_TENANT, "local", frozenset(Scope))


# Sessions


def test_a_session_is_its_keys_and_ends(db: Database) -> None:
    """The cookie's secret is not stored; it ends by time, by logging out, and is nobody's after."""
    owner = authenticate(db, create_key(db, "acme", ["read"], now=NOW).key, now=NOW)
    assert owner is not None
    secret = create_session(db, owner, now=NOW, lifetime_s=60)
    assert secret not in everything(db)
    assert find_session(db, secret, now=NOW + timedelta(seconds=59)) == owner
    assert find_session(db, secret, now=NOW + timedelta(seconds=60)) is None
    assert end_session(db, secret)
    assert not end_session(db, secret)
    assert find_session(db, secret, now=NOW) is None
    for wrong in ("", "\0", "\ud800", "x" * 10**6, secret + "x"):
        assert find_session(db, wrong, now=NOW) is None


def test_expired_sessions_do_not_pile_up(db: Database) -> None:
    """Each login removes those whose time has passed."""
    owner = authenticate(db, create_key(db, now=NOW).key, now=NOW)
    assert owner is not None
    for minute in range(5):
        create_session(db, owner, now=NOW + timedelta(minutes=2 * minute), lifetime_s=60)
    with db.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM web_session").scalar() == 1


@given(st.text(max_size=40))
def test_no_text_is_a_key_by_chance(candidate: str) -> None:
    """What is not of the form is refused before the database is asked."""
    from belljar.server.store import keys

    if keys._KEY.fullmatch(candidate) is None:
        assert authenticate(None, candidate, now=NOW) is None  # type: ignore[arg-type]
