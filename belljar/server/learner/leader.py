"""Who learns, of all the servers on one database.

PostgreSQL: whoever holds an advisory lock, on a connection of its own; the lock goes with the connection, so that one
who was killed leads no more, and one whose connection was lost knows as soon as he asks. He asks whether the lock is
still there, not only whether the line is: a pooler in between may have given him another session.

SQLite: whoever holds a lock (flock) on a file beside the database, which goes with its process.

That two lead for a moment, because the network fell apart between them, is harmless: priorities are written by row and
the last one counts, and two checkpoints that are saved get two numbers. The lock saves work, not data.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from belljar.server.store.engine import Database
from belljar.server.store.errors import StoreUnavailable

__all__ = ["Leader", "leader_of"]

_LOCK_ID = 0x62656C6C6C726E  # "belllrn"
_TAKE = text("SELECT pg_try_advisory_lock(:id)")
_GIVE = text("SELECT pg_advisory_unlock(:id)")
_HELD = text(
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (CAST(classid AS bigint) << 32) + CAST(objid AS bigint) = :id)"
)


class Leader(Protocol):
    """Two real ones: a lock in the database and one on a file."""

    def leads(self) -> bool:
        """Whether we lead: tries to, and where we did, looks whether we still do. Cheap; a database that is away is
        no error, but nobody leads on it."""
        ...

    def close(self) -> None:
        """Lead no more."""
        ...


def leader_of(db: Database) -> Leader:
    """For the learners of this database."""
    return _Session(db) if db.file is None else _File(db.file.with_name(db.file.name + "-learner"))


class _Session:
    def __init__(self, db: Database) -> None:
        self._db = db
        self._line: Connection | None = None
        self._leads = False

    def leads(self) -> bool:
        try:
            if self._line is None:
                self._line = self._db.alone()
            self._leads = bool(self._line.scalar(_HELD if self._leads else _TAKE, {"id": _LOCK_ID}))
        except (DBAPIError, StoreUnavailable):
            self._hang_up()
        return self._leads

    def close(self) -> None:
        if self._leads and self._line is not None:
            try:
                # PostgreSQL ends a session some time after its connection was closed, and its locks then.
                self._line.execute(_GIVE, {"id": _LOCK_ID})
            except DBAPIError:
                pass  # it is gone, and the lock with it
        self._hang_up()

    def _hang_up(self) -> None:
        self._leads, line, self._line = False, self._line, None
        if line is not None:
            try:
                line.close()
            except DBAPIError:
                pass  # it is gone, and the lock with it


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def leads(self) -> bool:
        if self._descriptor is not None and not self._is_there(self._descriptor):
            self.close()  # somebody removed the file, and the next one would lock another
        if self._descriptor is None:
            self._descriptor = self._locked()
        return self._descriptor is not None

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _locked(self) -> int | None:
        try:
            descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def _is_there(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path, follow_symlinks=False))
        except OSError:
            return False
