"""Patterns of paths as `minimatch` reads them: `*`, `?`, `**`, `[...]`, `{a,b}`; a leading dot is a letter."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from belljar.rpc._checking import Pattern, compiled

__all__ = ["matches"]

_MAX_CHARS: Final = 1000
_MAX_BRANCHES: Final = 100


def matches(path: str, pattern: str) -> bool:
    """Whether a relative path fits; a pattern that is too long or too wide fits nothing."""
    return any(_fits(path.split("/"), branch.split("/")) for branch in _branches(pattern))


@lru_cache(maxsize=256)
def _branches(pattern: str) -> tuple[str, ...]:
    """With its braces written out."""
    if len(pattern) > _MAX_CHARS:
        return ()
    todo, done = [pattern], list[str]()
    while todo and len(todo) + len(done) <= _MAX_BRANCHES:
        each = todo.pop()
        inner = re.search(r"\{([^{}]*,[^{}]*)\}", each)
        if inner is None:
            done.append(each)
        else:
            todo += [each[: inner.start()] + option + each[inner.end() :] for option in inner[1].split(",")]
    return tuple(done) if not todo else ()


def _fits(path: list[str], pattern: list[str]) -> bool:
    """Dynamic, so that many `**` cost their product and no more."""
    reached = {0}
    for part in pattern:
        if part == "**":
            reached = set(range(min(reached, default=len(path) + 1), len(path) + 1))
        else:
            found = _part(part)
            fits = [found is not None and found.search(name) is not None for name in path]
            reached = {at + 1 for at in reached if at < len(path) and fits[at]}
        if not reached:
            return False
    return len(path) in reached


@lru_cache(maxsize=1024)
def _part(part: str) -> Pattern | None:
    """One name's pattern, for RE2: a backtracking engine takes a power of the length for many stars."""
    made, at = "", 0
    while at < len(part):
        character = part[at]
        at += 1
        if character == "*":
            made += "[^/]*"
        elif character == "?":
            made += "[^/]"
        elif character == "[" and (closed := re.match(r"\[([!^]?)([^\]/]+)\]", part[at - 1 :])):
            made += f"[{'^' if closed[1] else ''}{re.escape(closed[2]).replace(chr(92) + '-', '-')}]"
            at += closed.end() - 1
        else:
            made += re.escape(character)
    return compiled(rf"(?s)\A(?:{made})\z")
