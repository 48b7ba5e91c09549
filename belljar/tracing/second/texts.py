"""One text in, the same text with what pass 2 finds masked. Placeholders that are there already are blanked out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

from belljar.tracing.masking import checks, ruleset, views
from belljar.tracing.masking.masker import PLACEHOLDER, Masks, merged
from belljar.tracing.masking.ruleset import Span
from belljar.tracing.second.contexts import Words, parts
from belljar.tracing.second.finders import Budget, Finder, Look, finders

__all__ = ["Budget", "Texts"]

_MIN_TEXT = 6
# Whatever is found has one of these.
_CANDIDATE = re.compile(r"[\d@\uff20]")
# What a mask leaves beside it can be a find by itself; nothing we know of needs a third look.
_LOOKS = 4


class Texts:
    """Finds and replaces.

    Raises:
        ConfigError: if the model is not installed, or cannot be loaded.
    """

    def __init__(self, masks: Masks, spacy_model: str | None) -> None:
        self._masks = masks
        all_ = finders()
        self._finders = [_Compiled(finder) for finder in all_]
        self._scan = ruleset.Scan([*map(_probe, all_), views.PROBE])
        self._free = frozenset(i for i, finder in enumerate(all_) if finder.words is None) | {len(all_)}
        self._words = Words({word for finder in all_ if finder.words is not None for word in finder.words.words})
        self._names = None
        if spacy_model is not None:
            from belljar.tracing.second.names import Names

            self._names = Names(spacy_model)

    def suspects(self, serialized: str) -> bool:
        """Whether anything could be in it; if not, nothing is. `serialized` is JSON."""
        if self._names is not None:
            return True
        hits = self._scan(views.folded(serialized).encode("ascii", "replace"))
        # What needs a word is not there if no word is; names of fields are split into their words, as their finders do.
        return not self._free.isdisjoint(hits) or (bool(hits) and self._words.anywhere(parts(serialized), ""))

    def __call__(self, text: str, name: str, counts: Counter[str], budget: Budget) -> str:
        """The text with every find replaced; `name` is that of its field, `counts` grows by what was found."""
        if self._names is None and (len(text) < _MIN_TEXT or _CANDIDATE.search(text) is None):
            return text
        for _ in range(_LOOKS):
            spans = self._found(text, name, budget)
            if not spans:
                break
            text = self._masks.replaced(text, spans, counts)
        return text

    def _found(self, text: str, name: str, budget: Budget) -> list[Span]:
        plain = views.folded(PLACEHOLDER.sub(_blank, text) if "[" in text else text)
        shadow = plain.encode("ascii", "replace")
        spans = list(self._spans(plain, shadow, name, budget))
        for view, places in views.views(shadow):
            found = self._spans(view.decode("ascii"), view, name, budget)
            spans += [(places[begin], places[end], kind) for begin, end, kind in found]
        if self._names is not None:
            spans += self._names.spans(plain)
        return merged(spans) if spans else spans

    def _spans(self, text: str, shadow: bytes, name: str, budget: Budget) -> Iterator[Span]:
        for hit in self._scan(shadow):
            if hit < len(self._finders):
                yield from self._finders[hit].spans(text, shadow, name, budget)


def _probe(finder: Finder) -> str:
    """Its candidates, standing by themselves; in serialized text also behind the escape of a control character."""
    if not finder.left:
        return finder.candidate
    return rf"(?:^|[^0-9A-Za-z]|\\[bfnrt]|\\u00[01][0-9a-f])(?:{finder.candidate})(?:[^0-9A-Za-z_]|$)"


def _blank(match: Any) -> str:
    return "\0" * (match.end() - match.start())


class _Compiled:
    """A finder that goes through a text."""

    def __init__(self, finder: Finder) -> None:
        re2, how = ruleset.options()
        self._finder = finder
        self._left = ruleset.LEFT[finder.left]
        self._pattern: Any = re2.compile(finder.candidate.encode(), how)

    def spans(self, text: str, shadow: bytes, name: str, budget: Budget) -> Iterator[Span]:
        """What its recognizer takes, if it stands by itself."""
        finder, pos = self._finder, 0
        if finder.words is not None and not finder.words.anywhere(text, name):
            return
        while (match := self._pattern.search(shadow, pos)) is not None:
            begin, end = cast("tuple[int, int]", match.span())
            last = 0
            if not (begin and shadow[begin - 1] in self._left):
                for a, b in finder.decide(Look(text, shadow, begin, end, name, budget)):
                    if self._alone(shadow, begin + a, begin + b):
                        last = begin + b
                        yield begin + a, last, finder.kind
            pos = last or checks.next_start(shadow, begin, end)

    def _alone(self, shadow: bytes, begin: int, end: int) -> bool:
        return not (begin and shadow[begin - 1] in self._left) and not checks.goes_on(shadow, end)
