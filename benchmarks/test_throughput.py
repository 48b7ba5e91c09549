"""throughput: runs per second with every trace made, one stream on one core and two streams on two.

Host, zygote and workers are held to the same cores. Both series are taken in turn, so that what else the machine does
weighs on both; the ratio is what a second core brings.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import anyio
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from belljar.jar import Jar
from benchmarks.conftest import Held, OpenJar
from benchmarks.report import Baseline, Figure, Report, median

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs to choose its cores")

_CODE = "1 + 1"
_RUNS = 50
_ROUNDS = 4
_REUSE = 1000


@pytest.fixture
def cores() -> Iterator[list[int]]:
    """The cores we may use; afterwards we may use them all again."""
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("needs two cores")
    yield sorted(allowed)
    os.sched_setaffinity(0, allowed)


async def _stream(jar: Jar, runs: int) -> None:
    for _ in range(runs - 1):
        await jar.run(_CODE)
    last = await jar.run(_CODE)
    assert last.unwrap() == 2
    await last.captured()


async def _streams(jar: Jar, count: int) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(_stream, jar, _RUNS)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    ("reuse", "reach"), [(1, ">= 150/s a core"), (_REUSE, ">= 350/s a core")], ids=["single-use", "reuse"]
)
def test_throughput(
    benchmark: BenchmarkFixture,
    held: Held,
    open_held_jar: OpenJar,
    cores: list[int],
    report: Report,
    reuse: int,
    reach: str,
) -> None:
    # A zygote stays on the cores it was started on.
    os.sched_setaffinity(0, cores[:1])
    narrow = open_held_jar(reuse=reuse)
    os.sched_setaffinity(0, cores[:2])
    wide = open_held_jar(reuse=reuse)
    single: list[float] = []

    def on_one_core() -> None:
        os.sched_setaffinity(0, cores[:1])
        began = time.perf_counter()
        held(_streams(narrow, 1))
        single.append(_RUNS / (time.perf_counter() - began))
        os.sched_setaffinity(0, cores[:2])

    benchmark.pedantic(lambda: held(_streams(wide, 2)), setup=on_one_core, rounds=_ROUNDS, warmup_rounds=1)
    if not benchmark.stats:
        return
    kind = "reuse" if reuse > 1 else "single-use"
    payload = f"{_CODE}, {_RUNS} runs a stream, traces made"
    base = [Baseline("1 core", median(single))]
    double = [2 * _RUNS / seconds for seconds in benchmark.stats.stats.data]
    report.add(Figure("throughput", f"{kind}, 1 stream on 1 core", payload, single[1:], (), reach, rate=True))
    report.add(Figure("throughput", f"{kind}, 2 streams on 2 cores", payload, double, base, ">= 1.6x", rate=True))
