"""A cloud to send traces to: a real uvicorn in a thread of its own, and an app that can be told to misbehave.

It does what POST /api/traces promises: idempotent by id and content, results by trace, order of arrival kept. `next`
says how the coming requests are answered, one after the other, and `always` how all are that have no such answer. A
behaviour may look at the request, may wait, and answers it or (None) leaves it to the app.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import uvicorn

__all__ = ["Behaviour", "Cloud", "Reply", "Request", "cloud", "garbage", "html", "item", "never", "say", "slow"]


@dataclass(slots=True)
class Request:
    """One request, as it came in."""

    at: float
    """Monotonic."""
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    """Decompressed; b"" for one whose client went away."""
    query: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    traces: list[dict[str, Any]] = field(default_factory=list)
    status: int | None = None

    @property
    def ids(self) -> list[str]:
        return [trace["traceId"] for trace in self.traces]


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    declared: int | None = None
    """A content-length other than the truth: half an answer."""


Behaviour = Callable[["Cloud", Request], Awaitable[Reply | None]]


class Cloud:
    """What the app knows, for a test to read: it is written by the server's thread alone."""

    def __init__(self, key: str | None = None) -> None:
        self.key = key
        self.port = 0
        self.requests: list[Request] = []
        self.arrived: list[str] = []
        """Ids in the order in which they were stored."""
        self.stored: dict[str, dict[str, Any]] = {}
        self.next: deque[Behaviour] = deque()
        self.always: Behaviour | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def batches(self) -> list[list[str]]:
        """The ids of each request that could be read."""
        return [request.ids for request in self.requests if request.traces]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        request = await _read(scope, receive)
        self.requests.append(request)
        behaviour = self.next.popleft() if self.next else self.always
        reply = None if behaviour is None else await behaviour(self, request)
        reply = reply or self.answer(request)
        request.status = reply.status
        await _send(send, reply)

    def answer(self, request: Request) -> Reply:
        """What the app says by itself."""
        if self.key is not None and request.headers.get("x-api-key") != self.key:
            return say(401, code="UNAUTHORIZED")
        if (request.method, request.path) != ("POST", "/api/traces"):
            return say(404)
        if not request.traces:
            return say(400, code="EMPTY")
        return self.results([self.store(trace) for trace in request.traces])

    def store(self, trace: dict[str, Any]) -> dict[str, Any]:
        trace_id = trace["traceId"]
        if trace_id not in self.stored:
            self.stored[trace_id] = trace
            self.arrived.append(trace_id)
            return {"traceId": trace_id, "status": "stored"}
        if self.stored[trace_id] == trace:
            return {"traceId": trace_id, "status": "duplicate"}
        return {"traceId": trace_id, "status": "rejected", "code": "CONFLICT", "message": "same id, other content"}

    def results(self, results: list[dict[str, Any]]) -> Reply:
        stored = sum(result["status"] == "stored" for result in results)
        return say(
            200 if stored == len(results) else 207,
            received=len(results),
            stored=stored,
            duplicates=sum(result["status"] == "duplicate" for result in results),
            results=results,
            errors=[],
        )


async def _read(scope: MutableMapping[str, Any], receive: Any) -> Request:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False) and message["type"] == "http.request"
    query = parse_qs(scope["query_string"].decode("latin-1"))
    request = Request(time.monotonic(), scope["method"], scope["path"], headers, b"", query)
    try:
        request.body = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        request.traces = json.loads(request.body)["traces"]
    except (ValueError, KeyError, EOFError, OSError):
        pass  # half a request
    return request


async def _send(send: Any, reply: Reply) -> None:
    length = len(reply.body) if reply.declared is None else reply.declared
    headers = {"content-type": "application/json", "content-length": str(length), **reply.headers}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
    await send({"type": "http.response.body", "body": reply.body})


# ---- behaviours


def say(number: int, /, headers: dict[str, str] | None = None, **body: Any) -> Reply:
    """An answer in JSON."""
    return Reply(number, json.dumps(body).encode(), headers or {})


def replying(reply: Reply) -> Behaviour:
    async def behave(_cloud: Cloud, _request: Request) -> Reply:
        return reply

    return behave


def html(status: int) -> Behaviour:
    page = b"<html><body><h1>It works!</h1></body></html>"
    return replying(Reply(status, page, {"content-type": "text/html; charset=utf-8"}))


def garbage(body: bytes, status: int = 200, **more: Any) -> Behaviour:
    return replying(Reply(status, body, **more))


def status(number: int, /, headers: dict[str, str] | None = None, **body: Any) -> Behaviour:
    return replying(say(number, headers, **body))


def slow(seconds: float) -> Behaviour:
    """Asleep for a while, then as always."""

    async def behave(_cloud: Cloud, _request: Request) -> None:
        await asyncio.sleep(seconds)

    return behave


def lost() -> Behaviour:
    """Stored, and the answer never comes."""

    async def behave(cloud: Cloud, request: Request) -> Reply:
        cloud.answer(request)
        return Reply(502)

    return behave


def never() -> Behaviour:
    return slow(3600)


def item(choose: Callable[[dict[str, Any]], bool], **result: Any) -> Behaviour:
    """The chosen traces get this result, the others what they deserve."""

    async def behave(cloud: Cloud, request: Request) -> Reply:
        def decide(trace: dict[str, Any]) -> dict[str, Any]:
            return {"traceId": trace["traceId"], **result} if choose(trace) else cloud.store(trace)

        return cloud.results([decide(trace) for trace in request.traces])

    return behave


def refuse(choose: Callable[[list[dict[str, Any]], bytes], bool], reply: Reply) -> Behaviour:
    """This reply to every request that holds what is chosen, by its traces or its length."""

    async def behave(_cloud: Cloud, request: Request) -> Reply | None:
        return reply if choose(request.traces, request.body) else None

    return behave


# ---- the server


class _Quiet(uvicorn.Server):
    """Signals belong to pytest."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def cloud(key: str | None = None, *, certificate: tuple[str, str] | None = None) -> Iterator[Cloud]:
    """A cloud on a port of its own, up while the block lasts; unfinished requests are cut off at its end.

    With a certificate (its file, and that of its key) it speaks TLS.
    """
    app = Cloud(key)
    crt, private = certificate or (None, None)
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        ssl_certfile=crt,
        ssl_keyfile=private,
        log_level="critical",
        timeout_graceful_shutdown=0,
        lifespan="off",
        ws="none",
        date_header=False,
    )
    server = _Quiet(config)
    thread = threading.Thread(target=lambda: asyncio.run(_serve(server)), daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.002)
    app.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield app
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)
        assert not thread.is_alive()


async def _serve(server: uvicorn.Server) -> None:
    await server.serve()
    # Requests that are never answered are tasks still.
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        await asyncio.sleep(0.005)
