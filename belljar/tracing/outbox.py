"""The outbox: what the syncer took in from the segments, and what became of it.

One SQLite database per destination, beside the segments. It belongs to the syncer; `belljar traces` looks at it and
changes its dead letters beside a syncer that runs. A trace is in one of three states: waiting (with its wire form, then
with the frozen bytes that are sent), dead (a server will never take it), or gone (acknowledged, dropped). Every trace
that leaves without an acknowledgement has a counter:

    dropped.full, dropped.age     the bounds (see `storage.bounds`)
    dropped.damaged               records that were not whole; dropped.outbox: databases that were set aside
    dropped.foreign               written for another destination, or not ours: set aside, never sent
    dropped.repeated              a second trace under the same id
    dropped.dead_letter           dead letters beyond their bound; dropped.by_hand: what somebody dropped

Beside these: captured, spooled, sent (attempts), acknowledged, duplicate (acknowledged, and known before),
dead_lettered, retried, and what a writer dropped (see `spool`).
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from belljar.tracing.spool import SpoolLimits
from belljar.tracing.storage import folder as files
from belljar.tracing.storage import segments_read as segments
from belljar.tracing.storage.bounds import ROW_BYTES, Life, drop_old, drop_over, drop_over_dead, is_over
from belljar.tracing.storage.database import Database, OutboxError
from belljar.tracing.storage.intake import Intake, add
from belljar.tracing.storage.lock import SyncerLock, unusable
from belljar.tracing.storage.order import in_order
from belljar.tracing.storage.status import Status, look

__all__ = ["DeadLetter", "Outbox", "OutboxError", "Parcel", "Status", "SyncerLock", "destinations", "sweep"]

_DEFAULT = SpoolLimits()
# What `due` holds in memory at once; one trace is far smaller.
_MAX_DUE_BYTES = 8 << 20
_MAX_CODE, _MAX_MESSAGE = 100, 1000


@dataclass(frozen=True, slots=True)
class Parcel:
    """One trace that waits to be sent."""

    trace_id: str
    parent_id: str | None
    text: str | None = field(repr=False)
    """As pass 1 left it, JSON; None once frozen."""
    body: bytes | None = field(repr=False)
    """The frozen bytes; None until then."""
    sanitizer_version: str
    """Under which `body`, or else `text`, was masked."""
    captured_at_ns: int
    attempts: int
    """How often `sent` has named it."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One trace that a server will never take, and why."""

    trace_id: str
    code: str
    message: str
    at_ns: int
    text: str | None = field(repr=False)
    body: bytes | None = field(repr=False)


class Outbox:
    """What waits for one destination. A context manager; safe to share between threads.

    Every method raises `OutboxError` if the database fails (no room, damaged, busy for 5 s): nothing was changed then,
    and the next call may succeed. One that is damaged is set aside by the next open.
    """

    def __init__(
        self,
        folder: Path,
        limits: SpoolLimits = _DEFAULT,
        *,
        read_only: bool = False,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`folder` is `root / destination.id`. Read-only: it need not exist, and nothing is made or mended."""
        self._folder = folder
        self._limits = limits
        self._clock_ns = clock_ns
        self._database = Database(folder, read_only=read_only)
        self._life = Life(limits.max_age_s)
        self._intake = Intake(self._database, folder, self._life)
        if self._database.set_aside is not None:
            self.count("dropped.outbox" if self._database.set_aside == "damaged" else "dropped.foreign")

    def __enter__(self) -> Outbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    # in

    def take_in(self) -> int:
        """Move what the segments hold into the outbox, each trace exactly once; applies the bounds. How many came."""
        try:
            with files.opened(self._folder, create=True) as folder:
                return self._take_in(folder)
        except OSError as exc:
            raise unusable(self._folder, exc) from None

    def _take_in(self, folder: int) -> int:
        found = files.listing(folder)
        files.clear_unfinished(folder, found.unfinished)
        with self._database.reading() as db:
            waiting = db.execute("SELECT EXISTS (SELECT 1 FROM trace)").fetchone()[0]
        self._intake.losses(folder, found.losses)
        if not found.segments and not waiting:
            return 0
        with self._database.transaction() as db:
            self._life.tick(db, self._clock_ns())
        taken, left = 0, sum(found.segments.values())
        for name, size in found.segments.items():
            taken += self._intake.segment(folder, name)
            left -= size
            self._bound(left)
        found = files.listing(folder)
        self._bound(sum(found.segments.values()))
        files.discard_spare(folder, found, self._limits.max_bytes)
        return taken

    def _bound(self, segments_bytes: int) -> None:
        with self._database.reading() as db:
            if not is_over(db, self._life, self._limits, segments_bytes):
                return
        with self._database.transaction() as db:
            old, over = drop_old(db, self._life), drop_over(db, self._limits, segments_bytes)
            add(db, {"dropped.age": old, "dropped.full": over})
        self._database.shrink()

    # out

    def due(self, count: int) -> list[Parcel]:
        """At most `count` traces to send next: the oldest first, but no child before a parent that is still here.

        Fewer if they are large; at least one if any waits. Asking changes nothing: the same are due until they are
        acknowledged or dead.
        """
        while True:
            with self._database.reading() as db:
                parcels = [_parcel(row) for row in in_order(db, count, _MAX_DUE_BYTES)]
            damaged = [parcel for parcel in parcels if parcel.body is None and parcel.text is None]
            if not damaged:
                return parcels
            for parcel in damaged:
                self.dead_letter(parcel.trace_id, "DAMAGED", "cannot be read back from the outbox")

    def freeze(self, trace_id: str, body: bytes, sanitizer_version: str) -> None:
        """Fix the bytes of a trace: from now on `body` is sent. A second one of the same version changes nothing."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE trace SET body = ?, wire = NULL, version = ?, size = ?"
                " WHERE id = ? AND (body IS NULL OR version <> ?)",
                (body, sanitizer_version, len(body) + ROW_BYTES, trace_id, sanitizer_version),
            )

    def sent(self, ids: Iterable[str]) -> None:
        """An attempt is about to be made with these."""
        with self._database.transaction() as db:
            n = _each(db, "UPDATE trace SET attempts = attempts + 1 WHERE id = ?", ids)
            add(db, {"sent": n})

    def acknowledged(self, ids: Iterable[str], *, duplicate: bool = False) -> None:
        """The server has these (`duplicate`: had them before); they are forgotten here, and `last_error` with them."""
        with self._database.transaction() as db:
            n = _each(db, "DELETE FROM trace WHERE id = ?", ids)
            add(db, {"acknowledged": n, "duplicate": n if duplicate else 0})
            _note(db, "last_success_at", self._clock_ns() / 1e9)
            _note(db, "last_error", None)

    def dead_letter(self, trace_id: str, code: str, message: str) -> None:
        """The server will never take this one. `message` must be masked already."""
        fields = (_plain(code, _MAX_CODE), _plain(message, _MAX_MESSAGE), self._clock_ns(), trace_id)
        with self._database.transaction() as db:
            n = db.execute(
                "UPDATE trace SET dead_code = ?, dead_message = ?, dead_at_ns = ? WHERE id = ? AND dead_code IS NULL",
                fields,
            ).rowcount
            add(db, {"dead_lettered": n, "dropped.dead_letter": drop_over_dead(db, self._limits)})

    # dead letters

    def dead_letters(self) -> list[DeadLetter]:
        """All of them, the oldest first; there are at most a thousand."""
        if not self._database.is_open:
            return []
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT id, dead_code, dead_message, dead_at_ns, wire, body FROM trace"
                " WHERE dead_code IS NOT NULL ORDER BY dead_at_ns, seq"
            ).fetchall()
        return [
            DeadLetter(trace_id, code, message, at_ns, _text(payload), body)
            for trace_id, code, message, at_ns, payload, body in rows
        ]

    def retry(self, ids: Iterable[str] | None = None) -> int:
        """Dead letters (all, or these) wait to be sent again, at their old place. How many."""
        revive = "UPDATE trace SET dead_code = NULL, dead_message = NULL, dead_at_ns = NULL, attempts = 0"
        return self._of_the_dead(revive, ids, "retried")

    def drop(self, ids: Iterable[str] | None = None) -> int:
        """Forget dead letters (all, or these). How many."""
        return self._of_the_dead("DELETE FROM trace", ids, "dropped.by_hand")

    def drop_all(self) -> int:
        """Forget every trace, waiting or dead. How many."""
        with self._database.transaction() as db:
            n = db.execute("DELETE FROM trace").rowcount
            add(db, {"dropped.by_hand": n})
        self._database.shrink()
        return n

    def _of_the_dead(self, statement: str, ids: Iterable[str] | None, counter: str) -> int:
        statement += " WHERE dead_code IS NOT NULL"
        with self._database.transaction() as db:
            n = db.execute(statement).rowcount if ids is None else _each(db, f"{statement} AND id = ?", ids)
            add(db, {counter: n})
        return n

    # what is told about it

    def count(self, name: str, n: int = 1) -> None:
        """Add to a counter."""
        with self._database.transaction() as db:
            add(db, {name: n})

    def park(self, reason: str | None) -> None:
        """Sending has stopped until somebody does something about it; None: it goes on."""
        with self._database.transaction() as db:
            _note(db, "parked", None if reason is None else _plain(reason, _MAX_MESSAGE))

    def failed(self, message: str) -> None:
        """What went wrong last, for `status`. Must be masked already."""
        with self._database.transaction() as db:
            _note(db, "last_error", _plain(message, _MAX_MESSAGE))

    def status(self) -> Status:
        """How it stands, with what lies in segments that were not taken in yet."""
        try:
            with files.opened(self._folder) as folder:
                return look(folder, self._folder.name, self._database, self._clock_ns())
        except FileNotFoundError:
            return Status(destination=self._folder.name)
        except OSError as exc:
            raise unusable(self._folder, exc) from None


def _parcel(row: tuple[Any, ...]) -> Parcel:
    trace_id, parent, payload, body, version, at_ns, attempts = row
    return Parcel(trace_id, parent, _text(payload), body, version, at_ns, attempts)


def _text(payload: bytes | None) -> str | None:
    record = None if payload is None else segments.decode(payload)
    return record.text if isinstance(record, segments.SpooledTrace) else None


def _each(db: sqlite3.Connection, statement: str, ids: Iterable[str]) -> int:
    """Run it for each id, however many there are; how many rows it changed."""
    return sum([db.execute(statement, (_plain(one, None),)).rowcount for one in ids])


def _note(db: sqlite3.Connection, name: str, value: float | str | None) -> None:
    db.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (name, value))


def _plain(text: str, max_chars: int | None) -> str:
    """Bounded, and without lone surrogates, which the database does not take."""
    return text[:max_chars].encode("utf-8", "replace").decode()


# many destinations


def destinations(root: Path) -> list[Path]:
    """The folders of destinations in a spool; none if it does not exist."""
    try:
        names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
    return [root / name for name in names if files.is_destination(name)]


def sweep(root: Path, limits: SpoolLimits, except_: Path) -> int:
    """Apply the bounds to all folders but this one, those with a syncer of their own, and those we cannot use.

    A folder in which nothing has been for as long as a trace may wait is removed. How many were swept.
    """
    return sum([_swept(folder, limits) for folder in destinations(root) if folder.name != except_.name])


def _swept(folder: Path, limits: SpoolLimits) -> bool:
    try:
        lock = SyncerLock.take(folder)
        if lock is None:
            return False
        with lock:
            with Outbox(folder, limits) as outbox:
                outbox.take_in()
                status = outbox.status()
            if not status.pending and not status.dead:
                _remove_unused(folder, limits.max_age_s)
    except OutboxError:
        return False
    return True


def _remove_unused(folder: Path, max_age_s: float) -> None:
    """Remove the folder if there is nothing but an outbox that did not change for so long."""
    try:
        with files.opened(folder) as opened:
            idle_s = time.time() - os.stat(files.DATABASE, dir_fd=opened).st_mtime
            if idle_s > max_age_s and not files.listing(opened).segments:
                for name in os.listdir(opened):
                    if name.startswith((files.DATABASE, "outbox.lock", "syncer.lock")):
                        files.remove(opened, name)
                os.rmdir(folder)
    except OSError:
        # A writer has begun a segment: then it is in use again.
        return
