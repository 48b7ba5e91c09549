"""How much of a core the learner may use: after each piece of work it rests until its share is right again.

What counts is the processor's time, of all threads of the process, over the time on the wall. Time in which nothing was
done is not saved up beyond a moment, so that a learner that waited for an hour does not take a core for a quarter of
one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Budget", "Stopped"]

_SAVED_S = 1.0
# A rest is looked at so often, in case it is no longer wanted.
_LONGEST_REST_S = 60.0
_LEAST_REST_S = 0.001


class Stopped(Exception):
    """Told to end, or to stand down: what is under way is given up. Nothing of it was written."""


class Budget:
    """A share of one core, 0 < share <= 1; 1 is no limit.

    Args:
        rest: waits so many seconds, or less when told to end; then it is true.
    """

    def __init__(
        self,
        share: float,
        rest: Callable[[float], bool],
        *,
        clock: Callable[[], float] = time.monotonic,
        processor: Callable[[], float] = time.process_time,
    ) -> None:
        self._share = share
        self._rest = rest
        self._clock = clock
        self._processor = processor
        self._seen = clock(), processor()
        self._owed = 0.0

    def pay(self) -> None:
        """Rest for what was used since the last time.

        Raises:
            Stopped: told to end.
        """
        if self._rest(0):
            raise Stopped
        self._reckon()
        while self._share < 1 and self._owed > _LEAST_REST_S:
            if self._rest(min(self._owed, _LONGEST_REST_S)):
                raise Stopped
            self._reckon()

    def _reckon(self) -> None:
        before, used_before = self._seen
        now, used = self._seen = self._clock(), self._processor()
        self._owed = max(-_SAVED_S, self._owed + (used - used_before) / self._share - (now - before))
