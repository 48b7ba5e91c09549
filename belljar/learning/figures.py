"""What an evaluation found, and its JSON, which is kept in a database and read back with the same distrust as any text.

    {"heldOut": n, "fitted": n,
     "tasks": {"capabilities": {"n": n, "scorers": {NAME: {"hit1", "hit5", "mrr"}}, "winner": NAME, "reason": TEXT},
               "tools": {the same},
               "chance": {the same, but of a scorer {"brier", "calibrationError",
                                                     "bins": [{"predicted", "observed", "n"}]}}}}

`n` counts questions. A task that had none has no scorers, and its winner is what is used without evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from belljar.learning.metrics import Bin

__all__ = ["Calibration", "Evaluation", "Ranking", "Task", "plot"]

F = TypeVar("F")

_MOST_SCORERS = 32
_MOST_BINS = 100
_MAX_NAME = 64
_MAX_REASON = 2000
_MAX_COUNT = 1 << 53
_DIGITS = 6
_WIDTH = 40


@dataclass(frozen=True, slots=True)
class Ranking:
    """How high the right answer stood, each a mean over the questions, in [0, 1]."""

    hit1: float
    hit5: float
    mrr: float

    def to_wire(self) -> dict[str, Any]:
        """{hit1, hit5, mrr}."""
        return {"hit1": _rounded(self.hit1), "hit5": _rounded(self.hit5), "mrr": _rounded(self.mrr)}

    @classmethod
    def from_wire(cls, wire: object) -> Ranking:
        """Raises ValueError."""
        found = _object(wire)
        return cls(_share(found, "hit1"), _share(found, "hit5"), _share(found, "mrr"))


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well outcomes were foreseen: mean squared error, and how far what was foreseen is from what came true."""

    brier: float
    error: float
    bins: tuple[Bin, ...]

    def to_wire(self) -> dict[str, Any]:
        """{brier, calibrationError, bins}."""
        bins = [
            {"predicted": _rounded(each.predicted), "observed": _rounded(each.observed), "n": each.n}
            for each in self.bins
        ]
        return {"brier": _rounded(self.brier), "calibrationError": _rounded(self.error), "bins": bins}

    @classmethod
    def from_wire(cls, wire: object) -> Calibration:
        """Raises ValueError."""
        found = _object(wire)
        bins = [_object(each) for each in _list(found, "bins")]
        read = [Bin(_share(each, "predicted"), _share(each, "observed"), _count(each, "n")) for each in bins]
        return cls(_share(found, "brier"), _share(found, "calibrationError"), tuple(read))


@dataclass(frozen=True, slots=True)
class Task(Generic[F]):
    """One kind of question: what each scorer made of it, and which of them is to be used for it."""

    n: int
    scorers: Mapping[str, F]
    winner: str
    reason: str

    def to_wire(self, figures: Callable[[F], dict[str, Any]]) -> dict[str, Any]:
        """{n, scorers, winner, reason}."""
        scorers = {name: figures(each) for name, each in self.scorers.items()}
        return {"n": self.n, "scorers": scorers, "winner": self.winner, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was found on runs that are later than all the scorers were fitted to."""

    held_out: int
    fitted: int
    capabilities: Task[Ranking]
    tools: Task[Ranking]
    chance: Task[Calibration]

    @property
    def winners(self) -> dict[str, str]:
        """Task -> scorer."""
        return {"capabilities": self.capabilities.winner, "tools": self.tools.winner, "chance": self.chance.winner}

    def to_wire(self) -> dict[str, Any]:
        """As the head of this module says; shares to six digits."""
        tasks = {
            "capabilities": self.capabilities.to_wire(Ranking.to_wire),
            "tools": self.tools.to_wire(Ranking.to_wire),
            "chance": self.chance.to_wire(Calibration.to_wire),
        }
        return {"heldOut": self.held_out, "fitted": self.fitted, "tasks": tasks}

    @classmethod
    def from_wire(cls, wire: object) -> Evaluation:
        """What `to_wire` gave.

        Raises:
            ValueError: it is something else; names the first key that is wrong and holds none of its value.
        """
        found = _object(wire)
        tasks = _object(found.get("tasks"))
        return cls(
            _count(found, "heldOut"),
            _count(found, "fitted"),
            _task(tasks.get("capabilities"), Ranking.from_wire),
            _task(tasks.get("tools"), Ranking.from_wire),
            _task(tasks.get("chance"), Calibration.from_wire),
        )


def plot(calibration: Calibration) -> list[str]:
    """A line a bin: what was foreseen, what came true, of how many, as a bar that should end at its `|`."""
    lines = ["foreseen  came true      n"]
    for each in calibration.bins:
        bar = ["#" if place < round(each.observed * _WIDTH) else "." for place in range(_WIDTH + 1)]
        bar[round(each.predicted * _WIDTH)] = "|"
        lines.append(f"{each.predicted:>7.0%}  {each.observed:>9.0%}  {each.n:>5}  {''.join(bar)}")
    return lines


# What is read


def _task(wire: object, figures: Callable[[object], F]) -> Task[F]:
    found = _object(wire)
    given = _object(found.get("scorers"))
    _must(len(given) <= _MOST_SCORERS and all(0 < len(name) <= _MAX_NAME for name in given), "scorers")
    scorers = {name: figures(each) for name, each in given.items()}
    winner = _text(found, "winner", _MAX_NAME)
    _must(winner in scorers or not scorers, "winner")
    return Task(_count(found, "n"), scorers, winner, _text(found, "reason", _MAX_REASON))


def _rounded(share: float) -> float:
    return round(share, _DIGITS)


def _must(true: bool, key: str) -> None:
    if not true:
        raise ValueError(f"not an evaluation: {key} is not what it must be")


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in cast("dict[Any, Any]", value)):
        raise ValueError("not an evaluation: an object is missing")
    return cast("Mapping[str, Any]", value)


def _list(found: Mapping[str, Any], key: str) -> list[object]:
    value = found.get(key)
    if not isinstance(value, list) or len(cast("list[object]", value)) > _MOST_BINS:
        raise ValueError(f"not an evaluation: {key} is not what it must be")
    return cast("list[object]", value)


def _share(found: Mapping[str, Any], key: str) -> float:
    value = found.get(key)
    # A bool is an int to Python, and NaN is between no two numbers.
    _must(type(value) in (int, float) and 0 <= cast("float", value) <= 1, key)
    return float(cast("float", value))


def _count(found: Mapping[str, Any], key: str) -> int:
    value = found.get(key)
    if type(value) is not int or not 0 <= value <= _MAX_COUNT:
        raise ValueError(f"not an evaluation: {key} is not what it must be")
    return value


def _text(found: Mapping[str, Any], key: str, max_chars: int) -> str:
    value = found.get(key)
    _must(isinstance(value, str) and 0 < len(value) <= max_chars, key)
    return cast("str", value)
