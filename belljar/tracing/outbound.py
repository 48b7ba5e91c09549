"""The one way out. Whatever leaves the machine - trace, span, prompt, log line, published code - passes through here.

One object, no other door: who sends something has been handed an `Outbound`, and what comes out of it is sanitized, by
pass 1 alone in a run's process, by both where it is sent. It counts what it masked, by kind, so that somebody can see
that it works.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from belljar.tracing.sanitizer import SanitizedValue, Sanitizer
from belljar.tracing.texts import TraceTexts

if TYPE_CHECKING:
    from belljar.tracing.second_pass import SecondPass

__all__ = ["Outbound"]

# Pass 1 looks again at what pass 2 changed, and the other way round, until nothing changes; two rounds do it.
_ROUNDS = 4


class Outbound:
    """Sanitizes everything that is about to leave; with a `second` pass where there is time for it."""

    def __init__(self, sanitizer: Sanitizer, second: SecondPass | None = None) -> None:
        self._sanitizer = sanitizer
        self._second = second
        self._masked = Counter[str]()
        self._passed = Counter[str]()

    @property
    def masked(self) -> Mapping[str, int]:
        """How much was masked since the start, by kind; ERROR counts what was masked because masking failed."""
        return dict(self._masked)

    @property
    def passed(self) -> Mapping[str, int]:
        """How many traces, texts and values went through."""
        return dict(self._passed)

    def trace(self, wire: dict[str, Any]) -> dict[str, Any]:
        """A trace's wire form as it may leave."""
        out = self._trace(wire)
        metadata = cast("dict[str, Any]", wire.get("metadata") or {})
        before = cast("dict[str, int]", metadata.get("redactions") or {})
        self._count("trace", Counter[str](out["metadata"]["redactions"]) - Counter[str](before))
        return out

    def texts(self, raw: TraceTexts) -> TraceTexts:
        """A trace in parts as it may be shown and spooled: pass 1 alone, which is all that a run's process has.

        Raises:
            ValueError: it could not be looked at.
        """
        out = self._sanitizer.texts(raw)
        self._count("trace", out.redactions)
        return out

    def value(self, value: Any) -> Any:
        """Any value, as JSON that may leave."""
        return self.sanitized(value).value

    def sanitized(self, value: Any) -> SanitizedValue:
        """Any value, with what was done to it."""
        out = self._value(value)
        self._count("value", out.redactions)
        return out

    def text(self, text: str) -> str:
        """A text as it may leave."""
        out = self._value(text)
        self._count("text", out.redactions)
        return str(out.value)

    def _trace(self, wire: dict[str, Any]) -> dict[str, Any]:
        out = self._sanitizer.trace(wire)
        if self._second is None:
            return out
        for _ in range(_ROUNDS):
            more = self._second.trace(out)
            if more is out:
                break
            out = self._sanitizer.trace(more)
        return out

    def _value(self, value: Any) -> SanitizedValue:
        out = self._sanitizer.value(value)
        if self._second is None:
            return out
        for _ in range(_ROUNDS):
            more = self._second.value(out.value)
            if not more.redactions:
                break
            out = _joined(out, more)
            out = _joined(out, self._sanitizer.value(out.value))
        return out

    def _count(self, what: str, redactions: Mapping[str, int]) -> None:
        self._passed[what] += 1
        self._masked.update(redactions)


def _joined(one: SanitizedValue, other: SanitizedValue) -> SanitizedValue:
    redactions = dict(Counter[str](one.redactions) + Counter[str](other.redactions))
    return SanitizedValue(other.value, redactions, other.truncated | one.truncated)
