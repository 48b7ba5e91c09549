"""trace_overhead and trace_memory: what a caller waits longer for a run that is traced and synced, and what that holds.

A run makes ten calls of 1 KB, one of which holds an e-mail address. Single runs of two jars alternate: one traces
nothing, the other captures into the spool while its syncer sends to a real server in a process of its own. The time is
what the caller waits; the capture comes after it, and is waited for before the next run begins.

All of it is real but the box: its calls are made here, one after another, at the run's own bridge. A box is another
process on the same two cores, whose runs vary by ten times what is looked for. The figure is shown with the range in
which it lies with 95 % (bootstrap), and beside it the one stretch that tracing could lengthen: from when the host knows
the answer until the caller has it. In the same runs: the CPU a trace takes in this process. Beside them: what the
OpenTelemetry SDK takes for the span of a run and ten of its calls.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from belljar._run import Run
from belljar.config import Config, Paths, TracingConfig
from belljar.jar import Jar, RunOptions, open_jar
from belljar.one_run import OneRun
from belljar.rpc.messages import Call, Result
from belljar.rpc.policy import Policy
from belljar.rpc.world import Answer, ToolInfo
from belljar.sandbox.session import Outcome
from benchmarks.conftest import Held
from benchmarks.report import Baseline, Figure, Report, median, samples

_ROUNDS = int(os.environ.get("BELLJAR_BENCH_ROUNDS", "2000"))
_WARM_UP = 20
_REST_S = 0.002
_CALLS = 10
_PAYLOAD = f"{_CALLS} calls of 1 KB, PII in one"
_CODE = f"for n in range({_CALLS}):\n    await mcp.bench.get(n=n)\nn"
_BRANCHES = tuple(("L1", "true", f"n in range({_CALLS})") for _ in range(_CALLS))
_WALLS = ("wasm", "ids", "pdeathsig", "undumpable", "no_new_privs", "landlock", "rlimits", "seccomp")
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


class _NoBox:
    came_to_nothing = False


async def _at_once(_jar: Jar, one: OneRun, *_: Any) -> tuple[_NoBox, Outcome]:
    """What a box does, without one: ten calls, and the result."""
    one._begin(_WALLS)
    door = one._door()
    for n in range(_CALLS):
        await door.answer(door.admit(Call(n + 1, "bench", "get", f'{{"n":{n}}}', 2)))
    door.end()
    return _NoBox(), Outcome(Result(str(_CALLS - 1), _BRANCHES), None)


@pytest.fixture
def jars(
    held: Held, tmp_path: Path, paths: Paths, server: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Jar, Jar]]:
    """One that traces nothing, one that traces and syncs."""
    monkeypatch.setattr(Jar, "_attempt", _at_once)
    off = Config(replace(paths, state=tmp_path), tracing=TracingConfig(enabled=False))
    on = replace(off, tracing=TracingConfig(cloud_url=server, api_key="bj_" + "0" * 32, flush_interval_s=0.2))
    made = [held.enter(open_jar(config, world=_Texts())) for config in (off, on)]
    for jar in made:
        run = held(jar.run(_CODE, options=_OPTIONS))
        held(run.captured())
        assert run.unwrap() == _CALLS - 1
    assert sum(run.trace["metadata"]["redactions"].values()) == 1
    yield made[0], made[1]
    held.leave()
    held.leave()


@dataclass(slots=True)
class _Taken:
    """Seconds, run by run."""

    waits: list[float] = field(default_factory=list[float])
    known_to_handed: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])

    async def run(self, jar: Jar, known: list[float]) -> None:
        gc.collect(0)
        cpu, began = time.process_time(), time.perf_counter()
        run = await jar.run(_CODE, options=_OPTIONS)
        handed = time.perf_counter()
        await run.captured()
        self.cpu.append(time.process_time() - cpu)
        self.waits.append(handed - began)
        self.known_to_handed.append(handed - known[-1])


async def _interleaved(jars: tuple[Jar, Jar], known: list[float]) -> tuple[_Taken, _Taken]:
    taken = _Taken(), _Taken()
    draw = random.Random(1)
    for _ in range(_ROUNDS + _WARM_UP):
        # In no order, and each after a rest: what one leaves behind to the scheduler and the caches, the other finds.
        for which in draw.sample((0, 1), 2):
            await asyncio.sleep(_REST_S)
            await taken[which].run(jars[which], known)
    for side in taken:
        for times in (side.waits, side.known_to_handed, side.cpu):
            del times[:_WARM_UP]
    return taken


def _p99(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


def _longer(off: Sequence[float], on: Sequence[float], of: Callable[[Sequence[float]], float]) -> str:
    """How much more the second is, in milliseconds, and within what range with 95 %: pairs are drawn anew."""
    draw, pairs = random.Random(1), list(zip(off, on, strict=True))
    drawn = list[float]()
    for _ in range(400):
        some = draw.choices(pairs, k=len(pairs))
        drawn.append(of([b for _, b in some]) - of([a for a, _ in some]))
    least, *_, most = statistics.quantiles(drawn, n=40)
    return f"{(of(on) - of(off)) * 1e3:+.3f} ({least * 1e3:+.3f} to {most * 1e3:+.3f}) ms"


def test_overhead(held: Held, jars: tuple[Jar, Jar], report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    known, finished = list[float](), OneRun.finished

    def noting(self: OneRun, outcome: Outcome) -> Run:
        known.append(time.perf_counter())
        return finished(self, outcome)

    monkeypatch.setattr(OneRun, "finished", noting)
    off, on = held(_interleaved(jars, known))
    plain = Baseline("untraced", median(off.waits))
    report.add(Figure("trace_overhead", "a run, untraced", _PAYLOAD, off.waits))
    report.add(Figure("trace_overhead", "a run, traced and synced", _PAYLOAD, on.waits, (plain,)))
    before = Baseline("untraced", median(off.known_to_handed))
    report.add(Figure("trace_overhead", "answer known to handed over", _PAYLOAD, on.known_to_handed, (before,)))
    report.note(
        f"trace_overhead: the caller waits longer by {_longer(off.waits, on.waits, median)} at p50 (reach <= 0.1), "
        f"{_longer(off.waits, on.waits, _p99)} at p99 (reach <= 1); of it between answer known and handed over "
        f"{_longer(off.known_to_handed, on.known_to_handed, median)} at p50, "
        f"{_longer(off.known_to_handed, on.known_to_handed, _p99)} at p99; "
        f"CPU of this process a trace {_longer(off.cpu, on.cpu, median)} (reach <= 0.2); "
        f"n = {_ROUNDS} interleaved, in brackets 95 %; the system this replaces allows 10 ms"
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

    baseline = Baseline("11 SDK spans", median(samples(200, spans, clock=time.process_time)))
    taken = samples(200, run._make_trace, clock=time.process_time)
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
