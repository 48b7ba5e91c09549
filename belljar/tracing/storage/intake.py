"""From segments to rows: each trace exactly once, whatever is killed when.

How far a segment has been read is stored in the same transaction as the rows it gave. A segment that is still written
is read up to its last whole record and left; a finished one is read to its end, removed, and forgotten, in this order:
killed in between, the next one finds that nothing is left of it. While a finished segment is read it is locked, so that
no writer that needs room drops it meanwhile; if one did so before, it says how many traces there were, and those that
had been read are not counted as lost.

What was not written for this destination is never read further than its header: it is set aside under another name,
and counted. What another version of us wrote is left alone; the bound on bytes holds for it, too.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from belljar.tracing.storage import folder as files
from belljar.tracing.storage import losses
from belljar.tracing.storage import segments_read as segments
from belljar.tracing.storage.bounds import ROW_BYTES, Life
from belljar.tracing.storage.database import Database
from belljar.tracing.storage.segments import VERSION

__all__ = ["MAX_COSTS", "Intake", "Read", "Untaken", "add", "untaken"]

# Rows of one transaction: so much is in memory at once.
_CHUNK_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}\.seg")
MAX_COSTS = 1000
"""What `capture_ms` is computed from."""
# Segments that others removed, whose progress is remembered until a writer says that it did.
_MAX_VANISHED = 1000


class Intake:
    """Takes in the segments of one folder. `life` says how old a trace is that comes in now."""

    def __init__(self, database: Database, folder: Path, life: Life) -> None:
        self._database = database
        self._destination = folder.name
        self._life = life

    def segment(self, folder: int, name: str) -> int:
        """Take in what is new in one segment; how many traces came."""
        try:
            descriptor = _open(folder, name)
        except FileNotFoundError:
            return 0
        except files.NotOurs:
            self._refuse(folder, name, 1)
            return 0
        try:
            finished = files.lock(descriptor)
            # A writer may have dropped it before we had the lock.
            return self._opened(folder, name, descriptor, finished) if os.fstat(descriptor).st_nlink else 0
        finally:
            os.close(descriptor)

    def losses(self, folder: int, names: Iterable[str]) -> None:
        """Add what writers could not write down otherwise to the counters, once."""
        for name in names:
            told = losses.read(folder, name)
            with self._database.transaction() as db:
                if Read.of(db, name) == _NOTHING:
                    add(db, told)
                    Read(position=1).save(db, name)
            self._forget(folder, name)

    def _opened(self, folder: int, name: str, descriptor: int, finished: bool) -> int:
        taken, frames = 0, segments.Frames(descriptor)
        header = segments.decode(next(iter(frames), b""))
        if not isinstance(header, segments.Header):
            frames.position, frames.ending = 0, "damaged"
        elif header.version != VERSION:
            return 0
        elif header.destination.id != self._destination:
            if finished:
                self._refuse(folder, name, segments.Tally.of(frames).traces)
            return 0
        else:
            taken = self._take(name, frames, header)
        if finished:
            if frames.ending != "clean":
                self._lose_rest(name, descriptor, frames.position)
            self._forget(folder, name)
        return taken

    def _take(self, name: str, frames: segments.Frames, header: segments.Header) -> int:
        with self._database.reading() as db:
            read = Read.of(db, name)
        frames.position = max(frames.position, read.position)
        taken = 0
        for payloads in _chunks(frames):
            read = read.and_(payloads, frames.position)
            with self._database.transaction() as db:
                taken += sum([self._row(db, payload, header.sanitizer_version) for payload in payloads])
                read.save(db, name)
                db.execute("INSERT OR REPLACE INTO note VALUES ('url', ?)", (header.destination.url,))
        return taken

    def _row(self, db: sqlite3.Connection, payload: bytes, version: str) -> bool:
        """Store one record; whether it was a trace that was not there."""
        record = segments.decode(payload)
        if isinstance(record, segments.SpooledTrace):
            return self._trace(db, record, payload, version)
        if isinstance(record, segments.Counted):
            _told(db, record)
        else:
            add(db, {"dropped.damaged": 1})
        return False

    def _trace(self, db: sqlite3.Connection, trace: segments.SpooledTrace, payload: bytes, version: str) -> bool:
        row = (trace.trace_id, trace.parent_id, trace.at_ns, self._life.born_s(trace.at_ns), len(payload) + ROW_BYTES)
        new = db.execute(
            "INSERT OR IGNORE INTO trace (id, parent, at_ns, born_s, size, version, wire) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*row, version, payload),
        ).rowcount
        last = db.execute("INSERT INTO cost (us) VALUES (?)", (trace.cost_us,)).lastrowid or 0
        db.execute("DELETE FROM cost WHERE n <= ?", (last - MAX_COSTS,))
        add(db, {"captured": 1, "spooled": 1} if new else {"captured": 1, "spooled": 1, "dropped.repeated": 1})
        return new > 0

    def _lose_rest(self, name: str, descriptor: int, position: int) -> None:
        size = os.fstat(descriptor).st_size
        with self._database.transaction() as db:
            read = Read.of(db, name)
            # Counted once: killed after this, the next one finds the whole file behind it.
            if read.position < size:
                add(db, {"dropped.damaged": segments.records_after(descriptor, max(read.position, position))})
                replace(read, position=size).save(db, name)

    def _forget(self, folder: int, name: str) -> None:
        files.remove(folder, name)
        with self._database.transaction() as db:
            db.execute("DELETE FROM segment WHERE name = ?", (name,))
            db.execute(
                "DELETE FROM segment WHERE name IN (SELECT name FROM segment ORDER BY name DESC LIMIT -1 OFFSET ?)",
                (_MAX_VANISHED,),
            )

    def _refuse(self, folder: int, name: str, traces: int) -> None:
        # Bounded, in ASCII, and sorted by the time it was seen first.
        aside = f"{self._life.now_ns:020d}-{os.urandom(8).hex()}{files.REFUSED}"
        with self._database.transaction() as db:
            add(db, {"dropped.foreign": traces})
            os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)


def _open(folder: int, name: str) -> int:
    if _NAME.fullmatch(name) is None:
        raise files.NotOurs("has a name we do not give")
    return files.open_file(folder, name)


def _chunks(frames: segments.Frames) -> Iterator[list[bytes]]:
    """The records in lists of about a megabyte; `frames.position` is the end of the list that came last."""
    chunk, size = list[bytes](), 0
    for payload in frames:
        chunk.append(payload)
        size += len(payload) + ROW_BYTES
        if size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


@dataclass(frozen=True, slots=True)
class Read:
    """What has been read of a segment: so many bytes, and in them so many traces and these counters."""

    position: int = 0
    traces: int = 0
    counters: Mapping[str, int] = field(default_factory=dict[str, int])

    @classmethod
    def of(cls, db: sqlite3.Connection, name: str) -> Read:
        row = db.execute("SELECT position, traces, counters FROM segment WHERE name = ?", (name,)).fetchone()
        return cls(row[0], row[1], json.loads(row[2])) if row else cls()

    def and_(self, payloads: list[bytes], position: int) -> Read:
        more = segments.Tally.of(payloads)
        return Read(position, self.traces + more.traces, Counter(self.counters) + more.counters)

    def save(self, db: sqlite3.Connection, name: str) -> None:
        row = (name, self.position, self.traces, json.dumps(self.counters))
        db.execute("INSERT OR REPLACE INTO segment VALUES (?, ?, ?, ?)", row)

    def unread(self, dropped: segments.Dropped) -> Counter[str]:
        """What of a segment was not read before it was dropped."""
        traces = max(dropped.traces - self.traces, 0)
        return Counter(dropped.counters) - Counter(self.counters) + segments.lost(traces)


def _told(db: sqlite3.Connection, counted: segments.Counted) -> None:
    add(db, counted.counters)
    for dropped in counted.dropped:
        read = Read.of(db, dropped.name)
        add(db, read.unread(dropped))
        # It may be told again, by whoever drops the segment in which it was told.
        Read(read.position, dropped.traces, dropped.counters).save(db, dropped.name)


def add(db: sqlite3.Connection, counters: Mapping[str, int]) -> None:
    """Add to counters."""
    db.executemany(
        "INSERT INTO counter VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET n = n + excluded.n",
        [(name, n) for name, n in counters.items() if n],
    )


@dataclass(slots=True)
class Untaken:
    """What lies in segments and has not been taken in."""

    traces: int = 0
    oldest_ns: int | None = None
    counters: Counter[str] = field(default_factory=Counter[str])
    costs_us: list[int] = field(default_factory=list[int])
    url: str = ""


def untaken(folder: int, destination: str, positions: Mapping[str, Read]) -> Untaken:
    """Look at the segments past what was read of them, without changing anything."""
    found, there = Untaken(), files.listing(folder)
    for name in there.losses:
        if name not in positions:
            found.counters.update(losses.read(folder, name))
    for name in there.segments:
        try:
            descriptor = _open(folder, name)
        except OSError:
            continue
        try:
            _look(segments.Frames(descriptor), destination, positions, name, found)
        finally:
            os.close(descriptor)
    return found


def _look(frames: segments.Frames, destination: str, positions: Mapping[str, Read], name: str, found: Untaken) -> None:
    header = segments.decode(next(iter(frames), b""))
    if not isinstance(header, segments.Header) or header.destination.id != destination:
        return
    found.url = header.destination.url
    frames.position = max(frames.position, positions.get(name, _NOTHING).position)
    for payload in frames:
        record = segments.decode(payload)
        if isinstance(record, segments.SpooledTrace):
            found.traces += 1
            found.counters.update(("captured", "spooled"))
            found.costs_us = [*found.costs_us[1 - MAX_COSTS :], record.cost_us]
            found.oldest_ns = min(found.oldest_ns or record.at_ns, record.at_ns)
        elif isinstance(record, segments.Counted):
            found.counters.update(record.counters)
            for dropped in record.dropped:
                found.counters.update(positions.get(dropped.name, _NOTHING).unread(dropped))


_NOTHING = Read()
