"""One training, from the store to a checkpoint that is fit to be kept.

    runs       the newest ones; where there are more than can be trained on, half of them older ones, by priority
    train      on all but the newest fifth
    evaluate   on that fifth, against every simple scorer, all of whom were fitted to the same
    train      on all of them, if the model won anything: the newest runs know best what the world is like now
    keep       with the evaluation, and used for what it won

So what is used is not the very model that was evaluated but one of the same making, from a quarter more runs. The other
way, to keep the one that was evaluated, was dropped: it knows nothing of the newest fifth, in which a tool that broke
yesterday breaks. A model that won nothing is kept as it is, so that everybody sees why it is not used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from belljar import show
from belljar.learning.baselines import BASELINES
from belljar.learning.checkpoint import ModelScorer
from belljar.learning.embedding import Embedder
from belljar.learning.evaluation import MODEL, Evaluation, evaluate, known_texts, split
from belljar.learning.replay import PrioritizedReplay
from belljar.learning.runs import Run, Scorer
from belljar.server.scoring import TASKS
from belljar.server.store import runs as store
from belljar.server.store.engine import Database
from belljar.server.store.models import NewModel

if TYPE_CHECKING:
    from belljar.learning.sumtree import Floats, Ints

__all__ = ["MOST_RUNS", "Lesson", "Paid", "Progress", "cannot", "gathered", "learn", "why_not"]

MOST_RUNS = 10_000
"""That one training looks at."""

Paid = Callable[[], None]
"""Called after each piece of work: rests, or raises to give up."""
Progress = Callable[[str, int, int], None]
"""Hears how far it has come: what is done, so many of so many."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What came of it; nothing of it is stored yet."""

    model: NewModel
    evaluation: Evaluation
    rows: Ints
    priorities: Floats
    """How much the model has left to learn from each."""


def cannot() -> str:
    """Why nothing can be trained here; empty if it can, as far as can be told without loading 200 MB."""
    return "" if find_spec("torch") else "PyTorch is not installed: pip install 'belljar[learn]'"


def why_not(exc: ImportError) -> str:
    """The same, of PyTorch that is there and could not be loaded."""
    return f"PyTorch cannot be loaded ({show.text(str(exc), max_chars=200)}): pip install 'belljar[learn]'"


def gathered(
    db: Database, tenant_id: int, replay: PrioritizedReplay, rng: np.random.Generator, *, most: int = MOST_RUNS
) -> list[Run]:
    """What to train on, oldest first: the newest runs, and if there are too many, older ones drawn by priority."""
    if len(replay) <= most:
        return store.newest(db, tenant_id, most)
    newest = store.newest(db, tenant_id, most // 2)
    older = PrioritizedReplay(alpha=replay.alpha)
    rows = replay.rows[: np.searchsorted(replay.rows, newest[0].row)] if newest else replay.rows
    older.add(rows, replay.priorities(rows))
    drawn = older.sample(most - most // 2, rng).rows
    return [*store.of_rows(db, tenant_id, np.unique(drawn).tolist()), *newest]


def learn(
    runs: Sequence[Run],
    texts: Mapping[str, str],
    *,
    seed: int,
    embedder: Embedder,
    paid: Paid,
    steps: int = 800,
    progress: Progress = lambda _what, _number, _of: None,
) -> Lesson:
    """Train, evaluate, and train on all of it if it won.

    Raises:
        ImportError: PyTorch cannot be loaded.
        ValueError, FloatingPointError: nothing can be learned from these.
        Whatever `paid` raises, to give up.
    """
    from belljar.learning.training import Step, Training, train

    began, training = time.monotonic(), Training(seed=seed, steps=steps)

    def stepped(what: str) -> Callable[[Step], None]:
        def step(step: Step) -> None:
            progress(what, step.number, step.of)
            paid()

        return step

    fitted, held_out = split(runs)
    known = known_texts(fitted, texts)
    trained = train(fitted, known, training=training, embedder=embedder, stepped=stepped("training"))
    model = ModelScorer(trained.checkpoint, embedder)
    simple = [fit(fitted, known) for fit in BASELINES]
    evaluation = evaluate([_Paying(each, paid) for each in (model, *simple)], held_out, fitted=fitted, seed=seed)
    uses = {task: evaluation.winners[task] == MODEL for task in TASKS}
    if any(uses.values()):
        trained = train(runs, texts, training=training, embedder=embedder, stepped=stepped("training on all"))
    checkpoint = trained.checkpoint
    kept = NewModel(
        trained_at=datetime.now(UTC),
        traces=len(runs),
        last_row=runs[-1].row,
        seed=seed,
        seconds=round(time.monotonic() - began, 1),
        embedder=checkpoint.embedder,
        dimensions=checkpoint.dimensions,
        config=asdict(training),
        evaluation=evaluation.to_wire(),
        uses=uses,
        blob=checkpoint.to_bytes(),
    )
    return Lesson(kept, evaluation, trained.rows, trained.priorities)


class _Paying:
    """A scorer whose answers are paid for: an evaluation asks thousands of questions."""

    def __init__(self, scorer: Scorer, paid: Paid) -> None:
        self._scorer = scorer
        self._paid = paid
        self.name = scorer.name

    def capabilities(self, intent: str) -> Mapping[str, float]:
        self._paid()
        return self._scorer.capabilities(intent)

    def tools(self, intent: str, context: Sequence[str]) -> Mapping[str, float]:
        self._paid()
        return self._scorer.tools(intent, context)

    def chance(self, run: Run) -> float:
        self._paid()
        return self._scorer.chance(run)
