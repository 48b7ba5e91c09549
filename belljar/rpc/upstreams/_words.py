"""What a server says on stderr: drained without end, logged within bounds, its last lines kept to be quoted.

A server whose stderr nobody reads stands still when the pipe is full. One that floods it must neither fill a log nor
keep the event loop busy, so lines are cut, escaped, counted past a number, and the reading itself is slowed down. What
this process loaded as a secret is masked: servers like to print their configuration when they fail.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

import anyio

from belljar import show
from belljar.limits import MIB

__all__ = ["Words"]

_LINE_CHARS = 1000
_LOGGED_LINES = 1000
_KEPT_LINES = 8
_KEPT_CHARS = 300
# 64 KiB a read and a pause after each MiB: a flood is drained at no more than some 50 MB/s and the loop stays free.
_PAUSE_EVERY = 1 * MIB
_PAUSE_S = 0.02


class Words:
    """The stderr of one run of one server."""

    def __init__(self, server: str, secrets: Iterable[str]) -> None:
        self._logger = logging.getLogger(f"belljar.upstream.{show.name(server)}")
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._last: deque[str] = deque(maxlen=_KEPT_LINES)
        self._lines = 0

    async def drain(self, receive: Callable[[], Awaitable[bytes]]) -> None:
        """Read until the stream ends."""
        rest, taken = b"", 0
        while chunk := await receive():
            *lines, rest = (rest + chunk).split(b"\n")
            self._skip(lines)
            for line in lines:
                self._take(line)
            rest = rest[: 4 * _LINE_CHARS]
            taken += len(chunk)
            if taken >= _PAUSE_EVERY:
                taken = 0
                await anyio.sleep(_PAUSE_S)
        if rest:
            self._take(rest)

    def quoted(self, reason: str) -> str:
        """The reason, followed by the last lines if there are any."""
        return f"{reason}; it last said: {' | '.join(self._last)}" if self._last else reason

    def _skip(self, lines: list[bytes]) -> None:
        """Past what is logged, only what may be quoted is looked at."""
        if self._lines > _LOGGED_LINES and len(lines) > _KEPT_LINES:
            self._lines += len(lines) - _KEPT_LINES
            del lines[:-_KEPT_LINES]

    def _take(self, line: bytes) -> None:
        text = self.masked(line[: 4 * _LINE_CHARS].decode(errors="replace").strip())
        if not text:
            return
        self._lines += 1
        self._last.append(show.text(text, max_chars=_KEPT_CHARS))
        if self._lines <= _LOGGED_LINES:
            self._logger.debug("%s", show.text(text, max_chars=_LINE_CHARS))
        elif self._lines == _LOGGED_LINES + 1:
            self._logger.debug("more than %d lines; the rest is not logged", _LOGGED_LINES)

    def masked(self, text: str) -> str:
        """The text without the secrets this server was given."""
        for secret in self._secrets:
            text = text.replace(secret, "[REDACTED]")
        return text
