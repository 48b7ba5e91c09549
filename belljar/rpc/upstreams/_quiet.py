"""Keeps the client library's own log lines out of the log while it works for us.

It logs whole messages at DEBUG and URLs at INFO - arguments, headers, tokens - and tracebacks at ERROR, which land on
stderr where no logging is configured. Whatever matters of it reaches people through our errors. Its loggers belong to
the process, not to us: another user of the library keeps its lines, because the filter only acts where `quiet` is on,
in the tasks that work for one of our connections.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["install", "quiet"]

_quiet: ContextVar[bool] = ContextVar("belljar_quiet", default=False)
# `client` is what mcp.client.session calls its logger.
_PACKAGES = ("mcp", "httpx2", "httpcore2", "client")


@contextmanager
def quiet() -> Generator[None]:
    """Within, and in tasks started within, the library logs nothing."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


def _keeps(_record: logging.LogRecord) -> bool:
    return not _quiet.get()


def install() -> None:
    """Teach the library's loggers to be quiet; those that exist now, so call it after its import."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in _PACKAGES:
            logging.getLogger(name).addFilter(_keeps)
