"""The words that say what a number is: `tel.`, `Steuer-ID`, `カード番号`. For numbers whose form alone says too little.

A word counts if it stands shortly before the number, or in the name of the field it stands under. The words are those
of Presidio's recognizers, with those of other languages; too short ones, that are words of every text (`id`, `pi`,
`reg`), are not taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from typing import Any

__all__ = ["Words", "parts"]

# How far before a number its word may stand, in characters. Digits that nothing groups are a number of many things:
# their word stands right before them, or before a sign that says "this".
_REACH = 48
_RIGHT_BEFORE = re.compile(r"(?:[^\w]*(?:\w+[^\w]+)?|.*[:=>#(\"'])\s*\\?[\"']?", re.DOTALL)
# The word of what has a number beside the word that names people's: `phone model 12345678`.
_OTHER = re.compile(r"(?i)\b(?:model|build|version|release|firmware|revision|serial|order|sku|part|batch|ticket)\b")
_MAX_NAME = 128
_NAME_PARTS = re.compile(r"(?<=[a-z])(?=[A-Z])|[_.\-]+")


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
        between = near[self._last(near, match) :]
        if not text[begin:end].isalnum():
            return True
        return _RIGHT_BEFORE.fullmatch(between) is not None and _OTHER.search(between) is None

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
