"""A session and its calls, as they are kept. Values only; every text of a tool in them is foreign and raw."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from belljar.faker.calls import Operation, Risk, Source, Tool
from belljar.rpc import jsontext
from belljar.rpc.world import JsonValue

__all__ = ["Event", "ServedTool", "Session", "Status", "key_of", "text_of"]

Status = Literal["running", "completed", "failed"]


@dataclass(frozen=True, slots=True)
class ServedTool:
    """A tool, and the server it is of: a session under a run may have several."""

    server: str
    tool: Tool


@dataclass(frozen=True, slots=True)
class Session:
    """A series of calls that were made through one faker."""

    id: str
    created_at_ns: int
    instruction: str = ""
    safety_mode: bool = True
    command: Sequence[str] = ()
    """The target's, without values of its environment."""
    status: Status = "running"
    error: str = ""
    """Why it failed; ours."""
    ended_at_ns: int | None = None
    origin: str = "belljar"
    """Who recorded it: `belljar`, or the format it was imported from."""
    redacted: bool = False
    calls: int = 0
    writes: int = 0
    errors: int = 0
    lost: int = 0
    """Calls that were made and could not be written down."""
    last_at_ns: int | None = None
    """When the last of its calls was answered."""

    @property
    def duration_ns(self) -> int:
        """Until its end; of one that has none, until its last call."""
        return max(0, (self.ended_at_ns or self.last_at_ns or self.created_at_ns) - self.created_at_ns)


@dataclass(frozen=True, slots=True)
class Event:
    """One call of a session and its answer."""

    sequence: int
    """1, 2, 3 ... in the order in which the answers came."""
    server: str
    tool: str
    arguments: Mapping[str, JsonValue]
    response: Mapping[str, JsonValue]
    """The wire form of the result; empty where the answer is an error of JSON-RPC."""
    started_at_ns: int
    operation: Operation = "write"
    risk: Risk = "low"
    reason: str = ""
    source: Source = "real"
    detail: str | None = None
    error: Mapping[str, JsonValue] | None = None
    is_error: bool = False
    real_used: bool = False
    intercepted: bool = False
    synthesized: bool = False
    ai: bool = False
    elapsed_ms: float = 0.0
    """From the session's beginning to the call's."""
    latency_ms: float = 0.0
    real_ms: float | None = None
    ai_ms: float | None = None
    schema_digest: str = ""
    trace_id: str | None = None
    span_id: str | None = None
    key: str = field(default="", compare=False)
    """What it is matched by (`key_of`); filled by the store."""


# Raw texts of tools may hold lone surrogates, which no UTF-8 has: all of it is kept as ASCII.
_ENCODE = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def text_of(value: JsonValue) -> str:
    """JSON text in ASCII, whatever strings hold.

    Raises:
        ValueError, TypeError, RecursionError: no JSON.
    """
    return _ENCODE(value)


def key_of(tool: str, arguments: Mapping[str, Any]) -> str:
    """What equal calls share: a hash over method, name and arguments in canonical form, `_meta` never among them."""
    value = ["tools/call", tool, dict(arguments)]
    try:
        text = jsontext.canonical(value)
    except jsontext.JsonError:
        # A lone surrogate has no canonical form; its escape has.
        text = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(text).hexdigest()
