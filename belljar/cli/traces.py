"""`belljar traces`: what becomes of a value before it leaves this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from belljar.tracing.sanitizer import SanitizedValue

__all__ = ["add"]

_SANITIZE = """\b
Examples:
  echo '{"author": "ann@corp.com"}' | belljar traces sanitize
  belljar traces sanitize < answer.json
"""

# More than the largest result or answer there is; what a trace holds is far smaller.
_MAX_BYTES = 64 << 20

_Debug = Annotated[bool, typer.Option("--debug", help="Log what happens to stderr.")]


def add(app: typer.Typer) -> None:
    """Register the verb."""
    traces = typer.Typer(rich_markup_mode=None, help="Mask what a trace may not hold.")
    traces.callback()(_traces)
    traces.command("sanitize", epilog=_SANITIZE)(_sanitize)
    app.add_typer(traces, name="traces")


def _traces() -> None:
    # typer makes a group of an app with a callback, also when it has one command.
    pass


def _sanitize(debug: _Debug = False) -> None:
    """Read one JSON value from stdin, and print it with its secrets and personal data masked.

    What was masked is counted on stderr, by kind. This is pass 1: formats, names of fields, check digits and
    surroundings. Pass 2, which finds names of people in prose, is not part of this version. A run's trace is masked
    the same way; there, the secrets of its servers are known and masked too.
    """
    from belljar.cli import _ending

    if debug:
        _ending.log_to_stderr()
    raise typer.Exit(_ending.ending(_show_sanitized, debug=debug))


def _show_sanitized() -> int:
    from belljar.cli import _screen
    from belljar.tracing.sanitizer import Sanitizer

    value = _read()
    done = Sanitizer().value(value)
    _screen.out_json(done.value)
    _screen.note(_counted(done))
    return 0


def _read() -> Any:
    import sys

    from belljar.errors import ValidationError
    from belljar.rpc import jsontext

    try:
        return jsontext.parse(sys.stdin.buffer.read(_MAX_BYTES + 1), max_bytes=_MAX_BYTES)
    except jsontext.JsonError as exc:
        raise ValidationError(f"standard input is not one JSON value: {exc}") from None


def _counted(done: SanitizedValue) -> str:
    masked = ", ".join(f"{count} {kind}" for kind, count in sorted(done.redactions.items())) or "nothing"
    cut = f"; {len(done.truncated)} cut" if done.truncated else ""
    return f"belljar: masked {masked}{cut}"
