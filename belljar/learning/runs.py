"""A run as the learner sees it: what was wanted, what ran, which tools it called, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from belljar.errors import Code

__all__ = ["NO_WORD", "Run", "Scorer"]

NO_WORD = (Code.APPROVAL_REQUIRED.value, Code.INTERRUPTED.value)
"""Errors by which a run ends that say nothing of the code, its tools or the world: it was people's to go on."""


@dataclass(frozen=True, slots=True)
class Run:
    """One real run."""

    row: int
    """Grows with arrival; what replay knows it by."""
    capability: str
    """FQDN without its hash."""
    intent: str
    """What it was for, in words; empty if nobody said."""
    path: tuple[str, ...]
    """Tools it called, in order, as `server:tool`; `capability:NAME` is a run inside it."""
    success: bool
    priority: float = 0.5
    """0 to 1."""
    foreseen: float = 0.5
    """What had been predicted when it arrived, 0 to 1."""


class Scorer(Protocol):
    """Something that was fitted to runs, and can be held against others of its kind."""

    @property
    def name(self) -> str: ...

    def capabilities(self, intent: str) -> Mapping[str, float]:
        """Scores of the capabilities it knows for an intent; the highest is the best."""
        ...

    def tools(self, intent: str, context: Sequence[str]) -> Mapping[str, float]:
        """Scores of the tools it knows, as the next after those of `context`; the highest is the best."""
        ...

    def chance(self, run: Run) -> float:
        """How likely a run like this is to succeed, 0 to 1. Looks at neither its outcome nor its `foreseen`."""
        ...
