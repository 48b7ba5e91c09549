"""The client the proxy serves, as lines: `StdioClient`, our own stdin and stdout.

stdin may be a pipe, a socket (Node's), a terminal or a file; only files cannot be waited for, and never block for
long. Its flags are left alone, since others may hold it too. stdout is made non-blocking where it is a pipe or a
socket, and given back as it was: a client that does not read must stop us from reading on, not the event loop.
"""

from __future__ import annotations

import os
import select
import stat
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

import anyio
import anyio.to_thread

from belljar.faker.targets import MAX_LINE
from belljar.rpc.upstreams.programs import Endless, Lines, TooLong

__all__ = ["Client", "ClientGoneError", "StdioClient", "stdio_client"]

_CHUNK = 1 << 16


class ClientGoneError(Exception):
    """The client does not listen any more."""


class Client(Protocol):
    """A connection to a client, in lines without their line feed."""

    async def receive(self) -> bytes | TooLong | None:
        """The next line; None once nothing more comes."""
        ...

    async def send(self, line: bytes) -> None:
        """Raises ClientGoneError."""
        ...

    def gone(self) -> bool:
        """Whether nobody reads what we send, as far as can be told without sending."""
        ...


class StdioClient:
    """Two descriptors. Made by `stdio_client`."""

    def __init__(self, stdin: int, stdout: int) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._file = _is_file(stdin)
        self._lines = Lines(lambda: MAX_LINE)
        self._read: deque[bytes | TooLong] = deque()
        self._writing = anyio.Lock()
        self._ended = False

    async def spoke_within(self, seconds: float) -> bool:
        """Whether the client says something, or ends, in that time."""
        if self._file:
            return True
        with anyio.move_on_after(seconds):
            await anyio.wait_readable(self._stdin)
            return True
        return False

    async def receive(self) -> bytes | TooLong | None:
        """The next line. A last one without a line feed counts."""
        while not self._read and not self._ended:
            chunk = await self._chunk()
            self._ended = not chunk
            try:
                self._read.extend(self._lines.feed(chunk or b"\n"))
            except Endless:
                self._ended = True
        return self._read.popleft() if self._read else None

    async def _chunk(self) -> bytes:
        try:
            if self._file:
                return await anyio.to_thread.run_sync(os.read, self._stdin, _CHUNK, abandon_on_cancel=True)
            await anyio.wait_readable(self._stdin)
            return os.read(self._stdin, _CHUNK)
        except OSError:
            return b""

    async def send(self, line: bytes) -> None:
        """One message."""
        view = memoryview(line + b"\n")
        # Half a message would spoil all that follow; whoever gives up waits for the client to read, or to go.
        with anyio.CancelScope(shield=True):
            async with self._writing:
                while view:
                    try:
                        view = view[os.write(self._stdout, view) :]
                    except BlockingIOError:
                        await self._writable()
                    except OSError:
                        raise ClientGoneError from None

    async def _writable(self) -> None:
        await anyio.wait_writable(self._stdout)

    def gone(self) -> bool:
        """A closed pipe says so when it is polled."""
        poll = select.poll()
        poll.register(self._stdout, 0)
        return any(events & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, events in poll.poll(0))


@contextmanager
def stdio_client(stdin: int, stdout: int) -> Generator[StdioClient]:
    """A client at these descriptors."""
    mode = os.fstat(stdout).st_mode
    changed = (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)) and os.get_blocking(stdout)
    if changed:
        os.set_blocking(stdout, False)
    try:
        yield StdioClient(stdin, stdout)
    finally:
        if changed:
            os.set_blocking(stdout, True)


def _is_file(descriptor: int) -> bool:
    """What epoll refuses: files, and devices like /dev/null."""
    mode = os.fstat(descriptor).st_mode
    return not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor))
