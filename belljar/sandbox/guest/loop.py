"""An asyncio event loop whose only source of events is `Wire.step`.

There are no sockets and signals in a box, so a loop is `BaseEventLoop` with its selector replaced by the wire: when no
callback is ready it waits for answers or for the next timer. `asyncio.run`, `gather`, `timeout`, `TaskGroup` and queues
then work as they do anywhere; `to_thread` too, where there are threads.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from .wire import Wire

__all__ = ["Loop", "Policy"]

_TURNS_A_STEP = 8
# It lost its public name in 3.14, which is the component's; a native box has the Python it was started with.
_AnyPolicy: Any = getattr(asyncio.events, "_AbstractEventLoopPolicy", None) or asyncio.AbstractEventLoopPolicy


class Loop(asyncio.base_events.BaseEventLoop):
    """One event loop over one wire."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire
        self._selector = self  # BaseEventLoop asks `self._selector.select`
        self._just_selected = False
        self._busy_turns = 0

    def select(self, timeout: float | None) -> list[Any]:
        idle = timeout is None or timeout > 0
        self._busy_turns = 0 if idle else self._busy_turns + 1
        # While callbacks are ready the host is asked now and then only: a turn costs less than a crossing.
        if idle or (self._wire.waiting and self._busy_turns % _TURNS_A_STEP == 0):
            self._wire.step(timeout)
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        self._just_selected = True

    def time(self) -> float:
        # Each turn asks for the time once after select, only to find timers that are due. Where there are none, the
        # answer does not matter and a border crossing (25 us) is saved.
        if self._just_selected:
            self._just_selected = False
            if not self._scheduled:  # type: ignore[attr-defined]
                return 0.0
        return time.monotonic()

    def _write_to_self(self) -> None:
        self._wire.wake()


class Policy(_AnyPolicy):
    """Makes `asyncio.run` and `asyncio.new_event_loop` give a `Loop`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._loop: Loop | None = None

    def get_event_loop(self) -> Loop:
        if self._loop is None:
            raise RuntimeError("There is no current event loop")
        return self._loop

    def set_event_loop(self, loop: Any) -> None:
        self._loop = loop

    def new_event_loop(self) -> Loop:
        return Loop(self._wire)
