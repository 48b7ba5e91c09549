"""The last look before a trace leaves, and the bytes it leaves as.

Both passes of the sanitizer, behind the one way out. Building them and loading Presidio take time, so both are done in
a thread while nothing waits. It fails closed: what cannot be built sends nothing, and a trace that cannot be looked at
does not leave.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from belljar import show
from belljar.errors import BelljarError, ConfigError
from belljar.tracing.outbox import Parcel
from belljar.tracing.syncer.settings import SyncSettings
from belljar.tracing.texts import encode

if TYPE_CHECKING:
    from belljar.tracing.outbound import Outbound

__all__ = ["Masks", "WayOut"]

_MAX_TEXT = 500


@dataclass(frozen=True, slots=True)
class WayOut:
    """The built masks. May be used by one thread at a time."""

    outbound: Outbound
    warm: Callable[[], None]
    """Loads what the second pass looks at candidates with."""
    version: str
    """Bytes frozen under another version are made anew."""

    def seal(self, parcels: Sequence[Parcel]) -> dict[str, bytes | None]:
        """The bytes of each trace that has none yet, or has them from another version; None for what cannot leave."""
        return {parcel.trace_id: self._sealed(parcel) for parcel in parcels if not self.is_sealed(parcel)}

    def is_sealed(self, parcel: Parcel) -> bool:
        return parcel.body is not None and parcel.sanitizer_version == self.version

    def text(self, text: str) -> str:
        """Foreign text as it may be kept."""
        return self.outbound.text(text)[:_MAX_TEXT]

    def _sealed(self, parcel: Parcel) -> bytes | None:
        try:
            text = parcel.text if parcel.body is None else parcel.body
            masked: dict[str, Any] = self.outbound.trace(json.loads(text or "{}"))
            if masked.get("traceId") != parcel.trace_id:
                return None
            return encode(masked).encode()
        except Exception:  # noqa: BLE001 - fail closed, trace by trace
            return None


class Masks:
    """Builds the way out once, in a thread, however many ask."""

    def __init__(self, settings: SyncSettings) -> None:
        self._settings = settings
        self._lock = anyio.Lock()
        self._built: WayOut | None = None

    async def built(self) -> WayOut:
        """The way out.

        Raises:
            ConfigError: it cannot be built; says why.
        """
        async with self._lock:
            if self._built is None:
                self._built = await anyio.to_thread.run_sync(_build, self._settings, abandon_on_cancel=True)
            return self._built

    async def prepare(self) -> None:
        """Build it ahead of time, and load what looks at candidates. What goes wrong is said to whoever needs it."""
        try:
            way_out = await self.built()
            # Nobody waits for this: traces without a candidate leave meanwhile.
            await anyio.to_thread.run_sync(way_out.warm, abandon_on_cancel=True)
        except (ConfigError, ImportError):
            return


def _build(settings: SyncSettings) -> WayOut:
    try:
        return _way_out(settings)
    except BelljarError as exc:
        raise ConfigError(exc.message) from None
    except Exception as exc:
        raise ConfigError(f"the sanitizer cannot be built: {show.text(str(exc), max_chars=200)}") from exc


def _way_out(settings: SyncSettings) -> WayOut:
    from belljar.tracing.outbound import Outbound
    from belljar.tracing.sanitizer import VERSION, Sanitizer
    from belljar.tracing.second_pass import SecondPass

    known = settings.known if settings.api_key is None else settings.known | {settings.api_key}
    second = SecondPass(spacy_model=settings.spacy_model, pseudonym_key=settings.pseudonym_key)
    outbound = Outbound(Sanitizer(known=known, pseudonym_key=settings.pseudonym_key), second=second)
    # A model that is named later finds more: what was frozen without it is looked at again.
    version = VERSION if settings.spacy_model is None else f"{VERSION}+{settings.spacy_model}"
    return WayOut(outbound, second.warm, version)
