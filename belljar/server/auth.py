"""Who is asking: an API key in `x-api-key` or `Authorization: Bearer`, and what it may do.

The store compares keys, by hash and in constant time. What is wrong with a key is never said: unknown, revoked,
malformed and half a key are one answer. Every key has its tenant, and nothing a request says can name another one. The
same look in the database also takes a token from the key's bucket, before a byte of the body is read.

One exception, for batches of traces, which are many: a key that was good a moment ago may send a small body, which is
read first; whether the key still is good is then asked in the transaction that stores the traces. A revoked key stores
nothing and is told so.

With `--no-auth`, which only a server on loopback has, everybody is the tenant `default`, and may do everything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from belljar.limits import KIB
from belljar.server.problems import Problem
from belljar.server.services import Services, now, services
from belljar.server.store import keys
from belljar.server.store.keys import Principal, Scope

__all__ = ["SCHEMES", "Admin", "Publish", "Read", "Sender", "credential", "invalid", "sender"]

_MAX_KEY_CHARS = 128
_CHALLENGE = {"www-authenticate": 'Bearer realm="belljar"'}

_SMALL = 256 * KIB

# For the OpenAPI document; `credential` reads the headers, and is stricter.
SCHEMES = (
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
        raise invalid()
    return key


def _unauthorized(detail: str) -> Problem:
    return Problem(401, detail, headers=_CHALLENGE)


def invalid() -> Problem:
    """The key is none, whatever is wrong with it."""
    return _unauthorized("the API key is not valid")


def _needs(scope: Scope) -> Callable[..., Awaitable[Principal]]:
    async def principal(
        request: Request,
        parts: Annotated[Services, Depends(services)],
        _api_key: Annotated[Any, SCHEMES[0]] = None,
        _bearer: Annotated[Any, SCHEMES[1]] = None,
    ) -> Principal:
        key = "" if parts.settings.no_auth else credential(request)
        return await parts.run("authenticate", lambda: _principal(request, parts, key, scope))

    return principal


def _principal(request: Request, parts: Services, key: str, scope: Scope) -> Principal:
    """Blocking.

    Raises:
        Problem: 401, 403 or 429.
    """
    if parts.settings.no_auth:
        who = keys.local_principal(parts.db, now=now())
    else:
        who = keys.authenticate(parts.db, key, now=now())
    if who is None:
        raise invalid()
    _note(request, who)
    _take(parts, who)
    if not who.may(scope):
        raise Problem(403, f"this key lacks the scope `{scope.value}`")
    return who


def _note(request: Request, who: Principal) -> None:
    request.scope["belljar.note"] = {"key": who.key_id, "tenant": who.tenant}


def _take(parts: Services, who: Principal) -> None:
    """A token from the key's bucket. Blocking. Raises Problem 429."""
    if parts.limiter is not None and not parts.settings.no_auth:
        wait_s = parts.limiter.take(who.key_id).wait_s
        if wait_s > 0:
            raise Problem(429, "this key sends too fast", retry_after_s=wait_s)


@dataclass(frozen=True, slots=True)
class Sender:
    """Whoever sends traces."""

    principal: Principal
    parts: Services
    checked: bool
    """False: whose key it was a moment ago. Whether it still is the store has to ask."""

    def take(self) -> None:
        """In the thread that works on the body, first of all. Raises Problem 429."""
        if not self.checked:
            _take(self.parts, self.principal)


async def sender(request: Request, parts: Services) -> Sender:
    """Who sends traces, as far as it must be known before the body is read.

    Raises:
        Problem: 401, 403 or 429.
    """
    key = "" if parts.settings.no_auth else credential(request)
    who = parts.good_keys.get(key)
    if who is not None and _is_small(request):
        _note(request, who)
        return Sender(who, parts, False)
    who = await parts.run("authenticate", lambda: _principal(request, parts, key, Scope.INGEST))
    parts.good_keys.note(key, who)
    return Sender(who, parts, True)


def _is_small(request: Request) -> bool:
    length = request.headers.get("content-length", "")
    return len(length) < 9 and length.isdecimal() and int(length) <= _SMALL


Read = Annotated[Principal, Depends(_needs(Scope.READ))]
"""Whoever may look."""
Publish = Annotated[Principal, Depends(_needs(Scope.PUBLISH))]
"""Whoever may publish capabilities."""
Admin = Annotated[Principal, Depends(_needs(Scope.ADMIN))]
"""Whoever runs the server."""
