"""Models that were trained, kept where every replica finds them.

A tenant's checkpoints are numbered 1, 2, 3 ...; of each the newest few stay, and the older ones go in the transaction
that brings a new one, so that there is never none. Two that are saved at once get two numbers.

What is read back is not believed: its size is bounded before it is fetched and its SHA-256 compared after; what the
bytes mean is for `learning.checkpoint` to say, which takes nothing that is malformed. Whoever can write this table can
still put a model of his own there - and with it change what is suggested, but nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from belljar.limits import MIB
from belljar.server.store.engine import Database
from belljar.server.store.errors import StoreConflict, StoreRefused
from belljar.server.store.schema import checkpoint

__all__ = ["KEPT", "MAX_BYTES", "Broken", "NewModel", "StoredModel", "blob_of", "newest", "save"]

KEPT = 3
"""Checkpoints of a tenant that stay."""
MAX_BYTES = 72 * MIB
"""Of one checkpoint: 64 MiB of arrays, and the names that go with them. Mostly it is a few."""

_TRIES = 5
_ROW = checkpoint.c
_HEAD = [column for column in checkpoint.c if column.name not in ("tenant_id", "blob")]


class Broken(ValueError):
    """What is stored is not what was saved. The message says how, for people."""


@dataclass(frozen=True, slots=True)
class NewModel:
    """A checkpoint on its way into the store."""

    trained_at: datetime
    traces: int
    """It was trained on."""
    last_row: int
    """The newest of them."""
    seed: int
    seconds: float
    embedder: str
    """Name of what made vectors of texts; a model is used with no other."""
    dimensions: int
    """Of those vectors."""
    config: Mapping[str, Any]
    evaluation: Mapping[str, Any] | None
    uses: Mapping[str, bool]
    """The tasks it won, and is used for."""
    blob: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredModel:
    """All of a checkpoint but its bytes. JSON as it stands there, which is to be looked at before it is believed."""

    version: int
    trained_at: datetime
    traces: int
    last_row: int
    seed: int
    seconds: float
    embedder: str
    dimensions: int
    config: Any
    evaluation: Any
    uses: Any
    sha256: str
    size_bytes: int


def save(db: Database, tenant_id: int, model: NewModel, *, keep: int = KEPT) -> int:
    """Keep it as the tenant's newest; its version.

    Raises:
        StoreRefused: it is larger than `MAX_BYTES` (`TOO_LARGE`).
        StoreConflict: others saved one each time that this was tried.
        StoreUnavailable: nothing was changed.
    """
    if len(model.blob) > MAX_BYTES:
        raise StoreRefused(f"a checkpoint is larger than {MAX_BYTES} bytes", reason="TOO_LARGE")
    for _ in range(_TRIES):
        try:
            with db.write() as connection:
                return _save(connection, tenant_id, model, keep)
        except IntegrityError:
            continue  # another learner took that version: the next one is free
    raise StoreConflict("others saved a checkpoint each time that this was tried")


def _save(connection: Connection, tenant_id: int, model: NewModel, keep: int) -> int:
    mine = _ROW.tenant_id == tenant_id
    version = (connection.scalar(select(func.max(_ROW.version)).where(mine)) or 0) + 1
    connection.execute(
        insert(checkpoint).values(
            tenant_id=tenant_id,
            version=version,
            trained_at=model.trained_at,
            traces=model.traces,
            last_row=model.last_row,
            seed=model.seed,
            seconds=model.seconds,
            embedder=model.embedder,
            dimensions=model.dimensions,
            config=dict(model.config),
            evaluation=model.evaluation,
            uses=dict(model.uses),
            sha256=hashlib.sha256(model.blob).hexdigest(),
            size_bytes=len(model.blob),
            blob=model.blob,
        )
    )
    connection.execute(delete(checkpoint).where(mine, _ROW.version <= version - keep))
    return version


def newest(connection: Connection, tenant_id: int) -> StoredModel | None:
    """The tenant's newest, without its bytes; one look into an index."""
    mine = select(*_HEAD).where(_ROW.tenant_id == tenant_id).order_by(_ROW.version.desc()).limit(1)
    row = connection.execute(mine).first()
    return None if row is None else StoredModel(**row._mapping)  # pyright: ignore[reportPrivateUsage] - its public name


def blob_of(connection: Connection, tenant_id: int, model: StoredModel) -> bytes | None:
    """Its bytes; None if it went meanwhile.

    Raises:
        Broken: they are too many, or not those that were saved.
    """
    that = (_ROW.tenant_id == tenant_id, _ROW.version == model.version)
    size = connection.scalar(select(func.length(_ROW.blob)).where(*that))
    if size is None:
        return None
    if size > MAX_BYTES or size != model.size_bytes:
        raise Broken(f"it has {size} bytes, which is not what was saved")
    blob: bytes = connection.scalars(select(_ROW.blob).where(*that)).one()
    if hashlib.sha256(blob).hexdigest() != model.sha256:
        raise Broken("its SHA-256 is not that of what was saved")
    return blob
