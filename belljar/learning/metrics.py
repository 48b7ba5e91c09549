"""How good answers were, and how sure one may be that one scorer's are better than another's. Arrays and floats alone.

Each figure is made so that it cannot be had for nothing. Among equal scores the answer stands anywhere, so that a
scorer that gives everything the same is right once in k, whatever the order of its keys. What is not among the answers
is a miss. A score that is no finite number makes the whole answer a refusal, and a chance that is none counts as the
opposite of what happened.

Calibration error in bins of equal count: Naeini et al. 2015. Paired bootstrap: Efron & Tibshirani 1993, chapter 16;
over runs and not over questions, because the questions of one run are answered alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MISS", "Bin", "Margin", "Place", "bins", "calibration_error", "certain", "margins", "place"]

Array = NDArray[np.float64]

_MOST_BINS = 10
_LEAST_IN_BIN = 20
_SAMPLES = 2000
_DRAWN_AT_ONCE = 1 << 20
# Of the differences of all samples, at either end. 99 % and not 95: where two scorers differ on few runs, this
# bootstrap is too sure of itself. Four runs to none would be enough at 95 %, which a coin gives once in sixteen.
_TAIL = 0.005


# One answer


@dataclass(frozen=True, slots=True)
class Place:
    """Where the right answer stood: chance of being the first, of the first five, and the mean of 1 / rank."""

    hit1: float
    hit5: float
    reciprocal: float


MISS = Place(0.0, 0.0, 0.0)


def place(scores: Mapping[str, float], answer: str) -> Place:
    """Where `answer` stands by these scores; as expected over all orders of those that are equal."""
    if answer not in scores or not all(map(math.isfinite, scores.values())):
        return MISS
    mine = scores[answer]
    above = sum(score > mine for score in scores.values())
    equal = sum(score == mine for score in scores.values())
    harmonic = sum(1 / rank for rank in range(above + 1, above + equal + 1))
    return Place(_among(1, above, equal), _among(5, above, equal), harmonic / equal)


def _among(first: int, above: int, equal: int) -> float:
    return min(max(first - above, 0), equal) / equal


# Chances


@dataclass(frozen=True, slots=True)
class Bin:
    """Runs of which about the same was foreseen: the mean of it, and the share that came true."""

    predicted: float
    observed: float
    n: int


def certain(chance: float, success: bool) -> float:
    """What counts as foreseen; of what is no chance, the opposite of what happened."""
    return float(chance) if 0.0 <= chance <= 1.0 else float(not success)


def bins(predicted: Array, observed: Array) -> list[Bin]:
    """Up to ten bins of about equal count, not less than twenty each; what was foreseen alike is never parted."""
    found = list[Bin]()
    wanted = max(len(predicted) / _MOST_BINS, _LEAST_IN_BIN)
    values, index = np.unique(predicted, return_inverse=True)
    counts = np.bincount(index, minlength=len(values))
    hits = np.bincount(index, weights=observed, minlength=len(values))
    start, total, left = 0, 0, len(predicted)
    for end in range(1, len(values) + 1):
        total += int(counts[end - 1])
        left -= int(counts[end - 1])
        if end == len(values) or (total >= wanted and left >= _LEAST_IN_BIN):
            mean = float(values[start:end] @ counts[start:end]) / total
            found.append(Bin(mean, float(hits[start:end].sum()) / total, total))
            start, total = end, 0
    return found


def calibration_error(found: Sequence[Bin]) -> float:
    """Mean of |predicted - observed| over the runs, in [0, 1]."""
    n = sum(each.n for each in found)
    return sum(each.n * abs(each.predicted - each.observed) for each in found) / n if n else 0.0


# Two scorers


@dataclass(frozen=True, slots=True)
class Margin:
    """By how much one is better than another, and between what this lies with a confidence of 99 %."""

    difference: float
    low: float
    high: float


def margins(gains: Array, asked: Array, mine: int, *, seed: int = 0) -> list[Margin]:
    """Of the scorer `mine` over each scorer, itself included, in gain per question.

    Args:
        gains: shape (runs, scorers): what each gained by the questions of a run, summed.
        asked: shape (runs,): how many questions those were.
        mine: a column.
        seed: of the samples; the same for all scorers, that is what pairs them.
    """
    rng = np.random.default_rng(seed)
    runs = len(asked)
    at_once = max(1, _DRAWN_AT_ONCE // runs)
    some = (_drawn(rng, min(at_once, _SAMPLES - done), runs) for done in range(0, _SAMPLES, at_once))
    drawn = np.concatenate([(times @ gains) / (times @ asked)[:, None] for times in some])
    low, high = np.quantile(drawn[:, [mine]] - drawn, [_TAIL, 1 - _TAIL], axis=0)
    means = gains.sum(axis=0) / asked.sum()
    return [Margin(*map(float, each)) for each in zip(means[mine] - means, low, high, strict=True)]


def _drawn(rng: np.random.Generator, samples: int, runs: int) -> Array:
    """How often each run is in each sample of as many runs, drawn with replacement; shape (samples, runs)."""
    picks = rng.integers(runs, size=(samples, runs)) + runs * np.arange(samples)[:, None]
    return np.bincount(picks.ravel(), minlength=samples * runs).reshape(samples, runs).astype(float)
