"""How it stands with one destination: what the database says, and what lies in segments that nobody took in yet."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from belljar.tracing.storage import folder as files
from belljar.tracing.storage.database import Database
from belljar.tracing.storage.intake import MAX_COSTS, Read, untaken

__all__ = ["Status", "look"]


@dataclass(frozen=True, slots=True)
class Status:
    """How it stands with one destination."""

    destination: str = ""
    """Its URL if a segment or an earlier one told it, else the folder's name."""
    pending: int = 0
    """Traces that wait to be sent, in segments or in the outbox."""
    dead: int = 0
    spool_bytes: int = 0
    """Bytes of the whole folder on the disk."""
    oldest_age_s: float | None = None
    """Of those that wait."""
    counters: Mapping[str, int] = field(default_factory=dict[str, int])
    capture_ms: Mapping[str, float] = field(default_factory=dict[str, float])
    """p50, p95 and n of what capturing cost, over the newest 1000 traces."""
    parked: str | None = None
    last_error: str | None = None
    last_success_at: float | None = None
    """Seconds since the epoch."""


def look(folder: int, name: str, database: Database, now_ns: int) -> Status:
    """Look at the folder of this name; the database may be closed."""
    rows = _Rows()
    if database.is_open:
        with database.reading() as db:
            rows = _Rows.read(db)
    beside = untaken(folder, name, rows.positions)
    ages = [at_ns for at_ns in (rows.oldest_ns, beside.oldest_ns) if at_ns is not None]
    return Status(
        destination=beside.url or rows.notes.get("url") or name,
        pending=rows.pending + beside.traces,
        dead=rows.dead,
        spool_bytes=files.listing(folder).total,
        oldest_age_s=max((now_ns - min(ages)) / 1e9, 0.0) if ages else None,
        counters=dict(rows.counters + beside.counters),
        capture_ms=_percentiles([*rows.costs_us, *beside.costs_us]),
        parked=rows.notes.get("parked"),
        last_error=rows.notes.get("last_error"),
        last_success_at=rows.notes.get("last_success_at"),
    )


@dataclass(slots=True)
class _Rows:
    """What `status` needs of one state of the database."""

    pending: int = 0
    dead: int = 0
    oldest_ns: int | None = None
    counters: Counter[str] = field(default_factory=Counter[str])
    costs_us: list[int] = field(default_factory=list[int])
    notes: dict[str, Any] = field(default_factory=dict[str, Any])
    positions: dict[str, Read] = field(default_factory=dict[str, Read])

    @classmethod
    def read(cls, db: sqlite3.Connection) -> _Rows:
        every, dead, oldest = db.execute(
            "SELECT count(*), count(dead_code), min(CASE WHEN dead_code IS NULL THEN at_ns END) FROM trace"
        ).fetchone()
        return cls(
            pending=every - dead,
            dead=dead,
            oldest_ns=oldest,
            counters=Counter(dict(db.execute("SELECT name, n FROM counter").fetchall())),
            costs_us=[us for (us,) in db.execute("SELECT us FROM cost ORDER BY n")],
            notes=dict(db.execute("SELECT name, value FROM note").fetchall()),
            positions={name: Read.of(db, name) for (name,) in db.execute("SELECT name FROM segment").fetchall()},
        )


def _percentiles(costs_us: list[int]) -> dict[str, float]:
    ordered = sorted(costs_us[-MAX_COSTS:])
    if not ordered:
        return {}
    return {
        "p50": ordered[len(ordered) // 2] / 1000,
        "p95": ordered[min(len(ordered) * 95 // 100, len(ordered) - 1)] / 1000,
        "n": len(ordered),
    }
