r"""Safe display of text that is not ours.

What a capability prints, what a tool is called, what a server says went wrong: all of it may hold escape sequences that
repaint a terminal, bidi controls that make a line read as another, or characters that cannot be seen at all. Everything
of the kind is shown here as a visible escape (`\x1b`, `\u202e`), and nothing is removed: what a person sees is all
there is. `str.isprintable` is the rule, because it refuses exactly the Unicode categories in question (controls, format
characters, surrogates, private use, unassigned, separators other than the space), and the few invisible characters it
lets pass are listed below.

Nothing here knows markup. A caller who prints through a library that does must hand the result over as plain text.

`text` and `value` may be applied twice without harm: a backslash is left alone, so an escape does not become two.
`name` is for identifiers, where look-alikes matter more: it escapes everything outside visible ASCII, and backslashes,
so that two names that differ never look the same.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate, chain, islice

__all__ = ["name", "text", "value"]

# Printable by category, and yet nothing is seen: default-ignorable letters and marks (Unicode, DerivedCoreProperties),
# variation selectors, which can carry hidden data, the blank braille pattern and the null notehead.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159\U000e0100-\U000e01ef]"
)
_SUSPECT = re.compile(r"[^ -~]")
_NOT_NAME = re.compile(r"[^!-\[\]-~]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\\": r"\\"}
# The most `… (+N)` can take: a text longer than 10^14 characters does not fit a machine.
_MARK = 20


def text(s: str, *, max_chars: int = 2000, multiline: bool = False) -> str:
    """`s` as one line fit for a terminal, at most `max_chars` long (which must be 24 or more).

    What does not fit is cut and counted: `… (+N)`, N characters of `s`. With `multiline`, line feeds and tabs stay.
    """
    if len(s) <= max_chars and s.isascii() and s.isprintable():
        return s
    return _fit(s, max_chars, _in_lines if multiline else _in_line)


def name(s: str, *, max_chars: int = 128) -> str:
    """An identifier: only visible ASCII stays as it is; a blank or a letter of another script is seen as an escape."""
    if len(s) <= max_chars and _NOT_NAME.search(s) is None:
        return s or "''"
    return _fit(s, max_chars, _in_name)


def value(v: object, *, max_chars: int = 500) -> str:
    """A JSON value as compact JSON in one line, at most `max_chars` long; a cut one ends with `…`.

    Only as much of it is serialized as is shown. What JSON does not know is shown by its type: `<set>`.
    """
    # One character more than fits tells that there is more; each is shown as itself or longer.
    pieces = [_in_line(c) for c in islice(chain.from_iterable(_json(v)), max_chars + 1)]
    kept = _fitting(pieces, max_chars)
    return "".join(pieces) if kept == len(pieces) else "".join(pieces[: _fitting(pieces, max_chars - 1)]) + "…"


def _json(v: object) -> Iterator[str]:
    """Pieces of the JSON text of `v`, made as they are asked for; never raises."""
    try:
        yield from _ENCODER.iterencode(v)
    except (TypeError, ValueError, RecursionError):
        yield _by_type(v)


def _by_type(v: object) -> str:
    return f"<{type(v).__name__}>"


# Without indent and one-shot mode the standard encoder is a generator: a large value costs what is shown of it.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_by_type)


def _fit(s: str, max_chars: int, show: Callable[[str], str]) -> str:
    pieces = [show(c) for c in s[: max_chars + 1]]
    if _fitting(pieces, max_chars) == len(s):
        return "".join(pieces)
    kept = _fitting(pieces, max_chars - _MARK)
    return f"{''.join(pieces[:kept])}… (+{len(s) - kept})"


def _fitting(pieces: list[str], room: int) -> int:
    """How many of the pieces, from the first, are together at most `room` characters long."""
    return bisect_right(list(accumulate(map(len, pieces))), room)


def _in_line(c: str) -> str:
    if _SUSPECT.match(c) is None or (c.isprintable() and _INVISIBLE.match(c) is None):
        return c
    return _escape(c)


def _in_lines(c: str) -> str:
    return c if c in "\n\t" else _in_line(c)


def _in_name(c: str) -> str:
    return c if _NOT_NAME.match(c) is None else _escape(c)


def _escape(c: str) -> str:
    point = ord(c)
    hexed = f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
    return _SHORT.get(c, hexed)
