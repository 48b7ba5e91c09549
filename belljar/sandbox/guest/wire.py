"""Calls on their way out and answers on their way in: the one place that touches `Host.step`.

Calls queue here until the loop has nothing else to do, so that twenty gathered calls cross the border together.
Futures are kept here and not in a loop, because a capability may run several loops one after the other
(`asyncio.run` twice) while ids go on counting.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from .seam import Host

__all__ = ["ToolError", "Wire"]

# The host allows 4 MiB by default and a frame holds 16: what is larger could not even be refused by the host.
_MAX_ARGS_CHARS = 15 << 20
# Of arguments, in one crossing: what waits to cross is copied three times on its way.
_MAX_CROSSING_CHARS = 4 << 20
_NO_LIMIT = -1
_MAX_NAME_CHARS = 1024
_MAX_DEPTH = 64
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode
_decode = json.JSONDecoder().decode


class ToolError(Exception):
    """A call failed. `code` says how (RPC_ERROR, RPC_TIMEOUT, UNKNOWN_TOOL, PERMISSION_DENIED, UPSTREAM_UNAVAILABLE);
    `message` is for people; `data` is what the tool said beside it, if anything."""

    # A given name, so shown like one in tracebacks.
    __module__ = "builtins"

    def __init__(self, code: str, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def _arguments(server: str, tool: str, args: dict[str, Any]) -> str:
    """The arguments as the host will take them: what it would call a violation is the capability's error here."""
    try:
        text = _encode(args)
        for part in (text, server, tool):
            if not part.isascii():
                part.encode()
        if _is_deep(text):
            raise ValueError(f"nested more than {_MAX_DEPTH} deep")
    except (TypeError, ValueError, RecursionError) as exc:
        kind = TypeError if isinstance(exc, TypeError) else ValueError
        raise kind(f"arguments of {server!a}.{tool!a} are not JSON: {exc}") from None
    if len(text) > _MAX_ARGS_CHARS or len(server) > _MAX_NAME_CHARS or len(tool) > _MAX_NAME_CHARS:
        raise ToolError("RPC_ERROR", f"a call of {len(text)} characters: more than the border lets through")
    return text


def _is_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= _MAX_DEPTH:
        return False
    depth = 0
    for bracket in re.findall(r"[\[{\]}]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > _MAX_DEPTH:
            return True
    return False


class Wire:
    """Open calls of one run."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._count = 0
        self._outgoing: list[tuple[int, str, str, str, int]] = []
        self._open: dict[int, asyncio.Future[Any]] = {}

    def call(self, server: str, tool: str, args: dict[str, Any], line: int) -> asyncio.Future[Any]:
        """Queue one call for the next step.

        Raises:
            TypeError, ValueError: the arguments are not JSON; names the tool.
        """
        text = _arguments(server, tool, args)
        self._count += 1
        future = asyncio.get_running_loop().create_future()
        self._open[self._count] = future
        self._outgoing.append((self._count, server, tool, text, line))
        return future

    @property
    def waiting(self) -> bool:
        return bool(self._open)

    def wake(self) -> None:
        """Called from another thread: a step that waits shall return."""
        self._host.wake()

    def step(self, timeout_s: float | None) -> None:
        """Send what is queued; wait at most `timeout_s` seconds (None: for ever) for answers; settle their futures."""
        calls = self._crossing()
        while self._outgoing:
            self._settle(self._host.step(calls, 0))
            calls = self._crossing()
        # Rounded up: a timer that woke early would spin until it is due.
        self._settle(self._host.step(calls, _NO_LIMIT if timeout_s is None else -int(-timeout_s * 1000 // 1)))

    def _crossing(self) -> str:
        """The next of the queued calls, as many as may cross together."""
        if not self._outgoing:
            return "[]"
        count = size = 0
        while count < len(self._outgoing) and (
            not count or size + len(self._outgoing[count][3]) <= _MAX_CROSSING_CHARS
        ):
            size += len(self._outgoing[count][3])
            count += 1
        calls, self._outgoing = self._outgoing[:count], self._outgoing[count:]
        return _encode(calls)

    def _settle(self, answers: str) -> None:
        for call, ok, text in _decode(answers):
            future = self._open.pop(call, None)
            if future is None or future.done():
                continue
            if ok:
                future.set_result(_decode(text))
            else:
                future.set_exception(ToolError(**_decode(text)))
