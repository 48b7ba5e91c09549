"""Texts and numbers that look like what a field's name promises; all of them follow from a random source.

The Faker library knows names, streets and sentences. It takes a third of a second to import, so it is loaded with the
first text that needs it, and draws from the source it is given: what was made before has no influence.
"""

from __future__ import annotations

import random
import re
import string
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache
from importlib import import_module
from typing import Any, Final

__all__ = ["facts", "for_name", "is_moment", "like", "matching", "of_format", "size_of"]

_HEX: Final = "0123456789abcdef"
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?")
_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_CODE: Final = re.compile(r"[A-Za-z]*[-_]?[0-9a-zA-Z]*\d[0-9a-zA-Z]*")

_FAKED: Final[dict[str, str]] = {
    "email": "email",
    "mail": "email",
    "phone": "phone_number",
    "address": "street_address",
    "street": "street_address",
    "city": "city",
    "country": "country",
    "company": "company",
    "organization": "company",
    "author": "name",
    "owner": "user_name",
    "assignee": "name",
    "user": "user_name",
    "username": "user_name",
    "login": "user_name",
    "title": "sentence",
    "subject": "sentence",
    "summary": "sentence",
    "message": "sentence",
    "headline": "sentence",
    "description": "paragraph",
    "body": "paragraph",
    "content": "paragraph",
    "text": "paragraph",
    "comment": "paragraph",
    "note": "paragraph",
    "job": "job",
    "color": "color_name",
    "domain": "domain_name",
    "host": "domain_name",
    "filename": "file_name",
    "file": "file_name",
    "language": "language_name",
    "currency": "currency_code",
    "zip": "postcode",
}
_NAMED: Final = frozenset(
    {"user", "person", "author", "owner", "member", "customer", "contact", "employee", "assignee"}
)
_STATES: Final = ("open", "closed", "in_progress")
# Words of an instruction, and what of it shows in made-up texts and numbers.
_FACTS: Final[tuple[tuple[str, str, str], ...]] = (
    (r"cost|spend|bill", "cost", "cost spike"),
    (r"security|vulnerab|attack|breach|exposed", "security", "security incident"),
    (r"high.?traffic|heavy load|under load|black friday|peak", "load", "heavy load"),
    (r"error|fail|corrupt|incident|outage|down\b", "errors", "incident"),
    (r"fraud|chargeback", "fraud", "suspected fraud"),
    (r"empty|nothing|no data", "empty", ""),
    (r"large|huge|big|monorepo", "large", "large"),
)


def facts(instruction: str) -> dict[str, str]:
    """What an instruction asks for, by its words: `{"cost": "cost spike"}`."""
    lowered = instruction.lower()[:10_000]
    return {name: said for pattern, name, said in _FACTS if re.search(pattern, lowered)}


@cache
def _faker() -> Any:
    # Has types, but its providers are found at run time.
    return import_module("faker").Faker("en_US")


def _faked(what: str, source: random.Random) -> str:
    made = _faker()
    made.random = source
    return str(getattr(made, what)()).replace("\n", ", ")


def for_name(name: Sequence[str], source: random.Random, instruction: str = "", parent: str = "") -> str:
    """A text for a field of that name; `parent` is the field around it."""
    last = name[-1] if name else ""
    if last in ("id", "uuid", "guid", "key", "token", "cursor"):
        return str(_uuid(source)) if last in ("uuid", "guid") else _code(source, 10)
    if last in ("sha", "hash", "digest", "checksum"):
        return "".join(source.choices(_HEX, k=40))
    if last in ("url", "uri", "link", "href", "permalink"):
        return f"https://example.com/{_slug(source)}"
    if last in ("path", "filepath"):
        return f"/{_slug(source)}/{_slug(source)}.txt"
    if last in ("status", "state"):
        return source.choice(_STATES)
    if last in ("type", "kind", "category"):
        return source.choice(("standard", "basic", "default"))
    if last == "version":
        return f"{source.randrange(1, 5)}.{source.randrange(10)}.{source.randrange(10)}"
    if last == "name":
        whose = name[-2] if len(name) > 1 else parent.lower().rstrip("s")
        return _faked("name", source) if whose in _NAMED or "full" in name or "display" in name else _slug(source)
    if last in ("first", "last") or name[-2:] in (["first", "name"], ["last", "name"]):
        return _faked("first_name", source)
    if (what := _FAKED.get(last)) is not None:
        return _coloured(_faked(what, source), what, instruction, source)
    return _slug(source)


def _coloured(made: str, what: str, instruction: str, source: random.Random) -> str:
    """With what the instruction is about, in texts long enough to be about something."""
    told = [said for said in facts(instruction).values() if said]
    if what not in ("sentence", "paragraph") or not instruction or "empty" in facts(instruction):
        return made
    said = source.choice(told) if told else " ".join(instruction.split()[:8])
    return f"{said[:1].upper()}{said[1:]}: {made[:1].lower()}{made[1:]}"


def _slug(source: random.Random) -> str:
    return "-".join(_faked("word", source) for _ in range(2))


def _code(source: random.Random, length: int) -> str:
    return "".join(source.choices(string.ascii_lowercase + string.digits, k=length))


def _uuid(source: random.Random) -> uuid.UUID:
    return uuid.UUID(int=source.getrandbits(128), version=4)


def size_of(name: str, instruction: str) -> int:
    """How large a number of that name may be."""
    told, lowered = facts(instruction), name.lower()
    if any(word in lowered for word in ("cost", "amount", "price", "spend", "total")):
        return 250_000 if "cost" in told else 10_000
    if any(word in lowered for word in ("size", "bytes", "duration", "latency")):
        return 200_000_000 if "large" in told or "load" in told else 100_000
    if any(word in lowered for word in ("percent", "progress", "score")):
        return 100
    return 10_000 if "load" in told or "large" in told else 1_000


def is_moment(name: str) -> bool:
    """Whether a field of that name holds a time: `created_at`, `dueDate`, `timestamp`."""
    return re.search(r"(?:_at|[a-z]At|[dD]ate|[tT]ime|[tT]imestamp)$|^(?:at|date|time|timestamp)$", name) is not None


def of_format(form: str, source: random.Random) -> str | None:
    """A text of a format of JSON Schema; None if the format is not known."""
    from belljar.faker.generate import EPOCH

    moment = EPOCH + timedelta(seconds=source.randrange(200 * 86400))
    made: dict[str, Callable[[], str]] = {
        "date-time": lambda: moment.isoformat().replace("+00:00", "Z"),
        "date": lambda: moment.date().isoformat(),
        "time": lambda: moment.time().isoformat() + "Z",
        "duration": lambda: f"PT{source.randrange(1, 60)}M",
        "email": lambda: _faked("email", source),
        "idn-email": lambda: _faked("email", source),
        "uri": lambda: f"https://example.com/{_slug(source)}",
        "uri-reference": lambda: f"/{_slug(source)}",
        "iri": lambda: f"https://example.com/{_slug(source)}",
        "url": lambda: f"https://example.com/{_slug(source)}",
        "uuid": lambda: str(_uuid(source)),
        "hostname": lambda: f"{_slug(source)}.example.com",
        "ipv4": lambda: f"192.0.2.{source.randrange(1, 255)}",
        "ipv6": lambda: f"2001:db8::{source.randrange(1, 0xFFFF):x}",
        "byte": lambda: "Z2l2ZW4=",
        "json-pointer": lambda: f"/{_slug(source)}",
        "regex": lambda: "^[a-z]+$",
    }
    return made[form]() if form in made else None


def like(example: str, source: random.Random, otherwise: Callable[[], str]) -> str:
    """A text of the same kind as the example: another time, another id, another sentence."""
    if _ISO.fullmatch(example):
        made = of_format("date-time" if len(example) > 10 else "date", source)
        return made or example
    if _UUID.fullmatch(example):
        return str(_uuid(source))
    if len(example) <= 64 and _CODE.fullmatch(example):
        return "".join(_another(character, source) for character in example)
    return otherwise() if " " in example or len(example) > 24 else example


def _another(character: str, source: random.Random) -> str:
    return source.choice(string.digits) if character.isdigit() else character


# Patterns


def matching(pattern: str, source: random.Random, likely: str, least: int, most: int) -> str:
    """A text that matches, if one can be found; else a likely one, which is then found not to fit."""
    for made in (likely, likely[:most]):
        if least <= len(made) <= most and _search(pattern, made):
            return made
    for _ in range(8):
        try:
            made = _Written(pattern, source).text()
        except (ValueError, IndexError, RecursionError):
            break
        if least <= len(made) <= most and _search(pattern, made):
            return made
    candidates = (
        str(_uuid(source)),
        _code(source, 8),
        str(source.randrange(1, 10**6)),
        "2026-01-15",
        "1.2.3",
        "#a1b2c3",
    )
    return next((made for made in candidates if least <= len(made) <= most and _search(pattern, made)), likely)


def _search(pattern: str, made: str) -> bool:
    from belljar.rpc._checking import compiled

    found = compiled(pattern)
    return found is not None and found.search(made) is not None


_CLASSES: Final = {"d": string.digits, "w": string.ascii_lowercase + string.digits, "s": " ", "h": _HEX}


class _Written:
    """A text written along a pattern of literals, classes, groups and repetitions; the rest is a ValueError."""

    def __init__(self, pattern: str, source: random.Random) -> None:
        self._pattern = pattern
        self._random = source
        self._at = 0
        self._length = 0

    def text(self) -> str:
        made = self._alternatives(0)
        if self._at < len(self._pattern):
            raise ValueError("a bracket too many")
        return made

    def _alternatives(self, depth: int) -> str:
        if depth > 20:
            raise ValueError("too deep")
        branches = [self._sequence(depth)]
        while self._peek() == "|":
            self._at += 1
            branches.append(self._sequence(depth))
        return self._random.choice(branches)

    def _sequence(self, depth: int) -> str:
        made = ""
        while (character := self._peek()) and character not in "|)":
            start = self._at
            piece = self._atom(depth)
            after = self._at
            times = self._times()
            end = self._at
            for _ in range(times):
                self._at = start
                made += self._atom(depth)
                self._length += 1
                if self._length > 2_000:
                    raise ValueError("too long")
            self._at = end
            if end == after and times == 1 and not piece:
                continue
        return made

    def _atom(self, depth: int) -> str:
        character = self._take()
        if character in "^$":
            return ""
        if character == ".":
            return self._random.choice(string.ascii_lowercase)
        if character == "[":
            return self._random.choice(self._set())
        if character == "\\":
            return self._escape()
        if character == "(":
            if self._pattern.startswith("?", self._at):
                named = re.compile(r"\?(?::|P?<[A-Za-z_]\w*>)").match(self._pattern, self._at)
                if named is None:
                    raise ValueError("a group of another kind")
                self._at = named.end()
            made = self._alternatives(depth + 1)
            if self._take() != ")":
                raise ValueError("a bracket too few")
            return made
        if character in "*+?{":
            raise ValueError("nothing to repeat")
        return character

    def _escape(self) -> str:
        character = self._take()
        if character.lower() in ("b", "z", "a") and character != "a":
            return ""
        if character in _CLASSES:
            return self._random.choice(_CLASSES[character])
        if character in "DSW":
            return "-" if character == "W" else "x"
        if character.isalnum():
            known = {"n": "\n", "t": "\t", "r": "\r"}
            if character not in known:
                raise ValueError("an escape of another kind")
            return known[character]
        return character

    def _set(self) -> str:
        negated = self._peek() == "^"
        self._at += negated
        members: set[str] = set()
        while (character := self._take()) != "]" or not members:
            if character == "\\":
                escaped = self._take()
                members |= set(_CLASSES.get(escaped, escaped))
            elif self._peek() == "-" and self._pattern[self._at + 1 : self._at + 2] not in ("", "]"):
                self._at += 1
                last = self._take()
                members |= {chr(code) for code in range(ord(character), min(ord(last), ord(character) + 200) + 1)}
            else:
                members.add(character)
        allowed = set(string.ascii_letters + string.digits + " -_.") - members if negated else members
        return "".join(sorted(allowed)) or "x"

    def _times(self) -> int:
        match self._peek():
            case "*" | "+":
                least, most = (0 if self._take() == "*" else 1), 6
            case "?":
                self._at += 1
                least, most = 0, 1
            case "{":
                bounds = re.compile(r"\{(\d+)(,?)(\d*)\}").match(self._pattern, self._at)
                if bounds is None:
                    raise ValueError("a repetition of another kind")
                self._at = bounds.end()
                least = int(bounds[1])
                most = int(bounds[3]) if bounds[3] else least + 4 if bounds[2] else least
            case _:
                return 1
        if self._peek() in ("?", "+") and self._peek():
            self._at += 1
        return self._random.randint(least, max(least, min(most, least + 8)))

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self) -> str:
        character = self._pattern[self._at]
        self._at += 1
        return character
