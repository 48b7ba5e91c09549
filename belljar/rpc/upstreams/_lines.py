"""Lines out of a byte stream, none longer than the limit of the moment. Sans-IO: bytes in, lines out.

A line that grows past the limit is not kept: its bytes are counted and thrown away until it ends, and only its two
ends remain, because one of them tells whose answer it was (`_gate.py`). A line that never ends is given up at
`MAX_SKIPPED`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from belljar.limits import MIB

__all__ = ["ENDS", "MAX_SKIPPED", "Endless", "Lines", "TooLong"]

# Twelve times the largest message there may be: an answer of 100 MB is read to its end and costs its caller one error,
# not everyone the connection.
MAX_SKIPPED = 192 * MIB
ENDS = 256


class Endless(Exception):
    """A line reached MAX_SKIPPED bytes and has not ended."""


@dataclass(frozen=True, slots=True)
class TooLong:
    """What is left of a line over the limit."""

    size: int
    head: bytes
    tail: bytes


class Lines:
    """Feed it chunks as they come. `limit` is asked anew at every chunk: what is awaited may change inside a line."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._line = bytearray()
        self._too_long: TooLong | None = None

    def feed(self, chunk: bytes) -> Iterator[bytes | TooLong]:
        """Every line that ends in this chunk, without its line feed.

        Raises:
            Endless: see there; the stream is of no further use.
        """
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            self._take(piece)
            yield self._end()
        self._take(rest)

    def _take(self, piece: bytes) -> None:
        if self._too_long is not None:
            self._skip(self._too_long, piece)
            return
        self._line += piece
        if len(self._line) > self._limit():
            self._too_long = TooLong(len(self._line), bytes(self._line[:ENDS]), bytes(self._line[-ENDS:]))
            self._line.clear()

    def _skip(self, line: TooLong, piece: bytes) -> None:
        self._too_long = TooLong(line.size + len(piece), line.head, (line.tail + piece[-ENDS:])[-ENDS:])
        if self._too_long.size > MAX_SKIPPED:
            raise Endless

    def _end(self) -> bytes | TooLong:
        line = self._too_long or bytes(self._line)
        self._too_long = None
        self._line.clear()
        return line
