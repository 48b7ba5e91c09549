"""What names a thing: `issue_number`, `id`, `path`, `key`, in arguments and in answers.

A call about an issue names the issue itself (`issue_number`) and what it lies in (`owner`, `repo`). The first is its
identity, the others its scope: a list of another repository does not show it. All values are compared as text, because
the same number comes as 7 from one tool and as "7" from another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from belljar.faker._names import words
from belljar.faker.generic.meaning import singular
from belljar.rpc.world import JsonValue

__all__ = ["IDENTITIES", "as_text", "identities_of", "identity", "is_identity_name", "lists_in", "scope"]

IDENTITIES: Final = (
    "id uuid guid iid key path uri url number name slug ref sha arn ts handle email filename filepath login code title"
).split()
"""Names of what identifies a thing, the strongest first; `title` only where nothing else does."""
_STRONG: Final = frozenset(IDENTITIES) - {"title", "email", "code"}
_NOT_SCOPE: Final = frozenset(
    """
    content text body title description message query q filter limit offset page cursor sort order direction per head
    tail pattern since until from to labels assignees data value fields properties format include exclude depth max
    count
    """.split()
)
_SCALAR = str | int | float


def as_text(value: JsonValue) -> str | None:
    """An identity as it is compared; None for what names nothing."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)[:2000] or None


def identity(args: Mapping[str, JsonValue], head: str) -> tuple[str, str] | None:
    """The argument that names the thing of kind `head`, and its value as text: (`issue_number`, `7`)."""
    best: tuple[int, str, str] | None = None
    for name, value in args.items():
        shown = as_text(value)
        if shown is not None and (rank := _rank(name, head)) is not None and (best is None or rank < best[0]):
            best = rank, name, shown
    return None if best is None else best[1:]


def _rank(name: str, head: str) -> int | None:
    spelled = [singular(word) for word in words(name)]
    if not spelled:
        return None
    last = spelled[-1]
    of_head = bool(head) and (head in spelled or "".join(head.split()) in spelled or head.split()[-1] in spelled)
    if of_head and last in IDENTITIES:
        return IDENTITIES.index(last)
    if of_head and len(spelled) == 1:
        return 50
    if len(spelled) == 1 and last in IDENTITIES:
        return 100 + IDENTITIES.index(last)
    if last in ("path", "uri", "url", "filename") or (
        len(spelled) == 2 and spelled[0] in ("file", "source") and last == "path"
    ):
        return 200
    return None


def is_identity_name(name: str) -> bool:
    """Whether a field of that name could name a thing or what it lies in."""
    spelled = [singular(word) for word in words(name)]
    return bool(spelled) and (
        spelled[-1] in _STRONG or spelled[0] in ("owner", "repo", "project", "workspace", "channel")
    )


def scope(args: Mapping[str, JsonValue], own: str | None) -> dict[str, str]:
    """Where a thing lies: the other arguments that name things, by their plain names."""
    found: dict[str, str] = {}
    for name, value in args.items():
        shown = as_text(value)
        plain = "_".join(words(name))
        if shown is None or name == own or plain in _NOT_SCOPE or not _names_a_place(plain):
            continue
        found[plain] = shown
    return found


def _names_a_place(plain: str) -> bool:
    spelled = plain.split("_")
    return spelled[-1] in ("id", "uuid", "key", "number", "slug", "name", "ts") or spelled[-1] in (
        "owner", "repo", "repository", "project", "workspace", "channel", "team", "organization", "org", "database",
        "table", "bucket", "namespace", "board", "space", "calendar", "collection", "account", "region", "cluster",
        "directory", "folder", "parent", "group", "list", "queue", "topic",
    )  # fmt: skip


def identities_of(thing: JsonValue, head: str = "") -> dict[str, str]:
    """All that names a thing in an answer: {`id`: `7`, `name`: `x`}; a text names itself."""
    shown = as_text(thing)
    if shown is not None:
        return {"": shown}
    found: dict[str, str] = {}
    for name, value in cast("dict[str, JsonValue]", thing).items() if isinstance(thing, dict) else ():
        text = as_text(value)
        spelled = [singular(word) for word in words(name)]
        if text is None or not spelled or spelled[-1] not in IDENTITIES or spelled[-1] == "title":
            continue
        if len(spelled) == 1 or (head and head in spelled) or spelled[0] in ("full", "file", "html", "node"):
            found[name] = text
    return found


def lists_in(
    value: JsonValue, head: str, path: tuple[str, ...] = (), depth: int = 0
) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    """Lists of things in an answer, with the way to each; bounded in depth."""
    if depth > 6:
        return
    if isinstance(value, list):
        yield path, cast("list[Any]", value)
    elif isinstance(value, dict):
        for name, each in cast("dict[str, JsonValue]", value).items():
            yield from lists_in(each, head, (*path, name), depth + 1)


def safe_word(text: str) -> re.Pattern[str]:
    """Finds an identity as a whole word."""
    return re.compile(rf"(?<![\w./-]){re.escape(text)}(?![\w/-])")
