"""Being the one syncer of a destination: for a jar as long as it is open, or once for `belljar traces sync`.

The lock says who it is. A second jar with the same destination waits for it, and takes over when the first is gone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace

import anyio

from belljar.tracing.outbox import Outbox, OutboxError, Status, SyncerLock, sweep
from belljar.tracing.syncer.bell import Bell
from belljar.tracing.syncer.delivery import Server
from belljar.tracing.syncer.gate import Gate
from belljar.tracing.syncer.loop import LOGGER, Syncer
from belljar.tracing.syncer.masks import Masks
from belljar.tracing.syncer.settings import SyncSettings

__all__ = ["once", "serve"]

# Whoever holds the lock is a jar that is being left, or one that sends what we were asked to send.
_LOCK_S = 10.0
_LOCK_POLL_S = 0.1

_log = logging.getLogger(LOGGER)


async def serve(settings: SyncSettings, bell: Bell) -> None:
    """Send what comes in until the bell says to end. Errors of the spool are told, and waited out."""
    gate, masks = Gate(settings.pace), Masks(settings)
    told: str | None = None
    async with (
        Server.connect(settings.destination.url, settings.api_key, settings.pace) as server,
        anyio.create_task_group() as tasks,
    ):
        while True:
            try:
                if (lock := SyncerLock.take(settings.folder)) is not None:
                    tasks.start_soon(masks.prepare)
                    try:
                        with Outbox(settings.folder, settings.limits) as outbox:
                            sweep(settings.spool_root, settings.limits, settings.folder)
                            await Syncer(settings, outbox, server, masks, gate, bell).serve()
                    finally:
                        lock.release()
            except OutboxError as exc:
                if told != exc.message:
                    told = exc.message
                    _log.warning("traces cannot be sent now: %s", exc.message)
            if bell.ending:
                break
            await bell.wait(settings.flush_interval_s)
        tasks.cancel_scope.cancel()


async def once(
    settings: SyncSettings, *, deadline_s: float | None, progress: Callable[[Status], None] | None
) -> Status:
    """What `sync_now` does."""
    bell = Bell()
    bell.flush(math.inf if deadline_s is None else deadline_s)
    lock = await _locked(settings, bell)
    if lock is None:
        with Outbox(settings.folder, settings.limits, read_only=True) as outbox:
            status = outbox.status()
        return replace(status, last_error="another process is sending to this server now") if status.pending else status
    try:
        with Outbox(settings.folder, settings.limits) as outbox:
            return await _drained(settings, outbox, bell, progress)
    finally:
        lock.release()


async def _drained(
    settings: SyncSettings, outbox: Outbox, bell: Bell, progress: Callable[[Status], None] | None
) -> Status:
    def tell() -> None:
        if progress is not None:
            progress(outbox.status())

    with anyio.move_on_after(bell.left_s) as scope:
        async with Server.connect(settings.destination.url, settings.api_key, settings.pace) as server:
            gate, masks = Gate(settings.pace), Masks(settings)
            await Syncer(settings, outbox, server, masks, gate, bell, progress=tell).drain()
    status = outbox.status()
    if scope.cancelled_caught and status.pending:
        return replace(status, last_error="the time is up; the rest waits in the spool")
    return status


async def _locked(settings: SyncSettings, bell: Bell) -> SyncerLock | None:
    """The lock, or None if another process keeps it."""
    with anyio.move_on_after(min(bell.left_s, _LOCK_S)):
        while True:
            if (lock := SyncerLock.take(settings.folder)) is not None:
                return lock
            await anyio.sleep(_LOCK_POLL_S)
    return None
