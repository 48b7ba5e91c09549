"""How a failed capability is reported: a code, one line, and a traceback of its own frames only.

Ours are left out: they say nothing about the capability, and a reader would look for the fault in the wrong place.
Exceptions are the capability's objects, so their `__str__` may lie, loop or raise; the host's deadline covers the loop.
"""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Any

from .seam import CAPABILITY_FILE
from .wire import ToolError

__all__ = ["NotJson", "describe"]

_MAX_MESSAGE = 8 << 10
_MAX_TRACEBACK = 32 << 10


class NotJson(Exception):
    """The result is not a JSON value."""


def describe(exc: BaseException) -> dict[str, Any]:
    """The fault as the fields of a `Fault` message."""
    if isinstance(exc, MemoryError):
        return _out_of_memory(exc)
    if isinstance(exc, NotJson):
        return _fault("RESULT_NOT_JSON", str(exc))
    if isinstance(exc, SyntaxError) and exc.filename == CAPABILITY_FILE:
        return _syntax_error(exc)
    line = _own_line(exc.__traceback__)
    if isinstance(exc, ToolError):
        return _fault(_text(exc.code), _text(exc.message), _traceback(exc), line)
    if isinstance(exc, SystemExit):
        message = f"the capability called sys.exit({_text(exc.code)}); return a value or raise an exception instead"
        return _fault("CAPABILITY_ERROR", message, _traceback(exc), line)
    return _fault("CAPABILITY_ERROR", _one_line(exc), _traceback(exc), line)


def _fault(code: str, message: str, trace: str = "", line: int = 0) -> dict[str, Any]:
    return {"code": code, "message": message[:_MAX_MESSAGE], "traceback": trace[:_MAX_TRACEBACK], "line": line}


def _out_of_memory(exc: MemoryError) -> dict[str, Any]:
    line = _own_line(exc.__traceback__)
    exc.__traceback__ = None  # lets go of the frames, and with them of what filled the memory
    return _fault("MEMORY_LIMIT", "the capability needs more memory than its limit", "", line)


def _syntax_error(exc: SyntaxError) -> dict[str, Any]:
    where = f"line {exc.lineno}: " if exc.lineno else ""
    shown = "".join(traceback.format_exception_only(exc))
    return _fault("SYNTAX_ERROR", where + _text(exc.msg), shown, exc.lineno or 0)


def _text(value: object) -> str:
    try:
        text = str(value)
    except BaseException:
        return "<unprintable>"
    return text.encode("utf-8", "backslashreplace").decode()


def _one_line(exc: BaseException) -> str:
    text = _text(exc)
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__


def _own_line(trace: TracebackType | None) -> int:
    line = 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == CAPABILITY_FILE:
            line = trace.tb_lineno or 0
        trace = trace.tb_next
    return line


def _traceback(exc: BaseException) -> str:
    try:
        shown = traceback.TracebackException.from_exception(exc, limit=-50)
        _keep_own_frames(shown)
        return _text("".join(shown.format()))
    except BaseException:
        return ""


def _keep_own_frames(shown: traceback.TracebackException) -> None:
    seen: set[int] = set()
    queue = [shown]
    while queue:
        part = queue.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        part.stack[:] = [frame for frame in part.stack if frame.filename == CAPABILITY_FILE]
        queue += [p for p in (part.__cause__, part.__context__, *(part.exceptions or ())) if p is not None]
