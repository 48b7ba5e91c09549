"""Bringing the database's tables to what this version needs.

Migrations are Alembic scripts in `migrations/versions`, inside the package. One transaction makes all of them or none,
on both engines, and one process at a time makes them: SQLite's writing transaction is exclusive, PostgreSQL takes an
advisory lock, so that two replicas that start together do not race.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from belljar.server.store.engine import Database

__all__ = ["MigrationState", "migrate", "rollback", "state"]

_FOLDER = Path(__file__).parent / "migrations"
_LOCK_ID = 0x62656C6C6A6172  # "belljar"
# A large table takes its time to get a new index.
_WAIT = "10min"
# Alembic's context is global to the process.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class MigrationState:
    """Where the database is, and where it must be."""

    current: str | None
    head: str

    @property
    def applied(self) -> bool:
        return self.current == self.head


def state(db: Database) -> MigrationState:
    """Cheap; for readiness.

    Raises:
        StoreUnavailable: the database does not answer.
    """
    with db.read() as connection:
        return MigrationState(_current(connection), _head())


def migrate(db: Database, revision: str = "head") -> MigrationState:
    """Up to `revision`; does nothing when the database is there.

    Raises:
        StoreUnavailable: the database does not answer, or another process has been migrating it for too long.
    """
    return _run(db, revision, up=True)


def rollback(db: Database, revision: str = "base") -> MigrationState:
    """Down to `revision`, data included; for tests and for going back to an older version."""
    return _run(db, revision, up=False)


def _run(db: Database, revision: str, *, up: bool) -> MigrationState:
    with _one_at_a_time, db.write() as connection:
        _alone(connection)
        config = _config()
        config.attributes["connection"] = connection
        (command.upgrade if up else command.downgrade)(config, revision)
        return MigrationState(_current(connection), _head())


def _alone(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        for setting in ("lock_timeout", "statement_timeout"):
            connection.execute(text(f"SET LOCAL {setting} = '{_WAIT}'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _LOCK_ID})


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


@cache
def _head() -> str:
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
