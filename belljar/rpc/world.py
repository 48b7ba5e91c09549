"""The seam between the bridge and whatever answers a call: real servers, a fake, a recording.

A `World` is asked for the tools a server has (policy needs names, schemas and annotations before a call) and then for
the call itself. It knows nothing of grants, ledgers or boxes. Two rules hold for every implementation: it has a
deadline of its own for everything it waits for, and cancelling the task that awaits `call` cancels the call upstream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Answer", "JsonValue", "Source", "ToolInfo", "World"]

JsonValue = Any
"""None, bool, int, float, str, list or dict of the same; never mutated after it was parsed."""

Source = str
"""Who answered: `real`, `fake` or `replay`."""


@dataclass(frozen=True, slots=True)
class ToolInfo:
    """One tool of an upstream, as far as policy, ledger and stubs need it. All of it is the server's word."""

    server: str
    name: str
    description: str = ""
    input_schema: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    output_schema: Mapping[str, JsonValue] | None = None
    annotations: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    """MCP tool annotations by their wire names: `readOnlyHint`, `openWorldHint`, `destructiveHint` ..."""
    digest: str = ""
    """SHA-256 over name, schemas and annotations in canonical form: a tool that changed asks again."""
    unavailable: str = ""
    """Why this tool cannot be called (its schema breaks a rule), or empty."""

    @property
    def read_only(self) -> bool:
        return self.annotations.get("readOnlyHint") is True

    @property
    def open_world(self) -> bool:
        """True unless the server says it is not: the protocol's default."""
        return self.annotations.get("openWorldHint") is not False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call yielded: a plain JSON value and who gave it."""

    value: JsonValue
    source: Source = "real"
    detail: str | None = None


class World(Protocol):
    """Answers calls. `name` is what the trace and the ledger show: `real`, `fake`, `dry`, `session:ID`, `replay`."""

    @property
    def name(self) -> str: ...

    def servers(self) -> tuple[str, ...]:
        """Names that may stand in `mcp.<server>`; asks nobody."""
        ...

    async def tools(self, server: str) -> Mapping[str, ToolInfo]:
        """The tools of one server by name; starts the server if need be.

        Raises:
            UpstreamError: UPSTREAM_UNAVAILABLE, if it cannot be started or its list breaks a limit.
        """
        ...

    async def call(self, tool: ToolInfo, args: Mapping[str, JsonValue]) -> Answer:
        """Make the call.

        Raises:
            UpstreamError: RPC_ERROR, RPC_TIMEOUT, UNKNOWN_TOOL or UPSTREAM_UNAVAILABLE.
        """
        ...
