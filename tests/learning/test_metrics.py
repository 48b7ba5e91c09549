"""Figures: against a naive reckoning, and against scorers that would have them for nothing."""

from __future__ import annotations

import math
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.learning.metrics import MISS, Place, bins, calibration_error, certain, margins, place

_SCORES = st.dictionaries(st.sampled_from("abcdefg"), st.sampled_from([-1.0, 0.0, 0.5, 1.0]), min_size=1, max_size=6)


@given(scores=_SCORES, answer=st.sampled_from("abcdefg"))
def test_a_place_is_the_mean_over_all_orders(scores: dict[str, float], answer: str) -> None:
    """Over every order that is sorted by score: first, among five, 1 / rank; what is not there is a miss."""
    orders = [order for order in permutations(scores) if all(scores[a] >= scores[b] for a, b in pairwise(order))]
    ranks = [order.index(answer) + 1 for order in orders if answer in order]
    found = place(scores, answer)
    if not ranks:
        assert found == MISS
        return
    assert found.hit1 == pytest.approx(sum(rank == 1 for rank in ranks) / len(ranks))
    assert found.hit5 == pytest.approx(sum(rank <= 5 for rank in ranks) / len(ranks))
    assert found.reciprocal == pytest.approx(sum(1 / rank for rank in ranks) / len(ranks))


@given(k=st.integers(1, 40))
def test_equal_scores_are_right_once_in_k(k: int) -> None:
    """A constant scorer gains what a die gains, and not what the order of its keys would give."""
    found = place({str(i): 0.7 for i in range(k)}, "0")
    assert found.hit1 == pytest.approx(1 / k)
    assert found.hit5 == pytest.approx(min(5, k) / k)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_no_number_is_a_refusal(bad: float) -> None:
    """One score that is no finite number, of whatever name: nothing was answered."""
    assert place({"a": 1.0, "b": bad}, "a") == MISS
    assert place({"a": bad, "b": 0.0}, "a") == MISS
    assert place({"a": 1.0, "b": 0.0}, "a") == Place(1.0, 1.0, 1.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1, 1.1])
def test_what_is_no_chance_is_as_wrong_as_can_be(bad: float) -> None:
    """It counts as sure of the opposite."""
    assert (certain(bad, True), certain(bad, False)) == (0.0, 1.0)
    assert (certain(0.0, True), certain(1.0, True), certain(0.25, False)) == (0.0, 1.0, 0.25)


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9, 1.0]) | st.floats(0, 1), st.booleans()), max_size=400)
)
def test_bins(pairs: list[tuple[float, bool]]) -> None:
    """All runs are in a bin, once; bins follow each other, hold twenty or more, part nothing alike; means are right."""
    predicted, observed = np.array([p for p, _ in pairs], float), np.array([o for _, o in pairs], float)
    found = bins(predicted, observed)
    assert sum(each.n for each in found) == len(pairs)
    assert len(found) <= 10
    assert len(found) == 1 or all(each.n >= 20 for each in found) or not pairs
    start, ordered = 0, sorted(pairs)
    for each in found:
        inside = ordered[start : start + each.n]
        start += each.n
        assert each.predicted == pytest.approx(sum(p for p, _ in inside) / each.n)
        assert start == len(ordered) or inside[-1][0] < ordered[start][0]
        assert each.observed == pytest.approx(sum(o for _, o in inside) / each.n)
    naive = sum(each.n * abs(each.predicted - each.observed) for each in found) / max(1, len(pairs))
    assert calibration_error(found) == pytest.approx(naive)


def test_the_last_bin_is_no_leftover() -> None:
    """Five runs more than two bins hold are no third one: five say nothing."""
    found = bins(np.linspace(0, 1, 45), np.ones(45))
    assert [each.n for each in found] == [20, 25]


def test_a_calibrated_scorer_has_a_small_error() -> None:
    """What is said to happen in p of all cases, does; one that exaggerates is off by as much as it exaggerates."""
    rng = np.random.default_rng(1)
    true = rng.random(20_000)
    observed = (rng.random(20_000) < true).astype(float)
    assert calibration_error(bins(true, observed)) < 0.01
    assert calibration_error(bins(np.round(true), observed)) == pytest.approx(0.25, abs=0.02)
    assert len(bins(np.full(20_000, 0.5), observed)) == 1


def test_no_winner_between_two_copies_with_noise() -> None:
    """The same scorer twice, each with luck of its own: in 30 worlds hardly ever is one of them surely better."""
    wins = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        gains = (rng.random((150, 2)) < 0.6).astype(float)
        wins += margins(gains, np.ones(150), 0, seed=seed)[1].low > 0
    assert wins <= 1


def test_a_difference_is_found() -> None:
    """Ten points on 1000 runs are more than chance, and the interval holds the true difference; none over itself."""
    rng = np.random.default_rng(3)
    gains = (rng.random((1000, 2)) < [0.6, 0.5]).astype(float)
    itself, other = margins(gains, np.ones(1000), 0)
    assert 0 < other.low < 0.1 < other.high < 0.25
    assert other.difference == pytest.approx(float(gains[:, 0].mean() - gains[:, 1].mean()))
    assert (itself.difference, itself.low, itself.high) == (0, 0, 0)


def test_questions_of_one_run_are_not_independent() -> None:
    """A run with eight questions that are all answered alike says as much as one question, not as eight."""
    rng = np.random.default_rng(5)
    alike = (rng.random((50, 2)) < [0.6, 0.5]).astype(float)
    as_runs = margins(8 * alike, np.full(50, 8.0), 0)[1]
    as_questions = margins(np.repeat(alike, 8, axis=0), np.ones(400), 0)[1]
    assert as_runs.difference == pytest.approx(as_questions.difference)
    assert as_runs.high - as_runs.low > 2 * (as_questions.high - as_questions.low)
