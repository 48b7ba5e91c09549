"""Laws of the line reader: it does not care where bytes are cut, and never keeps more than it may."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.rpc.upstreams import _lines
from belljar.rpc.upstreams._lines import Endless, Lines, TooLong

_LIMIT = 10
_LINE = st.binary(max_size=30).map(lambda line: line.replace(b"\n", b""))


@given(st.lists(_LINE, max_size=8), st.lists(st.integers(1, 7), min_size=1))
def test_cuts_do_not_matter(lines: list[bytes], cuts: list[int]) -> None:
    """The same lines come out however the stream is cut; over the limit only size and ends are left."""
    stream = b"".join(line + b"\n" for line in lines)
    reader, got, at = Lines(lambda: _LIMIT), [], 0
    for turn in range(len(stream) + 1):
        step = cuts[turn % len(cuts)]
        got += reader.feed(stream[at : at + step])
        at += step
    assert [line if isinstance(line, bytes) else line.size for line in got] == [
        line if len(line) <= _LIMIT else len(line) for line in lines
    ]
    for line, original in zip(got, lines, strict=True):
        if isinstance(line, TooLong):
            assert line.tail == original[-_lines.ENDS :]
            assert original.startswith(line.head)


def test_a_line_over_the_limit_is_not_kept() -> None:
    """While a line is skipped, no more than the limit and one chunk is held."""
    reader = Lines(lambda: 1000)
    for _ in range(1000):
        assert list(reader.feed(b"x" * 1000)) == []
        assert len(reader._line) <= 1000
    (line,) = reader.feed(b"\n")
    assert isinstance(line, TooLong)
    assert line.size == 1_000_000


def test_a_line_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipping has an end of its own."""
    monkeypatch.setattr(_lines, "MAX_SKIPPED", 5000)
    reader = Lines(lambda: 1000)
    with pytest.raises(Endless):
        for _ in range(10):
            list(reader.feed(b"x" * 1000))


def test_the_limit_is_asked_while_a_line_grows() -> None:
    """A limit that rises before the line reaches it lets the line pass."""
    limit = [10]
    reader = Lines(lambda: limit[0])
    assert list(reader.feed(b"x" * 9)) == []
    limit[0] = 20
    assert list(reader.feed(b"x" * 9 + b"\n")) == [b"x" * 18]
