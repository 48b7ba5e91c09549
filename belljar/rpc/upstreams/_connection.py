"""One live connection to one server: the library's client behind our gate.

Imported lazily and in a thread, because importing the client library takes longer than a whole run; nothing else on
the way to a box may import it. The session is asked for `tools/list` and for `tools/call` by plain requests: its own
`call_tool` would list the tools again by itself and hold the answer against the tool's output schema with a library
that runs untrusted patterns. Output schemas are not asserted at all: nothing here rests on an answer having a shape,
and what does not fit its schema is more use to a capability than an error.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import anyio
import anyio.to_thread
from mcp import Client, MCPError
from mcp.client.session import ClientSession
from mcp_types import (
    CONNECTION_CLOSED,
    METHOD_NOT_FOUND,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    InputRequiredResult,
    PaginatedRequestParams,
)
from pydantic import TypeAdapter, ValidationError

from belljar import show
from belljar._version import __version__
from belljar.errors import Code, UpstreamError
from belljar.limits import Limits
from belljar.rpc.servers import ServerSpec
from belljar.rpc.upstreams import _quiet, _telemetry
from belljar.rpc.upstreams._gate import Gate
from belljar.rpc.upstreams._http import http_transport
from belljar.rpc.upstreams._program import StartError
from belljar.rpc.upstreams._results import plain_value
from belljar.rpc.upstreams._stdio import stdio_transport
from belljar.rpc.upstreams._tools import tool_infos
from belljar.rpc.upstreams._words import Words
from belljar.rpc.world import JsonValue, ToolInfo

__all__ = ["Connection", "connect", "reason_of"]

# Ten thousand tools in pages of ten.
_MAX_PAGES = 1000
_LIST_S = 15.0
# How long the reason of an end may take to arrive after the end.
_REASON_S = 1.5
_RESULT: Final[TypeAdapter[CallToolResult | InputRequiredResult]] = TypeAdapter(CallToolResult | InputRequiredResult)

_quiet.install()
_telemetry.install()


@asynccontextmanager
async def connect(
    spec: ServerSpec, limits: Limits, words: Words, gate: Gate, *, mode: str
) -> AsyncGenerator[Connection]:
    """A connection with its tools listed. `mode` is the library's: `auto`, or `legacy` if a server chokes on that."""
    transport = stdio_transport(spec, gate, words) if spec.command else http_transport(spec, gate, limits)
    info = Implementation(name="belljar", version=__version__)
    with _quiet.quiet(), _telemetry.alone():
        async with Client(transport, mode=mode, cache=None, client_info=info) as client:
            connection = Connection(spec, limits, client.session, gate, words)
            await connection.list_tools()
            yield connection


class ListError(Exception):
    """A tools list that cannot be used; the message says why, for a sentence that begins with the server's name."""


class Connection:
    """Asks one server; any task may, at any time while it is open."""

    def __init__(self, spec: ServerSpec, limits: Limits, session: ClientSession, gate: Gate, words: Words) -> None:
        self._spec = spec
        self._limits = limits
        self._session = session
        self._gate = gate
        self._words = words
        self._way = _telemetry.Way(spec)
        self._listing = anyio.Lock()
        self._tools: Mapping[str, ToolInfo] = {}
        self._listed_at = 0.0

    async def tools(self, *, max_age_s: float = float("inf")) -> Mapping[str, ToolInfo]:
        """The tools by name, listed again if the server said they changed or the list is older than that.

        Raises:
            UpstreamError: UPSTREAM_UNAVAILABLE, the list breaks a limit or does not come.
        """
        if self._gate.stale or anyio.current_time() - self._listed_at > max_age_s:
            try:
                await self.list_tools()
            except ListError as exc:
                reason = self._words.quoted(f"it {self._gate.reason}") if self._gate.over.is_set() else str(exc)
                message = f"server {self._spec.name} is not available: {reason}"
                raise self._error(message, code=Code.UPSTREAM_UNAVAILABLE) from None
        return self._tools

    async def list_tools(self) -> None:
        """Ask for all pages.

        Raises:
            ListError: the list breaks a limit or does not come.
        """
        async with self._listing:
            try:
                with anyio.fail_after(_LIST_S), _quiet.quiet(), _telemetry.alone():
                    listed = await self._pages()
                    self._tools = await anyio.to_thread.run_sync(
                        tool_infos, self._spec.name, listed, abandon_on_cancel=True
                    )
            except TimeoutError:
                raise self._bad_list(f"did not come within {_LIST_S:g} s") from None
            except ValidationError:
                raise self._bad_list("is no valid MCP") from None
            except MCPError as exc:
                raise self._bad_list(f"was refused: {self._said(exc)}") from None
            self._listed_at = anyio.current_time()

    async def _pages(self) -> list[Any]:
        self._gate.begin_list()
        listed: list[Any] = []
        cursor, seen = None, set[str]()
        for _ in range(_MAX_PAGES):
            try:
                page = await self._session.list_tools(params=PaginatedRequestParams(cursor=cursor) if cursor else None)
            except MCPError as exc:
                if exc.code == METHOD_NOT_FOUND and not listed:
                    return []  # a server with no tools need not know the question
                raise
            listed += self._gate.page.get("tools", ())
            if len(listed) > self._limits.tools:
                raise self._bad_list(f"holds more than {self._limits.tools} tools (limit tools)")
            cursor = page.next_cursor
            if not cursor:
                return listed
            if cursor in seen:
                raise self._bad_list("comes back to a page it already gave")
            seen.add(cursor)
        raise self._bad_list(f"has more than {_MAX_PAGES} pages")

    async def call(self, tool: str, args: Mapping[str, JsonValue]) -> JsonValue:
        """Call a tool; cancelling this cancels the call upstream.

        Raises:
            UpstreamError: RPC_ERROR, UNKNOWN_TOOL.
        """
        return plain_value(self._spec.name, tool, await self.result(tool, args), self._limits)

    async def result(self, tool: str, args: Mapping[str, JsonValue]) -> CallToolResult:
        """What a tool says, an error of its own included.

        Raises:
            UpstreamError: RPC_ERROR, UNKNOWN_TOOL; the call itself failed.
        """
        meta = _telemetry.request_meta()
        request = CallToolRequest(params=CallToolRequestParams(name=tool, arguments=dict(args), _meta=meta))
        self._way.sent(self._session.protocol_version)
        try:
            with _quiet.quiet(), _telemetry.alone():
                result = await self._session.send_request(request, _RESULT)
        except MCPError as exc:
            raise await self._failed(tool, exc) from None
        except ValidationError:
            raise self._error(f"{self._spec.name}:{tool} answered with what is no valid MCP result") from None
        if isinstance(result, InputRequiredResult):
            raise self._error(f"{self._spec.name}:{tool} asks for input of a person or a model, which is not offered")
        if result.is_error:
            self._way.tool_failed()
        return result

    async def _failed(self, tool: str, exc: MCPError) -> UpstreamError:
        if exc.code == CONNECTION_CLOSED:
            with anyio.move_on_after(_REASON_S):
                await self._gate.over.wait()
        if self._gate.over.is_set():
            reason = self._words.quoted(f"it {self._gate.reason}")
            return self._error(f"server {self._spec.name} died while answering {tool}: {reason}")
        self._way.refused(exc.code)
        if exc.code == METHOD_NOT_FOUND:
            return self._error(f"server {self._spec.name} does not know {tool}", code=Code.UNKNOWN_TOOL)
        return self._error(self._said(exc) or "no reason given", data=exc.error.data)

    def _said(self, exc: MCPError) -> str:
        return exc.error.message[:4000]

    def _error(self, message: str, *, code: Code = Code.RPC_ERROR, data: object = None) -> UpstreamError:
        return UpstreamError(message, server=self._spec.name, code=code, data=data)

    def _bad_list(self, what: str) -> ListError:
        return ListError(f"its tools list {show.text(what, max_chars=500)}")


def reason_of(exc: BaseException) -> str:
    """Why a connection did not come to be, in one line, from whatever the library raised."""
    while isinstance(exc, BaseExceptionGroup):
        exc = cast("BaseExceptionGroup[BaseException]", exc).exceptions[0]
    if isinstance(exc, StartError | ListError):
        return str(exc)
    if isinstance(exc, MCPError):
        return show.text(exc.error.message, max_chars=300)
    if isinstance(exc, ValidationError):
        return "answered the handshake with what is no valid MCP"
    return f"the handshake failed ({type(exc).__name__})"
