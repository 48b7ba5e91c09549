"""What is suggested, and by whom: the model where it won, counts elsewhere; and what /api/learning tells of that."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from belljar.learning.checkpoint import ModelScorer
from belljar.server.scoring import TASKS, Model, ModelFailed, Scoring
from belljar.server.store import learners
from belljar.server.store.engine import Database
from belljar.server.store.learners import Status
from belljar.server.store.suggestions import COUNTS, Suggestions, learning_state, suggest

__all__ = ["learning", "suggested"]


def suggested(
    db: Database,
    scoring: Scoring,
    tenant_id: int,
    *,
    intent: str = "",
    context: Sequence[str] = (),
    goal: str | None = None,
    limit: int = 5,
) -> Suggestions:
    """As `suggestions.suggest`. Where a model was to answer and could not, that is logged and counted, and counts do.

    Raises:
        StoreUnavailable: the database does not answer.
    """
    by = scoring.by(db, tenant_id)
    try:
        return suggest(db, tenant_id, intent=intent, context=context, goal=goal, limit=limit, by=by)
    except ModelFailed as exc:
        scoring.failed(by, exc)
        return suggest(db, tenant_id, intent=intent, context=context, goal=goal, limit=limit)


def learning(db: Database, scoring: Scoring, tenant_id: int, *, now: datetime) -> dict[str, Any]:
    """Blocking.

    Raises:
        StoreUnavailable: the database does not answer.
    """
    with db.read() as connection:
        model = scoring.of(connection, tenant_id)
        status, beat_at = learners.status_of(connection, tenant_id, now=now)
    return {
        **learning_state(db, tenant_id),
        "model": ModelScorer.name if model and model.uses else COUNTS,
        "reason": model.why if model else "no model was trained yet: counts answer",
        "uses": {task: bool(model and task in model.uses) for task in TASKS},
        "checkpoint": _checkpoint(model) if model else None,
        "evaluation": model.evaluation.to_wire() if model and model.evaluation else None,
        "learner": _learner(status, beat_at),
    }


def _checkpoint(model: Model) -> dict[str, Any]:
    stored = model.stored
    return {
        "version": stored.version,
        "trainedAt": _time(stored.trained_at),
        "traces": stored.traces,
        "lastRow": stored.last_row,
        "seed": stored.seed,
        "seconds": stored.seconds,
        "embedder": stored.embedder,
    }


def _learner(status: Status, beat_at: datetime | None) -> dict[str, Any]:
    return {
        "state": status.state,
        "why": status.why,
        "replay": status.replay,
        "newTraces": status.new_traces,
        "trainsAfter": status.trains_after,
        "updatedAt": _time(beat_at) if beat_at else None,
    }


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
