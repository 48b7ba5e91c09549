"""Where the trace of a finished run goes: into the spool and on to a server, or into the debug log.

One of the two, decided when the jar is opened. Without a server nothing of a network is even imported. Traces of a
machine that keeps raw recordings (`tracing.raw`) stay here, whatever server is named.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from belljar.config import TracingConfig
from belljar.tracing import standalone
from belljar.tracing.texts import MaskedTrace

if TYPE_CHECKING:
    from belljar.tracing.spool import SpoolLimits, SpoolWriter
    from belljar.tracing.syncer import SyncerProcess, SyncSettings

_log = logging.getLogger("belljar.tracing")

__all__ = ["TraceSink", "open_sink", "pseudonym_key", "spool_limits", "sync_settings"]


class TraceSink:
    """Takes traces as they become ready. The trace is made in `take`: a long one belongs into a thread."""

    def __init__(
        self, *, enabled: bool = True, writer: SpoolWriter | None = None, syncer: SyncerProcess | None = None
    ) -> None:
        self._enabled = enabled
        self._writer = writer
        self._syncer = syncer

    @property
    def wanted(self) -> bool:
        """Whether anybody wants a trace: if not, it need not even be made."""
        return self._writer is not None or (self._enabled and standalone.wanted())

    @property
    def is_append(self) -> bool:
        """Whether taking a trace is one append to the spool, and no foreign handler of a log is called."""
        return self._writer is not None and not standalone.wanted()

    def take(self, make: Callable[[], tuple[MaskedTrace, float]]) -> None:
        """Take the trace that `make` makes, and the seconds that took. Then it is captured; what is lost is counted."""
        trace, seconds = make()
        if self._writer is not None:
            self._writer.append(trace, cost_us=round(seconds * 1e6))
        if self._syncer is not None:
            self._syncer.nudge()
        if self._enabled:
            standalone.emit(trace)


@asynccontextmanager
async def open_sink(
    tracing: TracingConfig, state: Path, *, known: Iterable[str] = (), pseudonym_key: bytes | None = None
) -> AsyncGenerator[TraceSink]:
    """The sink for the length of the block. Leaving it takes `tracing.exit_flush_s` at most.

    Args:
        state: the folder in which the spool is.
        known: secrets this process loaded.
        pseudonym_key: as the sanitizer's.
    """
    settings = sync_settings(tracing, state, known=known, pseudonym_key=pseudonym_key)
    if settings is None or not tracing.enabled or tracing.raw:
        yield TraceSink(enabled=tracing.enabled)
        return
    from belljar.tracing.destination import Destination
    from belljar.tracing.sanitizer import VERSION
    from belljar.tracing.spool import SpoolWriter
    from belljar.tracing.syncer import SyncerProcess

    destination = Destination.of(settings.cloud_url, settings.api_key)
    writer = SpoolWriter(settings.spool_root, destination, settings.limits, sanitizer_version=VERSION)
    async with SyncerProcess(settings) as syncer:
        try:
            yield TraceSink(writer=writer, syncer=syncer)
        finally:
            writer.close()
            _tell_losses(writer)


def _tell_losses(writer: SpoolWriter) -> None:
    """What could not be written down, not even as a number somebody will read later, is said now."""
    lost = {name.removeprefix("dropped."): n for name, n in writer.counters.items() if name.startswith("dropped.")}
    if lost:
        reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(lost.items()))
        _log.warning("traces of this program were lost (%s): the spool is %s", reasons, writer.folder)


def sync_settings(
    tracing: TracingConfig, state: Path, *, known: Iterable[str] = (), pseudonym_key: bytes | None = None
) -> SyncSettings | None:
    """What the syncer is told; None without a server."""
    if tracing.cloud_url is None:
        return None
    from belljar.tracing.syncer import SyncSettings

    return SyncSettings(
        spool_root=state / "spool",
        cloud_url=tracing.cloud_url,
        api_key=tracing.api_key,
        batch_size=tracing.batch_size,
        flush_interval_s=tracing.flush_interval_s,
        max_retries=tracing.max_retries,
        exit_flush_s=tracing.exit_flush_s,
        limits=spool_limits(tracing),
        known=frozenset(known),
        pseudonym_key=pseudonym_key,
        spacy_model=tracing.spacy_model,
    )


def pseudonym_key(tracing: TracingConfig, state: Path) -> bytes | None:
    """The key of this user's pseudonyms, if pseudonyms are wanted.

    Raises:
        ConfigError: it cannot be used.
    """
    if not tracing.pseudonyms:
        return None
    from belljar.tracing.pseudonyms import load_or_make

    return load_or_make(state / "pseudonym.key")


def spool_limits(tracing: TracingConfig) -> SpoolLimits:
    """What may wait in the spool."""
    from belljar.tracing.spool import SpoolLimits

    return SpoolLimits(max_bytes=tracing.spool_max_bytes, max_age_s=tracing.spool_max_age_s)
