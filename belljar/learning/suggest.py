"""What to run next, from what is known: candidates with their evidence in, a ranking out.

Capabilities are ranked by how well they fit the words of an intent, times how likely they are to succeed. Tools are
ranked by how often they came next - after the very calls made so far where that was seen, after the last call alone
where not - times how likely the run is to succeed then. What fits nothing, or was never tried, is not suggested: an
empty answer that says so is worth more than a guess.

`shortest` finds the path of calls most likely to succeed that ends in a goal: the shortest one when each step costs
-log of its chance. Dijkstra 1959; Gallo et al. 1993 for hypergraphs, of which a tree of paths is the simplest.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from belljar.learning.embedding import Embedder, embed

__all__ = ["MAX_CANDIDATES", "Candidate", "Next", "Ranked", "by_score", "next_tools", "rank", "shortest", "wording"]

MAX_CANDIDATES = 1000
"""Capabilities whose words are compared with an intent: the most used ones."""

# Of unit vectors: below it two texts have little more in common than any two have.
_LEAST_FIT = 0.18
# Seen so often after the whole path, what came after the last call alone no longer counts for much.
_BACK_OFF = 2.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A capability that could be suggested."""

    name: str
    text: str
    """What is known of what it is for: its name, its description, what it was last run for."""
    chance: float
    """Estimated success, in (0, 1)."""


@dataclass(frozen=True, slots=True)
class Next:
    """A tool that came next."""

    tool: str
    n: int
    chance: float


@dataclass(frozen=True, slots=True)
class Ranked:
    """A suggestion and its score, in (0, 1]."""

    name: str
    score: float


def wording(name: str, description: str = "", intent: str = "") -> str:
    """What is known of what a capability is for: its name, how it was described, what it was last run for."""
    return f"{name} {description} {intent}"


def rank(candidates: Sequence[Candidate], intent: str, *, embedder: Embedder = embed) -> list[Ranked]:
    """Candidates that fit the intent, the best first; without an intent all fit alike."""
    if not intent.strip():
        return by_score(Ranked(each.name, each.chance) for each in candidates)
    vectors = embedder([intent, *(each.text for each in candidates)])
    fits = vectors[1:] @ vectors[0]
    found = zip(candidates, map(float, fits), strict=True)
    return by_score(Ranked(each.name, fit * each.chance) for each, fit in found if fit >= _LEAST_FIT)


def next_tools(after_path: Sequence[Next], after_last: Sequence[Next]) -> list[Ranked]:
    """Tools that came next, the best first.

    Args:
        after_path: what came after the very calls made so far.
        after_last: what came after the last of them, whatever was before it.
    """
    exact = sum(each.n for each in after_path)
    trusted = exact / (exact + _BACK_OFF)
    scores = dict[str, float]()
    for share, some in ((trusted, after_path), (1 - trusted, after_last)):
        total = sum(each.n for each in some)
        for each in some:
            scores[each.tool] = scores.get(each.tool, 0.0) + share * each.n / total * each.chance
    return by_score(Ranked(tool, score) for tool, score in scores.items() if score > 0)


def shortest(after: Callable[[tuple[str, ...]], Iterable[Next]], goal: str, *, most: int = 2000) -> list[Next]:
    """The calls most likely to end well that lead to `goal`, itself the last; empty if nothing known leads there.

    Args:
        after: what came after these calls.
        most: beginnings that are looked at.
    """
    queue: list[tuple[float, tuple[str, ...], list[Next]]] = [(0.0, (), [])]
    for _ in range(most):
        if not queue:
            break
        cost, path, steps = heapq.heappop(queue)
        if path and path[-1] == goal:
            return steps
        for step in after(path):
            heapq.heappush(queue, (cost - math.log(step.chance), (*path, step.tool), [*steps, step]))
    return []


def by_score(found: Iterable[Ranked]) -> list[Ranked]:
    """The best first; of equals by name."""
    return sorted(found, key=lambda each: (-each.score, each.name))
