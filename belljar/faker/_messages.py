"""JSON-RPC messages out of lines, and the few that are ours into lines.

The two directions are read by two rules. What a client says is read so strictly that nobody behind us can read it in
another way: a message of which we see a harmless `ping`, and a server a `tools/call`, would be a write that reached it.
So: no key twice, no key that a reader without regard to case would take for one of the protocol's, no carriage return
inside (some readers end a line there), no batch. What a server says cannot harm it, and is passed on as it is; it is
read only for whose answer it is, as leniently as Python reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from belljar.rpc import jsontext
from belljar.rpc.upstreams.programs import TooLong
from belljar.rpc.world import JsonValue

__all__ = [
    "INTERNAL_ERROR",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "Message",
    "NoMessageError",
    "RefusedError",
    "error_line",
    "from_client",
    "from_target",
    "id_of",
    "key_of",
    "notification_line",
    "request_line",
    "result_line",
    "traced",
]

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

# Schemas may nest deeply; this only keeps parsers from harm.
_DEPTH = 400
_CONTAINERS = 1 << 20
_KEYS = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_PARAMS_KEYS = frozenset({"name", "arguments", "_meta", "task", "requestId", "cursor", "uri"})
# Of a line too long to be read: its id where servers write it, at the head or at the end.
_ID = rb'"id"\s*:\s*(-?[0-9]{1,18}|"[^"\\]{1,200}")'
_AT_HEAD = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?' + _ID)
_AT_TAIL = re.compile(_ID + rb"\s*\}\s*\Z")

_decode = json.JSONDecoder().decode


class RefusedError(Exception):
    """A client's message that is not passed on; answered with an error if it has an id."""

    def __init__(self, code: int, reason: str, request: JsonValue = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.request = request


class NoMessageError(Exception):
    """A line of a server that is no JSON-RPC."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: the line it came in, and what is in it."""

    line: bytes
    body: Mapping[str, Any]

    @property
    def method(self) -> str | None:
        """Of a request or notification; None for an answer."""
        method = self.body.get("method")
        return method if isinstance(method, str) else None

    @property
    def params(self) -> Mapping[str, Any]:
        params = self.body.get("params")
        return cast("Mapping[str, Any]", params) if isinstance(params, dict) else {}

    @property
    def meta(self) -> Mapping[str, Any]:
        meta = self.params.get("_meta")
        return cast("Mapping[str, Any]", meta) if isinstance(meta, dict) else {}

    @property
    def has_id(self) -> bool:
        return "id" in self.body

    @property
    def key(self) -> str:
        """The id as text, so that 1 and "1" are two; empty for what can be no id."""
        return key_of(self.body.get("id"))


def key_of(request: JsonValue) -> str:
    """An id as text that tells 1 from "1"; empty for what can be no id."""
    if isinstance(request, str):
        return f'"{request}'
    return str(request) if isinstance(request, int) and not isinstance(request, bool) else ""


def from_client(line: bytes) -> Message:
    """What a client says, if nobody could read it otherwise.

    Raises:
        RefusedError: it is not passed on.
    """
    line = line.strip(b" \t\r")
    if b"\r" in line:
        # Legal between the tokens of JSON only, where a blank means the same.
        line = line.replace(b"\r", b" ")
    try:
        value = jsontext.parse(line, max_bytes=len(line), max_depth=_DEPTH, max_containers=_CONTAINERS)
    except jsontext.JsonError as exc:
        raise RefusedError(PARSE_ERROR, f"no JSON that can be passed on: {exc}") from None
    if not isinstance(value, dict):
        what = "batches are not passed on; send one message a line" if isinstance(value, list) else "not an object"
        raise RefusedError(INVALID_REQUEST, what)
    body = cast("dict[str, JsonValue]", value)
    _check(body)
    return Message(line, body)


def _check(body: Mapping[str, Any]) -> None:
    request = body.get("id")
    params = body.get("params")
    _check_keys(body, _KEYS, request)
    if isinstance(params, dict):
        _check_keys(cast("dict[str, Any]", params), _PARAMS_KEYS, request)
    if "method" in body:
        if not isinstance(body["method"], str):
            raise RefusedError(INVALID_REQUEST, "the method must be text", request)
        if "id" in body and not key_of(request):
            raise RefusedError(INVALID_REQUEST, "the id must be text or an integer")


def _check_keys(table: Mapping[str, Any], known: frozenset[str], request: JsonValue) -> None:
    for key in table:
        if key not in known and (not key.islower() or not key.isascii()):
            folded = key.casefold()
            if any(folded == each.casefold() for each in known):
                raise RefusedError(INVALID_REQUEST, f"a key that could be taken for {folded!r}", request)


def from_target(line: bytes) -> Message:
    """What a server says.

    Raises:
        NoMessageError: it is no JSON-RPC.
    """
    try:
        value: Any = _decode(line.decode())
    except (ValueError, RecursionError):
        raise NoMessageError from None
    if not isinstance(value, dict):
        raise NoMessageError
    body = cast("dict[str, Any]", value)
    if not isinstance(body.get("method"), str) and not ("id" in body and ("result" in body or "error" in body)):
        raise NoMessageError
    return Message(line, body)


def id_of(line: TooLong) -> str:
    """The key of a message that was too long to be kept, as far as its ends tell; empty if they do not."""
    found = _AT_HEAD.match(line.head) or _AT_TAIL.search(line.tail)
    return key_of(json.loads(found[1])) if found else ""


def request_line(request: JsonValue, method: str, params: Mapping[str, JsonValue]) -> bytes:
    """A request of ours."""
    return _line({"jsonrpc": "2.0", "id": request, "method": method, "params": dict(params)})


def notification_line(method: str, params: Mapping[str, JsonValue]) -> bytes:
    """A notification of ours."""
    return _line({"jsonrpc": "2.0", "method": method, "params": dict(params)})


def result_line(request: JsonValue, result: Mapping[str, JsonValue]) -> bytes:
    """An answer of ours.

    Raises:
        JsonError: the result cannot be written as JSON.
    """
    return jsontext.dump({"jsonrpc": "2.0", "id": request, "result": dict(result)}).encode()


def error_line(request: JsonValue, error: Mapping[str, JsonValue]) -> bytes:
    """An error as the answer."""
    return _line({"jsonrpc": "2.0", "id": request, "error": dict(error)})


def traced(message: Message, traceparent: str) -> bytes:
    """The same request, made under another span."""
    meta = {**message.meta, "traceparent": traceparent}
    return _line({**message.body, "params": {**message.params, "_meta": meta}})


def _line(message: Mapping[str, JsonValue]) -> bytes:
    """ASCII, so that whatever stands in it can be written."""
    return json.dumps(message, separators=(",", ":")).encode()
