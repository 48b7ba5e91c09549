"""From a finished run to its one trace: a projection of the ledger, and nothing the guest could have written.

The collector observes nothing while a run goes on; it reads the call records when the run is over. So a trace has
every call the host saw - also the denied, the pending and those whose end is unknown - exactly once and in order,
whatever the code caught, and a run costs nothing for being traced until its answer is out.

**The projection is raw and never leaves by itself.** Arguments, results, error messages, conditions and intent are in
it as they were; only `Outbound.trace(trace.to_wire())` may be shown, logged or sent, and `masked` is who does both in
one step. Names are foreign text: bounded, with everything unusual escaped. A decision that does not read like one is
dropped. A value the ledger did not keep, or for which there is no room left, is a mark, and its size is written down
under `metadata.truncated` as for any other cut.

`TraceIds` makes the ids: UUIDv7 of RFC 9562, whose order is the order of creation.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from belljar import show
from belljar._version import __version__
from belljar.errors import Code
from belljar.limits import MIB
from belljar.rpc import jsontext
from belljar.rpc.policy import RESERVED_SERVERS
from belljar.rpc.record import CallRecord
from belljar.rpc.world import JsonValue
from belljar.tracing.masking.plain import TRUNCATED
from belljar.tracing.types import MAX_DECISIONS, Decision, DecisionsState, TaskResult, Trace, TraceMetadata

__all__ = ["RunFacts", "TraceIds", "collect", "iso"]

# JSON text parsed for one trace. A trace holds 256 KiB in the end, and objects take up to twenty times their text.
_MAX_PARSED = 4 * MIB
_MAX_ID = 200


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


def collect(facts: RunFacts, calls: Sequence[CallRecord]) -> Trace:
    """The trace of a finished run, raw."""
    values = _Values()
    tasks = [_task(i, call, values) for i, call in enumerate(calls)]
    decisions = list(islice(_decisions(facts.decisions), MAX_DECISIONS))
    cut = len(decisions) < len(facts.decisions)
    return Trace(
        trace_id=facts.trace_id,
        parent_trace_id=facts.parent_trace_id,
        workflow_id=None if facts.workflow_id is None else show.name(facts.workflow_id, max_chars=_MAX_ID),
        capability_id=facts.capability_id,
        capability_hash=facts.capability_hash,
        success=facts.success,
        error_message=facts.error_message,
        error_code=None if facts.error_code is None else facts.error_code.value,
        duration_ms=_rounded(facts.duration_ms),
        timestamp=iso(facts.started_at_ns),
        intent=facts.intent,
        task_results=tasks,
        decisions=decisions,
        metadata=TraceMetadata(
            backend=facts.backend,
            walls=list(facts.walls),
            sdk_version=__version__,
            ledger_head=facts.ledger_head,
            truncated=values.dropped,
            mocked_share=_mocked_share(calls),
            decisions="truncated" if cut else facts.decisions_state,
            error_line=facts.error_line,
            otel_trace_id=facts.otel_trace_id,
            otel_span_id=facts.otel_span_id,
        ),
    )


def _task(place: int, call: CallRecord, values: _Values) -> TaskResult:
    return TaskResult(
        task_id=f"t{call.call_id}",
        tool=_tool(call.server, call.tool),
        args=values.of(f"/taskResults/{place}/args", call.args_text, call.args_bytes),
        result=_result(place, call, values),
        success=call.state == "applied",
        # A ledger that is closed has none executing; one that is not does not know.
        state="unknown" if call.state == "executing" else call.state,
        duration_ms=_rounded(call.duration_ms or 0.0),
        timestamp=iso(call.started_at_ns),
        layer_index=call.layer,
        call_site=call.line,
        iteration=call.iteration,
        source=call.source,
        source_detail=None if call.source_detail is None else show.name(call.source_detail, max_chars=_MAX_ID),
        is_write=call.is_write,
        is_capability_call=call.server in RESERVED_SERVERS,
        error_code=call.error_code,
    )


def _tool(server: str, tool: str) -> str:
    # The colon that divides them must be the first one.
    shown = show.name(server).replace(":", "\\x3a")
    return f"{shown}:{show.name(tool)}"


def _result(place: int, call: CallRecord, values: _Values) -> Any:
    if call.error_message is not None:
        return {"code": call.error_code, "message": call.error_message}
    if call.value_text is None and not call.value_bytes:
        return None
    return values.of(f"/taskResults/{place}/result", call.value_text, call.value_bytes)


@dataclass(slots=True)
class _Values:
    """Parses what the ledger kept as text, as long as there is room; notes what is not in the trace."""

    dropped: dict[str, int] = field(default_factory=dict[str, int])
    _room: int = _MAX_PARSED

    def of(self, pointer: str, text: str | None, size: int) -> JsonValue:
        if text is None or size > self._room:
            self.dropped[pointer] = size
            return TRUNCATED
        self._room -= size
        return jsontext.parse(text, max_bytes=_MAX_PARSED)


def _decisions(reported: Iterable[tuple[str, str, str]]) -> Iterable[Decision]:
    for node, outcome, condition in reported:
        if Decision.known(node, outcome):
            yield Decision(node_id=node, outcome=outcome, condition=condition or None)


def _mocked_share(calls: Sequence[CallRecord]) -> float:
    return sum(call.source != "real" for call in calls) / len(calls) if calls else 0.0


def _rounded(milliseconds: float) -> float:
    return round(max(milliseconds, 0.0), 3)


def iso(ns: int) -> str:
    """Nanoseconds since the epoch as a trace writes a time."""
    # Whole milliseconds, cut and not rounded: what was in one millisecond stays there.
    moment = datetime.fromtimestamp(ns // 1_000_000 / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


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
