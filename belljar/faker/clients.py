"""The client the proxy serves, as lines: `StdioClient`, our own stdin and stdout.

stdin may be a pipe, a socket (Node's), a terminal or a file; only files cannot be waited for, and never block for
long. Its flags are left alone, since others may hold it too. stdout is made non-blocking where it is a pipe or a
socket, and given back as it was: a client that does not read must stop us from reading on, not the event loop.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from belljar.faker._pipes import LineReader, LineWriter
from belljar.faker.targets import MAX_LINE
from belljar.rpc.upstreams.programs import Endless, TooLong

__all__ = ["Client", "ClientGoneError", "StdioClient", "stdio_client"]


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
        self._stdout = stdout
        self._reader = LineReader(stdin, MAX_LINE, file=_is_file(stdin))
        self._writer = LineWriter(lambda: stdout)

    async def spoke_within(self, seconds: float) -> bool:
        """Whether the client says something, or ends, in that time."""
        return await self._reader.spoke_within(seconds)

    async def receive(self) -> bytes | TooLong | None:
        """The next line."""
        try:
            return await self._reader.receive()
        except (Endless, OSError):
            return None

    async def send(self, line: bytes) -> None:
        """One message. Whoever gives up waits for the client to read, or to go."""
        try:
            await self._writer.send(line)
        except OSError:
            raise ClientGoneError from None

    def close(self) -> None:
        """Let go of the descriptors."""
        self._reader.close()

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
        client = StdioClient(stdin, stdout)
        try:
            yield client
        finally:
            client.close()
    finally:
        if changed:
            os.set_blocking(stdout, True)


def _is_file(descriptor: int) -> bool:
    """What epoll refuses: files, and devices like /dev/null."""
    mode = os.fstat(descriptor).st_mode
    return not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor))
