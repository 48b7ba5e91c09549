"""Reads the words of `belljar run` and `belljar faker` without typer, which takes a quarter of a second to start.

This knows the plain forms alone: `--name VALUE`, `--name=VALUE`, `-c CODE`, flags, one FILE, and a command behind `--`.
Whatever else there is - help, a mistake, an attached `-cCODE`, a verb - is typer's to read or to complain about, from
the declarations in `run.py` and `faker.py`; a test holds the two against each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Plain", "read", "read_faker"]


@dataclass(frozen=True, slots=True)
class Plain:
    """The options of one verb."""

    one: frozenset[str]
    many: frozenset[str]
    flags: frozenset[str]
    names: dict[str, str] = field(default_factory=dict[str, str])
    """Of parameters that are not called like their option."""
    file: bool = False
    """Whether a word that is no option may stand there."""

    def read(self, words: Sequence[str]) -> dict[str, Any] | None:
        """The options by the names of the verb's parameters, those that were given; None: not for this reader."""
        given: dict[str, Any] = {}
        rest = iter(words)
        for word in rest:
            name, value = self._option(word, rest)
            if name in self.flags and value is None:
                given[self._key(name)] = True
            elif name in self.one and value is not None:
                given[self._key(name)] = value
            elif name in self.many and value is not None:
                given.setdefault(self._key(name), []).append(value)
            elif self.file and not name and "file" not in given:
                given["file"] = word
            else:
                return None
        return given

    def _option(self, word: str, rest: Iterator[str]) -> tuple[str, str | None]:
        """Name and value of an option, whose value may be the next word; no name for what is no option."""
        if not word.startswith("-"):
            return "", None
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if equals:
            return name, value
        return name, next(rest, None) if name in self.one | self.many else None

    def _key(self, name: str) -> str:
        return self.names.get(name, name[2:].replace("-", "_"))


_RUN = Plain(
    one=frozenset(
        {"-c", "--servers", "--args", "--backend", "--keep-files", "--world", "--intent", "--workflow", "--config"}
    ),
    many=frozenset({"--arg", "--allow", "--auto", "--deny", "--limit", "--waive"}),
    flags=frozenset({"--install", "--debug", "--json"}),
    names={"-c": "code", "--json": "as_json"},
    file=True,
)
_FAKER = Plain(
    one=frozenset(
        "--command --url --http --name --overrides --world-file --ai-instruction --seed --start-timeout --call-timeout "
        "--config".split()
    ),
    many=frozenset({"--args", "--env", "--fault"}),
    flags=frozenset({"--passthrough", "--no-real", "--ignore-annotations", "--debug"}),
    names={"--no-real": "no_real"},
)
_SEED = re.compile(r"[0-9]{1,9}")
_SECONDS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,3})?")


def read(words: Sequence[str]) -> dict[str, Any] | None:
    """The words of `belljar run`, as `Plain.read` says."""
    return _RUN.read(words)


def read_faker(words: Sequence[str]) -> dict[str, Any] | None:
    """The words of `belljar faker`, as `Plain.read` says; numbers are numbers, `rest` is what stands behind `--`."""
    at = words.index("--") if "--" in words else len(words)
    given = _FAKER.read(words[:at])
    if given is None:
        return None
    for name, form, kind in (
        ("seed", _SEED, int),
        ("start_timeout", _SECONDS, float),
        ("call_timeout", _SECONDS, float),
    ):
        if name in given:
            if form.fullmatch(given[name]) is None:
                return None
            given[name] = kind(given[name])
    given["real"] = not given.pop("no_real", False)
    return {**given, "rest": list(words[at + 1 :])} if at < len(words) else given
