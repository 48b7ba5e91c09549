"""How much may be learned for a tenant: a bound on the rows of `learned`, so that nobody fills a database with names.

What has a row goes on being learned from, however many there are. A thing that nobody saw before gets one only while
there is room: `most` rows for beginnings of paths and pairs of tools, of which every new order of calls makes more, and
as many for capabilities and tools. `belljar server prune` makes room.

Rows are counted now and then and added up meanwhile: replicas that do so side by side go over by what they add between
two counts, one part in a hundred each. A tenant without room is counted again after a minute.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from belljar.server.store.schema import learned

__all__ = ["MOST", "PATHS", "Room"]

MOST = 100_000
"""Of each sort: some 25 MB of a tenant's, with the index."""
PATHS = ("pair", "path")
"""What there is no end of."""
_AGAIN = timedelta(seconds=60)


@dataclass(slots=True)
class _Count:
    rows: dict[bool, int]
    """By whether they are of paths."""
    added: int
    """Since they were counted."""
    at: datetime


class Room:
    """What one process knows of it. Safe between threads."""

    def __init__(self, most: int = MOST, *, refused: Callable[[int], object] = lambda _: None) -> None:
        """`refused`: told how many rows were not made."""
        self._most = most
        self._refused = refused
        self._counts: dict[int, _Count] = {}
        self._lock = threading.Lock()

    def admit(self, connection: Connection, tenant_id: int, kinds: Sequence[str], *, now: datetime) -> list[bool]:
        """Which of these new rows, by their kinds, may be made: the first, as far as there is room."""
        if not kinds:
            return []
        count = self._current(connection, tenant_id, len(kinds), now)
        with self._lock:
            admitted = [self._take(count, kind) for kind in kinds]
        if refused := admitted.count(False):
            self._refused(refused)
        return admitted

    def _take(self, count: _Count, kind: str) -> bool:
        free = count.rows[kind in PATHS] < self._most
        count.rows[kind in PATHS] += free
        count.added += free
        return free

    def _current(self, connection: Connection, tenant_id: int, more: int, now: datetime) -> _Count:
        with self._lock:
            count = self._counts.get(tenant_id)
        full = count is not None and max(count.rows.values()) + more > self._most and now - count.at >= _AGAIN
        if count is None or full or count.added >= max(1, self._most // 100):
            count = _Count(_rows(connection, tenant_id), 0, now)
            with self._lock:
                self._counts[tenant_id] = count
        return count


def _rows(connection: Connection, tenant_id: int) -> dict[bool, int]:
    kinds = select(learned.c.kind, func.count()).where(learned.c.tenant_id == tenant_id).group_by(learned.c.kind)
    rows = {True: 0, False: 0}
    for kind, n in connection.execute(kinds):
        rows[kind in PATHS] += n
    return rows
