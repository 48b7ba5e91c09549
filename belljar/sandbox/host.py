"""The host's ends: of one zygote's control socket, and of one worker's socket.

Nothing here decides anything. `ZygoteProcess` starts, asks and hears; `BoxProcess` sends and receives messages of one
worker and can end it. What the two hear is believed as far as it must be: a worker's bytes go through the strict
decoder, a zygote is ours.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from belljar.errors import BelljarError, Code, WallError, WorkerCrash
from belljar.rpc.frames import Frames, encode
from belljar.rpc.messages import Fault, FromWorker, Ready, ToWorker
from belljar.sandbox.compiled import search_path
from belljar.sandbox.zygote import RECORD, ZygoteConfig

__all__ = ["BoxProcess", "PoolKey", "ZygoteProcess"]

_CHUNK = 256 << 10
_START_DEADLINE_S = 60.0
_READY_DEADLINE_S = 30.0
_ENTRY = "import sys; sys.path[:0] = sys.argv[1].split('\\n'); from belljar.sandbox.zygote import main; main()"


@dataclass(frozen=True, slots=True)
class PoolKey:
    """What is fixed before a box is parked, and so tells which parked boxes a run can use."""

    backend: str
    memory: int
    waive: frozenset[str] = frozenset()


class BoxProcess:
    """One worker and its one box, from the host's side."""

    def __init__(self, sock: socket.socket, pid: int, kill: Callable[[int], None]) -> None:
        self.pid = pid
        self.ready: Ready | None = None
        self.gone = anyio.Event()
        self.status: int | None = None
        """Wait status, once it is gone."""
        self._sock = sock
        self._kill = kill
        self._frames = Frames.from_worker()
        self._inbox: deque[FromWorker] = deque()
        self._bell = _Bell(sock)
        self.reusable = False
        """Whether its last run ended in order, so that it will park again."""

    async def parked(self) -> None:
        """Wait until the box is parked.

        Raises:
            WallError: a wall did not go up.
            WorkerCrash: it died or said something else first.
        """
        with anyio.fail_after(_READY_DEADLINE_S):
            message = await self.receive()
        if isinstance(message, Fault) and message.code == Code.WALL_MISSING:
            raise WallError(message.message)
        if not isinstance(message, Ready):
            raise WorkerCrash("a worker did not come up as it should; run `belljar doctor`")
        self.ready = message

    @property
    def was_killed(self) -> bool:
        """Whether it is gone and did not end itself: a guest has no way to send SIGKILL, or to end the zygote."""
        if not self.gone.is_set():
            return False
        return self.status is None or (os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == signal.SIGKILL)

    def is_waiting(self) -> bool:
        """Whether it is alive and silent, as a parked box is."""
        if self.gone.is_set():
            return False
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def send_now(self, message: ToWorker) -> memoryview:
        """Send what the socket takes at once; gives back what is left."""
        data = memoryview(encode(message))
        while data:
            try:
                data = data[self._sock.send(data) :]
            except BlockingIOError:
                break
            except OSError:
                return memoryview(b"")  # it is gone: `receive` says so
        return data

    async def send(self, message: ToWorker) -> None:
        """Send all of a message; one sender at a time."""
        await self.send_rest(self.send_now(message))

    async def send_rest(self, data: memoryview) -> None:
        """Send what `send_now` left."""
        while data:
            await anyio.wait_writable(self._sock)
            try:
                data = data[self._sock.send(data) :]
            except BlockingIOError:
                continue
            except OSError:
                return

    async def receive(self) -> FromWorker:
        """The next message.

        Raises:
            ProtocolError: what came is no message; nothing after it is believed.
            WorkerCrash: the worker is gone.
        """
        while not self._inbox and not self._read():
            await self._bell.wait()
        return self._inbox.popleft()

    def _read(self) -> bool:
        try:
            chunk = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            chunk = b""
        if not chunk:
            raise WorkerCrash("the worker died without an answer")
        self._inbox.extend(self._frames.feed(chunk))
        return bool(self._inbox)

    def end(self) -> None:
        """Kill it, whatever it does."""
        self._kill(self.pid)
        self._bell.close()
        self._sock.close()


class _Bell:
    """Rings when a socket can be read. Registered with the loop once, where `anyio.wait_readable` would register and
    unregister for each wait: a quarter of the time of a call."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Wait until there is something to read; one waits at a time."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._sock, self._ring)
        self._waiting = self._loop.create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def _ring(self) -> None:
        if self._waiting is None:
            self.close()  # nobody listens now: the socket would ring in every turn of the loop
        elif not self._waiting.done():
            self._waiting.set_result(None)

    def close(self) -> None:
        """Take it off the loop; before the socket is closed, or its number would be another's."""
        if self._loop is not None:
            self._loop.remove_reader(self._sock)
            self._loop = None


class ZygoteProcess:
    """One zygote: a child process and its control socket. `listen` must run in a task for as long as it is used."""

    def __init__(self, key: PoolKey, cwasm: int, reuse: int) -> None:
        self.key = key
        self._control, theirs = socket.socketpair()
        config = ZygoteConfig(cwasm, key.memory, tuple(sorted(key.waive)), reuse)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _ENTRY, search_path(), str(theirs.fileno()), config.to_json()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), cwasm),
                env={},
                # Ctrl-C at the terminal is for the host, which ends the zygote in order.
                start_new_session=True,
            )
        self._control.setblocking(False)
        self._boxes: dict[int, BoxProcess] = {}
        self._unnamed: deque[socket.socket] = deque()
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
        with theirs:
            try:
                socket.send_fds(self._control, [b"F"], [theirs.fileno()])
            except OSError:
                ours.close()
                return False
        self._unnamed.append(ours)
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
        box = BoxProcess(self._unnamed.popleft(), pid, self.kill)
        self._boxes[pid] = box
        self._started.popleft()(box)

    def _gone(self, pid: int, status: int) -> None:
        box = self._boxes.pop(pid, None)
        if box is not None:
            box.status = status
            box.gone.set()

    def _end(self) -> None:
        self.close()
        self._control.close()
        for box in self._boxes.values():
            box.gone.set()
        self._boxes.clear()
        for sock in self._unnamed:
            sock.close()
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
