"""The learner at work: it goes from tenant to tenant, for as long as it leads.

What may go wrong with one tenant - a training that fails, a checkpoint that cannot be read - is logged and is not the
others' matter; a database that is away is waited for. Whatever it does pays for itself (`budget`), says now and then
that it is alive, and gives up when it leads no more or is told to end: each thing it writes is one transaction, so
there is never half of one.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from belljar.learning.embedding import Embedder
from belljar.learning.runs import Run
from belljar.server import logs
from belljar.server.learner import lesson
from belljar.server.learner.budget import Budget, Stopped
from belljar.server.learner.keeping import Keeping
from belljar.server.learner.leader import Leader
from belljar.server.learner.service import USUAL, Act, Rules, Standing, decide
from belljar.server.learner.weighing import by_counts, weigh
from belljar.server.scoring import Model, ModelFailed, Scoring
from belljar.server.store import learners, models, runs
from belljar.server.store.engine import Database
from belljar.server.store.errors import StoreError, StoreUnavailable
from belljar.server.store.learners import Status

__all__ = ["Learner", "Tell"]

_TURN_S = 2.0
_AWAY_S = 5.0
_LOOK_S = 1.0
_BEAT_S = 15.0
_REPORT_S = 5.0
_COMPARE_S = 600.0
_ROUND_S = 60.0
# Rows of all tenants' replays together; beyond, those not visited for longest are built anew when they are next.
_MOST_ROWS = 2_000_000

Tell = Callable[[str, float], None]
"""Hears figures: `leading`, `training` (1 or 0), `weighed`, `trained`, `failed` (how many more)."""


@dataclass(slots=True)
class _Tenant:
    """What is known of one while it is led."""

    id: int
    keeping: Keeping
    first: bool = True
    left: bool = False
    """There is something to do, now or soon."""
    rests_until: float = 0.0
    failed: int = 0
    unweighed: int = 0
    weighed_at: float = 0.0
    compared_at: float = 0.0
    visited_at: float = 0.0
    said: Status | None = None
    said_at: float = 0.0


class Learner:
    """Learns until told to end.

    Args:
        rest: waits so many seconds, or less when told to end; then it is true.
        share: of a core.
    """

    def __init__(
        self,
        db: Database,
        leader: Leader,
        rest: Callable[[float], bool],
        *,
        share: float,
        embedder: Embedder,
        rules: Rules = USUAL,
        tell: Tell = lambda _name, _value: None,
    ) -> None:
        self._db = db
        self._leader = leader
        self._rest = rest
        self._budget = Budget(share, rest)
        self._embedder = embedder
        self._rules = rules
        self._tell = tell
        self._scoring = Scoring(embedder)
        self._tenants = dict[int, _Tenant]()
        self._cannot = lesson.cannot()
        self._name = f"{socket.gethostname()[:200]}:{os.getpid()}"
        self._leads = False
        self._looked_at = self._beat_at = self._round_at = float("-inf")
        self._arrived = 0

    def run(self) -> None:
        """Until told to end. Blocking."""
        logs.event("learner-started", trains=not self._cannot, why=self._cannot or None)
        try:
            while not self._rest(self._turn()):
                pass
        finally:
            if self._leads:
                self._stand_down(forget=True)
            self._leader.close()

    def _turn(self) -> float:
        """One round through all tenants; seconds until the next."""
        try:
            if not self._still_leads():
                return _TURN_S
            for tenant_id in self._due():
                self._try(tenant_id)
            return _TURN_S
        except Stopped:
            return 0.0
        except StoreUnavailable as exc:
            logs.event("learner-waits", level=logging.WARNING, why=exc.message)
            return _AWAY_S

    # Leading

    def _paid(self) -> None:
        """After each piece of work. Raises Stopped: it is to end, or leads no more."""
        self._budget.pay()
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_S and not self._still_leads():
            raise Stopped

    def _still_leads(self) -> bool:
        self._looked_at = time.monotonic()
        leads = self._leader.leads()
        if leads != self._leads:
            self._leads = leads
            self._tell("leading", leads)
            logs.event("learner-leads" if leads else "learner-stands-down")
            if not leads:
                self._tenants.clear()
                self._round_at = float("-inf")
        if leads and self._looked_at - self._beat_at >= _BEAT_S:
            learners.beat(self._db, self._name, now=datetime.now(UTC))
            self._beat_at = self._looked_at
        return leads

    def _stand_down(self, *, forget: bool) -> None:
        self._leads = False
        self._tell("leading", 0)
        try:
            learners.forget(self._db) if forget else None
        except StoreError:
            pass  # its last beat says it, a minute later

    def _due(self) -> list[int]:
        """Whom to visit: those to whom something came, or for whom something is left to do; now and then, everybody:
        what came to light out of turn is found then at the latest."""
        now = time.monotonic()
        if now - self._round_at < _ROUND_S:
            self._arrived, ids = runs.arrivals(self._db, self._arrived)
        else:
            self._arrived, _ = runs.arrivals(self._db, sys.maxsize)
            ids, self._round_at = set(runs.tenants(self._db)), now
        return sorted(ids | {tenant.id for tenant in self._tenants.values() if tenant.left})

    # One tenant

    def _try(self, tenant_id: int) -> None:
        try:
            self._visit(tenant_id)
        except (Stopped, StoreUnavailable):
            raise
        except Exception as exc:  # noqa: BLE001 - a row that nobody thought of is one tenant's trouble, not all tenants'
            logs.event("learner-tenant-failed", level=logging.ERROR, exc=exc)
            self._tell("failed", 1)

    def _visit(self, tenant_id: int) -> None:
        now = time.monotonic()
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            keeping = Keeping(self._db, tenant_id, paid=self._paid)
            tenant = self._tenants[tenant_id] = _Tenant(tenant_id, keeping, weighed_at=now, compared_at=now)
        came = tenant.keeping.follow()
        tenant.unweighed += 0 if tenant.first else came
        tenant.first, tenant.visited_at = False, now
        if now - tenant.compared_at > _COMPARE_S:
            tenant.keeping.compare()
            tenant.compared_at = now
        tenant.left = tenant.keeping.waits
        if len(tenant.keeping.replay):
            self._act(tenant, self._model(tenant_id))
        self._paid()
        self._let_go()

    def _act(self, tenant: _Tenant, model: Model | None) -> None:
        now = time.monotonic()
        standing = Standing(
            traces=len(tenant.keeping.replay),
            new=tenant.keeping.new_since(model.stored.last_row if model else 0),
            trained_on=model.stored.traces if model else 0,
            rests_until=tenant.rests_until,
            unweighed=tenant.unweighed,
            weighed_at=tenant.weighed_at,
        )
        act = decide(standing, self._rules, now=now, can_train=not self._cannot)
        rests = standing.new >= self._rules.trains_after(standing.trained_on) and not self._cannot
        tenant.left = rests or standing.unweighed > 0 or tenant.keeping.waits
        self._report(tenant, standing, act)
        if act.kind == "train":
            self._train(tenant, standing)
        elif act.kind == "weigh":
            self._weigh(tenant, model, act.count)

    def _weigh(self, tenant: _Tenant, model: Model | None, count: int) -> None:
        scorer = model.scorer_for("chance") if model else None

        def foresee(some: Sequence[Run]) -> list[float]:
            try:
                return [scorer.chance(run) for run in some] if scorer else by_counts(self._db, tenant.id, some)
            except ModelFailed as exc:
                logs.event("model-failed", level=logging.ERROR, why=str(exc))
                return by_counts(self._db, tenant.id, some)

        # Whatever comes of it: what cannot be weighed now is not tried again and again.
        tenant.unweighed, tenant.weighed_at = tenant.unweighed - count, time.monotonic()
        written = weigh(self._db, tenant.id, tenant.keeping, count, np.random.default_rng(), foresee)
        self._tell("weighed", written)

    def _train(self, tenant: _Tenant, standing: Standing) -> None:
        self._tell("training", 1)
        try:
            version, seconds = self._lesson(tenant, standing)
            tenant.failed = 0
            logs.event("trained", version=version, traces=standing.traces, seconds=seconds)
            self._tell("trained", 1)
        except (Stopped, StoreUnavailable):
            raise
        except ImportError as exc:
            self._cannot = lesson.why_not(exc)
            logs.event("training-impossible", level=logging.ERROR, why=self._cannot)
        except Exception as exc:  # noqa: BLE001 - whatever training makes of strange runs: it is this tenant's alone
            tenant.failed += 1
            logs.event("training-failed", level=logging.ERROR, exc=exc, failed=tenant.failed)
            self._tell("failed", 1)
        finally:
            self._tell("training", 0)
            tenant.rests_until = time.monotonic() + self._rules.rest(tenant.failed)

    def _lesson(self, tenant: _Tenant, standing: Standing) -> tuple[int, float]:
        tenant.keeping.compare()
        seed = standing.traces
        found = lesson.gathered(self._db, tenant.id, tenant.keeping.replay, np.random.default_rng(seed))
        texts = runs.texts(self._db, tenant.id, {run.capability for run in found})
        steps = self._rules.steps
        done = lesson.learn(found, texts, seed=seed, embedder=self._embedder, paid=self._paid, steps=steps)
        version = models.save(self._db, tenant.id, done.model)
        if done.model.uses["chance"]:
            runs.write_priorities(self._db, tenant.id, done.rows, done.priorities)
            tenant.keeping.update(done.rows, done.priorities)
        return version, done.model.seconds

    def _model(self, tenant_id: int) -> Model | None:
        with self._db.read() as connection:
            return self._scoring.of(connection, tenant_id)

    def _report(self, tenant: _Tenant, standing: Standing, act: Act) -> None:
        """Say what is done, when it is something else, and its numbers now and then."""
        state = "training" if act.kind == "train" else "absent" if self._cannot else "waiting"
        after = self._rules.trains_after(standing.trained_on)
        said = Status(state, self._cannot or act.why, standing.traces, standing.new, after)
        now, before = time.monotonic(), tenant.said
        if said != before and (before is None or state != before.state or now - tenant.said_at >= _REPORT_S):
            learners.report(self._db, [(tenant.id, said)], now=datetime.now(UTC))
            tenant.said, tenant.said_at = said, now

    def _let_go(self) -> None:
        """Of replays, when there are too many rows in them."""
        held = sorted(self._tenants.values(), key=lambda tenant: -tenant.visited_at)
        total = 0
        for tenant in held:
            total += len(tenant.keeping.replay)
            if total > _MOST_ROWS and tenant is not held[0]:
                tenant.keeping = Keeping(self._db, tenant.id, paid=self._paid)
                tenant.first = True
