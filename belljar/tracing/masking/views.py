"""A text as its readers would see it: percent-encoding, escapes and entities undone, each place still known.

`user%40example.com` is an e-mail address to whoever decodes it. So a text that holds such encodings is also matched
decoded, level by level, and what is found there is masked where it came from. So are base64 and hex, where what they
hold is text: `QUtJQS4uLg==` is a key to whoever decodes it, and a picture is none. The escapes that colour a terminal's
text are read as nothing, and once more as a space: `\\x1b[31mAKIA...` is no word that ends in AKIA.

`shadow` writes every script's digits and the full-width forms in ASCII, and what other scripts call a password with as
many letters of a word that the rules know, before anything is matched.
"""

from __future__ import annotations

import binascii
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from html.entities import html5
from typing import Any, cast

from belljar.tracing.masking import ruleset

__all__ = ["PROBE", "folded", "named", "shadow", "views"]

# Four characters of base64 that hold three of ASCII: none of these bytes has its first bit. Of what is drawn at random
# one in fourteen fours looks like it, so five in a row are text; of two hex digits one in three does. Only from where a
# word begins: the scan is to follow one of them at a time.
_FOUR = "[I-Za-f][CDEFGHSTUVWXijklmnyz0-3][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9+/_-]"
_PACKED = rf"(?:^|[^A-Za-z0-9+_]|\\[nrt])((?:{_FOUR}){{5}}|(?:[2-7][0-9a-fA-F]){{16}})"
PROBE = (
    r"%[2-7C-Fc-f][0-9A-Fa-f]|\\{2,}(?:u[0-9A-Fa-f]{4}|x[2-7])|&(?:#[0-9x]|amp;|quot;|apos;|lt;|gt;|nbsp;)|\\{3}[\"/n]"
    rf"|(?:\\+(?:u001[bB]|x1[bB]|0?33|e)|\^\[)\[|{_PACKED}"
)
"""What an encoded character looks like in serialized text; beyond ASCII, JSON in a text is to be read."""

_COLOUR = rb"(?:\x1b|\\{1,4}(?:u001[bB]|x1[bB]|0?33|e)|\^\[)\[[0-9;:?]{0,32}[A-Za-z]"
_COLOURED = re.compile(_COLOUR)
_ENCODED = re.compile(
    _COLOUR
    + rb"|%[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[\"'/\\nrt]"
    + rb"|&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[a-z]{2,6});"
)
_SIMPLE = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
# An encoding of an encoding of an encoding; deeper, nobody reads it as what it was.
_LEVELS = 3

View = tuple[bytes, list[int]]
"""The decoded text, and for each of its bytes (and its end) where it stands in the source."""


def views(text: bytes) -> Iterator[View]:
    """Each further reading of the text, outermost first; none if nothing in it is encoded."""
    places: list[int] | None = None
    # Each encoding but base64 and hex begins with one of these.
    signs = b"\\" in text or b"%" in text or b"&" in text or b"\x1b" in text or b"^" in text
    if not signs and _packed().search(text) is None:
        return
    if _COLOURED.search(text) is not None:
        yield _COLOURED.sub(lambda match: b" " * len(match[0]), text), list(range(len(text) + 1))
    for _ in range(_LEVELS):
        before = text
        if _ENCODED.search(text) is not None:
            text, places = _decoded(text, places)
            yield text, places
        if _packed().search(text) is not None:
            text, places = _unpacked(text, places)
            yield text, places
        if text is before:
            return


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
        code = int(found[1:], 16)
        return bytes((code,)) if code < 128 else b"?"
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


# Base64 and hex

_STANDARD = bytes.maketrans(b"-_", b"+/")
_TEXT = b"\t\n\r" + bytes(range(32, 127))
_RUN = re.compile(rb"[A-Za-z0-9+/_-]*={0,2}")
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2})+")


@cache
def _packed() -> Any:
    re2, how = ruleset.options()
    return re2.compile(_PACKED.encode(), how)


def _unpacked(text: bytes, places: list[int] | None) -> View:
    """With what base64 and hex hold in their place, where it is text."""
    pieces, where, last = list[bytes](), list[int](), 0
    while (match := _packed().search(text, last)) is not None:
        begin, end = cast("tuple[int, int]", match.span(1))
        plain, end, width = _hexed(text, begin, end) or _based(text, begin)
        pieces += (text[last:begin], plain)
        where.extend(range(last, begin))
        where.extend(begin + int(i * width) for i in range(len(plain)))
        last = end
    pieces.append(text[last:])
    where.extend(range(last, len(text) + 1))
    return b"".join(pieces), where if places is None else [places[place] for place in where]


def _hexed(text: bytes, begin: int, least: int) -> tuple[bytes, int, float] | None:
    """What it holds, where it ends, and how many characters hold one of these."""
    run = _HEX.match(text, begin)
    return None if run is None or run.end() < least else (_texts(bytes.fromhex(run[0].decode())), run.end(), 2)


def _based(text: bytes, begin: int) -> tuple[bytes, int, float]:
    run = cast("re.Match[bytes]", _RUN.match(text, begin))
    code = run[0].rstrip(b"=").translate(_STANDARD)
    code = code[: len(code) - (len(code) % 4 == 1)]
    return _texts(binascii.a2b_base64(code + b"=" * (-len(code) % 4))), run.end(), 4 / 3


def _texts(plain: bytes) -> bytes:
    """What is no text is question marks, three by three: beside it a neighbour would look like a part of a word."""
    threes = (plain[i : i + 3] for i in range(0, len(plain), 3))
    return b"".join(three if not three.translate(None, _TEXT) else b"?" * len(three) for three in threes)


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


@cache
def _foreign() -> tuple[Any, re.Pattern[str]]:
    """One that is fast and says whether, one that says where."""
    re2, how = ruleset.options()
    how.encoding = re2.Options.Encoding.UTF8
    words = "|".join(ruleset.key_rules().foreign)
    return re2.compile(f"(?i){words}".encode(), how), re.compile(words, re.IGNORECASE)


def named(text: str) -> str:
    """With `passwd` where another script says so; each character in its place."""
    if text.isascii():
        return text
    fast, slow = _foreign()
    return slow.sub(_stand_in, text) if fast.search(text.encode("utf-8", "replace")) is not None else text


def _stand_in(match: re.Match[str]) -> str:
    size = match.end() - match.start()
    return "pw" if size == 2 else "pwd".rjust(size, "_") if size < 6 else "passwd".rjust(size, "_")


def folded(text: str) -> str:
    """The same text with every script's digits, dashes and spaces written in ASCII; each character in its place."""
    return text if text.isascii() else text.translate(_table())


def shadow(text: str) -> bytes:
    """What is matched: a byte a character, and a question mark for each that is neither ASCII nor a digit."""
    if not text.isascii():
        plain = named(text)
        if plain is not text or _numeric().search(plain) is not None:
            text = plain.translate(_table())
    return text.encode("ascii", "replace")
