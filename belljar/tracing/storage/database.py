"""The outbox's database: opened safely, made if need be, set aside when it is damaged.

SQLite in WAL mode, one file in the destination's folder, 0600 from its first moment. Every use of it goes through
`transaction` or `reading`: they hold the lock between threads, and they turn whatever SQLite says into an
`OutboxError` that names the file.

Who has it open holds `outbox.lock` shared; who would set it aside needs that lock alone, so that no one writes to a
database that is no longer there. So does checking it, which reads all of it: the first to come does that.
"""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from belljar import show
from belljar.errors import BelljarError, Code
from belljar.tracing.storage import folder as files

__all__ = ["Database", "OutboxError"]

_LOCK = "outbox.lock"
_FORMAT = 1
_APPLICATION_ID = 0x626A6172
_BUSY_S = 5.0
_PAUSE_S = 0.02
# Databases set aside that are kept for somebody to look at.
_KEPT_ASIDE = 2

# Small columns first: looking at the queue then touches no page of a long wire or body. `seq` is never used twice.
_SCHEMA = """
CREATE TABLE trace (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    parent TEXT,
    at_ns INTEGER NOT NULL,
    born_s REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    size INTEGER NOT NULL,
    version TEXT NOT NULL,
    dead_code TEXT,
    dead_message TEXT,
    dead_at_ns INTEGER,
    wire BLOB,
    body BLOB
);
CREATE INDEX trace_born ON trace (born_s);
CREATE INDEX trace_dead ON trace (dead_at_ns, size) WHERE dead_code IS NOT NULL;
CREATE TABLE segment (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    traces INTEGER NOT NULL,
    counters TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE counter (name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE cost (n INTEGER PRIMARY KEY AUTOINCREMENT, us INTEGER NOT NULL);
CREATE TABLE note (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""


class OutboxError(BelljarError):
    """The outbox cannot be used now: damaged, no room on the disk, busy, not ours. The message names the file."""

    default_code = Code.CONFIG_ERROR


class _Damaged(Exception):
    """Not a database, not ours, or not whole. `args[0]` is how its file is called when it is set aside."""


class Database:
    """An open database. `set_aside` says that another one was found here and could not be used: `damaged`, `foreign`.

    Raises (here and in every method):
        OutboxError: it cannot be used, or not now.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.path = folder / files.DATABASE
        self.set_aside: str | None = None
        self._guard = threading.RLock()
        self._lock: int | None = None
        self._connection: sqlite3.Connection | None = None
        try:
            with self._translated():
                if read_only:
                    self._open_to_read()
                else:
                    self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of it; a second time does nothing."""
        with self._guard:
            connection, self._connection = self._connection, None
            lock, self._lock = self._lock, None
            if connection is not None:
                connection.close()
            if lock is not None:
                os.close(lock)

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """All of the block's changes, or none of them."""
        with self._guard, self._translated():
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """One state of the database for the whole block."""
        with self._guard, self._translated():
            connection = self._connected()
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def shrink(self) -> None:
        """Give the room of what was deleted back to the disk."""
        with self._guard, self._translated():
            # Not `execute`: it takes one step of a statement that gives no rows, and each step frees one page.
            self._connected().executescript("PRAGMA incremental_vacuum")

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.ProgrammingError("it has been closed")
        return self._connection

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except _Damaged:
            raise self._error("is damaged; it is set aside when nobody else uses it") from None
        except sqlite3.Error as exc:
            raise self._error(_said(exc)) from None
        except OSError as exc:
            raise self._error(exc.strerror or "cannot be used") from None

    def _error(self, what: str) -> OutboxError:
        return OutboxError(f"{show.text(str(self.path), max_chars=400)}: {what}")

    # opening

    def _open(self) -> None:
        with files.opened(self.path.parent, create=True) as folder:
            alone = self._take_lock(folder)
            try:
                self._connection = self._usable(folder, alone)
            except _Damaged as exc:
                if not alone:
                    raise
                self.set_aside = str(exc)
                _set_aside(folder, self.set_aside)
                self._connection = self._usable(folder, alone)
            if alone:
                self._share(folder)

    def _take_lock(self, folder: int) -> bool:
        """Hold the lock; whether nobody else does."""
        self._lock = files.hold(folder, _LOCK)
        if self._lock is None:
            self._share(folder)
            return False
        return True

    def _share(self, folder: int) -> None:
        """Let others open it, too."""
        deadline = time.monotonic() + _BUSY_S
        while self._lock is None or not files.lock(self._lock, fcntl.LOCK_SH):
            self._lock = self._lock or files.hold(folder, _LOCK, fcntl.LOCK_SH)
            if time.monotonic() > deadline:
                raise self._error(f"has been locked by another process for {_BUSY_S:g} s")
            time.sleep(0 if self._lock else _PAUSE_S)

    def _usable(self, folder: int, alone: bool) -> sqlite3.Connection:
        fresh = not _is_there(folder)
        connection = _connect(str(self.path))
        try:
            if fresh or not connection.execute("PRAGMA user_version").fetchone()[0]:
                _make(connection, self.path.parent.name)
            _check(connection, self.path.parent.name, thoroughly=alone)
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA journal_size_limit = 1048576")
        except BaseException as exc:
            connection.close()
            if isinstance(exc, sqlite3.Error) and _is_damage(exc):
                raise _Damaged("damaged") from None
            raise
        return connection

    def _open_to_read(self) -> None:
        """Leaves it closed if there is none."""
        try:
            with files.opened(self.path.parent) as folder:
                if _size(folder) == 0:
                    return
        except FileNotFoundError:
            return
        connection = self._connection = self._readable()
        if connection.execute("PRAGMA user_version").fetchone()[0]:
            _check(connection, self.path.parent.name, thoroughly=False)
        else:
            self.close()

    def _readable(self) -> sqlite3.Connection:
        """What a killed process left half done has to be rolled back before anybody can read, and that is writing."""
        connection = _connect(f"file:{quote(str(self.path))}?mode=ro")
        try:
            connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.OperationalError as exc:
            connection.close()
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
                raise
            connection = _connect(f"file:{quote(str(self.path))}?mode=rw")
        return connection

    @property
    def is_open(self) -> bool:
        """False if there is nothing to read."""
        return self._connection is not None


def _connect(where: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        where, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, uri=where.startswith("file:")
    )
    # What stands in a file's schema is not to be trusted more than its rows; bad cells are to be noticed.
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "temp_store = MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _make(connection: sqlite3.Connection, destination: str) -> None:
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN EXCLUSIVE")
    try:
        # Another process may have been faster.
        if not connection.execute("PRAGMA user_version").fetchone()[0]:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise _Damaged("foreign")
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
            connection.execute("INSERT INTO note VALUES ('destination', ?)", (destination,))
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_FORMAT}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _check(connection: sqlite3.Connection, destination: str, *, thoroughly: bool) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise _Damaged("foreign")
    if version != _FORMAT:
        raise sqlite3.NotSupportedError("written by another version of belljar; use that one, or move it away")
    if thoroughly and connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise _Damaged("damaged")
    owner = connection.execute("SELECT value FROM note WHERE name = 'destination'").fetchone()
    # Copied here from the folder of another destination, it must not be sent to this one.
    if owner is None or owner[0] != destination:
        raise _Damaged("foreign")


def _is_damage(exc: sqlite3.Error) -> bool:
    code = getattr(exc, "sqlite_errorcode", None) or 0
    # The low byte is the primary code. A table that is missing has no code of its own.
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "no such table" in str(exc)


def _said(exc: sqlite3.Error) -> str:
    if _is_damage(exc):
        return "is damaged; it is set aside when the traces are next synced"
    return show.text(str(exc), max_chars=200)


def _is_there(folder: int) -> bool:
    """Whether the database's file is there; makes an empty one, 0600, if not. Its companions take its mode.

    Raises:
        NotOurs: one of its files is none of ours.
    """
    for name in (f"{files.DATABASE}-wal", f"{files.DATABASE}-shm"):
        try:
            os.close(files.open_file(folder, name))
        except FileNotFoundError:
            continue
    try:
        os.close(files.create_file(folder, files.DATABASE, os.O_RDWR))
    except FileExistsError:
        os.close(files.open_file(folder, files.DATABASE))
        return True
    return False


def _size(folder: int) -> int:
    descriptor = files.open_file(folder, files.DATABASE)
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _set_aside(folder: int, why: str) -> None:
    aside = re.compile(re.escape(files.DATABASE) + r"\.(?:damaged|foreign)-([0-9]+)")
    numbers = sorted({int(found[1]) for name in os.listdir(folder) if (found := aside.match(name))})
    for name in os.listdir(folder):
        if (found := aside.match(name)) and int(found[1]) in numbers[: 1 - _KEPT_ASIDE]:
            files.remove(folder, name)
    target = f"{files.DATABASE}.{why}-{(numbers or [0])[-1] + 1}"
    files.remove(folder, f"{files.DATABASE}-shm")
    for suffix in ("-wal", ""):
        try:
            os.rename(files.DATABASE + suffix, target + suffix, src_dir_fd=folder, dst_dir_fd=folder)
        except FileNotFoundError:
            continue
