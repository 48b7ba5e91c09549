"""Three parts of the standard library that need the border, patched for one run.

`time.sleep` would block inside WASI: there it becomes a wait at the border, where the host's deadline and clock are.
Answers that arrive meanwhile are settled, and their callbacks run when the loop gets its turn, as with any blocking
sleep. `os.write` to descriptors 1 and 2 becomes a print. `random.seed` is made quiet until a run seeds it, because the
component's start would otherwise fetch 2.5 KB of entropy, a byte at a time.
"""

from __future__ import annotations

import os
import random
import sys
import time
from typing import Any

from .wire import Wire

__all__ = ["install", "keep_seed_quiet", "seed"]

_os_write = os.write
_seed = random.seed


def keep_seed_quiet() -> None:
    """Ignore `random.seed()` until `seed` is called."""
    random.seed = _no_seed


def _no_seed(*_args: Any) -> None:
    """In place of `random.seed`."""


def seed(value: str) -> None:
    """Seed the `random` module and give it its `seed` back."""
    random.seed = _seed
    _seed(value)


def install(wire: Wire) -> None:
    """Patch `time.sleep` and `os.write` for this run."""

    def sleep(seconds: float, /) -> None:
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            wire.step(left)

    if sys.platform == "wasi":  # a native box has threads that sleep, and one that may step
        time.sleep = sleep
    os.write = _write


def _write(fd: int, data: Any, /) -> int:
    if fd not in (1, 2):
        return _os_write(fd, data)
    stream = sys.stdout if fd == 1 else sys.stderr
    return stream.buffer.write(data)
