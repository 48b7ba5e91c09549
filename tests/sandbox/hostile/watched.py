"""What of the host a hostile run must leave as it was: processes, descriptors, files, memory."""

from __future__ import annotations

import ctypes
import os
import sysconfig
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
import psutil

from belljar.jar import Jar
from belljar.limits import MIB

__all__ = ["Host", "adopting"]

_NAME = "belljar-hostile"
_PR_SET_CHILD_SUBREAPER = 36
_DEADLINE_S = 10.0
# A parsed answer, the ledger's texts of a thousand calls, what the allocator keeps: far below what the programs try to
# make the host hold.
_MOST_GROWTH = 48 * MIB


@contextmanager
def adopting() -> Generator[None]:
    """Whoever loses its parent becomes our child, so that a daemon of a program's would be seen."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class Host:
    """This process and the machine around it, looked at before and after."""

    def __init__(self, jar: Jar, *own: Path) -> None:
        self._jar = jar
        self._process = psutil.Process()
        home = Path.home()
        site = Path(sysconfig.get_paths()["purelib"])
        code = Path(__file__).parents[3]
        folders = [Path(tempfile.gettempdir()), Path.cwd(), home, site, code, Path("/dev/shm"), Path("/etc"), Path("/")]
        self._folders = [*folders, *own]
        self._descriptors = self._process.num_fds()
        self._others = {child.pid for child in self._process.children(recursive=True)} - set(jar.pool.pids())
        self._memory = 0

    def before(self) -> None:
        """A program is about to run."""
        self._memory = self._process.memory_info().rss

    async def unchanged(self) -> list[str]:
        """What is not as it was, after a moment for what ended to be reaped."""
        left = self._left()
        with anyio.move_on_after(_DEADLINE_S):
            while left:
                await anyio.sleep(0.005)  # a fork may be seen before the pool has heard of it
                left = self._left()
        grown = self._process.memory_info().rss - self._memory
        return left + ([f"{grown >> 20} MiB more"] if grown > _MOST_GROWTH else [])

    def _left(self) -> list[str]:
        found = [f"process {pid}" for pid in self._strangers()]
        if (count := self._process.num_fds()) > self._descriptors:
            found.append(f"{count - self._descriptors} descriptors")
        return found + [str(path) for path in self._files()]

    def _strangers(self) -> set[int]:
        now = {child.pid for child in self._process.children(recursive=True)}
        return now - self._others - set(self._jar.pool.pids())

    def _files(self) -> list[Path]:
        names = (_NAME, f"{_NAME}.toml")
        return [folder / name for folder in self._folders for name in names if os.path.lexists(folder / name)]
