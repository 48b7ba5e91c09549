"""Serves a faker by streamable HTTP, on this machine alone.

A session of the older protocol begins with `initialize` and has a proxy and a server of its own, until its client
deletes it or says nothing for long. Requests of the newer one carry all they need and share one proxy and one server,
started with the first of them.

Whoever may connect to a loopback port may be a page in a browser: the Host must name this machine (DNS rebinding), and
so must an Origin, if there is one.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import anyio
from anyio.abc import TaskGroup
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from belljar.errors import unwrapped
from belljar.faker import _messages as messages
from belljar.faker.clients import ClientGoneError
from belljar.faker.http_client import Exchange, HttpClient, SharedClient
from belljar.faker.targets import MAX_LINE, TargetGoneError

__all__ = ["PATH", "Sessions", "application", "is_loopback"]

_logger = logging.getLogger("belljar.faker")

PATH = "/mcp"
_SESSION = "mcp-session-id"
_VERSION = "mcp-protocol-version"
_META_VERSION = "io.modelcontextprotocol/protocolVersion"
_FIRST_MODERN = "2026-07-28"
_MOST_SESSIONS = 64
_IDLE_S = 1800.0
_PING_S = 15.0
_STATUS: Final = {-32700: 400, -32600: 400, -32601: 404, -32602: 400, -32020: 400, -32021: 400, -32022: 400}
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

Serve = Callable[[HttpClient], Awaitable[None]]
"""Stands between that client and a server of its own, until either has gone."""


class Sessions:
    """The clients there are. `async with Sessions.open(serve) as sessions:`."""

    def __init__(self, serve: Serve, tasks: TaskGroup) -> None:
        self._serve = serve
        self._tasks = tasks
        self._sessions: dict[str, HttpClient] = {}
        self._used: dict[str, float] = {}
        self._shared: SharedClient | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, serve: Serve) -> AsyncGenerator[Sessions]:
        """No session yet; on leaving, all have ended."""
        async with anyio.create_task_group() as tasks:
            sessions = cls(serve, tasks)
            tasks.start_soon(sessions._end_idle)
            yield sessions
            tasks.cancel_scope.cancel()

    def find(self, session: str) -> HttpClient | None:
        """The client of a session that is open."""
        client = self._sessions.get(session)
        if client is not None:
            self._used[session] = anyio.current_time()
        return client

    def begin(self) -> tuple[str, HttpClient] | None:
        """A new session; None if there are too many."""
        if len(self._sessions) >= _MOST_SESSIONS:
            return None
        session, client = secrets.token_urlsafe(24), HttpClient()
        self._sessions[session] = client
        self._used[session] = anyio.current_time()
        self._tasks.start_soon(self._run, client, session)
        return session, client

    def end(self, session: str) -> None:
        """The client is done."""
        if (client := self._sessions.pop(session, None)) is not None:
            self._used.pop(session, None)
            client.close()

    def shared(self) -> SharedClient:
        """The one that stands for all clients of the newer protocol."""
        if self._shared is None or self._shared.inner.closed:
            self._shared = SharedClient(HttpClient())
            self._tasks.start_soon(self._run, self._shared.inner, "")
        return self._shared

    def soon(self, what: Callable[[int], Coroutine[Any, Any, None]], number: int) -> None:
        """Do it beside everything else."""
        self._tasks.start_soon(what, number)

    async def _run(self, client: HttpClient, session: str) -> None:
        try:
            with unwrapped():
                await self._serve(client)
        except TargetGoneError as exc:
            client.fail(f"the server {exc}")
        except Exception:
            # Of one session; the others have no part in it.
            _logger.exception("a fault in the faker ends a session")
            client.fail("a fault in the faker; see it with --debug")
        finally:
            client.close()
            self.end(session)

    async def _end_idle(self) -> None:
        while True:
            await anyio.sleep(60)
            now = anyio.current_time()
            for session, used in list(self._used.items()):
                if now - used > _IDLE_S and not self._sessions[session].busy:
                    self.end(session)


def application(sessions: Sessions, host: str) -> Starlette:
    """The endpoint; `host` is what it was bound to, which a Host may name beside the usual ones."""
    endpoint = _Endpoint(sessions, _LOOPBACK | {host})
    return Starlette(routes=[Route(PATH, endpoint.handle, methods=["POST", "GET", "DELETE"])])


def is_loopback(host: str) -> bool:
    """Whether nobody outside this machine can connect to it."""
    from ipaddress import ip_address

    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class _Refusal(Exception):
    def __init__(self, status: int, reason: str, code: int = messages.INVALID_REQUEST) -> None:
        super().__init__(reason)
        self.response = JSONResponse(
            {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": reason}}, status_code=status
        )


class _Endpoint:
    def __init__(self, sessions: Sessions, hosts: frozenset[str]) -> None:
        self._sessions = sessions
        self._hosts = hosts

    async def handle(self, request: Request) -> Response:
        try:
            self._check_source(request)
            if request.method == "POST":
                return await self._post(request)
            client = self._session_of(request)
            if request.method == "DELETE":
                self._sessions.end(request.headers[_SESSION])
                return Response(status_code=200)
            return self._get(client)
        except _Refusal as exc:
            return exc.response
        except ClientGoneError:
            return _Refusal(404, "the session has ended").response
        except ClientDisconnect:
            return Response(status_code=400)

    def _check_source(self, request: Request) -> None:
        if _host_of(request.headers.get("host", "")) not in self._hosts:
            raise _Refusal(403, "the Host does not name this machine")
        origin = request.headers.get("origin")
        if origin is not None and _host_of(origin.partition("://")[2]) not in self._hosts:
            raise _Refusal(403, "the Origin is not this machine")

    def _session_of(self, request: Request) -> HttpClient:
        if not (session := request.headers.get(_SESSION)):
            raise _Refusal(405 if request.method == "GET" else 400, "no session is named")
        if (client := self._sessions.find(session)) is None:
            raise _Refusal(404, "there is no such session")
        return client

    async def _post(self, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise _Refusal(415, "the content type must be application/json")
        line = (await _body(request)).strip().replace(b"\n", b" ").replace(b"\r", b" ")
        try:
            message = messages.from_client(line)
        except messages.RefusedError as exc:
            raise _Refusal(400, exc.reason, exc.code) from None
        version = message.meta.get(_META_VERSION) or request.headers.get(_VERSION, "")
        if isinstance(version, str) and version >= _FIRST_MODERN and message.method != "initialize":
            return await self._modern(message)
        if message.method == "initialize" and message.has_id and _SESSION not in request.headers:
            return await self._begin(message)
        client = self._session_of(request)
        if message.method is None or not message.has_id:
            await client.put(message.line)
            return Response(status_code=202)
        return await self._exchange(client, message, {})

    async def _begin(self, message: messages.Message) -> Response:
        if (begun := self._sessions.begin()) is None:
            raise _Refusal(503, "too many sessions are open")
        session, client = begun
        return await self._exchange(client, message, {_SESSION: session})

    async def _exchange(self, client: HttpClient, message: messages.Message, headers: dict[str, str]) -> Response:
        if (exchange := client.open(message)) is None:
            raise _Refusal(400, "this id is in use")
        await client.put(message.line)
        return _Said(exchange, lambda: client.leave(message.key, exchange), headers=headers)

    async def _modern(self, message: messages.Message) -> Response:
        if message.method is None or not message.has_id:
            return Response(status_code=202)  # there are none on this wire that would mean anything
        shared = self._sessions.shared()
        entered, names = shared.entered(message)
        exchange = shared.inner.open(entered)
        assert exchange is not None
        await shared.inner.put(entered.line)

        def leave() -> None:
            shared.inner.leave(entered.key, exchange)
            if not exchange.answered:
                self._sessions.soon(shared.cancel, names.number)

        return _Said(exchange, leave, put_back=names.put_back, json_first=True)

    def _get(self, client: HttpClient) -> Response:
        if (exchange := client.stand()) is None:
            raise _Refusal(409, "the standing stream is open already")
        return _Said(exchange, client.unstand)


class _Said(Response):
    """What an exchange says, as server-sent events; with `json_first` as JSON, if the answer comes before anything."""

    def __init__(
        self,
        exchange: Exchange,
        leave: Callable[[], None],
        *,
        put_back: Callable[[bytes], bytes] = bytes,
        json_first: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._exchange = exchange
        self._leave = leave
        self._put_back = put_back
        self._json_first = json_first
        self._more = dict(headers or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, receive)
                await self._say(scope, receive, send)
                tasks.cancel_scope.cancel()
        finally:
            self._leave()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._exchange.closed = True
        self._exchange.wake()

    async def _say(self, scope: Scope, receive: Receive, send: Send) -> None:
        first = await self._next() if self._json_first else b""
        if self._json_first and (first is None or self._exchange.answered) and not self._exchange.lines:
            return await self._answer(first)(scope, receive, send)
        headers = {**self._more, "content-type": "text/event-stream", "cache-control": "no-cache, no-transform"}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        line = first or b""
        while line is not None:
            # A comment, when there is nothing else: nobody shall take the silence for an end.
            event = b"event: message\r\ndata: " + line + b"\r\n\r\n" if line else b": ping\r\n\r\n"
            await send({"type": "http.response.body", "body": event, "more_body": True})
            line = await self._next()
        await send({"type": "http.response.body", "body": b""})
        return None

    async def _next(self) -> bytes | None:
        """The next line, empty if nothing is said for a while, None at the end."""
        try:
            line = await self._exchange.next(_PING_S)
        except TimeoutError:
            return b""
        return None if line is None else self._put_back(line)

    def _answer(self, line: bytes | None) -> Response:
        if line is None:
            return _Refusal(502, "the server has gone", messages.INTERNAL_ERROR).response
        error = messages.from_target(line).body.get("error")
        code = cast("dict[str, Any]", error).get("code") if isinstance(error, dict) else None
        status = _STATUS.get(code, 200) if isinstance(code, int) else 200
        return Response(line, status_code=status, media_type="application/json")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_LINE:
            raise _Refusal(413, f"more than {MAX_LINE} bytes")
    return bytes(body)


def _host_of(authority: str) -> str:
    """`[::1]:80`, `localhost:80` and `localhost` without the port."""
    host, _, _ = authority.rpartition(":") if authority.rpartition(":")[2].isdigit() else (authority, "", "")
    return host.strip("[]").lower()
