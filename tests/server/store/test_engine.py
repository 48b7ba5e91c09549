"""Opening databases, and what is said when one fails."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from belljar.server.store.engine import Database, open_database
from belljar.server.store.errors import StoreRefused, StoreUnavailable
from belljar.server.store.ingest import ingest
from belljar.server.store.keys import Principal
from tests.server.conftest import NOW
from tests.server.postgres import Postgres
from tests.server.traces import trace


@pytest.mark.parametrize(
    "url",
    [
        "",
        "server.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=memory",
        "sqlite:///x.db?cache=shared",
        "mysql://root:hunter2@host/db",
        "postgresql+psycopg2://root:hunter2@host/db",
        "postgresql+asyncpg://root:hunter2@host/db",
        "://hunter2",
    ],
)
def test_only_two_kinds_of_database(url: str) -> None:
    """What is refused is refused at once, and no password is in the message."""
    with pytest.raises(StoreRefused) as caught:
        open_database(url)
    assert caught.value.reason == "BAD_URL"
    assert "hunter2" not in caught.value.message


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """It is not made: a typing error is not a new database."""
    with pytest.raises(StoreRefused):
        open_database(f"sqlite:///{tmp_path}/nowhere/server.db")


def test_an_sqlite_file_is_its_owners_alone(tmp_path: Path) -> None:
    """The file, its log and its index: mode 0600."""
    db = open_database(f"sqlite:///{tmp_path}/server.db")
    with db.write() as connection:
        connection.execute(text("CREATE TABLE t (x)"))
        connection.execute(text("INSERT INTO t VALUES (1)"))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("server.db", "server.db-wal", "server.db-shm"), 0o600)
    db.close()


def test_the_settings_of_sqlite(sqlite_url: str) -> None:
    """WAL, foreign keys, synchronous NORMAL; a reader cannot write."""
    db = open_database(sqlite_url)
    with db.write() as connection:
        for setting, value in (("journal_mode", "wal"), ("foreign_keys", 1), ("synchronous", 1)):
            assert connection.exec_driver_sql(f"PRAGMA {setting}").scalar() == value
    with pytest.raises(StoreUnavailable), db.read() as connection:
        connection.execute(text("DELETE FROM tenant"))
    db.close()


def test_a_password_is_never_shown() -> None:
    """Not in the name for logs, nor when the database does not answer."""
    db = open_database("postgresql://ada:hunter2@127.0.0.1:1/db?password=hunter2&sslmode=disable", wait_s=2)
    assert "hunter2" not in db.shown + repr(db)
    with pytest.raises(StoreUnavailable) as caught:
        db.ping()
    assert "hunter2" not in caught.value.message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_reading_has_a_deadline(db_url: str) -> None:
    """A statement that would take for ever ends in StoreUnavailable, STORE_BUSY; the connection goes on."""
    db = open_database(db_url, read_s=0.2)
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"
    began = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught, db.read() as connection:
        connection.execute(text(endless))
    assert time.monotonic() - began < 10
    assert caught.value.reason == "STORE_BUSY"
    db.ping()
    db.close()


def test_a_failed_block_leaves_nothing(db: Database) -> None:
    """Rolled back as a whole, DDL included."""
    with pytest.raises(ZeroDivisionError), db.write() as connection:
        connection.execute(text("CREATE TABLE half (x INTEGER)"))
        raise ZeroDivisionError
    with pytest.raises(StoreUnavailable) as caught, db.read() as connection:
        connection.execute(text("SELECT * FROM half"))
    assert caught.value.reason == "NOT_MIGRATED"


def test_the_pool_is_counted(db: Database) -> None:
    """For /metrics."""
    idle = db.pool()
    with db.read(), db.write():
        assert db.pool().in_use == idle.in_use + 2
    assert db.pool() == idle
    assert idle.size >= 2


def test_no_connection_left_is_busy(db_url: str) -> None:
    """The pool is bounded; who waits too long is told so."""
    db = open_database(db_url, pool_size=1, wait_s=0.1)
    with db.write(), pytest.raises(StoreUnavailable) as caught, db.write():
        pytest.fail("one connection, twice")
    assert caught.value.reason == "STORE_BUSY"
    db.close()


def test_connections_that_were_cut_are_replaced(postgres: Postgres, postgres_url: str) -> None:
    """PostgreSQL ends every connection, as in a restart: the next batch is stored all the same."""
    from tests.server.conftest import principal

    db = open_database(postgres_url)
    owner: Principal = principal(db, "acme")
    ingest(db, owner, [trace(1)], now=NOW)
    with postgres.connect() as connection:
        cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'belljar'"
        assert connection.execute(cut).fetchone() == (1,)
    assert ingest(db, owner, [trace(2)], now=NOW)[0].status == "stored"
    db.close()


def test_a_connection_cut_in_the_middle_stores_nothing(postgres: Postgres, postgres_url: str) -> None:
    """The caller is told to try again, and doing so stores it once."""
    from tests.server.conftest import principal

    db = open_database(postgres_url)
    owner: Principal = principal(db, "acme")

    def cut(*_: object) -> list[object]:
        with postgres.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'belljar'"
            )
        return []

    def learn(connection: object, _tenant: int, _new: object) -> list[object]:
        cut()
        connection.execute(text("SELECT 1"))  # type: ignore[attr-defined]
        return []

    with pytest.raises(StoreUnavailable):
        ingest(db, owner, [trace(1)], now=NOW, learn=learn)  # type: ignore[arg-type]
    assert ingest(db, owner, [trace(1)], now=NOW)[0].status == "stored"
    db.close()
