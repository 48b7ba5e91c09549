"""How fast a key may go: one token bucket each.

A bucket holds up to `burst` tokens and gains `per_second`; a request takes some or waits. One server on an SQLite file
keeps its buckets in memory. Replicas on PostgreSQL share them in a table: one UPDATE takes the tokens if they are
there, atomically by the row's lock and by the database's clock, so that replicas neither double the rate nor need equal
clocks. It does not wait for the disk (`synchronous_commit` off): a bucket may be forgotten in a crash.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import ColumnElement, bindparam, func, select, text, update
from sqlalchemy.dialects import postgresql

from belljar.server.store.engine import Database
from belljar.server.store.schema import rate_bucket

__all__ = ["Allowance", "Limiter", "limiter_for"]

# Buckets in memory; the least recently used goes first, and by then is full again or nearly so.
_MAX_BUCKETS = 10_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """Whether a request may go on."""

    granted: bool
    wait_s: float
    """0 when granted, else seconds until the same would be."""


class Limiter(Protocol):
    """Two real ones: in memory and in the database."""

    def take(self, key_id: str, cost: float = 1.0) -> Allowance:
        """Blocking on PostgreSQL (one short transaction). A cost above the burst counts as the burst.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        ...


def limiter_for(db: Database, *, per_second: float, burst: float, clock: Callable[[], float] | None = None) -> Limiter:
    """In memory on SQLite, in the database, shared between replicas, on PostgreSQL.

    `clock` gives seconds that only grow; by default this machine's, or the database's.
    """
    if db.dialect == "sqlite":
        return _InMemory(per_second, burst, clock or time.monotonic)
    return _Shared(db, per_second, burst, clock)


class _InMemory:
    def __init__(self, per_second: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = per_second
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets = OrderedDict[str, tuple[float, float]]()

    def take(self, key_id: str, cost: float = 1.0) -> Allowance:
        cost = min(cost, self._burst)
        with self._lock:
            now = self._clock()
            tokens, filled_at = self._buckets.pop(key_id, (self._burst, now))
            tokens = min(self._burst, tokens + (now - filled_at) * self._rate)
            granted = tokens >= cost
            self._buckets[key_id] = (tokens - cost if granted else tokens, now)
            if len(self._buckets) > _MAX_BUCKETS:
                self._buckets.popitem(last=False)
        return Allowance(granted, 0.0 if granted else (cost - tokens) / self._rate)


class _Shared:
    def __init__(self, db: Database, per_second: float, burst: float, clock: Callable[[], float] | None) -> None:
        self._db = db
        self._rate = per_second
        self._burst = burst
        self._clock = clock
        bucket = rate_bucket.c
        self._filled = func.least(burst, bucket.tokens + func.greatest(0.0, _NOW - bucket.filled_at) * per_second)
        self._take = (
            update(rate_bucket)
            .where(bucket.key_id == bindparam("key"), self._filled >= bindparam("cost"))
            .values(tokens=self._filled - bindparam("cost"), filled_at=func.greatest(_NOW, bucket.filled_at))
            .returning(bucket.key_id)
        )
        row: dict[str, Any] = {"key_id": bindparam("key"), "tokens": bindparam("left"), "filled_at": _NOW}
        self._first = (
            postgresql.insert(rate_bucket).values(row).on_conflict_do_nothing().returning(rate_bucket.c.key_id)
        )
        self._look = select(self._filled).where(bucket.key_id == bindparam("key"))

    def take(self, key_id: str, cost: float = 1.0) -> Allowance:
        cost = min(cost, self._burst)
        given: dict[str, Any] = {"key": key_id, "cost": cost, "now": self._clock() if self._clock else None}
        with self._db.write() as connection:
            connection.execute(text("SET LOCAL synchronous_commit TO off"))
            if connection.execute(self._take, given).first() is not None:
                return Allowance(True, 0.0)
            if connection.execute(self._first, given | {"left": self._burst - cost}).first() is not None:
                return Allowance(True, 0.0)
            tokens = connection.execute(self._look, given).scalar_one()
        return Allowance(False, max(0.0, cost - tokens) / self._rate)


_NOW: ColumnElement[float] = func.coalesce(
    bindparam("now", type_=rate_bucket.c.filled_at.type), func.extract("epoch", func.clock_timestamp())
)
