"""What is learned has a bound: no client fills a database with names, and what nobody does any more is forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select

from belljar.learning.things import Thing, path_id
from belljar.server.metrics import Metrics
from belljar.server.store import forgetting, learned
from belljar.server.store.engine import Database
from belljar.server.store.ingest import ingest
from belljar.server.store.keys import Principal
from belljar.server.store.learned import Known, known, successors
from belljar.server.store.room import PATHS, Room
from belljar.server.store.schema import learned as table
from tests.server.conftest import NOW, principal
from tests.server.store.test_learned import of_tool, run

MOST = 40


def send(db: Database, owner: Principal, *numbers: int, room: Room, at: datetime = NOW, tools: Any = None) -> None:
    """A run for each number, with a tool of its own behind one that all have."""
    named = tools or (lambda n: ("s:first", f"s:t{n}"))
    traces = [run(n, *named(n), capabilityId="local.default.git.notes.a7f3") for n in numbers]
    learn = partial(learned.learn, now=at, room=room)
    results = ingest(db, owner, traces, now=at, learn=learn)
    assert {result.status for result in results} == {"stored"}


def rows(db: Database, owner: Principal, *kinds: str) -> int:
    where = [table.c.tenant_id == owner.tenant_id, *([table.c.kind.in_(kinds)] if kinds else [])]
    with db.read() as connection:
        return connection.scalar(select(func.count()).select_from(table).where(*where)) or 0


def first(db: Database, owner: Principal) -> Known:
    with db.read() as connection:
        (found,) = successors(connection, owner.tenant_id, "path", path_id([]))
    return found


def test_new_paths_end_where_there_is_no_room(db: Database, owner: Principal) -> None:
    """F43: paths and pairs up to the bound, so tools and capabilities; what is known goes on being learned from."""
    metrics = Metrics()
    room = Room(MOST, refused=metrics.not_learned.inc)
    for start in range(0, 200, 10):
        send(db, owner, *range(start, start + 10), room=room)
    assert (rows(db, owner, *PATHS), rows(db, owner)) == (MOST, 2 * MOST)
    assert first(db, owner).n == 200
    one = of_tool(db, owner, "s:first")
    assert one is not None
    assert one.n == 200
    # Three new things a run, one of them a tool, and three at the start: what has no row was counted.
    assert metrics.value("belljar_learned_refused_total") == 3 + 3 * 200 - 2 * MOST


def test_one_tenants_flood_is_not_anothers(db: Database, owner: Principal) -> None:
    """The bound is each tenant's own."""
    room, other = Room(MOST), principal(db, "stranger")
    for start in range(0, 100, 50):
        send(db, owner, *range(start, start + 50), room=room)
    send(db, other, 1000, room=room)
    with db.read() as connection:
        pair = Thing("pair", "s:first > s:t1000", "s:first", "s:t1000")
        assert known(connection, other.tenant_id, [pair])
        assert not known(connection, owner.tenant_id, [pair])


def test_two_processes_go_over_by_little(db: Database, owner: Principal) -> None:
    """Each counts for itself, and looks again after so many of its own: not twice the bound, nor anything near."""
    rooms = [Room(1000), Room(1000)]
    for start in range(0, 900, 20):
        send(db, owner, *range(start, start + 20), room=rooms[start // 20 % 2])
    assert 900 < rows(db, owner, *PATHS) < 1000 + 2 * 60


def test_what_is_forgotten_makes_room(db: Database, owner: Principal) -> None:
    """F47: old paths go, and tools seen once; a minute later new paths are learned again, by the same process."""
    room = Room(MOST)
    for start in range(0, 60, 10):
        send(db, owner, *range(start, start + 10), room=room)
    later = NOW + timedelta(days=100)
    send(db, owner, 1000, room=room, at=later)
    assert (rows(db, owner, *PATHS), rows(db, owner)) == (MOST, 2 * MOST)
    assert forgetting.forget(db, seen_before=later - timedelta(days=90)) == 2 * MOST - 3
    assert rows(db, owner, *PATHS) == 1  # the beginning that all of them have
    assert first(db, owner).n == 61
    assert rows(db, owner, "tool", "capability") == 2
    send(db, owner, 2000, room=room, at=later + timedelta(seconds=61))
    with db.read() as connection:
        assert [each.n for each in successors(connection, owner.tenant_id, "pair", "s:first")] == [1]


@pytest.mark.parametrize("keep", [0, 7, 30, 1000])
def test_beyond_so_many_those_seen_once_go(db: Database, owner: Principal, keep: int) -> None:
    """The oldest first, no more than there are too many; what was seen twice stays, however old; tenants apart."""
    room, other = Room(), principal(db, "stranger")
    send(db, other, 1, room=room)
    send(db, owner, 1, 2, room=room)
    send(db, owner, 3, room=room, tools=lambda _: ("s:first", "s:t1"))
    for n in range(10, 30):
        send(db, owner, n, room=room, at=NOW + timedelta(minutes=n))
    before = rows(db, owner, *PATHS)
    twice = 3  # the first call, and the way to s:t1 with its pair
    gone = forgetting.forget(db, seen_before=NOW - timedelta(days=1), keep=keep, tenant_id=owner.tenant_id)
    assert before == twice + 2 + 2 * 20
    assert gone == min(before - twice, max(0, before - keep))
    assert rows(db, owner, *PATHS) == before - gone
    assert rows(db, other, *PATHS) == 3
    with db.read() as connection:
        left = {each.thing.tool for each in successors(connection, owner.tenant_id, "pair", "s:first")}
    assert "s:t1" in left
    assert ("s:t29" in left) is (gone < before - twice)


def test_a_page_ends_nowhere(db: Database, owner: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows than a page: every one of them is looked at, whatever it is called and whoever sent it."""
    monkeypatch.setattr(forgetting, "_PAGE", 7)
    second = principal(db, "acme") if owner.tenant == "acme" else owner
    for who, start in ((owner, 0), (second, 100)):
        send(
            db, who, *range(start, start + 20), room=Room(), tools=lambda n: ("s:first", f"\u00e9:\U0001f980{n}", "z:z")
        )
    assert rows(db, owner, *PATHS) > 50
    forgetting.forget(db, seen_before=NOW + timedelta(seconds=1), tenant_id=owner.tenant_id)
    assert rows(db, owner, *PATHS) == 0
