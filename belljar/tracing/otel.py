"""OpenTelemetry: a run as a span, its calls as spans below it, in whatever trace the program is in already.

A run's spans are built after its answer is out, in the thread that makes its trace, and out of that trace. What must be
known earlier is decided when the run begins: its ids, its parent and whether it is sampled, because a call tells its
upstream all three in `traceparent`. That costs the run a few microseconds a call and imports nothing: ids and the
standard samplers are a few lines of arithmetic (`spans.ids`, `spans.sampling`), and the SDK is loaded where the spans
are built (`spans.sdk`).

Ids. A run's id is a UUID, and 128 bits: a run without a parent gives its trace that very id. A run has a parent if a
call of another run started it, if the program has a current span, or if `TRACEPARENT` was in the environment, in this
order; then it joins the parent's trace. Either way its spans carry `belljar.trace_id`, and the trace's metadata carries
`otelTraceId` and `otelSpanId`.

Sampling is decided once a run, and its calls follow.

`tracestate` and baggage are never passed on: they are the program's, and upstreams are strangers.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from belljar.errors import ConfigError
from belljar.rpc.record import CallRecord
from belljar.rpc.world import CALLER, Caller, Hop
from belljar.tracing.spans import environment
from belljar.tracing.spans.counts import Counts
from belljar.tracing.spans.environment import Settings
from belljar.tracing.spans.ids import RANDOM, SAMPLED, SpanRef, new_span_id, parse_traceparent, trace_id_of
from belljar.tracing.spans.model import CallSpan, SpanData, call_spans, run_span
from belljar.tracing.spans.sampling import RatioSampler, Sampling
from belljar.tracing.texts import MaskedTrace

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.sdk.trace.sampling import Sampler

    from belljar.tracing.spans.sdk import Pipeline

__all__ = ["RunSpans", "Telemetry"]

_log = logging.getLogger("belljar.otel")

_EXPORTER = "opentelemetry.exporter.otlp.proto.http"


class Telemetry:
    """Makes spans of runs and hands them to processors. Thread-safe; several jars may share one.

    A processor that blocks in `on_end` holds up the capture of a run, never its answer.
    """

    def __init__(
        self,
        processors: Sequence[SpanProcessor] = (),
        *,
        sampler: Sampler | None = None,
        resource: Resource | None = None,
        content: bool = False,
        parent: str | None = None,
        _settings: Settings | None = None,
    ) -> None:
        """For programs that have processors of their own.

        Args:
            sampler: asked once for each run; by default `parentbased_always_on`.
            content: whether spans hold arguments, results and messages of errors, masked as in the trace.
            parent: the `traceparent` of runs that have no other parent.
        """
        self._processors = processors
        self._sampler = sampler
        self._ratio = _settings.sampler if _settings else RatioSampler()
        self._resource = resource
        self._settings = _settings
        self._content = _settings.content if _settings else content
        self._parent = _settings.parent if _settings else parse_traceparent(parent)
        self._counts = Counts()
        self._building = threading.Lock()
        self._pipeline: Pipeline | None = None
        self._closed = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Telemetry | None:
        """What the `OTEL_*` variables ask for; None if that is nothing, and then it has cost nothing.

        Raises:
            ConfigError: spans are asked for that would go nowhere: no such exporter, or it is not installed.
        """
        settings = environment.read(environ)
        if settings is None:
            return None
        if "otlp" in settings.exporters and not _installed(_EXPORTER):
            raise ConfigError(
                "the environment asks for OpenTelemetry spans over OTLP, and the exporter is not installed: "
                "pip install 'belljar[otlp]', or set OTEL_TRACES_EXPORTER=none"
            )
        return cls(_settings=settings)

    @property
    def secrets(self) -> frozenset[str]:
        """Values this loaded that no trace may show: keys of the collector."""
        return self._settings.secrets if self._settings else frozenset()

    @property
    def counters(self) -> Mapping[str, int]:
        """Spans `built`, `exported`, `failed`, `dropped`, and runs whose spans could not be built: `errors`."""
        return self._counts.all()

    def prepare(self) -> None:
        """Load the SDK and build what exports, ahead of time and in a thread; what goes wrong is said by `finish`."""
        try:
            self._built()
        except Exception:  # noqa: BLE001 - nobody has asked for anything yet
            return

    def begin(self, run_id: str, capability: str) -> RunSpans:
        """A run begins, now and in this task."""
        parent = _nested() or _ambient() or self._parent
        trace_id = trace_id_of(run_id) if parent is None else parent.trace_id
        ref = SpanRef(trace_id, int(new_span_id(), 16), parent.flags & RANDOM if parent else 0)
        sampling = self._decide(ref, parent, capability)
        if sampling.sampled:
            ref = SpanRef(trace_id, ref.span_id, ref.flags | SAMPLED)
        return RunSpans(self._finish, run_id, ref, parent, sampling)

    def place(self, name: str, parent: SpanRef | None = None) -> tuple[SpanRef, SpanRef | None, Sampling]:
        """Ids, parent and sampling of a span that begins now and is no run's; `parent` is what a caller sent along."""
        parent = parent or _ambient() or self._parent
        trace_id = int.from_bytes(os.urandom(16)) if parent is None else parent.trace_id
        flags = parent.flags & RANDOM if parent else RANDOM
        ref = SpanRef(trace_id, int(new_span_id(), 16), flags)
        sampling = self._decide(ref, parent, name)
        if sampling.sampled:
            ref = replace(ref, flags=flags | SAMPLED)
        return ref, parent, sampling

    @property
    def content(self) -> bool:
        """Whether spans hold what was said."""
        return self._content

    def emit(self, spans: Sequence[SpanData], sampling: Sampling) -> None:
        """Build these spans, whose texts are masked. Never raises; not for the event loop."""
        try:
            if self._closed:
                self._counts.add("dropped", len(spans))
            elif sampling.recording:
                self._built().emit(spans, sampling)
        except Exception as exc:  # noqa: BLE001 - somebody else's processors, and a call must not fail with its span
            self._failed(exc)

    def dropped(self, count: int) -> None:
        """So many spans were given up before they were built."""
        self._counts.add("dropped", count)

    def shutdown(self, deadline_s: float) -> bool:
        """Export what waits, for at most so long; whether that was all. What was not in time is dropped and counted.

        Blocks: call it in a thread where there is a loop. Nothing is taken after it.
        """
        ends = time.monotonic() + deadline_s
        self._closed = True
        if not self._building.acquire(timeout=max(0.0, deadline_s)):
            return False
        try:
            pipeline = self._pipeline
        finally:
            self._building.release()
        return pipeline is None or pipeline.shutdown(max(0.0, ends - time.monotonic()))

    def _decide(self, ref: SpanRef, parent: SpanRef | None, name: str) -> Sampling:
        if self._sampler is None:
            return self._ratio(ref.trace_id, parent)
        from belljar.tracing.spans import sdk  # whoever has a sampler has the SDK loaded

        try:
            return sdk.ask(self._sampler, ref, parent, name)
        except Exception as exc:  # noqa: BLE001 - somebody else's code, and a run waits
            self._failed(exc)
            return Sampling(recording=False, sampled=False)

    def _finish(self, run: RunSpans, wire: Mapping[str, Any], calls: Sequence[CallRecord]) -> None:
        try:
            self._emit(run, wire, calls)
        except Exception as exc:  # noqa: BLE001 - a run's trace must not be lost with its spans
            self._failed(exc)

    def _emit(self, run: RunSpans, wire: Mapping[str, Any], calls: Sequence[CallRecord]) -> None:
        if self._closed:
            self._counts.add("dropped", 1 + len(calls))
            return
        own = run_span(wire, run.ref, run.parent, run.began_ns, content=self._content)
        own.attributes.update(run.sampling.attributes)
        below = call_spans(wire, calls, run.went_out, run.ref, new_span_id, content=self._content)
        self._built().emit([own, *below], run.sampling)

    def _built(self) -> Pipeline:
        with self._building:
            if self._pipeline is None:
                from belljar.tracing.spans import sdk

                if self._settings is not None:
                    self._pipeline = sdk.environment_pipeline(self._settings, self._counts)
                else:
                    self._pipeline = sdk.Pipeline(self._processors, self._resource, self._counts)
            return self._pipeline

    def _failed(self, exc: Exception) -> None:
        self._counts.add("errors")
        if self._counts.all()["errors"] == 1:
            _log.warning("OpenTelemetry: a run has no spans (%s); this is said once", type(exc).__qualname__)


class RunSpans:
    """What is decided of a run's spans before they exist. Belongs to one run; made by `Telemetry.begin`."""

    __slots__ = ("_after", "_before", "_build", "_run_id", "began_ns", "parent", "ref", "sampling", "went_out")

    def __init__(self, build: _Build, run_id: str, ref: SpanRef, parent: SpanRef | None, sampling: Sampling) -> None:
        self._build = build
        self._run_id = run_id
        self.ref = ref
        self._before, self._after = f"00-{ref.trace_id:032x}-", f"-{ref.flags:02x}"
        self.parent = parent
        self.sampling = sampling
        self.began_ns = time.time_ns()
        self.went_out: dict[int, CallSpan] = {}
        """By the call's number: what its upstream was told."""

    @property
    def otel_trace_id(self) -> str | None:
        """For the trace's metadata; None if there will be no spans."""
        return f"{self.ref.trace_id:032x}" if self.sampling.sampled else None

    @property
    def otel_span_id(self) -> str | None:
        """The run's own span."""
        return f"{self.ref.span_id:016x}" if self.sampling.sampled else None

    def caller(self, call_id: int) -> Caller:
        """A call goes out: what its world may know of it, the ids of its span among it."""
        span_id, hop = new_span_id(), Hop()
        self.went_out[call_id] = CallSpan(span_id, hop)
        return Caller(self._run_id, call_id, f"{self._before}{span_id}{self._after}", hop)

    def finish(self, trace: MaskedTrace, calls: Sequence[CallRecord]) -> None:
        """Build the spans of a run that is over, out of its sanitized trace. Never raises; not for the event loop."""
        if self.sampling.recording:
            self._build(self, trace.wire(), calls)


_Build = Callable[[RunSpans, Mapping[str, Any], Sequence[CallRecord]], None]


def _nested() -> SpanRef | None:
    """The call of another run that this one is started by."""
    caller = CALLER.get()
    return None if caller is None else parse_traceparent(caller.traceparent, remote=False)


def _ambient() -> SpanRef | None:
    """The program's current span. Where nobody has imported OpenTelemetry there is none."""
    # Another thread may be in the middle of that import.
    current = getattr(sys.modules.get("opentelemetry.trace"), "get_current_span", None)
    if current is None:
        return None
    found = current().get_span_context()
    if not found.is_valid:
        return None
    return SpanRef(found.trace_id, found.span_id, int(found.trace_flags) & (SAMPLED | RANDOM), found.is_remote)


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False
