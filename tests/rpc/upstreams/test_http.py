"""Endpoints: a real one, served by the library itself, and hostile ones, each a few lines of ASGI."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import psutil
import pytest
import uvicorn
from mcp.server import MCPServer

from belljar.errors import Code, UpstreamError
from belljar.limits import MIB, Limits
from belljar.rpc.servers import ServerSpec, parse_servers
from belljar.rpc.upstreams import RealWorld

pytestmark = pytest.mark.anyio
Scope = MutableMapping[str, Any]
App = Callable[..., Awaitable[None]]
Until = Callable[[Callable[[], object]], Awaitable[None]]


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """The app on a port of its own; yields `http://127.0.0.1:port`."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server._serve)
        with anyio.fail_after(20):
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await anyio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = server.force_exit = True


def spec(url: str, **headers: str) -> ServerSpec:
    return parse_servers(json.dumps({"mcpServers": {"web": {"url": url, "headers": headers}}}), {})["web"]


def friendly() -> MCPServer:
    server = MCPServer("friendly")

    @server.tool()
    def add(a: int, b: int) -> int:
        return a + b

    @server.tool()
    def words(count: int) -> str:
        return "w" * count

    @server.tool()
    async def wait() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return "done"

    return server


seen: list[str] = []


@pytest.mark.parametrize("json_response", [True, False], ids=["json", "sse"])
@pytest.mark.parametrize("stateless", [True, False], ids=["stateless", "sessions"])
async def test_a_real_endpoint_answers(json_response: bool, stateless: bool) -> None:
    """Streamable HTTP in its four forms: tools, values, an error, calls at once, and a limit that holds."""
    app = friendly().streamable_http_app(json_response=json_response, stateless_http=stateless)
    async with serving(app) as origin, RealWorld([spec(f"{origin}/mcp")], limits=Limits(answer=2 * MIB)) as world:
        tools = await world.tools("web")
        assert {"add", "words", "wait"} == set(tools)
        assert (await world.call(tools["add"], {"a": 1, "b": 2})).value == 3
        with pytest.raises(UpstreamError, match=r"\$\.a: must be integer"):
            await world.call(tools["add"], {"a": "x", "b": 2})
        got: set[int] = set()

        async def one(number: int) -> None:
            got.add((await world.call(tools["add"], {"a": number, "b": 0})).value)

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(one, number)
        assert got == set(range(20))
        assert len((await world.call(tools["words"], {"count": 100_000})).value) == 100_000
        with pytest.raises(UpstreamError, match=r"more than 2097152 bytes \(limit answer\)") as caught:
            await world.call(tools["words"], {"count": 5_000_000})
        assert caught.value.code is Code.RPC_ERROR
        assert (await world.call(tools["add"], {"a": 1, "b": 2})).value == 3


async def test_a_slow_call_is_cancelled_upstream(until: Until) -> None:
    """F6 over HTTP: RPC_TIMEOUT here, a cancelled tool there."""
    seen.clear()
    limits = Limits(call=1)
    app = friendly().streamable_http_app()
    async with serving(app) as origin, RealWorld([spec(f"{origin}/mcp")], limits=limits) as world:
        tools = await world.tools("web")
        with pytest.raises(UpstreamError) as caught:
            await world.call(tools["wait"], {})
        assert caught.value.code is Code.RPC_TIMEOUT
        await until(lambda: seen)


async def test_the_configured_headers_are_sent_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Headers reach the server; neither they nor the URL nor arguments are in any log line, at any level."""
    caplog.set_level(logging.DEBUG)
    got: list[str] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            got.append(dict(scope["headers"])[b"authorization"].decode())
            assert not any(name.startswith(b"belljar") for name, _ in scope["headers"])
        await inner(scope, receive, send)

    inner = friendly().streamable_http_app()
    async with (
        serving(app) as origin,
        RealWorld([spec(f"{origin}/mcp?key=q-sesame", Authorization="Bearer h-sesame")]) as world,
    ):
        tools = await world.tools("web")
        await world.call(tools["words"], {"count": 4_242_424 // 1000})
    assert set(got) == {"Bearer h-sesame"}
    ours = [
        r.getMessage() for r in caplog.records if not r.name.startswith(("asyncio", "uvicorn", "mcp.server", "sse"))
    ]
    assert not [line for line in ours if "sesame" in line or "4242" in line]


# Hostile endpoints: a function from the JSON-RPC message to what is sent back


def endpoint(answer: Callable[[dict[str, Any], Scope, Any], Awaitable[None]]) -> App:
    """A server that handles the handshake and the list properly and leaves calls to `answer(message, scope, send)`."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        message = json.loads(body) if body else {}
        method = message.get("method", scope["method"])
        info = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "h", "version": "1"}}
        if method == "initialize":
            await reply(send, {"id": message["id"], "result": info})
        elif method == "tools/list":
            tool = {"name": "go", "inputSchema": {"type": "object"}}
            await reply(send, {"id": message["id"], "result": {"tools": [tool]}})
        elif method in ("tools/call", "GET"):
            await answer(message, scope, send)
        elif "id" in message:
            await reply(send, {"id": message["id"], "error": {"code": -32601, "message": "no"}})
        else:
            await raw(send, 202)

    return app


async def reply(send: Any, message: dict[str, Any], *headers: tuple[bytes, bytes]) -> None:
    await raw(
        send, 200, json.dumps({"jsonrpc": "2.0", **message}).encode(), (b"content-type", b"application/json"), *headers
    )


async def raw(send: Any, status: int, body: bytes = b"", *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def endless(send: Any, kind: bytes, piece: bytes, *, pause: float = 0.0) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    while True:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await anyio.sleep(pause)


async def huge_json(_message: dict[str, Any], _scope: Scope, send: Any) -> None:
    await endless(send, b"application/json", b"x" * 65536)


async def huge_event(_message: dict[str, Any], _scope: Scope, send: Any) -> None:
    await endless(send, b"text/event-stream", b"data: " + b"x" * 65536)


async def many_events(_message: dict[str, Any], _scope: Scope, send: Any) -> None:
    event = b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}\n\n'
    await endless(send, b"text/event-stream", event * 500)


async def bomb_by_encoding(_message: dict[str, Any], _scope: Scope, send: Any) -> None:
    packed = gzip.compress(b"[" + b"0," * 50_000_000 + b"0]")
    await raw(send, 200, packed, (b"content-type", b"application/json"), (b"content-encoding", b"gzip"))


async def drip(_message: dict[str, Any], _scope: Scope, send: Any) -> None:
    await endless(send, b"application/json", b" ", pause=0.05)


async def drip_events(_message: dict[str, Any], _scope: Scope, send: Any) -> None:
    await endless(send, b"text/event-stream", b": still here\n\n", pause=0.05)


async def elsewhere(_message: dict[str, Any], _scope: Scope, send: Any) -> None:
    await raw(send, 307, b"", (b"location", b"http://127.0.0.2:1/stolen"))


async def in_circles(_message: dict[str, Any], scope: Scope, send: Any) -> None:
    turns.append(scope["path"])
    await raw(send, 307, b"", (b"location", b"/again"))


async def not_json(_message: dict[str, Any], _scope: Scope, send: Any) -> None:
    await raw(send, 200, b"<html>", (b"content-type", b"text/html"))


async def forbidden(_message: dict[str, Any], _scope: Scope, send: Any) -> None:
    await raw(send, 401, b"secret page", (b"content-type", b"text/html"))


async def hangs_up(_message: dict[str, Any], _scope: Scope, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"99")]})
    raise ConnectionError("on purpose")


async def comes_back_for_ever(_message: dict[str, Any], scope: Scope, send: Any) -> None:
    turns.append(scope["method"])
    await raw(send, 200, b"id: 1\nretry: 1\ndata:\n\n", (b"content-type", b"text/event-stream"))


turns: list[str] = []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (huge_json, "more than 1048576 bytes (limit answer)"),
        (huge_event, "more than 1048576 bytes (limit answer)"),
        (many_events, "flood|limit answer"),
        (bomb_by_encoding, "a content encoding that was not asked for"),
        (elsewhere, "Redirect to http://127.0.0.2:1/stolen not followed"),
        (in_circles, "Redirect to"),
        (not_json, "Unexpected content type: text/html"),
        (forbidden, "HTTP 401; check its headers in mcp.json"),
        (hangs_up, "the connection failed"),
    ],
)
async def test_a_hostile_answer_fails_its_call(answer: Any, words: str) -> None:
    """Too large, compressed, redirected, not the protocol, cut off: RPC_ERROR that says what, memory flat."""
    turns.clear()
    before = psutil.Process().memory_info().rss
    limits = Limits(answer=1 * MIB, call=10)
    async with serving(endpoint(answer)) as origin, RealWorld([spec(origin)], limits=limits) as world:
        tools = await world.tools("web")
        with anyio.fail_after(20), pytest.raises(UpstreamError) as caught:
            await world.call(tools["go"], {})
    assert caught.value.code is Code.RPC_ERROR
    assert any(word in caught.value.message for word in words.split("|")), caught.value.message
    assert "secret" not in caught.value.message
    assert len(turns) <= 4
    assert psutil.Process().memory_info().rss - before < 150 * MIB


@pytest.mark.parametrize("answer", [drip, drip_events, comes_back_for_ever])
async def test_an_answer_that_never_ends_times_out_and_others_go_on(answer: Any) -> None:
    """A byte now and then, or a stream that is taken up again for ever: the call's deadline holds; the server stays."""
    turns.clear()
    async with serving(endpoint(answer)) as origin, RealWorld([spec(origin)], limits=Limits(call=1)) as world:
        tools = await world.tools("web")
        for _ in range(2):
            with pytest.raises(UpstreamError) as caught:
                await world.call(tools["go"], {})
            assert caught.value.code in (Code.RPC_TIMEOUT, Code.RPC_ERROR)
        assert set(await world.tools("web")) == {"go"}
    assert turns.count("GET") <= 40


async def test_an_event_stream_is_utf_8_whatever_it_says() -> None:
    """A charset in the header decides nothing: some of Python's codecs are no encodings of text, or take for ever."""

    async def answer(message: dict[str, Any], _scope: Scope, send: Any) -> None:
        result = {"content": [{"type": "text", "text": "größer"}]}
        event = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}, ensure_ascii=False)
        kind = (b"content-type", b"text/event-stream; charset=punycode")
        await raw(send, 200, f"data: {event}\n\n".encode(), kind)

    async with serving(endpoint(answer)) as origin, RealWorld([spec(origin)]) as world:
        tools = await world.tools("web")
        assert (await world.call(tools["go"], {})).value == "größer"


async def test_nobody_there_is_unavailable() -> None:
    """Connection refused: UPSTREAM_UNAVAILABLE, without the URL's query."""
    async with RealWorld([spec("http://127.0.0.1:1/mcp?key=q-sesame")]) as world:
        with pytest.raises(UpstreamError) as caught:
            await world.tools("web")
    assert caught.value.code is Code.UPSTREAM_UNAVAILABLE
    assert caught.value.message == "server web is not available: it cannot be reached (ConnectError)"


async def test_a_session_that_ended_is_begun_anew() -> None:
    """The server forgets its sessions: the call in flight fails, the next one has a new session."""
    sessions: list[bytes] = []

    async def forgetful(scope: Scope, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))

        async def sending(event: dict[str, Any]) -> None:
            if event["type"] == "http.response.start" and b"mcp-session-id" not in headers:
                event["headers"].append((b"mcp-session-id", b"one" if not sessions else b"two"))
            await send(event)

        async def answer(message: dict[str, Any], _scope: Scope, send: Any) -> None:
            sessions.append(headers[b"mcp-session-id"])
            if headers[b"mcp-session-id"] == b"one":
                await raw(send, 404, b"gone", (b"content-type", b"text/plain"))
            else:
                await reply(send, {"id": message["id"], "result": {"content": [{"type": "text", "text": "new"}]}})

        await endpoint(answer)(scope, receive, sending)

    async with serving(forgetful) as origin, RealWorld([spec(origin)]) as world:
        tools = await world.tools("web")
        with pytest.raises(UpstreamError, match=r"its session has ended \(HTTP 404\)"):
            await world.call(tools["go"], {})
        assert (await world.call(tools["go"], {})).value == "new"
    assert sessions == [b"one", b"two"]


async def test_nothing_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment is not used: the server is reached as configured."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving(friendly().streamable_http_app()) as origin, RealWorld([spec(f"{origin}/mcp")]) as world:
        assert "add" in await world.tools("web")
