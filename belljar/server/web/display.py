"""Foreign text on a page.

Two things happen to every value a template prints, by Jinja itself and not by whoever writes the template: it passes
`belljar.show`, so that no control, escape or bidi character reaches the page, and it is escaped as HTML. What has
passed `show` already, in another form than one line, is `Shown`. Nothing in a template is ever marked safe.

Masks (`[EMAIL]`, `...[TRUNCATED]`) are found in the shown text and become segments of their own, to be drawn as marks.
Values are shown as indented JSON, serialized only as far as they are shown, within a budget for the whole page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined
from markupsafe import Markup

from belljar import show
from belljar.limits import KIB

__all__ = ["MASK", "Block", "Budget", "Segment", "Shown", "block", "environment", "segments"]

MASK = re.compile(
    r"\[(?:REDACTED|(?:EMAIL|PHONE|SSN|CARD|IBAN|IP|PERSON|LOCATION)(?::[0-9a-f]{12})?)\]|\.\.\.\[TRUNCATED\]"
)
"""What the sanitizer leaves in place of what it took out."""

_TEMPLATES = Path(__file__).parent / "templates"
_MAX_LINE = 2000
_MAX_VALUE = 16 * KIB
_MAX_LINES = 400
_ENCODER = json.JSONEncoder(ensure_ascii=False, indent=2)


class Shown(str):
    """A text that has passed `show`. It is still escaped."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """Part of a text; `mask` if something was taken out here."""

    text: Shown
    mask: bool


@dataclass(frozen=True, slots=True)
class Block:
    """A value in several lines."""

    segments: list[Segment]
    cut: bool
    """There is more of it than is shown."""


class Budget:
    """How many characters of values a page may still show."""

    def __init__(self, chars: int = 400_000) -> None:
        self.left = chars


def environment() -> Environment:
    """The templates."""
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_fit,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= _FILTERS  # pyright: ignore[reportUnknownMemberType]  # of anything, says Jinja
    return made


def _fit(value: Any) -> Any:
    if isinstance(value, Markup | Shown | int | float | Undefined):
        return value
    return show.text(str(value), max_chars=_MAX_LINE)


def segments(text: str, max_chars: int = _MAX_LINE) -> list[Segment]:
    """A text in one line, its masks apart."""
    return _segments(show.text(text, max_chars=max_chars))


def block(value: Any, budget: Budget) -> Block:
    """A JSON value, or the lines of a text, as far as there is room."""
    room = max(0, min(_MAX_VALUE, budget.left))
    text, cut = _text(value, room)
    lines = text.split("\n")
    kept = "\n".join(show.text(line, max_chars=_MAX_LINE) for line in lines[:_MAX_LINES])
    budget.left -= len(kept)
    return Block(_segments(kept), cut or len(lines) > _MAX_LINES)


def _name(text: str) -> Shown:
    return Shown(show.name(text))


def _moment(at: datetime) -> str:
    """A time as people read it: UTC, to the second."""
    return at.strftime("%Y-%m-%d %H:%M:%S")


def _text(value: Any, room: int) -> tuple[str, bool]:
    if isinstance(value, str):
        return value[:room], len(value) > room
    pieces, size = list[str](), 0
    try:
        for piece in _ENCODER.iterencode(value):
            pieces.append(piece)
            size += len(piece)
            if size > room:
                break
    except (TypeError, ValueError, RecursionError):
        pieces, size = [f"<{type(value).__name__}>"], 0
    return "".join(pieces)[:room], size > room


def _segments(shown: str) -> list[Segment]:
    return list(_split(shown))


def _split(shown: str) -> Iterator[Segment]:
    at = 0
    for match in islice(MASK.finditer(shown), 1000):
        if match.start() > at:
            yield Segment(Shown(shown[at : match.start()]), mask=False)
        yield Segment(Shown(match[0]), mask=True)
        at = match.end()
    if at < len(shown):
        yield Segment(Shown(shown[at:]), mask=False)


def _duration(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "–"
    if milliseconds < 10:
        return f"{milliseconds:.2g} ms"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds / 60:,.0f} min"


def _percent(share: float) -> str:
    return f"{share:.0%}"


def _number(n: int) -> str:
    return f"{n:,}"


_FILTERS: dict[str, Callable[..., Any]] = {
    "name": _name,
    "moment": _moment,
    "ms": _duration,
    "percent": _percent,
    "number": _number,
    "segments": segments,
}
