"""A trace as text: what is written is JSON, as it was, or an error; and a long text in it is seen."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.tracing.masking.cap import MAX_TEXT_BYTES, has_long
from belljar.tracing.texts import Part, TraceTexts, decode, encode, encode_json

_texts = st.text(st.characters(exclude_categories=("Cs",)))
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts,
    lambda inner: st.lists(inner) | st.dictionaries(_texts, inner),
    max_leaves=20,
)


@given(_json)
def test_what_is_written_reads_back(value: Any) -> None:
    """Compact JSON of any value; big integers and floats are what they were."""
    assert decode(encode(value)) == decode(encode_json(value)) == json.loads(encode(value)) == value
    assert encode("a") == '"a"'


@pytest.mark.parametrize("odd", [math.nan, math.inf, UUID(int=7), datetime.now(UTC), b"bytes", {1, 2}, object()])
def test_what_is_no_json_is_refused(odd: Any) -> None:
    """NaN is not written as null, and what only a library takes for text is no text."""
    for value in (odd, [None, odd], {"a": [odd]}):
        with pytest.raises((ValueError, TypeError)):
            encode(value)


def test_lone_surrogates_pass() -> None:
    """Whoever sends bytes has to look for them."""
    assert encode(["\ud800"]) == encode_json(["\ud800"]) == '["\ud800"]'


@given(_json, st.sampled_from(["x", '"', "\\", '\\"', "\n", "\u20ac", "\U0001f600"]), st.booleans())
def test_a_long_text_is_seen_wherever_it_stands(value: Any, sign: str, as_key: bool) -> None:
    """Of any signs, in a list or as a name; nothing within the bound is taken for one."""
    long = sign * (MAX_TEXT_BYTES // len(sign.encode()) + 1)
    assert has_long(encode([value, {long: value} if as_key else [long]]))
    assert not has_long(encode([value, "x" * MAX_TEXT_BYTES]))


def test_parts_are_joined_to_one_object() -> None:
    """What the host says of an object stands beside what others do, and the notes in its metadata."""
    texts = TraceTexts(
        Part('{"intent":"x"}', ',"traceId":"1"'), [Part('{"args":[]}', "")], '{"backend":"wasm"}', {"EMAIL": 1}
    )
    assert json.loads(texts.joined()) == {
        "intent": "x",
        "traceId": "1",
        "taskResults": [{"args": []}],
        "metadata": {"backend": "wasm", "redactions": {"EMAIL": 1}, "truncated": {}},
    }
