"""Lines in and out of descriptors, with as few turns of the event loop as there can be.

A proxied call crosses four pipes, and waiting for each of them anew - registering it, waking a task, yielding once more
to be fair - took more time than everything else the proxy does. So a reader stays registered for as long as somebody
keeps up with it, reads when the loop says so, and wakes whoever waits; a writer writes at once, and waits only for what
the pipe does not take.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable

import anyio
import anyio.to_thread

from belljar.rpc.upstreams.programs import Endless, Lines, TooLong

__all__ = ["LineReader", "LineWriter"]

_CHUNK = 1 << 16
# Lines that wait for whoever takes them; beyond, the other side has to wait as well.
_MOST_LINES = 256


class LineReader:
    """Lines of a descriptor that can be waited for, or of a file. Close it before the descriptor."""

    def __init__(self, descriptor: int, limit: int, *, file: bool = False) -> None:
        self._descriptor = descriptor
        self._file = file
        self._lines = Lines(lambda: limit)
        self._read: deque[bytes | TooLong] = deque()
        self._ended = False
        self._endless = False
        self._waiter: asyncio.Future[None] | None = None
        self._registered = False

    async def spoke_within(self, seconds: float) -> bool:
        """Whether something comes, or ends, in that time."""
        if self._file:
            return True
        with anyio.move_on_after(seconds):
            await self._wait()
        return bool(self._read) or self._ended

    async def receive(self) -> bytes | TooLong | None:
        """The next line; None at the end. A last one without a line feed counts.

        Raises:
            Endless: a line that does not end; there is nothing more to come.
        """
        while not self._read:
            if self._endless:
                raise Endless
            if self._ended:
                return None
            if self._file:
                chunk = await anyio.to_thread.run_sync(os.read, self._descriptor, _CHUNK, abandon_on_cancel=True)
                self._take(chunk)
            else:
                await self._wait()
        return self._read.popleft()

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        if not self._registered:
            loop.add_reader(self._descriptor, self._ready)
            self._registered = True
        self._waiter = loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _ready(self) -> None:
        try:
            self._take(os.read(self._descriptor, _CHUNK))
        except BlockingIOError:
            return
        except OSError:
            self._take(b"")
        if self._ended or self._endless or len(self._read) >= _MOST_LINES:
            self.close()
        if self._waiter is not None and not self._waiter.done() and (self._read or self._ended or self._endless):
            self._waiter.set_result(None)

    def _take(self, chunk: bytes) -> None:
        self._ended = not chunk
        try:
            # The end of the stream ends a line that was begun.
            self._read.extend(line for line in self._lines.feed(chunk or b"\n") if chunk or line)
        except Endless:
            self._endless = True

    def close(self) -> None:
        """Read no more. What was read can still be received, and who receives more than that reads on."""
        if self._registered:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            self._registered = False


class LineWriter:
    """Writes lines, whole and in order, to a descriptor that does not block, or not for long."""

    def __init__(self, descriptor: Callable[[], int]) -> None:
        """`descriptor` is asked anew each time: once closed, its number is somebody else's."""
        self._descriptor = descriptor
        self._writing = anyio.Lock()
        self._rest = memoryview(b"")

    async def send(self, line: bytes, seconds: float | None = None) -> None:
        """One line. If this is cancelled half-way, whoever writes next finishes it first.

        Raises:
            OSError: nobody reads it any more.
            TimeoutError: it was not taken in that time.
        """
        data = memoryview(line + b"\n")
        if not self._rest and not self._writing.locked():
            written = self._written(data)
            if written == len(data):
                return
            if written:
                self._rest, data = data[written:], memoryview(b"")
        with anyio.fail_after(seconds):
            async with self._writing:
                await self._flush()
                await self._begin(data)

    async def _begin(self, data: memoryview) -> None:
        self._rest = data
        try:
            await self._flush()
        finally:
            if self._rest is data:
                self._rest = memoryview(b"")  # nothing of it is out: then it was never sent

    async def _flush(self) -> None:
        while self._rest:
            if written := self._written(self._rest):
                self._rest = self._rest[written:]
            else:
                await anyio.wait_writable(self._descriptor())

    def _written(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor(), data)
        except BlockingIOError:
            return 0
