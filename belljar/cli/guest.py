"""`belljar guest`: the component every box starts from - made, compiled for this machine, described."""

from __future__ import annotations

from typing import Annotated, Any

import typer

__all__ = ["add"]

_BUILD = """\b
Examples:
  belljar guest build
  belljar guest build --force
"""
_INFO = """\b
Examples:
  belljar guest info
  belljar guest info --json
"""

_Debug = Annotated[bool, typer.Option("--debug", help="Log what happens to stderr.")]


def add(app: typer.Typer) -> None:
    """Register the verb."""
    guest = typer.Typer(rich_markup_mode=None, help="The Python inside every box.")
    guest.command("build", epilog=_BUILD)(_build)
    guest.command("info", epilog=_INFO)(_info)
    app.add_typer(guest, name="guest")


def _build(
    force: Annotated[bool, typer.Option("--force", help="Also if it is there and up to date.")] = False,
    debug: _Debug = False,
) -> None:
    """Make the guest component from its sources where they changed, and compile it for this machine.

    Making it needs componentize-py; an installed wheel carries the finished component and only compiles.
    """
    from belljar.cli import _ending

    if debug:
        _ending.log_to_stderr()
    raise typer.Exit(_ending.ending(lambda: _make(force), debug=debug))


def _info(
    debug: _Debug = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Say which guest this is, and where its compiled form lies."""
    from belljar.cli import _ending

    if debug:
        _ending.log_to_stderr()
    raise typer.Exit(_ending.ending(lambda: _tell(as_json), debug=debug))


def _make(force: bool) -> int:
    from belljar.cli import _screen, _setup
    from belljar.errors import ConfigError
    from belljar.sandbox.compiled import compiled_path
    from belljar.sandbox.componentize import COMPONENT, GUEST, BuildFailed, componentize

    configured = _setup.configure()
    _screen.note("making the guest component (about 30 s, unless it is up to date)")
    try:
        made = componentize(GUEST, COMPONENT, force=force)
    except BuildFailed as exc:
        raise ConfigError(str(exc)) from exc
    path = compiled_path(configured.paths.cache)
    if force:
        path.unlink(missing_ok=True)
    _setup.with_guest(configured)
    _screen.out(f"guest component {'made' if made else 'up to date'}; compiled: {_screen.escaped(str(path))}")
    return 0


def _tell(as_json: bool) -> int:
    from belljar.cli import _screen

    facts = _facts()
    if as_json:
        _screen.out_json(facts)
    else:
        _screen.table(("", ""), [(key, _screen.escaped(_shown(value))) for key, value in facts.items()], to_stdout=True)
    return 0


def _facts() -> dict[str, Any]:
    from importlib import metadata

    from belljar import __version__
    from belljar.cli import _setup
    from belljar.sandbox.compiled import compiled_path
    from belljar.sandbox.componentize import COMPONENT, read_record

    config = _setup.configure()
    compiled = compiled_path(config.paths.cache)  # says what to do where there is no component
    record = read_record(COMPONENT)
    assert record is not None
    return {
        "component": str(COMPONENT),
        "sha256": record.component,
        "bytes": COMPONENT.stat().st_size,
        "inputs": record.inputs,
        "belljar": __version__,
        "componentizePy": record.componentize_py,
        "wasmtime": metadata.version("wasmtime"),
        "python": _python(config) if compiled.exists() else None,
        "compiled": str(compiled),
        "compiledBytes": compiled.stat().st_size if compiled.exists() else None,
    }


def _python(config: Any) -> str:
    """The guest's version by its own word: from a box, which also shows that one comes up."""
    import anyio

    from belljar.jar import open_jar

    async def ask() -> Any:
        async with open_jar(config) as jar:
            return (await jar.run("import sys\nsys.version.split()[0]")).unwrap()

    return str(anyio.run(ask))


def _shown(value: Any) -> str:
    return "not yet" if value is None else f"{value}"
