"""Answers out of a session: what is matched, in which order, and what is an error."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from belljar.faker.calls import Call
from belljar.faker.sessions import Event
from belljar.faker.sessions.replayer import MISSED, MissError, Replayer
from tests.faker.sessions.making import READ


def _event(sequence: int, args: dict[str, Any], text: str, **more: Any) -> Event:
    response = {"content": [{"type": "text", "text": text}]}
    return Event(sequence, "fs", "read_file", args, response, started_at_ns=sequence * 10**9, **more)


def _text(event: Event) -> str:
    return event.response["content"][0]["text"]


_EVENTS = [
    _event(1, {"path": "/a"}, "one"),
    _event(2, {"path": "/b"}, "two"),
    _event(3, {"path": "/a"}, "three"),
]


def test_equal_calls_get_their_answers_first_in_first_out() -> None:
    """F67: the n-th call of a kind gets the n-th answer; lenient, the last one again after that, in any order."""
    replayer = Replayer(_EVENTS)
    asked = ["/b", "/a", "/a", "/a", "/b"]
    assert [_text(replayer.answer("fs", "read_file", {"path": path})) for path in asked] == [
        "two", "one", "three", "three", "two",
    ]  # fmt: skip
    assert replayer.left == 0


@pytest.mark.parametrize(
    ("recorded", "asked"),
    [
        ({"a": 1, "b": [2, {"c": None}]}, {"b": [2, {"c": None}], "a": 1}),
        ({"n": 1.0}, {"n": 1}),
        ({"é\U0001f600": "x"}, {"é\U0001f600": "x"}),
        ({"odd": "\ud800"}, {"odd": "\ud800"}),
    ],
)
def test_calls_are_matched_in_canonical_form(recorded: dict[str, Any], asked: dict[str, Any]) -> None:
    """Order of keys and the spelling of numbers make no difference."""
    assert _text(Replayer([_event(1, recorded, "x")]).answer("fs", "read_file", asked)) == "x"


@pytest.mark.parametrize("other", [{"n": "1"}, {"n": 2}, {"n": 1, "m": 1}, {}])
def test_other_arguments_are_another_call(other: dict[str, Any]) -> None:
    """What was not recorded is an error that names the call."""
    with pytest.raises(MissError, match=r"no answer was recorded for fs:read_file"):
        Replayer([_event(1, {"n": 1}, "x")]).answer("fs", "read_file", other)


def test_strict_wants_the_recorded_order_and_no_more() -> None:
    """F67: strict, a call out of order is an error that shows both, one too many as well; neither uses up an answer."""
    replayer = Replayer(_EVENTS, strict=True)
    with pytest.raises(MissError, match=r'call 1 is fs:read_file\(\{"path":"/b"\}\), the recorded one is .*"/a"'):
        replayer.answer("fs", "read_file", {"path": "/b"})
    assert [_text(replayer.answer("fs", "read_file", event.arguments)) for event in _EVENTS] == ["one", "two", "three"]
    with pytest.raises(MissError, match="all 3 recorded calls were made"):
        replayer.answer("fs", "read_file", {"path": "/a"})


def test_strict_goes_by_when_calls_were_made() -> None:
    """Two calls in flight together whose answers came the other way round are expected in the order of the calls."""
    late_answer = replace(_EVENTS[0], sequence=9)
    replayer = Replayer([_EVENTS[1], late_answer], strict=True)
    assert _text(replayer.answer("fs", "read_file", {"path": "/a"})) == "one"


def test_hostile_names_and_arguments_are_shown_escaped() -> None:
    """What a client sends back in an error cannot repaint a terminal, and is short."""
    with pytest.raises(MissError) as missed:
        Replayer([]).answer("fs", "x\x1b[2J", {"a": "\u202e" + "y" * 10_000})
    assert str(missed.value).isprintable()
    assert len(str(missed.value)) < 500


@pytest.mark.anyio
async def test_an_answer_may_take_as_long_as_it_took() -> None:
    """With timing, a recorded latency passes before the answer; without, none does."""
    for timing, least, most in ((True, 0.05, 5.0), (False, 0.0, 0.04)):
        replayer = Replayer([_event(1, {}, "x", latency_ms=60.0)], timing=timing)
        start = time.perf_counter()
        reply = await replayer.call(Call("fs", READ, {}), None)
        assert least <= time.perf_counter() - start <= most
        assert reply.source == "replay"


@pytest.mark.anyio
async def test_errors_are_replayed_as_errors_and_misses_have_a_code() -> None:
    """A recorded error of JSON-RPC comes back as it was; a call that was not recorded is code -32000."""
    error = {"code": -32602, "message": "no", "data": 1}
    failed = replace(_event(1, {}, ""), response={}, error=error)
    replayer = Replayer([failed])
    assert (await replayer.call(Call("fs", READ, {}), None)).error == error
    missed = await replayer.call(Call("fs", READ, {"other": 1}), None)
    assert missed.error is not None
    assert missed.error["code"] == MISSED
    assert missed.is_error
