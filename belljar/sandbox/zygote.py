"""The zygote: loads wasmtime and the compiled guest once, then forks a worker each time it is asked.

It is trusted and stays so: it never runs a capability, reads nothing a guest wrote, holds no secret, and its
environment is empty. It has one thread, because a fork keeps only the thread that forks. It is alive as long as the
other end of its control socket: when the host goes, however it goes, the zygote ends, and every worker with it
(PR_SET_PDEATHSIG).

    host -> zygote   F + descriptor    fork a worker that speaks on this socket
                     K + pid           kill that worker: only a parent can do so without racing the pid's reuse
    zygote -> host   R                 ready, once
                     S + pid           the worker started
                     X + pid + status  the worker is gone and reaped
                     E + text          it cannot serve; the last thing it says
"""

from __future__ import annotations

import array
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from belljar.errors import BelljarError, Code, WallError
from belljar.rpc.frames import encode
from belljar.rpc.messages import Fault, Ready
from belljar.sandbox.worker import Reporter, Worker

if TYPE_CHECKING:
    from belljar.sandbox._rlimits import Room

__all__ = ["RECORD", "ZygoteConfig", "main"]

RECORD = struct.Struct("<cxxxiI")
"""What the zygote says: kind, pid (or length of the text that follows), wait status."""

_FD_SIZE = array.array("i").itemsize
# What the worker itself may need beside its box: frames of 16 MiB, decoded, and their texts.
_OWN_MEMORY = 256 << 20
# Address space wasmtime sets aside for one more box in a worker that is reused: 4 GiB and its guards.
_BOX_RESERVE = 12 << 30


@dataclass(frozen=True, slots=True)
class ZygoteConfig:
    """What a zygote is told, as one JSON argument. Nothing in it is secret."""

    cwasm: int
    """Descriptor of the compiled guest."""
    memory: int
    """Bytes a box may hold."""
    waive: tuple[str, ...]
    reuse: int
    """Runs one worker may serve."""

    def to_json(self) -> str:
        return json.dumps([self.cwasm, self.memory, self.waive, self.reuse])

    @staticmethod
    def from_json(text: str) -> ZygoteConfig:
        cwasm, memory, waive, reuse = json.loads(text)
        return ZygoteConfig(cwasm, memory, tuple(waive), reuse)


class Zygote:
    """Serves forks from inside the first box's question for a job."""

    def __init__(self, control: socket.socket, config: ZygoteConfig) -> None:
        from belljar.sandbox.walls import prepare

        self._control = control
        self._config = config
        self._wall = prepare(waive=frozenset(config.waive))
        self.worker = Worker(self.serve)
        self._room: Room | None = None
        self._children: set[int] = set()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def serve(self) -> None:
        """Answer the host until it goes; returns only in a forked worker."""
        missing = {"wall", "monotonic", "random"} - self.worker.shadowed
        if missing:
            raise WallError(f"this wasmtime ignores our {', '.join(sorted(missing))}", walls=("wasm",))
        signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()  # a collection in a worker must not copy these pages
        if self._config.reuse == 1:
            gc.disable()  # nor must there be one: a worker lives for one run, and its own garbage is little
        self._room = self._wall.room(
            memory=self._config.memory + _OWN_MEMORY, reserve=_BOX_RESERVE if self._config.reuse != 1 else 0
        )
        self._say(b"R", 0)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._wake_read:
                    self._reap()
                elif self._command():
                    return

    def _command(self) -> bool:
        """Carry out one command; True in a new worker."""
        data, descriptors, _, _ = socket.recv_fds(self._control, 1, 1)
        if data == b"F" and len(descriptors) == 1:
            return self._fork(descriptors[0])
        if data == b"K":
            (pid,) = struct.unpack("<I", self._control.recv(4, socket.MSG_WAITALL))
            if pid in self._children:
                os.kill(pid, signal.SIGKILL)
            return False
        os._exit(0)  # end of file: the host is gone, and PDEATHSIG takes the workers

    def _fork(self, descriptor: int) -> bool:
        pid = os.fork()
        if pid == 0:
            self._become_worker(descriptor)
            return True
        os.close(descriptor)
        self._children.add(pid)
        self._say(b"S", pid)
        return False

    def _become_worker(self, descriptor: int) -> None:
        sock = socket.socket(fileno=descriptor)
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for fd in (self._wake_read, self._wake_write):
                os.close(fd)
            self._control.close()
            reporter = Reporter(sock)
            walls = ("wasm", *self._wall.tighten(self._room))
            self.worker.attach(reporter, Ready("wasm", self.worker.python, walls))
        except BaseException as exc:  # noqa: BLE001 - half walled in: it must not go on, only say why
            code = exc.code if isinstance(exc, BelljarError) else Code.WORKER_CRASH
            sock.sendall(encode(Fault(code, f"a worker could not confine itself: {exc}"[:2000])))
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
    from wasmtime.component import Component

    from belljar.sandbox.engine import link, load_engine, new_run

    zygote = Zygote(control, config)
    worker = zygote.worker
    engine = load_engine()
    component = Component.deserialize_file(engine, f"/proc/self/fd/{config.cwasm}")
    linker = link(engine, worker)
    enter = new_run(engine, linker, component, config.memory)
    for _ in range(config.reuse):  # the first turn is entered by the zygote; a worker comes out of it
        try:
            worker.report(*enter())
        except Exception as exc:  # a trap: the box broke down, and its worker with it
            if not worker.attached:
                raise  # no worker yet: the zygote itself cannot serve
            worker.report_trap(exc)
            break
        if config.reuse > 1:
            enter = new_run(engine, linker, component, config.memory)
    os._exit(0)


def main() -> NoReturn:
    """Entry of the zygote process: `argv` = search path, control descriptor, configuration as JSON."""
    control = socket.socket(fileno=int(sys.argv[2]))
    try:
        _run(control, ZygoteConfig.from_json(sys.argv[3]))
    except BaseException as exc:  # noqa: BLE001 - it ends either way, and says why
        text = str(exc).encode("utf-8", "replace")[:4096]
        control.sendall(RECORD.pack(b"E", len(text), int(isinstance(exc, WallError))) + text)
    os._exit(1)
