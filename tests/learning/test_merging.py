"""A model's answers and those of counts, made one list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.learning.merging import mixed, reordered
from belljar.learning.suggest import Ranked

NAMES = st.sampled_from("abcdefgh")
SHARES = st.floats(0.001, 1)
COUNTED = st.dictionaries(NAMES, SHARES).map(
    lambda found: sorted((Ranked(*each) for each in found.items()), key=lambda each: (-each.score, each.name))
)
MODELLED = st.dictionaries(NAMES, SHARES).map(
    lambda found: {name: v / sum(found.values()) for name, v in found.items()}
)


def names(found: list[Ranked]) -> list[str]:
    return [each.name for each in found]


def test_the_models_order_on_the_scores_of_counts() -> None:
    """What it knows changes places; what it does not know keeps its score; what is nowhere near fitting is left out."""
    counted = [Ranked("a", 0.8), Ranked("new", 0.5), Ranked("b", 0.4)]
    modelled = {"a": 0.2, "b": 0.5, "c": 0.28, "d": 0.02}
    found = reordered(counted, modelled, {"a", "b", "c", "d", "new"})
    assert names(found) == ["b", "new", "c", "a"]
    assert [each.score for each in found] == pytest.approx([0.8, 0.5, 0.4, 0.4 * 0.2 / 0.28])


def test_where_nothing_fits_nothing_is_said() -> None:
    """F48: a model guesses; counts do not, and then neither do we."""
    assert reordered([], {"a": 0.99}, {"a"}) == []


def test_what_is_gone_is_not_suggested() -> None:
    """The model knows a capability that the store does not know any more."""
    assert names(reordered([Ranked("a", 0.5)], {"gone": 0.9, "a": 0.1}, {"a"})) == ["a"]


def test_tools_are_mixed() -> None:
    """A tool the model never saw keeps the share of calls it has; the rest is parted as the model says."""
    found = mixed([Ranked("a", 0.6), Ranked("new", 0.2)], {"a": 0.25, "b": 0.745, "c": 0.005})
    assert names(found) == ["b", "a", "new"] or names(found) == ["b", "new", "a"]
    assert {each.name: each.score for each in found} == pytest.approx({"new": 0.2, "a": 0.2, "b": 0.596})


@given(counted=COUNTED, modelled=MODELLED)
def test_scores_are_shares_in_their_order(counted: list[Ranked], modelled: dict[str, float]) -> None:
    """Whatever both say: each once, the best first, every score in (0, 1]; of what the model knows its own order; and
    nothing that counts alone know is lost."""
    for found in (reordered(counted, modelled, set("abcdefgh")), mixed(counted, modelled)):
        scores = [each.score for each in found]
        assert len(set(names(found))) == len(found)
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        known = [modelled[each.name] for each in found if each.name in modelled and each.score > 0]
        assert known == sorted(known, reverse=True) or len(set(scores)) < len(scores)
        assert {each.name for each in counted} - modelled.keys() <= set(names(found))
