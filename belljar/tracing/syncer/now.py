"""`belljar traces sync`: send what waits, in this process, now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from belljar.tracing.syncer.settings import SyncSettings

if TYPE_CHECKING:
    from belljar.tracing.outbox import Status

__all__ = ["sync_now"]


async def sync_now(
    settings: SyncSettings,
    *,
    deadline_s: float | None = None,
    progress: Callable[[Status], None] | None = None,
) -> Status:
    """Send until nothing waits any more, or until it cannot go on: `pending` is not 0 then, and `parked` or
    `last_error` says why.

    Attempts and waits are those of the settings; a server that asks for a longer wait than `pace.backoff_cap_s` is not
    waited for. `progress` is told after each batch.

    Raises:
        OutboxError: the spool cannot be used; names the file.
    """
    from belljar.tracing.syncer.owning import once  # HTTP and SQLite: only who sends pays for them

    return await once(settings, deadline_s=deadline_s, progress=progress)
