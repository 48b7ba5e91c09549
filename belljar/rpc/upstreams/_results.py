"""From what a tool returned to the plain value a capability gets, or the error it sees.

The value is the structured content if there is any (a sole `result` key unwrapped: that is how servers wrap what is no
object), else the JSON of a single text block, else that text, else the content blocks as they are. An error is an
error because `isError` says so, whatever words its text holds.
"""

from __future__ import annotations

from typing import cast

from mcp_types import CallToolResult, TextContent

from belljar.errors import UpstreamError
from belljar.limits import Limits
from belljar.rpc import jsontext
from belljar.rpc.world import JsonValue

__all__ = ["plain_value"]

_MESSAGE_CHARS = 4000


def plain_value(server: str, tool: str, result: CallToolResult, limits: Limits) -> JsonValue:
    """What the call yields.

    Raises:
        UpstreamError: RPC_ERROR, the tool failed (the message is its text, `data` all it said), or its answer is no
            JSON we take.
    """
    blocks = [block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in result.content]
    structured = result.structured_content if "structured_content" in result.model_fields_set else None
    value: JsonValue = blocks if structured is None else structured
    try:
        jsontext.dump(value)
    except jsontext.JsonError as exc:
        raise UpstreamError(f"{server}:{tool} answered with JSON that is refused: {exc}", server=server) from None
    if result.is_error:
        raise UpstreamError(_message(result), server=server, data=value)
    if structured is not None:
        return _unwrapped(structured)
    text = _only_text(result)
    return blocks if text is None else _from_text(text, limits)


def _unwrapped(structured: JsonValue) -> JsonValue:
    if not isinstance(structured, dict):
        return structured
    fields = cast("dict[str, JsonValue]", structured)
    return fields["result"] if fields.keys() == {"result"} else fields


def _only_text(result: CallToolResult) -> str | None:
    first = result.content[0] if len(result.content) == 1 else None
    return first.text if isinstance(first, TextContent) else None


def _from_text(text: str, limits: Limits) -> JsonValue:
    try:
        return jsontext.parse(text, max_bytes=limits.answer)
    except jsontext.JsonError:
        return text


def _message(result: CallToolResult) -> str:
    texts = [block.text for block in result.content if isinstance(block, TextContent)]
    return "\n".join(texts).strip()[:_MESSAGE_CHARS] or "the tool failed and gave no reason"
