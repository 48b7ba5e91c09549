"""`belljar traces sanitize`: what would leave this machine of a JSON value, shown to whoever asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from belljar.tracing.outbound import Outbound
    from belljar.tracing.sanitizer import SanitizedValue

__all__ = ["EPILOG", "sanitize"]

EPILOG = """\b
Examples:
  echo '{"author": "ann@corp.com"}' | belljar traces sanitize
  belljar traces sanitize < answer.json
  belljar traces sanitize --pass1 < answer.json
"""

# More than the largest result or answer there is; what a trace holds is far smaller.
_MAX_BYTES = 64 << 20

_Pass1 = Annotated[bool, typer.Option("--pass1", help="Only what is done before a trace is written down.")]
_Model = Annotated[
    str | None,
    typer.Option(
        "--spacy-model", metavar="NAME", help="An installed spaCy model: mask names of people and places, too."
    ),
]
_Debug = Annotated[bool, typer.Option("--debug", help="Log what happens to stderr.")]


def sanitize(pass1: _Pass1 = False, spacy_model: _Model = None, debug: _Debug = False) -> None:
    """Read one JSON value from stdin, and print it with its secrets and personal data masked.

    What was masked is counted on stderr, by kind. Pass 1 goes by formats, names of fields, check digits and
    surroundings; a trace is masked so before it is written anywhere. Pass 2 comes before a trace is sent: Presidio's
    recognizers, for telephone numbers, numbers of people and addresses in many countries' notations. In a run's trace
    the secrets of its servers are known and masked, too.
    """
    from belljar.cli import _ending

    if debug:
        _ending.log_to_stderr()

    def shown() -> int:
        return _show(_outbound(pass1=pass1, spacy_model=spacy_model))

    raise typer.Exit(_ending.ending(shown, debug=debug))


def _outbound(*, pass1: bool, spacy_model: str | None) -> Outbound:
    from belljar.errors import ValidationError
    from belljar.tracing.outbound import Outbound
    from belljar.tracing.sanitizer import Sanitizer

    if pass1:
        if spacy_model is not None:
            raise ValidationError("--pass1 uses no model: leave out --pass1 or --spacy-model")
        return Outbound(Sanitizer())
    from belljar.tracing.second_pass import SecondPass

    return Outbound(Sanitizer(), SecondPass(spacy_model=spacy_model))


def _show(outbound: Outbound) -> int:
    from belljar.cli import _screen

    done = outbound.sanitized(_read())
    _screen.out_json(done.value)
    _screen.note(_counted(done))
    return 0


def _read() -> Any:
    import json
    import sys

    from belljar.errors import ValidationError

    data = sys.stdin.buffer.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ValidationError(f"standard input has more than {_MAX_BYTES} bytes")
    # Not as strict as what comes out of a box: whoever asks wants to see what becomes of odd values, too.
    try:
        return json.loads(data.decode("utf-8-sig", "surrogatepass"))
    except RecursionError:
        raise ValidationError("standard input is nested too deeply to be read") from None
    except ValueError as exc:
        place = isinstance(exc, json.JSONDecodeError)
        said = f"{exc.msg} (line {exc.lineno} column {exc.colno})" if place else "not UTF-8"
        raise ValidationError(f"standard input is not one JSON value: {said}") from None


def _counted(done: SanitizedValue) -> str:
    masked = ", ".join(f"{count} {kind}" for kind, count in sorted(done.redactions.items())) or "nothing"
    cut = f"; {len(done.truncated)} cut" if done.truncated else ""
    return f"belljar: masked {masked}{cut}"
