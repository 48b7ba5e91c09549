"""What can happen to a syncer while it waits: something was appended, send all now, or end.

One bell for all waits. The times are of the monotonic clock; who rings is in the same event loop.
"""

from __future__ import annotations

import math
import time

import anyio

__all__ = ["Bell"]


class Bell:
    """Rung by whoever owns the syncer, heard by the syncer in every wait."""

    def __init__(self) -> None:
        self.flushing = False
        """Whether what waits is to be sent at once, and then nothing more."""
        self.stopping = False
        """Whether no further request is to be begun."""
        self.deadline = math.inf
        """When the last request must have ended, once it is flushing or stopping."""
        self._rung = anyio.Event()

    def ring(self) -> None:
        """There is something new."""
        self._rung.set()

    def flush(self, seconds: float) -> None:
        """Send everything at once, within this time, and end."""
        self.flushing = True
        self._until(seconds)

    def stop(self, seconds: float) -> None:
        """Finish the request that is under way, within this time, and end."""
        self.stopping = True
        self._until(seconds)

    @property
    def ending(self) -> bool:
        return self.flushing or self.stopping

    @property
    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    async def wait(self, seconds: float) -> None:
        """Until it rings, and no longer than this."""
        with anyio.move_on_after(seconds):
            await self._rung.wait()
        self._rung = anyio.Event()

    def _until(self, seconds: float) -> None:
        self.deadline = min(self.deadline, time.monotonic() + seconds)
        self.ring()
