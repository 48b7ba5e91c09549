"""How sure we must be of a tool before code calls it and nobody is asked: Thompson sampling, bounded from below.

A user gives tools to `auto`; what real runs have shown then decides between "go on" and "ask". Two things are judged,
and both must do: the tool, by all real runs that called it, and this very code with this tool, by its own real runs
that did. (Runs of this code that called nothing teach nothing: else code could earn its trust idly.)

    risk        of the tool, from annotations somebody trusts: read, open, write. Anything else is destructive: asked.
    threshold   the risk's floor where nothing fails; from there it rises with the share of failures, and falls back
    draw        theta ~ Beta(1 + successes, 1 + failures), from a number in [0, 1) that is given: the luck
    allowed     there is enough evidence, its mean reaches the floor, and the draw reaches the threshold

**Luck is no dice.** It follows from a secret of the machine, what is judged, and the day. A new run, a second call,
other code or one more observation draws nothing anew: it moves the posterior under the same number, up with a success
and down with a failure, always. So trying until it works does not work; what is left to chance is one draw a day for a
tool. And the mean has to reach the floor without any luck, so that the best day helps no tool that is bad on average.

**No key speaks for others.** What another key saw counts for no more than what all the rest saw together, it lifts the
mean they give by a fifth at most, and alone it is not believed. One's own key is: these are one's own runs. Nothing is
clipped from below, as `estimates` does for suggestions: who talks a tool down makes it ask, and that is no harm.

Draws and thresholds are in hundredths, draws rounded down and thresholds up: what is shown is what was compared. Only
the standard library is needed: clients have no NumPy. Thompson 1933; Chapelle & Li 2011.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from belljar.learning.estimates import NOTHING, Evidence

__all__ = ["WINDOW", "Risk", "Standing", "Verdict", "draw", "judge", "luck_of", "pooled", "risk_of", "threshold"]

WINDOW = 64
"""Newest runs that count; with the decay of `estimates` they are worth 36."""

_STEPS = 100
_ONE_KEY = 0.2
# A third of failures takes the threshold to 1, which no draw reaches.
_RISE = 3.0


class Risk(StrEnum):
    """What a tool may do, at worst."""

    READ = "read"
    """Reads, in a closed world."""
    OPEN = "open"
    """Reads, and reaches the open world: a question carries data out."""
    WRITE = "write"
    """Changes something, and destroys nothing."""
    DESTRUCTIVE = "destructive"
    """Anything else, and what is not known."""


# Where a draw must be if nothing ever failed, and how much evidence there must be (decayed; 36 at most).
_FLOORS = {Risk.READ: 0.70, Risk.OPEN: 0.80, Risk.WRITE: 0.90}
_LEAST = {Risk.READ: 5.0, Risk.OPEN: 10.0, Risk.WRITE: 20.0}


def risk_of(annotations: Mapping[str, Any]) -> Risk:
    """The risk of a tool by annotations that somebody trusts; one that contradicts itself is taken at its worst."""
    destroys = annotations.get("destructiveHint")
    if annotations.get("readOnlyHint") is True and destroys is not True:
        return Risk.READ if annotations.get("openWorldHint") is False else Risk.OPEN
    return Risk.WRITE if destroys is False else Risk.DESTRUCTIVE


@dataclass(frozen=True, slots=True)
class Standing:
    """What real runs say of something, as far as one key may believe it."""

    evidence: Evidence = NOTHING
    """Pooled over the keys that saw it."""
    n: int = 0
    n_failed: int = 0
    """Of the newest runs, whole: for people."""
    keys: int = 0
    own: bool = False
    """Whether the key that asks is one of them."""

    @staticmethod
    def of(outcomes: Iterable[tuple[str, bool]], own: str) -> Standing:
        """From (key, success) of each run, oldest first, for the key `own`."""
        by_key: dict[str, Evidence] = {}
        n = failed = 0
        for key, success in outcomes:
            by_key[key] = by_key.get(key, NOTHING).then(success)
            n, failed = n + 1, failed + (not success)
        return Standing(pooled(by_key, own), n, failed, len(by_key), own in by_key)


def pooled(by_key: Mapping[str, Evidence], own: str) -> Evidence:
    """One evidence from what each key saw, as the key `own` may believe it."""
    total = _sum(by_key.values())
    others = [evidence for key, evidence in by_key.items() if key != own] if len(by_key) > 1 else []
    highest = min((_without(total, each).mean() + _ONE_KEY for each in others), default=1.0)
    if others:  # of several that are as loud, none has more than half
        loudest = max(others, key=lambda evidence: evidence.n)
        rest = _without(total, loudest)
        total = _sum((rest, _at_most(loudest, rest.n)))
    # Back from the mean of Beta(1 + s, 1 + f) to its counts.
    mean, weight = min(highest, total.mean()), total.n + 2.0
    return Evidence(max(0.0, mean * weight - 1.0), max(0.0, (1.0 - mean) * weight - 1.0))


def _sum(some: Iterable[Evidence]) -> Evidence:
    some = tuple(some)
    return Evidence(sum(each.successes for each in some), sum(each.failures for each in some))


def _without(total: Evidence, one: Evidence) -> Evidence:
    return Evidence(max(0.0, total.successes - one.successes), max(0.0, total.failures - one.failures))


def _at_most(evidence: Evidence, n: float) -> Evidence:
    share = min(1.0, n / evidence.n) if evidence.n else 1.0
    return Evidence(evidence.successes * share, evidence.failures * share)


def threshold(risk: Risk, evidence: Evidence) -> float:
    """What a draw must reach, in hundredths: the floor, and towards 1 with the share of failures. 1: never."""
    floor = _FLOORS.get(risk, 1.0)
    failing = evidence.failures / (evidence.n + 2.0)
    # Rounded first: 0.7 of floats must not become 0.71.
    return math.ceil(round(_STEPS * (floor + (1.0 - floor) * min(1.0, _RISE * failing)), 6)) / _STEPS


def draw(evidence: Evidence, luck: float) -> float:
    """theta, by `luck` in [0, 1): the quantile of Beta(1 + successes, 1 + failures), down to hundredths."""
    a, b = 1.0 + evidence.successes, 1.0 + evidence.failures
    low, high = 0, _STEPS
    while high - low > 1:
        middle = (low + high) // 2
        if _below(middle / _STEPS, a, b) <= luck:
            low = middle
        else:
            high = middle
    return low / _STEPS


def luck_of(secret: bytes, day: int, *subject: str) -> float:
    """The luck of a subject on a day: uniform in [0, 1) to whoever does not know the secret."""
    message = b"".join(len(part).to_bytes(4, "big") + part for part in (text.encode() for text in (str(day), *subject)))
    return (int.from_bytes(hmac.digest(secret, message, hashlib.sha256)[:8], "big") >> 11) / (1 << 53)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to go on without asking, and why, in words."""

    allowed: bool
    why: str
    """`read: 0.93 >= 0.70 (41 of 43 ok)`, `no evidence`, `destructive`."""


def judge(risk: Risk, tool: Standing, here: Standing, luck: tuple[float, float]) -> Verdict:
    """Whether a tool may be called unasked. Pure; the narrower of both comparisons is shown.

    Args:
        tool: by all runs that called it.
        here: by the runs of this code that called it.
        luck: of the tool, and of this code with this tool.
    """
    if risk not in _FLOORS:
        return Verdict(False, risk.value)
    for standing, whose in ((tool, ""), (here, " by this code")):
        if lacking := _lacking(risk, standing):
            return Verdict(False, f"{lacking}{whose}")
    compared = [_Compared.of(risk, tool, luck[0], ""), _Compared.of(risk, here, luck[1], " by this code")]
    narrowest = min(compared, key=lambda each: each.margin)
    return Verdict(narrowest.margin >= 0, f"{risk}: {narrowest}")


def _lacking(risk: Risk, standing: Standing) -> str:
    """What there is too little of; empty if there is enough."""
    if not standing.keys or not standing.n:
        return "no evidence"
    if standing.keys == 1 and not standing.own:
        return "evidence of one other key alone"
    return f"little evidence ({_counted(standing)})" if standing.evidence.n < _LEAST[risk] else ""


def _counted(standing: Standing) -> str:
    return f"{standing.n - standing.n_failed} of {standing.n} ok"


@dataclass(frozen=True, slots=True)
class _Compared:
    drawn: float
    needed: float
    counted: str

    @staticmethod
    def of(risk: Risk, standing: Standing, luck: float, whose: str) -> _Compared:
        drawn, needed = draw(standing.evidence, luck), threshold(risk, standing.evidence)
        mean = math.floor(_STEPS * standing.evidence.mean()) / _STEPS
        # On average below the floor: no luck helps.
        drawn = min(drawn, mean) if mean < _FLOORS[risk] else drawn
        return _Compared(drawn, needed, _counted(standing) + whose)

    @property
    def margin(self) -> int:
        return round(_STEPS * (self.drawn - self.needed))

    def __str__(self) -> str:
        return f"{self.drawn:.2f} {'>=' if self.margin >= 0 else '<'} {self.needed:.2f} ({self.counted})"


# The Beta distribution

_TINY = 1e-30
_MOST_TERMS = 200
_PRECISION = 1e-12


def _below(x: float, a: float, b: float) -> float:
    """P(theta <= x) of Beta(a, b): the regularized incomplete beta function, by its continued fraction (DLMF 8.17)."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(1.0 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Lentz's method; it converges within some ten terms for the counts there are."""
    c, d = 1.0, 1.0 / _apart(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for term in (even, odd):
            d = 1.0 / _apart(1.0 + term * d)
            c = _apart(1.0 + term / c)
            step = c * d
            value *= step
        if abs(step - 1.0) < _PRECISION:
            break
    return value


def _apart(number: float) -> float:
    """Away from 0, by which nothing can be divided."""
    return number if abs(number) > _TINY else _TINY
