"""Results of `tools/call` in their wire form: made, read, and rewritten in the form the server itself uses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from belljar.limits import MIB
from belljar.rpc import jsontext
from belljar.rpc.world import JsonValue

__all__ = ["Answer", "error", "of_value", "only_text", "parsed", "said", "text", "with_value"]

Answer = dict[str, JsonValue]
_MAX: Final = 16 * MIB


def text(said: str, *, structured: JsonValue = None, is_error: bool = False) -> Answer:
    """One block of text, and structured content if there is any."""
    result: Answer = {"content": [{"type": "text", "text": said}]}
    if structured is not None:
        result["structuredContent"] = structured
    if is_error:
        result["isError"] = True
    return result


def error(said: str) -> Answer:
    """A tool that failed, and says why."""
    return text(said, is_error=True)


def of_value(value: JsonValue, *, structured: bool, indent: int | None = 2) -> Answer:
    """A value as servers give it: its JSON as text, and as structured content where an output schema promises it."""
    wrapped = cast("JsonValue", value if isinstance(value, dict) or not structured else {"result": value})
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=indent)
    return text(said, structured=wrapped if structured else None)


def only_text(result: Mapping[str, JsonValue]) -> str | None:
    """The text of a result that is one block of text."""
    content = result.get("content")
    blocks = cast("list[Any]", content) if isinstance(content, list) else []
    if len(blocks) != 1 or not isinstance(blocks[0], dict):
        return None
    block = cast("dict[str, JsonValue]", blocks[0])
    said = block.get("text")
    return said if block.get("type") == "text" and isinstance(said, str) else None


def said(result: Mapping[str, JsonValue]) -> str:
    """All its text."""
    content = result.get("content")
    blocks = cast("list[Any]", content) if isinstance(content, list) else []
    texts = [cast("dict[str, Any]", block).get("text") for block in blocks if isinstance(block, dict)]
    return "\n".join(each for each in texts if isinstance(each, str))


def parsed(result: Mapping[str, JsonValue]) -> JsonValue:
    """What a result holds as a value: its structured content, or the JSON of its text; None if it is neither."""
    structured = result.get("structuredContent")
    if structured is not None:
        return structured
    written = only_text(result)
    if written is None or written.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return jsontext.parse(written, max_bytes=_MAX)
    except jsontext.JsonError:
        return None


def with_value(result: Mapping[str, JsonValue], value: JsonValue) -> Answer:
    """The result with another value where `parsed` found one; text that held its JSON holds the new one."""
    changed: Answer = dict(result)
    structured = result.get("structuredContent")
    if structured is not None:
        changed["structuredContent"] = value
    written = only_text(result)
    if written is not None and (shown := _rewritten(written, structured, value)) is not None:
        changed["content"] = [{**cast("list[dict[str, JsonValue]]", result["content"])[0], "text": shown}]
    return changed


def _rewritten(written: str, structured: JsonValue, value: JsonValue) -> str | None:
    if isinstance(structured, dict) and isinstance(value, dict):
        # The text is often one field of what is structured: {"content": "..."} or {"result": "..."}.
        fields, now = cast("dict[str, JsonValue]", structured), cast("dict[str, JsonValue]", value)
        for name, field in fields.items():
            if field == written and isinstance(now.get(name), str):
                return now[name]
    if written.lstrip()[:1] not in ("{", "["):
        return None
    indent = 2 if "\n  " in written else None
    if isinstance(structured, dict) and structured.keys() == {"result"} and isinstance(value, dict):
        value = cast("dict[str, JsonValue]", value).get("result")
    return json.dumps(value, ensure_ascii=False, indent=indent)
