from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.errors import ConfigError
from belljar.limits import KIB, MIB, Limits

DEFAULTS = {
    "wall": 30.0,
    "call": 30.0,
    "memory": 256 * MIB,
    "code": 256 * KIB,
    "args": 4 * MIB,
    "result": 4 * MIB,
    "call_args": 4 * MIB,
    "answer": 8 * MIB,
    "tools_list": 16 * MIB,
    "tools": 10_000,
    "output": MIB,
    "calls": 1000,
    "in_flight": 64,
}


def test_defaults_are_the_documented_ones() -> None:
    """Each limit has the value the documentation promises."""
    assert {field.name: getattr(Limits(), field.name) for field in fields(Limits)} == DEFAULTS


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("wall", "1", 1.0),
        ("wall", "0.25", 0.25),
        ("wall", 2, 2.0),
        ("memory", "64MiB", 64 * MIB),
        ("memory", "1 gib", 1 << 30),
        ("code", "1.5KiB", 1536),
        ("code", 1024, 1024),
        ("calls", " 7 ", 7),
    ],
)
def test_limits_as_people_write_them(name: str, written: str | float, value: float) -> None:
    """Plain numbers are bytes, seconds or a count; sizes take units."""
    changed = Limits().with_(**{name: written})
    assert getattr(changed, name) == value
    assert type(getattr(changed, name)) is type(getattr(Limits(), name))


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("wal", "1"),
        ("wall", "1MiB"),
        ("wall", "-1"),
        ("wall", "0"),
        ("wall", "nan"),
        ("wall", "inf"),
        ("wall", "1e9"),
        ("wall", ""),
        ("memory", "1MiB"),
        ("memory", "5GiB"),
        ("memory", "64MB"),
        ("calls", "0.5"),
        ("calls", "ten"),
        ("calls", True),
    ],
)
def test_what_is_no_limit_is_refused_by_name(name: str, written: str | float) -> None:
    """The message names the limit and says what to write."""
    with pytest.raises(ConfigError) as caught:
        Limits().with_(**{name: written})
    assert name in caught.value.message


@given(st.sampled_from(sorted(DEFAULTS)), st.integers(1, 10**9))
def test_narrowing_never_widens(name: str, number: int) -> None:
    """Authority only shrinks, whatever the file says."""
    try:
        narrowed = Limits().narrowed({name: number})
    except ConfigError:
        assert name == "memory"
        return
    assert all(getattr(narrowed, field) <= default for field, default in DEFAULTS.items())
    assert getattr(narrowed, name) == min(number, DEFAULTS[name])


def test_limits_are_frozen() -> None:
    """Nothing below can change what it was given."""
    with pytest.raises(FrozenInstanceError):
        Limits().wall = 99.0  # type: ignore[misc]
