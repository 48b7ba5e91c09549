"""training: the model trained on 10,000 runs, on one thread.

Baseline: the counts the server answers from without a model, made of the same runs.
"""

from __future__ import annotations

import time

from pytest_benchmark.fixture import BenchmarkFixture

from belljar.learning.baselines import Counts
from belljar.learning.synthetic import world
from belljar.learning.training import Trained, train
from benchmarks.report import Baseline, Figure, Report, median, samples

_RUNS = 10_000


def test_training(benchmark: BenchmarkFixture, report: Report) -> None:
    some = world("structured", runs=_RUNS)
    taken = list[float]()

    def trained() -> Trained:
        began = time.process_time()
        found = train(some.runs, some.texts)
        taken.append(time.process_time() - began)
        return found

    found = benchmark.pedantic(trained, rounds=1)
    counts = Baseline(
        "counts of the same runs", median(samples(3, lambda: Counts.fit(some.runs, some.texts), warm_up=1))
    )
    report.add(Figure("training", "a model, processor time", f"{_RUNS:,} runs", taken, (counts,), "<= 5 min"))
    report.note(f"training: {len(found.losses)} steps, loss {found.losses[0]:.2f} to {found.losses[-1]:.2f}")
