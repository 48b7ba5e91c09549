"""What two sessions have in common, and what not: an agent's calls before and after it was changed.

Calls are paired in three steps, each in order and none quadratic: equal calls (tool and arguments), first with first;
then, among those left over, calls of the same tool that stand in the same place - behind the same pair - which are one
call with other arguments. What is left is removed or added. A pair whose answer differs is changed; pairs in another
order are counted as moved. `_meta` of an answer is no part of it.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from belljar.faker.sessions.model import ServedTool
from belljar.rpc import jsontext

__all__ = ["Change", "Difference", "Row", "compare"]

Row = Mapping[str, Any]
"""sequence, server, tool, key, arguments, response, error: the texts as they are kept, not parsed."""

What = Literal["arguments", "answer", "arguments and answer"]


@dataclass(frozen=True, slots=True)
class Change:
    """A call of both sessions that is not the same in both."""

    before: Row
    after: Row
    what: What


@dataclass(frozen=True, slots=True)
class Difference:
    """What is different in the second of two sessions."""

    added: list[Row] = field(default_factory=list[Row])
    removed: list[Row] = field(default_factory=list[Row])
    changed: list[Change] = field(default_factory=list[Change])
    moved: int = 0
    same: int = 0
    tools_added: list[str] = field(default_factory=list[str])
    tools_removed: list[str] = field(default_factory=list[str])
    tools_changed: list[str] = field(default_factory=list[str])

    def __bool__(self) -> bool:
        calls = self.added or self.removed or self.changed or self.moved
        return bool(calls or self.tools_added or self.tools_removed or self.tools_changed)


def compare(
    before: Sequence[Row],
    after: Sequence[Row],
    tools_before: Sequence[ServedTool] = (),
    tools_after: Sequence[ServedTool] = (),
) -> Difference:
    """The difference of two sessions by their rows, in the order of their sequence."""
    pairs = _equal(before, after)
    moved = len(pairs) - _longest_rising([pairs[place] for place in sorted(pairs)])
    equal = len(pairs)
    pairs |= _in_the_same_place(before, after, pairs)
    changed = [change for a, b in sorted(pairs.items()) if (change := _change(before[a], after[b])) is not None]
    taken = set(pairs.values())
    one, other = _digests(tools_before), _digests(tools_after)
    return Difference(
        added=[row for place, row in enumerate(after) if place not in taken],
        removed=[row for place, row in enumerate(before) if place not in pairs],
        changed=changed,
        moved=moved,
        same=equal - sum(change.what == "answer" for change in changed),
        tools_added=[name for name in other if name not in one],
        tools_removed=[name for name in one if name not in other],
        tools_changed=[name for name in one if name in other and one[name] != other[name]],
    )


def _equal(before: Sequence[Row], after: Sequence[Row]) -> dict[int, int]:
    """Places of equal calls, first with first."""
    waiting = defaultdict[tuple[str, str], deque[int]](deque)
    for place, row in enumerate(after):
        waiting[row["server"], row["key"]].append(place)
    pairs = dict[int, int]()
    for place, row in enumerate(before):
        if there := waiting.get((row["server"], row["key"])):
            pairs[place] = there.popleft()
    return pairs


def _in_the_same_place(before: Sequence[Row], after: Sequence[Row], pairs: Mapping[int, int]) -> dict[int, int]:
    """Places of calls of one tool with other arguments, behind the same pair in both."""
    back = {b: a for a, b in pairs.items()}
    waiting = defaultdict[tuple[int, str, str], deque[int]](deque)
    for place, behind in _left(after, back):
        row = after[place]
        waiting[behind, row["server"], row["tool"]].append(place)
    found = dict[int, int]()
    for place, behind in _left(before, pairs):
        row = before[place]
        pair = pairs[behind] if behind >= 0 else -1
        if there := waiting.get((pair, row["server"], row["tool"])):
            found[place] = there.popleft()
    return found


def _left(rows: Sequence[Row], paired: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """The calls without a partner, each with the place of the last one before it that has one, or -1."""
    behind = -1
    for place in range(len(rows)):
        if place in paired:
            behind = place
        else:
            yield place, behind


def _change(before: Row, after: Row) -> Change | None:
    arguments = before["key"] != after["key"]
    answer = not _same_answer(before, after)
    if not arguments and not answer:
        return None
    what: What = "arguments and answer" if arguments and answer else "arguments" if arguments else "answer"
    return Change(before, after, what)


def _same_answer(before: Row, after: Row) -> bool:
    if before["response"] == after["response"] and before["error"] == after["error"]:
        return True
    return _plain(before) == _plain(after)


def _plain(row: Row) -> bytes | str:
    """An answer without its `_meta`, in a form in which equal ones are equal."""
    response = {name: value for name, value in json.loads(row["response"]).items() if name != "_meta"}
    value = [response, None if row["error"] is None else json.loads(row["error"])]
    try:
        return jsontext.canonical(value)
    except jsontext.JsonError:
        return json.dumps(value, sort_keys=True)


def _digests(tools: Sequence[ServedTool]) -> dict[str, str]:
    return {f"{each.server}:{each.tool.name}": each.tool.digest for each in tools}


def _longest_rising(values: Sequence[int]) -> int:
    """Length of the longest rising subsequence: what was not moved."""
    ends = list[int]()
    for value in values:
        place = bisect_left(ends, value)
        ends[place : place + 1] = [value]
    return len(ends)
