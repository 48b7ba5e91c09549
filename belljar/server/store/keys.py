"""Tenants and their API keys.

A key is `bj_` and 32 random letters and digits, seen once: the store keeps its SHA-256 (a key is 190 random bits, there
is nothing to guess and nothing to slow down) and an id derived from it by another hash, by which the row is found and
by which people and traces name it. The hashes are compared in constant time. A key belongs to one tenant, and
everything that is asked with it is asked of that tenant alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    delete,
    exists,
    insert,
    or_,
    select,
    update,
)

from belljar import show
from belljar.server.store._bulk import insert_unless_there
from belljar.server.store.engine import Database
from belljar.server.store.errors import StoreRefused
from belljar.server.store.schema import api_key, tenant, web_session

__all__ = [
    "DEFAULT_TENANT",
    "KeyInfo",
    "NewKey",
    "Principal",
    "Scope",
    "any_key",
    "authenticate",
    "create_key",
    "list_keys",
    "local_principal",
    "principal_of",
    "revoke_key",
    "still_good",
    "working",
]

DEFAULT_TENANT = "default"
LOCAL_KEY = "local"
"""The key id of everything sent to a server without keys."""

_PREFIX = "bj_"
_ALPHABET = string.ascii_letters + string.digits
_KEY = re.compile(r"bj_[A-Za-z0-9]{32}")
_KEY_ID = re.compile(r"[0-9a-f]{16}")
_TENANT = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_MAX_LABEL = 200
# `last_used_at` is for people: a write for every request would cost more than the request.
_USE_NOTED = timedelta(minutes=5)


class Scope(StrEnum):
    """What a key may do."""

    INGEST = "ingest"
    READ = "read"
    PUBLISH = "publish"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose key it is. `key_id` is the trace's userId; it is no secret."""

    tenant_id: int
    tenant: str
    key_id: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """`admin` includes the others."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


@dataclass(frozen=True, slots=True)
class NewKey:
    """The one time the key itself is seen."""

    key: str = field(repr=False)
    id: str
    tenant: str
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What can be known of a key afterwards."""

    id: str
    tenant: str
    label: str
    scopes: frozenset[Scope]
    created_at: datetime
    last_used_at: datetime | None
    """Within five minutes."""
    revoked_at: datetime | None
    expires_at: datetime | None
    """None: it does not end by itself."""

    def works(self, now: datetime) -> bool:
        """Neither revoked nor at its end."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def create_key(
    db: Database,
    tenant_name: str = DEFAULT_TENANT,
    scopes: Iterable[str] = (Scope.INGEST, Scope.READ, Scope.PUBLISH),
    *,
    label: str = "",
    expires_at: datetime | None = None,
    now: datetime,
) -> NewKey:
    """A new key, which works until `expires_at`; the tenant is made if it is not there.

    Raises:
        StoreRefused: a tenant's name or a label that cannot be (`BAD_NAME`), no or unknown scopes (`BAD_SCOPE`), an end
            that has passed (`BAD_TIME`).
    """
    granted = _scopes(scopes)
    if len(label) > _MAX_LABEL or not label.isprintable():
        raise StoreRefused(f"a label is one line of at most {_MAX_LABEL} characters", reason="BAD_NAME")
    if expires_at is not None and expires_at <= now:
        raise StoreRefused("a key ends after it is made", reason="BAD_TIME")
    key = _PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(32))
    key_id, key_hash = _hashes(key)
    with db.write() as connection:
        row = {
            "key_id": key_id,
            "tenant_id": _tenant_id(connection, tenant_name, now),
            "key_hash": key_hash,
            "label": label,
            "scopes": ",".join(sorted(granted)),
            "created_at": now,
            "expires_at": expires_at,
        }
        connection.execute(insert(api_key), row)
    return NewKey(key, key_id, tenant_name, granted)


def authenticate(db: Database, key: str, *, now: datetime) -> Principal | None:
    """Whose key this is; None for anything that is no valid key, whatever is wrong with it."""
    if _KEY.fullmatch(key) is None:
        return None
    key_id, key_hash = _hashes(key)
    with db.read() as connection:
        found = connection.execute(_WITH_TENANT.where(api_key.c.key_id == key_id)).one_or_none()
    if found is None or not hmac.compare_digest(found.key_hash, key_hash) or not _info(found).works(now):
        return None
    if found.last_used_at is None or now - found.last_used_at > _USE_NOTED:
        with db.write() as connection:
            connection.execute(update(api_key).where(api_key.c.key_id == key_id).values(last_used_at=now))
    return principal_of(found)


def still_good(connection: Connection, key_ids: Iterable[str], *, now: datetime) -> set[str]:
    """Those of some keys that work; so do requests without keys."""
    listed = list(key_ids)
    on_sqlite = connection.dialect.name == "sqlite"
    # By the driver, which has it prepared: every batch asks, and what SQLAlchemy adds is ten times the question.
    at = now.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")  # as `Utc` writes it there
    statement, given = (_OF_JSON, (at, json.dumps(listed))) if on_sqlite else (_OF_ARRAY, (now, listed))
    found = connection.exec_driver_sql(statement, given)
    return {key_id for (key_id,) in found} | ({LOCAL_KEY} & set(listed))


# `KeyInfo.works`.
_OF_JSON = (
    "SELECT key_id FROM api_key WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)"
    " AND key_id IN (SELECT value FROM json_each(?))"
)
_OF_ARRAY = (
    "SELECT key_id FROM api_key WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > %s)"
    " AND key_id = ANY(%s)"
)


def local_principal(db: Database, *, now: datetime) -> Principal:
    """For a server without keys: the default tenant with every scope."""
    with db.write() as connection:
        return Principal(_tenant_id(connection, DEFAULT_TENANT, now), DEFAULT_TENANT, LOCAL_KEY, frozenset(Scope))


def list_keys(db: Database, tenant_name: str | None = None) -> list[KeyInfo]:
    """All keys, or one tenant's, oldest first; revoked ones too."""
    statement = _WITH_TENANT.order_by(api_key.c.created_at, api_key.c.key_id)
    if tenant_name is not None:
        if _TENANT.fullmatch(tenant_name) is None:
            return []
        statement = statement.where(tenant.c.name == tenant_name)
    with db.read() as connection:
        return list(map(_info, connection.execute(statement)))


def revoke_key(db: Database, key_id: str, *, now: datetime, tenant_name: str | None = None) -> bool:
    """Works at once, on every replica; the key's web sessions end too.

    False: there is no such key (of this tenant), or it was revoked before.
    """
    if _KEY_ID.fullmatch(key_id) is None or (tenant_name is not None and _TENANT.fullmatch(tenant_name) is None):
        return False
    key = api_key.c
    statement = update(api_key).where(key.key_id == key_id, key.revoked_at.is_(None)).values(revoked_at=now)
    if tenant_name is not None:
        of_tenant = select(tenant.c.tenant_id).where(tenant.c.name == tenant_name).scalar_subquery()
        statement = statement.where(key.tenant_id == of_tenant)
    with db.write() as connection:
        revoked = connection.execute(statement).rowcount == 1
        if revoked:
            connection.execute(delete(web_session).where(web_session.c.key_id == key_id))
    return revoked


def any_key(db: Database, *, now: datetime) -> bool:
    """Whether there is a key that works."""
    with db.read() as connection:
        return bool(connection.scalar(select(exists().where(working(now)))))


def working(now: datetime) -> ColumnElement[bool]:
    """`KeyInfo.works` as SQL, of `api_key`."""
    return api_key.c.revoked_at.is_(None) & or_(api_key.c.expires_at.is_(None), api_key.c.expires_at > now)


def principal_of(row: Row[Any]) -> Principal:
    """From a row of `api_key` with its tenant's name."""
    return Principal(row.tenant_id, row.name, row.key_id, _granted(row.scopes))


_WITH_TENANT = select(api_key, tenant.c.name).join(tenant, tenant.c.tenant_id == api_key.c.tenant_id)


def _info(row: Row[Any]) -> KeyInfo:
    times = (row.created_at, row.last_used_at, row.revoked_at, row.expires_at)
    return KeyInfo(row.key_id, row.name, row.label, _granted(row.scopes), *times)


def _hashes(key: str) -> tuple[str, str]:
    """(id, hash): two hashes of which neither tells the other."""
    digest = hashlib.sha256(b"belljar key id\0" + key.encode()).hexdigest()
    return digest[:16], hashlib.sha256(key.encode()).hexdigest()


def _scopes(names: Iterable[str]) -> frozenset[Scope]:
    try:
        scopes = frozenset(map(Scope, names))
    except ValueError:
        scopes = frozenset[Scope]()
    if not scopes:
        raise StoreRefused(f"scopes are: {', '.join(Scope)}", reason="BAD_SCOPE")
    return scopes


def _granted(stored: str) -> frozenset[Scope]:
    return frozenset(map(Scope, stored.split(",")))


def _tenant_id(connection: Connection, name: str, now: datetime) -> int:
    if _TENANT.fullmatch(name) is None:
        rule = "1 to 64 of a-z, 0-9, _ . -, a letter or digit first"
        raise StoreRefused(f"bad tenant {show.name(name)}: use {rule}", reason="BAD_NAME")
    found = connection.scalar(select(tenant.c.tenant_id).where(tenant.c.name == name))
    if found is None:
        insert_unless_there(connection, tenant, {"name": name, "created_at": now})
        found = connection.scalar(select(tenant.c.tenant_id).where(tenant.c.name == name))
    assert found is not None
    return found
