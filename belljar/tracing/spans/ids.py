"""Ids of spans, and W3C Trace Context: https://www.w3.org/TR/trace-context-2/. Pure; no OpenTelemetry is imported."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

__all__ = ["RANDOM", "SAMPLED", "SpanRef", "new_span_id", "parse_traceparent", "trace_id_of"]

SAMPLED = 0x01
RANDOM = 0x02
"""Whoever made the trace id says that its last 56 bits are random; passed on, never claimed."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_MAX_CHARS = 256


@dataclass(frozen=True, slots=True)
class SpanRef:
    """A span by its ids."""

    trace_id: int
    span_id: int
    flags: int = SAMPLED
    remote: bool = False
    """It is another process's."""

    @property
    def sampled(self) -> bool:
        return bool(self.flags & SAMPLED)

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.flags:02x}"


def parse_traceparent(text: str | None, *, remote: bool = True) -> SpanRef | None:
    """The span a `traceparent` names; None if it is none."""
    found = _TRACEPARENT.fullmatch(text) if text and len(text) <= _MAX_CHARS else None
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
        return None
    trace_id, span_id = int(found[2], 16), int(found[3], 16)
    if not trace_id or not span_id:
        return None
    return SpanRef(trace_id, span_id, int(found[4], 16) & (SAMPLED | RANDOM), remote)


def new_span_id() -> str:
    """64 random bits in hex. Some digits are letters: sixteen that are none may read as a card's number."""
    found = os.urandom(8).hex()
    while found.isdigit():
        found = os.urandom(8).hex()
    return found


def trace_id_of(run_id: str) -> int:
    """A run's id, a UUID, as a trace id: the same 128 bits."""
    return int(run_id.replace("-", ""), 16)
