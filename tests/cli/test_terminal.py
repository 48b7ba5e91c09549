"""A person at a terminal, played through a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import select
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.conftest import Belljar

_DEADLINE_S = 30.0
_PROMPT = "[o]nce / [a]lways / [d]eny: "


class _Terminal:
    """The program on a terminal; reads what it shows, types what is to be typed."""

    def __init__(self, belljar: Belljar, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = belljar.start(*words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        self.seen = ""

    def until(self, text: str, times: int = 1) -> None:
        """Read until this was shown, so often."""
        deadline = time.monotonic() + _DEADLINE_S
        while self.seen.count(text) < times:
            assert time.monotonic() < deadline, f"{text!r} was not shown: {self.seen!r}"
            if not self._read():
                assert self.seen.count(text) >= times, self.seen
                return

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self) -> int:
        """Read the rest; the exit status."""
        deadline = time.monotonic() + _DEADLINE_S
        while self._read():
            assert time.monotonic() < deadline, f"it does not end: {self.seen!r}"
        os.close(self._ours)
        return self.process.wait(20)

    def _read(self) -> bool:
        if not select.select([self._ours], [], [], 1.0)[0]:
            return True
        try:
            data = os.read(self._ours, 1 << 16)
        except OSError:  # Linux says so when the last one that held the other side is gone
            return False
        self.seen += data.decode("utf-8", "replace")
        return bool(data)


def _ask(belljar: Belljar, server: Callable[..., Any], code: str) -> _Terminal:
    terminal = _Terminal(belljar, "run", "-c", code, "--servers", belljar.servers(s=server("answers")))
    terminal.until(_PROMPT)
    return terminal


def test_once_is_once(belljar: Belljar, server: Callable[..., Any]) -> None:
    """The complete arguments are shown, escaped; a yes is for one call, so the second is asked about again."""
    code = "[await mcp.s.json(text=t) for t in ('1', '\\x1b[2J' + 'y' * 3000)]"
    terminal = _ask(belljar, server, code)
    assert "s:json" in terminal.seen
    assert '{"text":"1"}' in terminal.seen
    assert "the tool json" in terminal.seen
    terminal.type("o\n")
    # Not before it asks: what was typed earlier is no answer.
    terminal.until(_PROMPT, times=2)
    assert "y" * 3000 in terminal.seen
    assert "\x1b[2J" not in terminal.seen
    terminal.type("nonsense\no\n")
    assert terminal.end() == 0
    assert terminal.seen.count("wants to call") == 2


def test_always_asks_no_more_in_this_run(belljar: Belljar, server: Callable[..., Any]) -> None:
    """And says how to allow it in every run, where trust cannot."""
    terminal = _ask(belljar, server, "[await mcp.s.wrapped() for _ in range(3)]")
    terminal.type("a\n")
    assert terminal.end() == 0
    assert terminal.seen.count("wants to call") == 1
    assert 'allow = ["s:wrapped"]' in terminal.seen


@pytest.mark.parametrize(
    ("typed", "status", "code"), [("d\n", 1, "PERMISSION_DENIED"), ("\x04", 3, "APPROVAL_REQUIRED")]
)
def test_no_and_nobody(belljar: Belljar, server: Callable[..., Any], typed: str, status: int, code: str) -> None:
    """A no is PERMISSION_DENIED; the end of input is nobody there."""
    terminal = _ask(belljar, server, "await mcp.s.wrapped()")
    terminal.type(typed)
    assert terminal.end() == status
    assert f"belljar: {code}: " in terminal.seen


def test_ctrl_c_at_the_question(belljar: Belljar, server: Callable[..., Any]) -> None:
    """Ends the run within 2 s."""
    terminal = _ask(belljar, server, "await mcp.s.wrapped()")
    began = time.monotonic()
    terminal.process.send_signal(2)
    assert terminal.end() == 130
    assert time.monotonic() - began < 2


def test_what_is_typed_ahead_is_no_answer(belljar: Belljar, server: Callable[..., Any]) -> None:
    """A yes that was typed before there was a question is dropped."""
    terminal = _Terminal(
        belljar, "run", "-c", "await mcp.s.wrapped()", "--servers", belljar.servers(s=server("answers"))
    )
    terminal.type("o\n")
    terminal.until("eny: ")
    terminal.type("d\n")
    assert terminal.end() == 1
    assert "PERMISSION_DENIED" in terminal.seen


def test_calls_are_shown_as_they_happen(belljar: Belljar, server: Callable[..., Any]) -> None:
    """A line when a call goes out, one when it is answered."""
    servers = belljar.servers(s=server("answers"))
    terminal = _Terminal(belljar, "run", "-c", "await mcp.s.wrapped()", "--servers", servers, "--allow", "*")
    assert terminal.end() == 0
    assert "> 1 s:wrapped (line 1)" in terminal.seen
    assert "< 1 s:wrapped applied" in terminal.seen
