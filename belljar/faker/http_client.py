"""Clients that come by streamable HTTP, as lines: `HttpClient` is a `Client` of the proxy. No HTTP in here.

A request of a client is an exchange: a stream that ends with its answer, on which the server may say more before. Over
a pipe nobody says which request a notification or a question belongs to. Progress names its token; everything else goes
to the request that is open, the latest if there are several, and without one to the standing stream.

In the newer protocol there are no sessions, so all its clients share one server, while each counts its requests from
one: `SharedClient` gives ids and progress tokens of its own to what goes in, and puts the client's back in what comes
out.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import anyio

from belljar.faker import _messages as messages
from belljar.faker.clients import ClientGoneError
from belljar.rpc.world import JsonValue

__all__ = ["Exchange", "HttpClient", "Names", "SharedClient"]

_INCOMING = 64
_PER_EXCHANGE = 256
_BACKLOG = 256
_UNREAD_S = 10.0
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


@dataclass(slots=True, eq=False)
class Exchange:
    """What is said to one request, line by line. The last one is the answer, if it came."""

    request: JsonValue = None
    token: JsonValue = None
    lines: deque[bytes] = field(default_factory=deque[bytes])
    answered: bool = False
    closed: bool = False
    changed: anyio.Event = field(default_factory=anyio.Event)

    def put(self, line: bytes) -> None:
        self.lines.append(line)
        self.wake()

    def wake(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    async def next(self, seconds: float) -> bytes | None:
        """The next line; None at the end.

        Raises:
            TimeoutError: nothing was said for so long.
        """
        with anyio.fail_after(seconds):
            while not self.lines:
                if self.answered or self.closed:
                    return None
                await self.changed.wait()
        line = self.lines.popleft()
        self.wake()
        return line

    async def room(self) -> None:
        """Wait until it is read: a client that does not read stops the server, as over a pipe, but not for ever."""
        with anyio.move_on_after(_UNREAD_S):
            while len(self.lines) >= _PER_EXCHANGE and not self.closed:
                await self.changed.wait()
            return
        self.closed = True
        self.wake()


class HttpClient:
    """One session of one client."""

    def __init__(self) -> None:
        self._to_proxy, self._incoming = anyio.create_memory_object_stream[bytes](_INCOMING)
        self._exchanges: dict[str, Exchange] = {}
        self._standing: Exchange | None = None
        self._backlog: deque[bytes] = deque(maxlen=_BACKLOG)
        self.closed = False

    # for the proxy

    async def receive(self) -> bytes | None:
        """The next message; None once the session has ended."""
        try:
            return await self._incoming.receive()
        except anyio.EndOfStream:
            return None

    async def send(self, line: bytes) -> None:
        """To whoever it is for."""
        if self.closed:
            raise ClientGoneError
        message = messages.from_target(line)
        if message.method is None:
            if (exchange := self._exchanges.pop(message.key, None)) is not None:
                exchange.answered = True
                exchange.put(line)
            return
        exchange = self._exchange_for(message) or self._standing
        if exchange is None:
            self._backlog.append(line)
            return
        exchange.put(line)
        await exchange.room()

    def gone(self) -> bool:
        """Whether the session has ended."""
        return self.closed

    def _exchange_for(self, message: messages.Message) -> Exchange | None:
        if message.method == "notifications/progress":
            token = message.params.get("progressToken")
            return next((each for each in self._exchanges.values() if each.token == token), None)
        return next(reversed(self._exchanges.values()), None)

    # for the HTTP server

    @property
    def busy(self) -> bool:
        """Somebody waits for something."""
        return bool(self._exchanges) or self._standing is not None

    def open(self, message: messages.Message) -> Exchange | None:
        """The exchange of this request; None if its id is in use."""
        if message.key in self._exchanges:
            return None
        exchange = self._exchanges[message.key] = Exchange(message.body.get("id"), message.meta.get("progressToken"))
        return exchange

    async def put(self, line: bytes) -> None:
        """What the client says."""
        try:
            await self._to_proxy.send(line)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise ClientGoneError from None

    def leave(self, key: str, exchange: Exchange) -> None:
        """Nobody reads this exchange any more; what comes is dropped."""
        exchange.closed = True
        exchange.wake()
        if self._exchanges.get(key) is exchange:
            del self._exchanges[key]

    def stand(self) -> Exchange | None:
        """The standing stream; None if there is one already."""
        if self._standing is not None:
            return None
        self._standing = Exchange()
        while self._backlog:
            self._standing.put(self._backlog.popleft())
        return self._standing

    def unstand(self) -> None:
        """Nobody reads the standing stream any more."""
        if self._standing is not None:
            self._standing.closed = True
            self._standing.wake()
        self._standing = None

    def fail(self, reason: str) -> None:
        """Answer all that wait with an error."""
        for exchange in self._exchanges.values():
            exchange.answered = True
            error: dict[str, JsonValue] = {"code": messages.INTERNAL_ERROR, "message": reason}
            exchange.put(messages.error_line(exchange.request, error))
        self._exchanges.clear()

    def close(self) -> None:
        """End the session."""
        self.closed = True
        self._to_proxy.close()
        for exchange in [*self._exchanges.values(), *filter(None, [self._standing])]:
            exchange.closed = True
            exchange.wake()
        self._exchanges.clear()


class SharedClient:
    """All clients of the newer protocol as one."""

    def __init__(self, inner: HttpClient) -> None:
        self.inner = inner
        self._count = 0

    def entered(self, message: messages.Message) -> tuple[messages.Message, Names]:
        """The request as it goes in, and how to put what comes out into its client's words."""
        self._count += 1
        number = self._count
        params = dict(message.params)
        meta = dict(message.meta)
        names = Names(number, message.body["id"], meta.get("progressToken"))
        if "progressToken" in meta:
            meta["progressToken"] = number
        if meta:
            params["_meta"] = meta
        body = {**message.body, "id": number, "params": params}
        return messages.Message(json.dumps(body).encode(), body), names

    async def cancel(self, number: int) -> None:
        """The client has closed its request."""
        params: dict[str, JsonValue] = {"requestId": number}
        await self.inner.put(messages.notification_line("notifications/cancelled", params))


@dataclass(frozen=True, slots=True)
class Names:
    """What a client of the newer protocol calls what we call by a number."""

    number: int
    request: Any
    token: Any

    def put_back(self, line: bytes) -> bytes:
        """The message in the client's words."""
        body = dict(messages.from_target(line).body)
        if "method" not in body:
            body["id"] = self.request
        for part in ("params", "result"):
            holder = body.get(part)
            if isinstance(holder, dict):
                body[part] = self._renamed(dict(holder), body.get("method"))  # pyright: ignore[reportUnknownArgumentType]
        return json.dumps(body, ensure_ascii=False).encode(errors="surrogatepass")

    def _renamed(self, holder: dict[str, Any], method: Any) -> dict[str, Any]:
        if method == "notifications/progress" and holder.get("progressToken") == self.number:
            holder["progressToken"] = self.token
        meta = holder.get("_meta")
        if isinstance(meta, dict) and str(meta.get(_SUBSCRIPTION)) == str(self.number):  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
            holder["_meta"] = {**meta, _SUBSCRIPTION: self.request}
        return holder
