"""Strict JSON text: what is refused, what makes the way back, and RFC 8785 against an independent implementation."""

from __future__ import annotations

import json
import math
import struct
import sys
import time
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from belljar.limits import MAX_JSON_DEPTH, MIB
from belljar.rpc.jsontext import (
    MAX_CONTAINERS,
    JsonError,
    canonical,
    compact,
    dump,
    parse,
    sha256,
    size,
    text_value_sha256,
)

BIG = 64 * MIB
DOUBLES = 2**53 - 1

texts = st.text(st.characters(exclude_categories=("Cs",)))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=20)


def reason(text: str | bytes, **bounds: Any) -> str:
    with pytest.raises(JsonError) as caught:
        parse(text, **{"max_bytes": BIG, **bounds})
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a":1,"a":1}', "key twice"),
        ('{"a":1,"\\u0061":2}', "key twice"),
        ('[{"b":{"a":1,"a":2}}]', "key twice"),
        ("NaN", "NaN"),
        ("[-Infinity]", "NaN"),
        ("1e999", "range of a double"),
        ("-1e999", "range of a double"),
        ("1" * 10_000, "longer than"),
        ("-" + "1" * 10_000, "longer than"),
        ("0." + "1" * 10_000, "longer than"),
        ('"\\ud800"', "surrogate"),
        ('{"\\uDFFF":1}', "surrogate"),
        ('["\\ud83dx"]', "surrogate"),
        ("\ud800", "surrogate"),
        ('"\ud800"', "surrogate"),
        (b"\xff", "UTF-8"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        ("\ufeff{}", "Expecting value"),
        (b"\xef\xbb\xbf{}", "Expecting value"),
        ("", "Expecting value"),
        ("{} {}", "Extra data"),
        ("[1,]", "line 1 column"),
        ("{'a':1}", "line 1 column"),
        ('"a\nb"', "control character"),
        ("01", "Extra data"),
        ("[" * 40 + "}" * 40, "Expecting value"),
        ("[" * 80 + "}" * 70, "brackets"),
    ],
)
def test_refuses(text: str | bytes, said: str) -> None:
    """What is not RFC 8259 JSON, or reads differently to different readers, is refused with a one-line reason."""
    assert said in reason(text)


def test_says_nothing_of_the_content() -> None:
    """A reason never carries the text it is about."""
    for text in ('{"hunter2":1,"hunter2":2}', '["hunter2', '{"hunter2" hunter2}', "[hunter2]"):
        assert "hunter2" not in reason(text)


@pytest.mark.parametrize("opening", ["[", '{"":', '{"\\\\":', '{"\\"]":', "[ ", '["]",'])
def test_depth(opening: str) -> None:
    """G: depth is bounded exactly, whatever the brackets look like, brackets in strings not counted."""
    closing = "]" if opening.startswith("[") else "}"
    leaf = "1" if opening != '["]",' else '"]]]][[[[{{{"'

    def deep(levels: int) -> str:
        return opening * levels + leaf + closing * levels

    parse(deep(MAX_JSON_DEPTH), max_bytes=BIG)
    assert "deeper" in reason(deep(MAX_JSON_DEPTH + 1))
    assert "deeper" in reason(deep(10_000))
    reason(opening * 10**6)
    assert "deeper" in reason(deep(3), max_depth=2)


def test_brackets_in_strings_are_text() -> None:
    """A string may hold any number of brackets, quotes and backslashes."""
    for text in ("[" * 1000, "{\\" * 1000, '["' * 1000, "\\" * 999 + '"' + "[" * 999):
        assert parse(json.dumps({"a": text}), max_bytes=BIG) == {"a": text}


def test_bounds() -> None:
    """Size counts UTF-8 bytes; lists and objects are counted, so that a small text cannot fill the memory."""
    assert parse('"\u20ac"', max_bytes=5) == "\u20ac"
    assert "longer than 4 bytes" in reason('"\u20ac"', max_bytes=4)
    assert "longer than 4 bytes" in reason('"\u20ac"'.encode(), max_bytes=4)
    parse("[" + ",".join(["[]"] * (MAX_CONTAINERS - 1)) + "]", max_bytes=BIG)
    assert "lists and objects" in reason("[" + ",".join(["{}"] * MAX_CONTAINERS) + "]")


def test_hostile_text_costs_time_in_proportion() -> None:
    """F: 8 MiB of the worst texts are refused or read in seconds at most, not hours."""
    started = time.perf_counter()
    mib = 8 * MIB
    for text in (
        "[" * mib,
        "[]" * (mib // 2),
        ("[" * 64 + "]" * 64 + ",") * (mib // 129),
        '"' * mib,
        "\\" * mib,
        "1" * mib,
    ):
        reason(text)
    parse(json.dumps("1" * mib), max_bytes=BIG)
    assert time.perf_counter() - started < 20


@given(nested(scalars))
def test_round_trip(value: Any) -> None:
    """What `dump` writes `parse` reads back equal, and as UTF-8 bytes too."""
    text = dump(value)
    assert parse(text, max_bytes=BIG) == value
    assert parse(text.encode(), max_bytes=size(text)) == value


@given(st.text())
def test_any_text_is_a_value_or_a_json_error(text: str) -> None:
    """`parse` raises nothing but JsonError, and takes nothing that the standard library refuses."""
    try:
        value = parse(text, max_bytes=BIG)
    except JsonError:
        return
    assert json.loads(text) == value


def test_dump_refuses() -> None:
    """`dump` writes only what is JSON and what `parse` takes back."""
    cycle: list[Any] = []
    cycle.append(cycle)
    deep: Any = 1
    for _ in range(MAX_JSON_DEPTH + 1):
        deep = [deep]
    bottomless: Any = 1
    for _ in range(100_000):
        bottomless = [bottomless]
    for value in (math.nan, math.inf, {1, 2}, b"x", object(), "\ud800", {"\udc00": 1}, cycle, deep, bottomless):
        with pytest.raises(JsonError):
            dump(value)
    if 0 < sys.get_int_max_str_digits() <= 4300:
        with pytest.raises(JsonError):
            dump(10**4300)


# Canonical form

safe_integers = st.integers(-DOUBLES, DOUBLES)


@given(nested(st.none() | st.booleans() | safe_integers | st.floats(allow_nan=False, allow_infinity=False) | texts))
def test_canonical_is_rfc_8785(value: Any) -> None:
    """The canonical form is, byte for byte, what an independent implementation of RFC 8785 writes."""
    assert canonical(value) == rfc8785.dumps(value)


@given(st.integers(0, 2**64 - 1))
def test_every_double(bits: int) -> None:
    """Doubles of any bit pattern are written as ECMAScript writes them."""
    number = struct.unpack("<d", bits.to_bytes(8, "little"))[0]
    if math.isfinite(number):
        assert canonical(number) == rfc8785.dumps(number)
        assert canonical({"a": [number]}) == rfc8785.dumps({"a": [number]})


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0.0, b"0"),
        (-0.0, b"0"),
        (5e-324, b"5e-324"),
        (-1.7976931348623157e308, b"-1.7976931348623157e+308"),
        (1e21, b"1e+21"),
        (999999999999999900000.0, b"999999999999999900000"),
        (1e-6, b"0.000001"),
        (1e-7, b"1e-7"),
        (333333333.33333329, b"333333333.3333333"),
        (9007199254740992.0, b"9007199254740992"),
        (295147905179352830000.0, b"295147905179352830000"),
    ],
)
def test_numbers_of_the_rfc(number: float, written: bytes) -> None:
    """The samples of RFC 8785, appendix B."""
    assert canonical(number) == written


@given(nested(scalars), st.booleans(), st.sampled_from([None, 1]))
def test_the_quick_ways_are_the_slow_ones(value: Any, ascii_only: bool, indent: int | None) -> None:
    """A text's compact form is what `dump` writes, and its value's hash is `sha256`, however the text is written."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert compact(text, max_bytes=BIG) == dump(value)
    assert compact(dump(value), max_bytes=BIG) == dump(value)
    assert text_value_sha256(text, max_bytes=BIG) == text_value_sha256(dump(value), max_bytes=BIG) == sha256(value)


@pytest.mark.parametrize(
    "text",
    [
        '"\\u0041KIA"',
        '"a\\/b"',
        "[1 ,2]",
        "1.50",
        "1e2",
        "-0",
        '"\\ud83d\\ude00"',
        str(2**64),
        '["\\\\u0041"]',
        '"\x7f"',
    ],
)
def test_odd_forms_of_a_text(text: str) -> None:
    """Escapes, blanks and numbers that need not be so are written as `dump` does, and hashed as what they mean."""
    value = json.loads(text)
    assert json.loads(compact(text, max_bytes=BIG)) == value
    assert text == "-0" or compact(text, max_bytes=BIG) == dump(value)
    assert text_value_sha256(text, max_bytes=BIG) == sha256(value)


def test_canonical_ignores_order_and_form_but_not_ids() -> None:
    """Equal documents hash alike however written; integers beyond 2^53 stay apart."""
    assert sha256({"b": 1, "a": [1.0, 1e2]}) == sha256({"a": [1, 100], "b": 1})
    assert canonical({"\U0001f600": 1, "\uffee": 2}) == '{"\U0001f600":1,"\uffee":2}'.encode()
    assert canonical([2**53, 2**53 + 1]) == b"[9007199254740992,9007199254740993]"
    assert sha256({"id": 2**53}) != sha256({"id": 2**53 + 1})
    assert canonical(["a:1.5", "x"]) == b'["a:1.5","x"]'


@given(nested(scalars))
def test_canonical_survives_a_round_trip(value: Any) -> None:
    """Parsing the canonical form and writing it again changes nothing."""
    once = canonical(value)
    assert canonical(parse(once, max_bytes=BIG)) == once


def test_canonical_refuses_what_is_not_json() -> None:
    """The canonical form exists for JSON values only."""
    for value in (math.nan, [math.inf], {1, 2}, "\ud800", [1.5, "\ud800"], {1: 1, "a": 2}):
        with pytest.raises(JsonError):
            canonical(value)
