"""worker_ready: a zygote from its start until it forks on demand, and a fork until its box is parked and walled."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from belljar.config import Paths
from belljar.limits import Limits
from belljar.sandbox.compiled import open_compiled
from belljar.sandbox.host import BoxProcess, PoolKey, ZygoteProcess
from benchmarks.conftest import Held
from benchmarks.report import Baseline, Figure, Report, median

_KEY = PoolKey("wasm", Limits().memory)
_ZYGOTES = 12
_FORKS = 60


@pytest.fixture
def cwasm(paths: Paths) -> Iterator[int]:
    descriptor = open_compiled(paths.cache)
    yield descriptor
    os.close(descriptor)


@asynccontextmanager
async def _serving(cwasm: int) -> AsyncIterator[ZygoteProcess]:
    async with anyio.create_task_group() as tasks:
        zygote = ZygoteProcess(_KEY, 1, cwasm=cwasm)
        tasks.start_soon(zygote.listen)
        try:
            await zygote.wait_serving()
            yield zygote
        finally:
            zygote.close()
            tasks.cancel_scope.cancel()


async def _parked(zygote: ZygoteProcess, boxes: list[BoxProcess]) -> None:
    started = anyio.Event()

    def arrived(box: BoxProcess) -> None:
        boxes.append(box)
        started.set()

    assert zygote.fork(arrived)
    await started.wait()
    await boxes[-1].parked()


async def _end(boxes: list[BoxProcess]) -> None:
    for box in boxes:
        box.end()
        await box.gone.wait()
    boxes.clear()


def test_zygote(benchmark: BenchmarkFixture, held: Held, cwasm: int, bare: list[float], report: Report) -> None:
    benchmark.pedantic(lambda: held.enter(_serving(cwasm)), teardown=held.leave, rounds=_ZYGOTES, warmup_rounds=1)
    data = benchmark.stats.stats.data if benchmark.stats else []
    base = [Baseline("bare", median(bare))]
    report.add(Figure("worker_ready", "zygote start to ready", "guest of 256 MiB", data, base, "<= 100 ms"))


def test_fork(benchmark: BenchmarkFixture, held: Held, cwasm: int, bare: list[float], report: Report) -> None:
    zygote = held.enter(_serving(cwasm))
    boxes: list[BoxProcess] = []
    benchmark.pedantic(
        lambda: held(_parked(zygote, boxes)), teardown=lambda: held(_end(boxes)), rounds=_FORKS, warmup_rounds=3
    )
    data = benchmark.stats.stats.data if benchmark.stats else []
    base = [Baseline("bare", median(bare))]
    report.add(Figure("worker_ready", "fork to parked and walled", "guest of 256 MiB", data, base, "<= 6 ms"))
