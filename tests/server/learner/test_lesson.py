"""One training, from runs to what is kept."""

from __future__ import annotations

import numpy as np
import pytest

from belljar.learning.checkpoint import Checkpoint, ModelScorer
from belljar.learning.embedding import embed
from belljar.learning.evaluation import Evaluation
from belljar.learning.runs import Run
from belljar.learning.synthetic import world
from belljar.server.learner import lesson
from belljar.server.learner.budget import Stopped
from belljar.server.learner.keeping import Keeping
from belljar.server.learner.lesson import gathered, learn
from belljar.server.store import runs
from belljar.server.store.engine import Database
from belljar.server.store.keys import Principal
from tests.server.learner.conftest import feed
from tests.server.learner.test_keeping import free


def test_more_than_can_be_looked_at(db: Database, owner: Principal) -> None:
    """F44: the newest ones, and as many older ones, those from which there is more to learn more often; each once,
    oldest first."""
    feed(db, owner, 300)
    rows = np.array([run.row for run in runs.newest(db, owner.tenant_id, 300)])
    high = np.where(np.arange(300) % 10 == 0, 1.0, 0.01)
    runs.write_priorities(db, owner.tenant_id, rows, high)
    keeping = Keeping(db, owner.tenant_id, paid=free)
    keeping.follow()
    found = gathered(db, owner.tenant_id, keeping.replay, np.random.default_rng(1), most=100)
    got = [run.row for run in found]
    assert got[-50:] == rows[-50:].tolist()
    assert got == sorted(set(got))
    older = got[:-50]
    assert 10 < len(older) <= 50
    surprising = set(rows[::10].tolist())
    assert sum(row in surprising for row in older) > len(older) / 2  # they are a tenth of all
    assert len(gathered(db, owner.tenant_id, keeping.replay, np.random.default_rng(1), most=300)) == 300


@pytest.fixture(scope="module")
def structured() -> list[Run]:
    return list(world("structured", runs=900, seed=1).runs)


@pytest.mark.slow
def test_it_is_used_where_it_won(structured: list[Run]) -> None:
    """F47: in a world where structure matters: evaluated on the newest fifth, then trained on all, kept with what it
    won and nothing else; progress is told, and every piece of work is paid for."""
    told, paid = set[str](), list[None]()

    def progress(what: str, number: int, of: int) -> None:
        assert 1 <= number <= of
        told.add(what)

    done = learn(structured, {}, seed=1, steps=150, embedder=embed, paid=lambda: paid.append(None), progress=progress)
    found = Evaluation.from_wire(done.model.evaluation)
    assert (found.held_out, found.fitted, done.model.traces) == (180, 720, 900)
    assert done.model.uses == {task: winner == "shgat" for task, winner in found.winners.items()}
    assert done.model.uses["tools"], found.tools.reason
    assert told == {"training", "training on all"}
    assert len(paid) > 1000
    assert done.model.last_row == structured[-1].row
    assert done.rows[-1] > structured[720].row  # of those that were held out before
    scorer = ModelScorer(Checkpoint.from_bytes(done.model.blob), embed)
    assert scorer.tools(structured[0].intent, ())


def test_given_up(structured: list[Run]) -> None:
    """What `paid` raises ends it, from any piece of work."""
    left = iter(range(5))

    def paid() -> None:
        if next(left, None) is None:
            raise Stopped

    with pytest.raises(Stopped):
        learn(structured[:100], {}, seed=1, steps=50, embedder=embed, paid=paid)


def test_whether_it_can_train() -> None:
    """Where PyTorch is not there, it is said what to install; where it cannot be loaded, why."""
    assert lesson.cannot() == ""
    why = lesson.why_not(ImportError("libgomp.so.1: \x1b cannot open"))
    assert "libgomp" in why
    assert "\x1b" not in why
    assert "belljar[learn]" in why
