"""F40: the tables, up and down, and equal to what the code thinks they are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from belljar.server.store import schema
from belljar.server.store.engine import Database, open_database
from belljar.server.store.errors import StoreUnavailable
from belljar.server.store.ingest import ingest
from belljar.server.store.keys import Principal, any_key
from belljar.server.store.migrating import migrate, rollback, state
from tests.server.conftest import NOW
from tests.server.postgres import Postgres
from tests.server.traces import trace


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/server.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create()
    yield server.url(name)
    server.drop(name)


def tables(db: Database) -> set[str]:
    with db.read() as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


def indexes(db: Database) -> dict[str, list[str]]:
    with db.read() as connection:
        look = inspect(connection)
        return {t: sorted(str(i["name"]) for i in look.get_indexes(t)) for t in look.get_table_names()}


def test_up_down_up(empty_url: str) -> None:
    """Each way leaves nothing behind, and the state is said all the way."""
    db = open_database(empty_url)
    assert not state(db).applied
    assert migrate(db).applied
    first = indexes(db)
    assert tables(db) == set(schema.metadata.tables)
    assert rollback(db).current is None
    assert tables(db) == set()
    assert migrate(db).applied
    assert migrate(db).applied  # again is nothing
    assert indexes(db) == first
    db.close()


def test_step_by_step(empty_url: str) -> None:
    """Every migration can be taken back alone, with rows in the tables."""
    db = open_database(empty_url)
    for revision in ("0001", "0002", "0003", "0004", "0005", "0006", "0007"):
        assert migrate(db, revision).current == revision
    for revision in ("0006", "0005", "0003", "0002", "0001", "base"):
        assert rollback(db, revision).current == (None if revision == "base" else revision)
    db.close()


def test_migrations_make_what_the_code_expects(db: Database) -> None:
    """Alembic, asked to write the next migration, finds nothing to write."""
    with db.read() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), schema.metadata) == []


def test_the_rules_of_the_migrations_are_the_codes(db: Database) -> None:
    """Alembic does not compare CHECKs and partial indexes: their words are the same too."""
    with db.read() as connection:
        look = inspect(connection)
        checks = {str(c["name"]) for c in look.get_check_constraints("execution_trace")}
        partial = {
            str(i["name"]): str(i.get("dialect_options", {}).get(f"{db.dialect}_where", ""))
            for i in look.get_indexes("execution_trace")
        }
    assert checks == {
        f"ck_execution_trace_{n}" for n in ("priority", "predicted", "td_error", "mocked_share", "duration_ms")
    }
    expected = {str(i.name): str(i.dialect_options[db.dialect]["where"]) for i in schema.execution_trace.indexes}
    assert partial.keys() - {"uq_execution_trace_tenant_id_trace_id"} == expected.keys()
    assert {name: bare(partial[name]) for name in expected} == {name: bare(words) for name, words in expected.items()}


def bare(words: str) -> str:
    """Without what PostgreSQL adds to it."""
    return words.replace("None", "").replace("(", "").replace(")", "").replace("::double precision", "")


@pytest.mark.parametrize(
    "change",
    ["priority = 1.5", "priority = -0.1", "predicted = 2", "td_error = -2", "mocked_share = 1.1", "duration_ms = -1"],
)
def test_what_cannot_be_is_refused_by_the_database(db: Database, owner: Principal, change: str) -> None:
    """F40: the ranges are CHECKs, whoever writes."""
    ingest(db, owner, [trace()], now=NOW)
    with pytest.raises(IntegrityError), db.write() as connection:
        connection.execute(text(f"UPDATE execution_trace SET {change}"))


def test_a_migration_that_fails_leaves_the_database_as_it_was(empty_url: str) -> None:
    """All or nothing, on both engines."""
    db = open_database(empty_url)
    with db.write() as connection:
        connection.execute(text("CREATE TABLE trace_tool (x INTEGER)"))  # in the way of a later migration
    with pytest.raises(Exception, match="trace_tool"):
        migrate(db)
    assert tables(db) == {"trace_tool"}
    assert state(db).current is None
    db.close()


_MIGRATE = """
import sys
from belljar.server.store.engine import open_database
from belljar.server.store.migrating import migrate
db = open_database(sys.argv[1])
sys.stdin.readline()
print(migrate(db).applied, flush=True)
"""


def test_replicas_migrate_at_once(empty_url: str) -> None:
    """Of four processes one does it, the others wait and find it done."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    replicas = [subprocess.Popen([sys.executable, "-c", _MIGRATE, empty_url], **pipes) for _ in range(4)]
    for replica in replicas:
        assert replica.stdin is not None
        replica.stdin.write("go\n")
        replica.stdin.flush()
    assert [replica.communicate(timeout=60)[0].strip() for replica in replicas] == ["True"] * 4
    assert [replica.returncode for replica in replicas] == [0] * 4


def test_threads_migrate_at_once(empty_url: str) -> None:
    """Alembic's context is global; ours is a lock around it."""
    databases = [open_database(empty_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert [found.applied for found in pool.map(migrate, databases)] == [True] * 4
    for database in databases:
        database.close()


def test_without_migrations_the_reason_is_named(empty_url: str) -> None:
    """Readiness and every question say what to do."""
    db = open_database(empty_url)
    with pytest.raises(StoreUnavailable, match="belljar server migrate") as caught:
        any_key(db, now=NOW)
    assert caught.value.reason == "NOT_MIGRATED"
    db.close()
