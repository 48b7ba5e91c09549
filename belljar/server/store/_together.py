"""Work that is cheaper done together: whoever comes while others are at it waits, and is then done with all who wait.

The usual group commit, with no thread of its own. The first caller works at once, for itself alone. Callers that come
meanwhile queue up; when it is done, the first of them works for all of them in one go, as many as fit. Alone nobody
waits, and the more there are, the less each costs. A caller returns only when its own work is done.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["Together"]

_Item = TypeVar("_Item")


class _Place:
    """One caller in the queue."""

    __slots__ = ("error", "item", "leads", "size", "turn")

    def __init__(self, item: Any, size: int) -> None:
        self.item = item
        self.size = size
        self.turn = threading.Lock()
        """Held until it is done, or its turn to work for others has come."""
        self.turn.acquire()
        self.leads = False
        self.error: BaseException | None = None


class Together:
    """Does work with one item or several, never twice at once. Thread-safe; blocking.

    `most` bounds what is done in one go, in the sizes that callers give; an item larger than that is done alone.
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._waiting = deque[_Place]()
        self._busy = False

    def __call__(self, item: _Item, work: Callable[[list[_Item]], None], *, size: int, wait_s: float) -> None:
        """Returns when the work with this item is done, by this caller's `work` or by an earlier one's, the same.

        Raises:
            TimeoutError: its turn did not come within `wait_s`; nothing was done with it.
            Whatever `work` raises, in every caller it was done for.
        """
        place = _Place(item, size)
        with self._lock:
            place.leads, self._busy = not self._busy, True
            self._waiting.append(place)
        if not place.leads and not place.turn.acquire(timeout=wait_s):
            self._give_up(place)
        if place.leads:
            self._lead(work)
        if place.error is not None:
            raise place.error

    def _give_up(self, place: _Place) -> None:
        """Leaves the queue. If somebody has taken it along already, that has to end first, and has its own deadline."""
        with self._lock:
            late = not place.leads and place in self._waiting
            if late:
                self._waiting.remove(place)
        if late:
            raise TimeoutError
        place.turn.acquire()

    def _lead(self, work: Callable[[list[Any]], None]) -> None:
        """Work for the first in the queue, who is the caller, and for those behind it; then let the next one lead."""
        group = self._group()
        error: BaseException | None = None
        try:
            work([place.item for place in group])
        except BaseException as exc:  # noqa: BLE001 - it is raised again in each caller
            error = exc
        with self._lock:
            following = self._waiting[0] if self._waiting else None
            self._busy = following is not None
            if following is not None:
                following.leads = True
        for place in group:
            place.error = error
            place.turn.release()
        if following is not None:
            following.turn.release()

    def _group(self) -> list[_Place]:
        group, room = list[_Place](), self._most
        with self._lock:
            while self._waiting and (not group or self._waiting[0].size <= room):
                group.append(self._waiting.popleft())
                room -= group[-1].size
        return group
