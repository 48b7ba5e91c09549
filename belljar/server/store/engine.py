"""Opening the database, and whose turn it is.

Everything in this package talks to the database inside `Database.read()` or `Database.write()`, each one transaction.
SQLite lets one connection write at a time and tells the others "database is locked". So there is one writing
connection, and a pool of size one is the queue before it: threads of this process wait their turn there, with a
deadline; another process (`belljar server key create` beside a server) waits in SQLite's own busy handler. A writer
begins IMMEDIATE, because a transaction that reads first and then wants to write cannot wait, it can only fail. Readers
have connections of their own, which cannot write, and WAL lets them read while the writer writes. On PostgreSQL both
are one pool.

What goes wrong with the database itself - not there, locked, full, not migrated, too slow - comes out as
StoreUnavailable; nothing of a statement or its values is in the message.
"""

from __future__ import annotations

import math
import os
import select
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from sqlalchemy import Connection, Engine, NullPool, QueuePool, create_engine, event, exc, text
from sqlalchemy.engine import URL, make_url

from belljar.server.store._json import decoded, encoded
from belljar.server.store._together import Together
from belljar.server.store.errors import StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    import psycopg

__all__ = ["Database", "Dialect", "PoolStatus", "open_database"]

Dialect = Literal["sqlite", "postgresql"]
_Item = TypeVar("_Item")

# SQLite looks at the clock after so many of its instructions: a fraction of a millisecond.
_PROGRESS_STEPS = 20_000
_READERS = 4
# Traces: two large batches, or twenty of what a client sends.
_MOST_TOGETHER = 200
_NO_TABLE = ("no such table", "no such column", "UndefinedTable", "UndefinedColumn")
_BUSY = ("database is locked", "database table is locked", "LockNotAvailable", "DeadlockDetected", "QueryCanceled")


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """For /metrics."""

    size: int
    in_use: int


class Database:
    """Made by `open_database`; thread-safe. Blocking: call it in a thread."""

    def __init__(self, reader: Engine, writer: Engine, single: Engine, *, wait_s: float, read_s: float) -> None:
        self._reader = reader
        self._writer = writer
        self._single = single
        self._wait_s = wait_s
        self._read_s = read_s
        self._together = Together(most=_MOST_TOGETHER)
        self.dialect: Dialect = "sqlite" if reader.dialect.name == "sqlite" else "postgresql"
        self.shown: str = reader.url.set(query={}).render_as_string(hide_password=True)
        """The URL without its password, for logs."""
        self.file: Path | None = Path(reader.url.database or "") if self.dialect == "sqlite" else None

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A transaction that only reads; many at once.

        Raises:
            StoreUnavailable: no connection within `wait_s`, or not done within `read_s` (`STORE_BUSY`); the database
                does not answer; `NOT_MIGRATED`.
        """
        with _translated(), self._reader.begin() as connection, self._deadline(connection):
            yield connection

    @contextmanager
    def write(self) -> Generator[Connection]:
        """A transaction that commits at the end of the block, or rolls back if it raises. SQLite: one at a time.

        Raises:
            StoreUnavailable: as `read`; also no turn within `wait_s`, or the disk is full. Nothing was changed.
        """
        with _translated(), self._writer.begin() as connection:
            yield connection

    def together(self, item: _Item, work: Callable[[list[_Item]], None], *, size: int) -> None:
        """Have `work` done with this item, and with those of other threads that came meanwhile; returns afterwards.

        Everybody gives the same `work`, one transaction of `write` with all the items it is given.

        Raises:
            StoreUnavailable: no turn within `wait_s` (`STORE_BUSY`); and what `work` raises.
        """
        try:
            self._together(item, work, size=size, wait_s=self._wait_s)
        except TimeoutError:
            raise StoreUnavailable("the database is busy: its turn did not come", reason="STORE_BUSY") from None

    def ping(self) -> None:
        """Raises StoreUnavailable when the database does not answer."""
        with self.read() as connection:
            connection.execute(text("SELECT 1"))

    def alone(self) -> Connection:
        """A connection outside the pool, which commits each statement; for what lasts as long as a session does, such
        as PostgreSQL's advisory locks. Whoever asks closes it, and hears the database's errors as they are.

        Raises:
            StoreUnavailable: as `read`.
        """
        with _translated():
            return self._single.connect()

    def pool(self) -> PoolStatus:
        """Connections, both ways together."""
        pools = {cast("QueuePool", engine.pool) for engine in (self._reader, self._writer)}
        return PoolStatus(sum(pool.size() for pool in pools), sum(pool.checkedout() for pool in pools))

    def close(self) -> None:
        """Close every connection; the writer last, so that SQLite can fold its log into the file."""
        self._reader.dispose()
        self._writer.dispose()

    @contextmanager
    def _deadline(self, connection: Connection) -> Generator[None]:
        """SQLite: interrupts what takes longer. PostgreSQL has it as a setting of the connection."""
        raw = connection.connection.dbapi_connection
        if not isinstance(raw, sqlite3.Connection):
            yield
            return
        ends = time.monotonic() + self._read_s
        raw.set_progress_handler(lambda: int(time.monotonic() > ends), _PROGRESS_STEPS)
        try:
            yield
        finally:
            raw.set_progress_handler(None, 0)


def open_database(url: str, *, pool_size: int = 10, wait_s: float = 10.0, read_s: float = 30.0) -> Database:
    """`sqlite:///file.db` or `postgresql+psycopg://...` (`postgresql://` means the same). Connects at first use.

    An SQLite file is made with mode 0600; its folder must exist.

    Raises:
        StoreRefused: another database, or no file (`BAD_URL`); the message holds no password.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(parsed, wait_s, read_s)
    options = _postgresql_options(wait_s, read_s)
    engine = create_engine(parsed, **_common(pool_size, wait_s), connect_args=options)
    event.listen(engine, "checkout", _check_line)
    # Each statement by itself: two round trips less, and the isolation level sees as much of others as without.
    reader = engine.execution_options(isolation_level="AUTOCOMMIT")
    single = create_engine(
        parsed, poolclass=NullPool, hide_parameters=True, isolation_level="AUTOCOMMIT", connect_args=options
    )
    return Database(reader, engine, single, wait_s=wait_s, read_s=read_s)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        raise _bad_url() from None
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    file = parsed.database or ":memory:"
    if parsed.drivername != "sqlite" or parsed.query or ":memory:" in file or file.startswith("file:"):
        raise _bad_url()
    return parsed


def _bad_url() -> StoreRefused:
    return StoreRefused("--db takes sqlite:///file.db or postgresql+psycopg://user@host/database", reason="BAD_URL")


def _common(pool_size: int, wait_s: float) -> dict[str, Any]:
    return {
        "poolclass": QueuePool,
        "pool_size": pool_size,
        "max_overflow": 0,
        "pool_timeout": wait_s,
        "hide_parameters": True,
        "json_serializer": encoded,
        "json_deserializer": decoded,
    }


# SQLite


def _open_sqlite(url: URL, wait_s: float, read_s: float) -> Database:
    assert url.database
    _make_private(Path(url.database))
    arguments = {"check_same_thread": False, "timeout": wait_s}
    reader = create_engine(url, **_common(_READERS, wait_s), connect_args=arguments)
    writer = create_engine(url, **_common(1, wait_s), connect_args=arguments)
    for engine, begin in ((reader, "BEGIN"), (writer, "BEGIN IMMEDIATE")):
        event.listen(engine, "connect", _set_up_reader if engine is reader else _set_up_writer)
        event.listen(engine, "begin", _beginning(begin))
    return Database(reader, writer, reader, wait_s=wait_s, read_s=read_s)


def _make_private(file: Path) -> None:
    """SQLite gives its log and index files the mode of the database file."""
    try:
        os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreRefused(f"the database file cannot be opened: {error.strerror}", reason="BAD_URL") from None


def _beginning(statement: str) -> Any:
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)

    return begin


def _set_up_writer(connection: sqlite3.Connection, _record: object) -> None:
    # Transactions are begun by us, DDL included; the driver would begin them by itself, late, and not before DDL.
    connection.isolation_level = None
    # 16 MiB of log before it is folded into the file, which is what waits for the disk.
    # An SQLite without its mathematics has none.
    connection.create_function("power", 2, math.pow, deterministic=True)
    for setting in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "wal_autocheckpoint=4096"):
        connection.execute(f"PRAGMA {setting}")


def _set_up_reader(connection: sqlite3.Connection, record: object) -> None:
    _set_up_writer(connection, record)
    connection.execute("PRAGMA query_only=ON")


# PostgreSQL


def _postgresql_options(wait_s: float, read_s: float) -> dict[str, Any]:
    settings = {
        "timezone": "UTC",
        "statement_timeout": f"{read_s * 1000:.0f}",
        "lock_timeout": f"{wait_s * 1000:.0f}",
        "idle_in_transaction_session_timeout": f"{2 * read_s * 1000:.0f}",
    }
    return {
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        "connect_timeout": max(2, round(wait_s)),
        # A line that was cut without a word: otherwise a quarter of an hour.
        "tcp_user_timeout": round(read_s * 1000),
        "application_name": "belljar",
    }


def _check_line(connection: psycopg.Connection[Any], _record: object, _proxy: object) -> None:
    """Finds out that a server was restarted before a request does: to a connection that waits, nobody has anything to
    say but goodbye. A ping would find the same, and cost a round trip each time."""
    line = select.poll()
    line.register(connection.fileno(), select.POLLIN)
    if line.poll(0):
        raise exc.DisconnectionError


# What goes wrong


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except exc.TimeoutError:
        raise StoreUnavailable("the database is busy: no connection became free", reason="STORE_BUSY") from None
    except exc.DBAPIError as error:
        unavailable = _unavailable(error)
        if unavailable is None:
            raise
        raise unavailable from None


def _unavailable(error: exc.DBAPIError) -> StoreUnavailable | None:
    """What it means for a caller; None for an error that is not the database's state but a fault of ours."""
    said = f"{type(error.orig).__name__}: {error.orig}"
    if any(sign in said for sign in _NO_TABLE):
        return StoreUnavailable("the database is not migrated: belljar server migrate", reason="NOT_MIGRATED")
    if any(sign in said for sign in _BUSY) or said.endswith("interrupted"):
        return StoreUnavailable("the database is busy; try again", reason="STORE_BUSY")
    if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
        return None  # SQLite's word for a wrong statement
    if error.connection_invalidated or isinstance(error, exc.OperationalError | exc.InterfaceError):
        return StoreUnavailable("the database does not answer; see the server's log and its database")
    return None
