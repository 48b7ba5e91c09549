"""`mcp`: names become calls. `mcp.git.git_log(...)`, or by item where a name is no identifier:
`mcp["my-server"]["do-it"](...)`.

Looking a name up has no effect and asks nobody; only awaiting a call does something. The host decides whether server
and tool exist and may be called.
"""

from __future__ import annotations

import inspect
from typing import Any

from .seam import CAPABILITY_FILE
from .wire import ToolError, Wire

__all__ = ["Mcp"]


def _attribute(name: str) -> str:
    # Protocols probe for dunders (copy, pickle, await): those are never servers or tools.
    if name.startswith("__"):
        raise AttributeError(name)
    return name


def _item(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"names of servers and tools are strings, not {type(name).__name__}")
    return name


def _calling_line() -> int:
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_filename == CAPABILITY_FILE:
            return frame.f_lineno or 0
        frame = frame.f_back
    return 0


class Tool:
    """One tool; call it with arguments by name and await the answer."""

    __slots__ = ("_name", "_server", "_wire")

    def __init__(self, wire: Wire, server: str, name: str) -> None:
        self._wire = wire
        self._server = server
        self._name = name

    def __call__(self, *positional: Any, **args: Any) -> Any:
        if positional:
            raise TypeError(f"{self._server}.{self._name}() takes arguments by name: {self._name}(name=value)")
        return self._answer(args, _calling_line())

    async def _answer(self, args: dict[str, Any], line: int) -> Any:
        return await self._wire.call(self._server, self._name, args, line)

    def __repr__(self) -> str:
        return f"<tool {self._server}.{self._name}: call it with arguments by name and await it>"


class Server:
    """One server; its attributes and items are tools."""

    __slots__ = ("_name", "_wire")

    def __init__(self, wire: Wire, name: str) -> None:
        self._wire = wire
        self._name = name

    def __getattr__(self, name: str) -> Tool:
        return Tool(self._wire, self._name, _attribute(name))

    def __getitem__(self, name: str) -> Tool:
        return Tool(self._wire, self._name, _item(name))

    def __repr__(self) -> str:
        return f"<server {self._name}: its attributes are tools>"


class Mcp:
    """All servers. `mcp.ToolError` is the error a failed call raises."""

    __slots__ = ("_wire",)
    ToolError = ToolError

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def __getattr__(self, name: str) -> Server:
        return Server(self._wire, _attribute(name))

    def __getitem__(self, name: str) -> Server:
        return Server(self._wire, _item(name))

    def __repr__(self) -> str:
        return "<mcp: its attributes are servers>"
