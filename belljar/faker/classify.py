"""Whether a tool reads or writes, and how much harm it could do: what decides which calls ever reach a real server.

    override > annotation > the words of the name > unknown, and what is unknown is a write

An annotation is the server's own word and can be false; it still stands above the name, because a server that lies can
call its tools anything. What it cannot do is speak with two tongues: `readOnlyHint` together with `destructiveHint` is
a write. Whoever does not believe a server's annotations (`ClassifyOptions.annotations`) still heeds those that say
"write", and whoever knows better writes an override. A description is a stranger's text as well and may only make a
write of what looked like a read.

How a name is read, after splitting it into words:

    get_or_create, list_and_delete     a verb that writes behind a connective
    read_write_file, search_replace    a plain verb right behind the verb that reads - but not get_update_status
    branch_list, pull_request_read     a thing first, the verb last
    list_commits, get_merge_request    a verb that reads first: what follows are things
    get_unlock, compute_vm_start       but a verb among them that is no name of a thing is what is done
    echo_to_slack                      and so is what is put somewhere
    conversations_history              no verb at all, and the name of what is read
    everything else                    any verb that writes anywhere, or nothing known

The risk comes from the riskiest verb of the name, whoever said that it writes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from belljar import show
from belljar.errors import ConfigError
from belljar.faker import _verbs
from belljar.faker._names import words
from belljar.faker.calls import Operation, Risk, Tool, Verdict
from belljar.faker.patterns import fits
from belljar.rpc.world import JsonValue

__all__ = ["ClassifyOptions", "Override", "classify", "overrides_of"]

_ORDER: Final[tuple[Risk, ...]] = ("low", "medium", "high")
# Enough for the sentences that say what a tool does; the rest are examples and rules of use.
_DESCRIPTION_CHARS: Final = 600
_LAST_READS: Final = frozenset(
    {"get", "list", "read", "describe", "retrieve", "view", "show", "search", "find", "query"}
)
# Nouns and verbs at once, but in front of a verb they mean the act: `run_query`, `call_list`.
_NEVER_A_THING: Final = _verbs.STILL_ACTS - {"archive", "upload", "update", "share", "export", "import", "vote"}
_TO_A_THING: Final = _verbs.WRITES - (_verbs.NOUN_TOO - _verbs.STILL_ACTS)
_DATABASES: Final = frozenset(
    "sql db database mysql postgres postgresql mongo mongodb sqlite cypher neo bigquery snowflake d".split()
)
_ANY_STATEMENT: Final = re.compile(r"\b(?:SQL|Cypher|any|arbitrary|raw)\b")
_GETS: Final = _LAST_READS - {"query"} | {"fetch"}
# `get_unlock`, `compute_instances_start`: no name of a thing, wherever it stands.
_NO_THING: Final = _verbs.WRITES - _verbs.NOUN_TOO
_LAST_WRITES: Final = _verbs.PLAIN_VERBS - {"update", "upload", "store_in", "edit", "add"}
_SQL: Final = frozenset({"sql", "statement", "statements", "cypher", "command", "script", "mutation"})
_DENIED: Final = re.compile(
    r"(?:\b(?:not|never|without|no|cannot|can't|don't|doesn't)\s+(?:\w+\s+){0,3}|read[- ]?only[^.]{0,40})$",
    re.IGNORECASE,
)
_SAYS_READ_ONLY: Final = re.compile(
    r"\bread[- ]?only\b|\bselect (?:queries|statements?) only\b|\bonly select\b", re.IGNORECASE
)
_WORD: Final = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Override:
    """What a user says of the tools that fit a pattern."""

    pattern: str
    """`write_file`, `git_*`, or with the server `git:git_*`."""
    operation: Operation
    risk: Risk | None = None


@dataclass(frozen=True, slots=True)
class ClassifyOptions:
    """How tools are judged."""

    overrides: tuple[Override, ...] = ()
    """The first that fits wins."""
    annotations: bool = True
    """Whether the server is believed that a tool only reads. That one writes is always believed."""


def classify(tool: Tool, options: ClassifyOptions | None = None, *, server: str = "") -> Verdict:
    """The verdict on one tool. Never raises, whatever the server lists."""
    options = options or ClassifyOptions()
    spelled = words(tool.name)
    for override in options.overrides:
        if fits(override.pattern, server, tool.name):
            return Verdict(override.operation, override.risk or _risk(spelled, override.operation), "override")
    annotated = _annotated(tool, spelled)
    if annotated is not None and (options.annotations or annotated.operation == "write"):
        return annotated
    named = _named(spelled)
    return named if named.operation == "write" else _doubted(named, tool, spelled)


# ---- annotations


def _annotated(tool: Tool, spelled: Sequence[str]) -> Verdict | None:
    read_only, destructive = tool.annotations.get("readOnlyHint"), tool.annotations.get("destructiveHint")
    if read_only is True and destructive is True:
        return Verdict("write", _risk(spelled, "write"), "annotations contradict each other")
    if read_only is True:
        return Verdict("read", "low", "annotation readOnlyHint")
    if read_only is False:
        return Verdict("write", _risk(spelled, "write"), "annotation readOnlyHint false")
    if destructive is True:
        return Verdict("write", _risk(spelled, "write"), "annotation destructiveHint")
    return None


# ---- names


def _named(spelled: Sequence[str]) -> Verdict:
    spelled = _without_compounds(spelled)
    at = next((i for i, word in enumerate(spelled) if _is_verb(spelled, i, word)), None)
    if at is None:
        if spelled and spelled[-1] in _verbs.READ_NOUNS:
            return Verdict("read", "low", f"names what is read: {spelled[-1]}")
        return Verdict("write", "low", "unknown name")
    verb, rest = spelled[at], spelled[at + 1 :]
    if at and (spelled[at - 1], spelled[at]) in _verbs.TWO_WORDS:
        return Verdict("write", "low", f"verb {' '.join(spelled[at - 1 : at + 1])}")
    if verb in _verbs.READS:
        acts = _written_behind(verb, rest)
        return Verdict("read", "low", f"verb {verb}") if acts is None else _writes(acts)
    if _only_reads(verb, rest):
        return Verdict("read", "low", f"verb {verb} {rest[0]}")
    if (last := _thing_first(spelled[at:])) is not None:
        return Verdict("read", "low", f"verb {last}")
    return _writes(spelled)


def _without_compounds(spelled: Sequence[str]) -> tuple[str, ...]:
    """With `pull request` as one word that is no verb."""
    found: list[str] = []
    for word in spelled:
        if found and (found[-1], word) in _verbs.COMPOUNDS:
            found[-1] = f"{found[-1]} {word}"
        else:
            found.append(word)
    return tuple(found)


def _is_verb(spelled: Sequence[str], at: int, word: str) -> bool:
    if word not in _verbs.READS and word not in _verbs.WRITES:
        return False
    # `git_log`, `pods_log`: a verb that ends the name and is what is read.
    return not (word in _verbs.READ_NOUNS and word not in _verbs.READS and at == len(spelled) - 1 and at > 0)


def _written_behind(verb: str, rest: Sequence[str]) -> Sequence[str] | None:
    """The words that write, in a name that begins with a verb that reads."""
    if not rest:
        return None
    if (verb, rest[0]) in _verbs.TWO_WORDS:
        return (f"{verb} {rest[0]}", *rest[1:])
    for at, word in enumerate(rest[:-1]):
        if word in _verbs.CONNECTIVES and (rest[at + 1] in _verbs.WRITES or _any_writes(rest[at + 1 :])):
            return rest[at + 1 :]
        if word in ("to", "into"):  # it names where something is put; `get_path_to_root` pays for `echo_to_slack`
            return (f"{verb} {word} {rest[at + 1]}",)
    things = _verbs.THINGS_READ if verb in _GETS else frozenset[str]()
    for at, word in enumerate(rest):
        if word in _NO_THING - things and not _verbs.NOUN_MAKERS.intersection(rest[at + 1 : at + 2]):
            return rest[at:]
    if len(rest) > 1 and rest[1] in _verbs.NOUN_MAKERS:
        return None
    if rest[0] in _verbs.PLAIN_VERBS:
        return rest
    if verb in _verbs.ALSO_THINGS and (rest[0] in _TO_A_THING or (len(rest) > 1 and rest[-1] in _TO_A_THING)):
        return rest if rest[0] in _TO_A_THING else rest[-1:]
    return rest[-1:] if rest[-1] in _LAST_WRITES else None


def _only_reads(verb: str, rest: Sequence[str]) -> bool:
    return bool(rest) and rest[0] in _verbs.HARMLESS_OBJECTS.get(verb, ()) and not _any_writes(rest[1:])


def _any_writes(spelled: Sequence[str]) -> bool:
    return any(word in _verbs.WRITES and word not in _verbs.NOUN_TOO for word in spelled)


def _thing_first(spelled: Sequence[str]) -> str | None:
    """The verb at the end of `branch_list`, if all before it are things; `run_query` runs."""
    *things, last = spelled
    if last not in _LAST_READS or (last in ("search", "find", "query") and len(things) > 2):
        return None
    for thing in things:
        if thing in _NEVER_A_THING or (thing in _verbs.WRITES and thing not in _verbs.NOUN_TOO):
            return None
    return None if things and things[0] in _verbs.READS else last


def _writes(spelled: Sequence[str]) -> Verdict:
    verb = next((word for i, word in enumerate(spelled) if _is_verb(spelled, i, word)), spelled[0])
    return Verdict("write", _risk(spelled, "write"), f"verb {verb}")


def _risk(spelled: Sequence[str], operation: Operation) -> Risk:
    """That of the riskiest verb. A thing named behind the verb does not count: `create_pull_request` pulls nothing."""
    if operation == "read":
        return "low"
    verbs = [w for i, w in enumerate(spelled) if _is_verb(spelled, i, w) and w in _verbs.RISKS]
    acts = [word for i, word in enumerate(verbs) if i == 0 or word not in _verbs.NOUN_TOO]
    return _ORDER[max((_ORDER.index(_verbs.RISKS[word]) for word in acts), default=0)]


# ---- what a description may add


def _doubted(verdict: Verdict, tool: Tool, spelled: Sequence[str]) -> Verdict:
    """The verdict `read`, or a write if the description or the arguments say so."""
    text = tool.description[:_DESCRIPTION_CHARS]
    verb = _said(text, anywhere=bool(_verbs.DOUBTFUL_READS.intersection(spelled)))
    if verb:
        return Verdict("write", _verbs.RISKS.get(verb, "low"), f"description: {verb}")
    if "query" in spelled and "read" not in spelled and _runs_anything(tool, text, spelled):
        return Verdict("write", "high", "runs a statement it is given")
    if "explain" in spelled and not {"analyze", "analyse"}.isdisjoint(_properties(tool)):
        return Verdict("write", "high", "runs the statement that it explains")
    return verdict


def _said(text: str, *, anywhere: bool) -> str | None:
    """A verb by which a description says that something is written."""
    first = _WORD.match(text.lstrip())
    if first is not None and (verb := _base(first[0])) in _verbs.PLAIN_VERBS:
        return verb
    sentence = re.split(r"[.\n]", text, maxsplit=1)[0]
    for linked in re.finditer(r"\b(?:and|or|then)\s+([A-Za-z]+)", sentence):
        # "Lists and deletes", "Find or create"; but in "List users and updates" the second one is a thing.
        same_form = first is not None and first[0].endswith("s") == linked[1].endswith("s")
        if same_form and (verb := _base(linked[1])) in _verbs.PLAIN_VERBS and not _denied(sentence, linked.start()):
            return verb
    if anywhere:
        for word in _WORD.finditer(text):
            if (verb := _base(word[0])) in _verbs.PLAIN_VERBS - {"add"} and not _denied(text, word.start()):
                return verb
    return None


def _denied(text: str, at: int) -> bool:
    return _DENIED.search(text[:at]) is not None


def _base(word: str) -> str:
    """`Deletes`, `modifies`, `creating` as the verb they are forms of."""
    word = word.lower()
    if word in _verbs.PLAIN_VERBS:
        return word
    for ending, instead in (("ies", "y"), ("es", "e"), ("s", ""), ("es", ""), ("ing", "e"), ("ing", "")):
        if word.endswith(ending) and (base := word.removesuffix(ending) + instead) in _verbs.PLAIN_VERBS:
            return base
    return word


def _runs_anything(tool: Tool, text: str, spelled: Sequence[str]) -> bool:
    """A `query` that nothing narrows to one that reads."""
    if _SAYS_READ_ONLY.search(text) or spelled[-1] != "query":
        return False
    takes_a_program = not _SQL.isdisjoint(_properties(tool))
    bare = len(spelled) == 1 or not _DATABASES.isdisjoint(spelled)
    return takes_a_program or bare or _ANY_STATEMENT.search(text) is not None


def _properties(tool: Tool) -> list[str]:
    properties: JsonValue = tool.input_schema.get("properties")
    return [name.lower() for name in cast("dict[str, JsonValue]", properties)] if isinstance(properties, dict) else []


# ---- overrides


def overrides_of(value: JsonValue) -> tuple[Override, ...]:
    """From the JSON of an overrides file: `{"git_*": "read", "send": {"operation": "write", "risk": "high"}}`.

    Raises:
        ConfigError: it is not of that form; names the tool.
    """
    if not isinstance(value, dict):
        raise ConfigError('overrides are an object, for example {"git_*": "read"}')
    return tuple(_override(pattern, said) for pattern, said in cast("dict[str, JsonValue]", value).items())


def _override(pattern: str, said: JsonValue) -> Override:
    shown = show.name(pattern)
    given = cast("dict[str, JsonValue]", {"operation": said} if isinstance(said, str) else said)
    if not isinstance(said, str | dict) or not set(given) <= {"operation", "risk"}:
        raise ConfigError(f'override of {shown}: write "read", "write" or {{"operation": ..., "risk": ...}}')
    operation, risk = given.get("operation"), given.get("risk")
    if operation not in ("read", "write"):
        raise ConfigError(f"override of {shown}: operation is read or write")
    if risk is not None and risk not in _ORDER:
        raise ConfigError(f"override of {shown}: risk is low, medium or high")
    return Override(pattern, operation, risk)
