"""otel: what spans cost a run on its path, and what building them costs afterwards, beside plain spans of the SDK.

On the path: a run's ten calls through the bridge to a null world, with telemetry and without, in turn; the difference
is what a run waits for its spans (ids, sampling, the context of each call). Off the path: the spans of that run, built
from its sanitized trace and handed to a processor that drops them. Baseline of both: as many plain spans of the
OpenTelemetry SDK, started and ended, with as many attributes and the same processor. Where a call goes to a real
server, the library's own span is not made any more, which is not counted here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind
from pytest_benchmark.fixture import BenchmarkFixture

from belljar.limits import Limits
from belljar.rpc.bridge import Bridge
from belljar.rpc.ledger import Ledger
from belljar.rpc.messages import Call
from belljar.rpc.policy import Policy
from belljar.rpc.world import Answer, ToolInfo
from belljar.tracing import RunFacts, TraceIds
from belljar.tracing.masked import MaskedTraces
from belljar.tracing.otel import RunSpans, Telemetry
from benchmarks.report import Baseline, Figure, Report, median, samples

_ROUNDS = 1000
_CALLS = 10
_NAME = "local.default.adhoc.snippet.a7f3"
_PAYLOAD = f"{_CALLS} calls of 1 KB"
_IDS = TraceIds()
_TEXT = "the quick brown fox jumps over the lazy dog and " * 20


class _Null:
    name = "real"

    def servers(self) -> tuple[str, ...]:
        return ("null",)

    async def tools(self, server: str) -> Mapping[str, ToolInfo]:
        return {"echo": ToolInfo("null", "echo", digest="d")}

    async def call(self, tool: ToolInfo, args: Mapping[str, Any]) -> Answer:
        return Answer(_TEXT)


async def _run(telemetry: Telemetry | None) -> tuple[float, RunSpans | None, Ledger]:
    """Seconds the run's calls took on this side of the border; what is left to build spans of."""
    run_id = _IDS()
    ledger = Ledger(run_id)
    ledger.open(code="", args_text="{}", seed="0" * 64, now_ns=0)
    calls = [Call(n + 1, "null", "echo", f'{{"n": {n}}}', 1) for n in range(_CALLS)]
    began = time.perf_counter()
    spans = telemetry.begin(run_id, _NAME) if telemetry else None
    bridge = Bridge(
        world=_Null(),
        ledger=ledger,
        limits=Limits(),
        policy=Policy(allow=("*",)),
        caller=spans.caller if spans else None,
    )
    for call in calls:
        await bridge.answer(bridge.admit(call))
    taken = time.perf_counter() - began
    ledger.close(outcome="ok")
    return taken, spans, ledger


@pytest.fixture(scope="module")
def plain(report: Report) -> Baseline:
    """A run's worth of spans made by the SDK as a program would make them."""
    provider = TracerProvider(resource=Resource({}), shutdown_on_exit=False)
    provider.add_span_processor(SpanProcessor())
    tracer = provider.get_tracer("plain")
    attributes: Any = {f"attribute.{n}": f"value {n}" for n in range(14)}

    def work() -> None:
        with tracer.start_as_current_span("run", attributes=attributes):
            for _ in range(_CALLS):
                with tracer.start_as_current_span("call", kind=SpanKind.CLIENT, attributes=attributes):
                    pass

    taken = samples(_ROUNDS, work)
    report.add(Figure("otel", "baseline: plain SDK spans", f"{_CALLS + 1} spans of 14 attributes", taken))
    return Baseline("plain SDK spans", median(taken))


def test_on_the_path(benchmark: BenchmarkFixture, report: Report, plain: Baseline) -> None:
    telemetry = Telemetry([SpanProcessor()])

    async def interleaved() -> tuple[list[float], list[float]]:
        off, on = list[float](), list[float]()
        for _ in range(_ROUNDS):
            off.append((await _run(None))[0])
            on.append((await _run(telemetry))[0])
        return off, on

    benchmark.pedantic(lambda: asyncio.run(_run(telemetry)), rounds=5, warmup_rounds=1)
    off, on = asyncio.run(interleaved())
    report.add(Figure("otel", "a run's calls through the bridge, spans off", _PAYLOAD, off))
    report.add(Figure("otel", "the same, spans on", _PAYLOAD, on, (Baseline("spans off", median(off)),)))
    per_call = [(a - b) / _CALLS for a, b in zip(on, off, strict=True)]
    shown = (Baseline("plain SDK span", plain.median / (_CALLS + 1)),)
    report.add(Figure("otel", "on the path, per call", _PAYLOAD, per_call, shown, "a few us"))


def test_building(benchmark: BenchmarkFixture, report: Report, plain: Baseline) -> None:
    telemetry, masked = Telemetry([SpanProcessor()]), MaskedTraces()
    _, spans, ledger = asyncio.run(_run(telemetry))
    assert spans is not None
    facts = RunFacts(
        trace_id=ledger.run_id,
        capability_id=_NAME,
        capability_hash="a" * 64,
        success=True,
        duration_ms=1.0,
        started_at_ns=time.time_ns(),
    )
    wire = masked(facts, ledger.calls)
    benchmark.pedantic(spans.finish, (wire, ledger.calls), rounds=5, warmup_rounds=1)
    taken = samples(_ROUNDS, lambda: spans.finish(wire, ledger.calls))
    assert telemetry.counters["errors"] == 0
    report.add(Figure("otel", "spans built, after the answer", _PAYLOAD, taken, (plain,)))
