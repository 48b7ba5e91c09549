"""`belljar traces list|show`: what the configured server has of this key's traces."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from belljar import show

if TYPE_CHECKING:
    from belljar.config import Config

__all__ = ["add"]

_LIST = """\b
Examples:
  belljar traces list
  belljar traces list --capability git:release_notes --failed --since 2h
  belljar traces list --since 2026-11-01T00:00:00Z --limit 200 --json

\b
The server is BELLJAR_CLOUD_URL, the key BELLJAR_API_KEY; it must have the scope `read`.
"""
_SHOW = """\b
Examples:
  belljar traces show 01a1fc38-077e-7530-b11e-0a67ef5de0f3
  belljar traces show 01a1fc38-077e-7530-b11e-0a67ef5de0f3 --json | jq '.children[].capabilityId'
"""

_AGE = re.compile(r"([0-9]{1,6})(s|m|h|d|w)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_INDENT = 4
_LONG_MS = 1e12

_Object = dict[str, Any]

_ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="A belljar.toml.")]
_Debug = Annotated[bool, typer.Option("--debug", help="Log what happens to stderr.")]


def add(traces: typer.Typer) -> None:
    """Register the verbs below `belljar traces`."""
    traces.command("list", epilog=_LIST)(_list)
    traces.command("show", epilog=_SHOW)(_show)


def _list(
    capability: Annotated[
        str | None, typer.Option(metavar="NAME", help="namespace:action, or a full name with or without its hash.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only runs that failed.")] = False,
    since: Annotated[str | None, typer.Option(metavar="WHEN", help="An age (90s, 2h, 7d) or an ISO 8601 time.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="How many, at most.")] = 20,
    config: _ConfigFile = None,
    debug: _Debug = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list on stdout.")] = False,
) -> None:
    """Show the traces that the configured server has, the newest first."""

    def body(settled: Config) -> int:
        return _show_list(settled, _filters(capability, failed, since), limit, as_json)

    _end(body, config, debug)


def _show(
    trace_id: Annotated[str, typer.Argument(metavar="ID", help="As `belljar traces list` shows it; a run's id.")],
    config: _ConfigFile = None,
    debug: _Debug = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as the server has it, as JSON.")] = False,
) -> None:
    """Show one trace: its calls, what became of each, and the runs it started, as a tree."""
    _end(lambda settled: _show_tree(settled, trace_id, as_json), config, debug)


def _end(body: Callable[[Config], int], config: Path | None, debug: bool) -> None:
    from belljar.cli import _ending, _setup

    if debug:
        _ending.log_to_stderr()
    raise typer.Exit(_ending.ending(lambda: body(_setup.configure(config=config)), debug=debug))


# The list


def _filters(capability: str | None, failed: bool, since: str | None) -> dict[str, str]:
    where = {"capability": capability, "since": since and _moment(since)}
    asked = {name: value for name, value in where.items() if value}
    return {**asked, "success": "false"} if failed else asked


def _moment(since: str) -> str:
    """An age or a time, as a time; without an offset it is of this machine's zone."""
    from datetime import UTC, datetime, timedelta

    from belljar.errors import ConfigError

    try:
        if age := _AGE.fullmatch(since):
            moment = datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: int(age[1])})
        else:
            moment = datetime.fromisoformat(since).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigError("--since: write an age, as 90s, 2h or 7d, or a time, as 2026-11-01T12:00:00Z") from None
    return moment.isoformat()


def _show_list(config: Config, where: dict[str, str], limit: int, as_json: bool) -> int:
    import anyio

    from belljar.cli import _screen
    from belljar.tracing.stored import StoredTraces

    found = anyio.run(StoredTraces(config.tracing).newest, where, limit)
    if as_json:
        _screen.out_json(found)
    elif not found:
        _screen.note("belljar: no traces; what was not sent yet shows `belljar traces status`")
    else:
        _screen.out("\n".join(map(_row, found)))
    return 0


def _row(trace: _Object) -> str:
    """One line each, the long and foreign last: a table would fold names, and nobody could search for them."""
    when = _said(trace, "timestamp")[:19].replace("T", " ")
    counted = f"{_ms(trace):>9} ms {_said(trace, 'calls'):>4} calls"
    return f"{_said(trace, 'traceId')}  {when}  {_outcome(trace):<18} {counted}  {_said(trace, 'capabilityId')}"


# The tree


def _show_tree(config: Config, trace_id: str, as_json: bool) -> int:
    import anyio

    from belljar.cli import _screen
    from belljar.tracing.stored import StoredTraces

    tree = anyio.run(StoredTraces(config.tracing).tree, trace_id)
    if as_json:
        _screen.out_json(tree)
    else:
        _screen.out("\n".join(_lines(tree)))
        if tree.get("childrenTruncated"):
            _screen.note("belljar: there are more runs below than the server shows in one answer")
    return 0


def _lines(trace: _Object, level: int = 0) -> Iterator[str]:
    """A trace, its calls, and the runs it started, each level further to the right."""
    margin = " " * (_INDENT * level)
    yield f"{margin}{_said(trace, 'capabilityId')}  {_outcome(trace)}  {_ms(trace)} ms  {_said(trace, 'traceId')}"
    inner = margin + " " * _INDENT
    for label, key in (("when", "timestamp"), ("intent", "intent"), ("error", "errorMessage")):
        if key in trace:
            yield f"{inner}{label}: {_said(trace, key)}"
    for call in _calls(trace):
        yield inner + _call(call)
    for child in trace["children"]:
        yield from _lines(child, level + 1)


def _calls(trace: _Object) -> list[_Object]:
    calls = trace.get("taskResults")
    return [call for call in cast("list[Any]", calls) if isinstance(call, dict)] if isinstance(calls, list) else []


def _call(call: _Object) -> str:
    given = show.value(call.get("args"), max_chars=200)
    state = " ".join(_said(call, key) for key in ("state", "errorCode") if key in call)
    source = _said(call, "source", "real")
    by = "" if source == "real" else f"  by {source}"
    answer = f" -> {show.value(call['result'], max_chars=200)}" if call.get("result") is not None else ""
    return f"{_said(call, 'tool')}  {state}  {_ms(call)} ms{by}  {given}{answer}"


def _outcome(trace: _Object) -> str:
    return "ok" if trace.get("success") is True else _said(trace, "errorCode", "failed")


def _ms(holder: _Object) -> str:
    value = holder.get("durationMs")
    return f"{value:.1f}" if isinstance(value, int | float) and 0 <= value < _LONG_MS else "?"


def _said(holder: _Object, key: str, default: str = "") -> str:
    """What a foreign object says of itself, in one line fit for a terminal."""
    value = holder.get(key, default)
    return show.text(value, max_chars=500) if isinstance(value, str) else show.value(value)
