"""The seam between the bridge and whatever answers a call: real servers, a fake, a recording.

A `World` is asked for the tools a server has (policy needs names, schemas and annotations before a call) and then for
the call itself. It knows nothing of grants, ledgers or boxes. Two rules hold for every implementation: it has a
deadline of its own for everything it waits for, and cancelling the task that awaits `call` cancels the call upstream.

What a world may know of the call it answers stands in `CALLER` while it answers. It is a context variable and no shared
stack, because calls of many runs are answered at once: a run that a tool starts finds its own parent there, and a
connection finds the `traceparent` to send along.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["CALLER", "Answer", "Caller", "Hop", "JsonValue", "Source", "ToolInfo", "World"]

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
    also: tuple[str, ...] = ()
    """Other names of the same tool, if it has any: who denies one of them denies it."""

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


@dataclass(slots=True)
class Hop:
    """How a call travelled, as far as its world can tell. Written by the world, read when the run is over.

    Nothing of what was said is in here; what a span may hold beside the trace.
    """

    transport: str = ""
    """`pipe` or `tcp`; empty if nothing was sent."""
    address: str = ""
    """Host name of an endpoint, as configured."""
    port: int = 0
    protocol_version: str = ""
    """Of MCP, as negotiated."""
    request_id: str = ""
    """Of the JSON-RPC request."""
    error_code: int | None = None
    """Of the JSON-RPC error the request was answered with."""
    tool_error: bool = False
    """The tool answered, and said that it failed."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose call is being answered."""

    run_id: str
    call_id: int
    traceparent: str | None = None
    """W3C Trace Context of this call, if the run is part of an OpenTelemetry trace."""
    hop: Hop | None = None
    """Where the world notes how it asked; None if nobody wants to know."""


CALLER: ContextVar[Caller | None] = ContextVar("belljar_caller", default=None)
"""Set while a world answers a call, in the task that does; None outside of one."""


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
