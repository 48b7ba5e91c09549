"""A native worker: the guest's host on this side, which is the same interpreter.

That is no border. A capability may read and rewrite all of this, or the memory it lies in; wall 2 is what holds it, and
the host behind the socket believes nothing. What is here serves those that behave.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
from collections.abc import Callable
from os import _exit  # the capability may replace the one in `os`
from typing import Any, NoReturn

from belljar.errors import ProtocolError
from belljar.rpc.frames import encode
from belljar.rpc.messages import Execute, Fault, FromWorker, Ready
from belljar.sandbox.channel import Reporter, answer_text, calls_of, ending, logs_of, rehearse_border

__all__ = ["NativeHost", "forget", "hide_machine", "our_modules", "serve"]


# Made while there is memory to make it, and given back when there is none left: to report that takes some.
_OUT_OF_MEMORY = encode(Fault("MEMORY_LIMIT", "the capability needs more memory than its limit"))
_reserve = [bytearray(4 << 20)]


class NativeHost:
    """The guest's `Host`: frames on the channel. Any thread may print; one may call and wait."""

    def __init__(self, reporter: Reporter, wake: int) -> None:
        self._reporter = reporter
        self._wake = wake
        self._sending = threading.Lock()
        self._thread = threading.get_ident()

    def step(self, calls: str, timeout_ms: int) -> str:
        """Send calls, wait for answers."""
        if threading.get_ident() != self._thread:
            raise RuntimeError("event loops and calls belong to the thread that runs the capability")
        if calls != "[]":
            self.send(*calls_of(self._reporter, calls))
        return f"[{','.join(map(answer_text, self._reporter.returns(timeout_ms)))}]"

    def log(self, stream: str, text: str) -> None:
        """Pass on what was printed."""
        for message in logs_of(stream, text):
            self.send(message)

    def wake(self) -> None:
        """End a wait, from another thread."""
        os.eventfd_write(self._wake, 1)

    def send(self, *messages: FromWorker) -> None:
        """Send, one thread at a time."""
        self.send_bytes(b"".join([encode(message) for message in messages]))

    def send_bytes(self, data: bytes) -> None:
        """The same, of frames."""
        with self._sending:
            self._reporter.send_bytes(data)


def serve(
    host: NativeHost, reporter: Reporter, ready: Ready, guest: Callable[..., Any], job: Callable[..., Any]
) -> NoReturn:
    """Say `ready`, take the one job, run it, report, end. `guest` executes a `job`."""
    try:
        rehearse_border(reporter)
        host.send(ready)
        message = reporter.receive(-1)
        if isinstance(message, Execute):
            host.send_bytes(_ending(host, message, guest, job))
    finally:
        _exit(0)


def _ending(host: NativeHost, message: Execute, guest: Callable[..., Any], job: Callable[..., Any]) -> bytes:
    """The last frame, whatever state the capability left its interpreter in."""
    try:
        outcome = guest(host, job(message.code, message.args, message.seed, message.decisions))
        return encode(ending(outcome.ok, outcome.text, outcome.observed))
    except MemoryError as exc:
        exc.__traceback__ = None  # lets go of the frames, and with them of what filled the memory
        _reserve.clear()
        return _OUT_OF_MEMORY
    except ProtocolError:
        return encode(Fault("PROTOCOL_ERROR", "the guest sent what no frame may hold"))
    except BaseException as exc:  # noqa: BLE001 - it broke its interpreter's parts; the run still has an end
        return encode(Fault("CAPABILITY_ERROR", f"the capability broke what reports its end: {type(exc).__name__}"))


_OURS = ("belljar", "msgpack", "pyseccomp")
_kept: list[object] = []


def hide_machine() -> None:
    """In the zygote: an empty environment, a host without a name, no word of where things lie. A worker could not ask
    for it; what was read at the start is still in its memory, so this is for tidiness and no wall."""
    os.environ.clear()
    machine = platform.machine()
    names: Any = platform
    names._uname_cache = platform.uname_result("Linux", "", "", "", machine)
    unnamed = os.uname_result(("Linux", "", "", "", machine))
    os.uname = lambda: unnamed
    sys.argv, sys.orig_argv = [""], []
    interpreter: Any = sys
    for name in ("executable", "_base_executable"):
        setattr(interpreter, name, "")
    for name in ("prefix", "exec_prefix", "base_prefix", "base_exec_prefix"):
        setattr(interpreter, name, "/python")
    sys.path_importer_cache.clear()


def our_modules() -> tuple[str, ...]:
    """Names of what is loaded and not the capability's: our modules, and libraries it may bring another version of."""
    return tuple(name for name in sys.modules if name.partition(".")[0] in _OURS)


def forget(modules: tuple[str, ...]) -> None:
    """In a worker: take them from the interpreter's table."""
    # Kept: to take one apart costs a copy of every page it lies on.
    _kept.extend(map(sys.modules.pop, modules))
