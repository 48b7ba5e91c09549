"""The real world: calls reach the servers of an `mcp.json`.

Owns every connection and every task that serves one. Nothing is started before it is asked for, and nothing of it is
left after the `async with`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread

from belljar.errors import Code, UpstreamError
from belljar.limits import Limits
from belljar.rpc import jsontext, schemas
from belljar.rpc.servers import ServerSpec
from belljar.rpc.upstreams._upstream import Upstream
from belljar.rpc.world import Answer, JsonValue, ToolInfo

if TYPE_CHECKING:
    from mcp_types import CallToolResult

    from belljar.rpc.upstreams._connection import Connection

__all__ = ["IDLE_S", "RealWorld"]

T = TypeVar("T")
U = TypeVar("U")

IDLE_S = 60.0
# A list this old is asked for again before a run's calls are judged by it.
_LIST_AGE_S = 60.0
# An honest call needs a few dozen; what needs more is checked in a thread, at most about a second.
_QUICK_STEPS = 5_000


class RealWorld:
    """Answers calls by real servers. `async with RealWorld(specs) as world:`; enter and leave it in one task."""

    def __init__(self, specs: Iterable[ServerSpec], *, limits: Limits | None = None, idle_s: float = IDLE_S) -> None:
        """`limits`: call, call_args, answer, tools_list and tools count. `idle_s`: an unused server ends after that."""
        self._specs = {spec.name: spec for spec in specs}
        self._limits = limits if limits is not None else Limits()
        self._idle_s = idle_s
        self._tasks = AsyncExitStack()
        self._upstreams: dict[str, Upstream] = {}

    @property
    def name(self) -> str:
        return "real"

    async def __aenter__(self) -> RealWorld:
        tasks = await self._tasks.enter_async_context(anyio.create_task_group())
        for name, spec in self._specs.items():
            self._upstreams[name] = Upstream(spec, self._limits, tasks, idle_s=self._idle_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        for upstream in self._upstreams.values():
            upstream.stop()
        if exc is not None and not isinstance(exc, Exception):
            return await self._tasks.__aexit__(kind, exc, trace)
        # The tasks end by themselves; what was raised inside goes on as it is, not wrapped into a group.
        return await self._tasks.__aexit__(None, None, None)

    def servers(self) -> tuple[str, ...]:
        """Names that may stand in `mcp.<server>`."""
        return tuple(self._specs)

    def warm(self, servers: Iterable[str] | None = None) -> None:
        """Start these servers (default: all) in the background, all at once. Unknown names are passed over."""
        for name in self._upstreams if servers is None else servers:
            if (upstream := self._upstreams.get(name)) is not None:
                upstream.warm()

    async def tools(self, server: str) -> Mapping[str, ToolInfo]:
        """The tools of one server by name; starts the server if need be.

        Raises:
            UpstreamError: UPSTREAM_UNAVAILABLE, if it cannot be started or its list breaks a limit; UNKNOWN_TOOL, no
                such server.
        """
        async with self._upstream(server).lease() as connection:
            return await connection.tools(max_age_s=_LIST_AGE_S)

    async def call(self, tool: ToolInfo, args: Mapping[str, JsonValue]) -> Answer:
        """Make the call; cancelling this cancels it upstream. The tool must still be the one that was asked about.

        Raises:
            UpstreamError: RPC_ERROR (the tool failed, changed, cannot be used, or the arguments do not fit its schema:
                the message names the place), RPC_TIMEOUT, UNKNOWN_TOOL, UPSTREAM_UNAVAILABLE.
        """
        return await self._make(tool, args, lambda connection: connection.call(tool.name, args), Answer)

    async def result(self, tool: ToolInfo, args: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """The call's result in its wire form, with `isError` where the tool itself failed.

        Raises:
            UpstreamError: as `call` does, except for what the tool says.
        """
        return await self._make(tool, args, lambda connection: connection.result(tool.name, args), _wire)

    async def _make(
        self,
        tool: ToolInfo,
        args: Mapping[str, JsonValue],
        call: Callable[[Connection], Awaitable[T]],
        then: Callable[[T], U],
    ) -> U:
        upstream = self._upstream(tool.server)
        await self._check(tool, args)
        async with upstream.lease() as connection:
            self._same(tool, (await connection.tools()).get(tool.name))
            with anyio.move_on_after(self._limits.call):
                return then(await call(connection))
        raise _failed(tool, f"gave no answer within {self._limits.call:g} s", Code.RPC_TIMEOUT)

    def _upstream(self, server: str) -> Upstream:
        if (upstream := self._upstreams.get(server)) is None:
            raise UpstreamError(f"no server is called {server!r}", server=server, code=Code.UNKNOWN_TOOL)
        return upstream

    async def _check(self, tool: ToolInfo, args: Mapping[str, JsonValue]) -> None:
        if tool.unavailable:
            raise _failed(tool, f"cannot be used: {tool.unavailable}")
        try:
            size = jsontext.size(jsontext.dump(dict(args)))
        except jsontext.JsonError as exc:
            raise _failed(tool, f"cannot be called: its arguments are no JSON ({exc})") from None
        if size > self._limits.call_args:
            raise _failed(tool, f"cannot be called: {size} bytes of arguments (limit call_args)")
        try:
            wrong = await _validate(tool, dict(args))
        except schemas.TooCostlyError as exc:
            raise _failed(tool, f"cannot be called: its schema is too costly to check ({exc})") from None
        if wrong:
            raise _failed(tool, f"cannot be called with these arguments: {'; '.join(wrong[:5])}")

    def _same(self, tool: ToolInfo, now: ToolInfo | None) -> None:
        if now is None:
            raise _failed(tool, "is not in its server's list any more", Code.UNKNOWN_TOOL)
        if now.digest != tool.digest or now.unavailable:
            raise _failed(tool, "has changed since it was listed; run again to see what it is now")


def _wire(result: CallToolResult) -> dict[str, JsonValue]:
    wire = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    if not result.is_error:
        wire.pop("isError", None)
    return wire


async def _validate(tool: ToolInfo, args: dict[str, JsonValue]) -> list[str]:
    try:
        return schemas.validate(tool.input_schema, args, steps=_QUICK_STEPS)
    except schemas.TooCostlyError:
        return await anyio.to_thread.run_sync(schemas.validate, tool.input_schema, args)


def _failed(tool: ToolInfo, what: str, code: Code = Code.RPC_ERROR) -> UpstreamError:
    return UpstreamError(f"{tool.server}:{tool.name} {what}", server=tool.server, code=code)
