"""One worker from the host's side: its socket, what it prints natively, its files, and its end.

Nothing here decides anything. It sends and receives messages, and what it hears goes through the strict decoder.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import anyio
import anyio.to_thread

from belljar.errors import Code, WallError, WorkerCrash
from belljar.rpc.frames import Frames, encode
from belljar.rpc.messages import Fault, FromWorker, Ready, ToWorker
from belljar.sandbox.prints import Prints
from belljar.sandbox.workfolder import Keeping, Kept, WorkFolder

__all__ = ["BoxProcess", "removed"]

_CHUNK = 256 << 10
_READY_DEADLINE_S = 30.0
# A worker that was killed is gone in milliseconds.
_GONE_S = 5.0


class BoxProcess:
    """One worker and its one box, from the host's side."""

    def __init__(
        self,
        sock: socket.socket,
        pid: int,
        kill: Callable[[int], None],
        prints: Prints | None = None,
        work: WorkFolder | None = None,
    ) -> None:
        self.pid = pid
        self.prints = prints
        """What it writes to descriptors 1 and 2; a wasm box has none."""
        self.work = work
        """Where it may write files."""
        self.ready: Ready | None = None
        self.gone = anyio.Event()
        self.status: int | None = None
        """Wait status, once it is gone."""
        self._sock = sock
        self._kill = kill
        self._frames = Frames.from_worker()
        self._inbox: deque[FromWorker] = deque()
        self._bell = _Bell(sock)
        self._ended = False
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
    def native(self) -> bool:
        """Whether the capability has the worker's process to itself."""
        return self.ready is not None and self.ready.backend == "process"

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

    async def keep(self, keeping: Keeping) -> None:
        """End it, and copy the files of its run out.

        Raises:
            ConfigError: the destination cannot be used.
        """
        work, self.work = self.work, None
        if work is None:
            return
        self.end()
        with anyio.move_on_after(_GONE_S, shield=True):
            await self.gone.wait()
        keeping.kept = await anyio.to_thread.run_sync(_collected, work, keeping)

    def has_gone(self) -> None:
        """The zygote says so."""
        self.gone.set()
        self._discard_files()

    def _discard_files(self) -> None:
        """Its work folder goes when nobody uses it any more and nothing can write to it, if nobody took it."""
        if self.work is None or not (self._ended and self.gone.is_set()):
            return
        work, self.work = self.work, None
        asyncio.get_running_loop().run_in_executor(None, removed, work)

    def end(self) -> None:
        """Kill it, whatever it does."""
        self._ended = True
        self._discard_files()
        self._kill(self.pid)
        self._bell.close()
        self._sock.close()
        if self.prints is not None:
            self.prints.close()


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


def removed(work: WorkFolder) -> None:
    """Take a work folder away."""
    with suppress(OSError):  # what is left is removed with the next one's
        work.remove()


def _collected(work: WorkFolder, keeping: Keeping) -> Kept:
    try:
        return work.collect(keeping.destination)
    finally:
        removed(work)
