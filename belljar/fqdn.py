"""FQDN: the readable name of a capability, `org.project.namespace.action.hash4`.

The four names say what it is for, the hash says which text of it: `local.default.git.release_notes.a7f3`. Identity is
the full SHA-256 of the source; four digits of it are for people, and two different sources may share them. So a value
holds as much of the hash as is known - all of it, four digits, or none, for a reference that means whatever text is
installed under the name - and compares by all of it. `str` is the form for display, `exact` the one that names a source
beyond doubt; `parse` reads both, and the short forms `namespace:action` and `org.project.namespace.action`.

Parts are lower case ASCII, so that no two names look alike and each can be a folder or a URL segment on any system.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from belljar import show
from belljar.errors import ValidationError

__all__ = ["DEFAULT_PROJECT", "LOCAL_ORG", "Fqdn", "for_adhoc", "make", "name_of", "parse"]

LOCAL_ORG = "local"
"""The organisation of everything that was not fetched from a registry, nor published to one."""
DEFAULT_PROJECT = "default"

# 64 characters a part: what DNS gives a label, plus one; five of them still fit a column and a database index.
_MAX_PART = 64
_PART = re.compile(rf"[a-z0-9_][a-z0-9_-]{{0,{_MAX_PART - 1}}}")
_HASH = re.compile(r"(?:[0-9a-f]{4}|[0-9a-f]{64})?")
_NOT_PART = re.compile(r"[^a-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Fqdn:
    """A capability's name. Each part is checked when it is made; `make` and `parse` are the usual ways.

    Raises:
        ValidationError: naming the part that breaks the rule.
    """

    org: str
    project: str
    namespace: str
    action: str
    hash: str = ""
    """64 hex digits of the source's SHA-256, or its first 4, or nothing if any source is meant."""

    def __post_init__(self) -> None:
        for part in ("org", "project", "namespace", "action"):
            _require(part, getattr(self, part))
        if _HASH.fullmatch(self.hash) is None:
            raise ValidationError(f"bad hash {show.name(self.hash)} in a capability name: use 4 or 64 hex digits")

    @property
    def hash4(self) -> str:
        """The first four digits of the hash, for display; empty if none is known."""
        return self.hash[:4]

    @property
    def sha256(self) -> str | None:
        """The full hash, if it is known."""
        return self.hash if len(self.hash) == 64 else None

    @property
    def family(self) -> str:
        """The four names alone: what stays when the source changes."""
        return f"{self.org}.{self.project}.{self.namespace}.{self.action}"

    def at(self, digest: str) -> Fqdn:
        """The same names with another hash.

        Raises:
            ValidationError: it is none.
        """
        return replace(self, hash=digest)

    @property
    def exact(self) -> str:
        """The text form with all that is known of the hash: `parse(x.exact) == x`."""
        return ".".join(filter(None, (self.org, self.project, self.namespace, self.action, self.hash)))

    def matches(self, other: Fqdn) -> bool:
        """Whether both may mean the same source: the same names, and no digit of the hashes that differs."""
        same_names = replace(self, hash="") == replace(other, hash="")
        return same_names and (self.hash.startswith(other.hash) or other.hash.startswith(self.hash))

    def __str__(self) -> str:
        return ".".join(filter(None, (self.org, self.project, self.namespace, self.action, self.hash4)))


def make(
    namespace: str, action: str, digest: str = "", *, org: str = LOCAL_ORG, project: str = DEFAULT_PROJECT
) -> Fqdn:
    """A name from its parts; `digest` is the source's SHA-256 in hex, or its first four digits, or nothing.

    Raises:
        ValidationError: naming the part that breaks the rule.
    """
    return Fqdn(org, project, namespace, action, digest)


def parse(text: str) -> Fqdn:
    """Read `org.project.namespace.action.hash`, the same without hash, or `namespace:action`.

    Raises:
        ValidationError: another form, or naming the part that breaks the rule.
    """
    names = text.split(":") if ":" in text else text.split(".")
    match names:
        case [namespace, action] if ":" in text:
            return make(namespace, action)
        case [org, project, namespace, action] if ":" not in text:
            return Fqdn(org, project, namespace, action)
        case [org, project, namespace, action, hash_] if hash_ and ":" not in text:
            return Fqdn(org, project, namespace, action, hash_)
        case _:
            raise ValidationError(
                f"{show.name(text)} is no capability name: write namespace:action or org.project.namespace.action.hash4"
            )


# A client runs few capabilities often.
@lru_cache(maxsize=4096)
def name_of(capability: str) -> str:
    """An FQDN in text form without its hash: what all texts of a capability have in common. Another text as it is."""
    try:
        return parse(capability).family
    except ValidationError:
        return capability


def for_adhoc(stem: str, sha256: str) -> Fqdn:
    """The name of code that has none of its own: `local.default.adhoc.<stem>.<hash4>`, the stem made to fit."""
    fitted = _NOT_PART.sub("_", stem[: 4 * _MAX_PART].lower()).strip("_-")[:_MAX_PART]
    return make("adhoc", fitted or "unnamed", sha256)


def _require(part: str, text: str) -> None:
    if _PART.fullmatch(text) is None:
        raise ValidationError(
            f"bad {part} {show.name(text)} in a capability name: use 1 to {_MAX_PART} of a-z, 0-9, _ and -, not - first"
        )
