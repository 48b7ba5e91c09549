"""One call as it passes through the faker: what was asked, what was decided, what was answered.

Values only. The proxy makes a `Call` out of a `tools/call` request, a `CallWorld` answers it with a `Reply`, and a
`Recorder` is told of both. The three know nothing else of each other, so that the same world stands behind the proxy
and behind the bridge of a run, and the same recorder writes down what either did.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol, cast

from belljar.rpc import jsontext
from belljar.rpc.world import JsonValue
from belljar.tracing.spans.ids import SpanRef
from belljar.tracing.spans.sampling import Sampling

__all__ = [
    "Ask",
    "Call",
    "CallEvent",
    "CallWorld",
    "Leg",
    "Operation",
    "Real",
    "RealError",
    "Recorder",
    "Reply",
    "Risk",
    "Source",
    "Tool",
    "Verdict",
    "Way",
]

Operation = Literal["read", "write"]
Risk = Literal["low", "medium", "high"]
Source = Literal["real", "overlay", "synthesized", "ai", "cache", "fault", "replay"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as its server lists it. Every text in it is foreign."""

    name: str
    listed: Mapping[str, JsonValue]
    """The entry of `tools/list`, whole, as it came."""

    @property
    def description(self) -> str:
        text = self.listed.get("description")
        return text if isinstance(text, str) else ""

    @property
    def input_schema(self) -> Mapping[str, JsonValue]:
        return _object(self.listed.get("inputSchema")) or {}

    @property
    def output_schema(self) -> Mapping[str, JsonValue] | None:
        return _object(self.listed.get("outputSchema"))

    @property
    def annotations(self) -> Mapping[str, JsonValue]:
        return _object(self.listed.get("annotations")) or {}

    @property
    def digest(self) -> str:
        """SHA-256 of the entry, 64 hex digits."""
        return hashlib.sha256(jsontext.dump(dict(self.listed)).encode(errors="backslashreplace")).hexdigest()


def _object(value: JsonValue) -> Mapping[str, JsonValue] | None:
    return cast("dict[str, JsonValue]", value) if isinstance(value, dict) else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What kind of tool it is, and what told us."""

    operation: Operation
    risk: Risk
    reason: str
    """Short, ours, and safe to show: "annotation readOnlyHint", "verb write", "override", "unknown name"."""


class RealError(Exception):
    """The target answered with a JSON-RPC error, or could not be asked."""

    def __init__(self, code: int, message: str, data: JsonValue = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Real(Protocol):
    """Makes the call on the real target, once; the result of `tools/call` in its wire form.

    Raises:
        RealError: it answered with an error, gave none in time, or is gone.
    """

    def __call__(self) -> Awaitable[dict[str, JsonValue]]: ...


class Ask(Protocol):
    """Calls another tool of the target, for a world that must know what a write would have found there.

    A world asks tools that read and no others; whoever provides this holds to the same deadline as for `Real`. What is
    asked is no event: the agent did not call it.

    Raises:
        RealError: as `Real` does.
    """

    def __call__(self, tool: str, args: Mapping[str, JsonValue]) -> Awaitable[dict[str, JsonValue]]: ...


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of a call's way that another process answered: when it began, how long it took, how it ended."""

    began_ns: int
    """Wall clock."""
    ms: float
    error: str = ""
    """What it failed with, ours and short: a JSON-RPC code, or the type of an exception."""


@dataclass(slots=True)
class Way:
    """How a call travelled: written while it is answered, by whoever takes it a step further; read afterwards."""

    span: SpanRef | None = None
    """The call's own span, decided when the call came in; None where nobody makes spans."""
    parent: SpanRef | None = None
    sampling: Sampling | None = None
    to_real: SpanRef | None = None
    """The span of the call to the target, which is told of it in `traceparent`."""
    real: Leg | None = None
    asked: list[tuple[str, Leg]] = field(default_factory=list[tuple[str, Leg]])
    """Other tools of the target that were called to answer this call, by their names."""
    ai: list[Leg] = field(default_factory=list[Leg])
    fault: str = ""
    """What keeps the call from being answered, while it is made to wait on purpose."""

    @property
    def traceparent(self) -> str | None:
        """What stands in `_meta` of the call to the target."""
        return None if self.to_real is None else self.to_real.traceparent

    @property
    def real_ms(self) -> float | None:
        """What the target took in all; None if it was not asked."""
        legs = [leg for _, leg in self.asked] + ([self.real] if self.real is not None else [])
        return sum(leg.ms for leg in legs) if legs else None

    @contextmanager
    def asking_real(self) -> Generator[None]:
        """Around the call to the target."""
        legs = list[Leg]()
        try:
            with _noted(legs):
                yield
        finally:
            self.real = legs[0]

    @contextmanager
    def asking_other(self, tool: str) -> Generator[None]:
        """Around a call to another tool of the target."""
        legs = list[Leg]()
        try:
            with _noted(legs):
                yield
        finally:
            self.asked.append((tool, legs[0]))

    @contextmanager
    def asking_ai(self) -> Generator[None]:
        """Around a question to a model."""
        with _noted(self.ai):
            yield


@contextmanager
def _noted(legs: list[Leg]) -> Generator[None]:
    began_ns, start, error = time.time_ns(), time.perf_counter(), ""
    try:
        yield
    except BaseException as exc:
        error = str(exc.code) if isinstance(exc, RealError) else type(exc).__qualname__
        raise
    finally:
        legs.append(Leg(began_ns, (time.perf_counter() - start) * 1e3, error))


@dataclass(frozen=True, slots=True)
class Call:
    """One `tools/call`."""

    server: str
    tool: Tool
    args: Mapping[str, JsonValue]
    way: Way = field(default_factory=Way, compare=False, repr=False)
    tools: Mapping[str, Tool] = field(default_factory=dict[str, "Tool"], compare=False, repr=False)
    """All tools of the server by name, if known: what they are together tells what kind of server it is. The same
    mapping for every call until the list changes."""
    ask: Ask | None = field(default=None, compare=False, repr=False)
    """None where there is no target, or none that may be asked anything else than this call."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a call, and where it came from.

    `result` is the wire form of a `tools/call` result (`content`, `structuredContent`, `isError`); where the answer is
    a JSON-RPC error, `error` holds `{code, message, data?}` and `result` is empty.
    """

    result: Mapping[str, JsonValue]
    source: Source
    verdict: Verdict
    real_used: bool = False
    """The target was asked."""
    intercepted: bool = False
    """A write that did not reach the target."""
    synthesized: bool = False
    """Made up, by the generator or by a model."""
    ai: bool = False
    """A model had a hand in it."""
    detail: str | None = None
    """Ours, short: which fault, which adapter, which recorded call."""
    error: Mapping[str, JsonValue] | None = None

    @property
    def is_error(self) -> bool:
        return self.error is not None or self.result.get("isError") is True


class CallWorld(Protocol):
    """Answers calls in place of a target, or with its help."""

    async def call(self, call: Call, real: Real | None) -> Reply:
        """The answer. `real` is None where there is no target to ask.

        Never lets a write reach `real` unless it stands in pass-through mode. Does not raise for what a target or a
        tool does wrong: that is a Reply.
        """
        ...


@dataclass(frozen=True, slots=True)
class CallEvent:
    """One call and its answer, for whoever keeps sessions or spans."""

    call: Call
    reply: Reply
    started_at_ns: int
    """Wall clock."""
    latency_ms: float
    meta: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    """`_meta` of the request: `traceparent` is in it. Never part of what is matched."""


class Recorder(Protocol):
    """Is told of every call, also of those that failed. Must not block the call and must not raise."""

    def record(self, event: CallEvent) -> None: ...
