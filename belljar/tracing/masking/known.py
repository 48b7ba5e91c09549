"""Secrets this process itself loaded: found exactly, in every form they travel in.

No format tells that `hunter2` is a password, but whoever loaded it knows. Each value is searched for as it is, in
base64 (at each of the three places it can begin in a longer text), in hex, percent-encoded and escaped for JSON.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from belljar.tracing.masking.ruleset import Span

__all__ = ["Known"]

# A shorter value would mask every third word; below eight, only whole words are taken.
_MIN = 4
_MIN_FREE = 8
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]*={0,2}")
_ALNUM = re.compile(rb"[A-Za-z0-9]")


class Known:
    """The values, and how to find them."""

    def __init__(self, values: Iterable[str]) -> None:
        plain = {value for value in values if len(value.strip()) >= _MIN}
        self._forms = sorted({form for value in plain for form in _forms(value)}, key=len, reverse=True)
        self._cores = sorted({form for value in plain for form in _base64_cores(value.encode(errors="replace"))})
        self.probes = [_quoted(form) for form in {*self._forms, *self._cores, *map(_core, plain)}]

    def spans(self, text: bytes) -> Iterator[Span]:
        """Where any of them stands."""
        for form in self._forms:
            yield from ((at, at + len(form), "KNOWN") for at in _found(form, text) if _whole(form, text, at))
        for core in self._cores:
            yield from ((*_run(text, at, len(core)), "KNOWN") for at in _found(core, text))


def _forms(value: str) -> Iterator[bytes]:
    raw = value.encode(errors="replace")
    texts = {value, quote(value, safe=""), quote(value), quote_plus(value), quote(value, safe="").lower()}
    texts |= {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], raw.hex(), raw.hex().upper()}
    for text in texts:
        yield text.encode("ascii", "replace")


def _base64_cores(raw: bytes) -> Iterator[bytes]:
    for shift in range(3):
        code = base64.b64encode(b"\0" * shift + raw)
        # Characters that also hold bits of a neighbour are not ours.
        core = code[(shift * 8 + 5) // 6 : (shift + len(raw)) * 8 // 6]
        if len(core) >= 6:
            yield core
            yield core.translate(bytes.maketrans(b"+/", b"-_"))


def _core(value: str) -> bytes:
    """The longest run that no encoding changes: found by the scan however deep the value is escaped."""
    shadow = value.encode("ascii", "replace")
    runs = re.findall(rb"[A-Za-z0-9]+", shadow)
    longest = max(runs, key=len, default=b"")
    return longest if len(longest) >= _MIN else shadow


def _quoted(form: bytes) -> str:
    return re.sub(r"([^A-Za-z0-9_])", r"\\\1", form.decode("ascii")).replace("\\\n", r"\n").replace("\\\r", r"\r")


def _found(form: bytes, text: bytes) -> Iterator[int]:
    at = text.find(form)
    while at >= 0:
        yield at
        at = text.find(form, at + len(form))


def _whole(form: bytes, text: bytes, at: int) -> bool:
    if len(form) >= _MIN_FREE:
        return True
    return not any(_ALNUM.match(text[i : i + 1]) for i in (at - 1, at + len(form)) if i >= 0)


def _run(text: bytes, at: int, size: int) -> tuple[int, int]:
    """The whole base64 text around a find; its neighbours belong to the same value."""
    begin = at
    while begin and at - begin < 4096 and re.match(rb"[A-Za-z0-9+/_-]", text[begin - 1 : begin]):
        begin -= 1
    match = _BASE64.match(text, at + size)
    return begin, match.end() if match else at + size
