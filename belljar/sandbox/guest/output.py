"""Prints: `sys.stdout` and `sys.stderr` of a box, carried to the host as text.

The standard text layers do the work (encoding, `buffer`, line buffering); only the raw end is ours. The first lines
cross the border at once, so that a run killed at its deadline shows what it said before; a box that keeps printing is
switched to blocks, because a crossing costs tens of microseconds. Blocks are flushed before each wait and at the end.
"""

from __future__ import annotations

import codecs
import io
from typing import Any

from .seam import Host

__all__ = ["Output"]

_UNBUFFERED_LINES = 256
_BLOCK_BYTES = 8 << 10


class _Raw(io.RawIOBase):
    """The bytes' way out. Decodes across cuts, replaces what is not UTF-8."""

    def __init__(self, host: Host, stream: str) -> None:
        self._host = host
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.writes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.writes += 1
        text = self._decoder.decode(bytes(data))
        if text:
            self._host.log(self._stream, text)
        return len(data)


class Output(io.TextIOWrapper):
    """One of the two streams."""

    def __init__(self, host: Host, stream: str) -> None:
        self._raw = _Raw(host, stream)
        super().__init__(
            io.BufferedWriter(self._raw, _BLOCK_BYTES),
            encoding="utf-8",
            errors="backslashreplace",
            newline="\n",
            line_buffering=True,
        )

    def write(self, text: str, /) -> int:
        written = super().write(text)
        if self.line_buffering and self._raw.writes > _UNBUFFERED_LINES:
            self.reconfigure(line_buffering=False)
        return written
