"""cold_start: `belljar run -c '1 + 1' --json` as a whole process, its caches warm, against a whole bare process."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from belljar.config import Paths
from benchmarks.conftest import start_python
from benchmarks.report import Baseline, Figure, Report, median, samples

_CODE = "1 + 1"
_ROUNDS = 12


def _command_line(paths: Paths, folder: Path) -> Callable[[], None]:
    homes = {
        "XDG_CACHE_HOME": paths.cache.parent,
        "XDG_CONFIG_HOME": folder,
        "XDG_STATE_HOME": folder,
        "XDG_DATA_HOME": folder,
    }
    environment = {**os.environ, **{name: str(path) for name, path in homes.items()}}
    command = [sys.executable, "-m", "belljar", "run", "-c", _CODE, "--json"]

    def once() -> None:
        done = subprocess.run(
            command, check=True, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        assert json.loads(done.stdout)["value"] == 2

    return once


@pytest.mark.skipif(importlib.util.find_spec("belljar.__main__") is None, reason="there is no command line")
def test_cold_start(benchmark: BenchmarkFixture, paths: Paths, tmp_path: Path, report: Report) -> None:
    bare = samples(_ROUNDS, start_python("-c", "1"))
    report.add(Figure("cold_start", "baseline: an interpreter", "python -c 1", bare))
    benchmark.pedantic(_command_line(paths, tmp_path), rounds=_ROUNDS, warmup_rounds=1)
    data = benchmark.stats.stats.data if benchmark.stats else []
    payload = f"belljar run -c '{_CODE}' --json"
    report.add(
        Figure("cold_start", "whole process", payload, data, [Baseline("python -c 1", median(bare))], "<= 400 ms")
    )
