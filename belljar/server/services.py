"""What routes work with: the database, threads to talk to it in, and who is asking.

Whatever blocks - the store, parsing, masking - runs in one of a bounded number of threads; a request that gets none in
time is told to come again. What the store raises becomes a problem here, in one place.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import anyio
import anyio.to_thread
from starlette.requests import HTTPConnection

from belljar.server._good_keys import GoodKeys
from belljar.server.edge import Lifecycle
from belljar.server.embedders import embedder_of
from belljar.server.intake import Intake
from belljar.server.metrics import Metrics
from belljar.server.problems import Problem
from belljar.server.scoring import Scoring
from belljar.server.settings import Settings
from belljar.server.store.engine import Database
from belljar.server.store.errors import StoreConflict, StoreDenied, StoreError, StoreRefused, StoreUnavailable
from belljar.server.store.limiter import Limiter, limiter_for
from belljar.server.store.room import Room

__all__ = ["Services", "now", "services"]

_T = TypeVar("_T")
_RETRY_S = 2.0
_HEAVY = 2


@dataclass(slots=True)
class Services:
    """One app's parts; made by `create_app`."""

    settings: Settings
    db: Database
    metrics: Metrics
    life: Lifecycle
    intake: Intake
    room: Room
    """For what is learned."""
    limiter: Limiter | None
    """None: no limit."""
    threads: anyio.CapacityLimiter
    heavy: anyio.CapacityLimiter
    """For work that is not waiting but computing: more of it at once would hold up everybody else."""
    scoring: Scoring
    """The models that were trained."""
    good_keys: GoodKeys = field(default_factory=GoodKeys)

    @classmethod
    def of(cls, settings: Settings, db: Database) -> Services:
        """The parts of a server on a database. Raises ConfigError: there is no such embedder."""
        metrics = Metrics()
        metrics.watch_pool(lambda: {"size": db.pool().size, "in_use": db.pool().in_use})
        limited = settings.rate_per_s > 0
        limiter = limiter_for(db, per_second=settings.rate_per_s, burst=settings.rate_burst) if limited else None
        threads = anyio.CapacityLimiter(settings.threads)
        heavy = anyio.CapacityLimiter(_HEAVY)
        room = Room(refused=metrics.not_learned.inc)
        scoring = Scoring(embedder_of(settings.embedder), lambda outcome: metrics.checkpoints.labels(outcome).inc())
        metrics.watch_model(scoring.versions)
        return cls(settings, db, metrics, Lifecycle(), Intake(metrics), room, limiter, threads, heavy, scoring)

    async def run(self, operation: str, work: Callable[[], _T], *, heavy: bool = False) -> _T:
        """What `work` gives, done in a thread.

        Raises:
            Problem: what the store said, or 503 when no thread was free in time.
        """
        try:
            with anyio.fail_after(self.settings.work_timeout_s):
                return await anyio.to_thread.run_sync(
                    self._timed, operation, work, limiter=self.heavy if heavy else self.threads
                )
        except TimeoutError:
            raise Problem(503, "the server is busy", retry_after_s=_RETRY_S) from None
        except StoreError as exc:
            raise _problem(exc) from exc

    def _timed(self, operation: str, work: Callable[[], _T]) -> _T:
        began = time.perf_counter()
        try:
            return work()
        finally:
            self.metrics.store_seconds.labels(operation).observe(time.perf_counter() - began)


async def services(connection: HTTPConnection) -> Services:
    """The app's parts, as a dependency. Asynchronous, or FastAPI would ask a thread for them."""
    parts = connection.app.state.services
    assert isinstance(parts, Services)
    return parts


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def _problem(exc: StoreError) -> Problem:
    if isinstance(exc, StoreUnavailable):
        return Problem(503, exc.message, code=exc.reason, retry_after_s=_RETRY_S)
    statuses = {StoreConflict: 409, StoreDenied: 403, StoreRefused: 400}
    status = next((status for kind, status in statuses.items() if isinstance(exc, kind)), 500)
    return Problem(status, exc.message, code=exc.reason)
