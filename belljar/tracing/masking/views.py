"""A text as its readers would see it: percent-encoding, escapes and entities undone, each place still known.

`user%40example.com` is an e-mail address to whoever decodes it. So a text that holds such encodings is also matched
decoded, level by level, and what is found there is masked where it came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.entities import html5

__all__ = ["PROBE", "views"]

PROBE = r"%[2-7][0-9A-Fa-f]|\\{2,}(?:u[0-9A-Fa-f]{4}|x[2-7])|&(?:#[0-9x]|amp;|quot;|apos;|lt;|gt;)|\\{3}[\"/n]"
"""What an encoded character looks like in serialized text; beyond ASCII, JSON in a text is to be read."""

_ENCODED = re.compile(
    rb"%[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[\"'/\\nrt]|&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[a-z]{2,6});"
)
_SIMPLE = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
# An encoding of an encoding of an encoding; deeper, nobody reads it as what it was.
_LEVELS = 3

View = tuple[bytes, list[int]]
"""The decoded text, and for each of its bytes (and its end) where it stands in the source."""


def views(text: bytes) -> Iterator[View]:
    """Each further reading of the text, outermost first; none if nothing in it is encoded."""
    places: list[int] | None = None
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
