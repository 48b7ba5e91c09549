"""Spans of what went through a faker, in scope `station.faker`.

    faker.{tool}                 every call, whatever answered it: real, overlay, synthesized, ai, cache, fault, error
      |- tools/call {tool}       each call to the target, also of another tool: the standard client span for MCP
      `- faker.ai_enrichment     each question to a model

A span is built after its call, with the times the call itself noted (`Way`), in a thread: the masking, the SDK and the
collector are nothing a call waits for. What must be known before - ids, parent, whether it is sampled - is decided when
the call comes in, because the target is told of it. The parent is what the client sent in `_meta`, else the program's
current span, else `TRACEPARENT`.

What may wait is bounded; what is beyond it is dropped and counted in the telemetry's counters. Texts - the instruction,
names of tools, messages of errors - have passed the sanitizer; messages are there only if content was asked for.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from belljar import show
from belljar.faker.calls import Call, CallEvent, Leg, Reply, Way
from belljar.rpc.world import Hop, JsonValue
from belljar.tracing.otel import Telemetry
from belljar.tracing.spans.ids import SpanRef, new_span_id, parse_traceparent
from belljar.tracing.spans.model import METHOD, OTHER, Attributes, SpanData, travelled

if TYPE_CHECKING:
    from belljar.tracing.sanitizer import Sanitizer

__all__ = ["SCOPE", "FakerSpans"]

SCOPE = "station.faker"

# A second of calls at any rate a client reaches; the SDK's own queue comes behind it.
_MOST_WAITING = 2048
_MAX_INSTRUCTION = 4000
_MAX_NAME = 128
_MAX_MESSAGE = 2000
_MAX_KNOWN_NAMES = 4096
_ANSWERS_ERROR = "tool_error"


class FakerSpans:
    """Makes the spans of one session. A `Recorder`; its telemetry is the caller's to shut down, after `close`."""

    def __init__(
        self,
        telemetry: Telemetry,
        *,
        session_id: str,
        instruction: str = "",
        safety_mode: bool = True,
        hop: Hop | None = None,
        known: Iterable[str] = (),
    ) -> None:
        """`hop` says how the target is reached; `known` are secrets that no span may show."""
        self._telemetry = telemetry
        self._session_id = session_id
        self._instruction = instruction
        self._safety_mode = safety_mode
        self._hop = hop if hop is not None else Hop()
        self._known = frozenset(known) | telemetry.secrets
        self._sanitizer: Sanitizer | None = None
        self._shown = dict[str, str]()
        self._queue = queue.SimpleQueue[CallEvent | None]()
        self._waiting = threading.BoundedSemaphore(_MOST_WAITING)
        self._closed = False
        self._thread = threading.Thread(target=self._build, name="belljar-faker-spans", daemon=True)
        self._thread.start()

    def begin(self, call: Call, meta: Mapping[str, JsonValue]) -> None:
        """A call comes in: its place in the trace, and what its target is told (`call.way.traceparent`)."""
        sent = meta.get("traceparent")
        way = call.way
        way.span, way.parent, way.sampling = self._telemetry.place(
            "faker", parse_traceparent(sent) if isinstance(sent, str) else None
        )
        way.to_real = replace(way.span, span_id=int(new_span_id(), 16))

    def record(self, event: CallEvent) -> None:
        """A call was answered. Never waits, never raises."""
        if event.call.way.span is None:
            self.begin(event.call, event.meta)
        if self._closed or not self._waiting.acquire(blocking=False):
            self._telemetry.dropped(1)
            return
        self._queue.put(event)

    def close(self, deadline_s: float) -> None:
        """Build what waits, for at most so long. Blocks."""
        self._closed = True
        self._queue.put(None)
        self._thread.join(deadline_s)

    def _build(self) -> None:
        # Loading the SDK and the sanitizer takes half a second: while the target starts, not beside the first calls.
        self._telemetry.prepare()
        self._instruction = self._text(self._instruction)[:_MAX_INSTRUCTION]
        while (event := self._queue.get()) is not None:
            self._waiting.release()
            way = event.call.way
            if way.sampling is None or not way.sampling.recording:
                continue
            try:
                spans = list(self._spans(event))
            except Exception:  # noqa: BLE001 - the thread must outlive one call
                self._telemetry.dropped(1)
                continue
            self._telemetry.emit(spans, way.sampling)

    def _spans(self, event: CallEvent) -> Iterator[SpanData]:
        call, reply, way = event.call, event.reply, event.call.way
        if way.span is None:
            return
        name = self._name(call.tool.name)
        end_ns = event.started_at_ns + round(event.latency_ms * 1e6)
        yield SpanData(
            name=f"faker.{name}",
            ref=way.span,
            parent=way.parent,
            client=False,
            start_ns=event.started_at_ns,
            end_ns=end_ns,
            attributes={**self._of_call(call, reply, name), **_times(way)},
            failed=reply.is_error,
            said=self._message(reply) if reply.is_error else None,
            scope=SCOPE,
            exception=_error_type(reply) if reply.is_error else None,
        )
        if way.real is not None:
            yield self._to_real(way.real, way.span, way.to_real, name, call.server)
        for tool, leg in way.asked:
            yield self._to_real(leg, way.span, None, self._name(tool), call.server)
        for leg in way.ai:
            yield _to_ai(leg, way.span, name)

    def _of_call(self, call: Call, reply: Reply, name: str) -> Attributes:
        found: Attributes = {
            "faker.tool_name": name,
            "faker.ai_instruction": self._instruction,
            "faker.safety_mode": self._safety_mode,
            "faker.is_write_operation": reply.verdict.operation == "write",
            "faker.session_id": self._session_id,
            "faker.real_mcp_used": reply.real_used,
            "faker.intercepted_write": reply.intercepted,
            "faker.synthesized_response": reply.synthesized,
            "faker.source": reply.source,
            "faker.risk": reply.verdict.risk,
            "faker.server": self._name(call.server),
            "mcp.method.name": METHOD,
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
        }
        if reply.is_error:
            found["error.type"] = _error_type(reply)
        return found

    def _to_real(self, leg: Leg, above: SpanRef, ref: SpanRef | None, name: str, server: str) -> SpanData:
        attributes: Attributes = {
            "mcp.method.name": METHOD,
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "faker.session_id": self._session_id,
            "faker.server": self._name(server),
            **travelled(self._hop),
        }
        if leg.error:
            attributes["error.type"] = leg.error
            if leg.error.lstrip("-").isdigit():
                attributes["rpc.response.status_code"] = leg.error
        return _child(f"{METHOD} {name}", leg, above, ref or _below(above), attributes, client=True)

    def _message(self, reply: Reply) -> str:
        """What went wrong, in words if those may be shown."""
        if not self._telemetry.content:
            return _error_type(reply)
        said = reply.error.get("message") if reply.error is not None else _first_text(reply)
        return self._text(said)[:_MAX_MESSAGE] if isinstance(said, str) else _error_type(reply)

    def _name(self, name: str) -> str:
        """A stranger's name for a tool or a server, masked and fit to be shown; the few there are, looked at once."""
        shown = self._shown.get(name)
        if shown is None:
            shown = show.name(self._text(name), max_chars=_MAX_NAME)
            if len(self._shown) < _MAX_KNOWN_NAMES:
                self._shown[name] = shown
        return shown

    def _text(self, text: str) -> str:
        if not text:
            return ""
        if self._sanitizer is None:
            from belljar.tracing.sanitizer import Sanitizer

            self._sanitizer = Sanitizer(known=self._known)
        return self._sanitizer.text(text)


def _times(way: Way) -> Attributes:
    """Where a call's time went."""
    found: Attributes = {}
    if way.real_ms is not None:
        found["faker.real_ms"] = round(way.real_ms, 3)
    if way.ai:
        found["faker.ai_ms"] = round(sum(leg.ms for leg in way.ai), 3)
    return found


def _to_ai(leg: Leg, above: SpanRef, name: str) -> SpanData:
    attributes: Attributes = {
        "faker.tool_name": name,
        "faker.operation": "ai_enrichment",
        "faker.ai_enrichment_enabled": True,
    }
    if leg.error:
        attributes["error.type"] = leg.error
    return _child("faker.ai_enrichment", leg, above, _below(above), attributes)


def _child(
    name: str, leg: Leg, above: SpanRef, ref: SpanRef, attributes: Attributes, *, client: bool = False
) -> SpanData:
    failed = leg.error or None
    end_ns = leg.began_ns + round(leg.ms * 1e6)
    return SpanData(
        name, ref, above, client, leg.began_ns, end_ns, attributes, failed is not None, failed, SCOPE, failed
    )


def _below(above: SpanRef) -> SpanRef:
    return replace(above, span_id=int(new_span_id(), 16), remote=False)


def _error_type(reply: Reply) -> str:
    if reply.error is None:
        return _ANSWERS_ERROR
    code = reply.error.get("code")
    return str(code) if isinstance(code, int) else OTHER


def _first_text(reply: Reply) -> JsonValue:
    content = reply.result.get("content")
    first = content[0] if isinstance(content, list) and content else None  # pyright: ignore[reportUnknownVariableType]
    return first.get("text") if isinstance(first, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
