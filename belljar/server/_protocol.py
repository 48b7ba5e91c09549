"""uvicorn's HTTP protocol with what it lacks against strangers: deadlines for heads, a bound on connections.

uvicorn waits for ever for the first byte of a connection and for the last byte of a head. Here a head has a deadline,
however slowly it drips in; bodies have theirs in `bodies.read`. What is no HTTP is answered as a problem, too.
"""

from __future__ import annotations

import asyncio
import uuid

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from belljar.server.metrics import Metrics
from belljar.server.problems import PROBLEM_JSON, Problem, respond
from belljar.server.settings import Settings

__all__ = ["bounded_protocol"]

_WAITING = (h11.IDLE,)


def bounded_protocol(settings: Settings, metrics: Metrics) -> type[H11Protocol]:
    """The protocol for a server of these settings."""

    class Bounded(H11Protocol):
        _head: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            metrics.connections.set(len(self.connections))
            if len(self.connections) > settings.max_connections:
                metrics.turned_away.labels("connections").inc()
                transport.abort()
                return
            self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._expect_nothing()
            super().connection_lost(exc)
            metrics.connections.set(len(self.connections))

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.transport.is_closing() or self.conn.their_state not in _WAITING:
                self._expect_nothing()
            elif self._head is None:
                self._expect_head()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            # Bytes of the next head that came with the last request.
            if self.conn.trailing_data[0] and self.conn.their_state in _WAITING and self._head is None:
                self._expect_head()

        def send_400_response(self, msg: str) -> None:
            metrics.turned_away.labels("not-http").inc()
            answer = respond(Problem(400, "this is not HTTP as it must be"), uuid.uuid4().hex)
            headers = [(b"content-type", PROBLEM_JSON.encode()), (b"connection", b"close")]
            try:
                output = self.conn.send(h11.Response(status_code=400, headers=headers, reason=b"Bad Request"))
                self.transport.write(output or b"")
                self.transport.write(self.conn.send(h11.Data(data=bytes(answer.body))) or b"")
                self.transport.write(self.conn.send(h11.EndOfMessage()) or b"")
            except h11.LocalProtocolError:
                pass  # an answer was under way: there is nothing to be said any more
            self.transport.close()

        def _expect_head(self) -> None:
            self._head = self.loop.call_later(settings.head_timeout_s, self._late)

        def _expect_nothing(self) -> None:
            if self._head is not None:
                self._head.cancel()
                self._head = None

        def _late(self) -> None:
            self._head = None
            metrics.turned_away.labels("slow-head").inc()
            self.transport.abort()

    return Bounded
