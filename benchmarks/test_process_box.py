"""process_box: the process backend - a parked worker's answer, a fork's, what it sustains, and its speed in the box.

Beside it, in the same run: the bare interpreter, and bwrap with the same interpreter if bwrap is installed; both start
a process for each run, and neither bounds memory or answers calls. Page faults are most of a fork's time, so figures
of different machines differ by more than their clocks: look at the ratios.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import psutil
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from belljar._run import Run
from belljar.jar import Jar, RunOptions
from belljar.limits import Limits
from belljar.rpc.messages import Execute, Result
from belljar.sandbox.host import BoxProcess, PoolKey, ZygoteProcess
from benchmarks.conftest import Held, OpenJar
from benchmarks.report import Baseline, Figure, Report, median, samples

_CODE = "1 + 1"
_OPTIONS = RunOptions(backend="process")
_KEY = PoolKey("process", Limits().memory)
_APART_S = 0.03
_ROUNDS = 150
_FORKS = 60
_SUSTAINED_S = 3.0
_KILLED = 100
_SPEED_ROUNDS = 21
_BWRAP = ("--ro-bind", "/", "/", "--unshare-all", "--die-with-parent", "--clearenv")
# Each repeated until it is long beside the reading of a clock.
_FIB = """\
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
def work():
    for _ in range(15):
        fib(22)
"""
_LOOP = """\
def work():
    total = 0
    for _ in range(5):
        for i in range(300_000):
            total = (total * 31 + i) % 1_000_003
"""
_JSON = """\
import json
def work():
    rows = [{"id": i, "name": "row %d" % i, "tags": ["a", "b"], "score": i / 7} for i in range(1000)]
    for _ in range(20):
        rows = json.loads(json.dumps(rows))
"""
_TIMED = """
def main():
    import time
    began = time.process_time()
    work()
    return time.process_time() - began
"""


@pytest.fixture(scope="module")
def others(bare: list[float], report: Report) -> list[Baseline]:
    found = [Baseline("bare", median(bare))]
    bwrap = shutil.which("bwrap")
    command = [bwrap or "", *_BWRAP, sys.executable, "-I", "-S", "-c", f"print({_CODE})"]
    if bwrap is None or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        report.note("bwrap: not installed, or not allowed here")
        return found
    taken = samples(30, lambda: subprocess.run(command, check=True, capture_output=True))
    report.add(Figure("process_box", "baseline: bwrap + python", _CODE, taken))
    return [*found, Baseline("bwrap", median(taken))]


def _run(held: Held, jar: Jar) -> Callable[[], None]:
    def once() -> None:
        assert held(jar.run(_CODE, None, _OPTIONS)).unwrap() == 2

    return once


@pytest.mark.parametrize("backend", ["process", "wasm"])
def test_parked(
    benchmark: BenchmarkFixture,
    held: Held,
    open_held_jar: OpenJar,
    others: list[Baseline],
    report: Report,
    backend: str,
) -> None:
    jar = open_held_jar()
    once = _run(held, jar) if backend == "process" else lambda: held(jar.run(_CODE)).unwrap()
    benchmark.pedantic(once, setup=lambda: held(asyncio.sleep(_APART_S)), rounds=_ROUNDS, warmup_rounds=10)
    case = f"pre-forked, {_APART_S * 1e3:.0f} ms apart" if backend == "process" else "baseline: parked wasm box"
    reach = "<= 1 ms" if backend == "process" else ""
    report.add(Figure("process_box", case, _CODE, _data(benchmark), others, reach))


def test_sustained(held: Held, open_held_jar: OpenJar, others: list[Baseline], report: Report) -> None:
    """Back to back, from two callers at once."""
    jar = open_held_jar()

    async def caller(until: float) -> int:
        count = 0
        while time.perf_counter() < until:
            assert (await jar.run(_CODE, None, _OPTIONS)).success
            count += 1
        return count

    async def sustained() -> float:
        until = time.perf_counter() + _SUSTAINED_S
        return sum(await asyncio.gather(caller(until), caller(until))) / _SUSTAINED_S

    held(caller(time.perf_counter() + 1))
    rates = [held(sustained()) for _ in range(3)]
    report.add(Figure("process_box", "sustained, two callers", _CODE, rates, rate=True))


def test_recovery(held: Held, open_held_jar: OpenJar, report: Report) -> None:
    """A hundred parked workers killed at once, and then a hundred runs, two callers: how many a second are answered."""
    jar = open_held_jar(size=_KILLED)
    held(jar.run(_CODE, None, _OPTIONS))
    rates: list[float] = []
    for _ in range(5):
        held(_full(jar))
        before = set(jar.pool.pids())
        for pid in _workers(before):
            os.kill(pid, signal.SIGKILL)
        began = time.perf_counter()
        for _ in range(_KILLED // 2):
            for run in held(_two(jar)):
                run.unwrap()
        rates.append(_KILLED / (time.perf_counter() - began))
    report.add(Figure("process_box", f"{_KILLED} parked workers killed, then runs", _CODE, rates, rate=True))


async def _two(jar: Jar) -> list[Run]:
    return list(await asyncio.gather(*[jar.run(_CODE, None, _OPTIONS) for _ in range(2)]))


async def _full(jar: Jar) -> None:
    while len(_workers(set(jar.pool.pids()))) < _KILLED:  # noqa: ASYNC110 - other processes
        await asyncio.sleep(0.01)


def _workers(pids: set[int]) -> list[int]:
    """Native ones: forks show the command line of their zygote, which has another parent."""
    found: list[int] = []
    for pid in pids:
        with suppress(psutil.Error):  # it has just ended
            process = psutil.Process(pid)
            if process.ppid() in pids and '"backend": "process"' in " ".join(process.cmdline()):
                found.append(pid)
    return found


def test_fork_to_result(benchmark: BenchmarkFixture, held: Held, others: list[Baseline], report: Report) -> None:
    """From the request to fork until the result is there, one after the other."""
    zygote = held.enter(_serving())
    boxes: list[BoxProcess] = []

    def end() -> None:
        for box in boxes:
            held(_gone(box))
        boxes.clear()

    benchmark.pedantic(lambda: held(_forked_result(zygote, boxes)), setup=end, rounds=_FORKS, warmup_rounds=3)
    end()
    report.add(Figure("process_box", "fork to result", _CODE, _data(benchmark), others, "<= 4 ms"))


@asynccontextmanager
async def _serving() -> AsyncIterator[ZygoteProcess]:
    async with anyio.create_task_group() as tasks:
        zygote = ZygoteProcess(_KEY, 1)
        tasks.start_soon(zygote.listen)
        try:
            await zygote.wait_serving()
            yield zygote
        finally:
            zygote.close()
            tasks.cancel_scope.cancel()


async def _forked_result(zygote: ZygoteProcess, boxes: list[BoxProcess]) -> None:
    started = anyio.Event()

    def arrived(box: BoxProcess) -> None:
        boxes.append(box)
        started.set()

    assert zygote.fork(arrived)
    await started.wait()
    box = boxes[-1]
    await box.parked()
    await box.send(Execute("r", _CODE, "{}", "0" * 64, time.time_ns()))
    result = await box.receive()
    assert isinstance(result, Result)
    assert result.value == "2"


async def _gone(box: BoxProcess) -> None:
    await box.gone.wait()
    box.end()


@pytest.mark.parametrize(
    ("payload", "code"),
    [("15 x fib(22)", _FIB), ("5 x 300k turns", _LOOP), ("20 x json of 1000 rows", _JSON)],
    ids=["fib", "loop", "json"],
)
def test_native_speed(held: Held, open_held_jar: OpenJar, report: Report, payload: str, code: str) -> None:
    """The same code under the same interpreter, in a box and without one, each by the time that it had a core:
    what starting costs is measured above, and the next boxes are forked beside it."""
    jar = open_held_jar()
    inside: list[float] = []
    outside: list[float] = []
    command = [sys.executable, "-I", "-S", "-c", f"{code}{_TIMED}print(main())"]
    for _ in range(_SPEED_ROUNDS):
        outside.append(float(subprocess.run(command, check=True, capture_output=True).stdout))
        inside.append(float(held(jar.run(code + _TIMED, None, _OPTIONS)).unwrap()))
    report.add(Figure("process_box", "baseline: without a box", payload, outside))
    report.add(
        Figure("process_box", "speed in the box", payload, inside, [Baseline("host", median(outside))], "<= 1.05x")
    )


def _data(benchmark: BenchmarkFixture) -> list[float]:
    return benchmark.stats.stats.data if benchmark.stats else []
