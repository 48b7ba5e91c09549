"""Holding a value against a JSON Schema, one step counted for each keyword; the other half of `schemas.py`.

Keywords are methods of `Check`, found in one table; each yields a line for what is wrong and is asked no further once
the verdict is known. A way to a value is a linked pair and only becomes text when there is something to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from importlib import import_module
from typing import Any, Protocol, cast

from belljar import show
from belljar.limits import KIB
from belljar.rpc.world import JsonValue

__all__ = ["NOTHING", "Check", "TooCostlyError", "compiled", "is_integer", "is_number", "target"]

# Two or three Python frames a level: stays clear of the interpreter's own limit of 1000 below a deep event loop.
_MAX_LEVELS = 150
# RE2 gives up beyond this, and counts repetitions before: patterns people write compile, `(a{1000}){1000}` does not.
_PATTERN_MEMORY = 256 * KIB
_REF_HIDES_SIBLINGS = re.compile(r"https?://json-schema\.org/draft-0")
# ECMAScript writes a code point \u0041, RE2 \x{0041}. After an odd run of backslashes it is no escape.
_UNICODE_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\u(?:\{([0-9a-fA-F]{1,6})\}|([0-9a-fA-F]{4}))")

_Path = tuple[Any, "str | int"] | None
"""The way to a value, last step first: (the way to its parent, key or index)."""
_Errors = Iterator[str]


class TooCostlyError(Exception):
    """The schema and the value together need more steps or levels than allowed; nothing is known about the value."""


NOTHING = object()


def target(document: Mapping[str, JsonValue], ref: str) -> JsonValue:
    """What a `#/...` pointer leads to (RFC 6901, percent-decoded), or NOTHING."""
    from urllib.parse import unquote  # costs 3 ms, and few schemas have a $ref

    found: Any = document
    if ref[1:2] not in ("", "/"):
        return NOTHING
    for token in unquote(ref[1:]).split("/")[1:]:
        found = _step(found, token.replace("~1", "/").replace("~0", "~"))
    return found


def _step(value: Any, token: str) -> Any:
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).get(token, NOTHING)
    if isinstance(value, list) and token.isascii() and token.isdigit():
        items = cast("list[Any]", value)
        return items[int(token)] if len(token) < 7 and int(token) < len(items) else NOTHING
    return NOTHING


class Pattern(Protocol):
    """A compiled RE2 pattern; that package has no public name for it."""

    def search(self, text: str, /) -> object | None: ...


def compiled(pattern: str) -> Pattern | None:
    """The pattern as RE2, unanchored as schemas want it; None if RE2 does not take it."""
    re2: Any = import_module("re2")  # has no types; 25 ms, and few schemas have a pattern
    options = re2.Options()
    options.max_mem = _PATTERN_MEMORY
    options.log_errors = False
    try:
        translated = _UNICODE_ESCAPE.sub(lambda m: f"{m[1]}\\x{{{m[2] or m[3]}}}", pattern)
        return cast("Pattern", re2.compile(translated, options))
    except (re2.error, UnicodeEncodeError):
        return None


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_integer(value: Any) -> bool:
    return is_number(value) and (isinstance(value, int) or value.is_integer())


_IS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": is_integer,
    "number": is_number,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _type_name(value: Any) -> str:
    return next(name for name, holds in _IS.items() if holds(value))


def _shown(path: _Path) -> str:
    steps: list[str] = []
    while path is not None:
        path, step = path
        plain = isinstance(step, str) and step.isascii() and step.isidentifier()
        steps.append(f".{step}" if plain else f"[{show.value(step, max_chars=60)}]")
    return "$" + "".join(reversed(steps))


def _fraction(number: float) -> Fraction:
    return Fraction(number if isinstance(number, int) else repr(number))


class Check:
    """One validation: the steps left, the document that `$ref`s point into, the patterns compiled so far."""

    def __init__(self, document: Mapping[str, JsonValue], steps: int) -> None:
        self._document = document
        self._steps = steps
        self._patterns: dict[str, Pattern | None] = {}
        self._ref_alone = bool(_REF_HIDES_SIBLINGS.match(str(document.get("$schema", ""))))

    def errors(self, schema: Any, value: Any, path: _Path, level: int) -> _Errors:
        self._spend(1)
        if level > _MAX_LEVELS:
            raise TooCostlyError(f"more than {_MAX_LEVELS} levels of schemas")
        if isinstance(schema, bool):
            yield from () if schema else (f"{_shown(path)}: is not allowed",)
            return
        if self._ref_alone and "$ref" in schema:
            schema = {"$ref": schema["$ref"]}
        self._spend(len(schema))
        for keyword, content in schema.items():
            if (check := _CHECKS.get(keyword)) is not None:
                yield from check(self, schema, content, value, path, level)

    def _spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise TooCostlyError("more steps than allowed")

    def _valid(self, schema: Any, value: Any, level: int) -> bool:
        return next(self.errors(schema, value, None, level + 1), None) is None

    # applicators

    def ref(self, _schema: Any, ref: str, value: Any, path: _Path, level: int) -> _Errors:
        self._spend(len(ref) // 100)
        yield from self.errors(target(self._document, ref), value, path, level + 1)

    def all_of(self, _schema: Any, schemas: list[Any], value: Any, path: _Path, level: int) -> _Errors:
        for each in schemas:
            yield from self.errors(each, value, path, level + 1)

    def any_of(self, _schema: Any, schemas: list[Any], value: Any, path: _Path, level: int) -> _Errors:
        if not any(self._valid(each, value, level) for each in schemas):
            yield f"{_shown(path)}: fits none of {len(schemas)} allowed forms"

    def one_of(self, _schema: Any, schemas: list[Any], value: Any, path: _Path, level: int) -> _Errors:
        fits = sum(self._valid(each, value, level) for each in schemas)
        if fits != 1:
            yield f"{_shown(path)}: fits {fits} of {len(schemas)} forms, must fit one"

    def not_(self, _schema: Any, schema: Any, value: Any, path: _Path, level: int) -> _Errors:
        if self._valid(schema, value, level):
            yield f"{_shown(path)}: has a form that is not allowed"

    def if_(self, schema: Any, condition: Any, value: Any, path: _Path, level: int) -> _Errors:
        branch = "then" if self._valid(condition, value, level) else "else"
        if branch in schema:
            yield from self.errors(schema[branch], value, path, level + 1)

    # objects

    def properties(self, _schema: Any, schemas: dict[str, Any], value: Any, path: _Path, level: int) -> _Errors:
        if isinstance(value, dict):
            given = cast("dict[str, Any]", value)
            fewer, more = (given, schemas) if len(given) < len(schemas) else (schemas, given)
            self._spend(len(fewer))
            for name in fewer:
                if name in more:
                    yield from self.errors(schemas[name], given[name], (path, name), level + 1)

    def pattern_properties(self, _schema: Any, schemas: dict[str, Any], value: Any, path: _Path, lv: int) -> _Errors:
        if isinstance(value, dict):
            for pattern, each in schemas.items():
                for name, content in cast("dict[str, Any]", value).items():
                    if self._matches(pattern, name):
                        yield from self.errors(each, content, (path, name), lv + 1)

    def additional_properties(self, schema: Any, rest: Any, value: Any, path: _Path, level: int) -> _Errors:
        if not isinstance(value, dict) or rest is True:
            return
        known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        for name, content in cast("dict[str, Any]", value).items():
            self._spend(1)
            if name not in known and not any(self._matches(pattern, name) for pattern in patterns):
                yield from self.errors(rest, content, (path, name), level + 1)

    def property_names(self, _schema: Any, schema: Any, value: Any, path: _Path, level: int) -> _Errors:
        if isinstance(value, dict):
            for name in cast("dict[str, Any]", value):
                if not self._valid(schema, name, level):
                    yield f"{_shown((path, name))}: is a name that is not allowed"

    def required(self, _schema: Any, names: list[str], value: Any, path: _Path, _level: int) -> _Errors:
        if isinstance(value, dict):
            self._spend(len(names))
            yield from (f"{_shown((path, name))}: is required" for name in names if name not in value)

    def dependencies(self, schema: Any, rules: dict[str, Any], value: Any, path: _Path, level: int) -> _Errors:
        if not isinstance(value, dict):
            return
        self._spend(len(rules))
        for name, rule in rules.items():
            if name in value and isinstance(rule, list):
                yield from self.required(schema, cast("list[str]", rule), cast("Any", value), path, level)
            elif name in value:
                yield from self.errors(rule, value, path, level + 1)

    # lists

    def items(self, schema: Any, content: Any, value: Any, path: _Path, level: int) -> _Errors:
        if isinstance(content, list):
            yield from self.prefix_items(schema, cast("list[Any]", content), value, path, level)
        elif isinstance(value, list):
            yield from self._rest(content, cast("Any", value), len(schema.get("prefixItems", ())), path, level)

    def prefix_items(self, _schema: Any, schemas: list[Any], value: Any, path: _Path, level: int) -> _Errors:
        if isinstance(value, list):
            for index, (each, item) in enumerate(zip(schemas, cast("list[Any]", value), strict=False)):
                yield from self.errors(each, item, (path, index), level + 1)

    def additional_items(self, schema: Any, content: Any, value: Any, path: _Path, level: int) -> _Errors:
        if isinstance(value, list) and isinstance(schema.get("items"), list):
            yield from self._rest(content, cast("list[Any]", value), len(schema["items"]), path, level)

    def _rest(self, schema: Any, items: list[Any], start: int, path: _Path, level: int) -> _Errors:
        for index in range(start, 0 if schema is True else len(items)):
            yield from self.errors(schema, items[index], (path, index), level + 1)

    def contains(self, schema: Any, content: Any, value: Any, path: _Path, level: int) -> _Errors:
        if isinstance(value, list):
            found = sum(self._valid(content, item, level) for item in cast("list[Any]", value))
            if not schema.get("minContains", 1) <= found <= schema.get("maxContains", found):
                yield f"{_shown(path)}: {found} of its items have the form asked for"

    def unique_items(self, _schema: Any, wanted: bool, value: Any, path: _Path, _level: int) -> _Errors:
        if wanted and isinstance(value, list):
            items = cast("list[Any]", value)
            if len({self._key(item) for item in items}) != len(items):
                yield f"{_shown(path)}: has an item twice"

    # single values

    def type(self, _schema: Any, names: str | list[str], value: Any, path: _Path, _level: int) -> _Errors:
        wanted = [names] if isinstance(names, str) else names
        if not any(_IS[name](value) for name in wanted):
            yield f"{_shown(path)}: must be {' or '.join(wanted)}, is {_type_name(value)}"

    def enum(self, _schema: Any, members: list[Any], value: Any, path: _Path, _level: int) -> _Errors:
        key = self._key(value)
        if not any(self._key(member) == key for member in members):
            yield f"{_shown(path)}: must be one of {show.value(members, max_chars=100)}"

    def const(self, _schema: Any, member: Any, value: Any, path: _Path, _level: int) -> _Errors:
        if self._key(value) != self._key(member):
            yield f"{_shown(path)}: must be {show.value(member, max_chars=100)}"

    def pattern(self, _schema: Any, pattern: str, value: Any, path: _Path, _level: int) -> _Errors:
        if isinstance(value, str) and not self._matches(pattern, value):
            yield f"{_shown(path)}: must match {show.value(pattern, max_chars=100)}"

    def multiple_of(self, _schema: Any, step: Any, value: Any, path: _Path, _level: int) -> _Errors:
        if is_number(value) and _fraction(value) % _fraction(step):
            yield f"{_shown(path)}: must be a multiple of {show.value(step, max_chars=60)}"

    def minimum(self, schema: Any, low: Any, value: Any, path: _Path, level: int) -> _Errors:
        if schema.get("exclusiveMinimum") is True:  # draft 4
            yield from self.exclusive_minimum(schema, low, value, path, level)
        elif is_number(value) and value < low:
            yield f"{_shown(path)}: must be at least {show.value(low, max_chars=60)}"

    def maximum(self, schema: Any, high: Any, value: Any, path: _Path, level: int) -> _Errors:
        if schema.get("exclusiveMaximum") is True:  # draft 4
            yield from self.exclusive_maximum(schema, high, value, path, level)
        elif is_number(value) and value > high:
            yield f"{_shown(path)}: must be at most {show.value(high, max_chars=60)}"

    def exclusive_minimum(self, _schema: Any, low: Any, value: Any, path: _Path, _level: int) -> _Errors:
        if not isinstance(low, bool) and is_number(value) and value <= low:
            yield f"{_shown(path)}: must be more than {show.value(low, max_chars=60)}"

    def exclusive_maximum(self, _schema: Any, high: Any, value: Any, path: _Path, _level: int) -> _Errors:
        if not isinstance(high, bool) and is_number(value) and value >= high:
            yield f"{_shown(path)}: must be less than {show.value(high, max_chars=60)}"

    def _matches(self, pattern: str, value: str) -> bool:
        self._spend(1 + len(value) // 1000)
        if pattern not in self._patterns:
            self._patterns[pattern] = compiled(pattern)
        regexp = self._patterns[pattern]
        try:
            return regexp is not None and regexp.search(value) is not None
        except UnicodeEncodeError:  # a lone surrogate matches nothing
            return False

    def _key(self, value: Any) -> object:
        """Equal for two values exactly where they are equal as JSON: 1 is 1.0, but not true."""
        self._spend(1)
        if isinstance(value, bool) or value is None:
            return (None, value)
        if isinstance(value, list):
            return (list, tuple([self._key(item) for item in cast("list[Any]", value)]))
        if isinstance(value, dict):
            pairs = cast("dict[str, Any]", value).items()
            return (dict, frozenset([(name, self._key(each)) for name, each in pairs]))
        return value


_KeywordCheck = Callable[[Check, Any, Any, Any, _Path, int], _Errors]


def _size(kind: type, unit: str, *, least: bool) -> _KeywordCheck:
    def check(_check: Check, _schema: Any, bound: Any, value: Any, path: _Path, _level: int) -> _Errors:
        if isinstance(value, kind) and (len(value) < bound if least else len(value) > bound):
            yield f"{_shown(path)}: must have at {'least' if least else 'most'} {bound} {unit}, has {len(value)}"

    return check


_CHECKS: dict[str, _KeywordCheck] = {
    "$ref": Check.ref,
    "allOf": Check.all_of,
    "anyOf": Check.any_of,
    "oneOf": Check.one_of,
    "not": Check.not_,
    "if": Check.if_,
    "properties": Check.properties,
    "patternProperties": Check.pattern_properties,
    "additionalProperties": Check.additional_properties,
    "propertyNames": Check.property_names,
    "required": Check.required,
    "dependencies": Check.dependencies,
    "dependentRequired": Check.dependencies,
    "dependentSchemas": Check.dependencies,
    "items": Check.items,
    "prefixItems": Check.prefix_items,
    "additionalItems": Check.additional_items,
    "contains": Check.contains,
    "uniqueItems": Check.unique_items,
    "type": Check.type,
    "enum": Check.enum,
    "const": Check.const,
    "pattern": Check.pattern,
    "multipleOf": Check.multiple_of,
    "minimum": Check.minimum,
    "maximum": Check.maximum,
    "exclusiveMinimum": Check.exclusive_minimum,
    "exclusiveMaximum": Check.exclusive_maximum,
    "minLength": _size(str, "characters", least=True),
    "maxLength": _size(str, "characters", least=False),
    "minItems": _size(list, "items", least=True),
    "maxItems": _size(list, "items", least=False),
    "minProperties": _size(dict, "names", least=True),
    "maxProperties": _size(dict, "names", least=False),
}
