"""What pass 2 looks for, and with which of Presidio's recognizers. Each is asked about a candidate alone.

Presidio's recognizers are good at saying whether something is a number of a kind, and slow at finding it in a text (its
phone matcher takes 20 ms a kilobyte). So a pattern of `google-re2` proposes candidates, in linear time, and only the
few characters of a candidate are shown to a recognizer. What it says is believed where the form or a check digit makes
a chance hit rare; elsewhere only beside a word that says what the number is (`second.contexts`): a tenth of all order
numbers pass Luhn, and any ten digits are somebody's telephone number.

No engine for language is needed for that: these recognizers look at nothing but the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

from belljar.tracing.masking import checks, ruleset
from belljar.tracing.second.contexts import Words

__all__ = ["Budget", "Finder", "Look", "finders", "warm"]

# Presidio scores what passed its check 1, what it could not check lower.
_SURE = 0.9

Within = Iterator[tuple[int, int]]
"""Spans, counted from the beginning of a candidate."""


# Countries are tried one after the other, half a millisecond for what is no number in any. A value has so many tries:
# enough for a list of contacts, too few to hold up what sends.
_MAX_TRIES = 400


class Budget:
    """What one value may still cost."""

    def __init__(self) -> None:
        self._tries = _MAX_TRIES

    def take(self) -> bool:
        """Whether there was something left."""
        self._tries -= 1
        return self._tries >= 0


@dataclass(frozen=True, slots=True)
class Look:
    """A candidate: where it lies in which text, and the name of the field. `shadow` is the text, a byte a character."""

    text: str
    shadow: bytes
    begin: int
    end: int
    name: str
    budget: Budget

    @property
    def found(self) -> str:
        """The candidate."""
        return self.text[self.begin : self.end]


@dataclass(frozen=True, slots=True)
class Finder:
    """One kind of thing: a pattern for its candidates, and who decides."""

    kind: str
    candidate: str
    decide: Callable[[Look], Within]
    words: Words | None = None
    """If given, a text without any of them is not looked at."""
    left: str = "number"
    """What may not stand before a find, by its name in ruleset.LEFT."""


def finders() -> list[Finder]:
    """All of them."""
    rows = ruleset.rows("second")
    return [_email(), _ip(), _phone(), _phone_named(Words(rows["phone"])), *map(_checked, rows["rules"])]


def warm() -> None:
    """Import Presidio ahead of time."""
    _presidio()


def _presidio() -> ModuleType:
    """Where most texts hold no candidate, most processes never import it."""
    from belljar.tracing.second import recognizers

    return recognizers


def _recognized(recognizer: Any, text: str, least: float = 0.0) -> Within:
    for result in cast("list[Any]", recognizer.analyze(text, recognizer.supported_entities, None)):
        if result.score > least:
            yield result.start, result.end


# Addresses


def _email() -> Finder:
    def decide(look: Look) -> Within:
        for begin, end in _recognized(_presidio().recognizer("EmailRecognizer"), look.found):
            if checks.email(look.shadow, look.begin + begin, look.begin + end):
                yield begin, end

    candidate = r"[^\s\x00\"<>()\[\],;:@\\]{1,64}@[^\s\x00\"'<>()\[\],;:@/\\]{3,255}"
    return Finder("EMAIL", candidate, decide, left="")


def _ip() -> Finder:
    def decide(look: Look) -> Within:
        for begin, end in _recognized(_presidio().recognizer("IpRecognizer"), look.found, 0.5):
            size = len(look.found[begin:end].partition("/")[0].partition("%")[0])
            at = look.begin + begin
            if ":" in look.found[begin:end]:
                taken = checks.ipv6(look.shadow, at, at + size)
            else:
                inside = at > 0 and look.shadow[at - 1] in ruleset.LEFT["number"]
                taken = not inside and checks.ipv4(look.shadow, at, at + size)
            if taken:
                yield begin, end

    candidate = (
        r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f:]{0,30}::[0-9A-Fa-f:.]{1,40}|(?:[0-9A-Fa-f]{1,4}:){6,7}[0-9A-Fa-f.:]{1,15})"
        r"(?:%[0-9a-z]{1,15})?(?:/[0-9]{1,3})?"
    )
    return Finder("IP", candidate, decide, left="ipv6")


# Telephone numbers

# Countries whose national notation its form gives away: a trunk 0, or an area in brackets.
_REGIONS = ("GB", "DE", "FR", "IT", "AU", "JP", "BR", "IN", "NL", "BE", "AT", "CH", "SE", "KR", "CN", "PL", "TR", "RU")
# Where people write their numbers without a space, and how these begin; any ten digits would be a number in Germany.
_UNGROUPED = (
    ("FR", r"0[1-79]\d{8}"), ("GB", r"0[127]\d{9}"), ("DE", r"015\d{9}|01[67]\d{8}"), ("AU", r"04\d{8}"),
    ("JP", r"0[789]0\d{8}"),
)  # fmt: skip
_YEARS = re.compile(rb" (?:19|20)\d\d-")
_MORE = r"(?:[ .()?/-]{0,3}[0-9]){6,16}(?: ?(?:x|ext\.?) ?[0-9]{1,6})?"
_NUMBER = rf"\(?[0-9]{_MORE}"


def _phone() -> Finder:
    def decide(look: Look) -> Within:
        found = look.found
        if found.startswith("+"):
            yield from _recognized(_presidio().phones("US"), found)
        # Past the budget whatever looks like a number is taken for one.
        elif found.isdigit():
            if _ungrouped(found):
                yield 0, len(found)
        elif _notation(look) and (
            not look.budget.take() or any(_presidio().is_number_of(region, found) for region in _REGIONS)
        ):
            yield 0, len(found)

    bare = r"[1-9][0-9] (?:9?[0-9]{4}-[0-9]{4}|[0-9]{3} [0-9]{2} [0-9]{2})"
    return Finder("PHONE", rf"\+ ?{_NUMBER}|(?:\(0?[1-9]|0[1-9]|8[ -]?\([3-9]){_MORE}|{bare}", decide)


def _notation(look: Look) -> bool:
    """8 to 12 digits, grouped as a number for the telephone is; not a date, not years, not a row of numbers."""
    found = look.shadow[look.begin : look.end]
    least = 8 if b"-" in found and b" " in found else 9
    if not least <= len(checks.digits(found)) <= 12 or found.isdigit() or found.count(b"/") > 1:
        return False
    if found[:1] not in b"0(" and _YEARS.search(found) is not None:
        return False
    if checks.dated(found) or checks.in_iban(look.shadow, look.begin):
        return False
    return not checks.in_row(look.shadow, look.begin, look.end)


def _ungrouped(found: str) -> bool:
    if checks.isbn(found.encode()):
        return False
    return any(
        re.fullmatch(form, found) is not None and _presidio().is_number_of(region, found) for region, form in _UNGROUPED
    )


def _phone_named(words: Words) -> Finder:
    def decide(look: Look) -> Within:
        if not words.before(look.text, look.begin, look.end, look.name):
            return
        if checks.phone_named(look.shadow, look.begin, look.end):
            found = (list(_recognized(_presidio().phones(region), look.found)) for region in ("US", "DE"))
            yield from next(filter(None, found), list[tuple[int, int]]())

    return Finder("PHONE", _NUMBER, decide, words)


# Numbers with check digits


def _checked(row: dict[str, Any]) -> Finder:
    """A rule of second.toml."""
    words = Words(row["words"]) if "words" in row else None
    least = _SURE if row.get("sure") else 0.0

    def decide(look: Look) -> Within:
        if words is None or words.before(look.text, look.begin, look.end, look.name):
            yield from _recognized(_presidio().recognizer(row["recognizer"]), look.found, least)

    return Finder(row["kind"], row["candidate"], decide, words)
