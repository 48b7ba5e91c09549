"""`belljar run` under the standard OTEL_* variables: spans arrive, and a collector that is none costs nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.cli.conftest import Belljar
from tests.otlp_receiver import collecting, mute

_TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_spans_of_a_run_arrive(belljar: Belljar, server: Callable[..., Any]) -> None:
    """F70, F72: the run and its call, in a trace whose id is the run's own; the trace names the span."""
    servers = belljar.servers(s=server("answers"))
    with collecting() as collector:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        done = belljar("run", "-c", "await mcp.s.wrapped()", "--servers", servers, "--allow", "*", "--json", env=env)
        assert (done.status, done.err) == (0, "")
        collector.wait(2)
        own, call = collector.named("run local.default.adhoc.snippet"), collector.named("tools/call wrapped")
    trace = done.json["trace"]
    assert own.trace_id == call.trace_id == trace["traceId"].replace("-", "")
    assert call.parent_id == own.span_id == trace["metadata"]["otelSpanId"]


def test_a_run_joins_the_trace_it_is_started_in(belljar: Belljar) -> None:
    """F71: TRACEPARENT in the environment is the parent of the run's span."""
    with collecting() as collector:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "TRACEPARENT": _TRACEPARENT}
        done = belljar("run", "-c", "1", "--json", env=env)
        (own,) = collector.wait(1)
    assert (own.trace_id, own.parent_id) == tuple(_TRACEPARENT.split("-")[1:3])
    assert own.attributes["belljar.trace_id"] == done.json["runId"]
    assert done.json["trace"]["metadata"]["otelTraceId"] == own.trace_id


def test_a_collector_that_never_answers_holds_nobody_for_long(belljar: Belljar) -> None:
    """F71: the answer is out at once, and the program ends within its two seconds."""
    config = belljar.folder / "quick.toml"
    config.write_text("[tracing]\nexit_flush_s = 0.3\n")
    with mute() as url:
        began = time.monotonic()
        done = belljar("run", "-c", "1 + 1", "--config", str(config), env={"OTEL_EXPORTER_OTLP_ENDPOINT": url})
        took = time.monotonic() - began
    assert (done.status, done.out) == (0, "2\n")
    assert took < 20, "the exporter's own timeout is ten seconds, six times over"


def test_a_wish_that_cannot_be_met_is_a_warning(belljar: Belljar) -> None:
    """An exporter nobody has is said in one line, and the run goes on; a disabled SDK is silent."""
    done = belljar("run", "-c", "1 + 1", env={"OTEL_TRACES_EXPORTER": "zipkin"})
    assert (done.status, done.out) == (0, "2\n")
    assert done.err.startswith("belljar: warning: ")
    assert "zipkin" in done.err
    quiet = belljar("run", "-c", "1 + 1", env={"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_SDK_DISABLED": "true"})
    assert "warning" not in quiet.err
