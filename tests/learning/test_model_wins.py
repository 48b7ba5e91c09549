"""The trained model against everything that needs no training: it is used where it wins, and nowhere else."""

from __future__ import annotations

import pytest

from belljar.learning.baselines import BASELINES
from belljar.learning.checkpoint import Checkpoint, ModelScorer
from belljar.learning.evaluation import Evaluation, evaluate, known_texts, split
from belljar.learning.synthetic import world
from belljar.learning.training import train

pytestmark = pytest.mark.slow


def judged(name: str) -> tuple[Evaluation, dict[str, float]]:
    """What was found in a world, with a model that went through its bytes; and the best possible."""
    made = world(name)
    fitted, later = split(made.runs)
    texts = known_texts(fitted, made.texts)
    model = ModelScorer(Checkpoint.from_bytes(train(fitted, texts).checkpoint.to_bytes()))
    found = evaluate([model, *(fit(fitted, texts) for fit in BASELINES)], later, fitted=fitted)
    return found, made.truth.best(later)


@pytest.mark.parametrize("name", ["structured", "detours"])
def test_where_structure_matters_it_wins(name: str) -> None:
    """F47: ten points of Hit@1 and more above Markov-1 at the next tool, above all others, near the best possible."""
    found, best = judged(name)
    tools = {scorer: each.hit1 for scorer, each in found.tools.scorers.items()}
    assert tools["shgat"] > tools["markov1"] + 0.1
    assert tools["shgat"] > best["tools"] - 0.05
    assert found.tools.winner == "shgat"
    assert found.capabilities.winner == "shgat"


def test_a_change_is_followed() -> None:
    """F47: when the servers have changed places for a while, it suggests what works now, and more so than counts do."""
    found, best = judged("regimes")
    tools = {scorer: each.hit1 for scorer, each in found.tools.scorers.items()}
    assert tools["shgat"] > best["tools"] - 0.15
    assert tools["shgat"] > tools["counts"] + 0.1
    assert (found.capabilities.winner, found.tools.winner) == ("shgat", "shgat")


def test_where_it_does_not_matter_it_is_not_used() -> None:
    """F47: in the plain world the simple ones are as good as can be, and they are what is used."""
    found, _ = judged("plain")
    assert found.tools.winner != "shgat"
    assert found.capabilities.winner != "shgat"
