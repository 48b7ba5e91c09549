"""`belljar run`: the options. What they set going is in `_running.py`, imported when they have been read."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["add"]

_EPILOG = """\b
Examples:
  belljar run -c '1 + 1'
  belljar run notes.py --servers mcp.json --allow 'git:*' --arg path=. --json
  belljar run git:release_notes --servers mcp.json --allow 'git:*'
  belljar run notes.py --servers mcp.json --auto 'git:*'
  belljar run acme.tools.git.release_notes.a7f3
  belljar run -c 'while True: pass' --limit wall=1

\b
Exit: 0 ok, 1 the capability failed, 2 misuse, 3 a person must approve, 4 the machine or a server failed,
130 interrupted.
"""


def add(app: typer.Typer) -> None:
    """Register the verb."""
    app.command("run", epilog=_EPILOG)(_run)


def _run(
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="A capability: a Python file, or a name.")] = None,
    code: Annotated[str | None, typer.Option("-c", metavar="CODE", help="Code to run in place of a file.")] = None,
    servers: Annotated[str | None, typer.Option(metavar="FILE", help="The mcp.json with the servers.")] = None,
    args: Annotated[str | None, typer.Option(metavar="JSON", help="The arguments, one JSON object.")] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(metavar="K=V", help="One argument; V is JSON, or else a string. May be repeated."),
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Tools it may call: git:git_log, git:*, *. Repeatable.")
    ] = None,
    deny: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Tools it may not call, over any allowance. Repeatable.")
    ] = None,
    auto: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Tools that need no asking once real runs speak for them. Repeatable."),
    ] = None,
    limit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=V", help="A limit: wall=1, memory=64MiB, calls=10. Repeatable.")
    ] = None,
    backend: Annotated[str, typer.Option(metavar="NAME", help="What the box is made of: wasm or process.")] = "wasm",
    install: Annotated[
        bool, typer.Option("--install", help="Fetch the packages it depends on; a wasm box takes pure Python.")
    ] = False,
    keep_files: Annotated[
        str | None, typer.Option(metavar="DIR", help="Let it write files, and keep them here; with --backend process.")
    ] = None,
    world: Annotated[
        str,
        typer.Option(metavar="NAME", help="Who answers calls: real; dry (reads alone are real); fake; session:ID."),
    ] = "real",
    intent: Annotated[str | None, typer.Option(metavar="TEXT", help="What it is for; stands in the trace.")] = None,
    workflow: Annotated[str | None, typer.Option(metavar="ID", help="The workflow it is part of.")] = None,
    waive: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A wall to do without (see `belljar doctor`). Repeatable.")
    ] = None,
    config: Annotated[str | None, typer.Option(metavar="FILE", help="A belljar.toml.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Log what happens to stderr, the trace included.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")] = False,
) -> None:
    """Run a capability in a fresh, sealed box.

    It is given a FILE or -c CODE: a module with `main`, or a snippet whose last expression is the result. It sees
    `args` and `mcp`, and nothing else of this machine.

    In place of a FILE, the name of a capability that is kept here or published in the registry: namespace:action, or
    org.project.namespace.action with or without a hash. What has a separator or ends with .py is a file.
    """
    from belljar.cli._running import Wanted, run

    wanted = Wanted.of(
        file=file,
        code=code,
        servers=servers,
        args=args,
        arg=arg,
        allow=allow,
        deny=deny,
        auto=auto,
        limit=limit,
        backend=backend,
        install=install,
        keep_files=keep_files,
        world=world,
        intent=intent,
        workflow=workflow,
        waive=waive,
        config=config,
        debug=debug,
        as_json=as_json,
    )
    raise typer.Exit(run(wanted))
