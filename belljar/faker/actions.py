"""What the pump decides, for its shell to carry out: values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from belljar.faker.calls import Tool
from belljar.rpc.world import JsonValue

__all__ = [
    "Action",
    "Answered",
    "Cancelled",
    "GiveUp",
    "Listed",
    "Note",
    "Refused",
    "Serve",
    "ToClient",
    "ToTarget",
    "Watched",
]


@dataclass(frozen=True, slots=True)
class ToTarget:
    """Send this line to the server."""

    line: bytes


@dataclass(frozen=True, slots=True)
class ToClient:
    """Send this line to the client."""

    line: bytes


@dataclass(frozen=True, slots=True)
class Serve:
    """Answer this call; `finish` with its serial."""

    serial: int
    tool: Tool
    args: Mapping[str, JsonValue]
    meta: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Answered:
    """The server answered what was asked under this serial: `result` or `error` of it."""

    serial: int
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The client does not wait for this call any more."""

    serial: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A call that was answered with an error, before anybody was asked."""

    tool: Tool
    args: Mapping[str, JsonValue]
    meta: Mapping[str, JsonValue]
    error: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Watched:
    """Pass-through mode: a call and its answer have gone by."""

    tool: Tool
    args: Mapping[str, JsonValue]
    meta: Mapping[str, JsonValue]
    body: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of tools has been seen whole."""

    tools: Mapping[str, Tool]


@dataclass(frozen=True, slots=True)
class Note:
    """Something for the log. Fit to be shown."""

    text: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The server is of no use; the reason, for a sentence that begins with "the server"."""

    reason: str


Action = ToTarget | ToClient | Serve | Answered | Cancelled | Refused | Watched | Listed | Note | GiveUp
