"""What `scripts/learning-demo` does: the small world at work for some hundreds of runs, and what is suggested then.

A table, a row a batch; then one suggestion with what speaks for it, and a model held against it. Exit 1 if suggestions
did not get better, did not suffer when `north` got worse, or did not recover.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

import anyio

from belljar import show
from scripts._learning import world
from scripts._learning.lab import Lab, Row, opened
from scripts._learning.processes import Failed

_SEED = 64
_BATCH = 50
_BEFORE, _AFTER = 6, 6
# It takes some ten seconds on two quiet cores.
_TRAINING_S = 180.0
_HEAD = (
    "        Hit@1                        followed, it     Brier score\n"
    "traces   capability  next tool        succeeds  known  foreseen known"
)
_ASKED = "let the customers know about a delay"


def main() -> int:
    """Do it; the exit status."""
    options = _options()
    try:
        with tempfile.TemporaryDirectory(prefix="belljar-learning-") as folder:
            return anyio.run(_whole, Path(folder), options)
    except ExceptionGroup as group:
        failed, others = group.split(Failed)
        if failed is None or others is not None:
            raise
        sys.stderr.write(f"scripts/learning-demo: {_first(failed)}\n")
        return 1


def _first(failed: BaseException) -> BaseException:
    return _first(failed.exceptions[0]) if isinstance(failed, BaseExceptionGroup) else failed


async def _whole(folder: Path, options: argparse.Namespace) -> int:
    status = 130
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_until_told, tasks.cancel_scope)
        status = await _shown(folder, options)
        tasks.cancel_scope.cancel()
    return status


async def _until_told(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async for _ in signals:
            scope.cancel()
            return


async def _shown(folder: Path, options: argparse.Namespace) -> int:
    _progress(f"Starting a server and {options.clients} clients ...")
    async with opened(folder, cache=_cache(), seed=options.seed, clients=options.clients) as lab:
        _say(_introduction(options))
        rows, total = [await lab.row([])], (_BEFORE + _AFTER) * _BATCH
        _say(f"{_HEAD}\n{_line(rows[0])}")
        for number, runs in zip(range(1, _BEFORE + _AFTER + 1), world.plan(options.seed, _BATCH), strict=False):
            if number > _BEFORE and not lab.worse:
                lab.worsen()
                _say("        -- server `north` gets worse --")
            done = len(rows) * _BATCH - _BATCH
            stored = await lab.batch(runs, lambda some, done=done: _progress(f"{done + some} of {total} traces ..."))
            rows.append(await lab.row(stored))
            _say(_line(rows[-1]))
        await _evidence(lab)
        await _model(lab)
        return _judged(rows)


def _introduction(options: argparse.Namespace) -> str:
    ways, asked, runs = len(world.CAPABILITIES), len(world.QUESTIONS), (_BEFORE + _AFTER) * _BATCH
    return (
        f"{ways} capabilities do {ways // 3} things: three for each, one good, one fair, one flaky; which, nobody is "
        f"told.\n{options.clients} clients run them {runs} times in boxes, against MCP servers that fail in a hidden "
        f"way, and\nsend their traces to `belljar serve`. Every {_BATCH} traces it is asked {asked} questions, in "
        f"words that were\nnot used before: is what it suggests first truly the best? How likely is that to succeed? "
        f"And how\nwell had it foreseen how the last {_BATCH} runs would end? `known`: who knows all failure rates.\n"
    )


def _line(row: Row) -> str:
    foreseen = f"{'-':>8} {'-':>8}" if not row.traces else f"{row.brier:8.2f} {row.known:8.2f}"
    note = f"   abstains, {row.abstained} times" if row.abstained else ""
    return (
        f"{row.traces:6} {row.capabilities:11.2f} {row.tools:10.2f}  {_bar(row.hits)} "
        f"{row.followed:7.0%} {row.possible:8.0%} {foreseen}{note}"
    )


def _bar(share: float) -> str:
    return f"{'#' * round(8 * share):<8}"


async def _evidence(lab: Lab) -> None:
    """What is suggested for one of the questions, why, and one of the traces that speak for it."""
    command = ["suggest", _ASKED, "--limit", "2"]
    _say(f"\n$ belljar suggest '{_ASKED}' --limit 2")
    _say(await lab.belljar(*command))
    answer = await lab.suggestions(intent=_ASKED)
    first = answer["suggestions"][0]
    low, high = first["interval"]
    _say(
        f"{show.name(first['name'])}: succeeded in {first['successRate']:.0%} of {first['n']} runs, "
        f"truly in {low:.0%} to {high:.0%} with 95 % certainty.\nIts evidence: {', '.join(first['evidence'])}\n"
    )
    shown = first["evidence"][0]
    _say(f"$ belljar traces show {shown}")
    _say(await lab.belljar("traces", "show", shown))


async def _model(lab: Lab) -> None:
    """A model trained on the same traces, held against what needs none on those that it did not see."""
    if find_spec("torch") is None:
        _say("No model is trained: PyTorch is not installed (pip install 'belljar[learn]').\n")
        return
    _say("$ belljar learn train")
    _say(await lab.belljar("learn", "train", "--db", lab.database, seconds=_TRAINING_S))


def _judged(rows: list[Row]) -> int:
    """0 if it got better, suffered, and recovered."""
    before, after = rows[1 : _BEFORE + 1], rows[_BEFORE + 1 :]
    first, last = fmean(row.hits for row in before[:2]), fmean(row.hits for row in before[-2:])
    fell, again = after[0].hits, fmean(row.hits for row in after[-2:])
    at_first, in_the_end = fmean(row.excess for row in before[:2]), fmean(row.excess for row in before[-2:])
    _say(
        f"Hit@1 {first:.2f} in the first hundred traces and {last:.2f} in the last before `north` got worse;\n"
        f"{fell:.2f} when it had, {again:.2f} in the end. Brier score above what chance leaves: {at_first:.3f} in the\n"
        f"first hundred, {in_the_end:.3f} in the last before."
    )
    if first < last and fell < last and fell < again and in_the_end < at_first:
        return 0
    sys.stderr.write("scripts/learning-demo: suggestions did not get better\n")
    return 1


def _say(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _progress(text: str) -> None:
    """In place, at a terminal; elsewhere the rows are progress enough."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _cache() -> Path:
    """The compiled guest is worth keeping: it is the user's own."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "belljar"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/learning-demo",
        description="Start a server and clients, run some hundreds of real boxes against MCP servers that fail in "
        "hidden ways, and show how suggestions get better with the traces. Ctrl-C ends and removes all of it.",
    )
    parser.add_argument("--seed", type=int, default=_SEED, help=f"another truth to find out; default {_SEED}")
    parser.add_argument("--clients", type=int, default=3, choices=range(1, 9), metavar="N", help="1 to 8; default 3")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
