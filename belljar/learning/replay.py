"""Prioritized experience replay over every trace of a tenant.

A trace is drawn with P(i) = p_i^alpha / sum p^alpha; because it is drawn more often than it happened, whoever learns
from it weighs it by (N P(i))^-beta, divided by the largest weight so that weights only shrink a step. beta goes from
0.4 to 1 while learning goes on. A batch takes one draw from each of n equal parts of the total, which spreads it.
Schaul et al. 2016, section 3 and appendix B.

Traces are known by the row that holds them. Rows only grow, so the leaf of a row is found by bisection in a sorted
array: 8 bytes a trace where a dict takes a hundred. A row that was removed keeps its leaf, with weight 0, until the
tree is rebuilt from the store.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from belljar.learning.estimates import LEAST_PRIORITY
from belljar.learning.sumtree import Floats, Ints, SumTree

__all__ = ["PrioritizedReplay", "Sample", "beta_at"]

_ALPHA = 0.6
_BETA = 0.4
_FIRST = 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """A batch of draws, all of shape (batch,)."""

    rows: Ints
    probabilities: Floats
    weights: Floats
    """Importance weights, in (0, 1]."""


def beta_at(step: int, steps: int, beta: float = _BETA) -> float:
    """beta of a step of so many: from `beta` to 1, in a straight line."""
    return min(1.0, beta + (1.0 - beta) * step / max(1, steps))


class PrioritizedReplay:
    """Rows and their priorities; draws rows. About 24 bytes a row. Not safe between threads."""

    def __init__(self, *, alpha: float = _ALPHA) -> None:
        """`alpha`: 0 draws uniformly, 1 in proportion to priority."""
        self.alpha = alpha
        self._tree = SumTree(_FIRST)
        self._rows: Ints = np.empty(_FIRST, dtype=np.int64)
        self._used = 0
        self._removed = 0

    def __len__(self) -> int:
        return self._used - self._removed

    @property
    def last_row(self) -> int:
        """The newest row that was added; 0 if there is none."""
        return int(self._rows[self._used - 1]) if self._used else 0

    @property
    def rows(self) -> Ints:
        """All rows that can be drawn, ascending; int64, shape (len(self),)."""
        here = self._tree.get(np.arange(self._used)) > 0
        return self._rows[: self._used][here]

    def newer_than(self, row: int) -> int:
        """How many there are above this row; takes as long as there are many."""
        first = int(np.searchsorted(self._rows[: self._used], row, side="right"))
        return int(np.count_nonzero(self._tree.get(np.arange(first, self._used))))

    def priorities(self, rows: Ints) -> Floats:
        """Of these rows, all of which must be here; shape (len(rows),)."""
        leaves, _ = self._leaves(rows)
        return self._tree.get(leaves) ** (1 / self.alpha) if self.alpha else np.ones(len(leaves))

    def add(self, rows: Ints, priorities: Floats) -> None:
        """Add rows, each newer than all before it; both of shape (batch,).

        Raises:
            ValueError: a row is not newer, or a priority is outside [0, 1].
        """
        if not len(rows):
            return
        if int(rows[0]) <= self.last_row or np.any(np.diff(rows) <= 0):
            raise ValueError("rows are added in ascending order, each once")
        weights = self._weights(priorities)
        self._make_room(self._used + len(rows))
        leaves = np.arange(self._used, self._used + len(rows))
        self._rows[leaves] = rows
        self._tree.set(leaves, weights)
        self._used += len(rows)

    def update(self, rows: Ints, priorities: Floats) -> None:
        """New priorities of these rows; rows that are not (any more) here are passed over. Both of shape (batch,)."""
        leaves, here = self._leaves(rows)
        weights = self._weights(priorities)[here]
        kept = self._tree.get(leaves) > 0
        self._tree.set(leaves[kept], weights[kept])

    def remove(self, rows: Ints) -> None:
        """Draw these rows no more; shape (batch,)."""
        leaves, _ = self._leaves(np.unique(rows))
        gone = leaves[self._tree.get(leaves) > 0]
        self._tree.set(gone, np.zeros(len(gone)))
        self._removed += len(gone)

    def sample(self, size: int, rng: np.random.Generator, *, beta: float = _BETA) -> Sample:
        """Draw `size` rows; a row may come more than once.

        Raises:
            ValueError: there is none.
        """
        total = self._tree.total
        points = (np.arange(size) + rng.random(size)) * (total / size)
        leaves = self._tree.draw(points)
        probabilities = self._tree.get(leaves) / total
        weights = (len(self) * probabilities) ** -beta
        return Sample(self._rows[leaves], probabilities, weights / weights.max())

    # ----

    def _weights(self, priorities: Floats) -> Floats:
        if not np.all((priorities >= 0) & (priorities <= 1)):
            raise ValueError("priorities are 0 to 1")
        return np.maximum(priorities, LEAST_PRIORITY) ** self.alpha

    def _leaves(self, rows: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """Leaves of those rows that are here, and which those are."""
        known = self._rows[: self._used]
        at = np.searchsorted(known, rows)
        here = at < self._used
        here[here] = known[at[here]] == rows[here]
        return at[here], here

    def _make_room(self, wanted: int) -> None:
        if wanted <= self._tree.capacity:
            return
        self._tree = self._tree.grown(wanted)
        rows = np.empty(self._tree.capacity, dtype=np.int64)
        rows[: self._used] = self._rows[: self._used]
        self._rows = rows
