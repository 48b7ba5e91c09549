"""Values that fit a schema, made out of a seed: the same seed gives the same bytes, on every machine, without a model.

Schemas are strangers': they have passed `schemas.refusal` (local `$ref` only, bounded in size and patterns) before one
is looked at, and what is made is bounded in depth, in items and in the number of values. What comes out is held against
the schema; if it does not fit, other branches are tried, and after a few attempts there is no answer rather than a
wrong one.

`given` is what is known already: a call's arguments, the thing that was asked for. Wherever the schema has a property
of that name and the value fits, it is taken. The rest follows from names and formats - `email`, `created_at`, `count` -
with the Faker library for what people would write; it is imported when the first such text is wanted.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from belljar.faker import _texts
from belljar.faker._names import words
from belljar.rpc import _checking, schemas
from belljar.rpc.world import JsonValue

__all__ = ["CannotMakeError", "Generator", "instruction_facts"]

_ATTEMPTS: Final = 6
_MAX_DEPTH: Final = 12
_MAX_VALUES: Final = 2_000
_STEPS: Final = 50_000
EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


class CannotMakeError(Exception):
    """No value was found that fits the schema."""


class Generator:
    """Makes values; `seed` and `instruction` decide which."""

    def __init__(self, seed: int, instruction: str = "") -> None:
        self._seed = seed
        self.instruction = instruction
        self._refused: dict[int, tuple[Mapping[str, JsonValue], str]] = {}

    def random(self, *about: str) -> random.Random:
        """A source of its own for what it is about: order of calls does not matter."""
        return random.Random("\0".join((str(self._seed), self.instruction, *about)))  # noqa: S311 - made up, no secret

    def fits(self, schema: Mapping[str, JsonValue], value: JsonValue) -> bool:
        """Whether the value is valid; False for a schema that cannot be used."""
        if self._refusal(schema):
            return False
        try:
            return not schemas.validate(schema, value, steps=_STEPS)
        except schemas.TooCostlyError:
            return False

    def value(
        self, schema: Mapping[str, JsonValue], about: str, given: Mapping[str, JsonValue] | None = None
    ) -> JsonValue:
        """A value that is valid against the schema.

        Raises:
            CannotMakeError: none was found, or the schema breaks a rule.
        """
        if refused := self._refusal(schema):
            raise CannotMakeError(f"its output schema cannot be used: {refused}")
        for attempt in range(_ATTEMPTS):
            source = self.random(about, str(attempt))
            # What is given may be what does not fit: the last attempts do without.
            known = {} if attempt >= _ATTEMPTS - 2 else dict(given or {})
            making = _Making(schema, source, known, self.instruction)
            value = making.value(schema, (), 0)
            if self.fits(schema, value):
                return value
        raise CannotMakeError("no answer was found that fits its output schema")

    def like(self, example: JsonValue, about: str, given: Mapping[str, JsonValue] | None = None) -> JsonValue:
        """Something of the shape of an example, with what is given in its places."""
        return _Making({}, self.random(about), dict(given or {}), self.instruction).like(example, (), 0)

    def text(self, name: str, about: str) -> str:
        """A text for a field of that name."""
        return _Making({}, self.random(about, name), {}, self.instruction).text((name,))

    def moment(self, *about: str) -> str:
        """A time of day in this world, ISO 8601."""
        return _moment(self.random(*about))

    def _refusal(self, schema: Mapping[str, JsonValue]) -> str:
        known = self._refused.get(id(schema))
        if known is None or known[0] is not schema:
            if len(self._refused) > 10_000:
                self._refused.clear()
            known = self._refused[id(schema)] = (schema, schemas.refusal(dict(schema)))
        return known[1]


def _moment(source: random.Random) -> str:
    return (EPOCH + timedelta(seconds=source.randrange(200 * 86400))).isoformat().replace("+00:00", "Z")


class _Making:
    """One value being made."""

    def __init__(
        self,
        document: Mapping[str, JsonValue],
        source: random.Random,
        given: dict[str, JsonValue],
        instruction: str,
    ) -> None:
        self._document = document
        self._random = source
        self._given = {_plain(name): value for name, value in given.items()}
        self._instruction = instruction
        self._made = 0

    # by schema

    def value(self, schema: Any, path: tuple[str, ...], depth: int) -> JsonValue:
        self._made += 1
        if not isinstance(schema, dict):
            return None if schema is False else "" if self._made > _MAX_VALUES else self.text(path)
        schema = self._resolved(cast("dict[str, Any]", schema), depth)
        if "const" in schema:
            return schema["const"]
        if 0 < len(path) <= 2 and (known := self._known(schema, path)) is not _checking.NOTHING:
            return known
        if schema.get("enum"):
            return self._random.choice(schema["enum"])
        if path and not depth > 2 and "default" in schema and self._random.random() < 0.5:
            return schema["default"]
        return self._by_type(schema, path, depth)

    def _resolved(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        """With `$ref`, `allOf` and one branch of `anyOf` and `oneOf` merged in."""
        for _ in range(20):
            if isinstance(ref := schema.get("$ref"), str):
                target = _checking.target(self._document, ref)
                rest = {key: each for key, each in schema.items() if key != "$ref"}
                schema = _merged(_schema(target), rest)
            elif schema.get("allOf"):
                rest = {key: each for key, each in schema.items() if key != "allOf"}
                for each in schema["allOf"]:
                    rest = _merged(rest, _schema(each))
                schema = rest
            elif branches := schema.get("anyOf") or schema.get("oneOf"):
                rest = {key: each for key, each in schema.items() if key not in ("anyOf", "oneOf")}
                branch = self._branch(branches, depth)
                schema = _merged(rest, _schema(branch))
            else:
                break
        return schema

    def _branch(self, branches: list[Any], depth: int) -> Any:
        """Deep down the plainest one, so that what contains itself comes to an end."""
        if depth > _MAX_DEPTH // 2:
            return min(branches, key=lambda each: _weight(each))
        real = [each for each in branches if _schema(each).get("type") != "null"]
        return self._random.choice(real or branches)

    def _by_type(self, schema: dict[str, Any], path: tuple[str, ...], depth: int) -> JsonValue:
        kind = schema.get("type") or _implied(schema)
        if isinstance(kind, list):
            kinds = [each for each in cast("list[str]", kind) if each != "null"] or ["null"]
            kind = "null" if depth > _MAX_DEPTH and "null" in schema["type"] else self._random.choice(kinds)
        match kind:
            case "object":
                return self._object(schema, path, depth)
            case "array":
                return self._array(schema, path, depth)
            case "integer" | "number":
                return self._number(schema, path, whole=kind == "integer")
            case "boolean":
                return _flag(path[-1] if path else "", self._random)
            case "null":
                return None
            case _:
                return self._string(schema, path)

    def _object(self, schema: dict[str, Any], path: tuple[str, ...], depth: int) -> JsonValue:
        properties = cast("dict[str, Any]", schema.get("properties") or {})
        required = cast("list[str]", schema.get("required") or [])
        found: dict[str, JsonValue] = {}
        for name, each in properties.items():
            again = depth >= 3 and isinstance(each, dict) and "$ref" in each
            deep = depth >= _MAX_DEPTH or self._made > _MAX_VALUES or again
            if each is not False and (name in required or not deep):
                found[name] = self.value(each, (*path, name), depth + 1)
        extra = schema.get("additionalProperties")
        for name in required:
            if name not in found:
                found[name] = self.value(extra if isinstance(extra, dict) else {}, (*path, name), depth + 1)
        if not properties and extra is not False:
            found.update({name: each for name, each in self._given.items() if not path and not isinstance(extra, dict)})
        while len(found) < schema.get("minProperties", 0) and len(found) < 100:
            name = f"field{len(found) + 1}"
            found[name] = self.value(extra if isinstance(extra, dict) else {}, (*path, name), depth + 1)
        return found

    def _array(self, schema: dict[str, Any], path: tuple[str, ...], depth: int) -> JsonValue:
        listed = cast("list[Any]", schema["items"] if isinstance(schema.get("items"), list) else [])
        first = cast("list[Any]", schema.get("prefixItems") or listed)
        items: list[JsonValue] = [self.value(each, path, depth + 1) for each in first]
        rest = (
            schema.get("items", {}) if not isinstance(schema.get("items"), list) else schema.get("additionalItems", {})
        )
        least = max(schema.get("minItems", 0), 1 if "contains" in schema else 0)
        most = min(schema.get("maxItems", 10_000), max(least, 3))
        wanted = (
            least
            if depth >= _MAX_DEPTH // 2 or self._made > _MAX_VALUES
            else max(least, min(most, 1 + self._random.randrange(3)))
        )
        if rest is False or (first and "items" not in schema):
            wanted = min(wanted, len(items)) if least <= len(items) else least
        seen: set[str] = {repr(item) for item in items}
        for _ in range(5 * max(0, min(wanted, 1_000) - len(items))):
            if len(items) >= wanted:
                break
            item = self.value(schema.get("contains") or rest, path, depth + 1)
            if not schema.get("uniqueItems") or repr(item) not in seen:
                seen.add(repr(item))
                items.append(item)
        return items

    def _number(self, schema: dict[str, Any], path: tuple[str, ...], *, whole: bool) -> JsonValue:
        low, high = schema.get("minimum"), schema.get("maximum")
        step = schema.get("multipleOf")
        if isinstance(more := schema.get("exclusiveMinimum"), int | float) and not isinstance(more, bool):
            low = more + (1 if whole else 1e-3)
        if isinstance(less := schema.get("exclusiveMaximum"), int | float) and not isinstance(less, bool):
            high = less - (1 if whole else 1e-3)
        likely = _texts.size_of(path[-1] if path else "", self._instruction)
        if low is None:
            low = 0 if high is None or high >= 0 else high - likely
        if high is None:
            high = low + likely
        if step:
            first = -(-low // step)
            number = (first + self._random.randrange(max(1, int(min((high - low) // step, 1_000)) + 1))) * step
            return int(number) if whole or float(number).is_integer() else round(number, 12)
        if whole:
            return self._random.randint(int(-(-low // 1)), max(int(-(-low // 1)), int(high // 1)))
        return round(self._random.uniform(low, high), 3)

    def _string(self, schema: dict[str, Any], path: tuple[str, ...]) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength", 10_000)
        if isinstance(pattern := schema.get("pattern"), str):
            return _texts.matching(pattern, self._random, self.text(path), least, most)
        if isinstance(form := schema.get("format"), str) and (made := _texts.of_format(form, self._random)) is not None:
            return made
        made = self.text(path)
        while len(made) < least and len(made) < 100_000:
            made += " " + (made or "text")
        return made[:most].strip() if len(made[:most].strip()) >= least else made[:most]

    # by example

    def like(self, example: JsonValue, path: tuple[str, ...], depth: int) -> JsonValue:
        self._made += 1
        if self._made > _MAX_VALUES or depth > 2 * _MAX_DEPTH:
            return example
        if path:
            given = self._given.get(_plain(path[-1]), _checking.NOTHING)
            if given is not _checking.NOTHING and (type(given) is type(example) or example is None):
                return given
        if isinstance(example, dict):
            fields = cast("dict[str, JsonValue]", example)
            return {name: self.like(each, (*path, name), depth + 1) for name, each in fields.items()}
        if isinstance(example, list):
            return [self.like(each, path, depth + 1) for each in cast("list[JsonValue]", example)[:3]]
        if isinstance(example, bool) or example is None:
            return example
        if isinstance(example, int):
            return self._random.randrange(1, max(10, 2 * abs(example)))
        if isinstance(example, float):
            return round(abs(example) * self._random.uniform(0.5, 1.5), 3)
        return _texts.like(cast("str", example), self._random, lambda: self.text(path))

    # what is known, and words

    def _known(self, schema: dict[str, Any], path: tuple[str, ...]) -> Any:
        given = self._given.get(_plain(path[-1]), _checking.NOTHING)
        if given is _checking.NOTHING or isinstance(given, dict | list) != (schema.get("type") in ("object", "array")):
            return _checking.NOTHING
        check = _checking.Check(self._document, 5_000)
        try:
            return given if next(check.errors(schema, given, None, 0), None) is None else _checking.NOTHING
        except _checking.TooCostlyError:
            return _checking.NOTHING

    def text(self, path: tuple[str, ...]) -> str:
        name = path[-1] if path else ""
        if name.lower().endswith(("_at", "at", "date", "time", "timestamp")) and _texts.is_moment(name):
            return _moment(self._random)
        return _texts.for_name(words(name), self._random, self._instruction, path[-2] if len(path) > 1 else "")


def _plain(name: str) -> str:
    return "".join(words(name))


def _merged(one: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = {**one, **other}
    for key in ("properties", "$defs", "definitions"):
        if isinstance(one.get(key), dict) and isinstance(other.get(key), dict):
            both[key] = {**one[key], **other[key]}
    if isinstance(one.get("required"), list) and isinstance(other.get("required"), list):
        both["required"] = [*one["required"], *other["required"]]
    return both


def _schema(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _implied(schema: Mapping[str, Any]) -> str:
    if "properties" in schema or "required" in schema or "additionalProperties" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    return "number" if "minimum" in schema or "maximum" in schema else "string"


def _weight(schema: Any) -> int:
    """How much a branch leads on to."""
    if not isinstance(schema, dict):
        return 0
    branch = cast("dict[str, Any]", schema)
    leads = "$ref" in branch or "properties" in branch or "items" in branch
    return 0 if branch.get("type") == "null" else 2 if leads else 1


def _flag(name: str, source: random.Random) -> bool:
    if name.lower() in (
        "success",
        "ok",
        "created",
        "updated",
        "deleted",
        "found",
        "exists",
        "enabled",
        "active",
        "acknowledged",
    ):
        return True
    if name.lower().startswith(("has_more", "hasmore", "iserror", "is_error", "truncated", "incomplete")):
        return False
    return source.random() < 0.5


def instruction_facts(instruction: str) -> dict[str, str]:
    """What an instruction asks for by its words."""
    return _texts.facts(instruction)
