"""Keeps the client library's tracing, and the program's, out of what we send to upstreams; sends our own in its place.

The library makes a client span for each request, in the program's global provider and with the upstream's error text in
it, and writes what the program's propagators yield into the request: `traceparent`, but also `tracestate` and all of
the baggage, in which programs keep what they like. Upstreams are strangers, and our span is made elsewhere. So within
`alone` no span is made and nothing is written; a call carries the `traceparent` of its `Caller`, or none.

Only what runs within is affected, and tasks started within: a connection's own tasks, and the request itself. The
library's tracer belongs to the process, and another user of it keeps its spans.

How a call travelled is noted in its caller's `Hop`. What an upstream made up is not: of its words only the code of a
JSON-RPC error is taken, and the number of the request is ours.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final
from urllib.parse import urlsplit

from mcp.shared import _otel as library
from mcp_types import RequestParamsMeta
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import INVALID_SPAN, Span, Tracer

from belljar import show
from belljar.rpc.servers import ServerSpec
from belljar.rpc.world import CALLER, Hop

__all__ = ["Way", "alone", "install", "request_meta"]

_logger = logging.getLogger("belljar.upstream")
_alone: ContextVar[bool] = ContextVar("belljar_alone", default=False)
_PORTS: Final = {"http": 80, "https": 443}


@contextmanager
def alone() -> Generator[None]:
    """Within, and in tasks started within, there is no span, no baggage, and the library adds none."""
    flag, context = _alone.set(True), attach(Context())
    try:
        yield
    finally:
        detach(context)
        _alone.reset(flag)


def request_meta() -> RequestParamsMeta | None:
    """The `_meta` of the call that is being answered, by SEP-414; None if it is in no trace."""
    caller = CALLER.get()
    return None if caller is None or caller.traceparent is None else {"traceparent": caller.traceparent}


class Way:
    """How to one server, for the spans of its calls."""

    def __init__(self, spec: ServerSpec) -> None:
        self._transport = "pipe" if spec.command else "tcp"
        self._address, self._port = _address(spec)

    def sent(self, protocol_version: str | None) -> None:
        """The call goes out now."""
        hop = _hop()
        if hop is not None:
            hop.transport, hop.address, hop.port = self._transport, self._address, self._port
            hop.protocol_version = protocol_version or ""

    def refused(self, code: int) -> None:
        """It was answered with a JSON-RPC error."""
        if (hop := _hop()) is not None:
            hop.error_code = code

    def tool_failed(self) -> None:
        """The tool answered that it failed."""
        if (hop := _hop()) is not None:
            hop.tool_error = True


def _hop() -> Hop | None:
    caller = CALLER.get()
    return None if caller is None else caller.hop


def _address(spec: ServerSpec) -> tuple[str, int]:
    """Host and port as configured; nothing if a variable of the URL made them: it may be a secret."""
    parts = urlsplit(spec.url)
    host = parts.hostname or ""
    if not host or any(secret.lower() in host for secret in spec.secrets):
        return "", 0
    return show.name(host), parts.port or _PORTS.get(parts.scheme, 0)


class _Guarded:
    """The library's tracer, which makes no span for what runs `alone`."""

    def __init__(self, inner: Tracer) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @contextmanager
    def start_as_current_span(
        self, name: str, *, attributes: Mapping[str, Any] | None = None, **more: Any
    ) -> Generator[Span]:
        if not _alone.get():
            with self._inner.start_as_current_span(name, attributes=attributes, **more) as span:
                yield span
            return
        _note_request(attributes or {})
        yield INVALID_SPAN


def _note_request(attributes: Mapping[str, Any]) -> None:
    """What the library would have put on its span: the one place where the number of a request is seen."""
    hop = _hop()
    if hop is not None and attributes.get("mcp.method.name") == "tools/call":
        hop.request_id = str(attributes.get("jsonrpc.request.id", ""))


def install() -> None:
    """Put ourselves before the library's tracer and propagators, once; both are private to it, and may change."""
    tracer, inject = getattr(library, "_tracer", None), getattr(library, "inject", None)
    if isinstance(tracer, _Guarded):
        return
    if tracer is None or inject is None:
        _logger.warning("the MCP library traces in another way than it did: its spans appear beside belljar's own")
        return

    def guarded(carrier: Any, *args: Any, **more: Any) -> None:
        if not _alone.get():
            inject(carrier, *args, **more)

    for name, ours in (("_tracer", _Guarded(tracer)), ("inject", guarded)):
        setattr(library, name, ours)
