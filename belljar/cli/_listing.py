"""Asks servers for their tools, all at once; one that fails does not keep the others from being heard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio

from belljar.cli import _ending, _setup
from belljar.config import Config
from belljar.errors import EXIT, Code, UpstreamError
from belljar.rpc.servers import ServerSpec
from belljar.rpc.world import ToolInfo, World

__all__ = ["Listed", "list_tools"]


@dataclass(slots=True)
class Listed:
    """What each server said: its tools by name, or why there are none."""

    tools: dict[str, Mapping[str, ToolInfo]] = field(default_factory=dict[str, Mapping[str, ToolInfo]])
    failed: dict[str, UpstreamError] = field(default_factory=dict[str, UpstreamError])

    def complain(self) -> int:
        """A line for each that failed; the exit status."""
        for error in self.failed.values():
            _ending.complain(error.code, error.message)
        return EXIT[Code.UPSTREAM_UNAVAILABLE] if self.failed else 0


def list_tools(config: Config, specs: Mapping[str, ServerSpec]) -> Listed:
    """The tools of these servers, in their order."""
    return anyio.run(_list, config, specs)


async def _list(config: Config, specs: Mapping[str, ServerSpec]) -> Listed:
    listed = Listed()
    async with _setup.upstreams(config, specs) as world, anyio.create_task_group() as tasks:
        for name in specs:
            tasks.start_soon(_ask, world, name, listed)
    return Listed({name: listed.tools[name] for name in specs if name in listed.tools}, listed.failed)


async def _ask(world: World, name: str, listed: Listed) -> None:
    try:
        listed.tools[name] = await world.tools(name)
    except UpstreamError as exc:
        listed.failed[name] = exc
