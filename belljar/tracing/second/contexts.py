"""The words that say what a number is: `tel.`, `Steuer-ID`, `カード番号`. For numbers whose form alone says too little.

A word counts if it stands shortly before the number, or in the name of the field it stands under. The words are those
of Presidio's recognizers, with those of other languages; too short ones, that are words of every text (`id`, `pi`,
`reg`), are not taken.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from typing import Any

__all__ = ["Words", "folded", "parts"]

# How far before a number its word may stand, in characters. Digits that nothing groups are a number of many things:
# their word stands right before them, or before a sign that says "this".
_REACH = 48
_RIGHT_BEFORE = re.compile(r"(?:[^\w]*(?:\w+[^\w]+)?|.*[:=>#(\"'])\s*\\?[\"']?", re.DOTALL)
_MAX_NAME = 128
_NAME_PARTS = re.compile(r"(?<=[a-z])(?=[A-Z])|[_.\-]+")

_SPACES = "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
_SIGNS = {"\uff0b": "+", "\uff08": "(", "\uff09": ")", "\uff0e": ".", "\uff20": "@", "\uff1a": ":", "\uff0f": "/"}
# Decimal digits end within the first two planes.
_LAST = 0x1FFFF


def _table() -> dict[int, str]:
    table = {ord(sign): plain for sign, plain in _SIGNS.items()}
    table |= dict.fromkeys(map(ord, _SPACES), " ") | dict.fromkeys(map(ord, _DASHES), "-")
    digits = ((i, unicodedata.decimal(chr(i), None)) for i in range(128, _LAST))
    return table | {i: str(digit) for i, digit in digits if digit is not None}


_TABLE = _table()


def folded(text: str) -> str:
    """The same text with every script's digits, dashes and spaces written in ASCII; each character in its place."""
    return text if text.isascii() else text.translate(_TABLE)


def parts(name: str) -> str:
    """A name with its words apart: `phoneNumber`, `phone_number`."""
    return _NAME_PARTS.sub(" ", name)


class Words:
    """A set of context words."""

    def __init__(self, words: Iterable[str]) -> None:
        re2: Any = import_module("re2")
        self.words = tuple(words)
        spelled = [re2.escape(word).replace("\\ ", r"[\s_-]?") for word in sorted(self.words, key=len)[::-1]]
        # Scripts without spaces have no borders of words.
        bare = [word for word in spelled if word.lstrip("\\")[0] >= "\u0e00"]
        self._pattern: Any = re2.compile("|".join([rf"(?i)(?:^|[^\pL])(?:{'|'.join(spelled)})s?(?:[^\pL]|$)", *bare]))
        self._in_name = lru_cache(maxsize=1024)(self._named)

    def anywhere(self, text: str, name: str) -> bool:
        """Whether one of them stands in the text or in the name of the field."""
        return self._pattern.search(text) is not None or self.named(name)

    def before(self, text: str, begin: int, end: int, name: str) -> bool:
        """Whether one of them stands shortly before the number, or in the name of its field."""
        if self.named(name):
            return True
        near = text[max(0, begin - _REACH) : begin]
        if (match := self._pattern.search(near)) is None:
            return False
        return not text[begin:end].isalnum() or _RIGHT_BEFORE.fullmatch(near[self._last(near, match) :]) is not None

    def _last(self, near: str, match: Any) -> int:
        """Where the last of the words ends; a border is a part of each match."""
        while (later := self._pattern.search(near, match.start() + 1)) is not None:
            match = later
        return match.end() - (not near[match.end() - 1].isalpha())

    def named(self, name: str) -> bool:
        """Whether a field's name has one of them."""
        return bool(name) and self._in_name(name[:_MAX_NAME])

    def _named(self, name: str) -> bool:
        return self._pattern.search(parts(name)) is not None
