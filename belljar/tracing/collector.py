"""From a finished run to its one trace: a projection of the ledger, and nothing the guest could have written.

The collector observes nothing while a run goes on; it reads the call records when the run is over. So a trace has
every call the host saw - also the denied, the pending and those whose end is unknown - exactly once and in order,
whatever the code caught, and a run costs nothing for being traced until its answer is out.

**The projection is raw and never leaves by itself.** Arguments, results, error messages, conditions and intent are in
it as they were; only what `Outbound.texts` makes of it may be shown, logged or sent, and `masked` is who does both in
one step. Names are foreign text: bounded, with everything unusual escaped. A decision that does not read like one is
dropped. A value the ledger did not keep, or for which there is no room left, is a mark, and its size is written down
under `metadata.truncated` as for any other cut.

The projection is JSON text (`texts`), with the keys of `types`, put together around the texts of arguments and results
as the ledger has them: to parse ten calls and serialize them again takes five times as long as all the rest.

`TraceIds` makes the ids: UUIDv7 of RFC 9562, whose order is the order of creation.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Any

from belljar import show
from belljar._version import __version__
from belljar.errors import Code
from belljar.limits import MIB
from belljar.rpc import jsontext
from belljar.rpc.policy import RESERVED_SERVERS
from belljar.rpc.record import CallRecord
from belljar.tracing.masking.plain import TRUNCATED
from belljar.tracing.texts import Part, TraceTexts, encode_json
from belljar.tracing.types import MAX_DECISIONS, Decision, DecisionsState

__all__ = ["RunFacts", "TraceIds", "collect", "iso"]

# Bytes of values in one trace. In the end it holds 256 KiB, and what is parsed takes up to twenty times its text.
_MAX_VALUES = 4 * MIB
_MAX_ID = 200
_MAX_LINE = 10_000_000
_BOOL = ("false", "true")
_string = encode_json


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What the host knows of a run beside its calls."""

    trace_id: str
    """From `TraceIds`."""
    capability_id: str
    """FQDN."""
    capability_hash: str
    success: bool
    duration_ms: float
    started_at_ns: int
    """Wall clock, nanoseconds since the epoch."""
    error_code: Code | None = None
    error_message: str | None = None
    error_line: int | None = None
    """Guest-reported."""
    parent_trace_id: str | None = None
    workflow_id: str | None = None
    intent: str | None = None
    backend: str = ""
    walls: tuple[str, ...] = ()
    ledger_head: str = ""
    decisions: Sequence[tuple[str, str, str]] = ()
    """(node id, outcome, condition) each; guest-reported."""
    decisions_state: DecisionsState = "guest-reported"
    """`unavailable` if the backend cannot observe branches, `off` if nobody asked for them."""
    otel_trace_id: str | None = None
    otel_span_id: str | None = None
    """The run's span, in hex, if there is one."""


def collect(facts: RunFacts, calls: Sequence[CallRecord]) -> TraceTexts:
    """The trace of a finished run, raw."""
    values = _Values()
    tasks = [_task(i, call, values) for i, call in enumerate(calls)]
    decisions = list(islice(_decisions(facts.decisions), MAX_DECISIONS))
    cut = len(decisions) < len(facts.decisions)
    foreign = {
        "capabilityId": facts.capability_id,
        "workflowId": None if facts.workflow_id is None else show.name(facts.workflow_id, max_chars=_MAX_ID),
        "errorMessage": facts.error_message,
        "intent": facts.intent,
        "decisions": decisions,
    }
    host = {
        "traceId": facts.trace_id,
        "parentTraceId": facts.parent_trace_id,
        "capabilityHash": facts.capability_hash,
        "success": facts.success,
        "errorCode": None if facts.error_code is None else facts.error_code.value,
        "durationMs": _rounded(facts.duration_ms),
        "timestamp": iso(facts.started_at_ns),
    }
    metadata = {
        "backend": facts.backend,
        "walls": facts.walls,
        "sdkVersion": __version__,
        "ledgerHead": facts.ledger_head,
        "mockedShare": _mocked_share(calls),
        "decisions": "truncated" if cut else facts.decisions_state,
        "errorLine": None if facts.error_line is None else _line(facts.error_line),
        "otelTraceId": facts.otel_trace_id,
        "otelSpanId": facts.otel_span_id,
    }
    head = Part(_object(foreign), f",{_object(host)[1:-1]}")
    return TraceTexts(head, tasks, _object(metadata), truncated=values.dropped)


def _object(fields: dict[str, Any]) -> str:
    """What is None is left out."""
    return encode_json({key: value for key, value in fields.items() if value is not None})


def _task(place: int, call: CallRecord, values: _Values) -> Part:
    """One call, around the texts of its arguments and its result."""
    args = values.of(f"/taskResults/{place}/args", call.args_text, call.args_bytes)
    result = _result(place, call, values)
    detail = call.source_detail
    more = "" if detail is None else f',"sourceDetail":{_string(show.name(detail, max_chars=_MAX_ID))}'
    more += f',"grant":{_string(show.text(call.grant, max_chars=_MAX_ID))}' if call.grant else ""
    # A ledger that is closed has none executing; one that is not does not know.
    state = "unknown" if call.state == "executing" else call.state
    code = "" if call.error_code is None else f',"errorCode":{_string(call.error_code)}'
    return Part(
        f'{{"tool":{values.tool(call.server, call.tool)},"args":{args},"result":{result}{more}}}',
        f',"taskId":"t{call.call_id}","success":{_BOOL[state == "applied"]},"state":"{state}"'
        f',"durationMs":{_rounded(call.duration_ms or 0.0)},"timestamp":"{iso(call.started_at_ns)}"'
        f',"layerIndex":{call.layer},"callSite":{_line(call.line)},"iteration":{call.iteration}'
        f',"source":{_string(call.source)},"isWrite":{_BOOL[call.is_write]}'
        f',"isCapabilityCall":{_BOOL[call.server in RESERVED_SERVERS]}{code}',
    )


def _line(reported: int) -> int:
    """No code has as many lines as a number needs digits to mean something."""
    return reported if 0 <= reported < _MAX_LINE else 0


def _result(place: int, call: CallRecord, values: _Values) -> str:
    if call.error_message is not None:
        return encode_json({"code": call.error_code, "message": call.error_message})
    if call.value_text is None and not call.value_bytes:
        return "null"
    return values.of(f"/taskResults/{place}/result", call.value_text, call.value_bytes)


@dataclass(slots=True)
class _Values:
    """Texts that the ledger kept, as long as there is room; notes what is not in the trace."""

    dropped: dict[str, int] = field(default_factory=dict[str, int])
    _room: int = _MAX_VALUES
    _tools: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    def of(self, pointer: str, text: str | None, size: int) -> str:
        if text is None or size > self._room:
            self.dropped[pointer] = size
            return _string(TRUNCATED)
        self._room -= size
        return jsontext.compact(text, max_bytes=_MAX_VALUES)

    def tool(self, server: str, tool: str) -> str:
        shown = self._tools.get((server, tool))
        if shown is None:
            # The colon that divides them must be the first one.
            name = show.name(server).replace(":", "\\x3a")
            shown = self._tools[server, tool] = _string(f"{name}:{show.name(tool)}")
        return shown


def _decisions(reported: Iterable[tuple[str, str, str]]) -> Iterable[dict[str, str]]:
    known = set[tuple[str, str]]()
    for node, outcome, condition in reported:
        if (node, outcome) in known or Decision.known(node, outcome):
            known.add((node, outcome))  # loops take the same way many times
            said = {"nodeId": node, "outcome": outcome}
            yield {**said, "condition": condition} if condition else said


def _mocked_share(calls: Sequence[CallRecord]) -> float:
    return sum(call.source != "real" for call in calls) / len(calls) if calls else 0.0


def _rounded(milliseconds: float) -> float:
    return round(max(milliseconds, 0.0), 3)


def iso(ns: int) -> str:
    """Nanoseconds since the epoch as a trace writes a time."""
    # Whole milliseconds, cut and not rounded: what was in one millisecond stays there.
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest // 1_000_000:03d}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class TraceIds:
    """Makes UUIDv7s, each greater than the one before, also when the clock stands still or goes back.

    RFC 9562 method 1: 48 bits of milliseconds, then a counter of 12 bits, then 62 random bits. The counter begins at a
    random value below half its range; when it overflows, the milliseconds run ahead of the clock by one. Safe to share
    between threads. One per process makes ids monotonic within the process.
    """

    def __init__(
        self, clock_ns: Callable[[], int] = time.time_ns, entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._clock_ns = clock_ns
        self._entropy = entropy
        self._lock = threading.Lock()
        self._ms = -1
        self._counter = 0

    def __call__(self) -> str:
        noise = int.from_bytes(self._entropy(10))
        with self._lock:
            ms, counter = self._advance(noise >> 64 & 0x7FF)
        number = ms << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | noise & (1 << 62) - 1
        text = f"{number:032x}"
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

    def _advance(self, fresh: int) -> tuple[int, int]:
        now = self._clock_ns() // 1_000_000
        if now > self._ms:
            self._ms, self._counter = now, fresh
        elif self._counter < 0xFFF:
            self._counter += 1
        else:
            self._ms, self._counter = self._ms + 1, fresh
        return self._ms, self._counter
