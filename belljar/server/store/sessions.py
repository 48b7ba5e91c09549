"""Sessions of the web UI: the browser holds a random id, never the key; the store holds the id's hash.

A session is as good as its key: a key that is revoked or ends takes its sessions along, on every replica at once.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select

from belljar.server.store.engine import Database
from belljar.server.store.keys import Principal, principal_of, working
from belljar.server.store.schema import api_key, tenant, web_session

__all__ = ["create_session", "end_session", "find_session"]

_MAX_CHARS = 100


def create_session(db: Database, principal: Principal, *, now: datetime, lifetime_s: float = 12 * 3600.0) -> str:
    """The secret id to put into the cookie. Expired sessions are removed on the way."""
    secret = secrets.token_urlsafe(32)
    row = {
        "session_hash": _hash(secret),
        "key_id": principal.key_id,
        "created_at": now,
        "expires_at": now + timedelta(seconds=lifetime_s),
    }
    with db.write() as connection:
        connection.execute(delete(web_session).where(web_session.c.expires_at <= now))
        connection.execute(insert(web_session), row)
    return secret


def find_session(db: Database, secret: str, *, now: datetime) -> Principal | None:
    """Whose it is; None when expired, ended, unknown, or when its key works no longer."""
    if len(secret) > _MAX_CHARS:
        return None
    statement = (
        select(api_key, tenant.c.name)
        .join(web_session, web_session.c.key_id == api_key.c.key_id)
        .join(tenant, tenant.c.tenant_id == api_key.c.tenant_id)
        .where(web_session.c.session_hash == _hash(secret), web_session.c.expires_at > now)
        .where(working(now))
    )
    with db.read() as connection:
        found = connection.execute(statement).one_or_none()
    return None if found is None else principal_of(found)


def end_session(db: Database, secret: str) -> bool:
    """False: there was none."""
    statement = delete(web_session).where(web_session.c.session_hash == _hash(secret))
    with db.write() as connection:
        return connection.execute(statement).rowcount == 1


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
