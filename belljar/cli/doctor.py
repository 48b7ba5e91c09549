"""`belljar doctor`: what the walls deny on this machine now, tried from inside real workers and real boxes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from belljar.sandbox.probes import ProbeResult

__all__ = ["add"]

_EPILOG = """\b
Examples:
  belljar doctor
  belljar doctor --json
  belljar doctor --waive seccomp    (what would get through without it)

\b
Exit: 0 everything was denied and every wall is up, 4 otherwise.
"""


def add(app: typer.Typer) -> None:
    """Register the verb."""
    app.command("doctor", epilog=_EPILOG)(_doctor)


def _doctor(
    waive: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A wall to take away, to see what it stops. Repeatable.")
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="A belljar.toml.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Log what happens to stderr.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list on stdout: probe, wall, denied, detail.")
    ] = False,
) -> None:
    """Try what code in a box would try to get out, and show which wall denies it.

    Not what is configured counts, but what happens: each probe runs behind the walls of a real worker or in a box.
    """
    from belljar.cli import _ending

    if debug:
        _ending.log_to_stderr()
    raise typer.Exit(_ending.ending(lambda: _examine(waive or [], config, as_json), debug=debug))


def _examine(names: list[str], config: Path | None, as_json: bool) -> int:
    from belljar.cli import _probing, _screen, _setup
    from belljar.errors import EXIT, Code
    from belljar.sandbox.probes import to_json

    configured = _setup.configure(config=config)
    waive = _setup.walls_of(names)
    _setup.with_guest(configured)
    results = [*_probing.boxed(configured, waive), *_probing.native(waive)]
    if as_json:
        _screen.out_json(to_json(results))
    else:
        _show(results)
    return 0 if all(result.denied for result in results) else EXIT[Code.WALL_MISSING]


def _show(results: list[ProbeResult]) -> None:
    from belljar import show
    from belljar.cli import _probing, _screen

    for wall in _probing.walls():
        rows = [
            ("denied" if result.denied else "NOT DENIED", show.text(result.probe), show.text(result.detail))
            for result in results
            if result.wall == wall.name
        ]
        if rows:
            _screen.out(f"\n{wall.name}: stops {wall.stops}; if missing, {wall.without}")
            _screen.table(("", "probe", "how"), rows, to_stdout=True)
    open_ones = sorted({result.wall for result in results if not result.denied})
    _screen.out(f"\nNOT SAFE: look at {', '.join(open_ones)}" if open_ones else "\nEvery probe was denied.")
