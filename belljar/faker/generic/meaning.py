"""What a tool does, to what: `create_issue` makes an issue, `list_pull_requests` lists pull requests.

Read off the words of the name. The head - the kind of thing - is the last word that names one, before a preposition:
`add_comment_to_issue` and `add_issue_comment` are both about comments. Words that every tool of the server carries are
its own name and say nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from belljar.faker import _verbs
from belljar.faker._names import words

__all__ = ["Action", "Meaning", "common_words", "meaning", "singular"]

Action = Literal["create", "update", "delete", "append", "move", "get", "list", "do"]


def _all(action: Action, verbs: str) -> dict[str, Action]:
    return dict.fromkeys(verbs.split(), action)


_ACTIONS: Final[dict[str, Action]] = {
    **_all(
        "create",
        "create add new make insert post send publish upload put write set store save register open start schedule "
        "draft import clone fork copy duplicate invite book order submit mkdir touch push reply comment save remember "
        "upsert replace overwrite index enqueue allocate provision launch generate issue charge mint tag label "
        "pin star",
    ),
    **_all(
        "update",
        "update edit modify patch change alter configure enable disable close reopen resolve assign transition mark "
        "archive unarchive restore lock unlock approve reject complete finish pause resume cancel merge apply "
        "activate deactivate suspend promote demote unpin unstar unlabel untag sync toggle increment decrement",
    ),
    **_all("delete", "delete remove del rm rmdir drop destroy purge erase unlink trash clear unset revoke uninstall"),
    **_all("append", "append prepend extend"),
    **_all("move", "move rename mv transfer relocate"),
    **_all("list", "list search find query enumerate filter lookup browse discover ls scan"),
    **_all("get", "get read fetch show view describe retrieve cat inspect look check download head tail see"),
}
_DO: Final[Action] = "do"
_GET: Final[Action] = "get"
_PREPOSITIONS: Final = frozenset("to from by for in of on with at into as via between about per".split())
_EMPTY: Final = frozenset(
    """
    id ids uuid key keys all many multiple bulk batch new my own single one item items a an the by content contents
    detail details info information data metadata meta text raw full list current latest recent active and or then api v
    result results value values state properties property fields field body page pages
    """.split()
)
_FAINT: Final = frozenset(
    "page pages item items record records field fields property properties result results".split()
)
"""Empty beside other nouns, and things where they stand alone."""
_SERIES: Final = frozenset("history feed timeline inbox".split())
_SAID: Final = frozenset("reply comment message email".split())
"""Verbs that make a thing of their own name: `reply_to_thread` makes a reply."""
_SAME: Final = {
    "history": "message",
    "reply": "message",
    "directory": "file",
    "folder": "file",
    "dir": "file",
    "document": "file",
    "doc": "file",
    "mail": "email",
    "gmail": "email",
    "ticket": "issue",
    "repo": "repository",
    "secret": "secret",
}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a tool is about."""

    action: Action
    head: str
    """The kind of thing, one word in the singular; empty if the name does not say."""
    verb: str
    many: bool
    """It is about several at once: `create_entities`."""


def meaning(name: str, common: frozenset[str] = frozenset(), *, writes: bool = False) -> Meaning:
    """What a name says; `writes` as classified."""
    spelled = [word for word in _compounds(words(name)) if word not in common] or list(words(name))
    at = next((i for i, word in enumerate(spelled) if word in _ACTIONS or _is_verb(word)), None)
    if at is None and writes:  # `pods_run`: a word that is a thing elsewhere
        at = next((i for i, word in reversed(list(enumerate(spelled))) if word in _verbs.WRITES), None)
    if at is None:
        return Meaning(_DO if writes else _GET, _head(spelled), "", many=_is_plural(spelled[-1]) if spelled else False)
    verb = spelled[at]
    action = _ACTIONS.get(verb, _DO if writes else _GET)
    behind: list[Action] = [_ACTIONS[word] for word in spelled[at + 1 :] if word in _ACTIONS]
    if writes and action in ("get", "list"):
        action = _first(behind, writes=True) or _DO
    elif not writes and action not in ("get", "list"):
        action = _first(behind, writes=False) or _GET
    nouns = [
        word
        for i, word in enumerate(spelled)
        if i != at and not (word in _ACTIONS and i < at + 3 and _follows(spelled, i))
    ]
    head_words = _before_preposition(nouns)
    last = head_words[-1] if head_words else ""
    if action == "get" and ((_is_plural(last) and "by" not in nouns) or last in _SERIES):
        action = "list"
    head = _SAME.get(verb, verb) if verb in _SAID and writes else _head(head_words)
    return Meaning(action, head, verb, many=_is_plural(last))


def _first(actions: Sequence[Action], *, writes: bool) -> Action | None:
    return next((each for each in actions if (each not in ("get", "list")) == writes), None)


def _follows(spelled: Sequence[str], at: int) -> bool:
    """Another verb in a row: the `update` of `create_or_update_file`."""
    return at > 0 and spelled[at - 1] in _verbs.CONNECTIVES


def _is_verb(word: str) -> bool:
    return (word in _verbs.WRITES and word not in _verbs.NOUN_TOO) or word in _verbs.READS


def _before_preposition(nouns: Sequence[str]) -> list[str]:
    for at, word in enumerate(nouns):
        if word in _PREPOSITIONS and at > 0:
            return list(nouns[:at])
    return [word for word in nouns if word not in _PREPOSITIONS]


def _head(nouns: Sequence[str]) -> str:
    kept = [word for word in nouns if word not in _EMPTY and word not in _verbs.CONNECTIVES]
    kept = kept or [word for word in nouns if word in _FAINT]
    head = singular(kept[-1]) if kept else ""
    return _SAME.get(head, head)


def _compounds(spelled: Sequence[str]) -> list[str]:
    found: list[str] = []
    for word in spelled:
        if found and (found[-1], word) in _verbs.COMPOUNDS:
            found[-1] = f"{found[-1]} {word}"
        else:
            found.append(word)
    return found


def _is_plural(word: str) -> bool:
    return word.endswith("s") and not word.endswith(("ss", "us", "is"))


def singular(word: str) -> str:
    """`branches` as `branch`."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    return word[:-1] if _is_plural(word) and len(word) > 2 else word


def common_words(names: Iterable[str]) -> frozenset[str]:
    """The word that nearly every tool begins with: the name of the server."""
    firsts = Counter(spelled[0] for name in names if (spelled := words(name)))
    total = sum(firsts.values())
    return frozenset(
        word
        for word, n in firsts.items()
        if total >= 3 and n >= 0.8 * total and not _is_verb(word) and word not in _ACTIONS
    )
