"""Log odds of a model as chances that can be believed: of runs given 0.7, seven in ten succeed.

A network that was trained until it fits says 0.99 where 0.8 is true. Platt's scaling, a sigmoid of slope * x + offset,
is fitted on runs it was not trained on; two numbers, so that some dozens of runs are enough, and monotone, so that it
never changes which of two is the likelier. Platt 1999; against other ways: Niculescu-Mizil & Caruana 2005.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BOUND", "Platt", "fitted"]

BOUND = 0.01
"""No chance is below it, nor above 1 - it: a thousand runs do not show that something never happens."""
_LEAST_SLOPE = 0.05
# How sure we are of slope 1 and offset 0 before anything is seen: of both within a fifth, two times in three. The model
# stops in time, and so is rarely far off; with less, the luck of a hundred runs did more harm than this did good.
_SURE = 25.0
_ROUNDS = 500

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Platt:
    """A calibration; unless fitted, the plain sigmoid."""

    slope: float = 1.0
    offset: float = 0.0

    def chance(self, logits: Doubles) -> Doubles:
        """Chances, in [BOUND, 1 - BOUND], rising with the logits; of the same shape."""
        return np.clip(_sigmoid(self.slope * logits + self.offset), BOUND, 1 - BOUND)


def fitted(logits: Doubles, success: Doubles) -> Platt:
    """The calibration under which these outcomes are likeliest; both of shape (n,), `success` 0 or 1.

    Targets are drawn a little towards the middle, as Platt does, and the slope towards 1, so that a few runs that all
    ended alike make nobody certain.
    """
    good = float(success.sum())
    targets = np.where(success > 0.5, (good + 1) / (good + 2), 1 / (len(success) - good + 2))
    x = np.stack([logits, np.ones(len(logits))], 1)
    prior, sure = np.array([1.0, 0.0]), _SURE * np.eye(2)
    # Newton's method jumps to and fro where a sigmoid is flat; with the steepest it can be, each step leads down
    # (Boehning 1992).
    steepest = np.linalg.inv(x.T @ x / 4 + sure)
    at = prior
    for _ in range(_ROUNDS):
        step = steepest @ (x.T @ (_sigmoid(x @ at) - targets) + sure @ (at - prior))
        at = at - step
        if float(np.abs(step).max()) < 1e-9:
            break
    return Platt(max(_LEAST_SLOPE, float(at[0])), float(at[1]))


def _sigmoid(x: Doubles) -> Doubles:
    # Past 40 nothing changes in double precision but that exp overflows.
    return 1 / (1 + np.exp(-np.clip(x, -40, 40)))
