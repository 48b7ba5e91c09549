"""Who is asking: an API key in `x-api-key` or `Authorization: Bearer`, and what it may do.

The store compares keys, by hash and in constant time. What is wrong with a key is never said: unknown, revoked,
malformed and half a key are one answer. Every key has its tenant, and nothing a request says can name another one. The
same look in the database also takes a token from the key's bucket, before a byte of the body is read.

With `--no-auth`, which only a server on loopback has, everybody is the tenant `default`, and may do everything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from belljar.server.problems import Problem
from belljar.server.services import Services, now, services
from belljar.server.store import keys
from belljar.server.store.keys import Principal, Scope

__all__ = ["Admin", "Ingest", "Publish", "Read", "credential"]

_MAX_KEY_CHARS = 128
_CHALLENGE = {"www-authenticate": 'Bearer realm="belljar"'}

# For the OpenAPI document; `credential` reads the headers, and is stricter.
_SCHEMES = (
    Security(APIKeyHeader(name="x-api-key", auto_error=False, scheme_name="apiKey")),
    Security(HTTPBearer(auto_error=False, scheme_name="bearer")),
)


def credential(request: Request) -> str:
    """The key a request carries.

    Raises:
        Problem: 401; none, more than one, or something no key looks like.
    """
    given = request.headers.getlist("x-api-key")
    for value in request.headers.getlist("authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() != "bearer":
            raise _unauthorized("authorization must be Bearer, with an API key")
        given.append(token.strip())
    if not given:
        raise _unauthorized("an API key is needed, as x-api-key or as Authorization: Bearer")
    key = given[0]
    if set(given) != {key} or not 0 < len(key) <= _MAX_KEY_CHARS or not key.isascii() or not key.isprintable():
        raise _unauthorized("the API key is not valid")
    return key


def _unauthorized(detail: str) -> Problem:
    return Problem(401, detail, headers=_CHALLENGE)


def _needs(scope: Scope) -> Callable[..., Awaitable[Principal]]:
    async def principal(
        request: Request,
        parts: Annotated[Services, Depends(services)],
        _api_key: Annotated[Any, _SCHEMES[0]] = None,
        _bearer: Annotated[Any, _SCHEMES[1]] = None,
    ) -> Principal:
        key = "" if parts.settings.no_auth else credential(request)
        who, wait_s = await parts.run("authenticate", lambda: _admit(parts, key))
        if who is None:
            raise _unauthorized("the API key is not valid")
        request.scope["belljar.note"] = {"key": who.key_id, "tenant": who.tenant}
        if wait_s > 0:
            raise Problem(429, "this key sends too fast", retry_after_s=wait_s)
        if not who.may(scope):
            raise Problem(403, f"this key lacks the scope `{scope.value}`")
        return who

    return principal


def _admit(parts: Services, key: str) -> tuple[Principal | None, float]:
    """Whose key it is, and how long it must wait first."""
    if parts.settings.no_auth:
        return keys.local_principal(parts.db, now=now()), 0.0
    who = keys.authenticate(parts.db, key, now=now())
    if who is None or parts.limiter is None:
        return who, 0.0
    return who, parts.limiter.take(who.key_id).wait_s


Ingest = Annotated[Principal, Depends(_needs(Scope.INGEST))]
"""Whoever may send traces."""
Read = Annotated[Principal, Depends(_needs(Scope.READ))]
"""Whoever may look."""
Publish = Annotated[Principal, Depends(_needs(Scope.PUBLISH))]
"""Whoever may publish capabilities."""
Admin = Annotated[Principal, Depends(_needs(Scope.ADMIN))]
"""Whoever runs the server."""
