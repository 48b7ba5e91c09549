"""What a person sees: text that was escaped, colour at a terminal only, tables drawn when there is something in them.

Standard output is written as bytes and may be a pipe whose reader has gone; then the rest is dropped without a word, as
other tools do. Everything that is not the result goes to standard error. rich is imported where it draws.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from belljar import show

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["escaped", "note", "out", "out_json", "progress", "table"]


def out(text: str) -> None:
    """Onto standard output, with a line feed. The text must be fit for a terminal."""
    try:
        sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Python flushes once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def out_json(value: object) -> None:
    """One JSON value on one line, in ASCII: no character in it can touch a terminal."""
    out(json.dumps(value, separators=(",", ":")))


def note(text: str) -> None:
    """A line on standard error. The text must be fit for a terminal."""
    print(text, file=sys.stderr, flush=True)


def escaped(text: str) -> str:
    """Foreign text in full, line feeds kept."""
    return "\n".join(show.text(line, max_chars=12 * len(line) + 24, multiline=True) for line in text.split("\n"))


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    to_stdout: bool = False,
    title: str = "",
    whole: int = 0,
    bold: Collection[int] = (),
) -> None:
    """A table. Cells are plain text, fit for a terminal; markup is not known here.

    Args:
        columns: their heads.
        rows: their cells.
        to_stdout: because it is the result.
        title: above it.
        whole: so many columns, the first, never fold.
        bold: rows that stand out at a terminal.
    """
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(title) if title else None, title_justify="left", box=None, pad_edge=False)
    for n, column in enumerate(columns):
        drawn.add_column(Text(column), overflow="fold", no_wrap=n < whole)
    for n, cells in enumerate(rows):
        drawn.add_row(*map(Text, cells), style="bold" if n in bold else None)
    console = _console(to_stdout)
    try:
        console.print(drawn)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), console.file.fileno())


def _console(to_stdout: bool) -> Console:
    from rich.console import Console

    stream = sys.stdout if to_stdout else sys.stderr
    at_terminal = stream.isatty()
    return Console(
        file=stream,
        force_terminal=at_terminal,
        no_color=not at_terminal or bool(os.environ.get("NO_COLOR")),
        markup=False,
        highlight=False,
        emoji=False,
        width=None if at_terminal else 120,
    )


Tick = Callable[[float, float], None]


def progress(what: str) -> AbstractContextManager[Tick]:
    """A bar on standard error for something that happens rarely; without a terminal, one line."""
    if sys.stderr.isatty():
        return _Bar(what)
    said: list[bool] = []

    def tick(_passed: float, expected: float) -> None:
        if not said:
            said.append(True)
            note(f"{what} (about {expected:.0f} s)")

    return nullcontext(tick)


class _Bar:
    """Appears with the first tick: mostly there is none."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Tick:
        return self._tick

    def __exit__(self, *_exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _tick(self, passed: float, expected: float) -> None:
        if self._bar is None:
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=_console(to_stdout=False), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=None)
        # It may take longer than was thought; a full bar that stays would look stuck.
        self._bar.update(self._task, total=max(expected, passed * 1.05), completed=passed)
