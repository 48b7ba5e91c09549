"""Chances that can be believed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.learning.calibration import BOUND, Platt, fitted


def brier(chances: np.ndarray, success: np.ndarray) -> float:
    return float(((chances - success) ** 2).mean())


def test_what_was_too_sure_is_put_right() -> None:
    """Log odds three times too large and one too high: slope and offset are found, from 300 runs; Brier falls."""
    rng = np.random.default_rng(0)
    true = rng.normal(0, 1.5, 4000)
    success = (rng.random(4000) < 1 / (1 + np.exp(-true))).astype(float)
    logits = 3 * true + 1
    found = fitted(logits[:300], success[:300])
    assert found.slope == pytest.approx(1 / 3, abs=0.1)
    assert found.offset == pytest.approx(-1 / 3, abs=0.3)
    assert brier(found.chance(logits[300:]), success[300:]) < 0.97 * brier(Platt().chance(logits[300:]), success[300:])


@given(st.lists(st.tuples(st.floats(-1e4, 1e4), st.booleans()), min_size=1, max_size=50))
def test_a_calibration_rises_and_is_never_certain(seen: list[tuple[float, bool]]) -> None:
    """Whatever the runs are: it never turns an order round, and stays within its bounds."""
    found = fitted(np.array([x for x, _ in seen]), np.array([float(good) for _, good in seen]))
    chances = found.chance(np.linspace(-1e4, 1e4, 101))
    assert found.slope > 0
    assert (np.diff(chances) >= 0).all()
    assert BOUND <= chances.min() <= chances.max() <= 1 - BOUND


def test_a_few_runs_make_nobody_certain() -> None:
    """Five that all succeeded do not say that the next one does."""
    assert 0.5 < fitted(np.zeros(5), np.ones(5)).chance(np.zeros(1))[0] < 0.95
