"""`belljar server`: keys, tables, retention and export of a server's database."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from belljar.server.store.engine import Database
    from belljar.server.store.keys import KeyInfo

__all__ = ["add"]

_CREATE = """\b
Examples:
  belljar server key create
  belljar server key create --tenant acme --scope ingest --json
  belljar server key create --scope read --label audit --expires 30d

\b
Scopes: ingest (send traces), read, publish (capabilities), admin (all, and /metrics).
Without --scope: ingest, read, publish. The key is shown this once.
"""
_LIST = """\b
Examples:
  belljar server key list
  belljar server key list --tenant acme --json
"""
_REVOKE = """\b
Examples:
  belljar server key revoke 3f9a0c21be77
"""
_MIGRATE = """\b
Examples:
  belljar server migrate --db postgresql+psycopg://belljar@db/belljar
"""
_PRUNE = """\b
Examples:
  belljar server prune --older-than 90d
  belljar server prune --older-than 720h --tenant acme --json
"""
_ANONYMIZE = """\b
Examples:
  belljar server anonymize 01a2265b-ba7b-762c-87dd-d3ed8f4a722e
  belljar server anonymize ID ID --tenant acme
"""
_EXPORT = """\b
Examples:
  belljar server export > traces.jsonl
  belljar server export --tenant acme --anonymized
"""

_AGE = re.compile(r"([0-9]{1,6})(s|m|h|d|w)")
_LONGEST = timedelta(days=36500)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

_Db = Annotated[
    str | None,
    typer.Option("--db", metavar="URL", help="sqlite:///FILE or postgresql+psycopg://...; or BELLJAR_DB; or our own."),
]
_Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of a fault of ours.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
_Tenant = Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Of this tenant alone.")]


def add(app: typer.Typer) -> None:
    """Register the verb."""
    server = typer.Typer(rich_markup_mode=None, help="Manage a server's database: keys, tables, retention, export.")
    key = typer.Typer(rich_markup_mode=None, help="API keys.")
    key.command("create", epilog=_CREATE)(_create)
    key.command("list", epilog=_LIST)(_list)
    key.command("revoke", epilog=_REVOKE)(_revoke)
    server.add_typer(key, name="key")
    server.command("migrate", epilog=_MIGRATE)(_migrate)
    server.command("prune", epilog=_PRUNE)(_prune)
    server.command("anonymize", epilog=_ANONYMIZE)(_anonymize)
    server.command("export", epilog=_EXPORT)(_export)
    app.add_typer(server, name="server")


def _with(body: Callable[[Database], int], db: str | None, debug: bool, *, migrating: bool = False) -> None:
    """Do it with the database open, and end."""
    from belljar.cli import _database, _ending

    def work() -> int:
        _database.need_extra()
        with _database.opened(_database.url(db)) as database:
            if not migrating:
                _database.need_migrated(database)
            return body(database)

    if debug:
        _ending.log_to_stderr()
    raise typer.Exit(_ending.ending(work, debug=debug))


# Keys


def _create(
    db: _Db = None,
    tenant: Annotated[str, typer.Option(metavar="NAME", help="Whose key; made if it is not there.")] = "default",
    scope: Annotated[list[str] | None, typer.Option(metavar="SCOPE", help="What it may do. Repeatable.")] = None,
    label: Annotated[str, typer.Option(metavar="TEXT", help="What it is for.")] = "",
    expires: Annotated[str | None, typer.Option(metavar="AGE", help="It ends by itself after 12h, 90d, 52w.")] = None,
    debug: _Debug = False,
    as_json: _Json = False,
) -> None:
    """Make an API key and show it, once."""
    _with(lambda database: _make(database, tenant, scope, label, expires, as_json), db, debug)


def _make(db: Database, tenant: str, scopes: list[str] | None, label: str, expires: str | None, as_json: bool) -> int:
    from belljar import show
    from belljar.cli import _screen
    from belljar.server.store import keys

    given: dict[str, Any] = {"scopes": scopes} if scopes else {}
    at = _now()
    ends = None if expires is None else at + _span("--expires", expires)
    made = keys.create_key(db, tenant, label=label, expires_at=ends, now=at, **given)
    if as_json:
        _screen.out_json({"key": made.key, "id": made.id, "tenant": made.tenant})
    else:
        what = ", ".join(sorted(made.scopes))
        _screen.note(f"key {show.name(made.id)} of tenant {show.name(made.tenant)}: {what}. It is not shown again:")
        _screen.out(made.key)
    return 0


def _list(db: _Db = None, tenant: _Tenant = None, debug: _Debug = False, as_json: _Json = False) -> None:
    """Show keys: whose, what they may do, when they were last used. Never the keys themselves."""
    _with(lambda database: _show(database, tenant, as_json), db, debug)


def _show(db: Database, tenant: str | None, as_json: bool) -> int:
    from belljar.cli import _screen
    from belljar.server.store import keys

    found = keys.list_keys(db, tenant)
    if as_json:
        _screen.out_json([_entry(key) for key in found])
    else:
        columns = ("id", "tenant", "scopes", "label", "created", "last used", "revoked", "ends")
        _screen.table(columns, map(_row, found), to_stdout=True)
    return 0


def _entry(key: KeyInfo) -> dict[str, Any]:
    times = {
        "createdAt": key.created_at,
        "lastUsedAt": key.last_used_at,
        "revokedAt": key.revoked_at,
        "expiresAt": key.expires_at,
    }
    return {
        "id": key.id,
        "tenant": key.tenant,
        "label": key.label,
        "scopes": sorted(key.scopes),
        **{name: at and at.isoformat() for name, at in times.items()},
    }


def _row(key: KeyInfo) -> tuple[str, ...]:
    from belljar import show

    moments = (key.created_at, key.last_used_at, key.revoked_at, key.expires_at)
    times = [at.isoformat(" ", "minutes") if at else "-" for at in moments]
    return (show.name(key.id), show.name(key.tenant), ", ".join(sorted(key.scopes)), show.text(key.label), *times)


def _revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `key list` shows it.")],
    db: _Db = None,
    tenant: _Tenant = None,
    debug: _Debug = False,
) -> None:
    """End a key, at once and on every replica."""
    _with(lambda database: _end_key(database, key_id, tenant), db, debug)


def _end_key(db: Database, key_id: str, tenant: str | None) -> int:
    from belljar import show
    from belljar.cli import _screen
    from belljar.errors import ConfigError
    from belljar.server.store import keys

    if not keys.revoke_key(db, key_id, now=_now(), tenant_name=tenant):
        raise ConfigError(f"no key {show.name(key_id)} works; `belljar server key list` shows those there are")
    _screen.out(f"{show.name(key_id)}: revoked")
    return 0


# Tables, retention, export


def _migrate(db: _Db = None, debug: _Debug = False) -> None:
    """Bring the tables to what this version needs. Several at once wait for each other."""
    _with(_migrate_to_head, db, debug, migrating=True)


def _migrate_to_head(db: Database) -> int:
    from belljar import show
    from belljar.cli import _screen
    from belljar.server.store import migrating

    before = migrating.state(db).current
    after = migrating.migrate(db)
    said = "nothing to do" if before == after.current else f"{before or 'empty'} -> {after.current}"
    _screen.out(f"{show.text(db.shown)}: {said}")
    return 0


def _prune(
    older_than: Annotated[str, typer.Option(metavar="AGE", help="Received longer ago: 90d, 12h, 2w.")],
    db: _Db = None,
    tenant: _Tenant = None,
    keep_above: Annotated[float, typer.Option(metavar="P", help="Keep traces of a higher priority.")] = 0.5,
    keep_paths: Annotated[
        int, typer.Option(metavar="N", min=0, help="Beyond so many learned paths of a tenant, forget those seen once.")
    ] = 50_000,
    debug: _Debug = False,
    as_json: _Json = False,
) -> None:
    """Remove old traces, and what was learned of paths that nobody takes any more.

    Surprising traces stay, and whatever is the parent of one that stays. Of tools and capabilities what was learned
    stays, but for those that were seen once, and that long ago.
    """
    _with(lambda database: _remove(database, older_than, tenant, keep_above, keep_paths, as_json), db, debug)


def _remove(db: Database, age: str, tenant: str | None, keep_above: float, keep_paths: int, as_json: bool) -> int:
    from belljar.cli import _screen
    from belljar.errors import ConfigError
    from belljar.server.store import forgetting, maintenance

    if not 0 <= keep_above <= 1:
        raise ConfigError("--keep-above: a priority is 0 to 1")
    before, tenant_id = _now() - _span("--older-than", age), _tenant_id(db, tenant)
    done = maintenance.prune(db, received_before=before, keep_above=keep_above, tenant_id=tenant_id)
    forgotten = forgetting.forget(db, seen_before=before, keep=keep_paths, tenant_id=tenant_id)
    counts = {
        "lookedAt": done.looked_at,
        "removed": done.removed,
        "keptForPriority": done.kept_priority,
        "keptAsParents": done.kept_parents,
        "forgotten": forgotten,
    }
    if as_json:
        _screen.out_json(counts)
    else:
        kept = f"{done.kept_priority} for their priority, {done.kept_parents} as parents"
        _screen.out(f"removed {done.removed} of {done.looked_at}; kept {kept}; forgot {forgotten} learned things")
    return 0


def _anonymize(
    trace_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Traces, as `traces list` shows them.")],
    db: _Db = None,
    tenant: Annotated[str, typer.Option(metavar="NAME", help="Whose traces.")] = "default",
    debug: _Debug = False,
) -> None:
    """Take out of traces, for ever, what could say who or what: arguments, results, texts, the key that sent them.

    Their shape, outcomes and times stay. The runs they started are traces of their own, and stay as they are.
    """
    _with(lambda database: _make_nobodys(database, trace_ids, tenant), db, debug)


def _make_nobodys(db: Database, trace_ids: list[str], tenant: str) -> int:
    from belljar.cli import _screen
    from belljar.errors import ValidationError
    from belljar.server.store import maintenance

    wanted = sorted(set(trace_ids))
    tenant_id = _tenant_id(db, tenant)
    assert tenant_id is not None
    done = maintenance.anonymize(db, tenant_id, wanted, now=_now())
    _screen.out(f"anonymized {done}")
    if done < len(wanted):
        raise ValidationError(f"no trace of this tenant: {len(wanted) - done} of {len(wanted)}")
    return 0


def _export(
    db: _Db = None,
    tenant: Annotated[str, typer.Option(metavar="NAME", help="Whose traces.")] = "default",
    anonymized: Annotated[bool, typer.Option("--anonymized", help="Without arguments, results and texts.")] = False,
    debug: _Debug = False,
) -> None:
    """Write a tenant's traces to stdout, one JSON object a line, the oldest first."""
    _with(lambda database: _write(database, tenant, anonymized), db, debug)


def _write(db: Database, tenant: str, anonymized: bool) -> int:
    from belljar.cli import _screen
    from belljar.server.store import maintenance

    tenant_id = _tenant_id(db, tenant)
    assert tenant_id is not None
    for line in maintenance.export(db, tenant_id, anonymized=anonymized):
        _screen.out(line.rstrip("\n"))
    return 0


def _tenant_id(db: Database, name: str | None) -> int | None:
    """A tenant's id; None means all of them.

    Raises:
        ConfigError: there is no such tenant.
    """
    from sqlalchemy import select

    from belljar import show
    from belljar.errors import ConfigError
    from belljar.server.store import schema

    if name is None:
        return None
    with db.read() as connection:
        found: int | None = connection.scalar(select(schema.tenant.c.tenant_id).where(schema.tenant.c.name == name))
    if found is None:
        raise ConfigError(f"there is no tenant {show.name(name)}; `belljar server key list` shows those with keys")
    return found


def _span(option: str, text: str) -> timedelta:
    """A length of time.

    Raises:
        ConfigError: it is none, or longer than anybody keeps anything.
    """
    from belljar.errors import ConfigError

    match = _AGE.fullmatch(text)
    span = None if match is None else timedelta(**{_UNITS[match[2]]: int(match[1])})
    if span is None or span > _LONGEST:
        raise ConfigError(f"{option}: write a number and s, m, h, d or w, for example 90d; at most {_LONGEST.days}d")
    return span


def _now() -> datetime:
    return datetime.now(UTC)
