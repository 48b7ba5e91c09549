"""When the next request may be made: the circuit breaker, the parked queue, and single traces that are put off.

A batch that fails all its attempts shuts the gate for a while. Then one batch may try, once; if it fails, the gate is
shut for longer. A server that refuses our key shuts it for a quarter of an hour at once: asking it again changes
nothing. A server that says "later" of single traces keeps those alone waiting, and with them what descends from them.

Nothing here drops anything. All times are of the monotonic clock.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable

from belljar.tracing.outbox import Parcel
from belljar.tracing.syncer.settings import Pace

__all__ = ["Deferred", "Gate"]

_MAX_REMEMBERED = 4096


class Gate:
    """Whether requests may go out at all."""

    def __init__(self, pace: Pace, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace = pace
        self._clock = clock
        self._shut_until = 0.0
        self._failures = 0
        self._reason: str | None = None

    @property
    def shut_for(self) -> float:
        """Seconds until a request may be made; 0 if it may be made now."""
        return max(0.0, self._shut_until - self._clock())

    @property
    def probing(self) -> bool:
        """Whether the next request is a trial, after a failure: one batch, one attempt."""
        return self._failures > 0

    def succeeded(self) -> None:
        """The server has dealt with a request."""
        self._shut_until = 0.0
        self._failures = 0
        self._reason = None

    def failed(self, floor_s: float) -> None:
        """A batch failed, after all its attempts. The server asked for `floor_s`."""
        pause = min(self._pace.breaker_s * 2.0 ** min(self._failures, 30), self._pace.parked_s)
        # Somewhat apart from others who failed at the same moment.
        self._shut(max(floor_s, pause * random.uniform(0.75, 1.0)))  # noqa: S311 - spreads load, hides nothing

    def parked(self, reason: str) -> bool:
        """Sending makes no sense until somebody has changed something. Whether that is news."""
        self._shut(self._pace.parked_s)
        news = reason != self._reason
        self._reason = reason
        return news

    def _shut(self, seconds: float) -> None:
        self._failures += 1
        self._shut_until = self._clock() + seconds


class Deferred:
    """Traces of which the server said "later", each with the time before which it is not sent again."""

    def __init__(self, pace: Pace, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace = pace
        self._clock = clock
        self._until: dict[str, float] = {}
        self._times: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._until)

    def put_off(self, trace_id: str) -> None:
        """Once more; each time for longer."""
        times = self._times[trace_id] = self._times.get(trace_id, 0) + 1
        widest = min(self._pace.backoff_base_s * 2.0 ** min(times, 30), self._pace.backoff_cap_s)
        # Not full jitter: the server has answered, it is not down, and an instant second try would be for nothing.
        self._until[trace_id] = self._clock() + widest * random.uniform(0.5, 1.0)  # noqa: S311 - hides nothing

    def forget(self, trace_id: str) -> None:
        """It came to an end."""
        self._until.pop(trace_id, None)
        self._times.pop(trace_id, None)

    def sendable(self, parcels: Iterable[Parcel]) -> list[Parcel]:
        """Those that may be sent now: not put off, and not below one that is. Parents come first."""
        self._expire()
        held = set(self._until)
        sendable = list[Parcel]()
        for parcel in parcels:
            if parcel.trace_id in held or parcel.parent_id in held:
                held.add(parcel.trace_id)
            else:
                sendable.append(parcel)
        return sendable

    def _expire(self) -> None:
        now = self._clock()
        self._until = {trace_id: until for trace_id, until in self._until.items() if until > now}
        if len(self._times) > _MAX_REMEMBERED:  # some of them have long been dropped by the outbox's bounds
            self._times = {trace_id: self._times[trace_id] for trace_id in self._until}

    @property
    def next_in(self) -> float:
        """Seconds until the first of them may be sent; infinite if there is none."""
        return min(self._until.values(), default=math.inf) - self._clock()
