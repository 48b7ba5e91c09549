"""replay_sample: 32 of 1,000,000 prioritized traces drawn, a priority written back, and what a million of them hold.

Baseline: `numpy.random.Generator.choice` with the same probabilities, which needs the whole distribution each time.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

from belljar.learning.replay import PrioritizedReplay
from benchmarks.report import Baseline, Figure, Report, median

_ROWS = 1_000_000
_BATCH = 32
_PAYLOAD = f"{_BATCH} of {_ROWS:,}"


def _timed(work: Callable[[], object], rounds: int) -> list[float]:
    taken = list[float]()
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return taken


def test_replay_sample(benchmark: BenchmarkFixture, report: Report) -> None:
    rng = np.random.default_rng(0)
    priorities = rng.random(_ROWS)
    tracemalloc.start()
    replay = PrioritizedReplay()
    replay.add(np.arange(1, _ROWS + 1), priorities)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    benchmark.pedantic(replay.sample, (_BATCH, rng), rounds=100, warmup_rounds=10)
    chances = np.maximum(priorities, 0.01) ** 0.6
    chances /= chances.sum()
    choice = Baseline("Generator.choice", median(_timed(lambda: rng.choice(_ROWS, _BATCH, p=chances), 20)))
    drawn = _timed(lambda: replay.sample(_BATCH, rng), 2000)
    report.add(Figure("replay_sample", "a batch drawn", _PAYLOAD, drawn, (choice,), "<= 1 ms"))
    rows, news = rng.integers(1, _ROWS, _BATCH), rng.random(_BATCH)
    one = _timed(lambda: replay.update(rows[:1], news[:1]), 2000)
    report.add(Figure("replay_sample", "one priority written back", _PAYLOAD, one, (), "<= 0.1 ms"))
    many = [seconds / _BATCH for seconds in _timed(lambda: replay.update(rows, news), 2000)]
    report.add(Figure("replay_sample", "one of a batch written back", _PAYLOAD, many, (), "<= 0.1 ms"))
    report.note(f"replay_sample: {held / 1e6:.1f} MB held by {_ROWS:,} traces; reach: <= 64 MB")
