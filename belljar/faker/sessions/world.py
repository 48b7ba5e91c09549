"""A session as the world behind a run: its calls answered again, and no server started.

The seam is the bridge's (`rpc/world.py`), so a capability is granted and recorded as ever; its answers say `replay`.
Whoever asks for what was not recorded gets an error of that call, not of the run. The names of servers are the
session's; where it knows one server alone and the caller's configuration as well, the caller's name means that one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from belljar import show
from belljar.errors import Code, UpstreamError
from belljar.faker.sessions.document import Recorded
from belljar.faker.sessions.replayer import MissError, Replayer
from belljar.limits import Limits
from belljar.rpc.upstreams.values import value_of_result
from belljar.rpc.world import Answer, JsonValue, ToolInfo

__all__ = ["SessionWorld"]

_SOURCE = "replay"
_MAX_MESSAGE = 4000


class SessionWorld:
    """Answers a run's calls from a session. A `World`."""

    def __init__(
        self, recorded: Recorded, *, configured: Sequence[str] = (), strict: bool = False, limits: Limits | None = None
    ) -> None:
        """`configured` are the names in the caller's mcp.json."""
        session, events, tools = recorded
        self._id = session.id
        self._limits = limits if limits is not None else Limits()
        self._replayer = Replayer(events, strict=strict)
        listed = dict[str, list[Mapping[str, JsonValue]]]()
        for event in events:
            listed.setdefault(event.server, [])
        for each in tools:
            listed.setdefault(each.server, []).append(each.tool.listed)
        self._recorded_as = dict(zip(listed, listed, strict=True))
        if len(listed) == 1 and len(configured) == 1:
            self._recorded_as = {configured[0]: next(iter(listed))}
        self._listed = listed
        self._tools = dict[str, Mapping[str, ToolInfo]]()

    @property
    def name(self) -> str:
        return f"session:{self._id}"

    def servers(self) -> tuple[str, ...]:
        """The session's servers."""
        return tuple(self._recorded_as)

    async def tools(self, server: str) -> Mapping[str, ToolInfo]:
        """What the server listed then.

        Raises:
            UpstreamError: UNKNOWN_TOOL, the session knows no such server.
        """
        found = self._tools.get(server)
        if found is None:
            from belljar.rpc.upstreams._tools import tool_infos

            found = self._tools[server] = tool_infos(server, self._listed[self._server(server)])
        return found

    async def call(self, tool: ToolInfo, args: Mapping[str, JsonValue]) -> Answer:
        """The recorded answer.

        Raises:
            UpstreamError: RPC_ERROR, it was one then, or the call was not recorded.
        """
        try:
            event = self._replayer.answer(self._server(tool.server), tool.name, args)
        except MissError as exc:
            source = _SOURCE, "not-recorded"
            raise UpstreamError(f"{self.name}: {exc}", server=tool.server, source=source) from None
        source = _SOURCE, f"{self.name}#{event.sequence}"
        if event.error is not None:
            said = str(event.error.get("message", ""))[:_MAX_MESSAGE] or "no reason given"
            raise UpstreamError(said, server=tool.server, data=event.error.get("data"), source=source)
        try:
            value = value_of_result(tool.server, tool.name, event.response, self._limits)
        except UpstreamError as exc:
            exc.source = source
            raise
        return Answer(value, *source)

    def _server(self, name: str) -> str:
        try:
            return self._recorded_as[name]
        except KeyError:
            raise UpstreamError(
                f"the session knows no server {show.name(name)}", server=name, code=Code.UNKNOWN_TOOL
            ) from None
