"""`belljar faker create` and `convert`: entries of an mcp.json that start a faker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["add"]

_CREATE = """\b
Examples:
  belljar faker create notes -- npx -y @modelcontextprotocol/server-memory
  belljar faker create files --command npx --args "-y,@modelcontextprotocol/server-filesystem,/tmp/x" --file mcp.json
  belljar faker create github --env GITHUB_TOKEN -- npx -y @modelcontextprotocol/server-github
"""
_CONVERT = """\b
Examples:
  belljar faker convert mcp.json
  belljar faker convert mcp.json -o faked.json
  belljar faker convert mcp.json -o faked.json --world-file world.db --seed 7
"""
_MAX_FILE = 1 << 20

_Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
_WorldFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Keep the faked state here, shared with other fakers.")
]
_Overrides = Annotated[Path | None, typer.Option(metavar="FILE", help="What you know better about tools, as JSON.")]
_IgnoreAnnotations = Annotated[
    bool, typer.Option("--ignore-annotations", help="Do not believe servers when they say what only reads.")
]
_Fault = Annotated[list[str] | None, typer.Option(metavar="SPEC", help="As of `belljar faker`. Repeatable.")]
_Seed = Annotated[int | None, typer.Option(metavar="N", help="As of `belljar faker`.")]
_Instruction = Annotated[str | None, typer.Option("--ai-instruction", metavar="TEXT", help="As of `belljar faker`.")]


def add(faker: typer.Typer) -> None:
    """Register the verbs below `faker`."""
    faker.command("create", epilog=_CREATE)(_create)
    faker.command("convert", epilog=_CONVERT)(_convert)


def _create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the server is called in the file.")],
    words: Annotated[list[str] | None, typer.Argument(metavar="-- COMMAND ARG", help="The server's command.")] = None,
    command: Annotated[str | None, typer.Option(metavar="X", help="The command, in place of --.")] = None,
    args: Annotated[
        list[str] | None, typer.Option(metavar="A,B,C", help="Its arguments, with commas between them. Repeatable.")
    ] = None,
    file: Annotated[Path, typer.Option(metavar="FILE", help="Where the entry goes.")] = Path("mcp.json"),
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A variable it needs, by name: FILE says ${NAME}.")
    ] = None,
    world_file: _WorldFile = None,
    overrides: _Overrides = None,
    ignore_annotations: _IgnoreAnnotations = False,
    fault: _Fault = None,
    seed: _Seed = None,
    ai_instruction: _Instruction = None,
    force: _Force = False,
) -> None:
    """Write an entry into an mcp.json that starts a faker before a server."""
    options = _options(world_file, overrides, ignore_annotations, fault, seed, ai_instruction)
    _end(lambda: _write_entry(name, words or [], command, args or [], file, env or [], options, force))


def _convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An mcp.json.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUT", help="Where the result goes; stdout if left out.")
    ] = None,
    world_file: _WorldFile = None,
    overrides: _Overrides = None,
    ignore_annotations: _IgnoreAnnotations = False,
    fault: _Fault = None,
    seed: _Seed = None,
    ai_instruction: _Instruction = None,
    force: _Force = False,
) -> None:
    """Put a faker before every server of an mcp.json.

    What entries keep in `env` and `headers` stays out of every command line.
    """
    options = _options(world_file, overrides, ignore_annotations, fault, seed, ai_instruction)
    _end(lambda: _fake_all(file, output, options, force))


def _end(body: Any) -> None:
    from belljar.cli import _ending

    raise typer.Exit(_ending.ending(body))


def _options(
    world_file: Path | None,
    overrides: Path | None,
    ignore_annotations: bool,
    faults: list[str] | None,
    seed: int | None,
    instruction: str | None,
) -> list[str]:
    """The words that say the same to `belljar faker`, wherever it is started."""
    words: list[str] = []
    for option, path in ("--world-file", world_file), ("--overrides", overrides):
        words += [] if path is None else [option, str(path.absolute())]
    words += ["--ignore-annotations"] if ignore_annotations else []
    for option, value in ("--seed", seed), ("--ai-instruction", instruction):
        words += [] if value is None else [option, str(value)]
    return words + [word for fault in faults or () for word in ("--fault", fault)]


def _write_entry(
    name: str,
    words: list[str],
    command: str | None,
    args: list[str],
    file: Path,
    env: list[str],
    options: list[str],
    force: bool,
) -> int:
    import os

    from belljar import show
    from belljar.cli import _faker_proxy, _screen
    from belljar.errors import ConfigError
    from belljar.faker import entries, guard

    words = words or ([] if command is None else [command, *_faker_proxy.listed(args)])
    if not words:
        raise ConfigError("no server is named; write -- and its command")
    spec = guard.spec_of(words, os.environ, cwd=Path.cwd())
    document: Any = _read(file) if file.exists() else {"mcpServers": {}}
    servers = entries.servers_of(document)
    if name in servers and not force:
        raise ConfigError(f"{show.name(name)} is in {show.text(str(file), max_chars=200)} already; --force replaces it")
    servers[name] = entries.program_entry(name, [spec.command, *words[1:]], env=env, options=options)
    entries.look_at_arguments(name, words, lambda said: _screen.note(f"belljar: {said}"))
    _write(file, document)
    _screen.note(f"{show.name(name)}: written to {show.text(str(file), max_chars=200)}")
    return 0


def _fake_all(file: Path, output: Path | None, options: list[str], force: bool) -> int:
    import os

    from belljar import show
    from belljar.cli import _screen
    from belljar.errors import ConfigError
    from belljar.faker import entries

    if output is not None and output.exists() and not force:
        raise ConfigError(f"{show.text(str(output), max_chars=200)} is there already; --force replaces it")
    made = entries.faked(_read(file), os.environ, file.absolute().parent, options=options)
    for note in made.notes:
        _screen.note(f"belljar: {note}")
    if output is None:
        _screen.out_json(made.document)
    else:
        _write(output, made.document)
        names = ", ".join(map(show.name, made.names))
        _screen.note(f"{len(made.names)} servers are faked in {show.text(str(output), max_chars=200)}: {names}")
    return 0


def _read(file: Path) -> Any:
    from belljar import show
    from belljar.errors import ConfigError
    from belljar.rpc import jsontext

    shown = show.text(str(file), max_chars=200)
    try:
        with file.open("rb") as opened:
            return jsontext.parse(opened.read(_MAX_FILE + 1), max_bytes=_MAX_FILE)
    except OSError as exc:
        raise ConfigError(f"{shown} cannot be read: {exc.strerror}") from None
    except jsontext.JsonError as exc:
        raise ConfigError(f"{shown} is no JSON: {exc}") from None


def _write(file: Path, document: Any) -> None:
    """For its owner's eyes alone, as what stands in `env` may be; whole or not at all."""
    import json
    import os
    import tempfile

    from belljar import show
    from belljar.errors import ConfigError

    try:
        descriptor, temporary = tempfile.mkstemp(dir=file.absolute().parent, prefix=".mcp-")
    except OSError as exc:
        raise ConfigError(f"{show.text(str(file), max_chars=200)} cannot be written: {exc.strerror}") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            json.dump(document, opened, indent=2)
            opened.write("\n")
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise
