"""`belljar faker sessions`: what went through fakers on this machine, shown, compared, taken along and served again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from belljar.cli import _faker_documents
from belljar.cli._faker_store import ConfigFile, Debug, Json, Which, end, opened, recorded, redactor

if TYPE_CHECKING:
    from belljar.config import Config
    from belljar.faker.sessions import SessionStore

__all__ = ["add"]

_LIST = """\b
Examples:
  belljar faker sessions list
  belljar faker sessions list --json | jq '.[0].session_id'
"""
_SHOW = """\b
Examples:
  belljar faker sessions show 6c2c7577
  belljar faker sessions show 6c2c7577 --call 3
"""
_DIFF = """\b
Examples:
  belljar faker sessions diff 6c2c7577 ff3d104c

\b
Exit: 0 they are the same, 1 they are not, 2 misuse.
"""
_DELETE = """\b
Examples:
  belljar faker sessions delete 6c2c7577
  belljar faker sessions delete --all
"""
_METRICS = """\b
Examples:
  belljar faker sessions metrics
  belljar faker sessions metrics 6c2c7577 --json
"""
_SERVE = """\b
Examples:
  belljar faker sessions serve 6c2c7577
  belljar faker sessions serve 6c2c7577 --strict --timing
  belljar faker sessions serve 6c2c7577 --http 127.0.0.1:8931
"""


def add(faker: typer.Typer) -> None:
    """Register the verbs below `belljar faker`."""
    sessions = typer.Typer(rich_markup_mode=None, help="Show, compare, export, import and serve recorded sessions.")
    sessions.command("list", epilog=_LIST)(_list)
    sessions.command("show", epilog=_SHOW)(_show)
    _faker_documents.add(sessions)
    sessions.command("diff", epilog=_DIFF)(_diff)
    sessions.command("delete", epilog=_DELETE)(_delete)
    sessions.command("metrics", epilog=_METRICS)(_metrics)
    sessions.command("serve", epilog=_SERVE)(_serve)
    faker.add_typer(sessions, name="sessions")


# what there is


def _list(
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the newest.")] = 50,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the sessions, the newest first."""

    def body(store: SessionStore, _: Config) -> int:
        from belljar.cli import _faker_screen, _screen

        found = store.sessions(limit)
        if as_json:
            _screen.out_json([_faker_screen.facts(session) for session in found])
        elif not found:
            _screen.note("belljar: no sessions; `belljar faker -- COMMAND` records one")
        else:
            _faker_screen.sessions(found)
        return 0

    end(body, config, debug)


def _show(
    which: Which,
    call: Annotated[
        int | None, typer.Option("--call", metavar="N", min=1, help="This call alone, with all that was said.")
    ] = None,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show one session: what it was, and its calls."""

    def body(store: SessionStore, _: Config) -> int:
        from belljar.cli import _faker_screen, _screen
        from belljar.errors import ValidationError
        from belljar.faker.sessions import document

        session, events, tools = recorded(store, which)
        if call is not None:
            events = [event for event in events if event.sequence == call]
            if not events:
                raise ValidationError(f"the session has {session.calls} calls, and no call {call}")
        written = document.write(session, events, tools)
        if as_json:
            _screen.out_json(written if call is None else written["tool_calls"][0])
        elif call is not None:
            _faker_screen.call(events[0])
        else:
            _faker_screen.session(session, events, tools)
        return 0

    end(body, config, debug)


def _metrics(
    which: Annotated[
        str | None, typer.Argument(metavar="[SESSION]", help="One session; all of them if left out.")
    ] = None,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show where the time of calls went, and who answered them: overhead, cache, models, with percentiles."""

    def body(store: SessionStore, _: Config) -> int:
        from belljar.cli import _faker_screen, _screen
        from belljar.faker.sessions.figures import figures

        chosen = store.sessions() if which is None else [store.session(which)]
        found = figures(chosen, map(dict, store.timings(None if which is None else chosen[0].id)))
        if as_json:
            _screen.out_json(found)
        else:
            _faker_screen.figures(found)
        return 0

    end(body, config, debug)


def _delete(
    which: Annotated[list[str] | None, typer.Argument(metavar="[SESSION]...", help="Ids, or their beginnings.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every session that is over.")] = False,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Forget sessions and all that was said in them."""

    def body(store: SessionStore, _: Config) -> int:
        from belljar import show
        from belljar.cli import _screen
        from belljar.errors import ConfigError, ValidationError

        if bool(which) == everything:
            raise ConfigError("name the sessions to delete, or give --all")
        chosen = store.sessions() if everything else [store.session(each) for each in which or ()]
        over = [session.id for session in chosen if session.status != "running"]
        if not everything and len(over) < len(chosen):
            going = next(session.id for session in chosen if session.status == "running")
            raise ValidationError(f"session {show.name(going)} is still being recorded; end its faker first")
        store.delete(over)
        if as_json:
            _screen.out_json({"deleted": over})
        else:
            _screen.note(f"belljar: {len(over)} session{'' if len(over) == 1 else 's'} deleted")
        return 0

    end(body, config, debug)


def _diff(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="A session.")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="Another one.")],
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare two sessions: calls that were added, removed or changed, and tools."""

    def body(store: SessionStore, _: Config) -> int:
        from belljar.cli import _faker_screen, _screen
        from belljar.faker.sessions.compare import compare

        one, other = store.session(before), store.session(after)
        found = compare(store.outcomes(one.id), store.outcomes(other.id), store.tools(one.id), store.tools(other.id))
        if as_json:
            facts: dict[str, Any] = {"before": one.id, "after": other.id, **_faker_screen.difference_facts(found)}
            _screen.out_json(facts)
        else:
            _faker_screen.difference(found)
        return 1 if found else 0

    end(body, config, debug)


# served again


def _serve(
    which: Which,
    server: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which of the session's servers, if it has several.")
    ] = None,
    http: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Serve by HTTP on this machine, in place of stdio.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Only the recorded calls, in their order, each once; else an error.")
    ] = False,
    timing: Annotated[bool, typer.Option("--timing", help="Answers take as long as they took.")] = False,
    config: ConfigFile = None,
    debug: Debug = False,
) -> None:
    """Serve a session as an MCP server: the same tools, and the recorded answers to the recorded calls."""
    from belljar.cli import _ending, _setup

    if debug:
        _ending.log_to_stderr()

    def body() -> int:
        from belljar.cli import _faker_serving

        settled = _setup.configure(config=None if config is None else Path(config))
        with opened(settled) as store:
            found = recorded(store, which)
        mask = (lambda: redactor(settled)) if found[0].redacted else None
        return _faker_serving.serve(found, server=server, http=http, strict=strict, timing=timing, redactor=mask)

    raise typer.Exit(_ending.ending(body, debug=debug))
