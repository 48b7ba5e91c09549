"""The recordings this machine keeps for debugging (`tracing.raw`): one file a run, the newest only.

They hold raw values, so the folder is its owner's alone and nothing here is ever sent. A run that cannot be recorded -
its answers were too much to keep - is none of them; so is one that finds no room on the disk. Keeping is for somebody
who looks for a fault, and must not make one.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from belljar.errors import BelljarError, ValidationError
from belljar.rpc.ledger import Ledger
from belljar.rpc.recording import Recording

__all__ = ["KeptRuns"]

_log = logging.getLogger("belljar.rpc")

_SUFFIX = ".recording"
_RUN_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MOST = 200
_MOST_BYTES = 1 << 30


class KeptRuns:
    """Recordings in one folder, by run id. Ids are in the order of time, and so are the files."""

    def __init__(self, folder: Path, *, most: int = _MOST, most_bytes: int = _MOST_BYTES) -> None:
        self.folder = folder
        self._most = most
        self._most_bytes = most_bytes

    def keep(self, ledger: Ledger) -> Path | None:
        """Keep a finished run; its file, or None with a line in the log. Removes the oldest beyond the bounds."""
        try:
            recording = Recording.of(ledger)
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._path(recording.run_id)
            recording.save(path)
            self._prune()
        except (BelljarError, OSError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else str(exc)
            _log.warning("the run was not kept: %s", why)
            return None
        return path

    def find(self, run_id: str) -> Recording:
        """The recording of a run.

        Raises:
            ValidationError: no run id, none kept of it, or damaged.
            ConfigError: unreadable.
        """
        path = self._path(run_id)
        if not path.is_file():
            raise ValidationError(f"no recording of run {run_id} is kept; [tracing] raw = true keeps them")
        return Recording.load(path)

    def _path(self, run_id: str) -> Path:
        if _RUN_ID.fullmatch(run_id) is None:
            raise ValidationError("not a run id: it is what `runId` shows, 36 characters")
        return self.folder / f"{run_id}{_SUFFIX}"

    def _prune(self) -> None:
        left = self._most_bytes
        files = sorted(self.folder.glob(f"*{_SUFFIX}"), reverse=True)
        for place, path in enumerate(files):
            left -= path.lstat().st_size
            if place and (place >= self._most or left < 0):
                path.unlink(missing_ok=True)
