"""From a finished run to the trace that may be seen: collected and masked in one step, nobody holds the raw one.

What masks has to be built once (a quarter of a second with its imports, most of it Python's), and no run waits for
that: a jar whose traces are looked at has it `built` in a thread while its first box starts, any other builds it when
the first trace is asked for. The trace of a run is made when somebody wants it, in the thread of whoever does.

It fails closed. If building, collecting or masking raises, what is left of a trace is what the host made: its id, its
outcome, its time, and an ERROR among the redactions. A build that failed is tried again with the next trace.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from belljar.rpc.record import CallRecord
from belljar.tracing.collector import RunFacts, collect, iso
from belljar.tracing.texts import MaskedTrace, encode

if TYPE_CHECKING:
    from belljar.tracing.outbound import Outbound

__all__ = ["MaskedTraces"]


class MaskedTraces:
    """Makes traces that may leave. One per jar; safe to share between threads.

    `known` are the secrets that this process loaded: of its servers, and its own key. With a `pseudonym_key`, equal
    personal values get equal placeholders.
    """

    def __init__(self, known: Iterable[str] = (), pseudonym_key: bytes | None = None) -> None:
        self._known = frozenset(known)
        self._pseudonym_key = pseudonym_key
        self._lock = threading.Lock()
        self._outbound: Outbound | None = None

    def built(self) -> Outbound:
        """The way out; built if it is not there yet, once, however many threads ask."""
        with self._lock:
            if self._outbound is None:
                self._outbound = _outbound(self._known, self._pseudonym_key)
            return self._outbound

    @property
    def is_built(self) -> bool:
        """Whether a trace that is asked for now need not wait for that."""
        return self._outbound is not None

    def prepare(self) -> None:
        """Build it ahead of time. What goes wrong is said by the traces that are asked for then."""
        try:
            self.built()
        except Exception:  # noqa: BLE001 - nobody has asked for anything yet
            return

    def may_leave(self, text: str) -> bool:
        """Whether a text passes the way out as it is; what is sent and is no trace."""
        return self.built().text(text) == text

    def __call__(self, facts: RunFacts, calls: Sequence[CallRecord]) -> MaskedTrace:
        """A run's trace, masked. Never raises, and never gives a raw value."""
        try:
            text = self.built().texts(collect(facts, calls)).joined()
        except Exception:  # noqa: BLE001 - fail closed: without the values, but with the fact that there was a run
            text = encode(_without_values(facts))
        return MaskedTrace(facts.trace_id, facts.parent_trace_id, text)


def _outbound(known: Iterable[str], pseudonym_key: bytes | None) -> Outbound:
    from belljar.tracing.outbound import Outbound
    from belljar.tracing.sanitizer import Sanitizer

    return Outbound(Sanitizer(known=known, pseudonym_key=pseudonym_key))


def _without_values(facts: RunFacts) -> dict[str, Any]:
    parent = {} if facts.parent_trace_id is None else {"parentTraceId": facts.parent_trace_id}
    return {
        "traceId": facts.trace_id,
        **parent,
        "capabilityId": "[REDACTED]",
        "capabilityHash": facts.capability_hash,
        "success": facts.success,
        "durationMs": round(max(facts.duration_ms, 0.0), 3),
        "timestamp": iso(facts.started_at_ns),
        "taskResults": [],
        "decisions": [],
        "metadata": {"redactions": {"ERROR": 1}, "truncated": {"": 0}, "walls": list(facts.walls)},
    }
