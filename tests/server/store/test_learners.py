"""What the learner says of itself."""

from __future__ import annotations

from datetime import timedelta

from belljar.server.store import learners
from belljar.server.store.engine import Database
from belljar.server.store.keys import Principal
from belljar.server.store.learners import Status
from tests.server.conftest import NOW, principal


def status(db: Database, owner: Principal, after_s: float = 0) -> tuple[str, int]:
    with db.read() as connection:
        said, _ = learners.status_of(connection, owner.tenant_id, now=NOW + timedelta(seconds=after_s))
    return said.state, said.new_traces


def test_a_learner_that_is_heard_of(db: Database, owner: Principal) -> None:
    """Each tenant is told of itself; nobody leads before the first and after the last word, nor after a minute."""
    stranger = principal(db, "stranger")
    assert status(db, owner) == ("off", 0)
    learners.beat(db, "here:1", now=NOW)
    assert status(db, owner) == ("waiting", 0)
    for n in (1, 2):
        learners.report(db, [(owner.tenant_id, Status("training", "enough", 100, n, 20))], now=NOW)
    assert (status(db, owner), status(db, stranger)) == (("training", 2), ("waiting", 0))
    assert status(db, owner, after_s=61) == ("off", 2)
    learners.beat(db, "there:2", now=NOW + timedelta(seconds=50))
    assert status(db, owner, after_s=61) == ("training", 2)
    learners.forget(db)
    assert status(db, owner) == ("off", 2)
