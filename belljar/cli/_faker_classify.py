"""`belljar faker classify`: which tools write, by the rules the faker goes by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from belljar.faker.calls import Tool, Verdict
    from belljar.faker.classify import ClassifyOptions
    from belljar.rpc.world import JsonValue, ToolInfo

__all__ = ["add", "overrides_in"]

_EPILOG = """\b
Examples:
  belljar faker classify --servers mcp.json
  belljar faker classify --tools tools.json --json
  belljar faker classify --servers mcp.json --overrides overrides.json

\b
An overrides file: {"git_*": "read", "mail:send": {"operation": "write", "risk": "high"}}
"""
_MAX_FILE = 16 << 20


def add(faker: typer.Typer) -> None:
    """Register the verb below `faker`."""
    faker.command("classify", epilog=_EPILOG)(_classify)


def _classify(
    servers: Annotated[Path | None, typer.Option(metavar="FILE", help="The mcp.json with the servers to ask.")] = None,
    tools: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A JSON list of tools, in place of servers.")
    ] = None,
    overrides: Annotated[Path | None, typer.Option(metavar="FILE", help="What you know better, as JSON.")] = None,
    ignore_annotations: Annotated[
        bool, typer.Option("--ignore-annotations", help="Believe no server that says that it only reads.")
    ] = False,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="A belljar.toml.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Log what happens to stderr.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list: name, operation, risk, reason.")] = False,
) -> None:
    """Say of each tool whether it reads or writes, how much harm it could do, and what told so.

    What is unknown is a write. A tool that writes never reaches its server while a faker stands before it.
    """
    from belljar.cli import _ending

    if debug:
        _ending.log_to_stderr()
    raise typer.Exit(
        _ending.ending(lambda: _show(servers, tools, overrides, ignore_annotations, config, as_json), debug=debug)
    )


def _show(
    servers: Path | None,
    tools: Path | None,
    overrides: Path | None,
    ignore_annotations: bool,
    config: Path | None,
    as_json: bool,
) -> int:
    from belljar.cli import _listing, _screen, _setup
    from belljar.errors import ConfigError

    if servers is not None and tools is not None:
        raise ConfigError("give --servers or --tools, one of them")
    options = overrides_in(overrides, annotations=not ignore_annotations)
    listed = _listing.Listed()
    if tools is not None:
        judged = [_judged("", tool, options) for tool in _tools_in(tools)]
    else:
        configured = _setup.configure(config=config, servers=servers)
        listed = _listing.list_tools(configured, _setup.some_servers(configured))
        there = [tool for by_name in listed.tools.values() for tool in by_name.values()]
        judged = [_judged(tool.server, _tool_of(tool), options) for tool in there]
    if as_json:
        _screen.out_json([_facts(*each) for each in judged])
    elif judged:
        _screen.table(("tool", "operation", "risk", "reason"), [_row(*each) for each in judged], to_stdout=True)
    return listed.complain()


def overrides_in(file: Path | None, *, annotations: bool = True) -> ClassifyOptions:
    """How tools are judged, with the overrides of a file.

    Raises:
        ConfigError: it cannot be read, or holds no overrides.
    """
    from belljar.faker.classify import ClassifyOptions, overrides_of

    overrides = () if file is None else overrides_of(_json_in(file))
    return ClassifyOptions(overrides, annotations=annotations)


def _json_in(file: Path) -> JsonValue:
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


def _tools_in(file: Path) -> list[Tool]:
    from belljar import show
    from belljar.errors import ConfigError
    from belljar.faker.calls import Tool

    value = _json_in(file)
    if isinstance(value, dict) and isinstance(cast("dict[str, JsonValue]", value).get("tools"), list):
        value = cast("dict[str, JsonValue]", value)["tools"]  # what `tools/list` answers, and `belljar tools --json`
    found: list[Tool] = []
    for entry in cast("list[JsonValue]", value) if isinstance(value, list) else [None]:
        name = cast("dict[str, JsonValue]", entry).get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            form = '[{"name": ..., "description"?, "annotations"?, "inputSchema"?}]'
            raise ConfigError(f"{show.text(str(file), max_chars=200)}: write a list of tools, {form}")
        found.append(Tool(name, cast("dict[str, JsonValue]", entry)))
    return found


def _tool_of(tool: ToolInfo) -> Tool:
    from belljar.faker.calls import Tool

    listed: dict[str, JsonValue] = {
        "name": tool.name,
        "description": tool.description,
        "inputSchema": tool.input_schema,
        "annotations": tool.annotations,
    }
    return Tool(tool.name, listed)


def _judged(server: str, tool: Tool, options: ClassifyOptions) -> tuple[str, Tool, Verdict]:
    from belljar.faker.classify import classify

    return server, tool, classify(tool, options, server=server)


def _facts(server: str, tool: Tool, verdict: Verdict) -> JsonValue:
    facts: dict[str, JsonValue] = {
        "name": tool.name,
        "operation": verdict.operation,
        "risk": verdict.risk,
        "reason": verdict.reason,
    }
    return {"server": server, **facts} if server else facts


def _row(server: str, tool: Tool, verdict: Verdict) -> tuple[str, ...]:
    from belljar import show

    name = show.name(tool.name)
    return f"{show.name(server)}:{name}" if server else name, verdict.operation, verdict.risk, verdict.reason
