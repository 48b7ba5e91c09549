"""Who may be the syncer of a folder: whoever holds its lock."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from belljar import show
from belljar.tracing.storage import folder as files
from belljar.tracing.storage.database import OutboxError

__all__ = ["SyncerLock", "unusable"]

_NAME = "syncer.lock"


class SyncerLock:
    """The right to be the syncer of a folder; gone with the process that holds it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, folder: Path) -> SyncerLock | None:
        """Take it, or None if another process has it. Never waits. Makes the folder if need be.

        Raises:
            OutboxError: the folder cannot be made, written or trusted.
        """
        try:
            with files.opened(folder, create=True) as opened:
                descriptor = files.hold(opened, _NAME)
        except OSError as exc:
            raise unusable(folder, exc) from None
        return None if descriptor is None else cls(descriptor)

    def release(self) -> None:
        """Let another one have it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> SyncerLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def unusable(folder: Path, exc: OSError) -> OutboxError:
    """What to say of a folder that cannot be used."""
    path = show.text(str(folder), max_chars=400)
    return OutboxError(f"{path}: {exc.strerror or exc}; the spool needs a folder of this user alone")
