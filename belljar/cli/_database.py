"""The server's database, as the verbs that need it are told about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from belljar.cli import _screen, _setup
from belljar.errors import ConfigError

if TYPE_CHECKING:
    from belljar.server.store.engine import Database

__all__ = ["URL", "migrated", "need_extra", "need_migrated", "opened", "url"]

URL = "BELLJAR_DB"

_EXTRA = ("fastapi", "uvicorn", "sqlalchemy", "alembic", "psycopg", "prometheus_client")


def need_extra() -> None:
    """Raises ConfigError if what the server is made of is not installed."""
    if not all(map(_there, _EXTRA)):
        raise ConfigError("the server's libraries are not installed: pip install 'belljar[server]'")


def _there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:
        return False


def url(option: str | None) -> str:
    """The database's URL: the option, BELLJAR_DB, or a file of our own, whose folder is made.

    A command line is seen by every user of the machine; a password in it is warned of.
    """
    given = option or os.environ.get(URL)
    if given:
        if option and _has_password(option):
            _screen.note(f"belljar: every user of this machine can see the password in --db; {URL} is not seen")
        return given
    folder = _setup.configure().paths.state
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'server.db'}"


def _has_password(option: str) -> bool:
    authority = option.partition("://")[2].partition("/")[0]
    return ":" in authority.rpartition("@")[0]


@contextmanager
def opened(database: str, *, pool_size: int = 2) -> Generator[Database]:
    """The database, closed at the end.

    Raises:
        StoreError: no such kind of database.
    """
    from belljar.server.store.engine import open_database

    db = open_database(database, pool_size=pool_size)
    try:
        yield db
    finally:
        db.close()


def migrated(db: Database) -> None:
    """Bring its tables up to date; says so if there was something to do."""
    from belljar.server.store import migrating

    if not migrating.state(db).applied:
        migrating.migrate(db)
        print(f"belljar: brought {db.shown} up to date", file=sys.stderr)


def need_migrated(db: Database) -> None:
    """An SQLite file is brought up to date. Raises ConfigError for a PostgreSQL database that is not."""
    from belljar.server.store import migrating

    if db.dialect == "sqlite":
        migrated(db)
    elif not migrating.state(db).applied:
        raise ConfigError("the database is not migrated: run `belljar server migrate` with the same --db")
