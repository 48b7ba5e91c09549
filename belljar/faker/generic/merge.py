"""Lays the overlay over what a target answered, in whatever form it answers: JSON, structured content, lines of text.

What is gone is taken out of lists, what was changed shows its new fields, what was made is added where its like stand.
Counts beside a list follow it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final, cast

from belljar.faker import results
from belljar.faker.generate import Generator
from belljar.faker.generic.entities import Thing
from belljar.faker.generic.identity import identities_of, lists_in, safe_word
from belljar.faker.generic.meaning import singular
from belljar.faker.results import Answer
from belljar.rpc.world import JsonValue

__all__ = ["into_list", "over_thing"]

_COUNTS: Final = frozenset(
    {"total", "total_count", "totalcount", "count", "size", "totalresults", "total_results", "number"}
)
_STATES: Final = frozenset({"state", "status"})
_CONTENT: Final = ("content", "text", "body", "value", "data", "result")


def into_list(
    answer: Answer,
    head: str,
    hidden: Sequence[Thing],
    changed: Sequence[Thing],
    made: Sequence[Thing],
    generator: Generator,
) -> Answer:
    """A list the target gave, as it is after what was written."""
    if not (hidden or changed or made):
        return answer
    value = results.parsed(answer)
    if value is not None and (merged := _merged(value, head, hidden, changed, made, generator)) is not None:
        return results.with_value(answer, merged)
    text = results.only_text(answer)
    if text is None:
        return answer
    now = _lines(text, hidden, made)
    structured = answer.get("structuredContent")
    changed_answer: Answer = {**answer, "content": [{"type": "text", "text": now}]}
    if isinstance(structured, dict):
        fields = cast("dict[str, JsonValue]", structured)
        changed_answer["structuredContent"] = {name: now if each == text else each for name, each in fields.items()}
    return changed_answer


def over_thing(answer: Answer, thing: Thing, head: str) -> Answer:
    """What the target says of one thing, with its changed fields."""
    fields, appended = thing.get("fields", {}), thing.get("appended", {})
    value = results.parsed(answer)
    if value is not None:
        patched = _patched(value, thing, head) if fields else value
        return results.with_value(answer, _appended(patched, appended) if appended else patched)
    text = results.only_text(answer)
    if text is None:
        return answer
    replaced = next((fields[name] for name in _CONTENT if isinstance(fields.get(name), str)), None)
    now = (replaced if isinstance(replaced, str) else text) + "".join(appended.values())
    return results.text(now)


def _merged(
    value: JsonValue,
    head: str,
    hidden: Sequence[Thing],
    changed: Sequence[Thing],
    made: Sequence[Thing],
    generator: Generator,
) -> JsonValue:
    """With the list of such things changed; None if there is none to be found."""
    found = _the_list(value, head)
    if found is None:
        return None
    path, items = found
    kept = [_changed(item, changed, head) for item in items if not _names_any(item, hidden, head)]
    there = {text for item in kept for text in identities_of(item, head).values()}
    new = [
        _like(thing, kept or items, generator, head)
        for thing in made
        if there.isdisjoint(thing.get("ids", {}).values())
    ]
    merged = [*new, *kept] if _descends(kept) else [*kept, *new]
    return _with(value, path, merged, len(merged) - len(items))


def _the_list(value: JsonValue, head: str) -> tuple[tuple[str, ...], list[Any]] | None:
    """The list of such things: by its name, or the only one; lists of lists and of numbers are none."""
    lists = [(path, items) for path, items in lists_in(value, head) if all(isinstance(i, dict | str) for i in items)]
    named = [
        each for each in lists if each[0] and head and singular(each[0][-1].lower()) in (head, head.replace(" ", "_"))
    ]
    likely = named or [each for each in lists if len(each[0]) <= 1] or lists
    likely.sort(key=lambda each: (len(each[0]), not any(isinstance(item, dict) for item in each[1])))
    return likely[0] if likely else None


def _names_any(item: JsonValue, things: Sequence[Thing], head: str) -> bool:
    names = set(identities_of(item, head).values())
    return any(not names.isdisjoint(thing.get("ids", {}).values()) for thing in things)


def _changed(item: JsonValue, things: Sequence[Thing], head: str) -> JsonValue:
    for thing in things:
        if _names_any(item, (thing,), head):
            return _patched(item, thing, head)
    return item


def _patched(value: JsonValue, thing: Thing, head: str) -> JsonValue:
    """With fields replaced where the thing itself stands: at the top, or one level down under its name."""
    if not isinstance(value, dict):
        return value
    there = cast("dict[str, JsonValue]", value)
    fields = thing.get("fields", {})
    inner = next((name for name in there if isinstance(there[name], dict) and singular(name.lower()) == head), None)
    if inner is not None:
        return {**there, inner: _patched(there[inner], thing, "")}
    plain = {name.replace("_", "").lower(): name for name in there}
    patched = dict(there)
    for name, new in fields.items():
        at = plain.get(name.replace("_", "").lower())
        if at is None and not (name in _STATES and _STATES & there.keys()):
            patched[name] = new
        elif at is None:
            continue
        elif not isinstance(there[at], dict | list) or isinstance(new, type(there[at])):
            patched[at] = new
    return patched


def _appended(value: JsonValue, appended: dict[str, str]) -> JsonValue:
    if not isinstance(value, dict):
        return value
    there = dict(cast("dict[str, JsonValue]", value))
    for name, more in appended.items():
        at = (
            name
            if isinstance(there.get(name), str)
            else next((n for n in _CONTENT if isinstance(there.get(n), str)), None)
        )
        if at is not None:
            there[at] = f"{there[at]}{more}"
    return there


def _like(thing: Thing, others: Sequence[JsonValue], generator: Generator, head: str) -> JsonValue:
    """A made thing in the form of those beside it."""
    ids, fields = thing.get("ids", {}), thing.get("fields", {})
    example = others[0] if others else None
    if isinstance(example, str):
        return next(
            (ids[name] for name in ("path", "name", "key", "uri", "title") if name in ids), next(iter(ids.values()), "")
        )
    whole = {**ids, **fields}
    if not isinstance(example, dict):
        return whole
    return generator.like(example, f"{head} {next(iter(ids.values()), '')}", whole)


def _descends(items: Sequence[JsonValue]) -> bool:
    ids = [
        cast("dict[str, Any]", item).get("id", cast("dict[str, Any]", item).get("number"))
        for item in items
        if isinstance(item, dict)
    ]
    numbers = [each for each in ids if isinstance(each, int)]
    return len(numbers) > 1 and numbers[0] > numbers[-1]


def _with(value: JsonValue, path: tuple[str, ...], items: list[JsonValue], more: int) -> JsonValue:
    if not path:
        return items
    there = cast("dict[str, JsonValue]", value)
    changed = {**there, path[0]: _with(there[path[0]], path[1:], items, more)}
    for name, count in there.items():
        if name.lower() in _COUNTS and isinstance(count, int) and not isinstance(count, bool):
            changed[name] = max(0, count + more)
    return changed


# Lines of text


def _lines(text: str, hidden: Sequence[Thing], made: Sequence[Thing]) -> str:
    lines = text.split("\n")
    bullets = [match[0] for line in lines if (match := re.match(r"\s*(?:[-*•]|\d+[.)]|\[[A-Z]+\])\s+", line))]
    for thing in hidden:
        words = [safe_word(each) for each in thing.get("ids", {}).values()]
        lines = [line for line in lines if not any(word.search(line) for word in words)]
    bullet = re.sub(r"\d+", lambda n: str(int(n[0]) + 1), bullets[-1]) if bullets else ""
    for thing in made:
        named = thing.get("ids", {})
        if not any(each and each in text for each in named.values()):
            lines.append(bullet + _line(thing))
    return "\n".join(lines)


def _line(thing: Thing) -> str:
    ids, fields = thing.get("ids", {}), thing.get("fields", {})
    name = next(
        (ids[each] for each in ("path", "name", "key", "uri", "id") if each in ids), next(iter(ids.values()), "")
    )
    more = {each: value for each, value in fields.items() if each not in ids and each not in _CONTENT}
    title = fields.get("title") or fields.get("subject") or fields.get("summary")
    if isinstance(title, str):
        return f"{name}: {title}"
    return f"{name} {json.dumps(more, ensure_ascii=False)}" if more else name
