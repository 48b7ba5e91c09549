"""The folders and files of the spool, opened so that nothing of somebody else's is ever read, written or waited for.

Every folder is 0700 and every file 0600 from its first moment, whatever the umask. A folder or file is used only if it
is one, is ours, and no one else may write to it; symbolic links are not followed, pipes not waited for. Folders above
the spool's root are the user's own affair. What cannot be trusted raises `NotOurs`; what fails otherwise, `OSError`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "DATABASE",
    "LOST",
    "NEW",
    "REFUSED",
    "SEGMENT",
    "Listing",
    "NotOurs",
    "create_file",
    "discard",
    "hold",
    "is_destination",
    "listing",
    "lock",
    "open_file",
    "open_folder",
    "opened",
    "remove",
]

DATABASE = "outbox.db"
SEGMENT = ".seg"
NEW = ".new"
LOST = "lost-"
"""Numbers of traces that could not be written; see `storage.losses`."""
REFUSED = ".refused"
"""What was found in the folder and is none of it; kept aside until room is needed."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_DESTINATION = re.compile(r"[0-9a-f]{16}")
_ASIDE = re.compile(re.escape(DATABASE) + r"\.(damaged|foreign)-[0-9]+(-wal)?")
# A file takes whole blocks of the disk; counting them bounds the number of files, too.
_BLOCK = 4096


class NotOurs(OSError):
    """Something that is not what it must be, or that others may change."""


def is_destination(name: str) -> bool:
    """Whether a folder of this name belongs to a destination."""
    return _DESTINATION.fullmatch(name) is not None


def open_folder(folder: Path, *, create: bool) -> int:
    """A descriptor of a destination's folder, `root / id`; both are checked, and made if asked for."""
    if create:
        _make_root(folder.parent)
    root = _open_directory(folder.parent)
    try:
        if create:
            _make(folder.name, root)
        return _open_directory(folder.name, root)
    finally:
        os.close(root)


@contextmanager
def opened(folder: Path, *, create: bool = False) -> Generator[int]:
    """`open_folder`, closed at the end of the block."""
    descriptor = open_folder(folder, create=create)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _make_root(root: Path) -> None:
    missing = [root]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for folder in reversed(missing):
        _make(folder)


def _make(path: Path | str, parent: int | None = None) -> None:
    try:
        os.mkdir(path, 0o700, dir_fd=parent)
    except FileExistsError:
        return


def _open_directory(path: Path | str, parent: int | None = None) -> int:
    try:
        descriptor = os.open(path, _DIRECTORY, dir_fd=parent)
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENOTDIR):
            raise NotOurs(exc.errno, "is no folder") from None
        raise
    try:
        mode = _checked(descriptor, stat.S_ISDIR)
        if mode & 0o077:
            os.fchmod(descriptor, 0o700)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_file(folder: int, name: str, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a file in the folder that is one and ours."""
    try:
        descriptor = os.open(name, flags | _SAFE, dir_fd=folder)
    except OSError as exc:
        # A link, a pipe nobody reads, a socket: ENXIO and ELOOP. A file that we may not open is somebody else's.
        if exc.errno in (errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EISDIR, errno.ENODEV):
            raise NotOurs(exc.errno, "is no file of ours") from None
        raise
    try:
        _checked(descriptor, stat.S_ISREG)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def create_file(folder: int, name: str, flags: int) -> int:
    """A descriptor of a new file, 0600 from the start."""
    return os.open(name, flags | os.O_CREAT | os.O_EXCL | _SAFE, 0o600, dir_fd=folder)


def _checked(descriptor: int, is_kind: Callable[[int], bool]) -> int:
    status = os.fstat(descriptor)
    if not is_kind(status.st_mode):
        raise NotOurs(errno.EINVAL, "is not what it should be")
    if status.st_uid != os.geteuid():
        raise NotOurs(errno.EPERM, "belongs to another user")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NotOurs(errno.EPERM, "can be written by others")
    return status.st_mode


def lock(descriptor: int, operation: int = fcntl.LOCK_EX) -> bool:
    """Lock the file for as long as it is open; False if another process has it. Never waits."""
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def hold(folder: int, name: str, operation: int = fcntl.LOCK_EX) -> int | None:
    """A descriptor that holds the lock file of this name, made if need be; None if another process has it."""
    while True:
        try:
            descriptor = create_file(folder, name, os.O_RDWR)
        except FileExistsError:
            descriptor = open_file(folder, name, os.O_RDWR)
        if lock(descriptor, operation) and _is_still(folder, name, descriptor):
            return descriptor
        gone = not _is_still(folder, name, descriptor)
        os.close(descriptor)
        if not gone:
            return None


def _is_still(folder: int, name: str, descriptor: int) -> bool:
    """Whether the name still means this file: a lock on one that was removed locks nobody out."""
    try:
        return os.path.samestat(os.stat(name, dir_fd=folder, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def remove(folder: int, name: str) -> None:
    """Remove a file; one that is gone already is no error."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return


def discard(folder: int, name: str) -> bool:
    """Remove a file, if that is possible."""
    try:
        remove(folder, name)
    except OSError:
        return False
    return True


def clear_unfinished(folder: int, names: Iterable[str]) -> None:
    """Remove segments whose writer died before it had begun them: nothing is in there."""
    for name in names:
        try:
            descriptor = open_file(folder, name)
        except OSError:
            continue
        if lock(descriptor):
            # If its writer lives and was about to lock it, it finds it gone, and begins another one.
            discard(folder, name)
        os.close(descriptor)


class Listing(NamedTuple):
    """What lies in a destination's folder."""

    segments: dict[str, int]
    """Name -> bytes on the disk; the oldest first."""
    spare: dict[str, int]
    """What nothing will be sent from: refused files, databases set aside."""
    unfinished: tuple[str, ...]
    """Segments whose beginning was never completed, or is being made now."""
    database: int
    """Bytes of the outbox and its journal."""
    losses: tuple[str, ...] = ()
    """Links that tell what was lost; the oldest first."""

    @property
    def total(self) -> int:
        """Bytes of all of it."""
        return sum(self.segments.values()) + sum(self.spare.values()) + self.database


def listing(folder: int) -> Listing:
    """Look at the folder. Segments are named by the time they were begun, so that order by name is order by age."""
    segments, spare, unfinished, database = dict[str, int](), dict[str, int](), list[str](), 0
    losses = list[str]()
    for name in sorted(os.listdir(folder)):
        size = _size(folder, name)
        if name.endswith(SEGMENT):
            segments[name] = size
        elif name.endswith(NEW):
            unfinished.append(name)
        elif name.endswith(REFUSED) or _ASIDE.fullmatch(name):
            spare[name] = size
        elif name.startswith(DATABASE):
            database += size
        elif name.startswith(LOST):
            losses.append(name)
    return Listing(segments, spare, tuple(unfinished), database, tuple(losses))


def discard_spare(folder: int, found: Listing, max_bytes: int) -> None:
    """Remove what nothing will be sent from, as long as everything together takes too much."""
    excess = found.total - max_bytes
    for name, size in found.spare.items():
        if excess > 0 and discard(folder, name):
            excess -= size


def _size(folder: int, name: str) -> int:
    try:
        size = os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0
    return -(-size // _BLOCK) * _BLOCK
