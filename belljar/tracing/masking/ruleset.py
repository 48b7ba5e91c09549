"""The rules of `rules/*.toml`, compiled: one set for the scan, one pattern each for the spans.

A scan must cost next to nothing where there is nothing to find, and hostile text must not make it slow. So all rules'
necessary conditions (`probe`) are one `google-re2` set, read once over the text in linear time; only the rules it names
are then asked where, by patterns of the same engine. Texts are matched as bytes in which every character beyond ASCII
is a question mark: one byte a character, so offsets are the text's own, and what is masked is ASCII anyway.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from belljar.tracing.masking import checks
from belljar.tracing.masking.work import spend

__all__ = [
    "LEFT",
    "SECRET",
    "Compiled",
    "KeyRules",
    "Rule",
    "Scan",
    "Span",
    "compiled",
    "digest",
    "key_rules",
    "load",
    "options",
]

SECRET = "SECRET"  # noqa: S105 - the name of a kind
Span = tuple[int, int, str]
"""From, to, kind."""

_FOLDER = Path(__file__).parents[1] / "rules"
_ALNUM = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_DIGITS = frozenset(b"0123456789")
# What may not stand before a match, by the name the rules give it.
LEFT = {
    "": frozenset[int](),
    "alnum": _ALNUM,
    "digit": _DIGITS,
    "base": _ALNUM | frozenset(b"+"),
    "token": _ALNUM | frozenset(b"+/_-"),
    "number": _ALNUM | frozenset(b"._-+$#\xa3"),
    "phone": _ALNUM | frozenset(b"+.-"),
    "ipv6": _ALNUM | frozenset(b":_"),
}
# The DFA of the whole set needs about 10 MB on real texts; past the budget re2 starts it anew, slower and still right.
_MAX_MEM = 64 << 20
# Units for one candidate and its check.
_CANDIDATE = 150


@dataclass(frozen=True, slots=True)
class Rule:
    """One format."""

    id: str
    kind: str
    pattern: str
    probe: str
    confirm: str
    """Asked where the probe hits, if there is one: a condition that would make the set slow."""
    left: str
    check: str
    source: str


@dataclass(frozen=True, slots=True)
class KeyRules:
    """The names whose values are secret, as keys.toml has them."""

    last: frozenset[str]
    pairs: frozenset[str]
    joined: tuple[str, ...]
    values: frozenset[str]
    not_before: frozenset[str]
    foreign: tuple[str, ...]
    people: dict[str, str]
    """Name -> kind."""


def load() -> tuple[Rule, ...]:
    """Every rule, secrets first."""
    return tuple(_rule(row, kind) for name, kind in (("secrets", SECRET), ("pii", "")) for row in rows(name)["rules"])


@cache
def key_rules() -> KeyRules:
    """keys.toml."""
    found = rows("keys")
    return KeyRules(
        last=frozenset(found["last"]),
        pairs=frozenset(found["pairs"]),
        joined=tuple(found["joined"]),
        values=frozenset(found["values"]),
        not_before=frozenset(found["not_before"]),
        foreign=tuple(sorted(found["foreign"], key=len, reverse=True)),
        people={name: kind for kind, names in found["people"].items() for name in names},
    )


def digest() -> str:
    """Eight hex digits of what is in the rules' files."""
    whole = b"\0".join((_FOLDER / f"{name}.toml").read_bytes() for name in ("keys", "pii", "second", "secrets"))
    return hashlib.sha256(whole).hexdigest()[:8]


def rows(name: str) -> dict[str, Any]:
    """What is in rules/`name`.toml."""
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def _rule(row: dict[str, str], kind: str) -> Rule:
    return Rule(
        id=row["id"],
        kind=row.get("kind", kind),
        pattern=row["start"] + row["body"],
        probe=row.get("probe", row["start"]),
        confirm=row.get("confirm", ""),
        left=row.get("left", ""),
        check=row.get("check", ""),
        source=row["source"],
    )


def options() -> tuple[Any, Any]:
    """The module and how its patterns are compiled: for bytes."""
    re2: Any = import_module("re2")  # has no types; 25 ms, and most processes never get here
    how = re2.Options()
    how.encoding = re2.Options.Encoding.LATIN1
    how.log_errors = False
    how.max_mem = _MAX_MEM
    return re2, how


class Compiled:
    """A rule that finds its spans. Compiled when first needed: few rules ever are."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._check: Callable[[bytes, int, int], bool | int] = (
            getattr(checks, rule.check) if rule.check else checks.always
        )
        self._left = LEFT[rule.left]
        self._pattern: Any = None

    def spans(self, text: bytes) -> Iterator[Span]:
        """Where it matches and its check agrees."""
        if self._pattern is None:
            re2, how = options()
            self._pattern = re2.compile(self._rule.pattern.encode(), how)
        group, pos = self._pattern.groups, 0
        while (match := self._pattern.search(text, pos)) is not None:
            spend(_CANDIDATE)
            begin, end = cast("tuple[int, int]", match.span(group))
            fits = not (begin and text[begin - 1] in self._left) and self._check(text, begin, end)
            end = end if fits is True or not fits else fits
            if fits:
                yield begin, end, self._rule.kind
            # What failed may hide one that begins inside it; a step of one would be quadratic, so to the next boundary.
            pos = end if fits else checks.next_start(text, begin, end)


class Scan:
    """One pass over a text that says which of its patterns could match; linear, whatever the text.

    Its automaton makes a state for each way in which a text can be in the middle of its patterns. A pattern that counts
    digits from a certain one on has a way for each sequence of digits, and rows of them cost 7 us a byte. So such a
    pattern is in the set without what makes it so, and `confirm` (by its place) asks for the rest where that hits.
    """

    def __init__(self, probes: Sequence[str], confirm: Mapping[int, str] | None = None) -> None:
        re2, how = options()
        self._set: Any = re2.Set.SearchSet(how)
        for probe in probes:
            self._set.Add(probe)
        self._set.Compile()
        self._confirm = {place: re2.compile(pattern.encode(), how) for place, pattern in (confirm or {}).items()}

    def __call__(self, text: bytes) -> list[int]:
        hits = cast("list[int] | None", self._set.Match(text)) or []
        return [hit for hit in hits if hit not in self._confirm or self._confirm[hit].search(text) is not None]


@cache
def compiled() -> tuple[Compiled, ...]:
    """The rules in their order, ready to find."""
    return tuple(map(Compiled, load()))
