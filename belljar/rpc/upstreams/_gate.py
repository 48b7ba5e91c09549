"""The gate every message of a server passes before the client library sees it.

The library trusts a server with more than we do: it validates schemas in a backtracking engine, starts a task for each
notification, and asks the user's program back (sampling, roots, elicitation). So the gate lets through what answers a
request of ours, and only within its limit; a `ping` it answers itself; other requests it refuses, since none of those
capabilities was offered; notifications it drops, except that a changed tools list is remembered. A tools list is taken
out here, raw, for our own reading, and the library gets an empty one. What nobody asked for is counted, and too much
of it between two answers means that the server floods us.

One gate serves one connection, over stdio or HTTP. Transports call it; it does no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

import anyio
from mcp_types import (
    INTERNAL_ERROR,
    METHOD_NOT_FOUND,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

from belljar.limits import MIB, Limits
from belljar.rpc import jsontext
from belljar.rpc.upstreams._lines import ENDS, TooLong

__all__ = ["FloodError", "Gate", "error_for"]

_LIST = "tools/list"
# A chatty server sends a few log lines a call. These are the bounds between two answers.
_UNASKED_MESSAGES = 10_000
_UNASKED_BYTES = 32 * MIB
_GARBAGE_LINES = 1000
# Schemas may be 64 levels deep and are judged one by one, by name; this only keeps the parser itself from harm.
_MESSAGE_DEPTH = 400

_HEADER = frozenset({"type", "x-mcp-header"})

# How every implementation we know begins (Python, Go, Rust) or ends (TypeScript) an answer. At these two places a
# key can only be the message's own: what a string holds has its quotes escaped, and the last brace closes the message.
_ID_AT_HEAD = re.compile(rb'\s*\{\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*([0-9]{1,15})\s*,')
_ID_AT_TAIL = re.compile(rb'"id"\s*:\s*([0-9]{1,15})\s*\}\s*\Z')


class FloodError(Exception):
    """The server sends what nobody asked for, and too much of it. The message says what."""


class Gate:
    """What is awaited from one connection, and how it ended.

    Attributes:
        over: set once the connection is of no further use; `reason` then says why.
        page: the last tools list as it came.
        stale: whether the tools list has changed, as far as the server says.
        reply: how to send a message back; set by the transport.
    """

    def __init__(self, limits: Limits) -> None:
        self.over = anyio.Event()
        self.reason = ""
        self.page: dict[str, Any] = {}
        self.stale = False
        self.reply: Callable[[JSONRPCMessage], None] = lambda _message: None
        self._limits = limits
        self._awaited: dict[RequestId, str] = {}
        self._listed = 0
        self._unasked = [0, 0]
        self._garbage = 0
        self._closed = False

    def close(self) -> None:
        """We end it ourselves: what happens from now on is no failure."""
        self._closed = True

    def fail(self, reason: str) -> None:
        """The connection is over, and not because we ended it; the first reason stays."""
        if not self._closed and not self.over.is_set():
            self.reason = reason
            self.over.set()

    # what we send

    def sent(self, message: JSONRPCMessage) -> None:
        """Note what is awaited from now on."""
        if isinstance(message, JSONRPCRequest):
            self._awaited[message.id] = message.method
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._awaited.pop((message.params or {}).get("requestId", ""), None)

    def method(self, request: RequestId) -> str:
        """What is awaited under this id; empty if nothing is."""
        return self._awaited.get(request, "")

    def begin_list(self) -> None:
        """A new reading of the tools list: its bytes are counted from zero."""
        self._listed = 0
        self.stale = False

    # how large an answer may be

    def limit(self) -> int:
        """Bytes the next message may have, whatever it answers."""
        listing = _LIST in self._awaited.values()
        return max(self._limits.answer, self._list_room()) if listing else self._limits.answer

    def room(self, request: RequestId) -> int:
        """Bytes the answer to this request may have."""
        return self._list_room() if self._awaited.get(request) == _LIST else self._limits.answer

    def count(self, request: RequestId, size: int) -> None:
        """So many bytes of the answer have come."""
        if self._awaited.get(request) == _LIST:
            self._listed += size

    def over_limit(self, request: RequestId) -> str:
        """What to say of an answer that is too large."""
        name = "tools_list" if self._awaited.get(request) == _LIST else "answer"
        return f"answered with more than {getattr(self._limits, name)} bytes (limit {name})"

    def _list_room(self) -> int:
        return max(0, self._limits.tools_list - self._listed)

    # what they send

    def line(self, line: bytes | TooLong) -> JSONRPCMessage | None:
        """One line of a stdio server: the message to hand on, or None.

        Raises:
            FloodError: too much of what is no message, or of what nobody asked for.
        """
        if isinstance(line, TooLong):
            return self._too_long(line)
        try:
            value = jsontext.parse(line, max_bytes=len(line), max_depth=_MESSAGE_DEPTH)
            message = jsonrpc_message_adapter.validate_python(value, by_name=False)
        except jsontext.JsonError as exc:
            return self._no_message(line, str(exc))
        except ValidationError:
            return self._no_message(line, "no JSON-RPC")
        return self.message(message, len(line))

    def message(self, message: JSONRPCMessage, size: int) -> JSONRPCMessage | None:
        """One message of any server: what to hand on of it, or None.

        Raises:
            FloodError: too much of what nobody asked for.
        """
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            return self._answer(message, size)
        self._count_unasked(size)
        if isinstance(message, JSONRPCRequest):
            self.reply(_reply(message))
        elif message.method == "notifications/tools/list_changed":
            self.stale = True
        return None

    def _answer(self, message: JSONRPCResponse | JSONRPCError, size: int) -> JSONRPCMessage | None:
        request = self._key(message.id)
        if request is None:
            self._count_unasked(size)
            return None
        if size > self.room(request):
            return self.refuse(request, self.over_limit(request))
        self.count(request, size)
        self._unasked = [0, 0]
        if self._awaited.pop(request) == _LIST and isinstance(message, JSONRPCResponse):
            self.page = message.result
            return JSONRPCResponse(jsonrpc="2.0", id=request, result=_without_tools(message.result))
        return message

    def refuse(self, request: RequestId, reason: str) -> JSONRPCError:
        """An error in place of an answer."""
        self._awaited.pop(request, None)
        return error_for(request, reason)

    def _key(self, request: RequestId | None) -> RequestId | None:
        """The id as we gave it; some servers return a number as text."""
        if isinstance(request, str) and request.isascii() and request.isdigit() and len(request) < 16:
            request = int(request)
        return request if request in self._awaited else None

    def _too_long(self, line: TooLong) -> JSONRPCMessage | None:
        request = self._whose(line.head, line.tail)
        if request is None and len(self._awaited) == 1:
            request = next(iter(self._awaited))
        if request is None:
            raise FloodError(f"sent a line of {line.size} bytes that cannot be told to be anyone's answer")
        return self.refuse(request, self.over_limit(request))

    def _whose(self, head: bytes, tail: bytes) -> RequestId | None:
        found = _ID_AT_HEAD.match(head) or _ID_AT_TAIL.search(tail)
        return self._key(int(found[1])) if found else None

    def _no_message(self, line: bytes, why: str) -> JSONRPCMessage | None:
        request = self._whose(line[:ENDS], line[-ENDS:])
        if request is not None:
            return self.refuse(request, f"answered with what is refused: {why}")
        self._garbage += 1
        if self._garbage > _GARBAGE_LINES:
            raise FloodError(f"wrote more than {_GARBAGE_LINES} lines to stdout that are no messages")
        return None

    def _count_unasked(self, size: int) -> None:
        self._unasked[0] += 1
        self._unasked[1] += size
        if self._unasked[0] > _UNASKED_MESSAGES or self._unasked[1] > _UNASKED_BYTES:
            raise FloodError("sends a flood of messages that nobody asked for")


def error_for(request: RequestId, reason: str) -> JSONRPCError:
    """An answer that says why there is none."""
    return JSONRPCError(jsonrpc="2.0", id=request, error=ErrorData(code=INTERNAL_ERROR, message=reason))


def _reply(request: JSONRPCRequest) -> JSONRPCMessage:
    if request.method == "ping":
        return JSONRPCResponse(jsonrpc="2.0", id=request.id, result={})
    error = ErrorData(code=METHOD_NOT_FOUND, message="this client offers no sampling, roots or elicitation")
    return JSONRPCError(jsonrpc="2.0", id=request.id, error=error)


def _without_tools(result: dict[str, Any]) -> dict[str, Any]:
    """A tools list for the library: what it needs to mirror arguments into headers, as protocol 2026-07-28 asks."""
    tools = result.get("tools")
    if not isinstance(tools, list):
        return result
    kept = [slim for tool in cast("list[Any]", tools) if (slim := _with_headers(tool)) is not None]
    return {**result, "tools": kept}


def _with_headers(tool: Any) -> dict[str, Any] | None:
    """The tool's name and those of its top-level properties that name a header; None if there is none."""
    try:
        properties = cast("dict[str, Any]", tool["inputSchema"]["properties"]).items()
        slim = {name: {key: each[key] for key in _HEADER} for name, each in properties if set(each) >= _HEADER}
        return {"name": tool["name"], "inputSchema": {"type": "object", "properties": slim}} if slim else None
    except (KeyError, TypeError, AttributeError):
        return None
