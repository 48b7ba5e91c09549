"""The sum tree: its root is the sum of its leaves, and it draws them in proportion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.learning.sumtree import SumTree

_WEIGHT = st.floats(0, 1e6, allow_nan=False)
_CHANGES = st.lists(st.lists(st.tuples(st.integers(0, 36), _WEIGHT), min_size=1, max_size=9), min_size=1, max_size=9)


@given(_CHANGES)
def test_the_root_is_the_sum_of_the_leaves(batches: list[list[tuple[int, float]]]) -> None:
    """F44: after any batches of updates, repeated leaves included; exactly what the leaves hold, no drift."""
    tree, model = SumTree(37), dict[int, float]()
    for batch in batches:
        tree.set(np.array([leaf for leaf, _ in batch]), np.array([weight for _, weight in batch]))
        model |= dict(batch)
    assert np.array_equal(tree.get(np.array(list(model))), list(model.values()))
    assert tree.total == pytest.approx(sum(model.values()), rel=1e-12)


@given(st.lists(_WEIGHT, min_size=1, max_size=40).filter(any), st.floats(0, 1))
def test_a_point_falls_on_the_leaf_that_covers_it(weights: list[float], part: float) -> None:
    """F44: never on a leaf of weight 0, also where the point is rounded up to the total."""
    tree = SumTree(len(weights))
    tree.set(np.arange(len(weights)), np.array(weights))
    point = tree.total * part
    leaf = int(tree.draw(np.array([point]))[0])
    assert leaf < len(weights)
    assert weights[leaf] > 0
    slack = 1e-9 * tree.total
    assert sum(weights[:leaf]) - slack <= point <= sum(weights[: leaf + 1]) + slack


def test_draws_fit_the_weights() -> None:
    """F44: chi-square of 200,000 draws from 1000 leaves, some of them empty."""
    rng = np.random.default_rng(7)
    weights = rng.random(1000) ** 3
    weights[::10] = 0
    tree = SumTree(1000)
    tree.set(np.arange(1000), weights)
    counts = np.bincount(tree.draw(rng.random(200_000) * tree.total), minlength=1000)
    filled = weights > 0
    expected = 200_000 * weights[filled] / weights.sum()
    enough = expected > 5
    chi_square = ((counts[filled] - expected)[enough] ** 2 / expected[enough]).sum()
    freedom = int(enough.sum()) - 1
    assert abs(chi_square - freedom) < 5 * (2 * freedom) ** 0.5
    assert counts[~filled].sum() == 0


def test_a_larger_tree_holds_the_same() -> None:
    """Growing keeps every leaf."""
    tree = SumTree(3)
    tree.set(np.array([0, 2]), np.array([1.0, 2.5]))
    larger = tree.grown(100)
    assert larger.capacity == 128
    assert larger.total == 3.5
    assert list(larger.get(np.array([0, 1, 2, 3]))) == [1.0, 0.0, 2.5, 0.0]


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    """One NaN would make every draw meaningless."""
    tree = SumTree(4)
    with pytest.raises(ValueError, match="finite"):
        tree.set(np.array([1]), np.array([weight]))
    assert tree.total == 0


def test_an_empty_tree_and_a_strange_leaf_are_refused() -> None:
    """There is nothing to draw; and no leaf outside the tree, which would be an inner node."""
    tree = SumTree(4)
    with pytest.raises(ValueError, match="nothing"):
        tree.draw(np.array([0.0]))
    for leaf in (-1, 4):
        with pytest.raises(ValueError, match="leaves are"):
            tree.set(np.array([leaf]), np.array([1.0]))
