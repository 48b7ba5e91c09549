"""The spans of a run as plain data: what they are called, hold and say. Pure; no OpenTelemetry is imported.

One INTERNAL span for the run, one CLIENT span for each call, by the semantic conventions for MCP (status: development;
https://github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai/mcp.md).

**A span holds nothing that the sanitized trace does not.** Whatever came from the guest or from an upstream - names,
arguments, results, messages - is read from the trace's wire form, masked as it is, and arguments, results and messages
only if content was asked for. What else is in a span is the host's own: ids, times, states, codes, the rule that
allowed the call, and how the call travelled (`Hop`). A call for which the trace had no room has a span of those alone.

Left out on purpose: `mcp.session.id`, because whoever holds the id of a session may be taken for the session's owner.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from belljar import show
from belljar.errors import Code
from belljar.limits import KIB
from belljar.rpc.record import CallRecord
from belljar.rpc.world import Hop
from belljar.tracing.masking.plain import TRUNCATED
from belljar.tracing.spans.ids import SpanRef

__all__ = ["METHOD", "OTHER", "Attributes", "CallSpan", "SpanData", "call_spans", "run_span", "travelled"]

Attributes = dict[str, str | int | float | bool | list[str]]

METHOD = "tools/call"
# The conventions' own word for "no better one".
OTHER = "_OTHER"
_NO_HOP = Hop()
_MAX_GRANT = 200
_MAX_CONTENT = 32 * KIB


@dataclass(frozen=True, slots=True)
class SpanData:
    """One span, finished."""

    name: str
    ref: SpanRef
    parent: SpanRef | None
    client: bool
    start_ns: int
    end_ns: int
    attributes: Attributes
    failed: bool
    said: str | None = None
    """The error's message, masked, where content was asked for."""
    scope: str = "belljar"
    """Whose span it is: the name of the instrumentation."""
    exception: str | None = None
    """The type of an error that is noted as an event at the span's end."""


@dataclass(frozen=True, slots=True)
class CallSpan:
    """What was decided of a call's span when the call went out."""

    span_id: str
    hop: Hop


def run_span(
    wire: Mapping[str, Any], ref: SpanRef, parent: SpanRef | None, began_ns: int, *, content: bool
) -> SpanData:
    """The run's own span."""
    attributes = _of_run(wire)
    metadata: Mapping[str, Any] = wire.get("metadata") or {}
    attributes["belljar.success"] = wire.get("success") is True
    attributes["belljar.calls"] = len(wire.get("taskResults") or ())
    _copy(attributes, wire, {"parentTraceId": "belljar.parent_trace_id", "workflowId": "belljar.workflow_id"})
    _copy(
        attributes,
        metadata,
        {
            "backend": "belljar.backend",
            "walls": "belljar.walls",
            "ledgerHead": "belljar.ledger_head",
            "mockedShare": "belljar.mocked_share",
        },
    )
    failed = not attributes["belljar.success"]
    if failed:
        attributes["error.type"] = str(wire.get("errorCode") or OTHER)
    if content:
        _copy(attributes, wire, {"intent": "belljar.intent"})
    return SpanData(
        name=_run_name(str(wire.get("capabilityId", ""))),
        ref=ref,
        parent=parent,
        client=False,
        start_ns=began_ns,
        end_ns=began_ns + _ns(wire.get("durationMs")),
        attributes=attributes,
        failed=failed,
        said=wire.get("errorMessage") if failed and content else None,
    )


def call_spans(
    wire: Mapping[str, Any],
    calls: Sequence[CallRecord],
    went_out: Mapping[int, CallSpan],
    run: SpanRef,
    new_id: Callable[[], str],
    *,
    content: bool,
) -> Iterator[SpanData]:
    """A span for each call of the run, in order; `new_id` names the spans of calls that never went out."""
    tasks: dict[str, Mapping[str, Any]] = {task.get("taskId"): task for task in wire.get("taskResults") or ()}
    shared = _of_run(wire)
    for call in calls:
        out = went_out.get(call.call_id)
        span_id, hop = (out.span_id, out.hop) if out is not None else (new_id(), _NO_HOP)
        ref = SpanRef(run.trace_id, int(span_id, 16), run.flags)
        yield _call_span(call, tasks.get(f"t{call.call_id}", {}), shared, run, ref, hop, content=content)


def _call_span(
    call: CallRecord,
    task: Mapping[str, Any],
    shared: Attributes,
    run: SpanRef,
    ref: SpanRef,
    hop: Hop,
    *,
    content: bool,
) -> SpanData:
    server, _, tool = str(task.get("tool", "")).partition(":")
    state = "unknown" if call.state == "executing" else call.state
    attributes: Attributes = {
        **shared,
        "mcp.method.name": METHOD,
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool or OTHER,
        "belljar.server": server or OTHER,
        "belljar.call.id": call.call_id,
        "belljar.call.state": state,
        "belljar.call.source": call.source,
        "belljar.call.grant": show.text(call.grant, max_chars=_MAX_GRANT) or "none",
        "belljar.call.is_write": call.is_write,
        "belljar.call.line": call.line,
        **travelled(hop),
    }
    failed = state != "applied"
    if failed:
        attributes["error.type"] = _error_type(call, hop)
        if hop.error_code is not None:
            attributes["rpc.response.status_code"] = str(hop.error_code)
    if content and task:
        attributes["gen_ai.tool.call.arguments"] = _json(task.get("args"))
        if not failed:
            attributes["gen_ai.tool.call.result"] = _json(task.get("result"))
    return SpanData(
        name=METHOD if not tool or call.error_code == Code.UNKNOWN_TOOL else f"{METHOD} {tool}",
        ref=ref,
        parent=run,
        client=True,
        start_ns=call.started_at_ns,
        end_ns=call.started_at_ns + _ns(call.duration_ms),
        attributes=attributes,
        failed=failed,
        said=_message(task) if failed and content else None,
    )


def _of_run(wire: Mapping[str, Any]) -> Attributes:
    """What every span of a run has."""
    return {
        "belljar.trace_id": str(wire.get("traceId", "")),
        "belljar.run_id": str(wire.get("traceId", "")),
        "belljar.capability.id": str(wire.get("capabilityId", "")),
        "belljar.capability.hash": str(wire.get("capabilityHash", "")),
    }


def travelled(hop: Hop) -> Attributes:
    """What is known of the way a call took; a call that was answered in this process took none."""
    found: Attributes = {}
    if hop.transport:
        found["network.transport"] = hop.transport
    if hop.transport == "tcp":
        found["network.protocol.name"] = "http"
    if hop.protocol_version:
        found["mcp.protocol.version"] = hop.protocol_version
    if hop.request_id:
        found["jsonrpc.request.id"] = hop.request_id
    if hop.address:
        found["server.address"], found["server.port"] = hop.address, hop.port
    return found


def _error_type(call: CallRecord, hop: Hop) -> str:
    if hop.tool_error:
        return "tool_error"
    if hop.error_code is not None:
        return str(hop.error_code)
    return call.error_code or OTHER


def _run_name(capability_id: str) -> str:
    """Without the four digits of the hash: names of spans are counted, and each edit would be a new one."""
    name, dot, last = capability_id.rpartition(".")
    return f"run {name}" if dot and len(last) == 4 else f"run {capability_id}"


def _message(task: Mapping[str, Any]) -> str | None:
    result = task.get("result")
    return result.get("message") if isinstance(result, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _copy(attributes: Attributes, source: Mapping[str, Any], names: Mapping[str, str]) -> None:
    attributes.update({name: source[key] for key, name in names.items() if source.get(key) not in (None, "")})


def _json(value: Any) -> str:
    """JSON, unless it had to be cut: spans wait in memory by the thousand, and collectors refuse large batches."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= _MAX_CONTENT else text[: _MAX_CONTENT - len(TRUNCATED)] + TRUNCATED


def _ns(milliseconds: Any) -> int:
    return round((milliseconds or 0.0) * 1e6)
