"""Reads the words of `belljar run` without typer, which takes a quarter of a second to start.

This knows the plain forms alone: `--name VALUE`, `--name=VALUE`, `-c CODE`, flags, one FILE. Whatever else there is -
help, a mistake, an attached `-cCODE` - is typer's to read or to complain about, from the declarations in `run.py`; a
test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["read"]

_ONE = frozenset(
    {"-c", "--servers", "--args", "--backend", "--keep-files", "--world", "--intent", "--workflow", "--config"}
)
_MANY = frozenset({"--arg", "--allow", "--deny", "--limit", "--waive"})
_FLAGS = frozenset({"--install", "--debug", "--json"})
_NAMES = {"-c": "code", "--json": "as_json", "--keep-files": "keep_files"}


def read(words: Sequence[str]) -> dict[str, Any] | None:
    """The options by the names of `run.py`'s parameters, those that were given; None: not for this reader."""
    given: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        name, value = _option(word, rest)
        if name in _FLAGS and value is None:
            given[_key(name)] = True
        elif name in _ONE and value is not None:
            given[_key(name)] = value
        elif name in _MANY and value is not None:
            given.setdefault(_key(name), []).append(value)
        elif not name and "file" not in given:
            given["file"] = word
        else:
            return None
    return given


def _option(word: str, rest: Iterator[str]) -> tuple[str, str | None]:
    """Name and value of an option, whose value may be the next word; no name for what is no option."""
    if not word.startswith("-"):
        return "", None
    name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
    if equals:
        return name, value
    return name, next(rest, None) if name in _ONE | _MANY else None


def _key(name: str) -> str:
    return _NAMES.get(name, name[2:])
