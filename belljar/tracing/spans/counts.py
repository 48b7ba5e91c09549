"""What became of the spans."""

from __future__ import annotations

import threading

__all__ = ["Counts"]

_NAMES = ("built", "exported", "failed", "dropped", "errors")


class Counts:
    """Shared by threads. `built` spans are `exported`, `failed`, `dropped` or still waiting.

    `errors` counts runs whose spans could not be built.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[str, int] = dict.fromkeys(_NAMES, 0)

    def add(self, name: str, n: int = 1) -> None:
        """Count so many more."""
        with self._lock:
            self._of[name] += n

    def all(self) -> dict[str, int]:
        """All of them, now."""
        with self._lock:
            return dict(self._of)
