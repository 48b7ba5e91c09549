"""A reference: what was done for similar intents from the same beginning on; the more similar, the more it counts.

It keeps every run and looks at each of them for each question, which no server could afford; so it decides nothing, and
nothing is ever used in its place. It tells what a model's lead is made of. Where this does as well, all there was to
learn is that past intents tell what is wanted; where a model does better, it has found what no run had shown it whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from belljar.learning.embedding import Embedder, Floats, embed
from belljar.learning.estimates import MAX_PATH
from belljar.learning.runs import Run

__all__ = ["Nearest"]

# An intent half as similar as can be counts e^-4 of one that is the same.
_SHARPNESS = 8.0
# Seen so much from the same beginning, what came after the last call alone no longer counts for much.
_BACK_OFF = 0.1
_PRIOR = 2.0

_Seen = Sequence[tuple[int, str]]
"""(run, what it did)."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """See the head of this module."""

    intents: Floats
    """Of the runs that succeeded, shape (runs, dimensions)."""
    ran: _Seen
    after_path: Mapping[tuple[str, ...], _Seen]
    after_last: Mapping[str, _Seen]
    outcomes: Mapping[tuple[str, ...], tuple[int, int]]
    """Path -> how many runs succeeded, of how many."""
    rate: float
    embedder: Embedder = embed
    name: str = "nearest"
    _weights: dict[str, Floats] = field(default_factory=dict[str, Floats])

    @classmethod
    def fit(cls, runs: Sequence[Run], texts: Mapping[str, str], *, embedder: Embedder = embed) -> Nearest:
        """From those that succeeded; outcomes from all."""
        after_path = defaultdict[tuple[str, ...], list[tuple[int, str]]](list)
        after_last = defaultdict[str, list[tuple[int, str]]](list)
        outcomes = defaultdict[tuple[str, ...], tuple[int, int]](lambda: (0, 0))
        for run in runs:
            good, n = outcomes[run.path]
            outcomes[run.path] = good + run.success, n + 1
        succeeded = [run for run in runs if run.success]
        for number, run in enumerate(succeeded):
            for i, tool in enumerate(run.path[:MAX_PATH]):
                after_path[run.path[:i]].append((number, tool))
                after_last[_last(run.path[:i])].append((number, tool))
        ran = [(number, run.capability) for number, run in enumerate(succeeded)]
        rate = (len(succeeded) + 1) / (len(runs) + 2)
        intents = embedder([run.intent for run in succeeded])
        return cls(intents, ran, dict(after_path), dict(after_last), dict(outcomes), rate, embedder)

    def capabilities(self, intent: str) -> Mapping[str, float]:
        return self._weighed(intent, self.ran)

    def tools(self, intent: str, context: Sequence[str]) -> Mapping[str, float]:
        from_here = self._weighed(intent, self.after_path.get(tuple(context), ()))
        from_last = self._weighed(intent, self.after_last.get(_last(context), ()))
        seen = sum(from_here.values())
        trusted = seen / (seen + _BACK_OFF)
        scores = defaultdict[str, float](float)
        for share, some in ((trusted, from_here), (1 - trusted, from_last)):
            for tool, weight in some.items():
                scores[tool] += share * weight / sum(some.values())
        return scores

    def chance(self, run: Run) -> float:
        good, n = self.outcomes.get(run.path, (0, 0))
        return (good + _PRIOR * self.rate) / (n + _PRIOR)

    def _weighed(self, intent: str, some: _Seen) -> dict[str, float]:
        if intent not in self._weights:
            likeness = self.intents @ self.embedder([intent])[0] if len(self.intents) else np.zeros(0, np.float32)
            self._weights[intent] = np.exp(_SHARPNESS * (likeness - 1)).astype(np.float32)
        weights, found = self._weights[intent], defaultdict[str, float](float)
        for number, what in some:
            found[what] += float(weights[number])
        return found


def _last(path: Sequence[str]) -> str:
    return path[-1] if path else ""
