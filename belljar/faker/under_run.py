"""The fake world behind the bridge of a run: `--world dry` reads what is real, `--world fake` not even that.

The bridge knows it as any other world, so grants, ledger and trace are what they always are; policy and trust judge
the real servers' own lists of tools, which is all that is ever asked of them in a fake run. Each answer says where it
came from: `real`, or `fake` and how, so that a trace can tell how much of it happened.

What a server says of its tools is believed as far as the policy believes it: of a server the user trusts, for tools as
they were pinned. Without that, "only reads" is a stranger's word, and would lead a write past the fake world.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, Protocol

from belljar.errors import Code, UpstreamError
from belljar.faker.calls import Ask, Call, RealError, Reply, Tool
from belljar.faker.world import FakeWorld
from belljar.limits import Limits
from belljar.rpc.policy import Trust
from belljar.rpc.upstreams.values import value_of_result
from belljar.rpc.world import Answer, JsonValue, ToolInfo, World

__all__ = ["FakedRun", "Servers"]

_TIMED_OUT: Final = -32001
_GONE: Final = -32000


class Servers(World, Protocol):
    """Real servers, or whatever stands for them."""

    async def result(self, tool: ToolInfo, args: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """A call's result in its wire form.

        Raises:
            UpstreamError: the call itself failed.
        """
        ...


class FakedRun:
    """A `World`. `name` is `dry` where reads reach the servers, `fake` where only their lists of tools do."""

    def __init__(
        self, servers: Servers, world: FakeWorld, limits: Limits, trust: Trust, *, name: Literal["fake", "dry"]
    ) -> None:
        self._servers = servers
        self._world = world
        self._limits = limits
        self._trust = trust
        self._name = name
        self._tools: dict[str, tuple[Mapping[str, ToolInfo], dict[str, Tool]]] = {}

    @property
    def name(self) -> str:
        return self._name

    def servers(self) -> tuple[str, ...]:
        """The servers of the run's mcp.json."""
        return self._servers.servers()

    async def tools(self, server: str) -> Mapping[str, ToolInfo]:
        """What the real server lists.

        Raises:
            UpstreamError: as the real world does.
        """
        return await self._servers.tools(server)

    async def call(self, tool: ToolInfo, args: Mapping[str, JsonValue]) -> Answer:
        """The answer of the fake world, or through it of the server.

        Raises:
            UpstreamError: the tool failed, for real or not; `source` says which.
        """
        if tool.unavailable:
            raise UpstreamError(f"{tool.server}:{tool.name} cannot be used: {tool.unavailable}", server=tool.server)
        infos = await self._servers.tools(tool.server)
        tools = self._listed(tool.server, infos)
        failed: list[UpstreamError] = []

        async def real() -> dict[str, JsonValue]:
            return await self._asked(tool, args, failed)

        is_dry = self._name == "dry"
        ask = self._ask(infos) if is_dry else None
        call = Call(tool.server, tools.get(tool.name) or _tool(tool, believed=False), args, tools=tools, ask=ask)
        reply = await self._world.call(call, real if is_dry else None)
        return self._answer(tool, reply, failed)

    def _ask(self, infos: Mapping[str, ToolInfo]) -> Ask:
        async def ask(tool: str, args: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
            if tool not in infos:
                raise RealError(-32601, f"there is no tool {tool}")
            return await self._asked(infos[tool], args, [])

        return ask

    async def _asked(
        self, tool: ToolInfo, args: Mapping[str, JsonValue], failed: list[UpstreamError]
    ) -> dict[str, JsonValue]:
        try:
            return await self._servers.result(tool, args)
        except UpstreamError as exc:
            failed.append(exc)
            code = _TIMED_OUT if exc.code is Code.RPC_TIMEOUT else _GONE
            raise RealError(code, exc.message, exc.data) from None

    def _answer(self, tool: ToolInfo, reply: Reply, failed: list[UpstreamError]) -> Answer:
        source, detail = _source(reply)
        if reply.error is not None:
            if failed and source == "real":
                raise failed[-1]
            code = Code.RPC_TIMEOUT if reply.error.get("code") == _TIMED_OUT else Code.RPC_ERROR
            message = str(reply.error.get("message") or "no reason given")
            data = reply.error.get("data")
            raise UpstreamError(message, server=tool.server, code=code, data=data, source=(source, detail))
        try:
            value = value_of_result(tool.server, tool.name, reply.result, self._limits)
        except UpstreamError as exc:
            exc.source = source, detail
            raise
        return Answer(value, source, detail)

    def _listed(self, server: str, infos: Mapping[str, ToolInfo]) -> dict[str, Tool]:
        """The tools as the fake world knows them; the same objects until the list changes."""
        known = self._tools.get(server)
        if known is None or known[0] is not infos:
            there = [info for info in infos.values() if not info.unavailable]
            known = infos, {info.name: _tool(info, believed=self._believed(info)) for info in there}
            self._tools[server] = known
        return known[1]

    def _believed(self, info: ToolInfo) -> bool:
        pin = self._trust.pinned(info.server, info.name)
        return pin is not None and pin == info.digest and self._trust.trusted(info.server)


def _source(reply: Reply) -> tuple[str, str]:
    """Who answered, and how: what the target said is real, all else is not."""
    how = reply.source if reply.detail is None else f"{reply.source}:{reply.detail.replace(' ', '-')}"
    return "real" if reply.source == "real" else "fake", how


def _tool(info: ToolInfo, *, believed: bool) -> Tool:
    annotations = dict(info.annotations)
    if info.read_only and not believed:
        del annotations["readOnlyHint"]  # what it says of its writes stays: a warning needs no trust
    listed: dict[str, JsonValue] = {
        "name": info.name,
        "description": info.description,
        "inputSchema": info.input_schema,
        "annotations": annotations,
    }
    if info.output_schema is not None:
        listed["outputSchema"] = info.output_schema
    return Tool(info.name, listed)
