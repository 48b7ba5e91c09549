"""What native code writes to descriptors 1 and 2 of a worker: two pipes, read by the host.

Python's own prints travel as frames. A C library knows nothing of those: what it prints, and the last words of one
that aborts, come here. Reading never stops while the run is on, so that no writer waits; how much is kept is the
caller's to decide. Nothing in it is parsed.
"""

from __future__ import annotations

import asyncio
import codecs
import os
from collections.abc import Callable

__all__ = ["Prints"]

_CHUNK = 64 << 10
# Of what is left at the end: a pipe holds 64 KiB, and a thread that prints for ever must not hold the host.
_LAST_CHUNKS = 4
_STREAMS = ("stdout", "stderr")

Add = Callable[[str, str], None]


class Prints:
    """The read ends, one run long."""

    def __init__(self) -> None:
        pairs = [os.pipe(), os.pipe()]
        self.write_ends = [write for _, write in pairs]
        """For the worker; `started` closes them here."""
        self._pipes = [_Pipe(read, stream) for (read, _), stream in zip(pairs, _STREAMS, strict=True)]

    def started(self) -> None:
        """The worker has its ends."""
        for descriptor in self.write_ends:
            os.close(descriptor)
        self.write_ends = []

    def listen(self, add: Add) -> None:
        """From here on, whatever comes goes to `add` (stream, text)."""
        for pipe in self._pipes:
            pipe.listen(add)

    def drain(self) -> None:
        """Take what is there now: the worker has said its last word, or is gone."""
        for pipe in self._pipes:
            pipe.drain()

    def close(self) -> None:
        self.started()
        for pipe in self._pipes:
            pipe.close()


class _Pipe:
    def __init__(self, descriptor: int, stream: str) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._add: Add | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open = True

    def listen(self, add: Add) -> None:
        self._add = add
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._read)

    def _read(self) -> bool:
        """Take one piece; False if there is none now."""
        try:
            chunk = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self._leave_loop()
        if self._add is not None and (text := self._decoder.decode(chunk, final=not chunk)):
            self._add(self._stream, text)
        return bool(chunk)

    def drain(self) -> None:
        for _ in range(_LAST_CHUNKS if self._open else 0):
            if not self._read():
                return

    def _leave_loop(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._descriptor)
            self._loop = None

    def close(self) -> None:
        if self._open:
            self._open = False
            self._leave_loop()
            os.close(self._descriptor)
