"""A work folder: where one run may write files, and the way its files take to whoever asked for them.

Each box has its own, made before it is parked, its current folder, and the one place on disk it may touch. Nothing in
it is believed. While the run is on it is watched: past the quota the run ends. A disk cannot be limited by the byte
without rights that a user does not have (a file system of its own would need them), so a run may overshoot by what it
writes between two looks; one file is limited exactly, by the kernel. When the worker is dead, and not before, regular
files are copied out - opened without following links, checked after opening, counted while copied - and all the rest
is left behind, and named.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from belljar.errors import ConfigError
from belljar.limits import MIB
from belljar.sandbox.walls import NOBODY

__all__ = [
    "MAX_BYTES",
    "MAX_ENTRIES",
    "MAX_FILE_BYTES",
    "Keeping",
    "Kept",
    "WorkFolder",
    "base_for",
    "check_destination",
    "remove_left_behind",
]

MAX_BYTES = 256 * MIB
"""Of all files together."""
MAX_FILE_BYTES = 64 * MIB
"""Of one file; the worker's RLIMIT_FSIZE."""
MAX_ENTRIES = 1000
"""Files and folders."""
_MAX_DEPTH = 16
_CHUNK = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking: a fifo is opened and then refused, not waited for.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PREFIX = "belljar-work-"
# Names that mean the same to everybody who reads them: no controls, no hidden files, no options.
_NAME = re.compile(r"[^\W_][\w .,+=@()\[\]{}#%~^-]{0,199}|_[\w.-]{0,199}")
_MAX_NAMED = 20


@dataclass(slots=True)
class Kept:
    """What came out."""

    files: list[str] = field(default_factory=list[str])
    """Paths in the destination."""
    bytes: int = 0
    refused: int = 0
    """Entries left behind."""
    reasons: list[str] = field(default_factory=list[str])
    """Why, of the first few. Names in them are foreign text."""

    def refuse(self, name: str, why: str) -> None:
        self.refused += 1
        if len(self.reasons) < _MAX_NAMED:
            self.reasons.append(f"{name}: {why}")


@dataclass(slots=True)
class Keeping:
    """Somebody's wish to keep a run's files, and what came of it."""

    destination: Path
    """A folder that is not there yet, or empty."""
    kept: Kept | None = None
    """What came out, once the run has ended."""


class WorkFolder:
    """One run's folder. `remove` takes it away, whatever is in it."""

    def __init__(self, base: Path) -> None:
        base.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = base / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
        os.mkdir(self.path, 0o700)
        self.descriptor = os.open(self.path, _FOLDER)
        if os.geteuid() == 0:
            os.fchown(self.descriptor, NOBODY, NOBODY)

    def excess(self) -> str:
        """What is over the quota, or nothing."""
        size = 0
        for count, (folder, name, depth) in enumerate(_walk(self.descriptor), 1):
            with suppress(OSError):
                size += os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
            if count > MAX_ENTRIES:
                return f"more than {MAX_ENTRIES} files and folders"
            if size > MAX_BYTES:
                return f"more than {MAX_BYTES // MIB} MiB of files"
            if depth > _MAX_DEPTH:
                return f"folders nested more than {_MAX_DEPTH} deep"
        return ""

    def collect(self, destination: Path) -> Kept:
        """Copy regular files out. The worker must be dead.

        Raises:
            ConfigError: the destination cannot be written, or is not empty.
        """
        kept = Kept()
        check_destination(destination)
        try:
            destination.mkdir(parents=True, exist_ok=True, mode=0o700)
            target = os.open(destination, _FOLDER)
            try:
                self._copy(self.descriptor, target, "", 0, kept)
            finally:
                os.close(target)
        except OSError as exc:
            raise ConfigError(f"cannot keep files in {destination}: {exc.strerror}") from exc
        return kept

    def _copy(self, source: int, target: int, prefix: str, depth: int, kept: Kept) -> None:
        for name in sorted(os.listdir(source)):
            if len(kept.files) + kept.refused >= MAX_ENTRIES or depth > _MAX_DEPTH:
                kept.refuse(prefix, "too many files, or folders nested too deeply")
                return
            if not _NAME.fullmatch(name):
                kept.refuse(prefix + name, "a name with hidden or special characters")
            elif stat.S_ISDIR(os.stat(name, dir_fd=source, follow_symlinks=False).st_mode):
                self._copy_folder(source, target, name, prefix, depth, kept)
            else:
                _copy_file(source, target, name, prefix, kept)

    def _copy_folder(self, source: int, target: int, name: str, prefix: str, depth: int, kept: Kept) -> None:
        try:
            inner = os.open(name, _FOLDER, dir_fd=source)
        except OSError:
            kept.refuse(prefix + name, "a folder that cannot be opened")
            return
        try:
            os.mkdir(name, 0o700, dir_fd=target)
            outer = os.open(name, _FOLDER, dir_fd=target)
            try:
                self._copy(inner, outer, f"{prefix}{name}/", depth + 1, kept)
            finally:
                os.close(outer)
        finally:
            os.close(inner)

    def remove(self) -> None:
        """Delete it. However deep it is nested, two descriptors are enough: inner folders are moved up first."""
        try:
            while names := os.listdir(self.descriptor):
                for name in names:
                    self._remove(name)
            os.rmdir(self.path)
        finally:
            os.close(self.descriptor)

    def _remove(self, name: str) -> None:
        top = self.descriptor
        try:
            os.unlink(name, dir_fd=top)
            return
        except (IsADirectoryError, PermissionError):
            pass
        _open_up(name, top)
        folder = os.open(name, _FOLDER, dir_fd=top)
        try:
            for inner in os.listdir(folder):
                try:
                    os.unlink(inner, dir_fd=folder)
                except (IsADirectoryError, PermissionError):
                    os.rename(inner, secrets.token_hex(12), src_dir_fd=folder, dst_dir_fd=top)
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=top)


def base_for(cache: Path) -> Path:
    """Where work folders lie. Root's workers are nobody, who may not enter root's own folders: SQLite, for one, walks
    the whole path of what it opens."""
    return Path(tempfile.gettempdir()) if os.geteuid() == 0 else cache / "work"


def check_destination(destination: Path) -> None:
    """
    Raises:
        ConfigError: there is something there already: a run's files would mix with what somebody trusts.
    """
    try:
        empty = not any(destination.iterdir())
    except FileNotFoundError:
        return
    except OSError as exc:
        raise ConfigError(f"cannot keep files in {destination}: {exc.strerror}") from exc
    if not empty:
        raise ConfigError(f"{destination} is not empty: give a new folder for the files of a run")


def remove_left_behind(base: Path) -> None:
    """Folders of processes that have ended without taking theirs away."""
    with suppress(OSError):
        for path in base.iterdir():
            pid = path.name.removeprefix(_PREFIX).partition("-")[0]
            if path.name.startswith(_PREFIX) and pid.isdecimal() and not Path(f"/proc/{pid}").exists():
                _remove_left_behind(path)


def _remove_left_behind(path: Path) -> None:
    folder = WorkFolder.__new__(WorkFolder)
    folder.path = path
    folder.descriptor = os.open(path, _FOLDER)
    owner = os.fstat(folder.descriptor).st_uid
    if owner == os.geteuid() or (os.geteuid() == 0 and owner == NOBODY):
        folder.remove()
    else:
        os.close(folder.descriptor)  # somebody else's, under a name like ours


def _open_up(name: str, folder: int) -> None:
    """Make a folder one that its owner can read, through a descriptor: a path could be a link by then."""
    descriptor = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.chmod(f"/proc/self/fd/{descriptor}", 0o700)
    finally:
        os.close(descriptor)


def _walk(folder: int, depth: int = 0) -> Iterator[tuple[int, str, int]]:
    """(folder, name, depth) of all entries; the guest may change them meanwhile, so what is gone is passed over."""
    for name in os.listdir(folder):
        yield folder, name, depth
        try:
            inner = os.open(name, _FOLDER, dir_fd=folder)
        except OSError:
            continue
        try:
            yield from _walk(inner, depth + 1)
        finally:
            os.close(inner)


def _copy_file(source: int, target: int, name: str, prefix: str, kept: Kept) -> None:
    try:
        descriptor = os.open(name, _READ, dir_fd=source)
    except OSError:
        kept.refuse(prefix + name, "a link, or something else that is no file")
        return
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            kept.refuse(prefix + name, "no regular file, or one with more than one name")
        elif status.st_size > MAX_FILE_BYTES or kept.bytes + status.st_size > MAX_BYTES:
            kept.refuse(prefix + name, "too large")
        else:
            kept.bytes += _copy_bytes(descriptor, target, name, status.st_size)
            kept.files.append(prefix + name)
    finally:
        os.close(descriptor)


def _copy_bytes(source: int, target: int, name: str, size: int) -> int:
    copy = os.open(name, _NEW, 0o600, dir_fd=target)
    try:
        left = size
        while left > 0 and (chunk := os.read(source, min(_CHUNK, left))):
            left -= len(chunk)
            view = memoryview(chunk)
            while view:
                view = view[os.write(copy, view) :]
        return size - left
    finally:
        os.close(copy)
