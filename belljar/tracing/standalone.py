"""Without a server, a trace is one DEBUG line of JSON on logger `belljar.trace`, and no socket is ever opened.

Whoever wants the traces of a machine that talks to nobody attaches a handler to that logger. When nobody listens,
nothing is built and nothing is serialized. What is logged is the sanitized trace, as everything that leaves a run. The
line is ASCII: what a name might hold cannot touch a terminal.
"""

from __future__ import annotations

import json
import logging

from belljar.tracing.texts import MaskedTrace

__all__ = ["LOGGER", "emit", "wanted"]

LOGGER = "belljar.trace"
"""Name of the logger."""


def wanted() -> bool:
    """Whether anybody listens: if not, the trace need not even be made."""
    return logging.getLogger(LOGGER).isEnabledFor(logging.DEBUG)


def emit(trace: MaskedTrace) -> None:
    """Log a trace's sanitized wire form, if anybody listens."""
    if wanted():
        text = trace.text
        line = text if text.isascii() and text.isprintable() else json.dumps(trace.wire(), separators=(",", ":"))
        logging.getLogger(LOGGER).debug("%s", line)
