"""The quick reader of `belljar run` and the declared options say the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.cli import _app, _running, _words

_VALUES = st.sampled_from(["", "x", "a=b", "-c", "--json", "-1", "--", "x y", "é"])
_OPTIONS = """
    -c --servers --args --backend --keep-files --world --intent --workflow --config --arg --allow --auto --deny --limit
    --waive
"""
_WORD = (
    st.tuples(st.sampled_from(_OPTIONS.split()), _VALUES).map(list)
    | st.tuples(st.sampled_from(_OPTIONS.split()[1:]), _VALUES).map(lambda pair: ["=".join(pair)])
    | st.sampled_from(
        ["--install", "--debug", "--json", "file.py", "-x", "--", "--jso", "-cx", "--json=1", "-", "-c"]
    ).map(lambda w: [w])
)


@pytest.fixture(scope="module")
def wanted() -> Any:
    """What the declared options make of some words; None if they complain."""
    patch = pytest.MonkeyPatch()
    seen: list[Any] = []
    patch.setattr(_running, "run", lambda wanted: seen.append(wanted) or 0)

    def read(words: list[str]) -> Any:
        seen.clear()
        _app.call(["run", *words])
        return seen[0] if seen else None

    yield read
    patch.undo()


@given(words=st.lists(_WORD, max_size=5).map(lambda parts: [word for part in parts for word in part]))
def test_both_readers_agree(wanted: Any, words: list[str]) -> None:
    """Whatever the quick reader takes, the other one takes for the same."""
    found = _words.read(words)
    if found is not None:
        assert _running.Wanted.of(**found) == wanted(words)


def test_the_quick_reader_knows_every_option(wanted: Any) -> None:
    """A new option that it does not know would make each run slow that uses it."""
    words = [word for option in _OPTIONS.split() for word in (option, "v")] + ["--install", "--debug", "--json", "file"]
    found = _words.read(words)
    assert found is not None
    assert len(found) == len(_running.Wanted.__dataclass_fields__)
    assert _running.Wanted.of(**found) == wanted(words)
