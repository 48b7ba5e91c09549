"""What the learner does next for a tenant. Decides and does nothing: no database, no clock.

It trains when there is enough altogether, enough of it is new since the newest checkpoint, and the last training is
long enough ago; one that failed makes the next wait twice as long. Between trainings it weighs traces anew, as many as
have come: a server to which nothing comes writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["USUAL", "Act", "Rules", "Standing", "decide"]

_MOST_DOUBLINGS = 8


@dataclass(frozen=True, slots=True)
class Rules:
    """When to do what."""

    least: int = 200
    """Real traces before a first training."""
    further: int = 100
    """New ones before the next, at least;"""
    growth: float = 0.2
    """or such a share of those the last one was trained on, if that is more."""
    rest_s: float = 300.0
    """From the end of a training to the next."""
    steps: int = 800
    """Of a training, at most."""
    batch: int = 256
    """Traces that are weighed anew at once."""
    linger_s: float = 30.0
    """Fewer than that wait so long for more."""

    def trains_after(self, trained_on: int) -> int:
        """New traces that the next training takes, after one on so many."""
        return max(self.further, round(self.growth * trained_on)) if trained_on else self.least

    def rest(self, failed: int) -> float:
        """How long to rest after a training, `failed` of which in a row came to nothing."""
        return self.rest_s * 2 ** min(failed, _MOST_DOUBLINGS)


USUAL = Rules()


@dataclass(frozen=True, slots=True)
class Standing:
    """How things are with one tenant. Times are of one clock that only grows."""

    traces: int
    """Real ones."""
    new: int
    """Of them, since the newest checkpoint."""
    trained_on: int
    """By that; 0 if there is none."""
    rests_until: float
    unweighed: int
    """Traces that came, for which none was weighed anew yet."""
    weighed_at: float


@dataclass(frozen=True, slots=True)
class Act:
    """What to do, and why, for people."""

    kind: Literal["train", "weigh", "wait"]
    why: str
    count: int = 0
    """Traces to weigh."""


def decide(standing: Standing, rules: Rules, *, now: float, can_train: bool) -> Act:
    """The next thing to do for a tenant; training comes first, as it weighs what it is trained on itself."""
    why = _why_not(standing, rules, now)
    if can_train and not why:
        return Act("train", f"{standing.new} new traces")
    lingered = now - standing.weighed_at >= rules.linger_s
    if standing.unweighed >= rules.batch or (standing.unweighed and lingered):
        return Act("weigh", why, min(standing.unweighed, rules.batch))
    return Act("wait", why)


def _why_not(standing: Standing, rules: Rules, now: float) -> str:
    """Why nothing is trained now; empty if nothing speaks against it."""
    after = rules.trains_after(standing.trained_on)
    if standing.traces < rules.least:
        return f"{standing.traces} real traces of the {rules.least} that a first training takes"
    if standing.new < after:
        return f"{standing.new} new traces of the {after} that the next training takes"
    if now < standing.rests_until:
        return f"the last training was just now: the next may be in {standing.rests_until - now:.0f} s"
    return ""
