"""Prioritized replay: what is drawn, how it is weighed, and that a priority lands on its own row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.learning.estimates import LEAST_PRIORITY
from belljar.learning.replay import PrioritizedReplay, beta_at


def filled(priorities: np.ndarray, *, alpha: float = 0.6) -> tuple[PrioritizedReplay, np.ndarray]:
    """A replay of rows 10, 13, 16 ... with these priorities."""
    rows = 10 + 3 * np.arange(len(priorities))
    replay = PrioritizedReplay(alpha=alpha)
    replay.add(rows, priorities)
    return replay, rows


def drawn(replay: PrioritizedReplay, rows: np.ndarray, batches: int) -> np.ndarray:
    """How often each row came in so many batches of 50."""
    rng = np.random.default_rng(3)
    every = np.concatenate([replay.sample(50, rng).rows for _ in range(batches)])
    return np.bincount(np.searchsorted(rows, every), minlength=len(rows))


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_frequencies_fit_the_priorities(alpha: float) -> None:
    """F44: chi-square of 100,000 draws against p^alpha over all rows, not the top ones; alpha 0 is uniform."""
    priorities = np.random.default_rng(1).random(300)
    replay, rows = filled(priorities, alpha=alpha)
    weights = np.maximum(priorities, LEAST_PRIORITY) ** alpha
    expected = 100_000 * weights / weights.sum()
    chi_square = ((drawn(replay, rows, 2000) - expected) ** 2 / expected).sum()
    assert chi_square < 299 + 5 * (2 * 299) ** 0.5
    if alpha == 0:
        assert np.allclose(expected, expected[0])


def test_importance_weights_are_the_formula() -> None:
    """F44: (N P)^-beta over the largest of the batch; beta 0 weighs all alike."""
    replay, rows = filled(np.array([0.1, 0.5, 1.0, 0.0]))
    sample = replay.sample(64, np.random.default_rng(2), beta=0.7)
    p = np.maximum([0.1, 0.5, 1.0, 0.0], LEAST_PRIORITY) ** 0.6
    chances = (p / p.sum())[np.searchsorted(rows, sample.rows)]
    raw = (4 * chances) ** -0.7
    assert np.allclose(sample.probabilities, chances)
    assert np.allclose(sample.weights, raw / raw.max())
    assert np.allclose(replay.sample(8, np.random.default_rng(2), beta=0.0).weights, 1.0)


def test_beta_goes_to_one() -> None:
    """From 0.4 in a straight line, and never past 1."""
    assert [beta_at(step, 10) for step in (0, 5, 10, 99)] == [0.4, 0.7, 1.0, 1.0]
    assert beta_at(0, 0) == 0.4


def test_a_batch_is_spread_over_the_whole() -> None:
    """One draw from each of n equal parts: of equal rows none can come much more often than another."""
    replay, rows = filled(np.full(100, 0.5))
    counts = drawn(replay, rows, 20)
    assert counts.min() >= 5
    assert counts.sum() == 1000


@given(st.permutations(list(range(12))))
def test_a_shuffled_batch_updates_its_own_rows(order: list[int]) -> None:
    """F45: whatever the order of a batch, each priority lands on its row and no other changes."""
    before = np.linspace(0.1, 1.0, 12)
    replay, rows = filled(before, alpha=1.0)
    chosen = np.array(order[:5])
    after = before.copy()
    after[chosen] = 0.05 + 0.01 * chosen
    replay.update(rows[chosen], after[chosen])
    sample = replay.sample(4000, np.random.default_rng(0))
    for row, chance in zip(sample.rows, sample.probabilities, strict=True):
        assert chance == pytest.approx(after[np.searchsorted(rows, row)] / after.sum())


def test_rows_that_are_gone_stay_gone() -> None:
    """A removed row is not drawn, not counted, and not brought back by a late update; strange rows are passed over."""
    replay, rows = filled(np.ones(5))
    replay.remove(np.array([rows[1], rows[1], 11, 999]))
    replay.update(np.array([rows[1], 12]), np.array([1.0, 1.0]))
    assert len(replay) == 4
    assert drawn(replay, rows, 10)[1] == 0
    assert replay.sample(4, np.random.default_rng(0)).probabilities == pytest.approx(0.25)


def test_rows_come_in_order_and_priorities_in_bounds() -> None:
    """A row older than the newest, twice the same, or a priority that is none: refused, and nothing changed."""
    replay, rows = filled(np.ones(3))
    with pytest.raises(ValueError, match="ascending"):
        replay.add(np.array([rows[-1]]), np.array([1.0]))
    with pytest.raises(ValueError, match="ascending"):
        replay.add(np.array([100, 100]), np.array([1.0, 1.0]))
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="0 to 1"):
            replay.add(np.array([100]), np.array([wrong]))
    assert (len(replay), replay.last_row) == (3, rows[-1])


def test_it_grows() -> None:
    """Past its first size, in many batches, nothing is lost."""
    replay = PrioritizedReplay(alpha=1.0)
    for start in range(1, 5001, 500):
        replay.add(np.arange(start, start + 500), np.full(500, 0.5))
    assert len(replay) == 5000
    assert set(replay.sample(5000, np.random.default_rng(0)).rows) == set(range(1, 5001))


def test_an_empty_one_has_nothing() -> None:
    """Nothing to draw is an error, not a row 0."""
    with pytest.raises(ValueError, match="nothing"):
        PrioritizedReplay().sample(1, np.random.default_rng(0))
