"""`belljar traces sync|status|drop|dead-letter`: what waits to leave this machine, and what will never be taken.

`status` and `dead-letter` look at every destination there is on this machine, also those that are no longer configured:
what waits for another server or another key shall not be forgotten. Only `sync` sends, and only to what is configured:
what was captured for a key that has been replaced is sent with that key, or dropped by name, never with another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from belljar import show

if TYPE_CHECKING:
    from belljar.config import Config
    from belljar.tracing.outbox import DeadLetter, Outbox, Status

__all__ = ["add"]

_SYNC = """\b
Examples:
  BELLJAR_CLOUD_URL=https://traces.example.com BELLJAR_API_KEY=bj_... belljar traces sync
  belljar traces sync --deadline 30
"""
_STATUS = """\b
Examples:
  belljar traces status
  belljar traces status --json | jq '.[].pending'
"""
_DROP = """\b
Examples:
  belljar traces status
  belljar traces drop --destination 5f0c2b9a77d1e364
"""
_DEAD = """\b
Examples:
  belljar traces dead-letter list
  belljar traces dead-letter retry 01a1fc38-077e-7530-b11e-0a67ef5de0f3
  belljar traces dead-letter drop --all
"""

_ConfigFile = Annotated[str | None, typer.Option("--config", help="In place of the user's belljar.toml.")]
_Deadline = Annotated[float | None, typer.Option("--deadline", min=0.1, help="Stop after so many seconds.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Debug = Annotated[bool, typer.Option("--debug", help="Log what happens to stderr.")]
_Ids = Annotated[list[str] | None, typer.Argument(metavar="[TRACE]...", help="Trace ids.")]
_Destination = Annotated[str, typer.Option("--destination", metavar="ID", help="As `belljar traces status` names it.")]
_All = Annotated[bool, typer.Option("--all", help="Every dead letter there is.")]


def add(traces: typer.Typer) -> None:
    """Register the verbs below `belljar traces`."""
    traces.command("sync", epilog=_SYNC)(_sync)
    traces.command("status", epilog=_STATUS)(_status)
    traces.command("drop", epilog=_DROP)(_drop_destination)
    dead = typer.Typer(rich_markup_mode=None, help="Traces a server refused for good.")
    dead.command("list", epilog=_DEAD)(_list)
    dead.command("retry", epilog=_DEAD)(_retry)
    dead.command("drop", epilog=_DEAD)(_drop)
    traces.add_typer(dead, name="dead-letter")


def _end(body: Callable[[Config], int], config: str | None, debug: bool) -> None:
    from belljar.cli import _ending, _setup

    if debug:
        _ending.log_to_stderr()
    file = None if config is None else Path(config)
    raise typer.Exit(_ending.ending(lambda: body(_setup.configure(config=file)), debug=debug))


# sync


def _sync(
    deadline: _Deadline = None, config: _ConfigFile = None, as_json: _Json = False, debug: _Debug = False
) -> None:
    """Send what waits for the configured server, now, until nothing is left or it cannot go on.

    Exit status 0: nothing is left. 4: something is, and the line on stderr says why; it waits for the next time.
    """
    _end(lambda settled: _sync_now(settled, deadline, as_json), config, debug)


def _sync_now(config: Config, deadline_s: float | None, as_json: bool) -> int:
    import anyio

    from belljar.cli import _ending, _screen
    from belljar.cli._setup import sync_settings
    from belljar.errors import EXIT, Code, ConfigError
    from belljar.tracing.syncer import sync_now

    settings = sync_settings(config)
    if settings is None:
        raise ConfigError("no server is configured: set BELLJAR_CLOUD_URL, or cloud_url in [tracing] of belljar.toml")

    async def sync() -> Status:
        with _progress() as tick:
            return await sync_now(settings, deadline_s=deadline_s, progress=tick)

    after = anyio.run(sync)
    if as_json:
        _screen.out_json(_facts(after))
    else:
        _screen.note(f"belljar: {_sent(after)}")
        _tell_others(config, settings.folder)
    if after.pending == 0:
        return 0
    why = after.parked or after.last_error or "the deadline came first"
    _ending.complain(Code.UPSTREAM_UNAVAILABLE, f"{_traces(after.pending)} still waiting: {why}")
    return EXIT[Code.UPSTREAM_UNAVAILABLE]


def _progress() -> AbstractContextManager[Callable[[Status], None]]:
    """How many are left, as often as the syncer says so; at a terminal only."""
    import sys
    from contextlib import nullcontext

    if not sys.stderr.isatty():
        return nullcontext(lambda _status: None)

    def tick(status: Status) -> None:
        print(f"\r\x1b[Kbelljar: {_traces(status.pending)} waiting", end="", file=sys.stderr, flush=True)

    class Line:
        def __enter__(self) -> Callable[[Status], None]:
            return tick

        def __exit__(self, *_exc: object) -> None:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    return Line()


def _sent(status: Status) -> str:
    delivered = status.counters.get("acknowledged", 0)
    dead = f", {_traces(status.dead)} refused for good (belljar traces dead-letter list)" if status.dead else ""
    return f"{delivered} delivered in all, {status.pending} waiting{dead}"


def _tell_others(config: Config, configured: Path) -> None:
    """What waits for a server and a key that are not configured: it is bound to them, and is not sent to another."""
    from belljar.cli import _screen

    waiting = sum(_status_of(folder, config).pending for folder in _folders(config, configured)[1:])
    if waiting:
        _screen.note(f"belljar: {_traces(waiting)} for another server or key not sent (belljar traces status)")


def _traces(count: int) -> str:
    return f"{count} trace{'' if count == 1 else 's'}"


# status


def _status(config: _ConfigFile = None, as_json: _Json = False, debug: _Debug = False) -> None:
    """Show what waits, for each server: how much, how old, what was sent, what was dropped and why."""
    _end(lambda settled: _show_status(settled, as_json), config, debug)


def _show_status(config: Config, as_json: bool) -> int:
    from belljar.cli import _screen
    from belljar.cli._setup import sync_settings

    settings = sync_settings(config)
    configured = None if settings is None else settings.folder
    there = [(folder, _status_of(folder, config)) for folder in _folders(config, configured)]
    if settings is not None:
        there[0] = (there[0][0], replace(there[0][1], destination=settings.destination.url))
    if as_json:
        facts = [{**_facts(status), "id": folder.name, "configured": folder == configured} for folder, status in there]
        _screen.out_json(facts)
        return 0
    if not there:
        _screen.out("No server is configured, and nothing waits. Each trace is a DEBUG line of logger belljar.trace.")
    for folder, status in there:
        bound = "" if folder == configured else _bound(status, None if settings is None else settings.destination.url)
        _screen.table(("", ""), _rows(status, folder.name, bound), to_stdout=True)
    return 0


def _folders(config: Config, configured: Path | None = None) -> list[Path]:
    from belljar.tracing.outbox import destinations

    there = destinations(config.paths.state / "spool")
    rest = [folder for folder in there if folder != configured]
    return rest if configured is None else [configured, *rest]


def _status_of(folder: Path, config: Config) -> Status:
    with _outbox(folder, config, read_only=True) as outbox:
        return outbox.status()


def _outbox(folder: Path, config: Config, *, read_only: bool = False) -> Outbox:
    from belljar.tracing.outbox import Outbox
    from belljar.tracing.sink import spool_limits

    return Outbox(folder, spool_limits(config.tracing), read_only=read_only)


def _facts(status: Status) -> dict[str, Any]:
    return {
        "destination": status.destination,
        "pending": status.pending,
        "dead": status.dead,
        "spoolBytes": status.spool_bytes,
        "oldestAgeS": status.oldest_age_s,
        "parked": status.parked,
        "lastError": status.last_error,
        "lastSuccessAt": status.last_success_at,
        "counters": dict(status.counters),
        "captureMs": dict(status.capture_ms),
    }


def _bound(status: Status, configured: str | None) -> str:
    """Why nothing is sent there now."""
    return "another key" if status.destination == configured else "not configured now"


def _rows(status: Status, name: str, bound: str) -> Iterable[Sequence[str]]:
    yield "server", show.text(status.destination) + (f" ({bound})" if bound else "")
    yield "id", name
    oldest = "" if status.oldest_age_s is None else f", the oldest for {_time(status.oldest_age_s)}"
    yield "waiting", f"{_traces(status.pending)}, {status.spool_bytes / 1024:.0f} KiB on disk{oldest}"
    if bound and status.pending:
        what = "that key" if bound == "another key" else "that server and its key"
        yield "bound", f"sent with {what} alone: set them and `belljar traces sync`, or `belljar traces drop`"
    if status.parked:
        yield "stopped", show.text(status.parked)
    if status.last_error:
        yield "last error", show.text(status.last_error)
    if status.dead:
        yield "refused", f"{_traces(status.dead)} (belljar traces dead-letter list)"
    yield "counted", ", ".join(f"{show.name(name)} {n}" for name, n in sorted(status.counters.items())) or "nothing yet"
    if cost := status.capture_ms:
        yield "capture", f"p50 {cost['p50']:.2f} ms, p95 {cost['p95']:.2f} ms (newest {cost['n']:.0f})"


def _time(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


# drop


def _drop_destination(destination: _Destination, config: _ConfigFile = None, debug: _Debug = False) -> None:
    """Forget what waits for a server or a key that is no longer configured, its dead letters too."""
    _end(lambda settled: _forget(settled, destination), config, debug)


def _forget(config: Config, name: str) -> int:
    from belljar.cli import _screen
    from belljar.cli._setup import sync_settings
    from belljar.errors import ValidationError
    from belljar.tracing.outbox import SyncerLock

    folder = next((folder for folder in _folders(config) if folder.name == name), None)
    if folder is None:
        raise ValidationError(
            f"nothing waits for {show.text(name, max_chars=100)}; `belljar traces status` has the ids"
        )
    settings = sync_settings(config)
    if settings is not None and folder == settings.folder:
        raise ValidationError("that is the configured server and key: `belljar traces sync` sends what waits for it")
    lock = SyncerLock.take(folder)
    if lock is None:
        raise ValidationError("a program that sends there is running; stop it first")
    with lock, _outbox(folder, config) as outbox:
        outbox.take_in()
        dropped = outbox.drop_all()
    _screen.note(f"belljar: {_traces(dropped)} dropped")
    return 0


# dead-letter


def _list(config: _ConfigFile = None, as_json: _Json = False, debug: _Debug = False) -> None:
    """Show the traces that a server refused for good, and what it said."""
    _end(lambda settled: _show_dead(settled, as_json), config, debug)


def _show_dead(config: Config, as_json: bool) -> int:
    from belljar.cli import _screen

    letters = [letter for folder in _folders(config) for letter in _letters(folder, config)]
    if as_json:
        _screen.out_json([_letter_facts(letter) for letter in letters])
    elif not letters:
        _screen.note("belljar: no dead letters")
    else:
        rows = [(_id(letter), _when(letter), show.text(letter.code), show.text(letter.message)) for letter in letters]
        _screen.table(("trace", "since", "code", "why"), rows, to_stdout=True)
    return 0


def _letters(folder: Path, config: Config) -> list[DeadLetter]:
    with _outbox(folder, config, read_only=True) as outbox:
        return outbox.dead_letters()


def _letter_facts(letter: DeadLetter) -> dict[str, Any]:
    import json

    text = letter.text if letter.body is None else letter.body
    return {
        "traceId": letter.trace_id,
        "code": letter.code,
        "message": letter.message,
        "at": _when(letter),
        "trace": None if text is None else json.loads(text),
    }


def _id(letter: DeadLetter) -> str:
    return show.text(letter.trace_id)


def _when(letter: DeadLetter) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(letter.at_ns / 1e9, UTC).isoformat(timespec="seconds")


def _retry(ids: _Ids = None, everything: _All = False, config: _ConfigFile = None, debug: _Debug = False) -> None:
    """Send them again, with the next sync."""
    _end(lambda settled: _change(settled, ids, everything, "retry"), config, debug)


def _drop(ids: _Ids = None, everything: _All = False, config: _ConfigFile = None, debug: _Debug = False) -> None:
    """Forget them."""
    _end(lambda settled: _change(settled, ids, everything, "drop"), config, debug)


def _change(config: Config, ids: list[str] | None, everything: bool, what: str) -> int:
    from belljar.cli import _screen
    from belljar.errors import ConfigError, ValidationError

    if bool(ids) == everything:
        raise ConfigError(f"name the traces to {what}, or give --all")
    done = 0
    for folder in _folders(config):
        with _outbox(folder, config) as outbox:
            done += (outbox.retry if what == "retry" else outbox.drop)(None if everything else ids)
    if ids and done < len(set(ids)):
        raise ValidationError(f"{len(set(ids)) - done} of these are no dead letters; belljar traces dead-letter list")
    _screen.note(f"belljar: {_traces(done)} {'will be sent again' if what == 'retry' else 'dropped'}")
    return 0
