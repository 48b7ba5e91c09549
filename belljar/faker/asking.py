"""A client of our own, which asks a server for its tools and goes: for `--debug`, when nobody else is there yet."""

from __future__ import annotations

from typing import Any, cast

import anyio

from belljar._version import __version__
from belljar.faker import _messages as messages

__all__ = ["Asker"]

_VERSION = "2025-11-25"


class Asker:
    """A `Client` of the proxy."""

    def __init__(self) -> None:
        self._to_proxy, self._said = anyio.create_memory_object_stream[bytes](16)
        client = {"name": "belljar", "version": __version__}
        params: dict[str, Any] = {"protocolVersion": _VERSION, "capabilities": {}, "clientInfo": client}
        self._to_proxy.send_nowait(messages.request_line(0, "initialize", params))
        self._asked = 0

    async def receive(self) -> bytes | None:
        """The next thing to say."""
        try:
            return await self._said.receive()
        except anyio.EndOfStream:
            return None

    async def send(self, line: bytes) -> None:
        """Go on with what the server answered."""
        message = messages.from_target(line)
        if message.method is not None or message.body.get("id") != self._asked:
            return
        result: Any = message.body.get("result")
        cursor = cast("dict[str, Any]", result).get("nextCursor") if isinstance(result, dict) else None
        if not isinstance(result, dict) or (self._asked and not cursor):
            self._to_proxy.close()
            return
        if not self._asked:
            self._to_proxy.send_nowait(messages.notification_line("notifications/initialized", {}))
        self._asked += 1
        params = {"cursor": cursor} if cursor else {}
        self._to_proxy.send_nowait(messages.request_line(self._asked, "tools/list", params))

    def gone(self) -> bool:
        """It stays until it has its answer."""
        return False
