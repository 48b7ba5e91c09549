"""The key of the pseudonyms: 32 random bytes that never leave this machine.

With it, equal personal values get equal placeholders, `[EMAIL:3f9a0c21be77]`, in all traces of this user, and nobody
without it can tell from a placeholder whose it is. Losing it only makes old placeholders unequal to new ones.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from belljar.errors import ConfigError

__all__ = ["load_or_make"]

_BYTES = 32
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


def load_or_make(path: Path, what: str = "the key of the pseudonyms") -> bytes:
    """The key in this file; a new one is made if there is no file. `what` it is, for messages.

    Raises:
        ConfigError: not a file of ours that only we can read, or it cannot be read or written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        _make(path)
        return _load(path)
    except OSError as exc:
        raise ConfigError(f"{what}, {str(path)!r}: {exc.strerror}") from None


def _make(path: Path) -> None:
    """Written under another name first: two processes that start at once end with one whole key."""
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(_BYTES))
        os.link(draft, path)
    except FileExistsError:
        pass  # somebody was first
    finally:
        os.close(descriptor)
        draft.unlink()


def _load(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _FLAGS)
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o077:
            raise ConfigError(f"{str(path)!r} must be a file that is yours alone: chmod 600, or remove it")
        key = os.read(descriptor, _BYTES + 1)
    finally:
        os.close(descriptor)
    if len(key) != _BYTES:
        raise ConfigError(f"{str(path)!r} does not hold a key of {_BYTES} bytes: remove it, and a new one is made")
    return key
