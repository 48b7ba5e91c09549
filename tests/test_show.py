from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from belljar import show

ANY = st.text(st.characters(exclude_categories=()), max_size=60)
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY, inner, max_size=4),
    max_leaves=12,
)


def harmless(shown: str, spared: str = "") -> bool:
    """Nothing a terminal would act on, and nothing that cannot be seen."""
    return all(c in spared or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for c in shown)


@given(ANY, st.integers(24, 100))
@example("\x1b[2J" + BIDI + "\u2028\u2029\x7f\x9b\ud800\ue000\u200b\ufeff", 200)
@example("\u115f\u3164\u2800\ufe0f\U000e0101\U0001d159", 100)
def test_text_shows_nothing_that_acts_or_hides(s: str, limit: int) -> None:
    """Whatever goes in, one bounded line of visible characters comes out; a second time changes nothing."""
    shown = show.text(s, max_chars=limit)
    assert harmless(shown)
    assert not set(shown) & set(BIDI)
    assert len(shown) <= limit
    shown.encode()
    assert show.text(shown, max_chars=limit) == shown


@given(ANY)
def test_multiline_spares_line_feeds_and_tabs_alone(s: str) -> None:
    """Prints keep their lines; a carriage return, which rewrites a line, is shown."""
    shown = show.text(s, multiline=True)
    assert harmless(shown, "\n\t")
    assert shown.count("\n") == s.count("\n")


@pytest.mark.parametrize(
    ("s", "shown"),
    [
        ("plain", "plain"),
        ("Grüße, 世界 🔔", "Grüße, 世界 🔔"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("user\u202etxt.exe", r"user\u202etxt.exe"),
        ("one\ntwo\r\tthree", r"one\ntwo\r\tthree"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("a\u3164b\ufe0fc\u2800", r"a\u3164b\ufe0fc\u2800"),
        ("[red]x[/red]", "[red]x[/red]"),
        ("C:\\x1b", "C:\\x1b"),
        ("", ""),
    ],
)
def test_text_as_people_see_it(s: str, shown: str) -> None:
    """Ordinary text of any script stays as it is; markup of a terminal library is nothing special."""
    assert show.text(s) == shown


def test_a_cut_text_says_how_much_is_missing() -> None:
    """The count is in characters of the original, and no escape is cut in two."""
    shown = show.text("\x1b" * 50, max_chars=41)
    kept = shown.count(r"\x1b")
    assert shown == r"\x1b" * kept + f"… (+{50 - kept})"
    assert show.text("a" * 10_000_000, max_chars=30) == "a" * 10 + "… (+9999990)"


@given(ANY, ANY)
@example("a ", r"a\x20")
def test_names_that_differ_look_different(a: str, b: str) -> None:
    """A blank at the end, a letter of another script or a backslash cannot make one identifier pass for another."""
    shown_a, shown_b = show.name(a, max_chars=1000), show.name(b, max_chars=1000)
    assert shown_a.isascii()
    assert " " not in shown_a
    assert a == b or shown_a != shown_b or {a, b} == {"", "''"}


def test_look_alikes_are_seen() -> None:
    """A Cyrillic o and a trailing space stand out."""
    assert show.name("git_l\u043eg ") == r"git_l\u043eg\x20"
    assert show.name("git:git_log") == "git:git_log"
    assert len(show.name("x" * 9999)) <= 128


@given(VALUES)
def test_values_are_shown_bounded_and_safe(v: object) -> None:
    """Any value gives one bounded, visible line."""
    shown = show.value(v, max_chars=60)
    assert harmless(shown)
    assert len(shown) <= 60


def test_a_small_value_is_its_json() -> None:
    """What fits and holds nothing odd can be pasted back."""
    v = {"a": [1, 2.5, None, True], "b": "Grüße"}
    assert json.loads(show.value(v)) == v
    assert show.value(v) == '{"a":[1,2.5,null,true],"b":"Grüße"}'


def test_a_large_value_costs_what_is_shown_of_it() -> None:
    """Only the beginning is serialized: an iterator over the rest is never advanced."""

    class Endless(list[int]):
        def __iter__(self):
            yield from range(1000)
            raise AssertionError("read on")

        def __bool__(self) -> bool:
            return True

    assert show.value(Endless(), max_chars=24) == "[0,1,2,3,4,5,6,7,8,9,10…"


def test_what_is_no_json_is_shown_by_its_type() -> None:
    """Sets, cycles and huge integers end in a word, never in an exception."""
    cycle: list[object] = []
    cycle.append(cycle)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert show.value({1, 2}) == '"<set>"'
    assert show.value({(1, 2): 3}) == "{<dict>"
    assert "<list>" in show.value(cycle)
    assert show.value(10**5000) == "<int>"
    assert show.value(deep, max_chars=100) == "[" * 99 + "…"
