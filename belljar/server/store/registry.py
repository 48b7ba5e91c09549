"""The server's half of the registry: capabilities by name and by full hash.

What is published is a text of code (`workflow_pattern`, identified by its SHA-256, once per tenant) and a name for it
(`capability_record`). The name shows four digits of the hash, so two texts may want the same name; the second is
refused. Publishing the same again changes nothing. A yanked capability is not chosen any more, and is still there for
those who name it exactly: what was run must stay explicable.

An organisation belongs to one tenant: the first that publishes under it, or the one an administrator gives it to
(`claim_org`). `local` belongs to nobody: it means "not from a registry".
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Row, Select, literal, select, tuple_, update

from belljar import fqdn, show
from belljar.errors import ValidationError
from belljar.fqdn import LOCAL_ORG, Fqdn
from belljar.limits import KIB, Limits
from belljar.rpc.jsontext import JsonError, dump
from belljar.server.store._bulk import insert_unless_there
from belljar.server.store._cursors import check_limit, check_text, cursor_of, position_of
from belljar.server.store._names import base_name
from belljar.server.store._views import iso
from belljar.server.store.engine import Database
from belljar.server.store.errors import StoreConflict, StoreDenied, StoreRefused
from belljar.server.store.keys import Principal
from belljar.server.store.queries import Page
from belljar.server.store.schema import capability_record, registry_org, workflow_pattern

__all__ = ["Publication", "PublishResult", "Published", "claim_org", "fetch", "list_capabilities", "publish", "yank"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_METADATA = 256 * KIB
_MAX_DESCRIPTION = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What a client publishes."""

    fqdn: str
    """4 or 5 parts; the hash in it, if any, must be the code's."""
    code: str
    sha256: str
    """Of the code as UTF-8, lower-case hex; verified."""
    description: str = ""
    args_schema: dict[str, Any] | None = None
    servers: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A capability in the registry."""

    id: str
    """UUID of the code; what traces are linked to."""
    fqdn: str
    """With hash4."""
    sha256: str
    code: str
    """Empty in lists."""
    description: str
    args_schema: dict[str, Any] | None
    servers: tuple[str, ...]
    permissions: tuple[str, ...]
    dependencies: tuple[str, ...]
    published_at: datetime
    yanked_at: datetime | None

    def to_wire(self) -> dict[str, Any]:
        """{id, fqdn, sha256, code?, description, schema, servers, permissions, dependencies, publishedAt, yankedAt?}"""
        wire = {
            "id": self.id,
            "fqdn": self.fqdn,
            "sha256": self.sha256,
            "code": self.code or None,
            "description": self.description,
            "schema": self.args_schema,
            "servers": list(self.servers),
            "permissions": list(self.permissions),
            "dependencies": list(self.dependencies),
            "publishedAt": iso(self.published_at),
            "yankedAt": iso(self.yanked_at) if self.yanked_at else None,
        }
        return {key: value for key, value in wire.items() if value is not None or key == "schema"}


@dataclass(frozen=True, slots=True)
class PublishResult:
    """The capability as it is in the registry now."""

    capability: Published
    created: bool
    """False: it was there already, the same."""


def publish(db: Database, principal: Principal, publication: Publication, *, now: datetime) -> PublishResult:
    """Put a capability under its name.

    Raises:
        StoreRefused: a name that is none (`BAD_NAME`), a hash that is not the code's (`HASH_MISMATCH`), no text or too
            much of it (`TOO_LARGE`, `BAD_CODE`, `BAD_METADATA`).
        StoreDenied: the organisation is another tenant's (`ORG_TAKEN`) or nobody's (`ORG_RESERVED`).
        StoreConflict: the name has these four digits with another full hash (`HASH_CONFLICT`), or this very code with
            another description, schema or permissions (`METADATA_CONFLICT`).
    """
    name = _checked_name(publication)
    described = _described(publication)
    with db.write() as connection:
        _claim(connection, principal.tenant_id, name.org, now)
        record = {
            "tenant_id": principal.tenant_id,
            "name": base_name(name),
            "hash4": name.hash4,
            "pattern_id": _pattern(connection, principal.tenant_id, publication, now),
            "published_by": principal.key_id,
            "published_at": now,
            **described,
        }
        created = insert_unless_there(connection, capability_record, record)
        row = connection.execute(_select(principal.tenant_id, _named(name))).one()
        # Within the transaction: a conflict takes back what the attempt has inserted.
        if row.sha256 != name.hash:
            message = f"{name} is published with another full hash: change the code or the name"
            raise StoreConflict(message, reason="HASH_CONFLICT")
        if not created and described != {key: getattr(row, key) for key in described}:
            message = f"{name} is published with another description, schema or permissions: change the code with them"
            raise StoreConflict(message, reason="METADATA_CONFLICT")
    return PublishResult(_published(row, with_code=True), created)


def fetch(db: Database, tenant_id: int, name: str) -> Published | None:
    """By FQDN - 4 parts: the newest that is not yanked; 5: that one, yanked or not - or by full hash (64 hex digits).

    None: no such capability of this tenant; so for anything that is no name.
    """
    record = capability_record.c
    if _SHA256.fullmatch(name):
        chosen = workflow_pattern.c.sha256 == name
    else:
        try:
            parsed = fqdn.parse(name)
        except ValidationError:
            return None
        chosen = _named(parsed)
        chosen = chosen if parsed.hash else chosen & record.yanked_at.is_(None)
        chosen = chosen & (workflow_pattern.c.sha256 == parsed.sha256) if parsed.sha256 else chosen
    newest = _select(tenant_id, chosen).order_by(record.published_at.desc(), record.record_id.desc()).limit(1)
    with db.read() as connection:
        row = connection.execute(newest).one_or_none()
    return None if row is None else _published(row, with_code=True)


def list_capabilities(
    db: Database, tenant_id: int, *, prefix: str = "", limit: int = 50, cursor: str | None = None
) -> Page[Published]:
    """By name, yanked ones too, without their code.

    Raises:
        StoreRefused: `BAD_CURSOR`, `BAD_FILTER`.
    """
    check_limit(limit)
    check_text("prefix", prefix)
    record, belongs_to = capability_record.c, (tenant_id, "capabilities", prefix)
    statement = _select(tenant_id, record.name.startswith(prefix, autoescape=True))
    if cursor is not None:
        position = position_of(cursor, belongs_to, (str, str))
        statement = statement.where(tuple_(record.name, record.hash4) > tuple_(*map(literal, position)))
    with db.read() as connection:
        rows = connection.execute(statement.order_by(record.name, record.hash4).limit(limit + 1)).all()
    items = [_published(row, with_code=False) for row in rows[:limit]]
    more = len(rows) > limit
    return Page(items, cursor_of([rows[limit - 1].name, rows[limit - 1].hash4], belongs_to) if more else None)


def yank(db: Database, tenant_id: int, name: str, *, now: datetime) -> bool:
    """No longer found by its 4 parts; still by 5 and by hash, marked. Needs 5 parts.

    False: no such capability of this tenant, or yanked before.
    """
    try:
        parsed = fqdn.parse(name)
    except ValidationError:
        return False
    record = capability_record.c
    with db.write() as connection:
        row = connection.execute(_select(tenant_id, _named(parsed))).one_or_none() if parsed.hash else None
        if row is None or row.yanked_at is not None:
            return False
        connection.execute(update(capability_record).where(record.record_id == row.record_id).values(yanked_at=now))
    return True


def claim_org(db: Database, tenant_id: int, org: str, *, now: datetime) -> None:
    """Give an organisation that nobody has to a tenant; nothing happens when it has it.

    Raises:
        StoreDenied: `ORG_TAKEN`, `ORG_RESERVED`. StoreRefused: `BAD_NAME`.
    """
    _parsed(f"{org}.project.namespace.action")
    with db.write() as connection:
        _claim(connection, tenant_id, org, now)


# Checking


def _parsed(name: str) -> Fqdn:
    try:
        return fqdn.parse(name)
    except ValidationError as error:
        raise StoreRefused(error.message, reason="BAD_NAME") from None


def _checked_name(publication: Publication) -> Fqdn:
    """The name with the full hash."""
    named = _parsed(publication.fqdn)
    code = publication.code
    if "\0" in code or not code:
        raise StoreRefused("the code is not a text of Python", reason="BAD_CODE")
    try:
        data = code.encode()
    except UnicodeEncodeError:
        raise StoreRefused("the code is not UTF-8", reason="BAD_CODE") from None
    if len(data) > Limits().code:
        raise StoreRefused(f"the code is larger than {Limits().code} bytes", reason="TOO_LARGE")
    full = Fqdn(named.org, named.project, named.namespace, named.action, hashlib.sha256(data).hexdigest())
    if full.hash != publication.sha256 or not full.matches(named):
        raise StoreRefused("sha256 or the hash in the name is not the code's", reason="HASH_MISMATCH")
    return full


def _described(publication: Publication) -> dict[str, Any]:
    if len(publication.description) > _MAX_DESCRIPTION:
        raise StoreRefused(f"the description is longer than {_MAX_DESCRIPTION} characters", reason="TOO_LARGE")
    described = {
        "description": publication.description,
        "args_schema": publication.args_schema,
        "servers": list(publication.servers),
        "permissions": list(publication.permissions),
        "dependencies": list(publication.dependencies),
    }
    try:
        text = dump(described)
    except JsonError:
        raise StoreRefused("the capability's metadata is not JSON", reason="BAD_METADATA") from None
    if len(text) > _MAX_METADATA:
        raise StoreRefused(f"the capability's metadata is larger than {_MAX_METADATA} bytes", reason="TOO_LARGE")
    if r"\u0000" in text:
        raise StoreRefused("the capability's metadata holds NUL", reason="BAD_METADATA")
    return described


# Statements


def _claim(connection: Connection, tenant_id: int, org: str, now: datetime) -> None:
    if org == LOCAL_ORG:
        raise StoreDenied(
            f"{LOCAL_ORG} means this machine: publish under an organisation's name", reason="ORG_RESERVED"
        )
    insert_unless_there(connection, registry_org, {"org": org, "tenant_id": tenant_id, "claimed_at": now})
    owner = connection.scalar(select(registry_org.c.tenant_id).where(registry_org.c.org == org))
    if owner != tenant_id:
        raise StoreDenied(f"the organisation {show.name(org)} belongs to another tenant", reason="ORG_TAKEN")


def _pattern(connection: Connection, tenant_id: int, publication: Publication, now: datetime) -> str:
    pattern = workflow_pattern.c
    row = {
        "pattern_id": str(uuid4()),
        "tenant_id": tenant_id,
        "sha256": publication.sha256,
        "code": publication.code,
        "created_at": now,
    }
    insert_unless_there(connection, workflow_pattern, row)
    of_code = select(pattern.pattern_id).where(pattern.tenant_id == tenant_id, pattern.sha256 == publication.sha256)
    return connection.execute(of_code).scalar_one()


def _select(tenant_id: int, chosen: ColumnElement[bool]) -> Select[Any]:
    """Both tenants are compared, so that no mistake in a join can ever show another's."""
    record, pattern = capability_record.c, workflow_pattern.c
    return (
        select(capability_record, pattern.sha256, pattern.code)
        .join(workflow_pattern, pattern.pattern_id == record.pattern_id)
        .where(record.tenant_id == tenant_id, pattern.tenant_id == tenant_id, chosen)
    )


def _named(name: Fqdn) -> ColumnElement[bool]:
    """The name, and the digits of the hash that it shows, if any."""
    named = capability_record.c.name == base_name(name)
    return named & (capability_record.c.hash4 == name.hash4) if name.hash else named


def _published(row: Row[Any], *, with_code: bool) -> Published:
    return Published(
        id=row.pattern_id,
        fqdn=f"{row.name}.{row.hash4}",
        sha256=row.sha256,
        code=row.code if with_code else "",
        description=row.description,
        args_schema=row.args_schema,
        servers=tuple(row.servers),
        permissions=tuple(row.permissions),
        dependencies=tuple(row.dependencies),
        published_at=row.published_at,
        yanked_at=row.yanked_at,
    )
