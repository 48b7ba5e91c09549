"""One server as the world sees it: there when it is called, gone when it is not needed.

A connection lives in one task from its first to its last breath, because cancel scopes must be left by the task that
entered them; whoever calls only borrows it (`lease`). The task starts with the first call for the server, ends it when
it was idle for a while, and ends when it dies. The next call starts another one: at once after a first death, then
after a pause that doubles, and meanwhile calls fail at once with what was last said rather than wait.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from belljar import show
from belljar.errors import Code, UpstreamError
from belljar.limits import Limits
from belljar.rpc.servers import ServerSpec
from belljar.rpc.upstreams._words import Words

if TYPE_CHECKING:
    from belljar.rpc.upstreams._connection import Connection
    from belljar.rpc.upstreams._gate import Gate

__all__ = ["START_S", "Upstream"]

START_S = 15.0
# A death after this long says nothing about the next start.
_SETTLED_S = 10.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
# A call waits this long for the next attempt; for more it fails with the reason of the last one.
_PATIENCE_S = 2.0

_logger = logging.getLogger("belljar.upstream")


@dataclass(slots=True)
class _Attempt:
    """One start: `done` once it succeeded or failed; if it failed, with a reason."""

    done: anyio.Event = field(default_factory=anyio.Event)
    reason: str = ""


class Upstream:
    """Starts, lends, ends and restarts the connection to one server; its tasks run in the group handed in."""

    def __init__(self, spec: ServerSpec, limits: Limits, tasks: TaskGroup, *, idle_s: float) -> None:
        self.spec = spec
        self._limits = limits
        self._tasks = tasks
        self._idle_s = idle_s
        self._mode = "auto"
        self._stopped = False
        self._attempt: _Attempt | None = None
        self._scope: anyio.CancelScope | None = None
        self._gate: Gate | None = None
        self._connection: Connection | None = None
        self._leases = 0
        self._used_at = 0.0
        self._failures = 0
        self._not_before = 0.0
        self._reason = ""

    def warm(self) -> None:
        """Start in the background, if it is not there and may be; whoever calls later learns how it went."""
        if not self._stopped and self._connection is None and anyio.current_time() >= self._not_before:
            self._begin()

    @asynccontextmanager
    async def lease(self) -> AsyncGenerator[Connection]:
        """The connection, started if need be, and kept from idling while it is lent.

        Raises:
            UpstreamError: UPSTREAM_UNAVAILABLE.
        """
        connection = await self._ready()
        self._leases += 1
        try:
            yield connection
        finally:
            self._leases -= 1
            self._used_at = anyio.current_time()

    def stop(self) -> None:
        """End it for good: a connection closes politely, a start is broken off."""
        self._stopped = True
        if self._connection is not None and self._gate is not None:
            self._gate.fail("was stopped with everything else")
        elif self._scope is not None:
            self._scope.cancel()

    async def _ready(self) -> Connection:
        while self._connection is None:
            if self._attempt is None:
                await self._pause()
            attempt = self._begin()
            await attempt.done.wait()
            if attempt.reason:
                raise self._unavailable(attempt.reason)
        return self._connection

    async def _pause(self) -> None:
        wait = self._not_before - anyio.current_time()
        if wait > _PATIENCE_S:
            raise self._unavailable(f"{self._reason}; the next attempt is in {wait:.0f} s")
        if wait > 0:
            await anyio.sleep(wait)

    def _begin(self) -> _Attempt:
        """The attempt under way, or a new one."""
        if self._stopped:
            raise self._unavailable("everything was stopped")
        if self._attempt is None:
            self._attempt = _Attempt()
            self._tasks.start_soon(self._own, self._attempt, name=f"upstream {self.spec.name}")
        return self._attempt

    def _unavailable(self, reason: str) -> UpstreamError:
        message = f"server {self.spec.name} is not available: {reason}"
        return UpstreamError(message, server=self.spec.name, code=Code.UPSTREAM_UNAVAILABLE)

    # the owning task

    async def _own(self, attempt: _Attempt) -> None:
        try:
            # In a thread: importing the client library takes 0.7 s, and the loop has better things to do.
            await anyio.to_thread.run_sync(_load)
            attempt.reason = await self._run(attempt)
        except Exception as exc:
            attempt.reason = f"failed ({type(exc).__name__})"
            _logger.debug("server %s failed", show.name(self.spec.name), exc_info=True)
        finally:
            self._reason = attempt.reason or self._reason
            if self._attempt is attempt:
                self._attempt = None
            attempt.done.set()

    async def _run(self, attempt: _Attempt) -> str:
        deadline = anyio.current_time() + START_S
        reason, choked = await self._once(attempt, deadline)
        if choked and self._mode == "auto":
            # Some older servers end, rather than answer, when the first message is one they do not know.
            self._mode = "legacy"
            reason, choked = await self._once(attempt, deadline)
            self._mode = "auto" if reason else "legacy"
        return reason

    async def _once(self, attempt: _Attempt, deadline: float) -> tuple[str, bool]:
        """One connection from start to end: why it could not be started, and whether it died of our first words."""
        from belljar.rpc.upstreams._connection import connect, reason_of
        from belljar.rpc.upstreams._gate import Gate

        if self._stopped:  # before there was anything to be broken off
            return "everything was stopped", False
        gate, words = Gate(self._limits), Words(self.spec.name, self.spec.secrets)
        up_at: float | None = None
        reason = f"it gave no answer within {START_S:g} s"
        with anyio.CancelScope(deadline=deadline) as self._scope:
            try:
                async with connect(self.spec, self._limits, words, gate, mode=self._mode) as connection:
                    self._scope.deadline = float("inf")
                    up_at = anyio.current_time()
                    self._lend(connection, gate, attempt)
                    await self._until_over(gate)
                    self._connection = None
            except Exception as exc:  # noqa: BLE001 - whatever befalls one server must not end the others
                self._connection = None
                reason = f"it {gate.reason}" if gate.over.is_set() else reason_of(exc)
                _logger.debug("server %s: %s", show.name(self.spec.name), show.text(reason))
        if self._stopped:
            reason = "everything was stopped"
        self._account(up_at, gate)
        return ("" if up_at is not None else words.quoted(reason)), up_at is None and gate.over.is_set()

    def _lend(self, connection: Connection, gate: Gate, attempt: _Attempt) -> None:
        self._connection, self._gate = connection, gate
        self._used_at = anyio.current_time()
        self._attempt = None
        attempt.done.set()

    async def _until_over(self, gate: Gate) -> None:
        """Wait for its end, or until nobody has used it for long enough."""
        while not gate.over.is_set():
            left = self._idle_s if self._leases else self._used_at + self._idle_s - anyio.current_time()
            if left <= 0:
                return
            with anyio.move_on_after(left):
                await gate.over.wait()

    def _account(self, up_at: float | None, gate: Gate) -> None:
        died = up_at is None or (gate.over.is_set() and anyio.current_time() - up_at < _SETTLED_S)
        self._failures = self._failures + 1 if died else 0
        if gate.over.is_set():
            self._reason = f"it {gate.reason}"
        pause = _FIRST_PAUSE_S * 2.0 ** min(self._failures - 2, 10) if self._failures > 1 else 0.0
        self._not_before = anyio.current_time() + min(_LONGEST_PAUSE_S, pause)


def _load() -> None:
    import_module("belljar.rpc.upstreams._connection")
