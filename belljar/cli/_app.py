"""Puts the verbs together, as far as they are needed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated

import typer

from belljar import __version__, show

__all__ = ["VERBS", "call"]

VERBS = (
    "run",
    "replay",
    "capability",
    "doctor",
    "tools",
    "servers",
    "guest",
    "traces",
    "suggest",
    "learn",
    "faker",
    "serve",
    "server",
)
"""Each is a module of this package with `add(app)`, in the order help shows them."""

_ABOUT = "Runs capability code nobody has vetted in a fresh, sealed box; its only way out is mcp.<server>.<tool>(...)."
_MISUSE = 2


def call(words: Sequence[str]) -> int:
    """Do what the words of a command line say; its exit status."""
    command = typer.main.get_command(_app(_wanted(words)))
    try:
        status = command.main(list(words) or ["--help"], prog_name="belljar", standalone_mode=False)
    except typer.Abort:
        return 130
    except Exception as exc:
        # typer keeps its own copy of click; the base class of its usage errors has no public name.
        message: Callable[[], str] | None = getattr(exc, "format_message", None)
        if message is None:
            raise
        print(f"belljar: {show.text(message())}{_hint(words)}", file=sys.stderr)
        return _MISUSE
    return _MISUSE if not words else status if isinstance(status, int) else 0


def _wanted(words: Sequence[str]) -> tuple[str, ...]:
    """The verb that is asked for; all of them for help and for what is none."""
    return (words[0],) if words and words[0] in VERBS else VERBS


def _hint(words: Sequence[str]) -> str:
    verb = f" {words[0]}" if words and words[0] in VERBS else ""
    return f" (see `belljar{verb} --help`)"


def _app(verbs: tuple[str, ...]) -> typer.Typer:
    app = typer.Typer(
        name="belljar",
        help=_ABOUT,
        rich_markup_mode=None,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(_belljar)
    for verb in verbs:
        import_module(f"belljar.cli.{verb}").add(app)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit()


def _belljar(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    # typer makes a group of an app with a callback, also when one verb alone was loaded.
    pass
