"""What the learner says of itself, for whoever asks a replica that does not learn.

One row says who leads and when he was last heard of: where that is long ago, nobody does. A row for each tenant says
what was last done for it. Nothing here decides anything: who leads is decided by a lock (`learner/leader.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update

from belljar.server.store.engine import Database
from belljar.server.store.schema import learner, learner_status

__all__ = ["SILENT_AFTER", "STATES", "Status", "beat", "report", "status_of"]

STATES = ("off", "waiting", "training", "absent")
SILENT_AFTER = timedelta(seconds=60)
"""A leader that was not heard of for so long is none."""
_NAME = "shgat"
_NOBODY = "no learner runs: servers were started with --no-learn, or none is up"


@dataclass(frozen=True, slots=True)
class Status:
    """What the learner does for one tenant."""

    state: str
    """One of STATES: nobody learns; there is nothing to do yet; a model is being trained; nothing could train one."""
    why: str
    replay: int
    """Real runs it can draw from."""
    new_traces: int
    """Of them, since the last training."""
    trains_after: int
    """With so many new ones it trains."""


def beat(db: Database, leader: str, *, now: datetime) -> None:
    """The learner that leads is there."""
    with db.write() as connection:
        _put(connection, learner, {"name": _NAME}, {"leader": leader, "beat_at": now})


def report(db: Database, statuses: Sequence[tuple[int, Status]], *, now: datetime) -> None:
    """What it does now, by tenant."""
    with db.write() as connection:
        for tenant_id, status in sorted(statuses, key=lambda each: each[0]):
            _put(connection, learner_status, {"tenant_id": tenant_id}, {**asdict(status), "updated_at": now})


def status_of(connection: Connection, tenant_id: int, *, now: datetime) -> tuple[Status, datetime | None]:
    """What was last said, and when the learner was last heard of."""
    beat_at = connection.scalar(select(learner.c.beat_at).where(learner.c.name == _NAME))
    row = connection.execute(select(learner_status).where(learner_status.c.tenant_id == tenant_id)).first()
    said = Status(row.state, row.why, row.replay, row.new_traces, row.trains_after) if row else None
    if beat_at is None or now - beat_at > SILENT_AFTER:
        numbers = (said.replay, said.new_traces, said.trains_after) if said else (0, 0, 0)
        return Status("off", _NOBODY, *numbers), beat_at
    return said or Status("waiting", "no real trace of this tenant was looked at yet", 0, 0, 0), beat_at


def forget(db: Database) -> None:
    """The one who led ends: nobody need wait to see that."""
    with db.write() as connection:
        connection.execute(delete(learner).where(learner.c.name == _NAME))


def _put(connection: Connection, table: Table, key: dict[str, Any], values: dict[str, Any]) -> None:
    where = [table.c[name] == value for name, value in key.items()]
    if not connection.execute(update(table).where(*where).values(values)).rowcount:
        connection.execute(insert(table).values(key | values))
