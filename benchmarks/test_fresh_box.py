"""fresh_box: `1 + 1` from the caller's hand to its result, through the asyncio host, both walls up.

Parked: the runs are far enough apart that a box waits. Back to back: they are not, so forking is part of the time. With
reuse a worker serves one principal again, in a fresh box of the same process.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from belljar.jar import Jar
from benchmarks.conftest import Held, OpenJar
from benchmarks.report import Baseline, Figure, Report, median, samples

_CODE = "1 + 1"
# Long enough for the pool to fork and wall in one box; at least 10 ms.
_APART_S = 0.02
_PARKED_ROUNDS = 150
_BACK_TO_BACK_ROUNDS = 100
_OTHER_ROUNDS = 20
_REUSE = 1000


@pytest.fixture(scope="module")
def others(bare: list[float], report: Report) -> list[Baseline]:
    """The bare interpreter, and the sandboxes that are installed."""
    found = [Baseline("bare", median(bare))]
    for name, module, opened in (("pyeryx", "eryx", _eryx), ("pydantic-monty", "pydantic_monty", _monty)):
        try:
            package = importlib.import_module(module)
        except ImportError:
            report.note(f"{name}: not installed")
            continue
        with opened(package) as once:
            taken = samples(_OTHER_ROUNDS, once)
        report.add(Figure("fresh_box", f"baseline: {name}", _CODE, taken))
        found.append(Baseline(name, median(taken)))
    return found


@contextmanager
def _eryx(package: Any) -> Iterator[Callable[[], None]]:
    """A new sandbox each time; in this process, as it works."""

    def once() -> None:
        assert package.Sandbox().execute(f"print({_CODE})").stdout.strip() == "2"

    yield once


@contextmanager
def _monty(package: Any) -> Iterator[Callable[[], None]]:
    """A new session each time, from one pool of workers that stays open, as ours does."""
    with package.Monty() as pool:

        def once() -> None:
            with pool.checkout() as session:
                assert session.feed_run(_CODE) == 2

        yield once


def _run(held: Held, jar: Jar) -> Callable[[], None]:
    def once() -> None:
        assert held(jar.run(_CODE)).unwrap() == 2

    return once


@pytest.mark.parametrize(
    ("reuse", "reach"), [(1, "<= 0.9 ms, 0.15x bare, 0.4x pyeryx"), (_REUSE, "<= 0.6 ms")], ids=["single-use", "reuse"]
)
def test_parked(
    benchmark: BenchmarkFixture,
    held: Held,
    open_held_jar: OpenJar,
    others: list[Baseline],
    report: Report,
    reuse: int,
    reach: str,
) -> None:
    jar = open_held_jar(reuse=reuse)
    benchmark.pedantic(
        _run(held, jar), setup=lambda: held(asyncio.sleep(_APART_S)), rounds=_PARKED_ROUNDS, warmup_rounds=5
    )
    case = f"parked, {_APART_S * 1e3:.0f} ms apart{', reuse' if reuse > 1 else ''}"
    report.add(Figure("fresh_box", case, _CODE, _data(benchmark), others, reach))


@pytest.mark.parametrize(("reuse", "reach"), [(1, "<= 6 ms"), (_REUSE, "<= 2.5 ms")], ids=["single-use", "reuse"])
def test_back_to_back(
    benchmark: BenchmarkFixture,
    held: Held,
    open_held_jar: OpenJar,
    others: list[Baseline],
    report: Report,
    reuse: int,
    reach: str,
) -> None:
    jar = open_held_jar(reuse=reuse)
    benchmark.pedantic(_run(held, jar), rounds=_BACK_TO_BACK_ROUNDS, warmup_rounds=10)
    case = f"back to back{', reuse' if reuse > 1 else ''}"
    report.add(Figure("fresh_box", case, _CODE, _data(benchmark), others, reach))


def _data(benchmark: BenchmarkFixture) -> list[float]:
    return benchmark.stats.stats.data if benchmark.stats else []
