"""Worlds with a known truth, and how near to it those come that need no model."""

from __future__ import annotations

from collections import Counter

import pytest

from belljar.learning.baselines import BASELINES, Counts, Markov1, Popularity, Semantic
from belljar.learning.evaluation import hold_out, split
from belljar.learning.nearest import Nearest
from belljar.learning.synthetic import WORLDS, Truth, world

EVERY = pytest.mark.parametrize("name", WORLDS)


@EVERY
def test_a_seed_is_a_world(name: str) -> None:
    """The same for the same seed, another for another; rows grow; some runs succeed and some fail."""
    one = world(name, runs=300)
    assert one == world(name, runs=300)
    assert one.runs != world(name, seed=1, runs=300).runs
    assert [run.row for run in one.runs] == list(range(300))
    assert 0 < sum(run.success for run in one.runs) < 300
    assert {run.capability for run in one.runs} <= set(one.texts)


def test_a_world_that_is_none() -> None:
    """Those that there are, are named."""
    with pytest.raises(ValueError, match="structured, detours"):
        world("wonder")


@EVERY
def test_the_truth_is_true(name: str) -> None:
    """Capabilities, next tools and successes are as frequent in many runs as the truth says they are."""
    made = world(name, runs=20_000)
    start = made.phases[-1][0]
    runs = [run for run in made.runs if run.row >= start]
    truth = made.truth
    intent, _ = Counter(run.intent for run in runs).most_common(1)[0]
    asked = [run for run in runs if run.intent == intent and run.success]
    ran = Counter(run.capability for run in asked)
    for capability, share in truth.capabilities(intent).items():
        assert ran[capability] / len(asked) == pytest.approx(share, abs=0.1)
    first = Counter(run.path[0] for run in asked)
    for tool, share in truth.tools(intent, ()).items():
        assert first[tool] / len(asked) == pytest.approx(share, abs=0.1)
    good = sum(run.success for run in runs) / len(runs)
    assert sum(map(truth.chance, runs)) / len(runs) == pytest.approx(good, abs=0.02)


def test_intents_are_put_in_many_ways() -> None:
    """Of one purpose, a dozen phrases or more; and pairs of them that share no word."""
    made = world("structured")
    phrases = {run.intent for run in made.runs if run.capability.startswith("local.default.notes.")}
    assert len(phrases) > 12
    assert any(not set(a.split()) & set(b.split()) for a in phrases for b in phrases)


# What the simple ones find


def test_popularity_finds_what_is_popular() -> None:
    """In the plain world it is right as often as anybody can be, and foresees the rate."""
    made = world("plain", runs=4000)
    fitted, _ = split(made.runs)
    shares = Popularity.fit(fitted, {}).capabilities("anything")
    assert sorted(shares, key=lambda name: -shares[name]) == [f"local.default.box.{kind}" for kind in "abcd"]
    assert Popularity.fit(fitted, {}).rate == pytest.approx(0.95**4, abs=0.02)


def test_markov_finds_the_chain() -> None:
    """After each tool of the plain world the next one stands first that is taken most, with about its true share."""
    made = world("plain", runs=4000)
    markov, truth = Markov1.fit(split(made.runs)[0], {}), made.truth
    intent = made.runs[0].intent
    for tool, share in truth.tools(intent, ()).items():
        found = markov.tools("", ())
        assert found[tool] == pytest.approx(share, abs=0.05)
        likely = truth.tools(intent, (tool,))
        after = markov.tools("", (tool,))
        assert max(after, key=lambda name: after[name]) == max(likely, key=lambda name: likely[name])


def test_words_are_misled_by_names() -> None:
    """Where names say the wrong thing, who goes by words is wrong; where they do not, right more often than chance."""
    confounded, structured = (hold_out(made.runs, made.texts) for made in map(world, ("confounded", "structured")))
    assert confounded.capabilities.scorers["semantic"].hit1 < 0.2
    assert structured.capabilities.scorers["semantic"].hit1 > 0.25
    assert confounded.capabilities.winner != "semantic"


def test_markov_loses_its_way_where_paths_meet() -> None:
    """In the structured world who knows the beginning of a path is far better, and the best possible better still."""
    made = world("structured")
    found = hold_out(made.runs, made.texts).tools
    best = made.truth.best(split(made.runs)[1])["tools"]
    assert found.winner == "counts"
    assert found.scorers["markov1"].hit1 + 0.1 < found.scorers["counts"].hit1 < best - 0.1


def test_past_intents_tell_what_is_wanted() -> None:
    """Who remembers all runs and their intents comes near the best possible, but not where no path is seen twice."""
    near, far = (hold_out_with_nearest(name) for name in ("confounded", "detours"))
    assert near["nearest"] > near["possible"] - 0.05 > near["counts"] + 0.1
    assert far["counts"] < far["nearest"] < far["possible"] - 0.08


def hold_out_with_nearest(name: str) -> dict[str, float]:
    """Hit@1 of the next tool."""
    made = world(name)
    found = hold_out(made.runs, made.texts, (*BASELINES, Nearest.fit)).tools
    possible = made.truth.best(split(made.runs)[1])["tools"]
    return {scorer: each.hit1 for scorer, each in found.scorers.items()} | {"possible": possible}


def test_counts_follow_a_change() -> None:
    """F43: a hundred runs of each way after the servers changed places, the one that works now is thought better."""
    made = world("regimes", runs=4000)
    change = made.phases[1][0]
    before, after = (Counts.fit(made.runs[:end], made.texts) for end in (change, change + 8 * 100))
    for purpose in ("notes", "invoice", "backup", "alert"):
        east, west = (
            next(run for run in made.runs if run.path[-1] == f"{server}:{purpose}") for server in ("east", "west")
        )
        assert before.chance(east) > before.chance(west) + 0.2
        assert after.chance(west) > after.chance(east) + 0.2
    truths = [Truth(phase) for _, phase in made.phases]
    assert truths[0].chance(made.runs[0]) != truths[1].chance(made.runs[0])


def test_old_rates_do_not_follow() -> None:
    """What counts each run alike however long ago is wrong after the change: the world does tell the two apart."""
    made = world("regimes")
    found = hold_out(made.runs, made.texts).chance
    assert found.scorers["semantic"].brier > found.scorers["counts"].brier + 0.1
    assert isinstance(Semantic.fit(made.runs, {}).chance(made.runs[0]), float)
