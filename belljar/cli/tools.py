"""`belljar tools`: what the configured servers offer, as stubs a capability can be written against."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from belljar.rpc.world import JsonValue, ToolInfo

__all__ = ["add"]

_EPILOG = """\b
Examples:
  belljar tools --servers mcp.json > mcp_stubs.py
  belljar tools --servers mcp.json --json
"""


def add(app: typer.Typer) -> None:
    """Register the verb."""
    app.command("tools", epilog=_EPILOG)(_tools)


def _tools(
    servers: Annotated[Path | None, typer.Option(metavar="FILE", help="The mcp.json with the servers.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="A belljar.toml.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Log what happens to stderr.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object: tools and errors.")] = False,
) -> None:
    """Print the tools of all servers as Python stubs.

    A server that fails is one line on stderr; the others are still listed, and the exit status is 4.
    """
    from belljar.cli import _ending

    if debug:
        _ending.log_to_stderr()
    raise typer.Exit(_ending.ending(lambda: _list(servers, config, as_json), debug=debug))


def _list(servers: Path | None, config: Path | None, as_json: bool) -> int:
    from belljar.cli import _listing, _screen, _setup
    from belljar.rpc import stubs

    configured = _setup.configure(config=config, servers=servers)
    listed = _listing.list_tools(configured, _setup.some_servers(configured))
    tools = [tool for by_name in listed.tools.values() for tool in by_name.values()]
    if as_json:
        errors = [
            {"server": name, "code": exc.code.value, "message": exc.message} for name, exc in listed.failed.items()
        ]
        _screen.out_json({"tools": [_facts(tool) for tool in tools], "errors": errors})
    elif tools:
        _screen.out(stubs.render(tools).removesuffix("\n"))
    return listed.complain()


def _facts(tool: ToolInfo) -> JsonValue:
    return {
        "server": tool.server,
        "name": tool.name,
        "description": tool.description,
        "inputSchema": tool.input_schema,
        "outputSchema": tool.output_schema,
        "annotations": tool.annotations,
        "digest": tool.digest,
        "unavailable": tool.unavailable or None,
    }
