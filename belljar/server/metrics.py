"""What /metrics tells: counters and times of this process, in Prometheus' text format.

Labels come from closed lists - routes as they are declared, a few methods, statuses, outcomes - so that no request can
make a new series. Nothing is told by tenant or key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from belljar import __version__

__all__ = ["CONTENT_TYPE", "OUTCOMES", "Metrics"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
OUTCOMES = ("stored", "duplicate", "rejected", "retry")
"""What becomes of a trace."""

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_TRACES = (1, 2, 5, 10, 20, 50, 100)


class Metrics:
    """One process's figures."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self.requests = Counter(
            "belljar_http_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self.seconds = Histogram(
            "belljar_http_request_seconds", "Time to answer.", ("route",), buckets=_SECONDS, registry=registry
        )
        self.in_flight = Gauge("belljar_http_requests_in_flight", "Requests being answered.", registry=registry)
        self.connections = Gauge("belljar_http_connections", "Open connections.", registry=registry)
        self.turned_away = Counter(
            "belljar_http_turned_away", "Refused before a route was asked, by reason.", ("reason",), registry=registry
        )
        self.disconnects = Counter(
            "belljar_http_disconnects", "Clients that left before their request was complete.", registry=registry
        )
        self.body_bytes = Counter("belljar_ingest_body_bytes", "Bytes of batches as they travelled.", registry=registry)
        self.received = Counter("belljar_traces_received", "Traces in batches that could be read.", registry=registry)
        self.traces = Counter("belljar_traces", "Traces, by what became of them.", ("outcome",), registry=registry)
        self.masked = Counter(
            "belljar_traces_masked",
            "Traces in which something was masked here.",
            registry=registry,
        )
        self.ignored = Counter(
            "belljar_traces_ignored_fields", "Fields of traces that are not of the wire format.", registry=registry
        )
        self.not_learned = Counter(
            "belljar_learned_refused",
            "Things seen for the first time that were not learned from: their tenant has too many.",
            registry=registry,
        )
        self.batch = Histogram("belljar_ingest_batch_traces", "Traces a batch.", buckets=_TRACES, registry=registry)
        self.store_seconds = Histogram(
            "belljar_store_seconds", "Time in the store.", ("operation",), buckets=_SECONDS, registry=registry
        )
        self._leading = Gauge("belljar_learner_leading", "Whether this server's learner leads.", registry=registry)
        self._training = Gauge("belljar_learner_training", "Whether it trains a model now.", registry=registry)
        self._trainings = Counter(
            "belljar_learner_trainings", "Trainings, by what came of them.", ("outcome",), registry=registry
        )
        self._weighed = Counter("belljar_learner_weighed_traces", "Priorities written anew.", registry=registry)
        self._deaths = Counter("belljar_learner_deaths", "Learners that ended untold.", registry=registry)
        self.checkpoints = Counter(
            "belljar_checkpoints_loaded",
            "Checkpoints that were loaded, by what became of them.",
            ("outcome",),
            registry=registry,
        )
        Gauge("belljar_build_info", "The version that runs.", ("version",), registry=registry).labels(__version__).set(
            1
        )
        for outcome in OUTCOMES:
            self.traces.labels(outcome)
        for outcome in ("trained", "failed"):
            self._trainings.labels(outcome)
        for outcome in ("used", "unused", "broken", "failed"):
            self.checkpoints.labels(outcome)

    def watch_pool(self, status: Callable[[], Mapping[str, int]]) -> None:
        """Report a database pool: `status` gives numbers by name whenever somebody looks."""
        pool = Gauge("belljar_db_pool_connections", "Connections to the database.", ("state",), registry=self._registry)
        for name in status():
            pool.labels(name).set_function(lambda name=name: status().get(name, 0))

    def watch_model(self, version: Callable[[], int]) -> None:
        """Report the highest version of the checkpoints that are loaded."""
        gauge = Gauge("belljar_checkpoint_version", "The highest of those loaded.", registry=self._registry)
        gauge.set_function(version)

    def learner(self, name: str, value: float) -> None:
        """What the learner said: `leading` or `training` (whether), `weighed`, `trained`, `failed`, `died` (how many
        more)."""
        if name in ("leading", "training"):
            (self._leading if name == "leading" else self._training).set(value)
        elif name in ("trained", "failed"):
            self._trainings.labels(name).inc(value)
        else:
            {"weighed": self._weighed, "died": self._deaths}[name].inc(value)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self.requests.labels(method if method in _METHODS else "OTHER", route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def value(self, name: str, **labels: str) -> float:
        """One figure, by the name and labels under which /metrics shows it; 0 if it was never counted."""
        return self._registry.get_sample_value(name, labels) or 0.0

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)
