"""Who looks: logging in with an API key, the session's cookie, and the token every form carries.

The browser holds a random session id and never the key; the store holds the id's hash, its end, and whose it is. A
session is made at login and at no other time, always a new one, so that nobody can plant theirs beforehand. The cookie
is HttpOnly and SameSite=Strict; it is Secure, with the prefix `__Host-`, unless the page is read on this very machine
over plain http. There its name holds the port, because cookies do not know ports.

A form's token follows from the session id, which no script and no other site can read. Before there is a session the
login form has a token of its own, in a cookie and in the form. The edge refuses other sites' posts before all that.

On a server without keys everybody is the tenant `default`; forms still carry a token.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import zlib
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import anyio
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from belljar.limits import KIB
from belljar.server import logs
from belljar.server.problems import Problem
from belljar.server.services import Services, now
from belljar.server.settings import is_loopback
from belljar.server.store import keys, sessions
from belljar.server.store.keys import Principal, Scope
from belljar.server.store.limiter import Limiter, limiter_for

__all__ = ["HOME", "Door", "LoginNeeded", "Viewer", "form_of", "local_path", "redirect", "to_login"]

HOME = "/traces"
LIFETIME_S = 12 * 3600
_LOGIN_S = 3600
_MAX_FORM = 16 * KIB
_MAX_FIELDS = 20
_MAX_NEXT = 1000
_LOGIN_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
# Guessing a key is hopeless at any rate; what is bounded is the work that strangers can cause.
_LOGINS_PER_S, _LOGINS_AT_ONCE = 1.0, 20
# Addresses share this many buckets, so that a shared table of them stays small.
_BUCKETS = 4096


class LoginNeeded(Exception):
    """This page is for people who have logged in."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks at a page."""

    who: Principal
    token: str = field(repr=False)
    """What the forms of this session carry."""
    session: str = field(repr=False)
    """The id in the cookie; empty on a server without keys."""

    @property
    def admin(self) -> bool:
        """Whether keys may be seen and changed."""
        return self.who.may(Scope.ADMIN)


class Door:
    """Lets people in and out of one server. Everything that asks the store blocks."""

    def __init__(self, parts: Services) -> None:
        self._parts = parts
        self._secret = secrets.token_bytes(32)
        self._local: Principal | None = None
        self._limiter: Limiter = limiter_for(parts.db, per_second=_LOGINS_PER_S, burst=_LOGINS_AT_ONCE)

    @property
    def open(self) -> bool:
        """The server has no keys: nobody logs in or out."""
        return self._parts.settings.no_auth

    def viewer(self, request: Request, scope: Scope = Scope.READ) -> Viewer:
        """Who asks for this page.

        Raises:
            LoginNeeded: nobody, or the session is over.
            Problem: 403, the key may not; 429, it asks too fast.
        """
        viewer = self._viewer(request)
        request.scope["belljar.note"] = {"key": viewer.who.key_id, "tenant": viewer.who.tenant}
        if not viewer.who.may(scope):
            raise Problem(403, f"your key lacks the scope `{scope.value}`")
        if self._parts.limiter is not None and not self.open:
            wait_s = self._parts.limiter.take(viewer.who.key_id).wait_s
            if wait_s > 0:
                raise Problem(429, "this key asks too fast", retry_after_s=wait_s)
        return viewer

    def _viewer(self, request: Request) -> Viewer:
        if self.open:
            self._local = self._local or keys.local_principal(self._parts.db, now=now())
            return Viewer(self._local, _token(self._secret), "")
        session = request.cookies.get(_cookie(request, "session"), "")
        who = sessions.find_session(self._parts.db, session, now=now()) if session else None
        if who is None:
            raise LoginNeeded
        return Viewer(who, _token(session.encode()), session)

    def check(self, viewer: Viewer, form: dict[str, str]) -> None:
        """Raises Problem (403): the form is not one that this session was given."""
        if not hmac.compare_digest(form.get("token", "").encode(), viewer.token.encode()):
            raise Problem(403, "this form is out of date; open the page again")

    def enter(self, request: Request, form: dict[str, str]) -> Response:
        """Log in.

        Raises:
            Problem: 400, the browser sent no cookie; 401, no valid key; 403, the key may not read, or the form is old;
                429, too many attempts from there.
        """
        self._check_login(request, form)
        self._slow_down(request)
        who = keys.authenticate(self._parts.db, form.get("key", "").strip(), now=now())
        if who is None:
            logs.event("login refused", reason="key")
            raise Problem(401, "this is no valid API key")
        if not who.may(Scope.READ):
            logs.event("login refused", reason="scope", key=who.key_id)
            raise Problem(403, "this key may not read; log in with one that has the scope `read`")
        before = request.cookies.get(_cookie(request, "session"), "")
        if before:
            sessions.end_session(self._parts.db, before)
        session = sessions.create_session(self._parts.db, who, now=now(), lifetime_s=LIFETIME_S)
        logs.event("login", key=who.key_id, tenant=who.tenant)
        response = redirect(local_path(form.get("next", "")))
        _set(request, response, "session", session, LIFETIME_S)
        _drop(request, response, "login")
        return response

    def leave(self, request: Request, viewer: Viewer) -> Response:
        """Log out."""
        if viewer.session:
            sessions.end_session(self._parts.db, viewer.session)
            logs.event("logout", key=viewer.who.key_id)
        response = redirect("/login")
        _drop(request, response, "session")
        return response

    def login_token(self, request: Request) -> str:
        """What the login form carries: the browser's own, if it has one, so that two tabs agree."""
        given = request.cookies.get(_cookie(request, "login"), "")
        return given if _LOGIN_TOKEN.fullmatch(given) else secrets.token_urlsafe(32)

    def remember_login(self, request: Request, response: Response, token: str) -> Response:
        """Put the login form's token where it is compared with."""
        _set(request, response, "login", token, _LOGIN_S)
        return response

    def _check_login(self, request: Request, form: dict[str, str]) -> None:
        known = request.cookies.get(_cookie(request, "login"), "")
        if not known:
            raise Problem(400, "your browser sent no cookie; over http it keeps one for this machine alone: use https")
        if not hmac.compare_digest(known.encode(), form.get("token", "").encode()):
            raise Problem(403, "this form is out of date; open the page again")

    def _slow_down(self, request: Request) -> None:
        bucket = zlib.crc32(_network(request).encode()) % _BUCKETS
        wait_s = self._limiter.take(f"login {bucket}").wait_s
        if wait_s > 0:
            logs.event("login refused", reason="rate")
            raise Problem(429, "too many attempts; wait a little", retry_after_s=wait_s)


async def form_of(request: Request, parts: Services) -> dict[str, str]:
    """The fields of a form; of a name that comes twice the last, but all `scope` as `scopes`.

    Raises:
        Problem: 400, 408, 413 or 415.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise Problem(415, "a form is sent as application/x-www-form-urlencoded")
    data = bytearray()
    try:
        with anyio.fail_after(parts.settings.body_timeout_s):
            async for chunk in request.stream():
                data += chunk
                if len(data) > _MAX_FORM:
                    raise Problem(413, "the form is too large")
    except TimeoutError:
        raise Problem(408, "the form did not arrive in time") from None
    try:
        pairs = parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError:
        raise Problem(400, "this is not a form of ours") from None
    return {name: value for name, value in pairs if name != "scope"} | _scopes(pairs)


def _scopes(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """The one field that may come several times, joined."""
    return {"scopes": ",".join(value for name, value in pairs if name == "scope")}


def local_path(candidate: str) -> str:
    """Where to go after login: the candidate if it is a path of this server and nothing else, the first page if not.

    Browsers read `//host`, `/\\host` and, after dropping tabs and line ends, `/<tab>/host` as another server.
    """
    plain = candidate.isascii() and candidate.isprintable() and "\\" not in candidate and len(candidate) <= _MAX_NEXT
    if not plain or not candidate.startswith("/") or candidate.startswith("//"):
        return HOME
    parsed = urlsplit(candidate)
    forms = ("/login", "/logout")
    return HOME if parsed.scheme or parsed.netloc or parsed.path in forms else candidate


def redirect(path: str) -> Response:
    """To a page of ours, by GET."""
    return RedirectResponse(path, 303)


def to_login(request: Request) -> Response:
    """Where who has no session goes; htmx, which asked for a part of a page, is told to go there with the whole."""
    partly = "hx-request" in request.headers
    back = _seen(request.headers.get("hx-current-url", "") if partly else str(request.url))
    usual = request.method != "GET" or back == HOME
    target = "/login" if usual else f"/login?{urlencode({'next': back})}"
    return Response(headers={"hx-redirect": target}) if partly else redirect(target)


def _seen(url: str) -> str:
    """The path of a page somebody was on, to go back to."""
    try:
        parsed = urlsplit(url)
    except ValueError:
        return HOME
    return local_path(f"{parsed.path}?{parsed.query}" if parsed.query else parsed.path)


def _token(secret: bytes) -> str:
    return hmac.digest(secret, b"belljar form", "sha256").hex()


def _plain_http(request: Request) -> bool:
    """Read on this machine, over http: the one place where a cookie cannot be Secure everywhere, and need not be."""
    return request.url.scheme == "http" and is_loopback(request.url.hostname or "")


def _cookie(request: Request, kind: str) -> str:
    if _plain_http(request):
        return f"belljar_{kind}_{request.url.port or 80}"
    return f"__Host-belljar_{kind}"


def _set(request: Request, response: Response, kind: str, value: str, max_age: int) -> None:
    flags: dict[str, Any] = {"httponly": True, "samesite": "strict", "secure": not _plain_http(request), "path": "/"}
    response.set_cookie(_cookie(request, kind), value, max_age=max_age, **flags)


def _drop(request: Request, response: Response, kind: str) -> None:
    flags: dict[str, Any] = {"httponly": True, "samesite": "strict", "secure": not _plain_http(request), "path": "/"}
    response.delete_cookie(_cookie(request, kind), **flags)


def _network(request: Request) -> str:
    """Where an attempt comes from: an IPv4 address, or the 64 bits that one household has of IPv6."""
    try:
        address = ipaddress.ip_address(request.client.host if request.client else "")
    except ValueError:
        return ""
    return str(address) if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))
