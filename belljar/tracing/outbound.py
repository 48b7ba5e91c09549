"""The one way out. Whatever leaves the machine - trace, span, prompt, log line, published code - passes through here.

One object, one sanitizer, no other door: who sends something has been handed an `Outbound`, and what comes out of it is
sanitized. It counts what it masked, by kind, so that somebody can see that it works.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

from belljar.tracing.sanitizer import Sanitizer

__all__ = ["Outbound"]


class Outbound:
    """Sanitizes everything that is about to leave."""

    def __init__(self, sanitizer: Sanitizer) -> None:
        self._sanitizer = sanitizer
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
        out = self._sanitizer.trace(wire)
        metadata = cast("dict[str, Any]", wire.get("metadata") or {})
        before = cast("dict[str, int]", metadata.get("redactions") or {})
        self._count("trace", Counter[str](out["metadata"]["redactions"]) - Counter[str](before))
        return out

    def value(self, value: Any) -> Any:
        """Any value, as JSON that may leave."""
        out = self._sanitizer.value(value)
        self._count("value", out.redactions)
        return out.value

    def text(self, text: str) -> str:
        """A text as it may leave."""
        out = self._sanitizer.value(text)
        self._count("text", out.redactions)
        return str(out.value)

    def _count(self, what: str, redactions: Mapping[str, int]) -> None:
        self._passed[what] += 1
        self._masked.update(redactions)
