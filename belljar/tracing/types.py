"""The wire types of a trace: what a client sends and a server stores.

One definition serves both sides. These are plain frozen dataclasses, because the client fills them after every run and
must not import a validation library for that (200 ms, more than the run). `to_wire` turns one into the JSON object that
travels; its keys are the field names in camelCase and are written down nowhere else. pydantic takes the same classes as
they are (`pydantic.TypeAdapter(Trace)`, or as the type of a request body): it then checks types strictly, knows the
keys and the older names in `_ALIASES`, and each class checks by itself what a type cannot say (a UUID, a finite number,
a date), on both sides. Keys nobody knows are ignored, so that an older server takes a newer client's trace.

Optional fields are absent from the wire when they are None. Decisions, call sites and the line of an error are what the
guest said; everything else is the host's word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from belljar import show
from belljar.errors import ValidationError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, TypeAdapter

__all__ = ["MAX_DECISIONS", "CallState", "Decision", "DecisionsState", "TaskResult", "Trace", "TraceMetadata", "decode"]

CallState = Literal["applied", "failed", "denied", "pending", "unknown"]
DecisionsState = Literal["guest-reported", "truncated", "unavailable", "off"]

MAX_DECISIONS = 1000
"""Decisions kept of one run."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHA256 = re.compile(r"(?:[0-9a-f]{64})?")
_OTEL_TRACE = re.compile(r"[0-9a-f]{32}")
_OTEL_SPAN = re.compile(r"[0-9a-f]{16}")
_NODE = re.compile(r"L[0-9]{1,7}")
_OUTCOME = re.compile(r"true|false|case:[0-9]{1,6}")
# What earlier clients called these fields.
_ALIASES = {"error_message": "error", "tool": "toolId"}


class _Wire:
    """Both directions of a dataclass: to a JSON object, and what pydantic needs to know to come back."""

    __slots__ = ()

    # Not typed as pydantic's ConfigDict, which would have to be imported; it is one.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"strict": True, "extra": "ignore"}

    def to_wire(self) -> dict[str, Any]:
        """The JSON object that travels."""
        keys, values, optional, nested = _form(type(self))
        wire = dict(zip(keys, values(self), strict=True))
        for key in optional:
            if wire[key] is None:
                del wire[key]
        for key in nested:
            wire[key] = _plain(wire[key])
        return wire

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> Any:
        schema = cast("dict[str, Any]", handler(source))
        # Strict means for a dataclass: an instance of it. Here it is meant for the fields alone.
        schema["strict"] = False
        for wire_field in schema["schema"]["fields"]:
            name = wire_field["name"]
            key = wire_field["serialization_alias"] = camel(name)
            wire_field["validation_alias"] = [[key], [_ALIASES[name]]] if name in _ALIASES else key
        return schema


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult(_Wire):
    """One call."""

    task_id: str
    """`t` and the call's number in the run."""
    tool: str
    """`server:tool`."""
    args: Any
    result: Any
    success: bool
    state: CallState
    duration_ms: float
    timestamp: str
    layer_index: int = 0
    """Calls in flight together share one."""
    call_site: int = 0
    """Line of the capability's code; 0 if unknown."""
    iteration: int = 1
    """This is the n-th call from that line."""
    source: str = "real"
    """Who answered: `real`, `fake` or `replay`."""
    source_detail: str | None = None
    is_write: bool = True
    is_capability_call: bool = False
    error_code: str | None = None
    grant: str | None = None
    """The rule that allowed it: `allow git:*`, `auto read: 0.93 >= 0.70 (41 of 43 ok)`, `approved once`."""

    def __post_init__(self) -> None:
        _need_duration(self.duration_ms)
        _need_time(self.timestamp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(_Wire):
    """Which way a branch of the capability's code went. Guest-reported."""

    node_id: str
    """`L` and a line."""
    outcome: str
    """`true`, `false` or `case:n`."""
    condition: str | None = None

    def __post_init__(self) -> None:
        if not self.known(self.node_id, self.outcome):
            raise ValueError("nodeId is L and a line, outcome true, false or case:n")

    @staticmethod
    def known(node_id: str, outcome: str) -> bool:
        """Whether this is something a branch can report, and not something else under its name."""
        return _NODE.fullmatch(node_id) is not None and _OUTCOME.fullmatch(outcome) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceMetadata(_Wire):
    """How the run was made, and what was done to the trace."""

    backend: str = ""
    walls: list[str] = field(default_factory=list[str])
    """The walls that held the box."""
    sdk_version: str = ""
    ledger_head: str = ""
    """Hash of the ledger's newest entry: pins the whole of it."""
    redactions: dict[str, int] = field(default_factory=dict[str, int])
    """How many values were masked, by kind."""
    truncated: dict[str, int] = field(default_factory=dict[str, int])
    """JSON pointer of each cut value -> its bytes before."""
    mocked_share: float = 0.0
    """Share of the calls that nothing real answered, 0 to 1."""
    decisions: DecisionsState = "guest-reported"
    error_line: int | None = None
    """Line of the capability's code at which it failed. Guest-reported."""
    otel_trace_id: str | None = None
    """OpenTelemetry trace the run's spans are in, 32 hex digits; absent if there are none."""
    otel_span_id: str | None = None
    """The run's own span, 16 hex digits."""

    def __post_init__(self) -> None:
        for form, found in ((_OTEL_TRACE, self.otel_trace_id), (_OTEL_SPAN, self.otel_span_id)):
            if found is not None and form.fullmatch(found) is None:
                raise ValueError("otelTraceId has 32 hex digits in lower case, otelSpanId 16")
        if not 0.0 <= self.mocked_share <= 1.0:
            raise ValueError("mockedShare is a number from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace(_Wire):
    """One run."""

    trace_id: str
    """UUIDv7, made by the host."""
    capability_id: str
    """FQDN."""
    capability_hash: str
    """SHA-256 of the source, hex."""
    success: bool
    duration_ms: float
    timestamp: str
    """When the run began; ISO 8601."""
    task_results: list[TaskResult] = field(default_factory=list[TaskResult])
    decisions: list[Decision] = field(default_factory=list[Decision])
    parent_trace_id: str | None = None
    workflow_id: str | None = None
    error_message: str | None = None
    error_code: str | None = None
    user_id: str | None = None
    """Whose key sent it. A client never sets it, a server never believes it."""
    intent: str | None = None
    metadata: TraceMetadata = field(default_factory=TraceMetadata)

    def __post_init__(self) -> None:
        for key, trace_id in (("traceId", self.trace_id), ("parentTraceId", self.parent_trace_id)):
            if trace_id is not None and _UUID.fullmatch(trace_id) is None:
                raise ValueError(f"{key} is a UUID in lower case")
        if _SHA256.fullmatch(self.capability_hash) is None:
            raise ValueError("capabilityHash is a SHA-256 in hex, or empty")
        _need_duration(self.duration_ms)
        _need_time(self.timestamp)


def decode(wire: Mapping[str, Any]) -> Trace:
    """The trace in a JSON object of foreign origin.

    Raises:
        ValidationError: naming the first field that is not what it must be; holds no part of the value.
    """
    import pydantic

    try:
        return _adapter().validate_python(wire)
    except pydantic.ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        place = show.text(".".join(map(str, first["loc"])), max_chars=100)
        what = first["msg"].removeprefix("Value error, ")
        raise ValidationError(f"not a trace: {place}: {what}" if place else f"not a trace: {what}") from None


@cache
def _adapter() -> TypeAdapter[Trace]:
    import pydantic

    return pydantic.TypeAdapter(Trace)


def camel(name: str) -> str:
    """A field's key on the wire: `task_id` -> `taskId`."""
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


_Form = tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]], tuple[str, ...], tuple[str, ...]]


@cache
def _form(kind: type[Any]) -> _Form:
    """(keys, what gives their values, keys left out when None, keys under which there are objects of ours)."""
    named = {f.name: camel(f.name) for f in fields(kind)}
    optional = tuple(named[f.name] for f in fields(kind) if f.default is None)
    nested = ("taskResults", "decisions", "metadata") if kind is Trace else ()
    return tuple(named.values()), attrgetter(*named), optional, nested


def _plain(value: _Wire | list[_Wire]) -> Any:
    return [item.to_wire() for item in value] if isinstance(value, list) else value.to_wire()


def _need_duration(value: float) -> None:
    if not 0.0 <= value < math.inf:
        raise ValueError("durationMs is a finite number of milliseconds, not negative")


def _need_time(value: str) -> None:
    try:
        placed = datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        placed = False
    if not placed:
        raise ValueError("timestamp is ISO 8601 with an offset")
