"""What a server holds of its learner: starts it, hears its figures, ends it, and starts it again should it die.

One thread does all that waits. It is also what makes the kernel's signal on our death right: it comes when the *thread*
ends that started the child, and this one lives as long as the server. A learner that dies at once is started again
after ever longer pauses; whatever becomes of it, the server takes traces and answers.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from io import BufferedReader, FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from belljar.server import logs
from belljar.server.learner.service import USUAL, Rules
from belljar.server.metrics import Metrics
from belljar.server.settings import Settings

__all__ = ["LearnerProcess"]

# -I -S: nothing of the environment or of `site`; the search path is in the line on stdin, read without a buffer, so
# that not a byte behind it is taken away from who reads on.
_ENTRY = (
    "import sys, json; order = json.loads(sys.stdin.buffer.raw.readline()); sys.path[:0] = order['path']; "
    "from belljar.server.learner.process import main; main(order)"
)
_NICE = 15
# A server that has just started has its clients to think of.
_FIRST_S = 1.0
_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 300.0
# One that lived for so long did not die of how it was started.
_LIVED_S = 60.0
# The server's own end waits for it no longer; its own grace is shorter.
_END_S = 3.0
_MAX_LINE = 1000
# Passwords: not to be seen in /proc. The learner gets what it needs of them another way.
_SECRET = ("BELLJAR_", "PGPASSWORD")
_FIGURES = frozenset(("leading", "training", "weighed", "trained", "failed"))


class LearnerProcess:
    """One learner, as long as the block lasts. Entering does not wait for it."""

    def __init__(self, settings: Settings, metrics: Metrics, *, rules: Rules = USUAL, debug: bool = False) -> None:
        self._settings = settings
        self._metrics = metrics
        self._rules = rules
        self._debug = debug
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="belljar-learner", daemon=True)

    def __enter__(self) -> LearnerProcess:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        self._thread.join(_END_S)
        with self._lock:
            if self._child is not None:
                self._child.kill()
        self._thread.join(_END_S)

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        child = self._child
        return None if child is None else child.pid

    def end(self) -> None:
        """Tell it to end. Does not wait; from any thread."""
        self._leaving.set()
        with self._lock:
            if self._child is not None:
                self._child.terminate()

    # ---- the thread

    def _keep(self) -> None:
        pause = _PAUSE_S
        self._leaving.wait(_FIRST_S)
        while not self._leaving.is_set():
            began, status = time.monotonic(), None
            try:
                status = self._one_child()
            except (OSError, ValueError) as exc:
                logs.event("learner-not-started", level=logging.ERROR, why=type(exc).__name__)
            for name in ("leading", "training"):
                self._metrics.learner(name, 0)
            if self._leaving.is_set():
                return
            pause = _PAUSE_S if time.monotonic() - began > _LIVED_S else min(pause * 2, _LONGEST_PAUSE_S)
            logs.event("learner-died", level=logging.WARNING, status=status, again_s=pause)
            self._metrics.learner("died", 1)
            self._leaving.wait(pause)

    def _one_child(self) -> int:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-X", "utf8", "-c", _ENTRY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=_environment(os.environ),
            start_new_session=True,
        )
        stdin = cast("FileIO", child.stdin)
        with self._lock:
            self._child = child
            if self._leaving.is_set():
                child.terminate()
        try:
            with BufferedReader(cast("FileIO", child.stdout)) as lines:
                self._order(stdin)
                for line in iter(partial(lines.readline, _MAX_LINE), b""):
                    self._hear(line)
        finally:
            stdin.close()
            status = child.wait()  # it has closed its stdout, and so is ending; if it hangs, leaving kills it
            with self._lock:
                self._child = None
        return status

    def _order(self, stdin: FileIO) -> None:
        order = {
            "path": _search_path(),
            "parent": os.getpid(),
            "nice": _NICE,
            "debug": self._debug,
            "url": self._settings.database,
            "share": self._settings.learn_share,
            "embedder": self._settings.embedder,
            "rules": asdict(self._rules),
            "environment": {name: value for name, value in os.environ.items() if name == "PGPASSWORD"},
        }
        line = memoryview(json.dumps(order).encode() + b"\n")
        try:
            while line:
                line = line[os.write(stdin.fileno(), line) :]
        except BrokenPipeError:
            pass  # it is gone already; its stdout ends

    def _hear(self, line: bytes) -> None:
        """Figures, as `process` says them; anything else is of some library, and nothing to us."""
        try:
            said: Any = json.loads(line)
            name, value = said
            if name in _FIGURES and type(value) in (int, float, bool):
                self._metrics.learner(name, float(value))
        except (ValueError, TypeError):
            pass


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """What libraries may need, as the server has it, without secrets; and one thread for each of them."""
    kept = {name: value for name, value in own.items() if not name.startswith(_SECRET)}
    return {**kept, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def _search_path() -> list[str]:
    """`sys.path` for a child that starts without `site`: what we run with, less the working directory."""
    own = str(Path(__file__).parents[3])
    return [own, *(entry for entry in sys.path if entry and os.path.isabs(entry) and entry != own)]
