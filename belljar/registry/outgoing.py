"""What of a code may not leave this machine, by line: published code passes the one way out, like everything that does.

A trace is masked and sent; code must not be, because a changed code is another code, and a capability that fails far
away is worse than one that was never published. So whatever the way out would mask is a reason to refuse, and the
author is told the lines - never the text, which would put it on a screen and into a log.

A long text is cut on the way out, which would look like a find; so the code is shown to it in pieces: each line by
itself, and then what stands around it, for a secret that spans lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from belljar.tracing.outbound import Outbound

__all__ = ["Find", "finds"]

# Under what is cut: 10 KiB. A window overlaps the next by half, and a private key has 3 KB.
_WINDOW_BYTES = 9 * 1024
_PIECE_CHARS = 2048


@dataclass(frozen=True, slots=True)
class Find:
    """Lines that hold something that would be masked; from 1, both included."""

    first: int
    last: int
    kinds: tuple[str, ...]

    def __str__(self) -> str:
        lines = f"line {self.first}" if self.first == self.last else f"lines {self.first}-{self.last}"
        return f"{lines} ({', '.join(self.kinds)})"


def finds(code: str, outbound: Outbound) -> list[Find]:
    """Everything in a code that the way out would not let pass, in the order of its lines."""
    lines = code.split("\n")
    found: list[Find] = []
    for place, line in enumerate(lines):
        kinds = tuple(sorted({kind for piece in _pieces(line) for kind in _kinds(piece, outbound)}))
        if kinds:
            found.append(Find(place + 1, place + 1, kinds))
        if kinds or len(line) > _PIECE_CHARS:
            lines[place] = ""  # looked at; what is left are finds that span lines
    for first, last in _windows(lines):
        found += _spanning(lines, first, last, outbound)
    return sorted(found, key=lambda find: find.first)


def _kinds(text: str, outbound: Outbound) -> list[str]:
    """What would be masked in it; a change that nobody counted is one, too."""
    before = Counter(outbound.masked)
    if outbound.text(text) == text:
        return []
    return sorted(Counter(outbound.masked) - before) or ["SECRET"]


def _pieces(line: str) -> Iterator[str]:
    for start in range(0, max(len(line) - _PIECE_CHARS // 2, 1), _PIECE_CHARS // 2):
        yield line[start : start + _PIECE_CHARS]


def _windows(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Runs of lines, as (first, end), each overlapping the one before by about half."""
    sizes = [len(line.encode()) + 1 for line in lines]
    start = end = 0
    size = 0
    while end < len(lines):
        while end < len(lines) and size + sizes[end] <= _WINDOW_BYTES:
            size += sizes[end]
            end += 1
        yield start, end
        while start < end and (size > _WINDOW_BYTES // 2 or (end < len(lines) and size + sizes[end] > _WINDOW_BYTES)):
            size -= sizes[start]
            start += 1


def _spanning(lines: list[str], first: int, end: int, outbound: Outbound) -> Iterator[Find]:
    """Finds in these lines taken together. Each is blanked when it is found, so this ends."""
    while True:
        text = "\n".join(lines[first:end])
        kinds = _kinds(text, outbound)
        if not kinds:
            return
        masked = outbound.text(text)
        same = _alike(text, masked)
        same_end = _alike(text[same:][::-1], masked[same:][::-1])
        begin = first + text.count("\n", 0, same)
        last = first + text.count("\n", 0, max(len(text) - same_end - 1, same))
        yield Find(begin + 1, last + 1, tuple(kinds))
        lines[begin : last + 1] = [""] * (last + 1 - begin)


def _alike(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
