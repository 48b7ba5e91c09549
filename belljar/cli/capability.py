"""`belljar capability`: the capabilities kept on this machine, and their way to a registry and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from belljar.fqdn import Fqdn
    from belljar.registry import Kept
    from belljar.sandbox.loader import Capability

__all__ = ["add"]

_ADD = """\b
Examples:
  belljar capability add notes.py
  belljar run git:release_notes
"""
_PUBLISH = """\b
Examples:
  belljar capability publish notes.py --org acme
  belljar capability publish notes.py --org acme --project tools --json
"""
_YANK = """\b
Examples:
  belljar capability yank acme.tools.git.release_notes.a7f3
"""
_TRUST = """\b
Examples:
  belljar capability trust acme.tools.git.release_notes
  belljar capability trust acme.tools.git.release_notes.a7f3
"""
_LIST = """\b
Examples:
  belljar capability list
  belljar capability list --json
"""
_SHOW = """\b
Examples:
  belljar capability show git:release_notes
  belljar capability show acme.tools.git.release_notes.a7f3 --json
"""

_File = Annotated[Path, typer.Argument(metavar="FILE", help="A Python file whose metadata block gives it a name.")]
_Name = Annotated[str, typer.Argument(metavar="NAME", help="namespace:action, or org.project.namespace.action[.hash].")]
_Org = Annotated[str, typer.Option("--org", metavar="NAME", help="Whose it is. `local` is nobody's but yours.")]
_Project = Annotated[str, typer.Option("--project", metavar="NAME", help="What it is part of.")]
_Servers = Annotated[
    Path | None,
    typer.Option("--servers", metavar="FILE", help="An mcp.json; code that holds one of its secrets is refused."),
]
_Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="A belljar.toml.")]
_Debug = Annotated[bool, typer.Option("--debug", help="Log what happens to stderr.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def add(app: typer.Typer) -> None:
    """Register the verb."""
    capability = typer.Typer(rich_markup_mode=None, help="Keep, publish, trust and show capabilities.")
    capability.command("add", epilog=_ADD)(_add)
    capability.command("publish", epilog=_PUBLISH)(_publish)
    capability.command("yank", epilog=_YANK)(_yank)
    capability.command("trust", epilog=_TRUST)(_trust)
    capability.command("list", epilog=_LIST)(_list)
    capability.command("show", epilog=_SHOW)(_show)
    app.add_typer(capability, name="capability")


def _add(
    file: _File,
    org: _Org = "local",
    project: _Project = "default",
    config: _Config = None,
    debug: _Debug = False,
    as_json: _Json = False,
) -> None:
    """Keep a capability on this machine, and run what is in FILE now when it is named.

    Nothing is sent anywhere.
    """
    _end(lambda: _keep(file, org, project, config, as_json), debug)


def _publish(
    file: _File,
    org: _Org = "local",
    project: _Project = "default",
    servers: _Servers = None,
    config: _Config = None,
    debug: _Debug = False,
    as_json: _Json = False,
) -> None:
    """Publish a capability in the registry of the server that is configured, under an organisation's name.

    Code that holds a secret or personal data is refused, with the lines; it is never changed on its way.
    """
    _end(lambda: _send(file, org, project, servers, config, as_json), debug)


def _yank(name: _Name, config: _Config = None, debug: _Debug = False) -> None:
    """Take a published version back: the registry answers its name with the one before.

    NAME ends in the version's hash. Whoever agreed to it before keeps it, and what is kept on this machine stays.
    """
    _end(lambda: _withdraw(name, config), debug)


def _trust(name: _Name, config: _Config = None, debug: _Debug = False, as_json: _Json = False) -> None:
    """Fetch a capability as it is now, and agree to it: it is what its name means from here on.

    Without a hash the registry is asked for its newest version; what is kept here already is not asked for again.
    """
    _end(lambda: _agree(name, config, as_json), debug)


def _list(config: _Config = None, debug: _Debug = False, as_json: _Json = False) -> None:
    """Show the capabilities that are kept on this machine.

    Of each name the version that it means has a mark; a version without any was never agreed to.
    """
    _end(lambda: _show_all(config, as_json), debug)


def _show(name: _Name, config: _Config = None, debug: _Debug = False, as_json: _Json = False) -> None:
    """Show what is known of a capability, and its code."""
    _end(lambda: _show_one(name, config, as_json), debug)


def _end(body: Any, debug: bool) -> None:
    from belljar.cli import _ending

    if debug:
        _ending.log_to_stderr()
    raise typer.Exit(_ending.ending(body, debug=debug))


# From a file


def _keep(file: Path, org: str, project: str, config: Path | None, as_json: bool) -> int:
    from belljar.cli import _named, _publishing, _setup

    configured = _setup.configure(config=config)
    capability, code = _publishing.loaded(file, org, project, configured)
    kept = _named.store(configured).add(capability.fqdn, code, pin=True)
    return _said(kept, "kept", as_json)


def _send(file: Path, org: str, project: str, servers: Path | None, config: Path | None, as_json: bool) -> int:
    import anyio

    from belljar import fqdn
    from belljar.cli import _named, _publishing, _setup
    from belljar.errors import ConfigError
    from belljar.registry.remote import Registry

    configured = _setup.configure(config=config, servers=servers)
    if org == fqdn.LOCAL_ORG:
        raise ConfigError(f"{fqdn.LOCAL_ORG} is the organisation of what stays here: say whose it is with --org NAME")
    registry = Registry(configured.tracing)
    capability, code = _publishing.loaded(file, org, project, configured)
    new = anyio.run(registry.publish, _publishing.submission(file, capability, code, configured))
    kept = _named.store(configured).add(capability.fqdn, code, origin=registry.origin, pin=True)
    return _said(kept, "published" if new else "was published before", as_json)


# From a name


def _withdraw(name: str, config: Path | None) -> int:
    import anyio

    from belljar import fqdn
    from belljar.cli import _screen, _setup
    from belljar.errors import ValidationError
    from belljar.registry.remote import Registry

    registry, wanted = Registry(_setup.configure(config=config).tracing), fqdn.parse(name)
    if not wanted.hash or wanted.org == fqdn.LOCAL_ORG:
        raise ValidationError(f"{wanted}: name the published version, as org.project.namespace.action.hash")
    if not anyio.run(registry.yank, wanted):
        raise ValidationError(f"{registry.origin} has no {wanted} to take back: unknown there, or taken back before")
    _screen.out(f"{wanted}: taken back")
    return 0


def _agree(name: str, config: Path | None, as_json: bool) -> int:
    from dataclasses import replace

    import anyio

    from belljar import fqdn
    from belljar.cli import _named, _setup
    from belljar.nested import as_capability

    configured = _setup.configure(config=config)
    names, wanted = _named.resolver(configured), fqdn.parse(name)
    asks = not wanted.hash and wanted.org != fqdn.LOCAL_ORG and configured.tracing.cloud_url is not None
    found = anyio.run(names.fetch if asks else names.find, wanted)
    as_capability(found.kept.fqdn, found.code, configured.limits)
    names.store.pin(found.kept)
    return _said(replace(found.kept, pinned=True), "trusted", as_json)


def _show_all(config: Path | None, as_json: bool) -> int:
    from belljar.cli import _named, _screen, _setup

    kept = _named.store(_setup.configure(config=config)).all()
    current = {each.fqdn.family: each.sha256 for each in kept if each.pinned}  # the last of a name wins
    entries = [_entry(each, current=current.get(each.fqdn.family) == each.sha256) for each in kept]
    if as_json:
        _screen.out_json(entries)
    else:
        _screen.table(("capability", "from", "added", "agreed"), map(_row, entries), to_stdout=True)
    return 0


def _show_one(name: str, config: Path | None, as_json: bool) -> int:
    from belljar import fqdn
    from belljar.cli import _named, _screen, _setup
    from belljar.errors import ValidationError
    from belljar.nested import as_capability

    configured = _setup.configure(config=config)
    wanted: Fqdn = fqdn.parse(name)
    found = _named.resolver(configured).here(wanted)
    if found is None:
        raise ValidationError(
            f"no capability {wanted} is on this machine; there are those of `belljar capability list`"
        )
    capability = as_capability(found.kept.fqdn, found.code, configured.limits)
    current = _named.store(configured).find(wanted.at(""))
    entry = _entry(found.kept, current=current == found.kept) | _facts(capability) | {"code": found.code}
    if as_json:
        _screen.out_json(entry)
    else:
        _show_facts(entry)
    return 0


# What is shown


def _entry(kept: Kept, *, current: bool) -> dict[str, Any]:
    from datetime import UTC, datetime

    return {
        "fqdn": str(kept.fqdn),
        "sha256": kept.sha256,
        "origin": kept.origin,
        "addedAt": datetime.fromtimestamp(kept.added_at_ns // 10**9, UTC).isoformat(),
        "pinned": kept.pinned,
        "current": current,
    }


def _facts(capability: Capability) -> dict[str, Any]:
    declared = capability.declared
    return {
        "description": capability.description,
        "servers": None if declared is None else list(declared.servers),
        "permissions": None if declared is None else list(declared.permissions),
        "schema": capability.args_schema,
        "dependencies": list(capability.dependencies),
    }


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    from belljar import show

    agreed = "current" if entry["current"] else "yes" if entry["pinned"] else "no"
    return entry["fqdn"], show.text(entry["origin"], max_chars=100), entry["addedAt"], agreed


def _show_facts(entry: dict[str, Any]) -> None:
    from belljar import show
    from belljar.cli import _screen

    for key, value in entry.items():
        if key != "code":
            shown = value if isinstance(value, str) else show.value(value, max_chars=4000)
            _screen.out(f"{key:<12} {show.text(shown, max_chars=4000)}")
    _screen.out("")
    _screen.out(_screen.escaped(entry["code"].removesuffix("\n")))


def _said(kept: Kept, what: str, as_json: bool) -> int:
    from belljar.cli import _screen

    if as_json:
        _screen.out_json(_entry(kept, current=True))
    else:
        _screen.out(f"{kept.fqdn} {what}; its hash is {kept.sha256}")
    return 0
