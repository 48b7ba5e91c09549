"""What a run consists of, for whoever counts: its capability, its tools, beginnings of its path, pairs of tools.

The beginning of a path is known by a hash, because eight tools may have long names; its parent's hash makes them a tree
that can be walked down, from the calls that were made to those that came next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from belljar.learning.estimates import MAX_PATH, prefixes

__all__ = ["Shape", "Thing", "path_id", "shape"]


class Thing(NamedTuple):
    """Something a run consists of."""

    kind: str
    """`capability`, `tool`, `path` or `pair`."""
    subject: str
    parent: str | None = None
    """What it comes after: a beginning (`path`) or a tool (`pair`)."""
    tool: str | None = None
    """What came then."""


class Shape(NamedTuple):
    """What runs of one capability along one path consist of. Many runs have the same one."""

    capability: Thing
    steps: tuple[tuple[Thing, Thing], ...]
    """Each beginning, and its last tool."""
    things: tuple[Thing, ...]
    """All of them, each once."""


def path_id(path: Iterable[str]) -> str:
    """What a beginning of a path is known by; the empty one too."""
    return hashlib.sha256("\0".join(path).encode(errors="replace")).hexdigest()[:32]


@lru_cache(maxsize=4096)
def shape(name: str, path: tuple[str, ...]) -> Shape:
    """Of runs of this capability, by its FQDN without its hash, along this path; of its first MAX_PATH calls."""
    beginnings = prefixes(path)
    capability = Thing("capability", name)
    steps = tuple((_path(beginning), Thing("tool", beginning[-1])) for beginning in beginnings)
    pairs = (Thing("pair", f"{a} > {b}", a, b) for a, b in pairwise(path[:MAX_PATH]))
    things = tuple(dict.fromkeys([capability, *(thing for step in steps for thing in step), *pairs]))
    return Shape(capability, steps, things)


def _path(beginning: tuple[str, ...]) -> Thing:
    return Thing("path", path_id(beginning), path_id(beginning[:-1]), beginning[-1])
