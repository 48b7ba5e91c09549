"""A collector: OTLP over HTTP, served by uvicorn in a thread, and one that takes a connection and never says a word."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

__all__ = ["Collector", "Received", "collecting", "mute"]


class Received:
    """One span as it came: attributes as a dict, ids as hex."""

    def __init__(self, span: Span, resource: dict[str, Any], scope: str) -> None:
        self.name = span.name
        self.trace_id = span.trace_id.hex()
        self.span_id = span.span_id.hex()
        self.parent_id = span.parent_span_id.hex()
        self.kind = Span.SpanKind.Name(span.kind)
        self.start, self.end = span.start_time_unix_nano, span.end_time_unix_nano
        self.attributes = {pair.key: _plain(pair.value) for pair in span.attributes}
        self.failed = span.status.code == 2
        self.said = span.status.message
        self.resource = resource
        self.scope = scope


class Collector:
    """What it was sent. `url` is its endpoint."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200

    @property
    def spans(self) -> list[Received]:
        return [span for body in list(self.bodies) for span in _spans(body)]

    def named(self, name: str) -> Received:
        """The one span of this name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def wait(self, count: int, within_s: float = 15.0) -> list[Received]:
        """All spans, once there are so many."""
        ends = time.monotonic() + within_s
        while len(self.spans) < count:
            assert time.monotonic() < ends, f"{len(self.spans)} spans, not {count}"
            time.sleep(0.01)
        return self.spans

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.headers.append({key.decode(): value.decode() for key, value in scope["headers"]})
        if self.status == 200:
            self.bodies.append(body)
        answer = ExportTraceServiceResponse().SerializeToString()
        kind = [(b"content-type", b"application/x-protobuf")]
        await send({"type": "http.response.start", "status": self.status, "headers": kind})
        await send({"type": "http.response.body", "body": answer})


def _spans(body: bytes) -> Iterator[Received]:
    request = ExportTraceServiceRequest.FromString(body)
    for group in request.resource_spans:
        resource = {pair.key: _plain(pair.value) for pair in group.resource.attributes}
        for scoped in group.scope_spans:
            for span in scoped.spans:
                yield Received(span, resource, scoped.scope.name)


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector for the length of the block."""
    collector = Collector()
    config = uvicorn.Config(
        collector, host="127.0.0.1", port=0, log_level="critical", lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    ends = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < ends, "the collector did not start"
        time.sleep(0.005)
    collector.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield collector
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


@contextmanager
def mute() -> Iterator[str]:
    """The URL of a collector that accepts what is sent and never answers."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:

        def accept() -> None:
            while True:
                try:
                    held.append(listening.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    for connection in held:
        connection.close()
