"""Estimates: what is foreseen, what surprises, and what one key may do."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.learning.estimates import (
    DECAY,
    Evidence,
    estimate,
    foreseen,
    interval,
    prefixes,
    priority_of,
    td_error,
)


def seen(*outcomes: bool) -> Evidence:
    """Evidence of these outcomes, one after the other."""
    evidence = Evidence()
    for outcome in outcomes:
        evidence = evidence.then(outcome)
    return evidence


def predicted(path: Sequence[str], **tools: Evidence) -> float:
    return foreseen([([], [tools.get(beginning[-1], Evidence())]) for beginning in prefixes(path)])


def test_what_nobody_has_seen_is_even() -> None:
    """Unknown is 0.5: of a tool, of a path, of a capability without calls."""
    assert predicted(["a", "b"]) == 0.5
    assert predicted([]) == 0.5
    assert estimate([]) == 0.5


def test_b_above_a() -> None:
    """F46: A fails 20 times and B succeeds 20 times: B is above A, far."""
    assert predicted(["b"], b=seen(*[True] * 20)) > 0.9
    assert predicted(["a"], a=seen(*[False] * 20)) < 0.1


def test_a_surprising_failure_has_a_high_priority() -> None:
    """F43: what always worked and fails now is worth looking at; what fails as foreseen is not, but is never 0."""
    good = predicted(["b"], b=seen(*[True] * 20))
    bad = predicted(["a"], a=seen(*[False] * 200))
    assert priority_of(td_error(False, good)) > 0.9
    assert priority_of(td_error(True, good)) < 0.1
    assert priority_of(td_error(False, bad)) == pytest.approx(td_error(True, 1 - bad))
    assert priority_of(td_error(True, 1.0)) == 0.01


def test_later_calls_weigh_more() -> None:
    """Call i weighs 1 + 0.5 i, the first one 1."""
    a, b = seen(*[True] * 10), seen(*[False] * 10)
    both = predicted(["a", "b"], a=a, b=b)
    assert both == pytest.approx((a.mean() + 1.5 * b.mean()) / 2.5)


def test_a_path_is_eight_calls_long() -> None:
    """What comes after the eighth changes nothing."""
    assert len(prefixes(["t"] * 30)) == 8
    assert predicted(["a"] * 8 + ["b"] * 20, a=seen(True), b=seen(False)) == predicted(["a"] * 8, a=seen(True))


def test_a_regime_change_is_followed() -> None:
    """A tool that worked 1000 times and broke is thought bad after 40 more, and good again 40 later."""
    worked = seen(*[True] * 1000)
    broke = worked
    for _ in range(40):
        broke = broke.then(False)
    assert worked.mean() > 0.95
    assert broke.mean() < 0.5
    for _ in range(40):
        broke = broke.then(True)
    assert broke.mean() > 0.5
    assert worked.n == pytest.approx(1 / (1 - DECAY), rel=0.01)


_outcomes = st.lists(st.booleans(), min_size=1, max_size=200)


@given(st.lists(_outcomes, min_size=2, max_size=5))
def test_one_key_moves_others_by_a_fifth(keys: list[list[bool]]) -> None:
    """However much one key sends, and whichever it is, what all others say moves by 0.2 at most, where that can be."""
    by_key = [seen(*outcomes) for outcomes in keys]
    without = [summed(by_key[:i] + by_key[i + 1 :]).mean() for i in range(len(by_key))]
    everything = estimate(by_key)
    moved = max(abs(everything - rest) for rest in without)
    assert moved <= max(0.2, (max(without) - min(without)) / 2) + 1e-9
    if max(abs(summed(by_key).mean() - rest) for rest in without) <= 0.2:
        assert everything == pytest.approx(summed(by_key).mean())


def test_keys_as_loud_as_each_other() -> None:
    """Neither of two keys that are far apart gets its way, also when the other one is a little louder."""
    even, good = Evidence(10, 10), Evidence(19, 0)
    assert estimate([even, good]) == pytest.approx((even.mean() + good.mean()) / 2)
    assert estimate([Evidence(30, 0), Evidence(0, 3)]) == pytest.approx((31 / 32 + 1 / 5) / 2)


def summed(by_key: Sequence[Evidence]) -> Evidence:
    return Evidence(*(sum(counts) for counts in zip(*by_key, strict=True)))


def test_one_key_alone_is_believed() -> None:
    """Where nobody else has seen it there is nobody to protect."""
    assert estimate([seen(*[False] * 50)]) < 0.05


@given(st.lists(st.booleans(), max_size=100))
def test_estimates_are_chances(outcomes: list[bool]) -> None:
    """Inside (0, 1), and inside their own interval's neighbourhood."""
    evidence = seen(*outcomes)
    assert 0 < evidence.mean() < 1
    low, high = interval(evidence)
    assert 0 <= low <= high <= 1
    if evidence.n:
        assert low - 1e-12 <= evidence.successes / evidence.n <= high + 1e-12


def test_an_interval_is_wilsons() -> None:
    """8 of 10 at 95 %: 0.490 to 0.943."""
    low, high = interval(Evidence(8, 2))
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    assert interval(Evidence()) == (0.0, 1.0)
