"""Four parts of the standard library that need the border, patched for one run.

`time.sleep` would block inside WASI: there it becomes a wait at the border, where the host's deadline and clock are.
Answers that arrive meanwhile are settled, and their callbacks run when the loop gets its turn, as with any blocking
sleep. `select` would block there too, and has no descriptors to wait for: it sleeps, or says so. `os.write` to
descriptors 1 and 2 becomes a print. `random.seed` is made quiet until a run seeds it, because the component's start
would otherwise fetch 2.5 KB of entropy, a byte at a time.
"""

from __future__ import annotations

import errno
import os
import random
import sys
import time
from collections.abc import Callable
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
    """Patch `time.sleep`, `select` and `os.write` for this run."""

    def sleep(seconds: float, /) -> None:
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            wire.step(left)

    if sys.platform == "wasi":  # a native box has threads that sleep, and one that may step
        time.sleep = sleep
        _patch_select(sleep)
    os.write = _write


def _patch_select(sleep: Callable[[float], None]) -> None:
    import select

    def wait(r: Any, w: Any, x: Any, timeout: float | None = None, /) -> tuple[list[Any], list[Any], list[Any]]:
        if r or w or x or timeout is None:
            raise _nothing_to_wait_for()
        sleep(timeout)
        return [], [], []

    def poll() -> Any:
        raise _nothing_to_wait_for()

    select.select = wait
    select.poll = poll


def _nothing_to_wait_for() -> OSError:
    return OSError(errno.ENOSYS, "a box has no descriptors to wait for")


def _write(fd: int, data: Any, /) -> int:
    if fd not in (1, 2):
        return _os_write(fd, data)
    stream = sys.stdout if fd == 1 else sys.stderr
    return stream.buffer.write(data)
