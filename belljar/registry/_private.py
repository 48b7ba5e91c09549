"""Files that are one user's alone: what they say grants something, so nobody else may have written them.

Read without following links and without waiting (a FIFO would block for ever), from a folder and a file that are ours
and closed to others. Put in place by a rename, so that a crash leaves the old file or the new. Changed under a lock, so
that two processes lose nothing of each other's. What cannot be used is a `ConfigError` that says why and what to do,
never an empty file.
"""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from belljar import show
from belljar.errors import ConfigError

__all__ = ["PrivateFile", "make_folder"]

_LOCK_S = 5.0
_LOCK_PAUSE_S = 0.02
_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_LOCK = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


class PrivateFile:
    """One file; it and its folder need not exist yet.

    Args:
        advice: what to do about a file that cannot be used: `move it away to start anew`.
    """

    def __init__(self, path: Path, *, advice: str) -> None:
        self._path = path
        self._advice = advice

    def read(self, max_bytes: int) -> bytes | None:
        """All of it, or None if there is none. More than `max_bytes` is cut one byte beyond, for the caller to see.

        Raises:
            ConfigError: it is no regular file, not ours, or others can write it; so is its folder.
        """
        try:
            descriptor = os.open(self._path, _READ)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise self.unusable(exc.strerror or "cannot be opened") from None
        try:
            self._check(os.fstat(descriptor), stat.S_ISREG, "file")
            self._check(os.stat(self._path.parent), stat.S_ISDIR, "folder")
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(max_bytes + 1)
        finally:
            os.close(descriptor)

    def write(self, data: bytes) -> None:
        """Put `data` in its place, mode 0600, whole or not at all.

        Raises:
            ConfigError: the folder is not ours, or cannot be made.
        """
        self._ready_folder()
        # mkstemp: mode 0600, O_EXCL
        descriptor, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.stem[:16]}-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, self._path)
        except BaseException:
            os.unlink(temporary)
            raise

    @contextmanager
    def locked(self) -> Generator[None]:
        """Alone among all processes, or an error after 5 s. The lock file stays: removing it would be a race.

        Raises:
            ConfigError: locked by another for too long, or the folder is not ours.
        """
        import fcntl

        self._ready_folder()
        lock = self._path.with_name(f"{self._path.name}.lock")
        try:
            descriptor = os.open(lock, _LOCK, 0o600)
        except OSError as exc:
            raise self.unusable(f"cannot be locked: {exc.strerror}") from None
        try:
            deadline = time.monotonic() + _LOCK_S
            while not _try_lock(fcntl.flock, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
                if time.monotonic() > deadline:
                    raise self.unusable(f"has been locked by another process for {_LOCK_S:g} s")
                time.sleep(_LOCK_PAUSE_S)
            yield
        finally:
            os.close(descriptor)

    def unusable(self, what: str) -> ConfigError:
        """The error that says `what` is wrong with this file."""
        return ConfigError(f"{show.text(str(self._path), max_chars=200)} {what}; {self._advice}")

    def _ready_folder(self) -> None:
        try:
            make_folder(self._path.parent)
        except OSError as exc:
            raise self.unusable(f"cannot be made (its folder): {exc.strerror}") from None
        self._check(os.stat(self._path.parent), stat.S_ISDIR, "folder")

    def _check(self, status: os.stat_result, is_kind: Callable[[int], bool], kind: str) -> None:
        if not is_kind(status.st_mode):
            raise self.unusable(f"is in the way: not a {kind}")
        if status.st_uid != os.geteuid():
            raise self.unusable(f"belongs to another user (its {kind})")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise self.unusable(f"can be written by others (its {kind}); chmod go-w it after looking inside")


def make_folder(path: Path) -> None:
    """The folder and, whatever the umask says, no folder above it that others can write: mode 0700 for each made."""
    missing: list[Path] = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)


def _try_lock(flock: Callable[[int, int], None], descriptor: int, operation: int) -> bool:
    try:
        flock(descriptor, operation)
    except BlockingIOError:
        return False
    return True
