"""What every request passes before a route sees it, and every answer on its way out.

In this order: it gets an id; it is refused if the server is ending, if it names a host that is not ours (a page of a
stranger whose DNS name was pointed here says its own name), if another site's page sends it, or if too many are under
way; it has a deadline; whatever a route raises becomes a problem; and it is counted and logged. An answer that comes
before its request's body was read is followed by a short, bounded reading of the rest - closing at once would destroy
the answer on its way - and by the end of the connection.
"""

from __future__ import annotations

import ipaddress
import itertools
import logging
import re
import secrets
import time
from dataclasses import dataclass
from typing import Any, cast

import anyio
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from belljar.server import logs
from belljar.server.metrics import Metrics
from belljar.server.problems import Problem, respond
from belljar.server.settings import Settings

__all__ = ["Edge", "Lifecycle", "request_id"]

UNROUTED = "(none)"
"""The route of what no route answers."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
# An id of ours: this process by chance, its requests counted.
_PROCESS = secrets.token_hex(8).encode()
_NUMBERS = itertools.count(1)
_NAME = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")
_ALWAYS = frozenset(("/healthz", "/readyz"))
_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
_LOCAL_NAMES = frozenset(("localhost", "ip6-localhost"))
# For a client that is still sending when it is told no: it has this long to stop and listen.
_DRAIN_S = 1.0
_CLOSED_BY_CLIENT = 499
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)


@dataclass(slots=True)
class Lifecycle:
    """Where in its life the server is."""

    ending: bool = False
    """It was told to end: what is under way is finished, nothing new begins."""


def request_id(scope: Scope) -> str:
    """The id of the request."""
    return cast("str", scope["belljar.request_id"])


class Edge:
    """ASGI middleware; the outermost of the app's own."""

    def __init__(self, app: ASGIApp, *, settings: Settings, metrics: Metrics, life: Lifecycle) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._life = life
        self._hosts = _LOCAL_NAMES | {settings.host.lower(), *map(str.lower, settings.allowed_hosts)}
        self._in_flight = 0
        self._deadline_s = settings.body_timeout_s + 2 * settings.work_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._settings.max_body_bytes)
        began = time.perf_counter()
        self._in_flight += 1
        self._metrics.in_flight.set(self._in_flight)
        try:
            await self._answer(scope, exchange)
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)
            self._note(scope, exchange.status, time.perf_counter() - began)

    async def _answer(self, scope: Scope, exchange: _Exchange) -> None:
        try:
            self._admit(scope)
            with anyio.fail_after(self._deadline_s):
                await self._app(scope, exchange.receive, exchange.send)
        except Problem as problem:
            await exchange.refuse(problem)
        except ClientDisconnect:
            self._metrics.disconnects.inc()
            exchange.status = _CLOSED_BY_CLIENT
        except TimeoutError:
            await exchange.refuse(Problem(503, "not answered in time; try again", retry_after_s=5))
        except anyio.get_cancelled_exc_class():
            if not self._life.ending:
                raise
            await exchange.refuse(_ending())  # the end does not wait for it any longer
        except Exception as exc:  # noqa: BLE001 - the last line of defence; the answer says nothing of it
            logs.event("fault", level=logging.ERROR, exc=exc, requestId=request_id(scope), route=_route(scope))
            await exchange.refuse(Problem(500, "a fault of the server; its log has this requestId"))

    def _admit(self, scope: Scope) -> None:
        """Raises the problem of a request that no route is to see."""
        reason, problem = self._refusal(scope)
        if problem is not None:
            self._metrics.turned_away.labels(reason).inc()
            raise problem

    def _refusal(self, scope: Scope) -> tuple[str, Problem | None]:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        host = _host(hosts[0]) if len(hosts) == 1 else None
        if host is None:
            return "host", Problem(400, "a request names one host, as NAME or NAME:PORT")
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}:
            # Where it ends is a matter of opinion, and a proxy before us may have another.
            return "framing", Problem(400, "a body has a length or chunks, not both", headers={"connection": "close"})
        if not self._ours(host):
            return "host", Problem(421, "this server does not go by that name; `--allow-host NAME` adds one")
        if scope["method"] not in _SAFE and _of_another_site(scope):
            return "cross-site", Problem(403, "another site's page may not send this")
        if scope["path"] in _ALWAYS:
            return "", None
        if self._life.ending:
            return "ending", _ending()
        if self._in_flight > self._settings.max_in_flight:
            return "busy", Problem(503, "too many requests at once", retry_after_s=1)
        return "", None

    def _ours(self, host: str) -> bool:
        if host in self._hosts:
            return True
        try:  # an address in digits is what the browser connected to: no name was rebound
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = _route(scope)
        self._metrics.answered(scope["method"], route, status, seconds)
        level = logging.WARNING if status >= 500 else logging.DEBUG if route in _ALWAYS else logging.INFO
        noted: dict[str, Any] = scope.get("belljar.note", {})
        logs.event(
            "request",
            level=level,
            requestId=request_id(scope),
            method=scope["method"],
            route=route,
            status=status,
            ms=round(seconds * 1e3, 2),
            **noted,
        )


class _Exchange:
    """One request's two directions, watched."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        self.status = 0
        self._scope = scope
        self._receive = receive
        self._send = send
        self._most = most
        headers = dict(cast("list[tuple[bytes, bytes]]", scope["headers"]))
        given = headers.get(b"x-request-id", b"")
        self._id = given if _REQUEST_ID.fullmatch(given) else b"%s%08x" % (_PROCESS, next(_NUMBERS))
        scope["belljar.request_id"] = self._id.decode()
        self._unread = b"transfer-encoding" in headers or headers.get(b"content-length", b"0").strip(b"0") != b""
        self._waits = b"expect" in headers

    async def receive(self) -> Message:
        message = await self._receive()
        self._unread = self._unread and bool(message.get("more_body", False))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            given = {name.lower() for name, _ in headers}
            headers += [(name, value) for name, value in _HEADERS if name not in given]
            headers.append((b"x-request-id", self._id))
            if not await self._drained() and b"connection" not in given:
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        await self._send(message)

    async def refuse(self, problem: Problem) -> None:
        """Answer with a problem, if nothing was answered yet."""
        if not self.status:
            await respond(problem, self._id.decode())(self._scope, self.receive, self.send)

    async def _drained(self) -> bool:
        """Whether the request has been read to its end; reads on for a moment if it was not."""
        if not self._unread:
            return True
        room = 0 if self._waits else self._most
        with anyio.move_on_after(_DRAIN_S):
            while self._unread and room > 0:
                message = await self.receive()
                if message["type"] == "http.disconnect":
                    break
                room -= len(message.get("body", b""))
        return not self._unread


def _ending() -> Problem:
    return Problem(503, "the server is ending", retry_after_s=2, headers={"connection": "close"})


def _host(value: bytes) -> str | None:
    """The name in a Host header, without its port; None if it is none."""
    match = _NAME.fullmatch(value.decode("latin-1").lower())
    return None if match is None else match[1].strip("[]")


def _of_another_site(scope: Scope) -> bool:
    """Whether a browser says that the request comes from a page that is not ours."""
    headers = dict(cast("list[tuple[bytes, bytes]]", scope["headers"]))
    if headers.get(b"sec-fetch-site", b"same-origin") not in (b"same-origin", b"none"):
        return True
    origin = headers.get(b"origin")
    return origin is not None and origin.partition(b"://")[2] != headers.get(b"host")


def _route(scope: Scope) -> str:
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else UNROUTED
