"""What the jar holds of its syncer: starts it, tells it, ends it, and starts it again should it die.

One thread does all that waits. It is also what makes the kernel's signal on our death (PR_SET_PDEATHSIG) right: it
comes when the *thread* ends that started the child, and this one lives as long as the jar.

The child's environment is empty and its argv says nothing: settings and secrets go to it in one line on its stdin.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from functools import partial
from io import BufferedReader, FileIO
from pathlib import Path
from types import TracebackType
from typing import cast

import anyio
import anyio.to_thread

from belljar import show
from belljar.tracing.syncer.settings import SyncSettings, encode

__all__ = ["SyncerProcess"]

# -I -S: nothing of the environment or of `site`; the search path is in the line on stdin, read without a buffer, so
# that not a byte behind it is taken away from who reads on.
_ENTRY = (
    "import sys, json; order = json.loads(sys.stdin.buffer.raw.readline()); sys.path[:0] = order['path']; "
    "from belljar.tracing.syncer.process import main; main(order)"
)
_NICE = 10
_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 300.0
# One that lived for so long did not die of how it was started.
_LIVED_S = 60.0
_KILL_S = 5.0
_MAX_LINE = 8192

_log = logging.getLogger("belljar.syncer")


class SyncerProcess:
    """One syncer, as long as the block lasts. Entering does not wait for it; leaving gives it `exit_flush_s`."""

    def __init__(self, settings: SyncSettings) -> None:
        self._settings = settings
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: FileIO | None = None
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="belljar-syncer", daemon=True)

    async def __aenter__(self) -> SyncerProcess:
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            # A limiter of its own: the usual one may be in use to the last thread.
            await anyio.to_thread.run_sync(self._leave, limiter=anyio.CapacityLimiter(1))

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        child = self._child
        return None if child is None else child.pid

    def nudge(self) -> None:
        """Something was appended. Cheap, never waits, from any thread; a child that is not up yet will look anyway."""
        with self._lock:
            self._write(b"n")

    def _leave(self) -> None:
        if os.getpid() != self._owner:
            return  # a fork of the jar's process: the child is not its own to end
        self._leaving.set()
        with self._lock:
            self._hang_up()
        self._thread.join(self._settings.exit_flush_s)
        with self._lock:
            if self._child is not None:
                self._child.kill()
        self._thread.join(_KILL_S)

    # ---- with the lock held

    def _write(self, byte: bytes) -> None:
        if self._pipe is not None:
            try:
                os.write(self._pipe.fileno(), byte)
            except OSError:
                pass  # full: it has been told often enough; broken: it is gone, and the thread knows

    def _hang_up(self) -> None:
        self._write(b"f")
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    # ---- the thread

    def _keep(self) -> None:
        pause = _PAUSE_S
        while True:
            began = time.monotonic()
            try:
                self._one_child()
            except (OSError, ValueError) as exc:
                _log.warning("the syncer cannot be started: %s", show.text(str(exc)))
            if self._leaving.wait(pause):
                return
            _log.warning("the syncer ended; another one is started")
            pause = _PAUSE_S if time.monotonic() - began > _LIVED_S else min(pause * 2, _LONGEST_PAUSE_S)

    def _one_child(self) -> None:
        debug = _log.isEnabledFor(logging.DEBUG)
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-X", "utf8", "-c", _ENTRY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if debug else subprocess.DEVNULL,
            bufsize=0,
            env={},
            cwd="/",
            start_new_session=True,
        )
        stdin = cast("FileIO", child.stdin)
        with self._lock:
            self._child = child
        try:
            with BufferedReader(cast("FileIO", child.stdout)) as lines:
                self._feed(stdin, debug)
                for line in iter(partial(lines.readline, _MAX_LINE), b""):
                    _say(line)
        finally:
            child.wait()  # it has closed its stdout, and so is ending; if it hangs, leaving kills it
            with self._lock:
                self._child = self._pipe = None
                stdin.close()

    def _feed(self, stdin: FileIO, debug: bool) -> None:
        order = {
            "path": _search_path(),
            "parent": os.getpid(),
            "nice": _NICE,
            "debug": debug,
            "settings": self._settings.to_order(),
        }
        line = memoryview(encode(order))
        try:
            while line:
                line = line[os.write(stdin.fileno(), line) :]
        except BrokenPipeError:
            return  # it is gone already; its stdout ends
        os.set_blocking(stdin.fileno(), False)
        with self._lock:
            self._pipe = stdin
            if self._leaving.is_set():
                self._hang_up()


def _say(line: bytes) -> None:
    """Log what the child says: a level and a text."""
    level, _, text = line.decode("utf-8", "replace").rstrip("\n").partition(" ")
    if level.isdecimal():
        _log.log(int(level), "%s", show.text(text))


def _search_path() -> list[str]:
    """`sys.path` for a child that starts without `site`: what we run with, less the working directory."""
    own = str(Path(__file__).parents[3])
    return [own, *(entry for entry in sys.path if entry and os.path.isabs(entry) and entry != own)]
