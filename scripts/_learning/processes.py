"""Processes that are spoken to line by line, and that end with the block they were started for."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

__all__ = ["Failed", "Started", "started", "within"]

# Far more than it takes on a busy machine; a server finishes what is under way in 10 s.
_END_S = 20.0


class Failed(Exception):
    """One of the parts did not do what it should; says which."""


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """Fail with `what` if the block takes longer."""
    try:
        with anyio.fail_after(seconds):
            yield
    except TimeoutError:
        raise Failed(f"{what} in {seconds:.0f} s") from None


@dataclass(frozen=True, slots=True)
class Started:
    """One of them."""

    process: Process
    lines: AsyncIterator[str]
    log: Path

    async def say(self, what: Any) -> None:
        """One line of JSON."""
        assert self.process.stdin is not None
        await self.process.stdin.send(f"{json.dumps(what)}\n".encode())

    async def line(self) -> Any:
        """What it says next.

        Raises:
            Failed: it ended.
        """
        line = await anext(self.lines, None)
        if line is None:
            said = self.log.read_text(errors="backslashreplace").splitlines()[-10:]
            raise Failed("\n".join([f"{self.log.stem} ended:", *said]))
        return json.loads(line)


async def started(
    stack: AsyncExitStack, words: list[str], environment: dict[str, str], log: Path, *, told: bool
) -> Started:
    """A process of this Python; `told`: it does not end with its stdin, but when it is told."""
    with log.open("wb") as stderr:
        # A session of their own: Ctrl-C at a terminal is ours to hear, and they end in order.
        process = await anyio.open_process(
            [sys.executable, *words], env=environment, cwd=log.parent, stderr=stderr, start_new_session=True
        )
    stack.push_async_callback(_end, process, told)
    assert process.stdout is not None
    return Started(process, _lines(TextReceiveStream(process.stdout)), log)


async def _lines(stream: TextReceiveStream) -> AsyncIterator[str]:
    kept = ""
    async for chunk in stream:
        *whole, kept = (kept + chunk).split("\n")
        for line in whole:
            yield line


async def _end(process: Process, told: bool) -> None:
    with anyio.CancelScope(shield=True):
        assert process.stdin is not None
        await process.stdin.aclose()
        if told and process.returncode is None:
            process.terminate()
        with anyio.move_on_after(_END_S):
            await process.wait()
        if process.returncode is None:
            process.kill()
        await process.aclose()
