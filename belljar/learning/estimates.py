"""How likely a run is to succeed, from counts; and how much of a surprise its outcome was.

Evidence is a pair of decayed counts for everything a run consists of: each tool it called, each beginning of its path,
the capability itself. A count loses `DECAY` with each further observation of the same thing, so that an estimate is one
of the last fifty or so, and a server that broke yesterday is not thought well of for a year. With Beta(1, 1) before any
evidence the estimate of what nobody has seen is 0.5.

One key moves what others have seen by a fifth at most: whoever owns a key of a tenant cannot talk a tool up or down.
Where nobody else has seen a thing, there is nobody to protect, and the key's own evidence counts in full.

TD error and priority: Sutton & Barto 2018, section 6.1; Schaul et al. 2016, section 3.3.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

__all__ = [
    "DECAY",
    "LEAST_PRIORITY",
    "MAX_PATH",
    "NOTHING",
    "UNKNOWN",
    "Evidence",
    "estimate",
    "foreseen",
    "interval",
    "prefixes",
    "priority_of",
    "td_error",
]

DECAY = 0.98
"""Of a count, with each observation after it: half of it is left after 34."""
MAX_PATH = 8
"""Calls of a run that count as its path."""
UNKNOWN = 0.5
LEAST_PRIORITY = 0.01
"""What was foreseen exactly is still looked at now and then."""
_PRIOR = 2.0
"""Beta(1, 1): two observations, one of each."""
_ONE_KEY = 0.2
_STEP = 0.5
"""A later call says more about the end: call i weighs 1 + 0.5 i."""


class Evidence(NamedTuple):
    """What is known of one thing: decayed counts of runs that succeeded and that failed."""

    successes: float = 0.0
    failures: float = 0.0

    @property
    def n(self) -> float:
        """How much it is."""
        return self.successes + self.failures

    def then(self, success: bool) -> Evidence:
        """With one more observation."""
        return Evidence(self.successes * DECAY + success, self.failures * DECAY + (not success))

    def mean(self, prior: float = UNKNOWN) -> float:
        """Estimated success, in (0, 1), drawn towards `prior` where there is little evidence."""
        return (self.successes + _PRIOR * prior) / (self.n + _PRIOR)


NOTHING = Evidence()
"""What is known of what nobody has seen."""


def estimate(by_key: Collection[Evidence], prior: float = UNKNOWN) -> float:
    """Estimated success of one thing, from what each key has seen of it; in (0, 1).

    No key moves what the others say by more than a fifth. Where that cannot be - two keys that are further apart - it
    is the middle between what they say, and neither gets its way.
    """
    if len(by_key) < 2:
        return next(iter(by_key), NOTHING).mean(prior)
    seen = [evidence for evidence in by_key if evidence.n > 0]
    total = Evidence(sum(each.successes for each in seen), sum(each.failures for each in seen))
    if len(seen) < 2:
        return total.mean(prior)
    without = [Evidence(total.successes - e.successes, total.failures - e.failures).mean(prior) for e in seen]
    low, high = max(without) - _ONE_KEY, min(without) + _ONE_KEY
    return min(high, max(low, total.mean(prior))) if low <= high else (low + high) / 2


def prefixes(path: Sequence[str]) -> list[tuple[str, ...]]:
    """Every beginning of a path, the shortest first; of its first MAX_PATH calls."""
    return list(accumulate(((tool,) for tool in path[:MAX_PATH]), lambda before, tool: before + tool))


def foreseen(
    steps: Iterable[tuple[Collection[Evidence], Collection[Evidence]]], capability: Collection[Evidence] = ()
) -> float:
    """Predicted success of a run along a path, in (0, 1).

    The mean over its beginnings, call i weighing 1 + 0.5 i. What is known of a beginning is drawn towards what is known
    of its last tool, and that towards 0.5. A run without calls is judged by its capability alone.

    Args:
        steps: of each of the path's `prefixes`: what each key has seen of it, and of its last tool.
        capability: what each key has seen of the capability.
    """
    total = weights = 0.0
    for i, (prefix, tool) in enumerate(steps):
        weight = 1.0 + _STEP * i
        total += weight * estimate(prefix, estimate(tool))
        weights += weight
    return total / weights if weights else estimate(capability)


def td_error(success: bool, predicted: float) -> float:
    """Outcome - predicted, in [-1, 1]: negative where it went worse than was foreseen."""
    return float(success) - predicted


def priority_of(error: float) -> float:
    """How much there is to learn from it: |error|, in [LEAST_PRIORITY, 1]. Failures teach as much as successes."""
    return min(1.0, max(LEAST_PRIORITY, abs(error)))


def interval(evidence: Evidence, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of the success rate, 95 % unless `z` says otherwise; (0, 1) without evidence.

    Wilson 1927; its width is right also for few observations and for rates near 0 and 1.
    """
    if evidence.n <= 0:
        return 0.0, 1.0
    n, rate = evidence.n, evidence.successes / evidence.n
    centre = rate + z * z / (2 * n)
    spread = z * ((rate * (1 - rate) + z * z / (4 * n)) / n) ** 0.5
    scale = 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
