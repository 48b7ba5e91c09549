"""A server that speaks streamable HTTP, as lines: `HttpTarget`.

Every message is a POST of its own. The answer to a request comes in its body, as JSON or at the end of an event stream,
on which the server may say more before; what it says unasked comes on a standing GET stream, which the older protocol
opens once the client is initialized. What that protocol keeps in headers - the session, the version, in the newer one
also method and name - is read out of the messages that pass and set here, since our client may not speak HTTP at all.
The newer protocol has no cancellation on this wire: the POST is closed. In the older one the server is told, and may
say a last word; then the POST is closed, too.

As in `rpc/upstreams`: bounded in bytes, no compression, no redirects, nothing from the environment but what we are
given, and no URL or header value in any message.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import anyio
import httpx2
from anyio.abc import TaskGroup

from belljar.faker import _messages as messages
from belljar.faker.targets import MAX_LINE, TargetGoneError
from belljar.rpc.servers import ServerSpec
from belljar.rpc.upstreams.programs import TooLong

__all__ = ["HttpTarget", "open_http"]

_logger = logging.getLogger("belljar.faker")

_CONNECT_S = 10.0
_SEND_S = 10.0
_GOODBYE_S = 1.0
# For a server's last word on what was cancelled.
_LINGER_S = 5.0
_QUEUE = 64
_RECONNECTS = 20
_RECONNECT_S = 0.5
_MOST_WAIT_S = 10.0
_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
_NAMED: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


class _TooLargeError(Exception):
    pass


class HttpTarget:
    """An endpoint. Made by `open_http`."""

    def __init__(self, client: httpx2.AsyncClient, spec: ServerSpec, tasks: TaskGroup) -> None:
        self._client = client
        self._spec = spec
        self._tasks = tasks
        self._came, self._coming = anyio.create_memory_object_stream[bytes | TargetGoneError](_QUEUE)
        self._posts: dict[str, anyio.CancelScope] = {}
        self._session = ""
        self._version = ""

    async def receive(self) -> bytes | TooLong:
        """The next message."""
        try:
            item = await self._coming.receive()
        except anyio.EndOfStream:
            raise TargetGoneError("closed the connection") from None
        if isinstance(item, TargetGoneError):
            raise item
        return item

    async def send(self, line: bytes) -> None:
        """One message. A request is answered by a task of its own."""
        try:
            message = messages.from_target(line)
        except messages.NoMessageError:
            return
        method = message.method or ""
        if method and message.has_id:
            self._tasks.start_soon(self._request, message)
        elif method == "notifications/cancelled" and self._abandon(message):
            pass
        else:
            await self._say(message)
            if method == "notifications/cancelled":
                self._linger(message)
            elif method == "notifications/initialized":
                self._tasks.start_soon(self._listen)

    async def end(self) -> None:
        """End the session, if there is one."""
        with anyio.move_on_after(_GOODBYE_S, shield=True):
            if self._session:
                try:
                    await self._client.delete(self._spec.url, headers=self._headers(None))
                except httpx2.HTTPError:
                    pass
                self._session = ""
        self._came.close()

    def drop(self) -> None:
        """Nobody reads any more."""
        self._coming.close()

    # requests

    async def _request(self, message: messages.Message) -> None:
        with anyio.CancelScope() as scope:
            self._posts[message.key] = scope
            try:
                await self._posted(message)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as exc:
                await self._hand_on(TargetGoneError(f"cannot be reached ({type(exc).__name__})"))
            except httpx2.HTTPError as exc:
                await self._refuse(message, f"the connection to the server failed ({type(exc).__name__})")
            except _TooLargeError:
                await self._refuse(message, f"the server answered with more than {MAX_LINE} bytes")
        if self._posts.get(message.key) is scope:
            del self._posts[message.key]

    async def _posted(self, message: messages.Message) -> None:
        async with self._stream("POST", message, message.line) as response:
            if message.method == "initialize":
                self._session = response.headers.get("mcp-session-id", "")
            kind = _kind(response)
            if response.status_code == 200 and kind == "text/event-stream":
                last = await self._events(message, response)
            else:
                await self._whole(message, response, kind)
                return
        for _ in range(_RECONNECTS):
            if last is None:
                return
            await anyio.sleep(_RECONNECT_S)
            async with self._stream("GET", None, None, last) as response:
                if response.status_code != 200:
                    break
                last = await self._events(message, response)
        await self._refuse(message, "the server ended its stream without an answer")

    async def _whole(self, message: messages.Message, response: httpx2.Response, kind: str) -> None:
        body = await _body(response)
        if kind == "application/json" and (answer := self._answer(message, body)) is not None:
            await self._hand_on(answer)
            return
        status = response.status_code
        hint = "; check its headers" if status in (401, 403) else ""
        if status == 404 and self._session:
            hint = "; its session has ended"
        await self._refuse(message, f"the server answered with HTTP {status} and no message{hint}")

    def _answer(self, message: messages.Message, body: bytes) -> bytes | None:
        """The body as the answer to this request, or None if it is none."""
        try:
            answer = messages.from_target(body)
        except messages.NoMessageError:
            return None
        if answer.method is not None:
            return None
        self._note_version(message, answer)
        if answer.key == message.key:
            return _one_line(body)
        return json.dumps({**answer.body, "id": message.body["id"]}).encode()  # it could not read our id

    async def _events(self, message: messages.Message | None, response: httpx2.Response) -> str | None:
        """Hand on what comes; the id of the last event if the answer was not in it, None if it was."""
        last: str | None = ""
        async for event in httpx2.EventSource(response, max_event_size=MAX_LINE):
            last = event.id or last
            if event.event != "message" or not event.data:
                continue
            line = _one_line(event.data.encode())
            await self._hand_on(line)
            if message is not None and self._answers(message, line):
                return None
        return last

    def _answers(self, message: messages.Message, line: bytes) -> bool:
        try:
            answer = messages.from_target(line)
        except messages.NoMessageError:
            return False
        if answer.method is not None or answer.key != message.key:
            return False
        self._note_version(message, answer)
        return True

    def _note_version(self, message: messages.Message, answer: messages.Message) -> None:
        if message.method == "initialize":
            result = answer.body.get("result")
            version = cast("dict[str, Any]", result).get("protocolVersion") if isinstance(result, dict) else None
            self._version = version if isinstance(version, str) and version.isascii() else ""

    async def _refuse(self, message: messages.Message, reason: str) -> None:
        error = {"code": messages.INTERNAL_ERROR, "message": reason}
        await self._hand_on(messages.error_line(message.body["id"], error))

    async def _hand_on(self, item: bytes | TargetGoneError) -> None:
        try:
            await self._came.send(item)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            pass  # on its way out

    # everything else

    def _abandon(self, message: messages.Message) -> bool:
        """In the newer protocol, closing the POST says that nobody waits for it."""
        scope = self._posts.get(messages.key_of(message.params.get("requestId")))
        if self._version or scope is None:
            return False
        scope.cancel()
        return True

    def _linger(self, message: messages.Message) -> None:
        if (scope := self._posts.get(messages.key_of(message.params.get("requestId")))) is not None:
            scope.deadline = min(scope.deadline, anyio.current_time() + _LINGER_S)

    async def _say(self, message: messages.Message) -> None:
        """A notification, or an answer of the client: nobody waits for what comes back."""
        failed = f"no answer within {_SEND_S:g} s"
        with anyio.move_on_after(_SEND_S):
            try:
                async with self._stream("POST", message, message.line) as response:
                    failed = "" if response.is_success else f"HTTP {response.status_code}"
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as exc:
                raise TargetGoneError(f"cannot be reached ({type(exc).__name__})") from None
            except httpx2.HTTPError as exc:
                failed = type(exc).__name__
        if failed and message.method is None:
            # The server waits for it, and nobody else would say why.
            _logger.warning("an answer of the client did not reach the server: %s", failed)
        elif failed:
            _logger.debug("a notification of the client did not reach the server: %s", failed)

    async def _listen(self) -> None:
        """The standing stream; a server without one says so."""
        pause, last = _RECONNECT_S, ""
        while True:
            try:
                async with self._stream("GET", None, None, last) as response:
                    if response.status_code != 200 or _kind(response) != "text/event-stream":
                        return
                    pause = _RECONNECT_S
                    last = await self._events(None, response) or last
            except (httpx2.HTTPError, _TooLargeError):
                pass
            await anyio.sleep(pause)
            pause = min(2 * pause, _MOST_WAIT_S)

    @asynccontextmanager
    async def _stream(
        self, method: str, message: messages.Message | None, body: bytes | None, last: str = ""
    ) -> AsyncGenerator[httpx2.Response]:
        headers = self._headers(message)
        if last:
            headers["last-event-id"] = last
        async with self._client.stream(method, self._spec.url, headers=headers, content=body) as response:
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise httpx2.DecodingError("answered in a content encoding that was not asked for")
            yield response

    def _headers(self, message: messages.Message | None) -> dict[str, str]:
        accept = "text/event-stream" if message is None else "application/json, text/event-stream"
        headers = {"accept": accept, "content-type": "application/json"}
        if message is None or not (version := message.meta.get(_VERSION)):
            if message is None or message.method != "initialize":
                headers |= {"mcp-session-id": self._session} if self._session else {}
                headers |= {"mcp-protocol-version": self._version} if self._version else {}
            return headers
        return {**headers, "mcp-protocol-version": _header(str(version)), **_routing(message)}


def _routing(message: messages.Message) -> dict[str, str]:
    """What the newer protocol repeats of a message in headers."""
    method = message.method or ""
    headers = {"mcp-method": _header(method)} if method else {}
    name = message.params.get(_NAMED.get(method, ""))
    return {**headers, "mcp-name": _header(name)} if isinstance(name, str) else headers


def _header(value: str) -> str:
    """The value as a header can carry it."""
    plain = value.isascii() and value.isprintable() and value == value.strip() and not value.startswith("=?base64?")
    return value if plain else f"=?base64?{base64.b64encode(value.encode(errors='replace')).decode()}?="


def _kind(response: httpx2.Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def _one_line(body: bytes) -> bytes:
    """Between the tokens of JSON, which is where line feeds may stand, a blank means the same."""
    return body.strip().replace(b"\n", b" ").replace(b"\r", b" ")


async def _body(response: httpx2.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_LINE:
            raise _TooLargeError
    return bytes(body)


@asynccontextmanager
async def open_http(spec: ServerSpec) -> AsyncGenerator[HttpTarget]:
    """The endpoint; nothing is sent before the client says something."""
    headers: Mapping[str, str] = {**spec.headers, "accept-encoding": "identity"}
    async with (
        httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(trust_env=False, limits=httpx2.Limits(max_connections=None)),
            headers=headers,
            timeout=httpx2.Timeout(None, connect=_CONNECT_S),
            follow_redirects=False,
            trust_env=False,
        ) as client,
        anyio.create_task_group() as tasks,
    ):
        target = HttpTarget(client, spec, tasks)
        try:
            yield target
        finally:
            with anyio.CancelScope(shield=True):
                await target.end()
            target.drop()
            tasks.cancel_scope.cancel()
