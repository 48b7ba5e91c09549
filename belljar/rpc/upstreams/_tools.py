"""From a server's tools list to `ToolInfo`s: each tool judged alone, so that a bad one costs itself and no other.

A tool whose schema breaks a rule, or whose name is there twice, stays in the list with the reason why it cannot be
called. All judging together has a time budget: a hostile list can hold ten thousand schemas that are each just
allowed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, cast

from belljar.limits import KIB
from belljar.rpc import jsontext, schemas
from belljar.rpc.world import ToolInfo

__all__ = ["tool_infos"]

_MAX_NAME = 256
_MAX_DESCRIPTION = 64 * KIB
# The start-up deadline is 15 s. Ten thousand ordinary tools take two.
_SECONDS = 5.0


def tool_infos(server: str, listed: Iterable[Any]) -> dict[str, ToolInfo]:
    """The tools by name. What has no usable name cannot be called by anyone and is left out. Takes at most ~5 s."""
    found: dict[str, ToolInfo] = {}
    twice: set[str] = set()
    deadline = time.monotonic() + _SECONDS
    for entry in listed:
        name = cast("dict[str, Any]", entry).get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
            continue
        if name in found:
            twice.add(name)
        elif time.monotonic() > deadline:
            found[name] = ToolInfo(server, name, unavailable="this server's schemas take too long to check")
        else:
            found[name] = _tool(server, name, cast("dict[str, Any]", entry))
    return found | {name: ToolInfo(server, name, unavailable="the server lists this name twice") for name in twice}


def _tool(server: str, name: str, entry: Mapping[str, Any]) -> ToolInfo:
    description: Any = entry.get("description") or ""
    annotations: Any = entry.get("annotations") or {}
    try:
        digest = schemas.tool_digest(entry)
    except jsontext.JsonError as exc:
        return ToolInfo(server, name, unavailable=f"its entry is refused: {exc}")
    reason = _refusal(name, entry)
    if not isinstance(description, str) or not isinstance(annotations, dict):
        reason = "its description or annotations have a wrong type"
    if reason:
        return ToolInfo(server, name, digest=digest, unavailable=reason)
    return ToolInfo(
        server=server,
        name=name,
        description=description[:_MAX_DESCRIPTION],
        input_schema=entry["inputSchema"],
        output_schema=entry.get("outputSchema"),
        annotations=cast("dict[str, Any]", annotations),
        digest=digest,
    )


def _refusal(name: str, entry: Mapping[str, Any]) -> str:
    if not name.isprintable():
        return "its name holds characters that cannot be seen"
    if reason := schemas.refusal(entry.get("inputSchema")):
        return f"its input schema is refused: {reason}"
    if entry.get("outputSchema") is not None and (reason := schemas.refusal(entry["outputSchema"])):
        return f"its output schema is refused: {reason}"
    return ""
