"""Sum tree for proportional prioritized replay.

Pure NumPy; no knowledge of traces. `replay.py` puts transitions on top. A binary tree in one array, its leaves the
second half: update and draw are O(log n), and a whole batch takes its steps down or up the tree together. Parents are
computed anew from their children, never adjusted by a difference, so that no error piles up over millions of updates.
float64, and draws are kept below the total, so that one near it never rounds past the last filled leaf. Schaul et al.
2016.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["SumTree"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Below it, computing a parent twice is cheaper than finding out that it is the same one.
_MANY = 512


class SumTree:
    """Leaves with a weight each; draws one in proportion to its weight.

    Holds 16 bytes a leaf. `capacity` is rounded up to a power of two.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = 1 << max(0, capacity - 1).bit_length()
        self._nodes = np.zeros(2 * self.capacity)

    @property
    def total(self) -> float:
        """Sum of all weights."""
        return float(self._nodes[1])

    def get(self, leaves: Ints) -> Floats:
        """Weights of these leaves; float64, shape (batch,)."""
        return self._nodes[self.capacity + leaves]

    def set(self, leaves: Ints, weights: Floats) -> None:
        """Give these leaves these weights, both of shape (batch,); of a leaf that comes twice the last counts.

        Raises:
            ValueError: a weight is negative or not finite, or a leaf is none.
        """
        if not np.all(np.isfinite(weights) & (weights >= 0)):
            raise ValueError("weights are finite and not negative")
        if len(leaves) and not 0 <= int(leaves.min()) <= int(leaves.max()) < self.capacity:
            raise ValueError(f"leaves are 0 to {self.capacity - 1}")
        at = self.capacity + leaves
        self._nodes[at] = weights
        children = self._nodes.reshape(-1, 2)
        for _ in range(self.capacity.bit_length() - 1):
            at = at >> 1
            if len(at) > _MANY:
                at = np.unique(at)
            self._nodes[at] = np.add.reduce(children[at], axis=1)

    def draw(self, points: Floats) -> Ints:
        """The leaf under each point of [0, total); int64, shape (batch,). Leaves of weight 0 are never drawn.

        Raises:
            ValueError: every weight is 0.
        """
        if self.total <= 0:
            raise ValueError("nothing to draw from")
        nodes = self._nodes
        left_over = np.minimum(points, np.nextafter(self.total, 0))
        at = np.ones(len(points), dtype=np.int64)
        for _ in range(self.capacity.bit_length() - 1):
            left = nodes[2 * at]
            # A point that rounding carried past the right half's weight stays where there is some.
            right = (left_over >= left) & (nodes[2 * at + 1] > 0)
            left_over = np.where(right, left_over - left, left_over)
            at = 2 * at + right
        return at - self.capacity

    def grown(self, capacity: int) -> SumTree:
        """The same leaves in a larger tree."""
        larger = SumTree(max(capacity, self.capacity))
        larger.set(np.arange(self.capacity), self._nodes[self.capacity :])
        return larger
