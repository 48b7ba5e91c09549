"""The streamable HTTP transport: the library's client over a connection that bounds what comes back.

`BoundedTransport` sits below the library's HTTP client. It reads a JSON answer itself, up to the limit of the request
it answers and no longer than its deadline, counts the bytes of an event stream as they pass, and turns whatever goes
wrong on the wire into an error for the one request it befell: in the library it would end the connection for every
caller. Answers come uncompressed, or a few KB could become gigabytes behind our back. The standing GET stream is
refused: we need nothing a server says unasked. Redirects stay within the origin (the library's rule), at most three.
Nothing is taken from the environment: no proxy, no certificates, no .netrc. Header values and URLs appear in no
message and no log line.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx2
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client._transport import ReadStream, WriteStream
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import ClientMessageMetadata, SessionMessage
from mcp_types import JSONRPCMessage, JSONRPCRequest, RequestId

from belljar.limits import MIB, Limits
from belljar.rpc.servers import ServerSpec
from belljar.rpc.upstreams._gate import FloodError, Gate, error_for
from belljar.rpc.upstreams._stdio import PROBE, PROBE_S, Streams

__all__ = ["BoundedTransport", "http_transport"]

# Rides from our side of the library to our other side, and never leaves: which request an HTTP request carries.
_MARK = "belljar-request"
_CONNECT_S = 10.0
_GOODBYE_S = 1.0
# Beyond the call's own deadline, so that it is the call that ends first and says so.
_GRACE_S = 5.0
_REDIRECTS = 3
# Between two answers; a server that closes its stream in the middle of one means us to come back once or twice.
_RECONNECTS = 20
_REPLIES = 16
# Notifications share a stream with the answer they come before.
_UNASKED_BYTES = 1 * MIB
_SMALL = 1 * MIB


@asynccontextmanager
async def http_transport(spec: ServerSpec, gate: Gate, limits: Limits) -> AsyncGenerator[Streams]:
    """An endpoint's streams for `mcp.Client`."""
    bounded = BoundedTransport(httpx2.AsyncHTTPTransport(trust_env=False), gate, limits)
    client = httpx2.AsyncClient(
        transport=bounded,
        headers={**spec.headers, "accept-encoding": "identity"},
        timeout=httpx2.Timeout(_CONNECT_S, read=limits.call + _GRACE_S),
        max_redirects=_REDIRECTS,
        trust_env=False,
    )
    largest = max(limits.answer, limits.tools_list) + _UNASKED_BYTES
    to_session, from_gate = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_gate, from_session = anyio.create_memory_object_stream[SessionMessage](128)
    async with (
        to_session,
        from_gate,
        to_gate,
        from_session,
        client,
        streamable_http_client(spec.url, http_client=client, max_sse_event_size=largest) as (incoming, outgoing),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_read, incoming, gate, to_session, _Replies(outgoing, tasks))
        tasks.start_soon(_write, outgoing, gate, from_session)
        try:
            yield from_gate, to_gate
        finally:
            gate.close()
            tasks.cancel_scope.cancel()


class _Replies:
    """Answers to the server's own requests: few at a time, since each is a POST that it may leave hanging."""

    def __init__(self, outgoing: WriteStream[SessionMessage], tasks: TaskGroup) -> None:
        self._outgoing = outgoing
        self._tasks = tasks
        self._open = 0

    def send(self, message: JSONRPCMessage) -> None:
        if self._open < _REPLIES:
            self._open += 1
            self._tasks.start_soon(self._send, message)

    async def _send(self, message: JSONRPCMessage) -> None:
        try:
            await self._outgoing.send(SessionMessage(message))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # on its way out
        finally:
            self._open -= 1


async def _read(
    incoming: ReadStream[SessionMessage | Exception],
    gate: Gate,
    to_session: MemoryObjectSendStream[SessionMessage | Exception],
    replies: _Replies,
) -> None:
    gate.reply = replies.send
    async with to_session:
        try:
            async for item in incoming:
                message = None if isinstance(item, Exception) else gate.message(item.message, 0)
                if message is not None:
                    await to_session.send(SessionMessage(message))
        except FloodError as exc:
            gate.fail(str(exc))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # on its way out
        gate.fail("closed the connection")


async def _write(
    outgoing: WriteStream[SessionMessage], gate: Gate, from_session: MemoryObjectReceiveStream[SessionMessage]
) -> None:
    try:
        async for item in from_session:
            gate.sent(item.message)
            await outgoing.send(_marked(item) if isinstance(item.message, JSONRPCRequest) else item)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        gate.fail("closed the connection")


def _marked(item: SessionMessage) -> SessionMessage:
    assert isinstance(item.message, JSONRPCRequest)
    metadata = item.metadata if isinstance(item.metadata, ClientMessageMetadata) else ClientMessageMetadata()
    headers = {**(metadata.headers or {}), _MARK: str(item.message.id)}
    return SessionMessage(item.message, ClientMessageMetadata(headers=headers))


class _TooLargeError(Exception):
    pass


class BoundedTransport(httpx2.AsyncBaseTransport):
    """What the module says, around another transport."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, gate: Gate, limits: Limits) -> None:
        self._inner = inner
        self._gate = gate
        self._seconds = limits.call + _GRACE_S
        self._reconnects = 0

    async def aclose(self) -> None:
        """Close what is below."""
        await self._inner.aclose()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """One HTTP request of the library."""
        # A redirected request is made from the one before: its headers as they are now, its extensions as they are.
        mark = request.headers.pop(_MARK, None) or request.extensions.get(_MARK)
        if mark is not None:
            self._reconnects = 0
            request.extensions[_MARK] = mark
            return await self._awaited(request, int(mark))
        if request.method == "GET":
            return await self._reconnect(request)
        return await self._unawaited(request)

    async def _awaited(self, request: httpx2.Request, call: RequestId) -> httpx2.Response:
        seconds = PROBE_S if self._gate.method(call) == PROBE else self._seconds
        try:
            with anyio.fail_after(seconds):
                return await self._answer(request, call)
        except TimeoutError:
            return self._refused(call, f"no answer within {seconds:g} s")
        except _TooLargeError:
            return self._refused(call, self._gate.over_limit(call))
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as exc:
            self._gate.fail(f"cannot be reached ({type(exc).__name__})")
            return self._refused(call, self._gate.reason)
        except httpx2.TransportError as exc:
            return self._refused(call, f"the connection failed ({type(exc).__name__})")

    async def _answer(self, request: httpx2.Request, call: RequestId) -> httpx2.Response:
        response = await self._inner.handle_async_request(request)
        kind = _kind(response)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            return self._refused(call, "answered in a content encoding that was not asked for")
        if response.status_code == 200 and kind == "text/event-stream":
            room = self._gate.room(call) + _UNASKED_BYTES
            return _response(response, _Bounded(response, room, self._seconds, self._gate, call))
        body = await _body(response, self._gate.room(call))
        self._gate.count(call, len(body))
        if response.status_code >= 400 and kind != "application/json":
            return self._failed(request, response.status_code, call)
        return _response(response, httpx2.ByteStream(body))

    def _failed(self, request: httpx2.Request, status: int, call: RequestId) -> httpx2.Response:
        if status == 404 and "mcp-session-id" in request.headers:
            self._gate.fail("its session has ended (HTTP 404)")
        hint = "; check its headers in mcp.json" if status in (401, 403) else ""
        return self._refused(call, f"HTTP {status}{hint}")

    def _refused(self, call: RequestId, reason: str) -> httpx2.Response:
        body = error_for(call, reason).model_dump_json(by_alias=True, exclude_unset=True)
        return httpx2.Response(200, headers={"content-type": "application/json"}, content=body.encode())

    async def _reconnect(self, request: httpx2.Request) -> httpx2.Response:
        """A stream that ended before its answer may be taken up again; no other GET is of use to us."""
        self._reconnects += 1
        if "last-event-id" not in request.headers or self._reconnects > _RECONNECTS:
            return httpx2.Response(405)
        response = await self._inner.handle_async_request(request)
        return _response(response, _Bounded(response, self._gate.limit() + _UNASKED_BYTES, self._seconds, self._gate))

    async def _unawaited(self, request: httpx2.Request) -> httpx2.Response:
        """Notifications, replies and the last DELETE: nobody waits for what comes back, so nothing of it may matter."""
        seconds = _GOODBYE_S if request.method == "DELETE" else _CONNECT_S
        with anyio.move_on_after(seconds):
            try:
                response = await self._inner.handle_async_request(request)
                if response.next_request is None and not response.has_redirect_location:
                    await response.aclose()
                    return httpx2.Response(202)
                return _response(response, httpx2.ByteStream(await _body(response, _SMALL)))
            except (httpx2.TransportError, _TooLargeError):
                pass
        return httpx2.Response(202)


class _Bounded(httpx2.AsyncByteStream):
    """An event stream, ended when it is too long in bytes or time."""

    def __init__(
        self, response: httpx2.Response, room: int, seconds: float, gate: Gate, call: RequestId | None = None
    ) -> None:
        self._response = response
        self._room = room
        self._deadline = anyio.current_time() + seconds
        self._gate = gate
        self._call = call

    async def __aiter__(self) -> AsyncIterator[bytes]:
        stream = self._response.stream
        assert isinstance(stream, httpx2.AsyncByteStream)
        async for chunk in stream:
            self._room -= len(chunk)
            if self._call is not None:
                self._gate.count(self._call, len(chunk))
            if self._room < 0:
                raise httpx2.SSEError(self._gate.over_limit(self._call or 0))
            if anyio.current_time() > self._deadline:
                raise httpx2.SSEError("took longer than any call may")
            yield chunk

    async def aclose(self) -> None:
        await self._response.aclose()


def _kind(response: httpx2.Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _body(response: httpx2.Response, room: int) -> bytes:
    body = bytearray()
    stream = response.stream
    assert isinstance(stream, httpx2.AsyncByteStream)
    try:
        async for chunk in stream:
            body += chunk
            if len(body) > room:
                raise _TooLargeError
    finally:
        await response.aclose()
    return bytes(body)


def _response(response: httpx2.Response, stream: httpx2.AsyncByteStream) -> httpx2.Response:
    """The response with the few headers the library reads. Not the charset: what comes is UTF-8 by definition."""
    names = ("mcp-session-id", "location")
    headers = {name: response.headers[name] for name in names if name in response.headers}
    return httpx2.Response(response.status_code, headers={**headers, "content-type": _kind(response)}, stream=stream)
