"""`belljar suggest`: what the configured server would run next, and what speaks for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from belljar import show

if TYPE_CHECKING:
    from belljar.config import Config

__all__ = ["add"]

_EPILOG = """\b
Examples:
  belljar suggest "release notes, grouped by author"
  belljar suggest --context git:git_log,git:git_show
  belljar suggest --goal mail:send --json

\b
The server is BELLJAR_CLOUD_URL, the key BELLJAR_API_KEY; it must have the scope `read`. Where the server knows nothing
that fits, it says so: exit status 0, no suggestions.
"""


def add(app: typer.Typer) -> None:
    """Register the verb."""
    app.command("suggest", epilog=_EPILOG)(_suggest)


def _suggest(
    intent: Annotated[str, typer.Argument(metavar="INTENT", help="What is wanted, in words.")] = "",
    context: Annotated[
        str | None, typer.Option(metavar="TOOLS", help="Tools called so far, in order: a:b,c:d.")
    ] = None,
    goal: Annotated[str | None, typer.Option(metavar="TOOL", help="A tool to reach; shows the likeliest way.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=50, help="How many, at most.")] = 5,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="A belljar.toml.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Log what happens to stderr.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the server's answer, as JSON.")] = False,
) -> None:
    """Show which capability, or which tool next, real runs speak for."""
    from belljar.cli import _ending, _setup

    if debug:
        _ending.log_to_stderr()
    asked = {"intent": intent, "context": context or "", "goal": goal, "limit": str(limit)}
    query = {name: value for name, value in asked.items() if value}
    body = lambda: _show(_setup.configure(config=config), query, as_json)  # noqa: E731 - one word for what runs
    raise typer.Exit(_ending.ending(body, debug=debug))


def _show(config: Config, query: dict[str, str], as_json: bool) -> int:
    import anyio

    from belljar.cli import _screen
    from belljar.tracing.stored import StoredTraces

    answer = anyio.run(StoredTraces(config.tracing).suggestions, query)
    if as_json:
        _screen.out_json(answer)
    elif answer["abstained"]:
        _screen.note("belljar: the server knows nothing yet that fits; it learns from every traced run")
    else:
        lines = [_line(each) for each in answer["suggestions"]]
        if answer["path"]:
            lines += [f"the way to {show.text(query.get('goal', ''), max_chars=200)}:"]
            lines += [f"  {number}  {_line(step)}" for number, step in enumerate(answer["path"], 1)]
        _screen.out("\n".join(lines))
        if answer["model"] != "counts":
            _screen.note(
                f"belljar: ranked by {show.text(answer['model'], max_chars=100)}; belljar learn status says why"
            )
    return 0


def _line(each: dict[str, Any]) -> str:
    """`0.87  ok 19 of 20 (76-99 %)  name  e.g. trace id`."""
    low, high = (round(100 * bound) for bound in each["interval"])
    n = each["n"]
    evidence = f"  e.g. {show.text(each['evidence'][0], max_chars=40)}" if each["evidence"] else ""
    rate = f"ok {round(each['successRate'] * n)} of {n} ({low}-{high} %)"
    return f"{each['score']:.2f}  {rate:<24}  {show.text(each['name'], max_chars=300)}{evidence}"
