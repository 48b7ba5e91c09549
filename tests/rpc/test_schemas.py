"""Schemas of strangers: refused by their rule, or checked against within a budget; verdicts as `jsonschema`'s."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator

from belljar.rpc import schemas
from belljar.rpc.jsontext import JsonError
from belljar.rpc.schemas import TooCostlyError, refusal, tool_digest, validate

_DEFS = {"a": {"type": "integer"}, "b/c~d e": {"type": "string"}}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ("object", "it is not an object"),
        (True, "it is not an object"),
        ({"description": "x" * schemas.MAX_SCHEMA_BYTES}, "it has 262162 bytes, more than 262144"),
        (nested(70), "nested deeper than 64 levels, or brackets that do not match"),
        ({"$ref": "http://127.0.0.1:1/x"}, "#/$ref: must point into its own document (#/...)"),
        ({"$ref": "other.json#/a"}, "#/$ref: must point into its own document (#/...)"),
        ({"$ref": 5}, "#/$ref: must point into its own document (#/...)"),
        ({"$ref": "#anchor"}, "#/$ref: points to nothing in its document"),
        ({"$ref": "#/$defs/none"}, "#/$ref: points to nothing in its document"),
        ({"$ref": "#/x", "x": 5}, "#/x: is not a schema"),
        ({"$ref": "#/x", "x": {"pattern": "(?=a)"}}, "#/x/pattern: a pattern that cannot run in linear time (RE2)"),
        ({"$ref": "#/x", "x": {"$ref": "http://h"}}, "#/x/$ref: must point into its own document (#/...)"),
        ({"$dynamicRef": "#a"}, "#/$dynamicRef: is a keyword not supported here"),
        ({"items": {"$recursiveRef": "#"}}, "#/items/$recursiveRef: is a keyword not supported here"),
        ({"unevaluatedProperties": False}, "#/unevaluatedProperties: is a keyword not supported here"),
        ({"$schema": "http://evil.org/meta"}, "#/$schema: is no draft known here"),
        ({"properties": {"a": {"$id": "http://h/x"}}}, "#/properties/a/$id: is not supported below the root"),
        ({"type": "fruit"}, "#/type: must name types of JSON"),
        ({"type": []}, "#/type: must name types of JSON"),
        ({"type": ["string", 5]}, "#/type: must name types of JSON"),
        ({"properties": []}, "#/properties: must be an object of schemas"),
        ({"properties": {"a": 5}}, "#/properties/a: is not a schema"),
        ({"allOf": {}}, "#/allOf: must be a list of schemas"),
        ({"anyOf": [5]}, "#/anyOf/0: is not a schema"),
        ({"items": 5}, "#/items: is not a schema"),
        ({"required": "a"}, "#/required: must be a list of names"),
        ({"required": [1]}, "#/required: must be a list of names"),
        ({"enum": "a"}, "#/enum: must be a list"),
        ({"minimum": "1"}, "#/minimum: must be a number"),
        ({"maximum": True}, "#/maximum: must be a number"),
        ({"multipleOf": 0}, "#/multipleOf: must be a number greater than 0"),
        ({"minLength": -1}, "#/minLength: must be a whole number"),
        ({"maxItems": 1.5}, "#/maxItems: must be a whole number"),
        ({"uniqueItems": 1}, "#/uniqueItems: must be true or false"),
        ({"pattern": 5}, "#/pattern: must be text"),
        ({"pattern": "("}, "#/pattern: a pattern that cannot run in linear time (RE2)"),
        ({"pattern": r"(a)\1"}, "#/pattern: a pattern that cannot run in linear time (RE2)"),
        ({"pattern": "(a{1000}){1000}"}, "#/pattern: a pattern that cannot run in linear time (RE2)"),
        ({"pattern": "a" * 5000}, "#/pattern: a pattern longer than 4096 characters"),
        ({"patternProperties": {"(?!x)": {}}}, "#/patternProperties: a pattern that cannot run in linear time (RE2)"),
        ({"anyOf": [{"pattern": f"a{n}"} for n in range(201)]}, "#/anyOf/0/pattern: more than 200 patterns"),
        ({"dependentRequired": {"a": "b"}}, "#/dependentRequired/a: must be a list of names"),
        ({"dependencies": {"a": 5}}, "#/dependencies/a: is not a schema"),
        ({"a": float("nan")}, "a number that JSON cannot hold"),
    ],
)
def test_a_schema_that_breaks_a_rule_is_refused_with_the_place(schema: Any, reason: str) -> None:
    """Size, depth, references that leave the document, patterns that could run for ever, malformed keywords."""
    assert refusal(schema) == reason


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"$schema": "http://json-schema.org/draft-07/schema#", "$id": "https://h.org/x", "type": "object"},
        {"$ref": "#", "$defs": _DEFS},
        {"properties": {"pattern": {"type": "string"}, "$ref": {"type": "string"}, "enum": {}, "unevaluatedItems": {}}},
        {"enum": [{"$ref": "http://h", "pattern": "("}], "default": {"$ref": "http://h"}, "examples": [{"type": 5}]},
        {"properties": {"a": {"pattern": r"^\u0041\/[\w.\-]+(?<n>x)?$", "format": "uri"}}},
        {"x-vendor": {"type": 5}, "title": "t", "description": "d", "format": "anything"},
        {"items": [{"type": "string"}], "additionalItems": False},
    ],
)
def test_a_schema_people_write_is_taken(schema: dict[str, Any]) -> None:
    """Words of the standard may be names of properties or plain data; only places of schemas are judged."""
    assert refusal(schema) == ""


@pytest.mark.parametrize(
    ("schema", "value", "wrong"),
    [
        ({"properties": {"n": {"type": "integer"}}, "required": ["n"]}, {}, ["$.n: is required"]),
        ({"properties": {"n": {"type": "integer"}}}, {"n": "5"}, ["$.n: must be integer, is string"]),
        ({"items": {"type": ["string", "null"]}}, [None, 1], ["$[1]: must be string or null, is integer"]),
        ({"additionalProperties": False}, {"a b": 1}, ['$["a b"]: is not allowed']),
        ({"additionalProperties": False}, {"\x1b[1m": 1}, [r'$["\u001b[1m"]: is not allowed']),
        ({"enum": ["a", "b"]}, "c", ['$: must be one of ["a","b"]']),
        ({"const": {"a": 1}}, {"a": True}, ['$: must be {"a":1}']),
        ({"pattern": "^a+$"}, "b", ['$: must match "^a+$"']),
        ({"minimum": 3, "maximum": 2}, 2.5, ["$: must be at least 3", "$: must be at most 2"]),
        ({"minimum": 3, "exclusiveMinimum": True}, 3, ["$: must be more than 3"]),
        ({"minLength": 2}, "a", ["$: must have at least 2 characters, has 1"]),
        ({"maxItems": 1}, [1, 2], ["$: must have at most 1 items, has 2"]),
        ({"uniqueItems": True}, [{"a": 1, "b": [1]}, {"b": [1.0], "a": 1}], ["$: has an item twice"]),
        ({"uniqueItems": True}, [1, True, "1"], []),
        ({"multipleOf": 0.1}, 0.3, []),
        ({"multipleOf": 0.01}, 1e308, []),
        ({"multipleOf": 3}, 10**400, ["$: must be a multiple of 3"]),
        ({"anyOf": [{"type": "string"}, {"minimum": 5}]}, 3, ["$: fits none of 2 allowed forms"]),
        ({"oneOf": [{}, {"type": "integer"}]}, 3, ["$: fits 2 of 2 forms, must fit one"]),
        ({"not": {}}, 3, ["$: has a form that is not allowed"]),
        ({"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"minimum": 1}}, 0, ["$: must be at least 1"]),
        ({"propertyNames": {"pattern": "^a"}}, {"b": 1}, ["$.b: is a name that is not allowed"]),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, ["$.b: is required"]),
        ({"dependencies": {"a": {"required": ["c"]}}}, {"a": 1}, ["$.c: is required"]),
        ({"contains": {"type": "string"}, "minContains": 2}, ["a", 1], ["$: 1 of its items have the form asked for"]),
        ({"patternProperties": {"^x": {"type": "null"}}}, {"x1": 1, "y": 1}, ["$.x1: must be null, is integer"]),
        ({"$ref": "#/$defs/b~1c~0d%20e", "$defs": _DEFS}, 1, ["$: must be string, is integer"]),
        ({"$ref": "#/allOf/1", "allOf": [{}, {"type": "string"}]}, "a", []),
        ({"type": "object"}, [], ["$: must be object, is array"]),
        ({"type": "integer"}, 5.0, []),
        ({"type": "number"}, True, ["$: must be number, is boolean"]),
        ({"format": "email"}, "not one", []),
    ],
)
def test_what_is_wrong_is_said_with_its_place(schema: dict[str, Any], value: Any, wrong: list[str]) -> None:
    """F17: a missing field is named; every keyword speaks of the place, and holds no part of a value but its name."""
    assert refusal(schema) == ""
    assert validate(schema, value) == wrong


def test_a_recursive_schema_follows_its_value() -> None:
    """A tree in terms of itself: recursion as deep as the value, and no deeper."""
    tree = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}
    value: dict[str, Any] = {"children": ["leaf"]}
    for _ in range(25):
        value = {"children": [value]}
    assert refusal(tree) == ""
    (line,) = validate(tree, value)
    assert line.startswith("$.children[0].children[0]")
    assert line.endswith("must be object, is string")


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"$ref": "#"}, 1),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, 1),
        ({"$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 4} for n in range(20)} | {"d20": {}},
          "$ref": "#/$defs/d0"}, 1),
        ({"$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 4} for n in range(20)} | {"d20": False},
          "$ref": "#/$defs/d0"}, 1),
        ({"items": {"enum": [{"a": list(range(100))}] * 300}}, [{"a": 1}] * 5000),
        ({"items": {"not": {"required": [f"k{n}" for n in range(20_000)]}}}, [{}] * 1000),
        ({"items": {"properties": {f"k{n}": {} for n in range(5_000)}}}, [{f"x{n}": 1 for n in range(500)}] * 5000),
        ({"uniqueItems": True}, [[n] for n in range(300_000)]),
        ({"patternProperties": {f"a{n}": {} for n in range(200)}}, {f"b{n}": 1 for n in range(5000)}),
        ({"x" * 100_000: {}, "items": {"$ref": "#/" + "x" * 100_000}}, [1] * 100_000),
    ],
)  # fmt: skip
def test_a_schema_that_takes_for_ever_is_given_up(schema: dict[str, Any], value: Any) -> None:
    """Endless recursion, fan-out, large enums, names and patterns times large values: an error within seconds."""
    assert refusal(schema) == ""
    began = time.monotonic()
    with pytest.raises(TooCostlyError):
        validate(schema, value)
    assert time.monotonic() - began < 10


def test_a_catastrophic_pattern_is_linear() -> None:
    """`^(a+)+$` against many a's and a `!`: at once."""
    began = time.monotonic()
    assert validate({"pattern": "^(a+)+$"}, "a" * 100_000 + "!") == ['$: must match "^(a+)+$"']
    assert time.monotonic() - began < 1


def test_no_more_than_twenty_lines() -> None:
    """A value wrong in ten thousand places is not listed in full."""
    assert len(validate({"items": {"type": "string"}}, [1] * 10_000)) == 20


_NAMES = st.sampled_from(["a", "b", "c"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 2.0, "", "a", "ab", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=6,
)
_UNIQUE = st.lists(_NAMES, unique=True)
_TYPES = st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object"])


def _schemas(inner: st.SearchStrategy[Any], *, new: bool) -> st.SearchStrategy[dict[str, Any]]:
    few = st.integers(0, 2)
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": _TYPES | st.lists(_TYPES, min_size=1, max_size=2, unique=True),
        "enum": st.lists(_VALUES, min_size=1, max_size=3),
        "const": _VALUES,
        "minimum": few, "maximum": few, "exclusiveMinimum": few, "exclusiveMaximum": few,
        "multipleOf": st.integers(1, 2),
        "minLength": few, "maxLength": few, "pattern": st.sampled_from(["^a", "b$", "ab"]),
        "minItems": few, "maxItems": few, "uniqueItems": st.booleans(), "contains": inner,
        "minProperties": few, "maxProperties": few, "required": st.lists(_NAMES, max_size=2, unique=True),
        "properties": st.dictionaries(_NAMES, inner, max_size=2),
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=2),
        "additionalProperties": inner, "propertyNames": inner,
        "allOf": st.lists(inner, min_size=1, max_size=2), "anyOf": st.lists(inner, min_size=1, max_size=2),
        "oneOf": st.lists(inner, min_size=1, max_size=3), "not": inner, "if": inner, "then": inner, "else": inner,
        "$ref": st.sampled_from(["#/$defs/d", "#/$defs/e"]),
    }  # fmt: skip
    if new:
        keywords |= {"items": inner, "prefixItems": st.lists(inner, min_size=1, max_size=2), "minContains": few,
                     "dependentSchemas": st.dictionaries(_NAMES, inner, max_size=1),
                     "dependentRequired": st.dictionaries(_NAMES, _UNIQUE, max_size=1)}  # fmt: skip
    else:
        keywords |= {"items": inner | st.lists(inner, min_size=1, max_size=2), "additionalItems": inner,
                     "dependencies": st.dictionaries(_NAMES, inner | _UNIQUE, max_size=1)}  # fmt: skip
    return st.lists(st.sampled_from(sorted(keywords)), max_size=3, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: keywords[name] for name in names})
    )


def _documents(*, new: bool) -> st.SearchStrategy[dict[str, Any]]:
    dialect = "https://json-schema.org/draft/2020-12/schema" if new else "http://json-schema.org/draft-07/schema#"
    plain = st.booleans() | st.fixed_dictionaries({"type": _TYPES})
    inner = st.recursive(plain, lambda deeper: plain | _schemas(deeper, new=new), max_leaves=6)
    rest = st.fixed_dictionaries(
        {"$schema": st.just(dialect), "$defs": st.fixed_dictionaries({"d": plain, "e": plain})}
    )
    return st.tuples(_schemas(inner, new=new), rest).map(lambda parts: {**parts[0], **parts[1]})


@given(_documents(new=True), _VALUES)
def test_verdicts_agree_with_jsonschema_2020_12(schema: dict[str, Any], value: Any) -> None:
    """What that library calls valid is valid here, and the other way round."""
    assert refusal(schema) == ""
    assert (validate(schema, value) == []) == Draft202012Validator(schema).is_valid(value)


@given(_documents(new=False), _VALUES)
def test_verdicts_agree_with_jsonschema_draft_7(schema: dict[str, Any], value: Any) -> None:
    """The older dialect too: a `$ref` hides what stands beside it, `items` may be a list."""
    assert refusal(schema) == ""
    assert (validate(schema, value) == []) == Draft7Validator(schema).is_valid(value)


def test_a_digest_is_of_all_that_trust_rests_on_and_nothing_else() -> None:
    """Name, title, description, both schemas, annotations; not icons, not the order of keys."""
    tool = {"name": "t", "inputSchema": {"type": "object", "title": "x"}}
    same = {"inputSchema": {"title": "x", "type": "object"}, "name": "t", "icons": [], "_meta": {"a": 1}}
    assert tool_digest(tool) == tool_digest(same)
    changes = ({"name": "u"}, {"title": "T"}, {"description": "d"}, {"inputSchema": {}}, {"outputSchema": {}},
               {"annotations": {"readOnlyHint": True}})  # fmt: skip
    digests = {tool_digest({**tool, **change}) for change in changes} | {tool_digest(tool)}
    assert len(digests) == 7
    with pytest.raises(JsonError):
        tool_digest({"name": "\ud800"})
