"""Training: what is learned, from what, and that it comes out the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from belljar.learning.calibration import Platt
from belljar.learning.checkpoint import Checkpoint, ModelScorer
from belljar.learning.embedding import Floats
from belljar.learning.estimates import LEAST_PRIORITY
from belljar.learning.replay import PrioritizedReplay
from belljar.learning.runs import Run
from belljar.learning.training import Step, Trained, train
from tests.learning.small_worlds import SMALL, forked, noisy, run, uneven

FEW = replace(SMALL, steps=6, look=2)


@pytest.fixture(scope="module")
def on_forks() -> Trained:
    return train(forked(160), {}, training=SMALL)


def best(scores: dict[str, float]) -> str:
    return max(scores, key=lambda name: scores[name])


def hits(foretell: Callable[[Run, int], str], runs: list[Run]) -> float:
    """Share of calls that were foretold."""
    calls = [(run, i) for run in runs for i in range(len(run.path))]
    return sum(foretell(run, i) == run.path[i] for run, i in calls) / len(calls)


def test_the_intent_decides_where_the_last_call_does_not(on_forks: Trained) -> None:
    """F47: on later runs it foretells the next call, where counting pairs of calls is right 5 times in 8."""
    history, later = forked(160), forked(120, seed=9)
    scorer = ModelScorer(on_forks.checkpoint)
    pairs = dict[str, dict[str, int]]()
    for each in history:
        for last, call in zip(("", *each.path), each.path, strict=False):
            counted = pairs.setdefault(last, {})
            counted[call] = counted.get(call, 0) + 1
    markov = hits(lambda run, i: best(dict(pairs["" if i == 0 else run.path[i - 1]])), later)
    model = hits(lambda run, i: best(dict(scorer.tools(run.intent, run.path[:i]))), later)
    assert markov < 0.7
    assert model > max(0.95, markov + 0.1)
    assert all(best(dict(scorer.capabilities(run.intent))) == run.capability for run in later)


def test_what_failed_is_not_learned_as_a_success() -> None:
    """F46: A fails 20 times and B succeeds 20 times for one intent: B is above A, likelier to succeed, and its call
    is the next one."""
    failed = [run(2 * i + 1, "o.p.mail.a", "send a letter", ("post:slow",), success=False) for i in range(20)]
    well = [run(2 * i + 2, "o.p.mail.b", "send a letter", ("post:fast",)) for i in range(20)]
    history = sorted([*failed, *well], key=lambda each: each.row)
    scorer = ModelScorer(train(history, {"o.p.mail.a": "send a letter"}, training=SMALL).checkpoint)
    scores = scorer.capabilities("send a letter")
    assert scores["o.p.mail.b"] > 0.9 > 0.1 > scores["o.p.mail.a"]
    assert scorer.chance(well[0]) > 0.7 > 0.3 > scorer.chance(failed[0])
    assert best(dict(scorer.tools("send a letter", ()))) == "post:fast"


def test_failures_alone_teach_what_not_to_do() -> None:
    """F46: A only ever failed and nobody did B for this intent: A falls below it."""
    history = [run(i, "o.p.x.a", "dig a hole", ("s:dig",), success=False) for i in range(1, 30)]
    history += [run(i, "o.p.x.b", "", ("s:other",), success=False) for i in range(30, 33)]
    scores = ModelScorer(train(history, {}, training=SMALL).checkpoint).capabilities("dig a hole")
    assert scores["o.p.x.b"] > scores["o.p.x.a"]


def brier(chance: Callable[[Run], float], runs: list[Run]) -> float:
    return float(np.mean([(chance(each) - each.success) ** 2 for each in runs]))


def test_what_changed_sides_is_followed() -> None:
    """Two ways to do one thing: the first succeeds until row 200, the second after it. Of all runs that succeeded the
    first made twice as many; now the second is above it, and likelier to succeed."""
    sides = [("east", "west")[row % 2] for row in range(301)]
    runs = [
        run(row, f"o.p.by.{sides[row]}", "do the thing", (f"{sides[row]}:do",), (sides[row] == "east") == (row <= 200))
        for row in range(1, 301)
    ]
    scorer = ModelScorer(train(runs, {}, training=SMALL).checkpoint)
    scores = scorer.capabilities("do the thing")
    assert scores["o.p.by.west"] > scores["o.p.by.east"]
    assert best(dict(scorer.tools("do the thing", ()))) == "west:do"
    assert scorer.chance(runs[-2]) > 0.7 > 0.3 > scorer.chance(runs[-1])


def test_a_chance_is_calibrated_on_runs_held_back() -> None:
    """F47: what is trained on succeeded nine times in ten, what is held back and later half the time: the network is
    too sure, and the calibration puts most of it right."""
    words = noisy(700)
    rng = np.random.default_rng(3)
    runs = [replace(each, success=bool(rng.random() < (0.9 if each.row <= 255 else 0.5))) for each in words]
    checkpoint = train(runs[:300], {}, training=SMALL).checkpoint
    raw = brier(ModelScorer(replace(checkpoint, calibration=Platt())).chance, runs[300:])
    calibrated = brier(ModelScorer(checkpoint).chance, runs[300:])
    assert calibrated - 0.25 < (raw - 0.25) / 2


def test_a_chance_is_near_the_truth() -> None:
    """F47: twelve capabilities of 5 to 95 %: on later runs the Brier score is near the best there is."""
    later = uneven(600, seed=5)
    truth = {f"o.p.c{i}.go": chance for i, chance in enumerate(np.linspace(0.05, 0.95, 12))}
    scorer = ModelScorer(train(uneven(400), {}, training=SMALL).checkpoint)
    assert brier(scorer.chance, later) < brier(lambda run: truth[run.capability], later) + 0.02


def test_training_stops_in_time_and_keeps_the_best() -> None:
    """Where there is noise to learn by heart it stops before the last step, and what it kept foretells later runs
    better than what it would have ended with, and than one chance for all."""
    later = noisy(400, seed=5)
    in_time = train(noisy(400), {}, training=replace(SMALL, steps=150))
    to_the_end = train(noisy(400), {}, training=replace(SMALL, steps=150, look=150))
    assert len(in_time.losses) < 150 == len(to_the_end.losses)
    kept, ended = (brier(ModelScorer(each.checkpoint).chance, later) for each in (in_time, to_the_end))
    assert kept < ended - 0.005
    assert kept < brier(lambda _: float(np.mean([each.success for each in later])), later) - 0.01


@pytest.mark.parametrize("global_seed", [1, 2])
def test_the_same_seed_makes_the_same_bytes(global_seed: int) -> None:
    """Whatever the global generators and the number of threads; another seed makes others."""
    history = forked(40)
    one = train(history, {}, training=FEW)
    torch.manual_seed(global_seed)
    random.seed(global_seed)
    np.random.seed(global_seed)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    two = train(history, {}, training=FEW)
    torch.set_num_threads(before)
    assert one.checkpoint.to_bytes() == two.checkpoint.to_bytes()
    assert one.losses == two.losses
    assert np.array_equal(one.priorities, two.priorities)
    assert train(history, {}, training=replace(FEW, seed=1)).checkpoint.to_bytes() != one.checkpoint.to_bytes()


class GaveUp(Exception):
    """What a caller raises to end training."""


def test_nothing_global_is_moved() -> None:
    """Threads, deterministic mode, default type and random state are as before, also when the caller gives up."""

    def state() -> tuple[object, ...]:
        rng = torch.get_rng_state().numpy().tobytes(), np.random.get_state(legacy=False)["state"]["key"].tobytes()
        return torch.get_num_threads(), torch.get_deterministic_debug_mode(), torch.get_default_dtype(), *rng

    seen = list[Step]()

    def give_up(step: Step) -> None:
        seen.append(step)
        assert torch.get_num_threads() == 1
        if step.number == 3:
            raise GaveUp

    before = state()
    with pytest.raises(GaveUp):
        train(forked(40), {}, training=FEW, stepped=give_up)
    assert state() == before
    assert [step.number for step in seen] == [1, 2, 3]
    assert all(step.of == 6 and np.isfinite(step.loss) and step.seconds > 0 for step in seen)


def test_a_caller_is_asked_all_the_time() -> None:
    """So that it can keep to its share of the processor, or give up: in the steps of the head for chances, too."""
    seen = list[Step]()
    train(forked(160), {}, training=FEW, stepped=seen.append)
    assert [step.number for step in seen[:6]] == [1, 2, 3, 4, 5, 6]
    assert len(seen) > 16
    assert {step.number for step in seen[6:]} == {6}


def test_priorities_return_to_their_rows() -> None:
    """F45: each run trained on gets |outcome - predicted|, in the replay too; rows held back or foreign keep theirs."""
    history = uneven(200)
    replay = PrioritizedReplay(alpha=1.0)
    rows = np.array([each.row for each in history] + [900, 901])
    replay.add(rows, np.full(len(rows), 0.5))
    trained = train(history, {}, training=SMALL, replay=replay)
    assert trained.rows.tolist() == [each.row for each in history[:170]]
    assert ((trained.priorities >= LEAST_PRIORITY) & (trained.priorities <= 1)).all()
    weight = replay.sample(20_000, np.random.default_rng(0)).rows
    drawn = np.bincount(weight, minlength=902) / 20_000
    total = trained.priorities.sum() + 32 * 0.5
    assert drawn[171:201].mean() == pytest.approx(0.5 / total, rel=0.05)
    assert drawn[900:].mean() == pytest.approx(0.5 / total, rel=0.1)
    assert drawn[trained.rows] == pytest.approx(trained.priorities / total, abs=1e-4)
    # What succeeds one time in twenty surprises when it does.
    by_row = dict(zip(trained.rows.tolist(), trained.priorities, strict=True))
    rare = [by_row[each.row] for each in history[:170] if each.capability == "o.p.c0.go"]
    assert all(0.0 < priority < 1.0 for priority in rare)


def test_only_runs_in_the_replay_are_drawn() -> None:
    """A replay that knows none of the runs is an error, not an endless search."""
    replay = PrioritizedReplay()
    replay.add(np.array([5000]), np.array([1.0]))
    with pytest.raises(ValueError, match="none of these runs"):
        train(forked(30), {}, training=FEW, replay=replay)
    with pytest.raises(ValueError, match="no runs"):
        train([], {}, training=FEW)


def test_a_loss_that_is_no_number_ends_training() -> None:
    """No checkpoint with NaN in it: the embedder's vectors are infinite."""

    def broken(texts: Sequence[str]) -> Floats:
        return np.full((len(texts), 4), np.inf, np.float32)

    with pytest.raises(FloatingPointError, match="nothing was kept"):
        train(forked(30), {}, training=FEW, embedder=broken)


@pytest.mark.parametrize(
    "history",
    [
        [run(1, "c", "", ())],
        [run(1, "c", "x", ("",), success=False)],
        [run(i, "\ud800\u202e.\N{PILE OF POO}", "\ud800", ("capability:", "\ud800:\x00")) for i in range(1, 40)],
        [run(i, f"c{i}", "", [f"t{j}" for j in range(40)], success=i % 2 == 0) for i in range(1, 60)],
    ],
)
def test_any_history_can_be_trained_on(history: list[Run]) -> None:
    """One run, no calls, no intent, names that are no text, forty calls: a checkpoint that can be read and answers."""
    checkpoint = Checkpoint.from_bytes(train(history, {}, training=FEW).checkpoint.to_bytes())
    scorer = ModelScorer(checkpoint)
    assert set(scorer.capabilities("anything")) == {each.capability for each in history}
    assert set(scorer.tools("", ("never:seen",))) == {call for each in history for call in each.path}
    assert 0 < scorer.chance(history[0]) < 1
    assert scorer.chance(run(1, "unknown", "anything", ("never:seen",))) == 0.5


def test_any_embedder_will_do() -> None:
    """Of seven dimensions: used for training and answers, recorded, and another one is refused."""

    def seven(texts: Sequence[str]) -> Floats:
        return np.array([[len(text), *(text.count(c) for c in "aeiour")] for text in texts], np.float32)

    def eight(texts: Sequence[str]) -> Floats:
        return np.pad(seven(texts), ((0, 0), (0, 1)))

    checkpoint = train(forked(40), {}, training=FEW, embedder=seven).checkpoint
    assert checkpoint.dimensions == 7
    assert len(ModelScorer(checkpoint, embedder=seven).capabilities("invoices")) == 4
    for other in (eight, None):
        with pytest.raises(ValueError, match="another embedder"):
            ModelScorer(checkpoint, embedder=other) if other else ModelScorer(checkpoint)
