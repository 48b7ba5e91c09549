"""Checkpoints in the store: numbered, few, all or nothing, and not believed when they are read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError

from belljar.server.store import models
from belljar.server.store.engine import Database, open_database
from belljar.server.store.errors import StoreRefused
from belljar.server.store.keys import Principal
from belljar.server.store.models import Broken, NewModel, StoredModel
from belljar.server.store.schema import checkpoint
from tests.server.conftest import NOW, principal


def model(n: int = 1, **changes: Any) -> NewModel:
    given: dict[str, Any] = {
        "trained_at": NOW,
        "traces": 100 + n,
        "last_row": 500 + n,
        "seed": n,
        "seconds": 1.5,
        "embedder": "hashed",
        "dimensions": 1024,
        "config": {"heads": 4},
        "evaluation": {"heldOut": 20},
        "uses": {"capabilities": True, "tools": False, "chance": False},
        "blob": f"bytes of {n}".encode(),
        **changes,
    }
    return NewModel(**given)


def newest(db: Database, tenant_id: int) -> StoredModel | None:
    with db.read() as connection:
        return models.newest(connection, tenant_id)


def blob(db: Database, tenant_id: int, of: StoredModel) -> bytes | None:
    with db.read() as connection:
        return models.blob_of(connection, tenant_id, of)


def versions(db: Database) -> list[tuple[int, int]]:
    with db.read() as connection:
        keys = select(checkpoint.c.tenant_id, checkpoint.c.version).order_by("tenant_id", "version")
        return [(row.tenant_id, row.version) for row in connection.execute(keys)]


def test_what_is_saved_comes_back(db: Database, owner: Principal) -> None:
    """Every field, and the bytes; the newest of the tenant."""
    assert newest(db, owner.tenant_id) is None
    assert models.save(db, owner.tenant_id, model(1)) == 1
    assert models.save(db, owner.tenant_id, model(2, evaluation=None)) == 2
    found = newest(db, owner.tenant_id)
    assert found is not None
    assert (found.version, found.traces, found.last_row, found.seed, found.evaluation) == (2, 102, 502, 2, None)
    assert (found.trained_at, found.config, found.uses) == (NOW, {"heads": 4}, model().uses)
    assert blob(db, owner.tenant_id, found) == b"bytes of 2"


def test_the_newest_few_stay(db: Database, owner: Principal) -> None:
    """Of each tenant by itself; numbers go on."""
    stranger = principal(db, "stranger")
    models.save(db, stranger.tenant_id, model())
    for n in range(1, 6):
        assert models.save(db, owner.tenant_id, model(n)) == n
    assert versions(db) == sorted([(owner.tenant_id, n) for n in (3, 4, 5)] + [(stranger.tenant_id, 1)])


def test_two_at_once_get_two_numbers(db_url: str) -> None:
    """Two learners, by whatever fault, save at the same time: neither is lost, none has the other's number."""
    databases = [open_database(db_url), open_database(db_url)]
    tenant_id = principal(databases[0], "acme").tenant_id
    with ThreadPoolExecutor(2) as threads:
        numbers = list(threads.map(lambda n: models.save(databases[n % 2], tenant_id, model(n), keep=9), range(8)))
    assert sorted(numbers) == list(range(1, 9))
    for database in databases:
        database.close()


def test_a_version_is_there_once(db: Database, owner: Principal) -> None:
    """F40: UNIQUE (tenant, version), whoever writes; and it begins at 1."""
    models.save(db, owner.tenant_id, model(1))
    models.save(db, owner.tenant_id, model(2))
    for wrong in ("version = 1", "version = -4"):
        with pytest.raises(IntegrityError), db.write() as connection:
            connection.execute(text(f"UPDATE checkpoint SET {wrong} WHERE version = 2"))


def test_too_large_is_refused(db: Database, owner: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the way in, and again on the way out, before its bytes are fetched."""
    models.save(db, owner.tenant_id, model())
    found = newest(db, owner.tenant_id)
    assert found is not None
    monkeypatch.setattr(models, "MAX_BYTES", 5)
    with pytest.raises(StoreRefused):
        models.save(db, owner.tenant_id, model())
    with pytest.raises(Broken, match="10 bytes"):
        blob(db, owner.tenant_id, found)


@pytest.mark.parametrize("change", [{"blob": b"bytes of 9"}, {"blob": b"longer than it was"}, {"sha256": "0" * 64}])
def test_what_was_changed_is_not_taken(db: Database, owner: Principal, change: dict[str, Any]) -> None:
    """Its SHA-256 and its size say so; a reader is told, not given it."""
    models.save(db, owner.tenant_id, model(1))
    with db.write() as connection:
        connection.execute(update(checkpoint).values(change))
    found = newest(db, owner.tenant_id)
    assert found is not None
    with pytest.raises(Broken, match="saved"):
        blob(db, owner.tenant_id, found)


def test_one_that_went_meanwhile(db: Database, owner: Principal) -> None:
    """Newer ones came between the look and the fetch: there are no bytes, and that is no fault."""
    models.save(db, owner.tenant_id, model(1))
    found = newest(db, owner.tenant_id)
    assert found is not None
    for n in range(2, 5):
        models.save(db, owner.tenant_id, model(n))
    assert blob(db, owner.tenant_id, found) is None
