"""The baseline `counts` is what the server answers: held against a real store, question by question."""

from __future__ import annotations

import random
from functools import partial

import pytest

from belljar.learning.baselines import Counts, as_arrived
from belljar.learning.runs import Run
from belljar.learning.synthetic import world
from belljar.server.store import learned
from belljar.server.store.engine import Database
from belljar.server.store.ingest import ingest
from belljar.server.store.keys import Principal
from belljar.server.store.queries import get_trace
from belljar.server.store.suggestions import suggest
from belljar.tracing.types import Trace
from tests.server.conftest import NOW
from tests.server.traces import call, trace, trace_id


def traced(run: Run) -> Trace:
    """As a client would have sent it."""
    tasks = [call(i, tool=name) for i, name in enumerate(run.path)]
    return trace(
        run.row, success=run.success, capabilityId=f"{run.capability}.a7f3", intent=run.intent, taskResults=tasks
    )


def longer(run: Run) -> Run:
    """Some runs make more calls than count as a path, some none, some the same twice."""
    rng = random.Random(run.row)
    return Run(run.row, run.capability, run.intent, run.path * rng.choice((0, 1, 1, 1, 2, 5)), run.success)


def test_counts_are_the_servers(db: Database, owner: Principal) -> None:
    """F47: the same candidates with the same scores, for intents and contexts; the same chance and priority."""
    runs = [longer(run) for run in world("structured", runs=120).runs]
    for start in range(0, len(runs), 20):
        batch = [traced(run) for run in runs[start : start + 20]]
        ingest(db, owner, batch, now=NOW, learn=partial(learned.learn, now=NOW))
    counts = Counts.fit(runs, {})
    for intent in {run.intent for run in runs[:30]}:
        answered = suggest(db, owner.tenant_id, intent=intent, limit=50)
        found = {each.capability_id.removesuffix(".a7f3"): each.score for each in answered.found if each.capability_id}
        assert found == pytest.approx(dict(counts.capabilities(intent)))
    contexts = {run.path[:length] for run in runs[:60] for length in (1, 2, 3, 7, 8, 9) if len(run.path) >= length}
    for context in sorted(contexts):
        answered = suggest(db, owner.tenant_id, context=context, limit=50)
        found = {each.tool: each.score for each in answered.found}
        assert found == pytest.approx(dict(counts.tools("", context)))
    for run in list(as_arrived(runs))[-10:]:
        stored = get_trace(db, owner.tenant_id, trace_id(run.row))
        assert stored is not None
        assert (stored.summary.predicted, stored.summary.priority) == pytest.approx((run.foreseen, run.priority))
        assert run.foreseen == Counts.fit(runs[: run.row], {}).chance(run)
