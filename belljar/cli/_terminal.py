"""A person at a terminal: sees the calls as they happen, and is asked where the policy says so.

Everything shown is foreign text: names, descriptions, arguments. The question comes last and by itself, below arguments
of any length, and what was typed before it was asked is no answer to it.
"""

from __future__ import annotations

import os
import sys
import termios
from contextlib import suppress

import anyio

from belljar import show
from belljar.cli import _screen
from belljar.rpc.approval import ApprovalRequest, Word
from belljar.rpc.record import CallRecord

__all__ = ["LiveCalls", "TerminalApprover"]

_STDIN = 0
_LINE_BYTES = 1024
_WORDS: dict[str, Word] = {"o": "once", "once": "once", "a": "always", "always": "always", "d": "deny", "deny": "deny"}


class LiveCalls:
    """A `CallObserver` that prints a line when a call goes out and one when it is answered."""

    def started(self, record: CallRecord) -> None:
        where = f" (line {record.line})" if record.line else ""
        _screen.note(f"  > {record.call_id} {_name(record)}{where}")

    def ended(self, record: CallRecord) -> None:
        took = "" if record.duration_ms is None else f" {record.duration_ms:.1f} ms"
        why = "" if record.error_code is None else f" {record.error_code}"
        _screen.note(f"  < {record.call_id} {_name(record)} {record.state}{took}{why}")


class TerminalApprover:
    """An `Approver` that asks on standard error and reads standard input; both must be a terminal."""

    async def ask(self, request: ApprovalRequest) -> Word | None:
        tool = request.tool
        shown = f"{show.name(tool.server)}:{show.name(tool.name)}"
        where = f" at line {request.line}" if request.line else ""
        _screen.note(f"\nThe capability wants to call {shown}{where} ({show.text(request.rule)})")
        _screen.note(f"  server     {show.name(tool.server)}")
        _screen.note(f"  tool       {show.name(tool.name)}")
        _screen.note(f"  it says    {show.text(tool.description or '-', max_chars=500)}")
        _screen.note(f"  arguments  {show.text(request.args, max_chars=12 * len(request.args) + 24)}")
        with suppress(termios.error):
            termios.tcflush(_STDIN, termios.TCIFLUSH)
        while True:
            print(f"Allow {shown}? [o]nce / [a]lways / [d]eny: ", end="", file=sys.stderr, flush=True)
            line = await _read_line()
            if not line:
                return None  # end of input: nobody is there any more
            word = _WORDS.get(line.strip().lower())
            if word is not None:
                return word


async def _read_line() -> str:
    """A line as the terminal gives it, or nothing at the end of input. Waiting can be cancelled."""
    await anyio.wait_readable(_STDIN)
    return os.read(_STDIN, _LINE_BYTES).decode("utf-8", "replace")


def _name(record: CallRecord) -> str:
    return f"{show.name(record.server)}:{show.name(record.tool)}"
