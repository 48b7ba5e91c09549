"""A box's timeline: what it read from its clocks, and how many answers each of its waits gave it.

With the seed and the answers these are all that a run takes from outside, so a run that is given them again runs the
same way again, timers and races included, and without waiting for either. Readings are nanoseconds and never negative;
a wait that gave k answers is noted as -(k + 1). A run that reads its clocks more often than a result can carry runs on,
but cannot be replayed; `complete` says so.
"""

from __future__ import annotations

import time
from collections import deque

from belljar.rpc.frames import MAX_CLOCK

__all__ = ["Timeline"]


class Timeline:
    """One run's; real, or that of a recording. What follows the end of a recording is real again."""

    def __init__(self, start_ns: int, recorded: tuple[int, ...] = ()) -> None:
        self._start_ns = start_ns
        self._began_ns = time.monotonic_ns()
        self._recorded = deque(recorded)
        self._noted: list[int] = []
        self.events = 0
        """Readings and waits so far."""

    @property
    def complete(self) -> bool:
        return self.events <= MAX_CLOCK

    def noted(self) -> tuple[int, ...]:
        """All of it, or nothing if it became too long."""
        return tuple(self._noted) if self.complete else ()

    def wall_ns(self) -> int:
        return self._reading(self._start_ns)

    def monotonic_ns(self) -> int:
        return self._reading(0)

    def answers_due(self) -> int | None:
        """How many answers the recorded run got from the wait that begins now; None if this is no replay."""
        if self._recorded and self._recorded[0] < 0:
            return -self._recorded.popleft() - 1
        return None

    def waited(self, answers: int) -> None:
        """A wait ended with this many answers."""
        self._note(-(answers + 1))

    def _reading(self, base: int) -> int:
        if self._recorded and self._recorded[0] >= 0:
            value = self._recorded.popleft()
        else:
            value = base + time.monotonic_ns() - self._began_ns
        self._note(value)
        return value

    def _note(self, value: int) -> None:
        self.events += 1
        if self.events <= MAX_CLOCK:
            self._noted.append(value)
