"""trace_overhead and trace_memory: what a caller waits longer for a run that is traced and synced, and what that holds.

A run makes ten calls of 1 KB, one of which holds an e-mail address. Runs of two jars alternate: one traces nothing, the
other captures into the spool while its syncer sends to a real server in a process of its own. The time is what the
caller waits; the capture comes after it, and is waited for before the next run begins. Beside it, in the same run: the
CPU a trace takes in this process, and what the OpenTelemetry SDK takes for the span of a run and ten of its calls.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from belljar.config import Config, Paths, TracingConfig
from belljar.jar import Jar, RunOptions, open_jar
from belljar.rpc.policy import Policy
from belljar.rpc.world import Answer, ToolInfo
from benchmarks.conftest import Held
from benchmarks.report import Baseline, Figure, Report, median, p95, samples

_ROUNDS = int(os.environ.get("BELLJAR_BENCH_ROUNDS", "2000"))
_CALLS = 10
_APART_S = 0.03
_PAYLOAD = f"{_CALLS} calls of 1 KB, PII in one"
_CODE = f"for n in range({_CALLS}):\n    await mcp.bench.get(n=n)\nn"
_OPTIONS = RunOptions(policy=Policy(allow=("*",)))
_TEXT = ("the quick brown fox jumps over a lazy dog, and " * 22)[:990]


_SERVER = """
import signal
from tests.cloud import cloud
with cloud() as running:
    print(running.url, flush=True)
    signal.sigwait({signal.SIGTERM})
"""


class _Texts:
    """Answers with 1 KB; every tenth answer holds an address."""

    name = "real"

    def servers(self) -> tuple[str, ...]:
        return ("bench",)

    async def tools(self, server: str) -> Mapping[str, ToolInfo]:
        return {"get": ToolInfo("bench", "get", annotations={"readOnlyHint": True}, digest="d")}

    async def call(self, tool: ToolInfo, args: Mapping[str, Any]) -> Answer:
        return Answer(_TEXT + (" kim@example.org" if args["n"] == 3 else ""))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a server that takes traces, in a process of its own."""
    command = [sys.executable, "-c", _SERVER]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture
def jars(held: Held, paths: Paths, server: str) -> tuple[Jar, Jar]:
    """One that traces nothing, one that traces and syncs."""
    off = Config(paths, tracing=TracingConfig(enabled=False))
    on = replace(off, tracing=TracingConfig(cloud_url=server, api_key="bj_" + "0" * 32, flush_interval_s=0.2))
    made = [held.enter(open_jar(config, world=_Texts())) for config in (off, on)]
    for jar in made:
        assert held(_run(jar))[1] == _CALLS - 1
    return made[0], made[1]


async def _run(jar: Jar) -> tuple[float, Any, float]:
    """Seconds to the answer, the answer, and the CPU seconds of this process until it is captured."""
    cpu, began = time.process_time(), time.perf_counter()
    run = await jar.run(_CODE, options=_OPTIONS)
    waited = time.perf_counter() - began
    await run.captured()
    spent = time.process_time() - cpu
    # The box this run used up is replaced meanwhile, by a fork that would weigh on the next run, not on this one.
    await asyncio.sleep(_APART_S)
    return waited, run.unwrap(), spent


def test_overhead(held: Held, jars: tuple[Jar, Jar], report: Report) -> None:
    off, on = list[float](), list[float]()
    cpu_off, cpu_on = list[float](), list[float]()
    for _ in range(_ROUNDS):
        for jar, waits, cpus in ((jars[0], off, cpu_off), (jars[1], on, cpu_on)):
            waited, _, cpu = held(_run(jar))
            waits.append(waited)
            cpus.append(cpu)
    plain = Baseline("untraced", median(off))
    report.add(Figure("trace_overhead", "a run, untraced", _PAYLOAD, off))
    report.add(Figure("trace_overhead", "a run, traced and synced", _PAYLOAD, on, (plain,)))
    p99 = [statistics.quantiles(waits, n=100)[98] * 1e3 for waits in (off, on)]
    report.note(
        f"trace_overhead: the caller waits {(median(on) - median(off)) * 1e3:+.3f} ms longer at p50 (reach <= 0.1), "
        f"{p99[1] - p99[0]:+.3f} ms at p99 (reach <= 1), {(p95(on) - p95(off)) * 1e3:+.3f} ms at p95; "
        f"CPU of this process {(median(cpu_on) - median(cpu_off)) * 1e3:+.3f} ms a trace (reach <= 0.2); "
        f"n = {_ROUNDS} interleaved; the system this replaces allows 10 ms"
    )


def test_cpu_beside_spans(held: Held, jars: tuple[Jar, Jar], report: Report) -> None:
    """What capturing takes, by its steps, beside eleven spans of the SDK."""
    from opentelemetry.sdk.trace import TracerProvider

    run = held(jars[1].run(_CODE, options=_OPTIONS))
    held(run.captured())
    tracer = TracerProvider().get_tracer("bench")

    def spans() -> None:
        with tracer.start_as_current_span("run"):
            for n in range(_CALLS):
                with tracer.start_as_current_span("tools/call get", attributes={"n": n, "text": _TEXT}):
                    pass

    baseline = Baseline("11 SDK spans", median(samples(200, spans)))
    taken = samples(200, run._make_trace)
    report.add(Figure("trace_overhead", "collect and mask a trace", _PAYLOAD, taken, (baseline,), "<= 0.2 ms"))


def test_memory(held: Held, jars: tuple[Jar, Jar], report: Report) -> None:
    """Bytes that stay allocated for one trace while it is held."""
    runs = [held(jars[0].run(_CODE, options=_OPTIONS)) for _ in range(20)]
    for run in runs:
        held(run.captured())
    runs[0]._make_trace()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    traces = [run._make_trace() for run in runs]
    gc.collect()
    held_bytes = (tracemalloc.get_traced_memory()[0] - before) / len(traces)
    tracemalloc.stop()
    size = len(traces[0].text)
    report.note(f"trace_memory: {held_bytes / 1024:.1f} KB held for a trace of {size / 1024:.1f} KB (reach <= 64 KB)")
