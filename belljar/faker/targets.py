"""The server the proxy stands before, as lines: `StdioTarget`, a program under its warden.

`rpc/upstreams` starts it, drains what it says on stderr and ends it with everything it started, also when we are
killed. Here its stdout becomes lines of bounded length, and its end becomes a reason.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

import anyio

from belljar.faker._pipes import LineReader, LineWriter
from belljar.limits import MIB
from belljar.rpc.servers import ServerSpec
from belljar.rpc.upstreams.programs import Endless, Program, StartError, TooLong, Words

__all__ = ["MAX_LINE", "StdioTarget", "Target", "TargetGoneError", "open_stdio"]

# Eight times the largest answer a run takes: the proxy shall not be narrower than what it stands before.
MAX_LINE = 64 * MIB
_STATUS_S = 1.0
_DRAIN_S = 1.0


class TargetGoneError(Exception):
    """The server has ended or does not read; the message is the reason, for a sentence that begins "the server"."""


class Target(Protocol):
    """A connection to a server, in lines without their line feed."""

    async def send(self, line: bytes) -> None:
        """Raises TargetGoneError."""
        ...

    async def receive(self) -> bytes | TooLong:
        """The next line. Raises TargetGoneError."""
        ...

    async def end(self) -> None:
        """Tell it that nothing more comes, and wait until it has ended: bounded. What it still says can be received."""
        ...


class StdioTarget:
    """A program. Made by `open_stdio`."""

    def __init__(self, program: Program, words: Words, *, write_s: float) -> None:
        self._program = program
        self._words = words
        self._write_s = write_s
        self._reader = LineReader(program.stdout, MAX_LINE)
        self._writer = LineWriter(lambda: program.stdin)
        self.drained = anyio.Event()

    async def send(self, line: bytes) -> None:
        """One message."""
        try:
            await self._writer.send(line, self._write_s)
        except TimeoutError:
            raise TargetGoneError(self._words.quoted(f"has not read its stdin for {self._write_s:g} s")) from None
        except OSError:
            raise TargetGoneError(await self._ending()) from None

    async def receive(self) -> bytes | TooLong:
        """The next line of its stdout."""
        try:
            line = await self._reader.receive()
        except Endless:
            raise TargetGoneError("writes a line that does not end") from None
        if line is None:
            raise TargetGoneError(await self._ending())
        return line

    async def end(self) -> None:
        """End its stdin, and after a while the program."""
        with anyio.CancelScope(shield=True):
            await self._program.stop()

    def close(self) -> None:
        """Let go of the program's descriptors."""
        self._reader.close()

    async def _ending(self) -> str:
        """Why it is over; a moment later than its end, so that its status and last words have arrived."""
        with anyio.move_on_after(_STATUS_S):
            await self._program.gone.wait()
        with anyio.move_on_after(_DRAIN_S):
            await self.drained.wait()
        status = self._program.status
        if status is None:
            return self._words.quoted("closed its stdout")
        ended = f"ended with status {status}" if status >= 0 else f"was killed by signal {-status}"
        return self._words.quoted(ended)


@asynccontextmanager
async def open_stdio(
    spec: ServerSpec, *, start_s: float, write_s: float, program: Program | None = None
) -> AsyncGenerator[StdioTarget]:
    """The running program; on leaving, it and all it started are gone.

    Args:
        spec: what to start.
        start_s: for the program to be there at all; answers have deadlines of their own.
        write_s: for a message to be taken.
        program: the same, if it was started already.

    Raises:
        TargetGoneError: it cannot be started.
    """
    words = Words(spec.name, spec.secrets)
    try:
        program = program or Program.start(spec)
    except StartError as exc:
        raise TargetGoneError(f"cannot be started: {exc}") from None
    target = StdioTarget(program, words, write_s=write_s)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(program.watch)
            tasks.start_soon(_drain, program, words, target.drained)
            try:
                await _started(program, spec, start_s)
                yield target
            finally:
                with anyio.CancelScope(shield=True):
                    await program.stop()
                tasks.cancel_scope.cancel()
    finally:
        target.close()
        with anyio.CancelScope(shield=True):
            await program.close()


async def _started(program: Program, spec: ServerSpec, seconds: float) -> None:
    try:
        with anyio.fail_after(seconds):
            await program.started(spec)
    except TimeoutError:
        raise TargetGoneError(f"was not started within {seconds:g} s") from None
    except StartError as exc:
        raise TargetGoneError(f"cannot be started: {exc}") from None


async def _drain(program: Program, words: Words, drained: anyio.Event) -> None:
    await words.drain(program.read_stderr)
    drained.set()
