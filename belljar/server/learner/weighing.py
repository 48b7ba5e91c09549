"""Weighing traces anew: what surprised when it came may be foreseen by now, and what was foreseen may surprise.

A trace's priority is how far its outcome is from what would be foreseen of it, and what is foreseen changes with every
trace after it. So some are drawn, by the priorities they have, foreseen with what is known today - by the model where
it is the better foreseer, by counts elsewhere - and their priorities go back to their rows. Schaul et al. 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from belljar.learning.estimates import Evidence, foreseen, priority_of, td_error
from belljar.learning.runs import Run
from belljar.learning.things import Thing, shape
from belljar.server.learner.keeping import Keeping
from belljar.server.store import learned, runs
from belljar.server.store.engine import Database

__all__ = ["Foresee", "by_counts", "weigh"]

Foresee = Callable[[Sequence[Run]], Sequence[float]]
"""How likely each of these was to succeed, as is known now; 0 to 1."""

# What is so near to the old priority is not worth a write.
_SAME = 0.005


def weigh(
    db: Database, tenant_id: int, keeping: Keeping, count: int, rng: np.random.Generator, foresee: Foresee
) -> int:
    """Draw up to `count` and weigh them; how many rows got a new priority.

    Raises:
        StoreUnavailable: what came before is written.
    """
    if not len(keeping.replay):
        return 0
    drawn = np.unique(keeping.replay.sample(count, rng).rows)
    found = runs.of_rows(db, tenant_id, drawn.tolist())
    keeping.replay.remove(np.setdiff1d(drawn, _rows(found)))
    chances = foresee(found)
    weighed = [(run, priority_of(td_error(run.success, chance))) for run, chance in zip(found, chances, strict=True)]
    changed = [(run, value) for run, value in weighed if abs(value - run.priority) > _SAME]
    rows, values = _rows([run for run, _ in changed]), np.array([value for _, value in changed], np.float64)
    written = runs.write_priorities(db, tenant_id, rows, values)
    keeping.update(rows, values)
    return written


def by_counts(db: Database, tenant_id: int, some: Sequence[Run]) -> list[float]:
    """Foreseen from what is counted now, each run itself among it."""
    shapes = [shape(run.capability, run.path) for run in some]
    with db.read() as connection:
        known = learned.known(connection, tenant_id, {thing for each in shapes for thing in each.things})
    evidence = {thing: each.by_key for thing, each in known.items()}
    return [
        foreseen(
            [(_of(evidence, beginning), _of(evidence, tool)) for beginning, tool in each.steps],
            _of(evidence, each.capability),
        )
        for each in shapes
    ]


def _of(evidence: Mapping[Thing, Sequence[Evidence]], thing: Thing) -> Sequence[Evidence]:
    return evidence.get(thing, ())


def _rows(some: Sequence[Run]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.fromiter((run.row for run in some), np.int64, len(some))
