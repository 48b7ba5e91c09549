"""OpenTelemetry for one call of the program, if the standard `OTEL_*` variables ask for it.

They are often set for a whole machine, so what they ask for in vain - an exporter that is not installed - is one line
of warning and no reason not to run. At the end the collector gets as long as the server of the traces does, and at the
same time.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from belljar.cli import _screen
from belljar.errors import ConfigError

if TYPE_CHECKING:
    from belljar.tracing.otel import Telemetry

__all__ = ["Ending", "telemetry"]


def telemetry() -> Telemetry | None:
    """What the environment asks for; None if that is nothing, or cannot be had."""
    if not any(name.startswith("OTEL_") for name in os.environ):
        return None
    from belljar.tracing.otel import Telemetry

    try:
        return Telemetry.from_environment(os.environ)
    except ConfigError as exc:
        _screen.note(f"belljar: warning: {exc.message}")
        return None


class Ending:
    """Ends telemetry while the jar ends: `with` it around the jar, `begin` when nothing is to come any more."""

    def __init__(self, telemetry: Telemetry | None, seconds: float) -> None:
        self._telemetry = telemetry
        self._seconds = seconds
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Ending:
        return self

    def begin(self) -> None:
        """Export what there is, in a thread."""
        if self._telemetry is not None:
            self._thread = threading.Thread(target=self._telemetry.shutdown, args=(self._seconds,), daemon=True)
            self._thread.start()

    def __exit__(self, *_exc: object) -> None:
        if self._thread is not None:
            self._thread.join(self._seconds)
