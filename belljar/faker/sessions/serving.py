"""A session as an MCP server: the same tools with the same entries, and the recorded answers.

The library's server keeps the protocol - handshake, both eras, transports - and an ours stands before it for the two
requests that matter, `tools/list` and `tools/call`: what they answer was said by another server, and goes out as it was
said, where the library would drop what it does not know. In the era of 2026 a result says that it is complete and who
the server is; that alone is added, where it is missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from belljar._version import __version__
from belljar.faker.calls import Call, Reply, Tool
from belljar.faker.sessions.model import ServedTool, text_of
from belljar.faker.sessions.replayer import Replayer
from belljar.rpc.world import JsonValue

if TYPE_CHECKING:
    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
    from mcp.server.lowlevel import Server

__all__ = ["session_server"]


def session_server(tools: Sequence[ServedTool], replayer: Replayer, *, server: str, name: str) -> Server[Any]:
    """A server of the tools of one server of a session, which is called `name` now."""
    import mcp_types as types
    from mcp.server.lowlevel import Server

    async def list_tools(*_: Any) -> types.ListToolsResult:
        raise AssertionError("answered before")

    async def call_tool(*_: Any) -> types.CallToolResult:
        raise AssertionError("answered before")

    found: Server[Any] = Server(
        name,
        version=__version__,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        get_tool_input_schema=lambda _: None,
    )
    answers = _Answers([each.tool for each in tools if each.server == server], replayer, server, found)
    found.middleware = [answers]
    return found


class _Answers:
    """Stands before the library's own handlers."""

    def __init__(self, tools: Sequence[Tool], replayer: Replayer, server: str, mcp: Server[Any]) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._listed = [dict(tool.listed) for tool in tools if _can_be_sent(tool.listed)]
        self._replayer = replayer
        self._server = server
        self._mcp = mcp

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if ctx.method == "tools/list":
            return self._complete({"tools": self._listed}, ctx.protocol_version, lists=True)
        if ctx.method == "tools/call":
            result = await self._call(dict(ctx.params or {}))
            return self._complete(result, ctx.protocol_version)
        return await call_next(ctx)

    async def _call(self, params: dict[str, Any]) -> dict[str, Any]:
        from mcp.shared.exceptions import MCPError

        name, args = params.get("name"), params.get("arguments")
        if not isinstance(name, str) or not isinstance({} if args is None else args, dict):
            raise MCPError(-32602, "tools/call wants a name and arguments")
        tool = self._tools.get(name) or Tool(name, {"name": name})
        reply = await self._replayer.call(Call(self._server, tool, args or {}), None)
        if reply.error is not None:
            raise _error(reply)
        if not _can_be_sent(reply.result):
            raise MCPError(-32603, "the recorded answer holds text that no message can carry")
        return dict(reply.result)

    def _complete(self, result: dict[str, Any], version: str, *, lists: bool = False) -> dict[str, Any]:
        from mcp_types import SERVER_INFO_META_KEY
        from mcp_types.version import MODERN_PROTOCOL_VERSIONS

        if version not in MODERN_PROTOCOL_VERSIONS:
            return result
        own: dict[str, Any] = {"resultType": "complete", "_meta": {SERVER_INFO_META_KEY: self._mcp.server_info_stamp}}
        if lists:
            own |= {"ttlMs": 0, "cacheScope": "private"}
        return own | result


def _can_be_sent(value: Mapping[str, JsonValue]) -> bool:
    """Whether it can be written as UTF-8: what is kept may hold lone surrogates."""
    text = text_of(dict(value))
    if "\\ud" not in text:
        return True
    try:
        return bool(json.dumps(value, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        return False


def _error(reply: Reply) -> Exception:
    from mcp.shared.exceptions import MCPError

    error = reply.error or {}
    code = error.get("code")
    return MCPError(code if isinstance(code, int) else -32603, str(error.get("message", "")), error.get("data"))
