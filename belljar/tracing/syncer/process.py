"""The syncer's process: what it is told, what it hears, and how it ends.

The jar starts it and owns it. It is told everything in one line on stdin; after that, each byte there means something:
`n` that something was appended, `f` that all is to be sent now. When stdin ends without an `f`, or SIGTERM comes (which
the kernel sends when the jar's process dies, in case somebody else holds the other end), the jar is gone: the request
under way may finish, then this ends too. However it hangs, an alarm ends it soon after its time.

It runs in a session of its own: Ctrl-C at the terminal is not for it, the jar decides when it ends. It says what a
person should know on stdout, a line each, and drops what nobody reads.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
from typing import Any

import anyio

from belljar import show
from belljar.tracing.syncer.bell import Bell
from belljar.tracing.syncer.owning import serve
from belljar.tracing.syncer.settings import SyncSettings

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
# What closing files may take after the last request.
_GRACE_S = 0.4
_MAX_LINE = 1000


def main(order: dict[str, Any]) -> None:
    """Serve until the jar says to end, or is gone. Does not return: what other threads do is not waited for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = 1
    try:
        _prepare(order)
        settings = SyncSettings.from_order(order["settings"])
        anyio.run(_serve, settings)
        status = 0
    except BaseException as exc:  # a fault of ours: its kind is told, and the jar starts another one
        logging.getLogger("belljar.syncer").warning(
            "the syncer failed: %s", type(exc).__name__, exc_info=order["debug"]
        )
    finally:
        os._exit(status)


def _prepare(order: dict[str, Any]) -> None:
    os.umask(0o077)
    os.nice(order["nice"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the key
    os.set_blocking(1, False)
    logger = logging.getLogger("belljar")
    logger.addHandler(_Lines())
    logger.setLevel(logging.DEBUG if order["debug"] else logging.WARNING)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != order["parent"]:
        os._exit(0)  # it ended before the kernel knew whom to tell


class _Lines(logging.Handler):
    """Records as lines on stdout, for the jar to log; what does not fit into the pipe is dropped."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = show.text(record.getMessage(), max_chars=_MAX_LINE)
            os.write(1, f"{record.levelno} {text}\n".encode("utf-8", "replace"))
        except (OSError, ValueError, TypeError):
            pass
        if record.exc_info and record.exc_info[1] is not None:  # only with --debug: stderr is the jar's
            import traceback

            traceback.print_exception(record.exc_info[1])


async def _serve(settings: SyncSettings) -> None:
    bell = Bell()
    ending = _Ending(settings, bell)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ending.hear_stdin)
        tasks.start_soon(ending.hear_signal)
        with ending.scope:
            await serve(settings, bell)
        tasks.cancel_scope.cancel()


class _Ending:
    """Hears that it is time to go, and sees to it."""

    def __init__(self, settings: SyncSettings, bell: Bell) -> None:
        self.scope = anyio.CancelScope()
        self._seconds = settings.exit_flush_s
        self._bell = bell

    async def hear_stdin(self) -> None:
        os.set_blocking(0, False)
        while not self._bell.ending:
            await anyio.wait_readable(0)
            said = os.read(0, 4096)
            if b"f" in said:
                self._bell.flush(self._seconds)
            elif not said:
                self._bell.stop(self._seconds)
            else:
                self._bell.ring()
        self._last_request()

    async def hear_signal(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                self._bell.stop(self._seconds)
                self._last_request()

    def _last_request(self) -> None:
        self.scope.deadline = min(self.scope.deadline, anyio.current_time() + self._seconds)
        # The kernel's own clock, in case our loop is stuck; its default action is the end.
        signal.setitimer(signal.ITIMER_REAL, self._seconds + _GRACE_S)
