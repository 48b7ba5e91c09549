"""From finished spans to the OpenTelemetry SDK and out. The only module of ours that imports the SDK; off a run's path.

Our spans are built when their run is over, under ids that were decided when it began, so the provider is our own and
its ids and its sampling are `_Given`. Nothing here touches the program's global provider.

What may wait is bounded in front of the SDK's batch processor (`_Bounded`), because that one drops without counting.
The SDK's exporter waits for a collector in a thread of its own, tries again for ten seconds a batch, and its end has no
deadline: so the end is waited for in another thread, for as long as the caller allows, and then left to itself.

The SDK and its HTTP client log each failed attempt, with URLs in it. While they work for us they are `_hushed`, and one
line is said in their place.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.sdk.version import __version__ as sdk_version
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
    set_span_in_context,
)
from opentelemetry.util.types import Attributes

from belljar._version import __version__
from belljar.tracing.spans.counts import Counts
from belljar.tracing.spans.environment import Settings
from belljar.tracing.spans.ids import SpanRef
from belljar.tracing.spans.model import SpanData
from belljar.tracing.spans.sampling import Sampling, uniform

__all__ = ["Pipeline", "ask", "environment_pipeline"]

_log = logging.getLogger("belljar.otel")

_SERVICE = "belljar"
# A collector that comes and goes is spoken of once a minute.
_SAY_EVERY_S = 60.0
_NOISY = ("opentelemetry", "urllib3", "requests")


class Pipeline:
    """A provider of our own, and what it hands spans to."""

    def __init__(self, processors: Sequence[SpanProcessor], resource: Resource | None, counts: Counts) -> None:
        self._given = _Given()
        self._counts = counts
        self._bounded = [processor for processor in processors if isinstance(processor, _Bounded)]
        self._provider = TracerProvider(
            sampler=self._given.sampler,
            resource=resource or _resource({}),
            shutdown_on_exit=False,
            id_generator=self._given,
        )
        for processor in processors:
            self._provider.add_span_processor(processor)
        self._tracers = dict[str, Tracer]()

    def emit(self, spans: Iterable[SpanData], sampling: Sampling) -> None:
        """Build these spans; ends as soon as the processors have taken them."""
        decision = Decision.RECORD_AND_SAMPLE if sampling.sampled else Decision.RECORD_ONLY
        with _hushed():
            for data in spans:
                self._emit(data, decision, sampling.trace_state)
                self._counts.add("built")

    def _emit(self, data: SpanData, decision: Decision, trace_state: TraceState | None) -> None:
        self._given.next(data.ref, SamplingResult(decision, data.attributes, trace_state))
        tracer = self._tracers.get(data.scope)
        if tracer is None:
            tracer = self._tracers[data.scope] = self._provider.get_tracer(data.scope, __version__)
        span = tracer.start_span(
            data.name,
            context=_context(data.parent),
            kind=SpanKind.CLIENT if data.client else SpanKind.INTERNAL,
            attributes=data.attributes,
            start_time=data.start_ns,
        )
        if data.failed:
            span.set_status(StatusCode.ERROR, data.said)
        if data.exception is not None:
            noted = {"exception.type": data.exception, "exception.message": data.said or data.exception}
            span.add_event("exception", noted, data.end_ns)
        span.end(data.end_ns)

    def shutdown(self, deadline_s: float) -> bool:
        """Hand on what waits, for at most so long; whether it was done by then. What was not is dropped."""
        ending = threading.Thread(target=self._end, name="belljar-otel-end", daemon=True)
        ending.start()
        ending.join(deadline_s)
        if ending.is_alive():
            for processor in self._bounded:
                processor.abandon()
        return not ending.is_alive()

    def _end(self) -> None:
        with _hushed():
            self._provider.shutdown()


class _Given(IdGenerator):
    """Ids and a sampling decision that were made long before the span; each thread builds spans of its own."""

    def __init__(self) -> None:
        self._thread = threading.local()
        self.sampler = _Decided(self._thread)

    def next(self, ref: SpanRef, sampling: SamplingResult) -> None:
        """What the next span of this thread is."""
        self._thread.ref, self._thread.sampling = ref, sampling

    def generate_span_id(self) -> int:
        return self._thread.ref.span_id

    def generate_trace_id(self) -> int:
        return self._thread.ref.trace_id


class _Decided(Sampler):
    def __init__(self, thread: threading.local) -> None:
        self._thread = thread

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        return self._thread.sampling

    def get_description(self) -> str:
        return "decided when the run began"


# ---- what a program or the environment asks for


def ask(sampler: Sampler, ref: SpanRef, parent: SpanRef | None, name: str) -> Sampling:
    """What a sampler says of a run that begins."""
    said = sampler.should_sample(_context(parent), uniform(ref.trace_id, parent), name, SpanKind.INTERNAL)
    added = dict(cast("Mapping[str, Any]", said.attributes or {}))  # pyright: ignore[reportUnknownMemberType]
    return Sampling(said.decision.is_recording(), said.decision.is_sampled(), said.trace_state, added)


def _context(ref: SpanRef | None) -> Context:
    """A context with this span in it and nothing else: neither the program's span nor its baggage."""
    if ref is None:
        return Context()
    found = SpanContext(ref.trace_id, ref.span_id, ref.remote, TraceFlags(ref.flags))
    return set_span_in_context(NonRecordingSpan(found), Context())


def environment_pipeline(settings: Settings, counts: Counts) -> Pipeline:
    """What the environment asks for."""
    processors = list[SpanProcessor]()
    with _hushed():
        if "otlp" in settings.exporters:
            processors.append(_Bounded(_otlp(settings), settings, counts))
        if "console" in settings.exporters:
            # stdout is the run's own.
            console = ConsoleSpanExporter(out=sys.stderr, formatter=_line)
            processors.append(SimpleSpanProcessor(console))
    _teach_hush()
    return Pipeline(processors, _resource(settings.resource), counts)


def _line(span: ReadableSpan) -> str:
    return span.to_json(indent=None) + "\n"


def _otlp(settings: Settings) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(
        endpoint=settings.endpoint,
        headers=dict(settings.headers),
        timeout=settings.timeout_s,
        compression=Compression(settings.compression),
        certificate_file=settings.certificate,
        client_key_file=settings.client_key,
        client_certificate_file=settings.client_certificate,
    )


def _resource(given: Mapping[str, str]) -> Resource:
    """What the spans come from. No detector is run: the process's would send its command line, arguments and all."""
    own = {
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": sdk_version,
        "service.name": _SERVICE,
        "service.version": __version__,
        "service.instance.id": str(uuid.uuid4()),
    }
    if "service.name" in given:
        del own["service.version"]
    return Resource({**own, **given})


# ---- bounds and counts


class _Bounded(SpanProcessor):
    """A batch processor that never holds more than it may, and counts what it turns away."""

    def __init__(self, exporter: SpanExporter, settings: Settings, counts: Counts) -> None:
        self._lock = threading.Lock()
        self._waiting = self._flying = 0
        self._most = settings.queue
        self._counts = counts
        self._closed = self._over = False
        self._watched = _Watched(exporter, settings.origin, counts, self._taken)
        self._batches = BatchSpanProcessor(
            self._watched,
            max_queue_size=settings.queue,
            schedule_delay_millis=settings.delay_ms,
            max_export_batch_size=settings.batch,
        )

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing to do: our spans end when they start."""

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span, if there is room."""
        with self._lock:
            room = not self._closed and self._waiting < self._most
            self._waiting += room
        if room:
            self._batches.on_end(span)
        else:
            self._counts.add("dropped")

    def _taken(self, n: int) -> bool:
        """So many go to the exporter now; none: it has come back. False if nobody waits for it any more."""
        with self._lock:
            if self._over:
                return False
            self._waiting -= n
            self._flying = n
            return True

    def shutdown(self) -> None:
        """Hand on what waits, and end."""
        with self._lock:
            self._closed = True
        self._batches.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Hand on what waits."""
        return self._batches.force_flush(timeout_millis)

    def abandon(self) -> None:
        """The time is over: what waits is dropped, and the thread that exports ends by itself."""
        with self._lock:
            self._closed = self._over = True
            lost, self._waiting = self._waiting + self._flying, 0
        self._counts.add("dropped", lost)
        self._watched.say(f"did not take all spans in time ({lost} dropped)")


class _Watched(SpanExporter):
    """An exporter that cannot raise, whose failures are counted and said once."""

    def __init__(self, inner: SpanExporter, origin: str, counts: Counts, taken: Callable[[int], bool]) -> None:
        self._inner = inner
        self._origin = origin
        self._counts = counts
        self._taken = taken
        self._said_at = -_SAY_EVERY_S

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; in the batch processor's thread."""
        if not self._taken(len(spans)):
            return SpanExportResult.FAILURE
        result = self._export(spans)
        done = result is SpanExportResult.SUCCESS
        if not self._taken(0):
            return result  # counted as dropped already
        self._counts.add("exported" if done else "failed", len(spans))
        if not done:
            self.say("does not take spans")
        return result

    def _export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with _hushed():
            try:
                return self._inner.export(spans)
            except Exception as exc:  # noqa: BLE001 - the thread must outlive one batch
                _log.debug("the exporter failed: %s", type(exc).__qualname__)
                return SpanExportResult.FAILURE

    def say(self, what: str) -> None:
        """One line a minute at most."""
        if time.monotonic() - self._said_at >= _SAY_EVERY_S:
            self._said_at = time.monotonic()
            _log.warning(
                "OpenTelemetry: %s %s; runs are not affected. Look at OTEL_EXPORTER_OTLP_ENDPOINT, "
                "or set OTEL_TRACES_EXPORTER=none",
                self._origin,
                what,
            )

    def shutdown(self) -> None:
        """Close the connection."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is kept here."""
        return True


# ---- quiet

_thread = threading.local()
_taught = set[str]()


@contextmanager
def _hushed() -> Generator[None]:
    """Within, in this thread, the SDK and its HTTP client log nothing; a program's own use of them keeps its lines."""
    before = getattr(_thread, "hushed", False)
    _thread.hushed = True
    try:
        yield
    finally:
        _thread.hushed = before


def _keeps(_record: logging.LogRecord) -> bool:
    return not getattr(_thread, "hushed", False)


def _teach_hush() -> None:
    """Filters act on the logger they are put on alone, so on each that exists by now."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in _NOISY and name not in _taught:
            _taught.add(name)
            logging.getLogger(name).addFilter(_keeps)
