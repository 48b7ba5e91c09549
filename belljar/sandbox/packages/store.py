"""Where dependencies lie: one environment for each set of requirements and each Python.

    <cache>/packages/<key>/requirements.in       what was asked for
                           requirements.lock     every package of it, by version and hash; its own hash names the rest
                           <lock hash>/          the environment: read-only, no links, compiled ahead
    <data>/approved/<lock hash>                  a person said yes to exactly this

What lies in the cache alone is never used: a lock counts when a person has approved its hash, and approvals lie with
the user's data. A run only looks up; it fetches nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import sysconfig
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from belljar.errors import BelljarError, Code, ConfigError

__all__ = ["GUEST_PYTHON", "Locked", "Store", "ready"]

GUEST_PYTHON = "3.14"
"""The Python in a wasm box."""

_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*==[^\s\\;]+)", re.MULTILINE)
# A lock of 64 requirements and all they need, with the hashes of every wheel of each.
_MAX_LOCK_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Locked:
    """A lock as it lies on disk."""

    text: str
    hash: str
    """SHA-256 of it; what is approved."""

    @property
    def pinned(self) -> tuple[str, ...]:
        """`name==version` of everything in it."""
        return tuple(_PINNED.findall(self.text))


class Store:
    """The files of one set of requirements, for this Python or the one in a wasm box."""

    def __init__(self, cache: Path, data: Path, requirements: Sequence[str], backend: str = "process") -> None:
        self.requirements = tuple(requirements)
        self.backend = backend
        key = hashlib.sha256("\n".join((_python(backend), *requirements)).encode()).hexdigest()[:24]
        self.folder = cache / "packages" / key
        self._approved = data / "approved"

    def locked(self) -> Locked | None:
        """The lock, if one was made."""
        try:
            with open(self.folder / "requirements.lock", "rb") as file:
                data = file.read(_MAX_LOCK_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise ConfigError(f"cannot read the lock in {self.folder}: {exc.strerror}") from exc
        if len(data) > _MAX_LOCK_BYTES:
            raise ConfigError(f"the lock in {self.folder} is too large; remove that folder")
        return Locked(data.decode("utf-8", "replace"), hashlib.sha256(data).hexdigest())

    def environment(self, locked: Locked) -> Path:
        """Where the environment of this lock lies, or will."""
        return self.folder / locked.hash[:32]

    def approved(self, locked: Locked) -> bool:
        """Whether a person said yes to this lock."""
        return (self._approved / locked.hash).is_file()

    def approve(self, locked: Locked) -> None:
        """Remember that they did.

        Raises:
            ConfigError: it cannot be written.
        """
        try:
            self._approved.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = self._approved / locked.hash
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        except OSError as exc:
            raise ConfigError(f"cannot remember the approval in {self._approved}: {exc.strerror}") from exc


def ready(cache: Path, data: Path, requirements: Sequence[str], backend: str = "process") -> Path | None:
    """The environment of these requirements for a kind of box; None for none of them.

    Raises:
        BelljarError: APPROVAL_REQUIRED: nobody has approved and installed them yet.
    """
    if not requirements:
        return None
    store = Store(cache, data, requirements, backend)
    locked = store.locked()
    if locked is not None and store.approved(locked) and (path := store.environment(locked)).is_dir():
        return path
    raise approval_required(requirements, backend)


def approval_required(requirements: Sequence[str], backend: str) -> BelljarError:
    """What a run ends in whose dependencies nobody has approved."""
    names = ", ".join(requirements)
    native = "" if backend == "process" else "; for packages with native code, with --backend process as well"
    return BelljarError(
        f"it depends on packages nobody has approved here ({names[:500]}): run it with --install to fetch them{native}",
        code=Code.APPROVAL_REQUIRED,
    )


def _python(backend: str) -> str:
    """What a wheel has to fit."""
    if backend != "process":
        return f"wasm {GUEST_PYTHON} any"
    return f"{sys.implementation.cache_tag} {sysconfig.get_platform()} {sys.version_info.minor}"
