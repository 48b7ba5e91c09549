"""Decisions: which way the capability's own branches went.

`sys.monitoring` reports each branch taken in the code objects it was switched on for: those of the capability and no
others. An event names two bytecode offsets; source positions lead from there to the `if`, `while`, conditional
expression or `match` they belong to, and the place it jumps to tells the outcome. Nothing is prepared before the first
event, and after `MAX_DECISIONS`, or `MAX_PER_BRANCH` from one place, events are switched off, so that a hot loop soon
runs at full speed.
"""

from __future__ import annotations

import ast
import opcode
import sys
from types import CodeType
from typing import Any, NamedTuple

__all__ = ["MAX_DECISIONS", "Decisions", "available", "branches"]

MAX_DECISIONS = 1000
MAX_PER_BRANCH = 100
_MAX_CONDITION = 200
# Instructions that stand between a branch and the code it leads to.
_FILLER = frozenset({"NOT_TAKEN", "NOP", "CACHE", "EXTENDED_ARG", "RESUME", "POP_TOP"})

Position = tuple[int, int]


class _Span(NamedTuple):
    start: Position
    end: Position

    def holds(self, other: _Span) -> bool:
        return self.start <= other.start and other.end <= self.end


class _Node(NamedTuple):
    """One place where the code decides: `bodies` are the outcomes' spans."""

    name: str
    condition: str
    test: _Span
    bodies: tuple[tuple[str, _Span], ...]
    otherwise: str
    """Outcome when the branch leads neither into a body nor back into the test; empty: none is reported."""


def available() -> bool:
    """Whether this interpreter reports both directions of a branch (CPython 3.14)."""
    return hasattr(getattr(sys, "monitoring", None), "events") and hasattr(sys.monitoring.events, "BRANCH_LEFT")


def branches(code: CodeType) -> bool:
    """Whether there is anything to watch in this code object or one nested in it."""
    if next(iter(code.co_branches()), None) is not None:
        return True
    return any(branches(const) for const in code.co_consts if isinstance(const, CodeType))


class Decisions:
    """Collects the decisions of one run."""

    def __init__(self, tree: ast.Module, source: str) -> None:
        self.taken: list[tuple[str, str, str]] = []
        self._tree = tree
        self._source = source
        self._nodes: list[_Node] | None = None
        self._places: dict[CodeType, list[_Span | None]] = {}
        self._owners: dict[tuple[CodeType, int], _Node | None] = {}
        self._counts: dict[tuple[CodeType, int], int] = {}
        self._codes: list[CodeType] = []

    def watch(self, code: CodeType) -> None:
        """Switch events on for one code object and those nested in it."""
        monitoring = sys.monitoring
        if not self._codes:
            monitoring.use_tool_id(monitoring.PROFILER_ID, "belljar")
            for event in (monitoring.events.BRANCH_LEFT, monitoring.events.BRANCH_RIGHT):
                monitoring.register_callback(monitoring.PROFILER_ID, event, self._on_branch)
        self._watch(code)

    def _watch(self, code: CodeType) -> None:
        events = sys.monitoring.events
        self._codes.append(code)
        sys.monitoring.set_local_events(sys.monitoring.PROFILER_ID, code, events.BRANCH_LEFT | events.BRANCH_RIGHT)
        for const in code.co_consts:
            if isinstance(const, CodeType):
                self._watch(const)

    def stop(self) -> None:
        """Switch everything off again; the box may be asked once more."""
        if self._codes:
            self._silence()
            sys.monitoring.free_tool_id(sys.monitoring.PROFILER_ID)
            self._codes = []

    def _silence(self) -> None:
        for code in self._codes:
            sys.monitoring.set_local_events(sys.monitoring.PROFILER_ID, code, 0)

    def _on_branch(self, code: CodeType, offset: int, destination: int) -> Any:
        place = (code, offset)
        if place not in self._owners:
            self._owners[place] = self._owner(code, offset)
        node = self._owners[place]
        if node is None:
            return sys.monitoring.DISABLE
        self._counts[place] = count = self._counts.get(place, 0) + 1
        if count > MAX_PER_BRANCH:
            return sys.monitoring.DISABLE
        outcome = self._outcome(node, code, destination)
        if outcome:
            self.taken.append((node.name, outcome, node.condition))
            if len(self.taken) >= MAX_DECISIONS:
                self._silence()
        return None

    def _spans(self, code: CodeType) -> list[_Span | None]:
        spans = self._places.get(code)
        if spans is None:
            spans = self._places[code] = [_span(position) for position in code.co_positions()]
        return spans

    def _owner(self, code: CodeType, offset: int) -> _Node | None:
        if self._nodes is None:
            self._nodes = list(_nodes(self._tree, self._source))
        span = self._spans(code)[offset // 2]
        if span is None:
            return None
        # Innermost last: walking goes from the outside in.
        owners = [node for node in self._nodes if node.test.holds(span)]
        return owners[-1] if owners else None

    def _outcome(self, node: _Node, code: CodeType, destination: int) -> str:
        spans = self._spans(code)
        index = _skip_filler(code, destination // 2)
        span = spans[index] if index < len(spans) else None
        if span is None:
            return node.otherwise
        for outcome, body in node.bodies:
            if body.holds(span):
                return outcome
        # Falling off the end of a function is given the position of the test that came last.
        return "" if node.test.holds(span) and not _returns(code, index) else node.otherwise


def _returns(code: CodeType, index: int) -> bool:
    names = [opcode.opname[op] for op in code.co_code[index * 2 : index * 2 + 4 : 2]]
    return names[:2] == ["LOAD_CONST", "RETURN_VALUE"] or names[:1] == ["RETURN_CONST"]


def _skip_filler(code: CodeType, index: int) -> int:
    raw = code.co_code
    while index * 2 < len(raw) and opcode.opname[raw[index * 2]] in _FILLER:
        index += 1
    return index


def _span(position: tuple[int | None, int | None, int | None, int | None]) -> _Span | None:
    line, end_line, column, end_column = position
    if line is None or end_line is None or column is None or end_column is None:
        return None
    return _Span((line, column), (end_line, end_column))


def _node_span(first: Any, last: Any = None) -> _Span:
    last = first if last is None else last
    return _Span((first.lineno, first.col_offset), (last.end_lineno, last.end_col_offset))


def _nodes(tree: ast.Module, source: str) -> Any:
    for node in ast.walk(tree):
        if isinstance(node, (ast.If, ast.While)):
            yield _choice(node, _node_span(node.body[0], node.body[-1]), source)
        elif isinstance(node, ast.IfExp):
            yield _choice(node, _node_span(node.body), source)
        elif isinstance(node, ast.Match):
            yield from _cases(node, source)


def _choice(node: ast.If | ast.While | ast.IfExp, body: _Span, source: str) -> _Node:
    return _Node(f"L{node.test.lineno}", _text(node.test, source), _node_span(node.test), (("true", body),), "false")


def _cases(node: ast.Match, source: str) -> Any:
    bodies = tuple((f"case:{n}", _node_span(c.body[0], c.body[-1])) for n, c in enumerate(node.cases, 1))
    for case in node.cases:
        test = _node_span(case.pattern, case.guard)
        yield _Node(f"L{node.lineno}", _text(node.subject, source), test, bodies, "")


def _text(node: ast.expr, source: str) -> str:
    text = " ".join((ast.get_source_segment(source, node) or "").split())
    return text if len(text) <= _MAX_CONDITION else text[: _MAX_CONDITION - 1] + "…"
