"""Streamable HTTP on both sides of the proxy, in both eras of the protocol."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import psutil
import pytest
import uvicorn
from mcp import Client, StdioServerParameters, stdio_client
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from belljar.faker import http_target
from belljar.faker.entries import endpoint as endpoint_of
from belljar.faker.http_client import HttpClient
from belljar.faker.http_server import Sessions
from belljar.faker.http_target import HttpTarget, open_http
from tests.faker.wire import Wire, faker

pytestmark = pytest.mark.anyio

_TARGETS = Path(__file__).with_name("targets")
_MODERN = [sys.executable, str(_TARGETS / "modern.py")]
_DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The URL of a real server that speaks both protocols."""
    with subprocess.Popen([*_MODERN, "http"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
        process.kill()


@contextlib.contextmanager
def served(state: Path, *words: str) -> Generator[tuple[str, Wire]]:
    """A faker that serves by HTTP: its URL."""
    with Wire(faker("--http", "127.0.0.1:0", *words), state=state) as wire:
        assert wire.process.stderr is not None
        found = re.search(r"http://\S+", wire.process.stderr.readline().decode())
        assert found is not None
        yield found[0], wire


async def _script(client: Client) -> list[Any]:
    """What a client sees of the server."""
    seen: list[Any] = []

    async def noted(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))

    listed = await client.list_tools()
    called = await client.call_tool("get_slowly", {"word": "w"}, progress_callback=noted)
    read = await client.read_resource("note://one")
    return [
        [tool.model_dump() for tool in listed.tools],
        called.content,
        called.structured_content,
        read.contents,
        seen,
        client.session.protocol_version,
    ]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_server_at_a_url(tmp_path: Path, endpoint: str, mode: Any) -> None:
    """F51, F52: through the proxy on stdio, a remote server is what it is without it; progress included."""
    words = faker("--url", endpoint)
    program = StdioServerParameters(command=words[0], args=words[1:], env={"XDG_STATE_HOME": str(tmp_path)})
    with anyio.fail_after(_DEADLINE_S):
        async with Client(endpoint, mode=mode) as direct, Client(stdio_client(program), mode=mode) as proxied:
            expected = await _script(direct)
            assert await _script(proxied) == expected
            assert expected[-2]
            written = await proxied.call_tool("put_it", {"word": "w"})
            assert "for real" not in str(written.content)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_serving_by_http(tmp_path: Path, endpoint: str, mode: Any) -> None:
    """F51, F52: clients that come by HTTP see the same, several at once with the same ids among them."""
    with anyio.fail_after(_DEADLINE_S), served(tmp_path, "--", *_MODERN) as (url, _):
        async with Client(endpoint, mode=mode) as direct, Client(url, mode=mode) as one, Client(url, mode=mode) as two:
            expected = await _script(direct)
            seen: list[Any] = []

            async def run(client: Client) -> None:
                seen.append(await _script(client))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run, one)
                tasks.start_soon(run, two)
            assert seen == [expected, expected]
            written = await one.call_tool("put_it", {"word": "w"})
            assert "for real" not in str(written.content)


async def test_only_this_machine_is_served(tmp_path: Path) -> None:
    """A page in a browser can reach a loopback port: neither its Host nor its Origin may be elsewhere."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    with served(tmp_path, "--", *_MODERN) as (url, _):
        async with httpx2.AsyncClient(trust_env=False) as client:
            for headers, status in (
                ({"host": "evil.example"}, 403),
                ({"origin": "https://evil.example"}, 403),
                ({"content-type": "text/plain"}, 415),
                ({"mcp-session-id": "nobody's"}, 404),
                ({}, 400),
            ):
                sent = {"content-type": "application/json", **headers}
                answer = await client.post(url, content=json.dumps(body), headers=sent)
                assert (headers, answer.status_code) == (headers, status)


def test_no_other_address_is_bound(tmp_path: Path) -> None:
    """Serving a network is not offered."""
    with Wire(faker("--http", "0.0.0.0:0", "--", "cat"), state=tmp_path) as wire:
        code, err = wire.end()
        assert (code, "address of this machine" in err) == (2, True)


async def test_a_fault_of_ours_ends_one_session(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever one client finds to break us with, the others are served on."""

    async def serve(client: HttpClient) -> None:
        with client._incoming:
            if await client.receive() == b"break":
                raise TypeError

    with anyio.fail_after(_DEADLINE_S):
        async with Sessions.open(serve) as sessions:
            (broken, first), (whole, second) = begun = [sessions.begin() or ("", HttpClient()) for _ in range(2)]
            assert all(session for session, _ in begun)
            await first.put(b"break")
            while sessions.find(broken) is not None:
                await anyio.lowlevel.checkpoint()
            assert sessions.find(whole) is second
    assert "a fault in the faker" in caplog.text


class _Stubborn:
    """A server of the older protocol that answers no call and takes no answer."""

    def __init__(self) -> None:
        self.closed = anyio.Event()
        self.called = anyio.Event()

    async def handle(self, request: Request) -> Response:
        message = await request.json()
        if message.get("method") == "initialize":
            result = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {}}
            return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "result": result})
        if "method" not in message:
            return Response(status_code=500)
        return StreamingResponse(self._silence(), media_type="text/event-stream") if "id" in message else Response()

    async def _silence(self) -> AsyncIterator[bytes]:
        try:
            yield b": well\n\n"
            self.called.set()
            await anyio.sleep_forever()
        finally:
            self.closed.set()

    @contextlib.asynccontextmanager
    async def target(self) -> AsyncGenerator[HttpTarget]:
        app = Starlette(routes=[Route("/mcp", self.handle, methods=["POST"])])
        with socket.create_server(("127.0.0.1", 0)) as sock:
            server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(server.serve, [sock])
                async with open_http(endpoint_of(f"http://127.0.0.1:{sock.getsockname()[1]}/mcp", "")) as target:
                    yield target
                server.should_exit = True


async def test_what_is_given_up_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """F75: a call that is not answered in time leaves no connection and no task, in the older protocol as well."""
    monkeypatch.setattr(http_target, "_LINGER_S", 0.1)
    stubborn = _Stubborn()
    with anyio.fail_after(_DEADLINE_S):
        async with stubborn.target() as target:
            await target.send(b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}')
            await target.receive()
            await target.send(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}')
            await stubborn.called.wait()
            await target.send(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}')
            await stubborn.closed.wait()


async def test_an_answer_that_is_lost_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """A server that does not take what its client answered waits for ever, and nobody else would know why."""
    with anyio.fail_after(_DEADLINE_S):
        async with _Stubborn().target() as target:
            await target.send(b'{"jsonrpc":"2.0","id":7,"result":{"action":"accept"}}')
    assert "an answer of the client did not reach the server: HTTP 500" in caplog.text


async def test_sessions_end(tmp_path: Path) -> None:
    """F75: a deleted session's server is gone, and with a signal all are."""
    with served(tmp_path, "--", *_MODERN) as (url, wire):
        async with Client(url, mode="legacy") as client:
            await client.list_tools()
            first = wire.below()
            assert first
        assert not (await anyio.to_thread.run_sync(psutil.wait_procs, first, 15))[1]
        async with Client(url, mode="auto") as client:
            await client.list_tools()
            second = wire.below()
            wire.process.send_signal(signal.SIGTERM)
            assert await anyio.to_thread.run_sync(wire.process.wait, 15) == 0
            assert not (await anyio.to_thread.run_sync(psutil.wait_procs, second, 15))[1]


def test_a_url_that_nobody_serves(tmp_path: Path) -> None:
    """F75: an error for the client and for whoever started us, at once; the URL's password is in neither."""
    url = "http://user:hunter2secret@127.0.0.1:9/mcp"
    with Wire(faker(), state=tmp_path, env={"BELLJAR_FAKER_URL": url}) as wire:
        wire.say({"id": 1, "method": "initialize", "params": {}})
        assert "cannot be reached" in wire.answer(1)["error"]["message"]
        code, err = wire.end()
        assert code == 4
        assert "hunter2" not in err + str(wire.lines)
