"""A model's answers and those of counts, made one list: a model knows what it was trained on, counts know today.

Capabilities: counts say how well anything fits at all, and where nothing does there is no answer, whatever a model
would guess. Where something does, what the model knows stands in the model's order, with the scores that counts gave to
as many of them; what it does not know yet keeps its own.

Tools: a model's scores are how likely each is to be the next, and counts' are close to that, so they are mixed: what it
does not know keeps the share of all calls that counts gave it, and the model says how the rest is parted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from belljar.learning.suggest import Ranked, by_score

__all__ = ["mixed", "reordered"]

# Less likely than that is not worth saying.
_LEAST_CAPABILITY = 0.05
_LEAST_TOOL = 0.01


def reordered(counted: Sequence[Ranked], modelled: Mapping[str, float], among: Collection[str]) -> list[Ranked]:
    """Capabilities, the best first.

    Args:
        counted: those that fit, by counts, the best first.
        modelled: how likely each is, by the model.
        among: all that there are.
    """
    if not counted:
        return []
    order = sorted((name for name in modelled if name in among), key=lambda name: (-modelled[name], name))
    own = [each for each in counted if each.name not in modelled]
    scores = [each.score for each in counted if each.name in modelled]
    anew = [Ranked(name, score) for name, score in zip(order, scores, strict=False)]
    if anew:
        last = anew[-1]
        anew += [
            Ranked(name, last.score * modelled[name] / modelled[last.name])
            for name in order[len(anew) :]
            if modelled[name] >= _LEAST_CAPABILITY
        ]
    return by_score([*own, *anew])


def mixed(counted: Sequence[Ranked], modelled: Mapping[str, float]) -> list[Ranked]:
    """Tools that may come next, the best first; `modelled` are probabilities."""
    own = [each for each in counted if each.name not in modelled]
    left = max(0.0, 1.0 - sum(each.score for each in own))
    likely = (Ranked(name, left * chance) for name, chance in modelled.items() if chance >= _LEAST_TOOL)
    return by_score([*own, *likely])
