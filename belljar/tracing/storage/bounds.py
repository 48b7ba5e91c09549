"""How much may wait, and how long.

**Bytes.** The outbox stays under its share of `max_bytes`, and under what the segments leave of it; beyond that the
oldest rows go, waiting or dead, whatever they are. What SQLite uses is counted in its own pages.

**Age** is time that we saw pass, not the difference of two clock readings. The outbox has a life of its own, counted in
seconds: each look at the clock adds what has passed since the look before, but nothing if the clock went back, and at
most a quarter of `max_age_s` (or an hour, if that is more) if it went far ahead. A trace that comes in is as old as the
clock says, in the same limits. So a clock that is years ahead for a moment ages everything by a quarter of a life and
drops only what had less than that left; a clock that is behind ages nothing. The price: after a month in which nobody
looked, a trace has aged by a week, and stays that much longer. That is the mild side to err on, and the bound on bytes
holds in any case.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from belljar.tracing.spool import SpoolLimits

__all__ = ["ROW_BYTES", "Life", "drop_old", "drop_over", "drop_over_dead", "is_over", "used_bytes"]

ROW_BYTES = 300
"""What a row takes beside its wire or body."""
_HOUR_S = 3600.0
_MAX_DEAD = 1000


class Life:
    """The outbox's own time, as of the last `tick`."""

    def __init__(self, max_age_s: float) -> None:
        self.max_age_s = max_age_s
        self.now_ns = 0
        self._step_s = max(max_age_s / 4, _HOUR_S)
        self._now_s = 0.0

    def tick(self, db: sqlite3.Connection, now_ns: int) -> None:
        """Look at the clock."""
        notes = dict(db.execute("SELECT name, value FROM note WHERE name IN ('life_s', 'seen_ns')").fetchall())
        self._now_s = notes.get("life_s", 0.0) + self._passed_s(notes.get("seen_ns", now_ns), now_ns)
        self.now_ns = now_ns
        db.executemany("INSERT OR REPLACE INTO note VALUES (?, ?)", [("life_s", self._now_s), ("seen_ns", now_ns)])

    def born_s(self, at_ns: int) -> float:
        """When a trace was captured, in the outbox's own time."""
        return self._now_s - self._passed_s(at_ns, self.now_ns)

    @property
    def horizon_s(self) -> float:
        """What was born before this is too old."""
        return self._now_s - self.max_age_s

    def _passed_s(self, since_ns: int, now_ns: int) -> float:
        return min(max((now_ns - since_ns) / 1e9, 0.0), self._step_s)


def used_bytes(db: sqlite3.Connection) -> int:
    """What the database's content takes."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def is_over(db: sqlite3.Connection, life: Life, limits: SpoolLimits, segments_bytes: int) -> bool:
    """Whether there is anything to drop."""
    old = db.execute("SELECT EXISTS (SELECT 1 FROM trace WHERE born_s < ?)", (life.horizon_s,)).fetchone()[0]
    return bool(old) or used_bytes(db) > _room(limits, segments_bytes)


def drop_old(db: sqlite3.Connection, life: Life) -> int:
    """Drop what has waited too long; how many."""
    return db.execute("DELETE FROM trace WHERE born_s < ?", (life.horizon_s,)).rowcount


def drop_over(db: sqlite3.Connection, limits: SpoolLimits, segments_bytes: int) -> int:
    """Drop the oldest until the rest fits beside the segments; how many."""
    room, dropped = _room(limits, segments_bytes), 0
    while (excess := used_bytes(db) - room) > 0:
        # Pages are not rows: rather less than enough, and look again.
        last = _reaching(db, excess * 3 // 4)
        if last is None:
            break
        dropped += db.execute("DELETE FROM trace WHERE seq <= ?", (last,)).rowcount
    return dropped


def _room(limits: SpoolLimits, segments_bytes: int) -> int:
    return max(min(limits.outbox_bytes, limits.max_bytes - segments_bytes), 0)


def _reaching(db: sqlite3.Connection, excess: int) -> int | None:
    """The newest of the oldest rows that together take so many bytes."""
    last: int | None = None
    for seq, size in db.execute("SELECT seq, size FROM trace ORDER BY seq"):
        last, excess = seq, excess - size
        if excess <= 0:
            break
    return last


def drop_over_dead(db: sqlite3.Connection, limits: SpoolLimits) -> int:
    """Drop the oldest dead letters beyond a thousand, or beyond an eighth of all bytes; how many."""
    dropped = 0
    while True:
        dead, size = db.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM trace WHERE dead_code IS NOT NULL"
        ).fetchone()
        if dead <= _MAX_DEAD and size <= limits.max_bytes // 8:
            return dropped
        dropped += db.execute(
            "DELETE FROM trace WHERE seq ="
            " (SELECT seq FROM trace WHERE dead_code IS NOT NULL ORDER BY dead_at_ns, seq LIMIT 1)"
        ).rowcount
