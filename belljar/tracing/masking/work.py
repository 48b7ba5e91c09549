"""How much looking one value may cost, so that a hostile one cannot hold up a run.

Every place that looks says what it is about to spend; the sum is the same on every machine, so what is masked is, too.
Whoever has spent all gets `ExhaustedError`, and a mark stands where it could not look. A trace also keeps only so much
of what it had to look at: its cap would take the rest away anyway.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar, Token

__all__ = ["KEPT_BYTES", "LEAST_KEPT_BYTES", "ExhaustedError", "Work", "spend"]

# A unit is about a tenth of a microsecond (Xeon, 2.8 GHz): in all about half a second.
_UNITS = 4_000_000
KEPT_BYTES = 512 * 1024
"""Of a trace; twice its cap."""
LEAST_KEPT_BYTES = 16 * 1024
"""Of one of many calls: a thousand calls with their first words say more than ten in full."""

_CURRENT: ContextVar[Work | None] = ContextVar("work", default=None)


class ExhaustedError(Exception):
    """Nothing is left to look with."""


class Work:
    """What is left for one value. Within `with`, `spend` takes from it."""

    def __init__(self, units: int = _UNITS, kept: int = sys.maxsize) -> None:
        self.units = units
        self.kept = kept
        """Bytes that may still be kept."""
        self._token: Token[Work | None] | None = None

    def __enter__(self) -> Work:
        self._token = _CURRENT.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _CURRENT.reset(self._token)


def spend(units: int) -> None:
    """Say what the next look costs.

    Raises:
        ExhaustedError: more than is left.
    """
    work = _CURRENT.get()
    if work is not None:
        work.units -= units
        if work.units < 0:
            raise ExhaustedError
