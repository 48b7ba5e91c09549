"""Logs: one JSON object a line on standard error, for whoever collects them.

What a request carried is in none of them - no body, no query, no header, no key - only what happened: the route, the
status, how long, whose key by its id. Text that is not ours is shown (`belljar.show`), and JSON in ASCII is what is
written, so that no line can touch a terminal or pass for two.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

from belljar import show

__all__ = ["EVENTS", "configure", "event"]

EVENTS = "belljar.server"
"""The logger of what happens here."""

_MAX_CHARS = 2000
# What a library says about itself may matter to who runs the server, from this level on.
_LIBRARIES = ("uvicorn", "sqlalchemy", "alembic", "py.warnings")


def configure(stream: TextIO | None = None, *, debug: bool = False) -> None:
    """Write what happens to `stream` (standard error), as JSON lines, and nothing twice."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(_Lines())
    for name, level in (
        (EVENTS, logging.DEBUG if debug else logging.INFO),
        *((n, logging.WARNING) for n in _LIBRARIES),
    ):
        logger = logging.getLogger(name)
        for old in [h for h in logger.handlers if isinstance(h.formatter, _Lines)]:
            logger.removeHandler(old)
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False


def event(name: str, *, level: int = logging.INFO, exc: BaseException | None = None, **fields: Any) -> None:
    """Log that something happened. `fields` are numbers, booleans and short texts; None is left out."""
    logger = logging.getLogger(EVENTS)
    if logger.isEnabledFor(level):
        logger.log(level, name, extra={"fields": {k: v for k, v in fields.items() if v is not None}}, exc_info=exc)


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": at, "level": record.levelname.lower(), "event": _event(record)}
        fields: dict[str, Any] = getattr(record, "fields", {})
        line |= {name: _shown(value) for name, value in fields.items()}
        if record.exc_info and record.exc_info[1] is not None:
            line |= _error(record.exc_info[1])
        return json.dumps(line, separators=(",", ":"))


def _event(record: logging.LogRecord) -> str:
    if record.name == EVENTS:
        return record.getMessage()
    return show.text(f"{record.name}: {record.getMessage()}", max_chars=_MAX_CHARS)


def _shown(value: Any) -> Any:
    return value if isinstance(value, int | float) else show.text(str(value), max_chars=_MAX_CHARS)


def _error(exc: BaseException) -> dict[str, Any]:
    """Its type and where it came from. Not its message: a database's error quotes the values it did not like."""
    frames = traceback.extract_tb(exc.__traceback__)
    places = [f"{frame.name} ({frame.filename.rpartition('/')[2]}:{frame.lineno})" for frame in frames[-12:]]
    return {"error": type(exc).__qualname__, "at": places}
