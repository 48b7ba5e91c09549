"""What the learner does next: a table of standings and what is decided."""

from __future__ import annotations

from typing import Any

import pytest

from belljar.server.learner.service import Act, Rules, Standing, decide

RULES = Rules(least=200, further=100, growth=0.2, rest_s=300, batch=64, linger_s=30)


def act(now: float = 1000.0, *, can_train: bool = True, **changes: Any) -> Act:
    given = {"traces": 1000, "new": 0, "trained_on": 0, "rests_until": 0.0, "unweighed": 0, "weighed_at": now}
    return decide(Standing(**{**given, **changes}), RULES, now=now, can_train=can_train)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"traces": 199, "new": 199}, "wait"),
        ({"traces": 200, "new": 200}, "train"),
        ({"trained_on": 400, "new": 99}, "wait"),
        ({"trained_on": 400, "new": 100}, "train"),
        ({"trained_on": 5000, "new": 999}, "wait"),
        ({"trained_on": 5000, "new": 1000}, "train"),
        ({"new": 1000, "rests_until": 1001.0}, "wait"),
        ({"new": 1000, "rests_until": 1000.0}, "train"),
        ({"new": 1000, "can_train": False}, "wait"),
        # Many were removed: what is left is too little for a new model, however new it is.
        ({"traces": 150, "trained_on": 400, "new": 150}, "wait"),
    ],
)
def test_when_it_trains(changes: dict[str, Any], kind: str) -> None:
    """Enough altogether, enough of it new, not too soon after the last time, and something to train with."""
    assert act(**changes).kind == kind


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({"unweighed": 63}, 0),
        ({"unweighed": 64}, 64),
        ({"unweighed": 500}, 64),
        ({"unweighed": 1, "weighed_at": 971.0}, 0),
        ({"unweighed": 1, "weighed_at": 970.0}, 1),
        ({"unweighed": 0, "weighed_at": 0.0}, 0),
        ({"unweighed": 64, "can_train": False, "new": 1000}, 64),
        ({"unweighed": 64, "new": 1000}, 0),  # it trains first
    ],
)
def test_when_it_weighs(changes: dict[str, Any], count: int) -> None:
    """As many as came, a batch at a time or after a while, and without PyTorch too; where nothing came, nothing."""
    found = act(**changes)
    assert (found.kind == "weigh", found.count) == (count > 0, count)


def test_it_says_why() -> None:
    """Whoever waits for a model is told what it takes."""
    assert "150 real traces of the 200" in act(traces=150, new=150).why
    assert "7 new traces of the 100" in act(trained_on=300, new=7).why
    assert "in 20 s" in act(new=500, rests_until=1020.0).why


def test_failures_rest_longer() -> None:
    """Twice as long each time, and not for ever."""
    rests = [RULES.rest(failed) for failed in range(20)]
    assert rests[:4] == [300, 600, 1200, 2400]
    assert rests[-1] == rests[8] < 86_400
