"""The zygote: loads a backend once, then forks a worker each time it is asked.

It is trusted and stays so: it never runs a capability, reads nothing a guest wrote, holds no secret, and its
environment is empty. It has one thread, because a fork keeps only the thread that forks. It is alive as long as the
other end of its control socket: when the host goes, however it goes, the zygote ends, and every worker with it
(PR_SET_PDEATHSIG). There is one kind for each backend: `wasm_zygote` and `process/zygote`; this is what they share.

    host -> zygote   F + descriptors   fork a worker that speaks on the first of them; the rest is the backend's
                     K + pid           kill that worker: only a parent can do so without racing the pid's reuse
    zygote -> host   R                 ready, once
                     S + pid           the worker started
                     X + pid + status  the worker is gone and reaped
                     E + text          it cannot serve; the last thing it says
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from belljar.errors import BelljarError, Code, WallError
from belljar.rpc.frames import encode
from belljar.rpc.messages import Fault

if TYPE_CHECKING:
    from belljar.sandbox._threads import Threads

__all__ = ["NONE", "RECORD", "Zygote", "ZygoteConfig", "main"]

RECORD = struct.Struct("<cxxxiI")
"""What the zygote says: kind, pid (or length of the text that follows), wait status."""

# The channel, two prints, a work folder.
_MOST_DESCRIPTORS = 4
NONE = -1
"""In place of a descriptor."""


@dataclass(frozen=True, slots=True)
class ZygoteConfig:
    """What a zygote is told, as one JSON argument. Nothing in it is secret."""

    backend: str
    memory: int
    """Bytes a box may hold."""
    waive: tuple[str, ...]
    reuse: int
    """Runs one worker may serve."""
    cwasm: int = NONE
    """Descriptor of the compiled guest; wasm."""
    packages: int = NONE
    """Descriptor of the folder with the dependencies, if there are any."""
    work: bool = False
    """Whether each worker is given a work folder; process."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> ZygoteConfig:
        said: dict[str, Any] = json.loads(text)
        said["waive"] = tuple(said["waive"])
        return ZygoteConfig(**said)


class Zygote:
    """Serves forks. `confine` is what a new worker does first, with its descriptors: put its walls up."""

    def __init__(
        self, control: socket.socket, confine: Callable[[list[int]], None], threads: Threads | None = None
    ) -> None:
        self._control = control
        self._confine = confine
        self._threads = threads
        self._children: set[int] = set()
        # The C library's own: `os.fork` also runs what modules left to be done in a child - locks made anew, `random`
        # seeded from the kernel. With one thread, which holds the interpreter's lock here, no other lock is held; a
        # run has a seed of its own. It would copy 140 pages and take 0.6 ms of each worker's start.
        self._libc = ctypes.PyDLL(None, use_errno=True)
        self._poll = select.poll()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def serve(self) -> None:
        """Answer the host until it goes; returns only in a forked worker, behind its walls."""
        signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._say(b"R", 0)
        poll = self._poll
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        if self._threads is not None:
            poll.register(self._threads.descriptor, select.POLLIN)
        control = self._control.fileno()
        while True:
            for fd, event in poll.poll():
                if fd == self._wake_read:
                    self._reap()
                elif fd != control:
                    self._thread(fd, event)
                elif self._command():
                    return

    def _thread(self, fd: int, event: int) -> None:
        """A worker brings its listener, asks for a thread, or is gone."""
        threads = self._threads
        assert threads is not None
        if fd == threads.descriptor:
            if (listener := threads.arrived()) is not None:
                self._poll.register(listener, select.POLLIN)
            return
        if event & select.POLLIN and threads.answer(fd):
            return
        self._poll.unregister(fd)
        if not event & select.POLLIN:
            threads.forget(fd)

    def _command(self) -> bool:
        """Carry out one command; True in a new worker."""
        data, descriptors, _, _ = socket.recv_fds(self._control, 1, _MOST_DESCRIPTORS)
        if data == b"F" and descriptors:
            return self._fork(descriptors)
        if data == b"K":
            (pid,) = struct.unpack("<I", self._control.recv(4, socket.MSG_WAITALL))
            if pid in self._children:
                os.kill(pid, signal.SIGKILL)
            return False
        os._exit(0)  # end of file: the host is gone, and PDEATHSIG takes the workers

    def _fork(self, descriptors: list[int]) -> bool:
        pid = self._libc.fork()
        if pid < 0:
            raise OSError(ctypes.get_errno(), "fork")
        if pid == 0:
            self._become_worker(descriptors)
            return True
        for descriptor in descriptors:
            os.close(descriptor)
        self._children.add(pid)
        self._say(b"S", pid)
        return False

    def _become_worker(self, descriptors: list[int]) -> None:
        channel = descriptors[0]
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for fd in (self._wake_read, self._wake_write):
                os.close(fd)
            self._control.close()
            self._confine(descriptors)
        except BaseException as exc:  # noqa: BLE001 - half walled in: it must not go on, only say why
            code = exc.code if isinstance(exc, BelljarError) else Code.WORKER_CRASH
            fault = Fault(code, f"a worker could not confine itself: {exc}"[:2000])
            socket.socket(fileno=channel).sendall(encode(fault))
            os._exit(3)

    def _reap(self) -> None:
        try:
            os.read(self._wake_read, 512)
        except BlockingIOError:
            pass
        for pid in list(self._children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self._children.discard(pid)
                self._say(b"X", pid, status)

    def _say(self, kind: bytes, number: int, status: int = 0) -> None:
        self._control.sendall(RECORD.pack(kind, number, status & 0xFFFFFFFF))


def _run(control: socket.socket, config: ZygoteConfig) -> None:
    if config.backend == "process":
        from belljar.sandbox.process.zygote import run
    else:
        from belljar.sandbox.wasm_zygote import run
    run(control, config)


def main() -> NoReturn:
    """Entry of the zygote process: `argv` = search path, control descriptor, configuration as JSON."""
    control = socket.socket(fileno=int(sys.argv[2]))
    try:
        _run(control, ZygoteConfig.from_json(sys.argv[3]))
    except BaseException as exc:  # noqa: BLE001 - it ends either way, and says why
        text = str(exc).encode("utf-8", "replace")[:4096]
        control.sendall(RECORD.pack(b"E", len(text), int(isinstance(exc, WallError))) + text)
    os._exit(1)
