"""What was measured, and how it is written down: one table a person can paste, headed by the machine it was taken on.

A figure alone says little, because machines differ and are busy with other things. So each one stands beside a baseline
that was measured in the same run, and the ratio of the two is what can be compared. Nothing here judges: the column
`reach` says what we aim at, and no figure fails a run.
"""

from __future__ import annotations

import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from belljar import __version__

__all__ = ["Baseline", "Figure", "Report", "median", "p95", "per", "samples"]

_HEAD = ("benchmark", "case", "payload", "n", "median", "p95", "ratio", "reach")
_VERSIONS = ("wasmtime", "msgpack", "anyio", "pydantic")


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def p95(values: Sequence[float]) -> float:
    """The value that 95 % of the samples do not exceed (nearest rank)."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def per(count: int, whole: Sequence[float], empty: Sequence[float]) -> list[float]:
    """What one of `count` pieces took: each sample less the empty one measured beside it, divided; same unit."""
    return [(a - b) / count for a, b in zip(whole, empty, strict=True)]


def samples(
    rounds: int,
    work: Callable[[], object],
    *,
    warm_up: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Seconds `work` took, `rounds` times; by CPU time (`clock`) for what only computes, on a busy machine."""
    for _ in range(warm_up):
        work()
    return [_timed(work, clock) for _ in range(rounds)]


def _timed(work: Callable[[], object], clock: Callable[[], float]) -> float:
    began = clock()
    work()
    return clock() - began


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a figure is held against, by its name and its median in the figure's unit."""

    name: str
    median: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `rate`: the samples are runs per second, and more is better; else they are seconds."""

    benchmark: str
    case: str
    payload: str
    samples: Sequence[float]
    against: Sequence[Baseline] = ()
    reach: str = ""
    rate: bool = False

    def cells(self) -> tuple[str, ...]:
        # Of a rate, the slow end is the low one: 95 % of the samples are at least this.
        slow = -p95([-value for value in self.samples]) if self.rate else p95(self.samples)
        middle = median(self.samples)
        ratios = "; ".join(f"{middle / base.median:.2f}x {base.name}" for base in self.against if base.median > 0)
        shown = (self._show(middle), self._show(slow))
        return (self.benchmark, self.case, self.payload, str(len(self.samples)), *shown, ratios, self.reach)

    def _show(self, value: float) -> str:
        if self.rate:
            return f"{value:.0f}/s"
        return f"{value * 1e6:.0f} us" if abs(value) < 0.5e-3 else f"{value * 1e3:.2f} ms"


@dataclass(slots=True)
class Report:
    """Figures and notes of one session, in the order they came."""

    figures: list[Figure] = field(default_factory=list[Figure])
    notes: list[str] = field(default_factory=list[str])

    def add(self, figure: Figure) -> None:
        if figure.samples:
            self.figures.append(figure)

    def note(self, text: str) -> None:
        """Something the reader must know, such as a baseline that is not there; said once."""
        if text not in self.notes:
            self.notes.append(text)

    def text(self) -> str:
        """The whole report in Markdown."""
        rows = [_HEAD, *(figure.cells() for figure in self.figures)]
        widths = [max(len(row[place]) for row in rows) for place in range(len(_HEAD))]
        lines = [_line(row, widths) for row in rows]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        notes = [f"- {note}" for note in self.notes]
        return "\n".join([machine(), "", *lines, "", *notes])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"


def machine() -> str:
    """Processor, system, versions and load, in one paragraph."""
    load = "/".join(f"{value:.1f}" for value in os.getloadavg())
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _VERSIONS)
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}; "
        f"CPython {platform.python_version()} ({sys.platform}); belljar {__version__}, {versions}; "
        f"load at the end {load}; {time.strftime('%Y-%m-%d', time.gmtime())}."
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
