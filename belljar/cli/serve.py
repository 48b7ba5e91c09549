"""`belljar serve`: the server, on an SQLite file or on PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from belljar.server.run import Listening
    from belljar.server.settings import Settings
    from belljar.server.store.engine import Database

__all__ = ["add"]

_EPILOG = """\b
Examples:
  belljar serve
  belljar serve --db postgresql+psycopg://belljar@db/belljar --host 0.0.0.0 --allow-host traces.example.com
  belljar serve --port 0 --json

\b
Then, elsewhere:
  belljar server key create
  BELLJAR_CLOUD_URL=http://127.0.0.1:8420 BELLJAR_API_KEY=bj_... belljar run ...

\b
TLS is for a proxy in front. SIGTERM and Ctrl-C finish what is under way (10 s) and end.
Exit: 0 ended as told, 2 an option that cannot be used, 4 the database does not answer.
"""


def add(app: typer.Typer) -> None:
    """Register the verb."""
    app.command("serve", epilog=_EPILOG)(_serve)


def _serve(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0: everywhere.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", help="0: any that is free.")] = 8420,
    db: Annotated[
        str | None,
        typer.Option(metavar="URL", help="sqlite:///FILE or postgresql+psycopg://...; or BELLJAR_DB; or our own file."),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A name this server is reached by. Repeatable.")
    ] = None,
    rate: Annotated[
        float, typer.Option(metavar="N", help="Requests a second one key may send in the long run; 0: no limit.")
    ] = 50.0,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="No keys: everybody on this machine may do everything. Loopback only.")
    ] = False,
    no_learn: Annotated[
        bool, typer.Option("--no-learn", help="Store traces and learn nothing from them; no learner beside the server.")
    ] = False,
    learn_share: Annotated[
        float, typer.Option(metavar="SHARE", help="Of one core, that the learner may take: above 0, at most 1.")
    ] = 0.25,
    embedder: Annotated[
        str | None,
        typer.Option(metavar="MODULE:NAME", help="What turns texts into vectors; with `encode`, or a function."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Log more to stderr.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Say where it serves as one JSON object on stdout: url, host, port, pid.")
    ] = False,
) -> None:
    """Take traces, show them, and keep the registry of capabilities.

    What happens is logged to stderr, one JSON object a line. An SQLite file is brought up to date at the start;
    PostgreSQL by `belljar server migrate`, and until then /readyz says 503.
    """
    from belljar.cli import _database, _ending

    def body() -> int:
        _database.need_extra()
        from belljar.server.settings import Settings

        settings = Settings(
            database=_database.url(db),
            host=host,
            port=port,
            allowed_hosts=tuple(allow_host or ()),
            no_auth=no_auth,
            learn=not no_learn,
            learn_share=learn_share,
            embedder=embedder,
            rate_per_s=rate,
        )
        return _run(settings, debug=debug, as_json=as_json)

    raise typer.Exit(_ending.ending(body, debug=debug))


def _run(settings: Settings, *, debug: bool, as_json: bool) -> int:
    from belljar.cli import _database
    from belljar.server import logs, run

    logs.configure(debug=debug)
    with _database.opened(settings.database, pool_size=settings.threads) as db:
        if db.dialect == "sqlite":
            _database.migrated(db)
        _warn(settings, db)
        run.serve(settings, db, ready=lambda where: _say(where, as_json), debug=debug)
    return 0


def _warn(settings: Settings, db: Database) -> None:
    """What whoever starts it must know: that it is open to all, or that nobody can use it yet."""
    from datetime import UTC, datetime

    from belljar.cli import _screen
    from belljar.server.store import errors, keys

    if settings.no_auth:
        _screen.note("belljar: NO AUTHENTICATION: every program and user of this machine may read and write all traces")
        return
    try:
        if keys.any_key(db, now=datetime.now(UTC)):
            return
    except errors.StoreUnavailable as exc:
        _screen.note(f"belljar: not ready: {exc.message}")
        return
    _screen.note("belljar: there is no API key yet; `belljar server key create` (with the same --db) makes one")


def _say(where: Listening, as_json: bool) -> None:
    import os

    from belljar.cli import _screen

    if as_json:
        _screen.out_json({"url": where.url, "host": where.host, "port": where.port, "pid": os.getpid()})
    else:
        _screen.out(f"Belljar serves at {where.url} (Ctrl-C ends it)")
