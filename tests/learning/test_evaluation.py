"""Evaluation: what cheats gains nothing, what is best is found to be, and a model has to win to be used."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from belljar.learning.baselines import BASELINES, Markov1
from belljar.learning.evaluation import LEAST_RUNS, Evaluation, evaluate, hold_out, known_texts, split
from belljar.learning.figures import plot
from belljar.learning.nearest import Nearest
from belljar.learning.runs import Run, Scorer
from belljar.learning.synthetic import WORLDS, World, world


@dataclass(frozen=True)
class Fixed:
    """Says the same whatever it is asked."""

    name: str = "fixed"
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    sure: float = 0.5

    def capabilities(self, intent: str) -> Mapping[str, float]:
        return self.scores

    def tools(self, intent: str, context: Sequence[str]) -> Mapping[str, float]:
        return self.scores

    def chance(self, run: Run) -> float:
        return self.sure


@dataclass(frozen=True)
class Noisy:
    """Another scorer that is lucky or not, question by question."""

    of: Scorer
    seed: int
    name: str = "shgat"
    spoilt: float = 0.1

    def capabilities(self, intent: str) -> Mapping[str, float]:
        return self._stirred(self.of.capabilities(intent), intent)

    def tools(self, intent: str, context: Sequence[str]) -> Mapping[str, float]:
        return self._stirred(self.of.tools(intent, context), f"{intent} {context}")

    def chance(self, run: Run) -> float:
        rng = random.Random(f"{self.seed} {run}")
        return min(1.0, max(0.0, self.of.chance(run) + rng.uniform(-0.1, 0.1)))

    def _stirred(self, scores: Mapping[str, float], question: str) -> Mapping[str, float]:
        rng = random.Random(f"{self.seed} {question}")
        return {name: rng.random() for name in scores} if rng.random() < self.spoilt else scores


def run(row: int, *path: str, capability: str = "c", intent: str = "do it", success: bool = True) -> Run:
    return Run(row, capability, intent, path, success)


@pytest.fixture(scope="module")
def structured() -> World:
    return world("structured")


def judged(world: World, *extra: Scorer) -> Evaluation:
    """The baselines and these, on the newest fifth."""
    fitted, held_out = split(world.runs)
    scorers = [fit(fitted, known_texts(fitted, world.texts)) for fit in BASELINES]
    return evaluate([*extra, *scorers], held_out, fitted=fitted)


# By time


@given(st.permutations(range(40)), st.floats(0.01, 0.99))
def test_what_is_held_out_is_later(rows: list[int], share: float) -> None:
    """Whatever order runs are given in: all of them are in one part or the other, and the parts do not overlap."""
    fitted, held_out = split([run(row // 2) for row in rows], share)
    assert sorted(r.row for r in fitted + held_out) == sorted(row // 2 for row in rows)
    assert not fitted or not held_out or fitted[-1].row < held_out[0].row
    assert abs(len(held_out) - share * 40) <= 2


def test_the_future_is_refused() -> None:
    """Scorers that were fitted to what is held out, or to what came after it, are not evaluated at all."""
    runs = [run(row, "a") for row in range(10)]
    for fitted in (runs, runs[5:], runs[:6]):
        with pytest.raises(ValueError, match="later"):
            evaluate([Fixed()], runs[5:], fitted=fitted)


def test_no_part_of_the_future_reaches_a_fit(structured: World) -> None:
    """Who is fitted by `hold_out` gets runs before the cut, and texts of what had been run by then."""
    late = [run(5000 + i, "x:new", capability="late") for i in range(500)]
    seen: list[Any] = []

    def spy(runs: Sequence[Run], texts: Mapping[str, str]) -> Scorer:
        seen.extend((max(each.row for each in runs), set(texts)))
        return Fixed()

    hold_out([*late, *structured.runs], {**structured.texts, "late": "what is new"}, [spy], held_out=0.2)
    assert seen[0] < 5000
    assert seen[1] == set(structured.texts)


def test_a_run_is_shown_without_its_end(structured: World) -> None:
    """Outcome, what was foreseen, priority and number: whoever bets on them gains nothing by it."""
    known = {each.row: each.success for each in structured.runs}
    scored = [replace(each, foreseen=float(each.success), priority=float(each.success)) for each in structured.runs]
    peeks = {
        "outcome": lambda each: float(each.success),
        "foreseen": lambda each: each.foreseen,
        "priority": lambda each: each.priority,
        "row": lambda each: float(known.get(each.row, False)),
    }

    @dataclass(frozen=True)
    class Peeking(Fixed):
        def chance(self, run: Run) -> float:
            return peeks[self.name](run)

    fitted, held_out = split(scored)
    found = evaluate([Peeking(name) for name in peeks], held_out, fitted=fitted).chance
    assert all(figures.brier > 0.15 for figures in found.scorers.values())
    assert all(len(figures.bins) == 1 for figures in found.scorers.values())


# What is asked


def test_only_runs_that_succeeded_are_right_answers() -> None:
    """And of capabilities only those that say what they were for; each call of a path is a question, up to eight."""
    held_out = [
        run(1, "a", "b"),
        run(2, "a", success=False),
        run(3, *"aaaaaaaaaa", intent=" "),
        run(4, capability="d", intent="else"),
    ]
    found = evaluate([Fixed(scores={"a": 1.0, "c": 2.0, "d": 2.0})], held_out, fitted=[run(0)])
    assert (found.capabilities.n, found.tools.n, found.chance.n) == (2, 10, 4)
    assert found.capabilities.scorers["fixed"].hit1 == 0.5
    assert found.tools.scorers["fixed"].hit1 == 0
    assert found.tools.scorers["fixed"].hit5 == 0.9
    assert found.chance.scorers["fixed"].brier == 0.25


def test_nothing_to_ask() -> None:
    """No figures, and a reason; what is used without evidence is the first of the simple ones."""
    found = evaluate([Fixed("shgat"), Fixed("counts"), Fixed("other")], [], fitted=[run(0)])
    assert found.winners == dict.fromkeys(("capabilities", "tools", "chance"), "counts")
    assert (found.capabilities.n, found.capabilities.scorers) == (0, {})
    assert "says what it was for" in found.capabilities.reason
    assert Evaluation.from_wire(found.to_wire()) == found


@pytest.mark.parametrize("scorers", [[], [Fixed("shgat")], [Fixed("a"), Fixed("a")]])
def test_who_may_take_part(scorers: list[Scorer]) -> None:
    """Names of their own, and one that is not the model."""
    with pytest.raises(ValueError, match="names of their own"):
        evaluate(scorers, [run(1)], fitted=[run(0)])


# Who wins


@pytest.mark.parametrize("name", WORLDS)
def test_the_truth_reaches_what_is_possible(name: str) -> None:
    """F47: in each world the perfect scorer is right as often as it can be, and nobody is right more often."""
    made = world(name, runs=4000)
    best = made.truth.best(split(made.runs)[1])
    found = judged(made, made.truth)
    assert found.capabilities.scorers["truth"].hit1 == pytest.approx(best["capabilities"], abs=0.06)
    assert found.tools.scorers["truth"].hit1 == pytest.approx(best["tools"], abs=0.04)
    assert found.chance.scorers["truth"].brier == pytest.approx(best["brier"], abs=0.03)
    assert all(each.hit1 <= best["capabilities"] + 0.06 for each in found.capabilities.scorers.values())
    assert all(each.hit1 <= best["tools"] + 0.04 for each in found.tools.scorers.values())


def test_a_model_that_is_better_is_used(structured: World) -> None:
    """F47: where structure matters the truth under the model's name wins, by a margin that the reason names."""
    found = judged(structured, replace(structured.truth, name="shgat"))
    assert (found.capabilities.winner, found.tools.winner) == ("shgat", "shgat")
    assert "99 % confidence" in found.tools.reason
    assert found.tools.scorers["shgat"].hit1 > found.tools.scorers["markov1"].hit1 + 0.1


def test_where_structure_does_not_matter_nothing_is_won() -> None:
    """F47: in the plain world not even the truth beats Markov-1 and popularity, and so it is not used."""
    plain = world("plain")
    found = judged(plain, replace(plain.truth, name="shgat"))
    assert "shgat" not in found.winners.values()
    assert found.tools.scorers["markov1"].hit1 == pytest.approx(found.tools.scorers["shgat"].hit1)


@pytest.mark.parametrize("seed", range(8))
def test_luck_does_not_win(structured: World, seed: int) -> None:
    """A scorer against a copy of itself, each with noise of its own in every run: neither is the better one."""
    fitted, held_out = split(structured.runs)
    # No question twice: who is lucky with one that comes again and again is better, and not only by luck.
    held_out = [replace(each, intent=f"{each.intent} {each.row}") for each in held_out]
    base = Markov1.fit(fitted, {})
    found = evaluate([Noisy(base, seed), Noisy(base, seed + 100, name="counts")], held_out, fitted=fitted, seed=seed)
    assert found.winners == dict.fromkeys(("capabilities", "tools", "chance"), "counts")


def test_a_reference_decides_nothing(structured: World) -> None:
    """Its figures are there; it is never what is to be used, and a model need not beat it."""
    fitted, held_out = split(structured.runs)
    best = replace(structured.truth, name="nearest")
    model, simple = Nearest.fit(fitted, {}), Fixed("counts")
    found = evaluate([replace(model, name="shgat"), simple], held_out, fitted=fitted, references=[best])
    assert found.tools.scorers["nearest"].hit1 > found.tools.scorers["shgat"].hit1
    assert found.tools.winner == "shgat"
    assert evaluate([simple], held_out, fitted=fitted, references=[best]).tools.winner == "counts"
    with pytest.raises(ValueError, match="names of their own"):
        evaluate([], held_out, fitted=fitted, references=[best])


def test_few_runs_prove_nothing(structured: World) -> None:
    """Below LEAST_RUNS the model is not used, however right it is; the number is in the reason."""
    fitted, held_out = split(structured.runs)
    good = [each for each in held_out if each.success][: LEAST_RUNS - 1]
    found = evaluate([replace(structured.truth, name="shgat"), Fixed("counts")], good, fitted=fitted)
    assert found.capabilities.winner == "counts"
    assert str(LEAST_RUNS) in found.capabilities.reason


def test_a_better_but_worse_calibrated_chance_is_not_used() -> None:
    """It tells good from bad and is far too sure of it: not used, and told why."""
    rng = random.Random(1)
    runs = [run(row, rng.choice("ab")) for row in range(1000)]
    rates = {"a": 0.75, "b": 0.25}
    runs = [replace(each, success=rng.random() < rates[each.path[0]]) for each in runs]

    @dataclass(frozen=True)
    class Told(Fixed):
        rates: Mapping[str, float] = field(default_factory=dict[str, float])

        def chance(self, run: Run) -> float:
            return self.rates[run.path[0]]

    for mine, winner in (rates, "shgat"), ({"a": 0.9, "b": 0.1}, "fixed"):
        found = evaluate([Told("shgat", rates=mine), Fixed()], runs, fitted=[]).chance
        assert found.scorers["shgat"].brier < found.scorers["fixed"].brier
        assert found.winner == winner
    assert "calibration error" in found.reason


# As JSON


def test_there_and_back(structured: World) -> None:
    """Through JSON text, all but the seventh digit."""
    found = judged(structured)
    wire = json.loads(json.dumps(found.to_wire()))
    again = Evaluation.from_wire(wire)
    assert again.to_wire() == wire
    assert again.winners == found.winners
    assert again.tools.scorers["counts"].hit1 == pytest.approx(found.tools.scorers["counts"].hit1, abs=1e-6)


_WIRE = {
    "heldOut": 2,
    "fitted": 3,
    "tasks": {
        **{
            task: {"n": 2, "scorers": {"a": {"hit1": 1, "hit5": 1, "mrr": 0.5}}, "winner": "a", "reason": "so"}
            for task in ("capabilities", "tools")
        },
        "chance": {
            "n": 2,
            "scorers": {"a": {"brier": 0.1, "calibrationError": 0, "bins": [{"predicted": 0, "observed": 1, "n": 2}]}},
            "winner": "a",
            "reason": "so",
        },
    },
}
_JUNK = st.sampled_from(
    [None, True, -1, 1.5, float("nan"), float("inf"), "", "x" * 5000, [], [1], {}, {"": 1}, 1 << 60]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a value, the whole of it included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(each for key, item in inner for each in places(item, (*path, key)))]


@settings(max_examples=300)
@given(where=st.sampled_from(places(_WIRE)), junk=_JUNK)
def test_junk_in_a_database(where: tuple[Any, ...], junk: Any) -> None:
    """Anything else in any place: ValueError, or an evaluation whose numbers are in range."""
    wire = json.loads(json.dumps(_WIRE))
    if where:
        holder = wire
        for key in where[:-1]:
            holder = holder[key]
        holder[where[-1]] = junk
    else:
        wire = junk
    try:
        found = Evaluation.from_wire(wire)
    except ValueError:
        return
    assert all(0 <= each.hit1 <= 1 for each in found.tools.scorers.values())
    assert Evaluation.from_wire(found.to_wire()).to_wire() == found.to_wire()


def test_a_winner_that_did_not_take_part() -> None:
    """What is kept cannot name a scorer to use that nobody looked at."""
    wire = json.loads(json.dumps(_WIRE))
    wire["tasks"]["tools"]["winner"] = "b"
    with pytest.raises(ValueError, match="winner"):
        Evaluation.from_wire(wire)


def test_a_plot(structured: World) -> None:
    """A line a bin under a head; every line as wide as the others are."""
    figures = judged(structured).chance.scorers["counts"]
    head, *lines = plot(figures)
    assert "foreseen" in head
    assert len(lines) == len(figures.bins)
    assert len(set(map(len, lines))) == 1
    assert all(line.count("|") == 1 for line in lines)
