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
_NAMED = 4


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
        bool, typer.Option("--json", help="Print a JSON list on stdout: probe, wall, denied, detail, backend.")
    ] = False,
) -> None:
    """Try what code in a box would try to get out, and show which wall denies it.

    Not what is configured counts, but what happens: each probe runs behind the walls of a real worker or in a box, once
    for each backend.
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
    results: list[ProbeResult] = []
    for backend in _probing.BACKENDS:
        results += [*_probing.boxed(configured, waive, backend), *_probing.native(waive, backend)]
    if as_json:
        _screen.out_json(to_json(results))
    else:
        _show(results)
    return 0 if all(result.denied for result in results) else EXIT[Code.WALL_MISSING]


def _show(results: list[ProbeResult]) -> None:
    from belljar import show
    from belljar.cli import _probing, _screen

    for backend in _probing.BACKENDS:
        ours = [result for result in results if result.backend == backend]
        rows: list[tuple[str, ...]] = []
        for wall in _probing.walls(backend):
            if found := [result for result in ours if result.wall == wall.name]:
                present = "yes" if all(result.denied for result in found) else "NO"
                rows.append((wall.name, wall.stops, present, _proof(found), wall.without))
        _screen.table(
            ("protection", "stops", "present", "proven by", "if missing"), rows, to_stdout=True, title=backend
        )
    open_ones = [result for result in results if not result.denied]
    for result in open_ones:
        where = f"{result.backend}, {result.wall}: {show.text(result.probe)}"
        _screen.out(f"NOT DENIED  {where}: {show.text(result.detail, max_chars=200)}")
    walls = ", ".join(sorted({result.wall for result in open_ones}))
    _screen.out(f"\nNOT SAFE: look at {walls}" if open_ones else "\nEvery probe was denied.")


def _proof(found: list[ProbeResult]) -> str:
    """How many were denied, and some of them by name."""
    denied = [result.probe for result in found if result.denied]
    some = ", ".join(denied[-_NAMED:]) + (", ..." if len(denied) > _NAMED else "")
    return f"{len(denied)} of {len(found)} denied: {some}"
