"""JSON Schemas written by strangers: refused when they break a rule, and checked against within a budget.

A server's schemas are as hostile as its answers. `refusal` reads one schema and says in one line why it cannot be used,
or nothing; `validate` holds a value against one that passed. A run's own arguments go the same way.

Why not the `jsonschema` package: its messages hold `repr` of the value at every level, its patterns run in Python's
backtracking engine (`^(a+)+$` took seconds), `uniqueItems` is quadratic, nothing counts steps - so 2 KB of fanned-out
`$ref`s hold the host for hours - and importing it takes as long as a whole run. What is here is bounded by
construction: every keyword looked at costs a step, every level is counted, patterns are RE2 with a memory limit, and
`$ref` only follows a pointer inside the same document, so there is nothing that could fetch. The tests compare its
verdicts with `jsonschema`'s.

Drafts 4 to 2020-12 as they are in use. Keywords that need annotations or dynamic scope (`unevaluatedProperties`,
`unevaluatedItems`, `$dynamicRef`, `$recursiveRef`) and a nested `$id` are refused by name, never silently skipped.
`format` and the content keywords are annotations and assert nothing. `multipleOf` is exact on the decimal digits.

https://json-schema.org/draft/2020-12/json-schema-validation
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, cast

from belljar import show
from belljar.limits import KIB
from belljar.rpc import _checking, jsontext
from belljar.rpc._checking import TooCostlyError
from belljar.rpc.world import JsonValue

__all__ = ["MAX_SCHEMA_BYTES", "TooCostlyError", "refusal", "tool_digest", "validate"]

MAX_SCHEMA_BYTES = 256 * KIB
# The largest schema of the servers we test with has 60; each costs a dictionary walk before any call.
_MAX_SUBSCHEMAS = 10_000
_MAX_PATTERNS = 200
_MAX_PATTERN_CHARS = 4096
_MAX_ERRORS = 20
# About a second of one slow core. An honest call takes a few dozen steps.
_STEPS = 200_000

_DRAFTS = re.compile(r"https?://json-schema\.org/(?:draft-0[467]|draft/20(?:19-09|20-12))/schema#?")
_UNSUPPORTED = frozenset({"unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef"})
_TYPES = frozenset({"string", "integer", "number", "boolean", "null", "array", "object"})
_ONE = frozenset({"additionalItems", "additionalProperties", "contains", "else", "if", "not", "propertyNames", "then"})
_MANY = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
_SIZES = frozenset(f"{end}{of}" for end in ("min", "max") for of in ("Length", "Items", "Properties", "Contains"))


def refusal(schema: JsonValue) -> str:
    """Why this schema cannot be used, in one line; empty if it can. Takes time in proportion to its size."""
    if not isinstance(schema, dict):
        return "it is not an object"
    document = cast("dict[str, JsonValue]", schema)
    try:
        size = jsontext.size(jsontext.dump(document))
        if size > MAX_SCHEMA_BYTES:
            return f"it has {size} bytes, more than {MAX_SCHEMA_BYTES}"
        _Reader(document).read()
    except (jsontext.JsonError, _RefusedError) as exc:
        return str(exc)
    return ""


def validate(schema: Mapping[str, JsonValue], value: JsonValue, *, steps: int = _STEPS) -> list[str]:
    """What is wrong with the value, one line each naming the place (`$.max_count: must be integer, is string`).

    At most 20 lines; they hold no part of the value but names of properties. `schema` must have passed `refusal`.

    Raises:
        TooCostlyError: `steps` were not enough, or the schema leads too deep; nothing is known about the value.
    """
    return list(islice(_checking.Check(schema, steps).errors(schema, value, None, 0), _MAX_ERRORS))


def tool_digest(tool: Mapping[str, JsonValue]) -> str:
    """Hex SHA-256 over all of a listed tool (wire names) that a person's trust rests on, in canonical form.

    Raises:
        JsonError: the tool holds something that has no canonical form.
    """
    parts = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
    return jsontext.sha256({part: tool.get(part) for part in parts})


class _RefusedError(Exception):
    """The line to show."""


class _Reader:
    """Walks every place of a document where a schema may stand, `$ref` targets included, and looks at each keyword.

    Only such places: a property may be called `pattern`, and an `enum` may hold an object with a `$ref`.
    """

    def __init__(self, document: dict[str, JsonValue]) -> None:
        self._document = document
        self._todo: list[tuple[str, Any]] = [("#", document)]
        self._seen: set[int] = set()
        self._patterns = 0

    def read(self) -> None:
        while self._todo:
            where, schema = self._todo.pop()
            if isinstance(schema, bool) or id(schema) in self._seen:
                continue
            _need(isinstance(schema, dict), where, "is not a schema")
            self._seen.add(id(schema))
            _need(len(self._seen) <= _MAX_SUBSCHEMAS, where, f"more than {_MAX_SUBSCHEMAS} subschemas")
            for keyword, content in schema.items():
                self._keyword(f"{where}/{keyword}", keyword, content)

    def _keyword(self, here: str, keyword: str, content: Any) -> None:
        _need(keyword not in _UNSUPPORTED, here, "is a keyword not supported here")
        if keyword in _ONE:
            self._todo.append((here, content))
        elif keyword in _MANY or (keyword == "items" and isinstance(content, list)):
            self._schemas(here, content)
        elif keyword == "items":
            self._todo.append((here, content))
        elif keyword in _NAMED:
            self._named(here, keyword, content)
        elif keyword in _SIZES:
            _need(_checking.is_integer(content) and content >= 0, here, "must be a whole number")
        elif (special := _SPECIAL.get(keyword)) is not None:
            special(self, here, content)

    def _schemas(self, here: str, content: Any) -> None:
        _need(isinstance(content, list), here, "must be a list of schemas")
        self._todo += [(f"{here}/{index}", each) for index, each in enumerate(content)]

    def _named(self, here: str, keyword: str, content: Any) -> None:
        _need(isinstance(content, dict), here, "must be an object of schemas")
        self._todo += [(f"{here}/{name}", each) for name, each in content.items()]
        if keyword == "patternProperties":
            self._compile(here, content)

    def ref(self, here: str, content: Any) -> None:
        _need(isinstance(content, str) and content[:1] == "#", here, "must point into its own document (#/...)")
        target = _checking.target(self._document, content)
        _need(target is not _checking.NOTHING, here, "points to nothing in its document")
        self._todo.append((content, target))

    def id(self, here: str, _content: Any) -> None:
        _need(here == "#/$id", here, "is not supported below the root")

    def dialect(self, here: str, content: Any) -> None:
        _need(isinstance(content, str) and _DRAFTS.fullmatch(content), here, "is no draft known here")

    def type(self, here: str, content: Any) -> None:
        names = cast("list[Any]", content if isinstance(content, list) else [content])
        known = all(isinstance(name, str) and name in _TYPES for name in names)
        _need(names and known, here, "must name types of JSON")

    def names(self, here: str, content: Any) -> None:
        items = cast("list[Any]", content)
        _need(isinstance(content, list) and all(isinstance(n, str) for n in items), here, "must be a list of names")

    def dependencies(self, here: str, content: Any) -> None:
        _need(isinstance(content, dict), here, "must be an object")
        for name, each in content.items():
            if isinstance(each, list) or here.endswith("dependentRequired"):
                self.names(f"{here}/{name}", each)
            else:
                self._todo.append((f"{here}/{name}", each))

    def list(self, here: str, content: Any) -> None:
        _need(isinstance(content, list), here, "must be a list")

    def flag(self, here: str, content: Any) -> None:
        _need(isinstance(content, bool), here, "must be true or false")

    def number(self, here: str, content: Any) -> None:
        _need(_checking.is_number(content), here, "must be a number")

    def step(self, here: str, content: Any) -> None:
        _need(_checking.is_number(content) and content > 0, here, "must be a number greater than 0")

    def bound(self, here: str, content: Any) -> None:
        _need(isinstance(content, bool) or _checking.is_number(content), here, "must be a number")

    def pattern(self, here: str, content: Any) -> None:
        _need(isinstance(content, str), here, "must be text")
        self._compile(here, (content,))

    def _compile(self, here: str, patterns: Mapping[str, Any] | tuple[str]) -> None:
        self._patterns += len(patterns)
        _need(self._patterns <= _MAX_PATTERNS, here, f"more than {_MAX_PATTERNS} patterns")
        for pattern in patterns:
            _need(len(pattern) <= _MAX_PATTERN_CHARS, here, f"a pattern longer than {_MAX_PATTERN_CHARS} characters")
            _need(_checking.compiled(pattern), here, "a pattern that cannot run in linear time (RE2)")


_SPECIAL: dict[str, Callable[[_Reader, str, Any], None]] = {
    "$ref": _Reader.ref,
    "$id": _Reader.id,
    "$schema": _Reader.dialect,
    "type": _Reader.type,
    "required": _Reader.names,
    "dependentRequired": _Reader.dependencies,
    "dependencies": _Reader.dependencies,
    "enum": _Reader.list,
    "uniqueItems": _Reader.flag,
    "minimum": _Reader.number,
    "maximum": _Reader.number,
    "exclusiveMinimum": _Reader.bound,
    "exclusiveMaximum": _Reader.bound,
    "multipleOf": _Reader.step,
    "pattern": _Reader.pattern,
}


def _need(holds: object, here: str, what: str) -> None:
    if not holds:
        raise _RefusedError(f"{show.text(here, max_chars=120)}: {what}")
