"""`belljar servers`: which servers there are, how far they are trusted, and what changed since they were seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from belljar.cli._listing import Listed
    from belljar.registry.trust import TrustStore
    from belljar.rpc.servers import ServerSpec

__all__ = ["add"]

_LIST = """\b
Examples:
  belljar servers list --servers mcp.json
  belljar servers list --servers mcp.json --json
"""
_TRUST = """\b
Examples:
  belljar servers trust git --servers mcp.json
"""
_UNTRUST = """\b
Examples:
  belljar servers untrust git --servers mcp.json
"""

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The server's name in the mcp.json.")]
_Servers = Annotated[Path | None, typer.Option("--servers", metavar="FILE", help="The mcp.json with the servers.")]
_Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="A belljar.toml.")]
_Debug = Annotated[bool, typer.Option("--debug", help="Log what happens to stderr.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout: a list, or one entry of it.")]


def add(app: typer.Typer) -> None:
    """Register the verb."""
    servers = typer.Typer(rich_markup_mode=None, help="List servers; trust them or not.")
    servers.command("list", epilog=_LIST)(_list)
    servers.command("trust", epilog=_TRUST)(_trust)
    servers.command("untrust", epilog=_UNTRUST)(_untrust)
    app.add_typer(servers, name="servers")


def _list(servers: _Servers = None, config: _Config = None, debug: _Debug = False, as_json: _Json = False) -> None:
    """Show each server, how it is reached, whether it is trusted, and how its tools differ from what was pinned.

    Every server is started and asked for its tools; one that fails is a line on stderr and exit status 4.
    """
    _end(lambda: _show_all(servers, config, as_json), debug)


def _trust(
    name: _Name, servers: _Servers = None, config: _Config = None, debug: _Debug = False, as_json: _Json = False
) -> None:
    """Believe a server's annotations, and pin its tools as they are now.

    Tools it marks as read-only and closed to the open world then run unasked. A tool that changes asks again.
    """
    _end(lambda: _change(name, servers, config, as_json, trust=True), debug)


def _untrust(
    name: _Name, servers: _Servers = None, config: _Config = None, debug: _Debug = False, as_json: _Json = False
) -> None:
    """Forget a server: its trust and its pins."""
    _end(lambda: _change(name, servers, config, as_json, trust=False), debug)


def _end(body: Any, debug: bool) -> None:
    from belljar.cli import _ending

    if debug:
        _ending.log_to_stderr()
    raise typer.Exit(_ending.ending(body, debug=debug))


def _show_all(servers: Path | None, config: Path | None, as_json: bool) -> int:
    from belljar.cli import _listing, _screen, _setup

    configured = _setup.configure(config=config, servers=servers)
    specs = _setup.some_servers(configured)
    store = _setup.trust_store(configured)
    for spec in specs.values():
        store.trusted(spec)  # a store that cannot be used says so before anything is started
    listed = _listing.list_tools(configured, specs)
    entries = [_entry(spec, store, listed) for spec in specs.values()]
    if as_json:
        _screen.out_json(entries)
    else:
        _screen.table(("server", "reached by", "trusted", "pinned", "changed"), map(_row, entries), to_stdout=True)
    return listed.complain()


def _change(name: str, servers: Path | None, config: Path | None, as_json: bool, *, trust: bool) -> int:
    from belljar.cli import _listing, _screen, _setup

    configured = _setup.configure(config=config, servers=servers)
    spec = _setup.server_named(_setup.some_servers(configured), name)
    store = _setup.trust_store(configured)
    listed = _listing.Listed()
    if not trust:
        store.untrust(spec)
    else:
        store.trusted(spec)
        listed = _listing.list_tools(configured, {name: spec})
        if not listed.failed:
            store.pin(spec, listed.tools[name])
            store.trust(spec)
    entry = _entry(spec, store, listed)
    if as_json:
        _screen.out_json(entry)
    elif not listed.failed:
        _screen.out(_said(entry, spec))
    return listed.complain()


def _said(entry: dict[str, Any], spec: ServerSpec) -> str:
    from belljar import show

    name = show.name(entry["name"])
    if entry["trusted"] and not entry["pinned"] and spec.trust:
        return f'{name}: forgotten; its entry in the mcp.json still says "trust": "annotations"'
    return f"{name}: {'trusted' if entry['trusted'] else 'not trusted'}, {entry['pinned'] or 0} tools pinned"


def _entry(spec: ServerSpec, store: TrustStore, listed: Listed) -> dict[str, Any]:
    """Nothing here is a secret: of arguments, which may hold one, only the number is told."""
    tools = listed.tools.get(spec.name)
    return {
        "name": spec.name,
        "kind": "stdio" if spec.command else "http",
        "command": spec.command or None,
        "arguments": len(spec.args),
        "env": list(spec.env_names),
        "origin": spec.origin or None,
        "trusted": spec.trust == "annotations" or store.trusted(spec),
        "tools": None if tools is None else len(tools),
        "pinned": None if tools is None else sum(store.pinned(spec, name) is not None for name in tools),
        "changed": None if tools is None else sorted(store.changed(spec, tools)),
    }


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    from belljar import show

    more = f" (+{entry['arguments']} arguments)" if entry["arguments"] else ""
    changed = "-" if entry["changed"] is None else ", ".join(map(show.name, entry["changed"])) or "no"
    return (
        show.name(entry["name"]),
        show.text(entry["command"] or entry["origin"], max_chars=200) + more,
        "yes" if entry["trusted"] else "no",
        "-" if entry["pinned"] is None else f"{entry['pinned']} of {entry['tools']}",
        changed,
    )
