"""A text as its readers would see it: percent-encoding, escapes and entities undone, each place still known.

`user%40example.com` is an e-mail address to whoever decodes it. So a text that holds such encodings is also matched
decoded, level by level, and what is found there is masked where it came from. The escapes that colour a terminal's
text are read as nothing, and once more as a space: `\\x1b[31mAKIA...` is no word that ends in AKIA.

`shadow` writes every script's digits and the full-width forms in ASCII, before anything is matched.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from html.entities import html5

__all__ = ["PROBE", "folded", "shadow", "views"]

PROBE = (
    r"%[2-7][0-9A-Fa-f]|\\{2,}(?:u[0-9A-Fa-f]{4}|x[2-7])|&(?:#[0-9x]|amp;|quot;|apos;|lt;|gt;)|\\{3}[\"/n]"
    r"|(?:\\+(?:u001[bB]|x1[bB]|0?33|e)|\^\[)\["
)
"""What an encoded character looks like in serialized text; beyond ASCII, JSON in a text is to be read."""

_COLOUR = rb"(?:\x1b|\\{1,4}(?:u001[bB]|x1[bB]|0?33|e)|\^\[)\[[0-9;:?]{0,32}[A-Za-z]"
_COLOURED = re.compile(_COLOUR)
_ENCODED = re.compile(
    _COLOUR
    + rb"|%[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[\"'/\\nrt]"
    + rb"|&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[a-z]{2,6});"
)
# Each encoding begins with one of these.
_SIGNS = (b"%", b"\\", b"&", b"\x1b", b"^")
_SIMPLE = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
# An encoding of an encoding of an encoding; deeper, nobody reads it as what it was.
_LEVELS = 3

View = tuple[bytes, list[int]]
"""The decoded text, and for each of its bytes (and its end) where it stands in the source."""


def views(text: bytes) -> Iterator[View]:
    """Each further reading of the text, outermost first; none if nothing in it is encoded."""
    places: list[int] | None = None
    if not any(sign in text for sign in _SIGNS):
        return
    if _COLOURED.search(text) is not None:
        yield _COLOURED.sub(lambda match: b" " * len(match[0]), text), list(range(len(text) + 1))
    for _ in range(_LEVELS):
        if _ENCODED.search(text) is None:
            return
        text, places = _decoded(text, places)
        yield text, places


def _decoded(text: bytes, places: list[int] | None) -> View:
    pieces, where, last = list[bytes](), list[int](), 0
    for match in _ENCODED.finditer(text):
        plain = _plain(match[0])
        pieces += (text[last : match.start()], plain)
        where.extend(range(last, match.start()))
        where.extend([match.start()] * len(plain))
        last = match.end()
    pieces.append(text[last:])
    where.extend(range(last, len(text) + 1))
    return b"".join(pieces), where if places is None else [places[place] for place in where]


def _plain(found: bytes) -> bytes:
    if _COLOURED.fullmatch(found) is not None:
        return b""
    if found.startswith(b"%"):
        return bytes((int(found[1:], 16),))
    if found.startswith(b"&"):
        return _entity(found[1:-1]) or found
    if found[1:2] in b"ux":
        code = int(bytes(found[2:]), 16)
        return bytes((code,)) if code < 128 else b"?"
    return _SIMPLE.get(found[1:2], found[1:2])


def _entity(name: bytes) -> bytes:
    if not name.startswith(b"#"):
        return html5.get(f"{name.decode()};", "").encode("ascii", "replace")
    code = int(bytes(name[2:]), 16) if name[1:2] in b"xX" else int(name[1:])
    return bytes((code,)) if code < 128 else b"?"


# Other scripts

_SPACES = "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63"
# U+FF01 to U+FF5E are ASCII's signs, letters and digits, each as wide as an ideograph.
_WIDE, _WIDE_TO_ASCII = range(0xFF01, 0xFF5F), 0xFEE0
# Decimal digits end within the first two planes.
_LAST = 0x1FFFF


@cache
def _table() -> dict[int, str]:
    table = {code: chr(code - _WIDE_TO_ASCII) for code in _WIDE}
    table |= dict.fromkeys(map(ord, _SPACES), " ") | dict.fromkeys(map(ord, _DASHES), "-")
    digits = ((i, unicodedata.decimal(chr(i), None)) for i in range(128, _LAST))
    return table | {i: str(digit) for i, digit in digits if digit is not None}


@cache
def _numeric() -> re.Pattern[str]:
    """Other scripts' digits, and what is wide of letters, digits and the sign of an address."""
    codes = [code for code, plain in _table().items() if code <= 0xFFFF and (plain.isalnum() or plain == "@")]
    return re.compile(f"[{''.join(map(chr, codes))}\U00010000-\U0001ffff]")


def folded(text: str) -> str:
    """The same text with every script's digits, dashes and spaces written in ASCII; each character in its place."""
    return text if text.isascii() else text.translate(_table())


def shadow(text: str) -> bytes:
    """What is matched: a byte a character, and a question mark for each that is neither ASCII nor a digit."""
    if not text.isascii() and _numeric().search(text) is not None:
        text = text.translate(_table())
    return text.encode("ascii", "replace")
