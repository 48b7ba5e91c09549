"""The host's end of one zygote's control socket: starts it, asks for workers, hears what becomes of them.

Nothing here decides anything. What a zygote says is believed: it is ours.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio

from belljar.errors import BelljarError, WallError, WorkerCrash
from belljar.sandbox.box import BoxProcess, removed
from belljar.sandbox.compiled import search_path
from belljar.sandbox.prints import Prints
from belljar.sandbox.workfolder import WorkFolder
from belljar.sandbox.zygote import NONE, RECORD, ZygoteConfig

__all__ = ["BoxProcess", "PoolKey", "ZygoteProcess"]

_CHUNK = 256 << 10
_START_DEADLINE_S = 60.0
_ENTRY = "import sys; sys.path[:0] = sys.argv[1].split('\\n'); from belljar.sandbox.zygote import main; main()"


@dataclass(frozen=True, slots=True)
class PoolKey:
    """What is fixed before a box is parked, and so tells which parked boxes a run can use."""

    backend: str
    memory: int
    waive: frozenset[str] = frozenset()
    packages: str = ""
    """Folder of the dependencies that boxes of this kind may import; empty: none."""
    work: str = ""
    """Folder in which each box gets a work folder of its own; process backend, empty: none."""


class ZygoteProcess:
    """One zygote: a child process and its control socket. `listen` must run in a task for as long as it is used."""

    def __init__(self, key: PoolKey, reuse: int, *, cwasm: int = NONE, packages: int = NONE) -> None:
        """It inherits two descriptors: of the compiled guest, and of the folder with the dependencies."""
        self.key = key
        self._control, theirs = socket.socketpair()
        waive = tuple(sorted(key.waive))
        config = ZygoteConfig(key.backend, key.memory, waive, reuse, cwasm, packages, work=bool(key.work))
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _ENTRY, search_path(), str(theirs.fileno()), config.to_json()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[fd for fd in (theirs.fileno(), cwasm, packages) if fd != NONE],
                env={},
                # Ctrl-C at the terminal is for the host, which ends the zygote in order.
                start_new_session=True,
            )
        self._control.setblocking(False)
        self._boxes: dict[int, BoxProcess] = {}
        self._unnamed: deque[_Given] = deque()
        self._started: deque[Callable[[BoxProcess], None]] = deque()
        self._buffer = b""
        self.serving = anyio.Event()
        self.ended = anyio.Event()
        self.failure: BelljarError | None = None

    @property
    def alive(self) -> bool:
        return not self.ended.is_set()

    @property
    def pid(self) -> int:
        return self._process.pid

    def fork(self, started: Callable[[BoxProcess], None]) -> bool:
        """Ask for one worker; `started` is called when it has a pid. False if it takes no more requests now."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        given = _Given.to(self.key, ours)
        with theirs:
            try:
                socket.send_fds(self._control, [b"F"], [theirs.fileno(), *given.descriptors])
            except OSError:
                given.close()
                return False
        if given.prints is not None:
            given.prints.started()
        self._unnamed.append(given)
        self._started.append(started)
        return True

    def pids(self) -> list[int]:
        """Itself and its workers."""
        return [self.pid, *self._boxes]

    def kill(self, pid: int) -> None:
        """End a worker; nothing happens if it is gone."""
        if pid in self._boxes and self.alive:
            try:
                self._control.send(b"K" + struct.pack("<I", pid))
            except OSError:
                self.close()  # a zygote that no longer takes orders takes its workers with it

    async def listen(self) -> None:
        """Hear what the zygote says until it ends; then everything of it has ended."""
        try:
            await self._listen()
        finally:
            self._end()

    async def _listen(self) -> None:
        while True:
            try:
                chunk = self._control.recv(_CHUNK)
            except BlockingIOError:
                await anyio.wait_readable(self._control)
                continue
            except OSError:
                return
            if not chunk:
                return
            self._buffer += chunk
            while len(self._buffer) >= RECORD.size and self._record():
                pass

    def _record(self) -> bool:
        kind, number, status = RECORD.unpack_from(self._buffer)
        rest = self._buffer[RECORD.size :]
        if kind == b"E":
            if len(rest) < number:
                return False
            text = rest[:number].decode("utf-8", "replace")
            self.failure = WallError(text) if status else WorkerCrash(f"the zygote cannot serve: {text}")
            rest = rest[number:]
        elif kind == b"R":
            self.serving.set()
        elif kind == b"S":
            self._name(number)
        elif kind == b"X":
            self._gone(number, status)
        self._buffer = rest
        return True

    def _name(self, pid: int) -> None:
        given = self._unnamed.popleft()
        box = BoxProcess(given.sock, pid, self.kill, given.prints, given.work)
        self._boxes[pid] = box
        self._started.popleft()(box)

    def _gone(self, pid: int, status: int) -> None:
        box = self._boxes.pop(pid, None)
        if box is not None:
            box.status = status
            box.has_gone()

    def _end(self) -> None:
        self.close()
        self._control.close()
        for box in self._boxes.values():
            box.has_gone()
        self._boxes.clear()
        for given in self._unnamed:
            given.close()
        self._unnamed.clear()
        self.ended.set()
        self.serving.set()

    def close(self) -> None:
        """End it and all its workers; returns when the zygote is reaped. `listen` hears of it and ends."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    async def wait_serving(self) -> None:
        """Wait until it forks on demand.

        Raises:
            WallError, WorkerCrash: it cannot; says why.
        """
        with anyio.move_on_after(_START_DEADLINE_S):
            await self.serving.wait()
        if self.failure is not None:
            raise self.failure
        if not self.serving.is_set() or not self.alive:
            raise WorkerCrash("the zygote did not start; run `belljar doctor`")


@dataclass(frozen=True, slots=True)
class _Given:
    """What a worker is started with, from the host's side, until it has a pid."""

    sock: socket.socket
    prints: Prints | None
    work: WorkFolder | None

    @classmethod
    def to(cls, key: PoolKey, sock: socket.socket) -> _Given:
        native = key.backend == "process"
        return cls(sock, Prints() if native else None, WorkFolder(Path(key.work)) if key.work else None)

    @property
    def descriptors(self) -> list[int]:
        """Beside its socket: what it prints to, and its folder."""
        prints = self.prints.write_ends if self.prints is not None else []
        return [*prints, *([self.work.descriptor] if self.work is not None else [])]

    def close(self) -> None:
        self.sock.close()
        if self.prints is not None:
            self.prints.close()
        if self.work is not None:
            removed(self.work)
