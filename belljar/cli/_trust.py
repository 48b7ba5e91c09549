"""Trust as one run needs it: the user's store and the `mcp.json`, by the names of the servers.

Tools are pinned on first use: the first list a server gives is remembered, and what changes afterwards asks again. That
happens where the list passes by, in a world around the world.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import anyio.to_thread

from belljar import show
from belljar.cli import _screen
from belljar.errors import ConfigError
from belljar.registry.trust import TrustStore
from belljar.rpc.servers import ServerSpec
from belljar.rpc.world import Answer, JsonValue, ToolInfo, World

__all__ = ["PinningWorld", "UserTrust"]

_log = logging.getLogger("belljar.cli")


class UserTrust:
    """A `Trust` for the servers of one file.

    Raises:
        ConfigError: the store cannot be used; found out here and not in the middle of a run.
    """

    def __init__(self, store: TrustStore, specs: Mapping[str, ServerSpec]) -> None:
        self._store = store
        self._specs = specs
        for spec in specs.values():
            store.trusted(spec)

    def trusted(self, server: str) -> bool:
        spec = self._specs.get(server)
        return spec is not None and (spec.trust == "annotations" or self._store.trusted(spec))

    def pinned(self, server: str, tool: str) -> str | None:
        spec = self._specs.get(server)
        return None if spec is None else self._store.pinned(spec, tool)

    def seen(self, server: str, tools: Mapping[str, ToolInfo]) -> None:
        """Pin a server's first list. Without a pin there is no trust, so failing here is safe."""
        spec = self._specs[server]
        try:
            # A server that was never pinned has no changed tools either; one that has is the person's to decide on.
            if not self._store.changed(spec, tools):
                self._store.pin(spec, tools)
        except (ConfigError, OSError) as exc:
            _log.warning("the tools of %s could not be pinned: %s", server, exc)

    def remember(self, tool: ToolInfo) -> None:
        """A person said "always". Told to the store as far as the store can say it: trust reaches read-only tools."""
        spec = self._specs.get(tool.server)  # none for a capability, whose code is pinned where it is kept
        try:
            if spec is not None:
                self._store.pin(spec, {tool.name: tool})
            if spec is not None and tool.read_only and not tool.open_world:
                self._store.trust(spec)
                return
        except (ConfigError, OSError) as exc:
            _screen.note(f"belljar: not remembered: {show.text(str(exc))}")
            return
        shown = f"{show.name(tool.server)}:{show.name(tool.name)}"
        _screen.note(
            f'belljar: allowed for this run; for every run, put allow = ["{shown}"] under [policy] in belljar.toml'
        )


class PinningWorld:
    """A world that shows each first list of tools to the trust."""

    def __init__(self, world: World, trust: UserTrust) -> None:
        self._world = world
        self._trust = trust

    @property
    def name(self) -> str:
        return self._world.name

    def servers(self) -> tuple[str, ...]:
        return self._world.servers()

    async def tools(self, server: str) -> Mapping[str, ToolInfo]:
        tools = await self._world.tools(server)
        await anyio.to_thread.run_sync(self._trust.seen, server, tools)  # it may wait for a lock
        return tools

    async def call(self, tool: ToolInfo, args: Mapping[str, JsonValue]) -> Answer:
        return await self._world.call(tool, args)
