"""A trace as JSON text, in the parts that are looked at one by one, and as the one text that may leave.

Arguments and results are JSON text when they cross the border, in the ledger, in the spool and on the wire. So a trace
is text, too: its parts are put together around those texts and never parsed, unless something in them has to be masked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MaskedTrace", "TraceTexts", "encode"]

encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
"""Compact JSON. Raises ValueError for NaN and cycles, TypeError for what is no JSON; lone surrogates pass."""


@dataclass(frozen=True, slots=True)
class TraceTexts:
    """A trace in parts; each is the compact JSON text of an object with something in it."""

    head: str
    """All but the calls and the metadata."""
    metadata: str
    """All but what is noted below."""
    tasks: Sequence[str]
    """The calls."""
    redactions: Mapping[str, int] = field(default_factory=dict[str, int])
    truncated: Mapping[str, int] = field(default_factory=dict[str, int])

    def joined(self) -> str:
        """The wire form."""
        tasks, redactions, truncated = ",".join(self.tasks), encode(self.redactions), encode(self.truncated)
        metadata = f'{self.metadata[:-1]},"redactions":{redactions},"truncated":{truncated}}}'
        return f'{self.head[:-1]},"taskResults":[{tasks}],"metadata":{metadata}}}'


@dataclass(frozen=True, slots=True)
class MaskedTrace:
    """One trace that may be seen: made by `masked`, and by nothing else."""

    trace_id: str
    parent_id: str | None
    text: str
    """Its wire form, compact JSON that is UTF-8."""

    def wire(self) -> dict[str, Any]:
        """Its wire form, parsed."""
        return json.loads(self.text)
