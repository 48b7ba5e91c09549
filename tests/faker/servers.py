"""Real MCP servers as the faker sees them: their tools, and a way to call one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client, MCPError, StdioServerParameters

from belljar.faker.calls import Call, RealError, Reply, Tool
from belljar.faker.world import FakeWorld

__all__ = ["Faked", "Server", "digest_of"]

_DEADLINE_S = 30


class Server(AbstractContextManager["Server"]):
    """A server that runs for the length of the block, called from outside of any event loop."""

    def __init__(self, command: Sequence[str], name: str, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._parameters = StdioServerParameters(
            command=command[0], args=list(command[1:]), env=None if env is None else {**os.environ, **env}
        )
        self._stack = ExitStack()
        self.portal: BlockingPortal
        self.tools: dict[str, Tool] = {}
        self.asked: list[str] = []
        self._client: Client

    def __enter__(self) -> Server:
        self.portal = self._stack.enter_context(start_blocking_portal())
        self._client = self._stack.enter_context(self.portal.wrap_async_context_manager(Client(self._parameters)))
        listed = self.portal.call(self._client.list_tools)
        entries = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in listed.tools]
        self.tools = {entry["name"]: Tool(entry["name"], entry) for entry in entries}
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stack.__exit__(*exc)

    async def answer(self, tool: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """The wire form of the result."""
        self.asked.append(tool)
        try:
            with anyio.fail_after(_DEADLINE_S):
                result = await self._client.call_tool(tool, dict(args))
        except MCPError as exc:
            raise RealError(exc.error.code, exc.error.message, exc.error.data) from None
        wire = result.model_dump(mode="json", by_alias=True, exclude_none=True)
        if not result.is_error:
            wire.pop("isError", None)
        return {key: wire[key] for key in ("content", "structuredContent", "isError") if key in wire}

    def call(self, tool: str, /, **args: Any) -> dict[str, Any]:
        """Call it for real."""
        return self.portal.call(self.answer, tool, args)


class Faked:
    """A world before a server."""

    def __init__(self, world: FakeWorld, server: Server, *, offline: bool = False) -> None:
        self.world = world
        self.server = server
        self._offline = offline

    def __call__(self, tool: str, /, **args: Any) -> Reply:
        return self.server.portal.call(self._call, tool, args)

    async def _call(self, tool: str, args: dict[str, Any]) -> Reply:
        server = self.server
        ask = None if self._offline else server.answer
        call = Call(server.name, server.tools[tool], args, tools=server.tools, ask=ask)
        return await self.world.call(call, None if self._offline else lambda: server.answer(tool, args))


def digest_of(folder: Path) -> str:
    """Names, kinds, modes, times and bytes of everything in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        stat = path.lstat()
        digest.update(repr((str(path.relative_to(folder)), stat.st_mode, stat.st_mtime_ns, stat.st_size)).encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()
