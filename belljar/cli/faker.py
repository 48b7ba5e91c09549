"""`belljar faker`: stands before an MCP server; and the verbs around that.

A group that does something by itself: `belljar faker [options] -- COMMAND ARG...` starts the proxy, while the first
word before `--` that is no option is a verb below. The verbs and the proxy are in modules of their own, each with
`add(faker)`; what they do is imported when it is done.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from belljar.cli import _faker_classify, _faker_sessions, _faker_setup

__all__ = ["add"]

_PARTS = (_faker_classify, _faker_setup, _faker_sessions)
_COMMAND = "belljar.faker.command"

_EPILOG = """\b
Examples:
  belljar faker -- npx -y @modelcontextprotocol/server-filesystem /tmp/x
  belljar faker --debug --command npx --args "-y,@modelcontextprotocol/server-filesystem,/tmp/x"
  belljar faker --url https://example.com/mcp
  belljar faker --http 127.0.0.1:8931 --seed 7 -- mcp-server-git
  belljar faker --passthrough -- mcp-server-time
  belljar faker create notes --file mcp.json -- npx -y @modelcontextprotocol/server-memory
  belljar faker convert mcp.json -o faked.json

\b
Writes never reach the server, except with --passthrough. Secrets: by the environment, which the server gets too.
Exit: 0 the client has gone or asked to end, 2 misuse, 4 the server failed, 130 interrupted.
"""


class _Group(TyperGroup):
    """Takes what stands behind `--` as the command to stand before, unless a verb was named first."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            _, verb, _ = self.make_parser(ctx).parse_args(args=args[:at])
            if not verb:
                ctx.meta[_COMMAND] = args[at + 1 :]
                args = args[:at]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if args[0] not in self.commands:
            ctx.fail(f"no verb is called {args[0]!r}; to stand before a server, write -- before its command")
        return super().resolve_command(ctx, args)


def add(app: typer.Typer) -> None:
    """Register the verb."""
    faker = typer.Typer(rich_markup_mode=None, cls=_Group, invoke_without_command=True, epilog=_EPILOG)
    faker.callback()(_faker)
    for part in _PARTS:
        part.add(faker)
    app.add_typer(faker, name="faker")


def _faker(
    context: typer.Context,
    command: Annotated[str | None, typer.Option(metavar="X", help="The server's command, in place of --.")] = None,
    args: Annotated[
        list[str] | None, typer.Option(metavar="A,B,C", help="Its arguments, with commas between them. Repeatable.")
    ] = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help="A server that speaks streamable HTTP.")] = None,
    http: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Serve by HTTP on this machine, in place of stdio.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What the server is called in sessions; its command if left out.")
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Give the server this variable, and of others only PATH and the like."),
    ] = None,
    passthrough: Annotated[
        bool, typer.Option("--passthrough", help="Let everything through as it is, writes too; only record it.")
    ] = False,
    real: Annotated[bool, typer.Option("--real/--no-real", help="Whether reads may ask the server.")] = True,
    overrides: Annotated[
        str | None, typer.Option(metavar="FILE", help="What you know better about its tools, as JSON.")
    ] = None,
    ignore_annotations: Annotated[
        bool, typer.Option("--ignore-annotations", help="Do not believe the server when it says what only reads.")
    ] = False,
    world_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Keep the faked state here, shared with other fakers.")
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option(metavar="SPEC", help="A fault, as in 'write_file=ENOSPC@0.3'. Repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="What is made up, and when faults occur.")] = 0,
    ai_instruction: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What the world is like; failures it names happen."),
    ] = None,
    start_timeout: Annotated[float, typer.Option(metavar="S", help="Seconds for the first answer.")] = 30.0,
    call_timeout: Annotated[float, typer.Option(metavar="S", help="Seconds for any other answer.")] = 60.0,
    config: Annotated[str | None, typer.Option(metavar="FILE", help="A belljar.toml.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Say on stderr what is intercepted, and log.")] = False,
) -> None:
    """Stand before any MCP server: the same tools, no writes, every call kept.

    Reads reach the server and are consistent with what was written; writes are answered here.
    """
    if context.invoked_subcommand is not None:
        return
    from belljar.cli._faker_proxy import Wanted, run

    wanted = Wanted.of(
        command=command,
        args=args,
        rest=context.meta.get(_COMMAND),
        url=url,
        http=http,
        name=name,
        env=env,
        passthrough=passthrough,
        real=real,
        overrides=overrides,
        ignore_annotations=ignore_annotations,
        world_file=world_file,
        fault=fault,
        seed=seed,
        ai_instruction=ai_instruction,
        start_timeout=start_timeout,
        call_timeout=call_timeout,
        config=config,
        debug=debug,
    )
    raise typer.Exit(run(wanted))
