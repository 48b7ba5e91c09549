"""The file sessions are kept in: SQLite, its owner's alone, written by several fakers at once.

WAL lets readers read while a faker writes, and a faker that is killed loses nothing that was committed. `synchronous`
is NORMAL: a machine that loses power may lose the last commits, never the file. Responses are what tools said, raw, so
the file is 0600 in a folder of 0700, and nothing here is ever sent.

`user_version` says which steps of `_STEPS` a file has seen. A file from a newer version is refused by name: an older
program would not know what it must keep.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

from belljar.errors import ConfigError

__all__ = ["open_database"]

# Two fakers on one file: a commit takes milliseconds, so this is reached only when something is wrong.
_BUSY_S = 10.0
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW

_STEPS = (
    """
    CREATE TABLE session (
        id TEXT PRIMARY KEY,
        created_at_ns INTEGER NOT NULL,
        ended_at_ns INTEGER,
        status TEXT NOT NULL CHECK (status IN ('running', 'completed', 'failed')),
        error TEXT NOT NULL DEFAULT '',
        instruction TEXT NOT NULL,
        safety_mode INTEGER NOT NULL,
        origin TEXT NOT NULL,
        owner TEXT NOT NULL DEFAULT '',
        redacted INTEGER NOT NULL DEFAULT 0,
        calls INTEGER NOT NULL DEFAULT 0,
        writes INTEGER NOT NULL DEFAULT 0,
        errors INTEGER NOT NULL DEFAULT 0,
        lost INTEGER NOT NULL DEFAULT 0,
        last_at_ns INTEGER,
        command TEXT NOT NULL,
        tools TEXT NOT NULL DEFAULT '[]'
    );
    CREATE INDEX session_by_time ON session (created_at_ns);
    CREATE TABLE event (
        session TEXT NOT NULL REFERENCES session (id) ON DELETE CASCADE,
        sequence INTEGER NOT NULL,
        server TEXT NOT NULL,
        tool TEXT NOT NULL,
        arguments TEXT NOT NULL,
        key TEXT NOT NULL,
        response TEXT NOT NULL,
        error TEXT,
        operation TEXT NOT NULL CHECK (operation IN ('read', 'write')),
        risk TEXT NOT NULL,
        reason TEXT NOT NULL,
        source TEXT NOT NULL,
        detail TEXT,
        is_error INTEGER NOT NULL,
        real_used INTEGER NOT NULL,
        intercepted INTEGER NOT NULL,
        synthesized INTEGER NOT NULL,
        ai INTEGER NOT NULL,
        started_at_ns INTEGER NOT NULL,
        elapsed_ms REAL NOT NULL,
        latency_ms REAL NOT NULL,
        real_ms REAL,
        ai_ms REAL,
        schema_digest TEXT NOT NULL,
        trace_id TEXT,
        span_id TEXT,
        PRIMARY KEY (session, sequence)
    );
    CREATE INDEX event_by_trace ON event (trace_id) WHERE trace_id IS NOT NULL;
    """,
)


def open_database(path: Path) -> sqlite3.Connection:
    """A connection to this file, which is made if need be. It may be used by one thread at a time.

    Raises:
        ConfigError: not a file of ours that only we can read, no database, or of a newer version.
    """
    try:
        _own(path)
        connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as exc:
        raise ConfigError(f"the sessions in {str(path)!r} cannot be opened: {_said(exc)}") from None
    try:
        _prepare(connection, path)
    except sqlite3.Error as exc:
        connection.close()
        raise ConfigError(f"the sessions in {str(path)!r} cannot be used: {_said(exc)}") from None
    except ConfigError:
        connection.close()
        raise
    return connection


def _own(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | _FLAGS, 0o600)
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o077:
            raise ConfigError(
                f"{str(path)!r} holds what tools answered and must be a file that is yours alone: chmod 600"
            )
    finally:
        os.close(descriptor)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    if _version(connection) == len(_STEPS):
        return
    # Others may be at it, too: whoever is second finds it done.
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = _version(connection)
        if found > len(_STEPS):
            raise ConfigError(f"{str(path)!r} was made by a newer belljar; use that one, or remove the file")
        for step in _STEPS[found:]:
            for statement in filter(str.strip, step.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(_STEPS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _said(exc: Exception) -> str:
    return (exc.strerror or "unknown error") if isinstance(exc, OSError) else str(exc)
