"""Which scorer is right more often, found so that it cannot fool itself.

    fitted | held out        by time: every run that is asked about is later than all that anybody was fitted to
    capabilities             an intent -> which capability was run for it
    tools                    an intent and the calls so far -> which tool was called next, at each place of a path
    chance                   a run -> how likely it was to succeed

For capabilities and tools only runs that succeeded are asked about: what failed is no right answer. For chances all
are, and who is asked sees neither the outcome nor what was foreseen of it, nor by what number the run is known. It does
see the calls, as the server does when it foresees a trace. Where code gives up at its first failed call, the end of a
path tells something of the outcome, to all scorers alike: `chance` is how well traces are foreseen, not plans.

The model is used for a task only where it is better than *every* other scorer by more than chance, on enough runs;
everywhere else it is the best of the simple ones. References may stand beside them, whose figures are shown and who
decide nothing. No correction for many comparisons is needed where all of them have
to be won (intersection-union test, Berger 1982).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from belljar.learning.baselines import BASELINES, Fit
from belljar.learning.estimates import MAX_PATH
from belljar.learning.figures import Calibration, Evaluation, Ranking, Task
from belljar.learning.metrics import Array, bins, calibration_error, certain, margins, place
from belljar.learning.runs import Run, Scorer

__all__ = ["LEAST_RUNS", "MODEL", "Evaluation", "evaluate", "hold_out", "known_texts", "split"]

MODEL = "shgat"
"""The scorer that has to win to be used."""
LEAST_RUNS = 100
"""Held-out runs with an answer, below which no model wins."""
_SLACK = 0.01
"""A calibration error that is larger by less is no worse: nobody acts on the hundredth part."""


def split(runs: Iterable[Run], held_out: float = 0.2) -> tuple[list[Run], list[Run]]:
    """(fitted, held out), each oldest first; the newest `held_out` of all, in (0, 1), are held out."""
    if not 0 < held_out < 1:
        raise ValueError("held_out is a share between 0 and 1")
    ordered = sorted(runs, key=lambda run: run.row)
    at = len(ordered) - round(held_out * len(ordered))
    # Runs that arrived as one are not parted.
    while 0 < at < len(ordered) and ordered[at].row == ordered[at - 1].row:
        at -= 1
    return ordered[:at], ordered[at:]


def known_texts(fitted: Iterable[Run], texts: Mapping[str, str]) -> dict[str, str]:
    """What is said of capabilities that had been run by then; of later ones nobody had heard."""
    return {run.capability: texts[run.capability] for run in fitted if run.capability in texts}


def hold_out(
    runs: Iterable[Run],
    texts: Mapping[str, str],
    fits: Sequence[Fit] = BASELINES,
    *,
    held_out: float = 0.2,
    seed: int = 0,
) -> Evaluation:
    """Split, fit and evaluate; nobody who is fitted gets to see what is held out."""
    fitted, later = split(runs, held_out)
    said = known_texts(fitted, texts)
    return evaluate([fit(list(fitted), dict(said)) for fit in fits], later, fitted=fitted, seed=seed)


def evaluate(
    scorers: Sequence[Scorer],
    held_out: Sequence[Run],
    *,
    fitted: Sequence[Run],
    references: Sequence[Scorer] = (),
    model: str = MODEL,
    seed: int = 0,
) -> Evaluation:
    """What these scorers make of runs that they have not seen.

    Args:
        scorers: who takes part; of two simple ones that do alike the first is used.
        held_out: what is asked about.
        fitted: what all of them were fitted to.
        references: whose figures are shown beside them.
        model: the name of the one that has to win.
        seed: of the statistics.

    Raises:
        ValueError: a held-out run is not later than all that were fitted; two scorers of one name; only the model.
    """
    everyone = [*scorers, *references]
    names = [scorer.name for scorer in everyone]
    if len(set(names)) < len(names) or not {scorer.name for scorer in scorers} - {model}:
        raise ValueError("scorers have names of their own, and one of them is not the model")
    if fitted and held_out and max(run.row for run in fitted) >= min(run.row for run in held_out):
        raise ValueError("what is held out is later than all that was fitted: use split()")
    judge = _Judge(names, [scorer.name for scorer in scorers if scorer.name != model], model, seed)
    good = [run for run in held_out if run.success]
    return Evaluation(
        len(held_out),
        len(fitted),
        judge.ranked(_asked(everyone, list(map(_capability, good)), _capabilities), _NO_INTENTS),
        judge.ranked(_asked(everyone, list(map(_tools, good)), _next_tools), _NO_PATHS),
        judge.foreseen(*_chances(everyone, held_out)),
    )


_NO_INTENTS = "no held-out run that succeeded says what it was for"
_NO_PATHS = "no held-out run that succeeded called a tool"
_NO_RUNS = "nothing is held out"


# Questions and answers

_Question = tuple[str, tuple[str, ...]]
_Ask = Callable[[Scorer, _Question], Mapping[str, float]]


def _capability(run: Run) -> list[tuple[_Question, str]]:
    return [((run.intent, ()), run.capability)] if run.intent.strip() else []


def _tools(run: Run) -> list[tuple[_Question, str]]:
    path = run.path[:MAX_PATH]
    return [((run.intent, path[:i]), name) for i, name in enumerate(path)]


def _capabilities(scorer: Scorer, question: _Question) -> Mapping[str, float]:
    return scorer.capabilities(question[0])


def _next_tools(scorer: Scorer, question: _Question) -> Mapping[str, float]:
    return scorer.tools(*question)


@dataclass(frozen=True, slots=True)
class _Answers:
    asked: Array
    """Shape (runs,): questions of each run that had any."""
    gains: Array
    """Shape (3, runs, scorers): sums of hit1, hit5 and 1 / rank over them."""


def _asked(scorers: Sequence[Scorer], questions: Sequence[Sequence[tuple[_Question, str]]], ask: _Ask) -> _Answers:
    """Every different question is asked once; what was asked is in no order that tells anything."""
    by_question = defaultdict[_Question, list[tuple[int, str]]](list)
    asking = [some for some in questions if some]
    for run, some in enumerate(asking):
        for question, answer in some:
            by_question[question].append((run, answer))
    gains = np.zeros((3, len(asking), len(scorers)))
    for question, wanted in sorted(by_question.items()):
        for column, scorer in enumerate(scorers):
            scores = ask(scorer, question)
            for run, answer in wanted:
                found = place(scores, answer)
                gains[:, run, column] += (found.hit1, found.hit5, found.reciprocal)
    return _Answers(np.array([len(some) for some in asking], float), gains)


def _chances(scorers: Sequence[Scorer], held_out: Sequence[Run]) -> tuple[Array, Array]:
    """(what each foresaw, shape (runs, scorers); what came of it, shape (runs,))."""
    observed = np.array([run.success for run in held_out], float)
    veiled = [replace(run, row=0, success=False, priority=0.5, foreseen=0.5) for run in held_out]
    predicted = np.zeros((len(held_out), len(scorers)))
    for row, (run, true) in enumerate(zip(veiled, held_out, strict=True)):
        predicted[row] = [certain(scorer.chance(run), true.success) for scorer in scorers]
    return predicted, observed


# Judgement


@dataclass(frozen=True, slots=True)
class _Judge:
    names: list[str]
    """Of everyone, in the order of their columns."""
    simple: list[str]
    """Of those who can be used without a model."""
    model: str
    seed: int

    def ranked(self, answers: _Answers, nothing: str) -> Task[Ranking]:
        if not len(answers.asked):
            return Task(0, {}, self.simple[0], nothing)
        n = int(answers.asked.sum())
        means = answers.gains.sum(axis=1) / n
        scorers = {name: Ranking(*map(float, means[:, i])) for i, name in enumerate(self.names)}
        best = max(self.simple, key=lambda name: scorers[name].hit1)
        about = f"right at once, of {n} questions about {len(answers.asked)} runs"
        said = {name: f"{each.hit1:.1%}" for name, each in scorers.items()}
        winner, reason = self._verdict(best, said, about, answers.gains[0], answers.asked)
        return Task(n, scorers, winner, reason)

    def foreseen(self, predicted: Array, observed: Array) -> Task[Calibration]:
        n = len(observed)
        if not n:
            return Task(0, {}, self.simple[0], _NO_RUNS)
        losses = (predicted - observed[:, None]) ** 2
        scorers = {
            name: _calibration(predicted[:, i], observed, float(losses[:, i].mean()))
            for i, name in enumerate(self.names)
        }
        best = min(self.simple, key=lambda name: scorers[name].brier)
        said = {name: f"{each.brier:.3f}" for name, each in scorers.items()}
        winner, reason = self._verdict(best, said, f"Brier score on {n} runs, less is better", -losses, np.ones(n))
        if winner == self.model and (worse := scorers[winner].error - scorers[best].error) > _SLACK:
            errors = f"{scorers[winner].error:.3f}, {best} {scorers[best].error:.3f}"
            why = f"{winner} is not used, though it is better: its chances are off by {worse:.3f} more"
            winner, reason = best, f"{reason}. But calibration error: {self.model} {errors}; {why}"
        return Task(n, scorers, winner, reason)

    def _verdict(self, best: str, said: Mapping[str, str], about: str, gains: Array, asked: Array) -> tuple[str, str]:
        """Who is to be used, and why, in words."""
        if self.model not in said:
            return best, f"{about}: {best} {said[best]}; there is no model to compare it with"
        both = f"{about}: {self.model} {said[self.model]}, the best without a model, {best}, {said[best]}"
        if len(asked) < LEAST_RUNS:
            return best, f"{both}; too few runs to tell, {LEAST_RUNS} are needed"
        found = margins(gains, asked, self.names.index(self.model), seed=self.seed)
        by_name = {name: found[self.names.index(name)] for name in self.simple}
        closest = min(self.simple, key=lambda name: by_name[name].low)
        margin = by_name[closest]
        between = f"{margin.low:+.3f} to {margin.high:+.3f} over {closest}, with 99 % confidence"
        if margin.low > 0:
            return self.model, f"{both}; {self.model} is better than every other: {between}"
        if margin.difference <= 0:
            return best, f"{both}; {self.model} is not better"
        return best, f"{both}; that may be chance: {between}"


def _calibration(predicted: Array, observed: Array, brier: float) -> Calibration:
    found = bins(predicted, observed)
    return Calibration(brier, calibration_error(found), tuple(found))
