"""Who learns: one of all, and another one when he is gone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import text

from belljar.server.learner.leader import leader_of
from belljar.server.store.engine import Database, open_database

_LEAD = """
import sys
from belljar.server.learner.leader import leader_of
from belljar.server.store.engine import open_database
leader = leader_of(open_database(sys.argv[1]))
print(leader.leads(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def databases(db_url: str) -> Iterator[list[Database]]:
    with ExitStack() as stack:
        yield [stack.enter_context(closing(open_database(db_url))) for _ in range(2)]


def test_one_leads(databases: list[Database]) -> None:
    """Of two on one database the first; asked again it still does, the other still not; when it ends, the other."""
    first, second = map(leader_of, databases)
    assert [first.leads(), second.leads(), first.leads(), second.leads()] == [True, False, True, False]
    first.close()
    assert [second.leads(), first.leads()] == [True, False]
    second.close()
    second.close()
    assert first.leads()
    first.close()


def test_a_killed_one_leads_no_more(databases: list[Database], db_url: str) -> None:
    """kill -9: nothing is left of it that anybody waits for."""
    command = [sys.executable, "-c", _LEAD, db_url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with closing(leader_of(databases[0])) as mine:
            assert not mine.leads()
            other.kill()
            other.wait(30)
            ends = time.monotonic() + 10
            while not mine.leads():  # PostgreSQL takes a moment to see that a client is gone
                assert time.monotonic() < ends
                time.sleep(0.02)


def test_two_databases_have_two(databases: list[Database], tmp_path: Path) -> None:
    """A lock is of one database, not of all on a server or in a folder."""
    elsewhere = open_database(f"sqlite:///{tmp_path}/other.db")
    with closing(leader_of(databases[0])) as one, closing(leader_of(elsewhere)) as other:
        assert one.leads()
        assert other.leads()
    elsewhere.close()


def test_a_lost_connection_is_noticed(postgres_url: str) -> None:
    """Its session was ended behind its back: it stands down as soon as it asks, and the other one leads."""
    with ExitStack() as stack:
        mine, other, admin = (stack.enter_context(closing(open_database(postgres_url))) for _ in range(3))
        first, second = (stack.enter_context(closing(leader_of(db))) for db in (mine, other))
        assert first.leads()
        assert not second.leads()
        with admin.write() as connection:
            ended = "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory'"
            assert connection.scalar(text(ended))
        assert not first.leads()
        assert second.leads()
        assert not first.leads()


def test_a_lock_that_went_is_noticed(postgres_url: str) -> None:
    """The line is there, the lock is not - a pooler gave it another session: it does not think that it leads."""
    with closing(open_database(postgres_url)) as db, closing(leader_of(db)) as leader:
        assert leader.leads()
        leader._line.execute(text("SELECT pg_advisory_unlock_all()"))  # pyright: ignore[reportAttributeAccessIssue]
        assert not leader.leads()


def test_a_database_that_is_away() -> None:
    """Nobody leads on it, and that is no error."""
    with closing(open_database("postgresql://nobody@127.0.0.1:1/none")) as db, closing(leader_of(db)) as leader:
        assert not leader.leads()


def test_the_file_beside_the_database(sqlite_url: str) -> None:
    """It is private; a link in its place is not followed; removed by somebody, it is taken again by one alone."""
    with ExitStack() as stack:
        databases = [stack.enter_context(closing(open_database(sqlite_url))) for _ in range(2)]
        first, second = (stack.enter_context(closing(leader_of(db))) for db in databases)
        file = Path(sqlite_url.removeprefix("sqlite:///") + "-learner")
        assert first.leads()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        file.unlink()
        assert second.leads()
        assert not first.leads()
        second.close()
        file.unlink()
        file.symlink_to(file.with_name("elsewhere"))
        assert not second.leads()
        assert not os.path.exists(file.with_name("elsewhere"))
