"""faker_overhead: a real server on stdio through `belljar faker`, against the same server asked directly.

One call after the other, the direct one and the proxied one by turns, so that a busy moment weighs on both.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.report import Baseline, Figure, Report, median
from tests import conftest
from tests.faker.wire import Wire, faker

_ROUNDS = 1000
_WARM_UP = 50
_STARTS = 9


@pytest.fixture
def server(tmp_path: Path) -> list[str]:
    (tmp_path / "a.txt").write_text("hello\n" * 20)
    return [*conftest.command_of("server-filesystem"), str(tmp_path)]


@pytest.fixture
def wires(server: list[str], tmp_path: Path) -> Iterator[dict[str, Wire]]:
    with (
        Wire(server, state=tmp_path) as direct,
        Wire(faker("--", *server), state=tmp_path) as fake,
        Wire(faker("--passthrough", "--", *server), state=tmp_path) as passing,
    ):
        found = {"direct": direct, "faker": fake, "passthrough": passing}
        for wire in found.values():
            wire.begin()
            wire.ask("tools/list")
        yield found


def test_proxied_read(benchmark: BenchmarkFixture, wires: dict[str, Wire], tmp_path: Path, report: Report) -> None:
    path = str(tmp_path / "a.txt")
    taken: dict[str, list[float]] = {name: [] for name in wires}

    def by_turns() -> None:
        for name, wire in wires.items():
            began = time.perf_counter()
            wire.call("read_text_file", path=path)
            taken[name].append(time.perf_counter() - began)
            wire.lines.clear()

    benchmark.pedantic(by_turns, rounds=_ROUNDS, warmup_rounds=_WARM_UP)
    direct = [Baseline("direct", median(taken["direct"][_WARM_UP:]))]
    payload = "read_text_file, 120 B, server-filesystem"
    report.add(Figure("faker_overhead", "baseline: asked directly", payload, taken["direct"][_WARM_UP:]))
    report.add(Figure("faker_overhead", "read, proxied", payload, taken["faker"][_WARM_UP:], direct, "<= 1.3x"))
    report.add(Figure("faker_overhead", "read, passed through", payload, taken["passthrough"][_WARM_UP:], direct))


def test_intercepted_write(benchmark: BenchmarkFixture, wires: dict[str, Wire], tmp_path: Path, report: Report) -> None:
    numbers = itertools.count()

    def write() -> None:
        wires["faker"].call("write_file", path=str(tmp_path / f"w{next(numbers)}"), content="x")

    benchmark.pedantic(write, rounds=_ROUNDS, warmup_rounds=_WARM_UP)
    data = benchmark.stats.stats.data if benchmark.stats else []
    report.add(Figure("faker_overhead", "write, intercepted", "write_file, 1 B", data, reach="<= 1 ms"))


def test_start(benchmark: BenchmarkFixture, server: list[str], tmp_path: Path, report: Report) -> None:
    commands = {"direct": server, "faker": faker("--", *server)}
    taken: dict[str, list[float]] = {name: [] for name in commands}

    def by_turns() -> None:
        for name, command in commands.items():
            began = time.perf_counter()
            with Wire(command, state=tmp_path) as wire:
                wire.begin()
                taken[name].append(time.perf_counter() - began)
                wire.end()

    benchmark.pedantic(by_turns, rounds=_STARTS, warmup_rounds=1)
    direct = median(taken["direct"][1:])
    report.add(Figure("faker_overhead", "baseline: started directly", "to the first answer", taken["direct"][1:]))
    goal = Baseline("(1.1 direct + 400 ms)", 1.1 * direct + 0.4)
    report.add(Figure("faker_overhead", "start", "to the first answer", taken["faker"][1:], [goal], "<= 1.0x"))
