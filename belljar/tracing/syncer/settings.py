"""What the syncer is told, as frozen values, and how they reach its process.

The secrets among them - the key, the known values, the pseudonym key - travel over the child's stdin alone: an argv and
an environment can be read by others, a pipe cannot. No representation shows them.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from belljar.errors import ConfigError
from belljar.tracing.destination import Destination
from belljar.tracing.spool import SpoolLimits

__all__ = ["Pace", "SyncSettings"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long each wait may be, in seconds. The defaults are what a server and its operator can live with."""

    connect_s: float = 5.0
    request_s: float = 30.0
    """One request, from the first byte out to the last byte of its answer."""
    backoff_base_s: float = 0.5
    """The first wait before a batch is sent again is a random part of this; each wait after it of twice as much."""
    backoff_cap_s: float = 60.0
    breaker_s: float = 60.0
    """After the last attempt nothing is sent for so long; each further failure doubles it, up to `parked_s`."""
    parked_s: float = 900.0
    """How long a server that refuses the key, or sends us elsewhere, is left alone."""
    retry_after_cap_s: float = 3600.0
    """A server may ask for no longer wait than this."""


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """All the syncer needs to know.

    Raises:
        ConfigError: a URL that is neither https nor on this machine. It is not shown.
    """

    spool_root: Path
    cloud_url: str
    api_key: str | None = field(default=None, repr=False)
    batch_size: int = 10
    """Traces sent together."""
    flush_interval_s: float = 5.0
    """A trace waits no longer than this for others."""
    max_retries: int = 8
    """Attempts after the first, for one batch."""
    exit_flush_s: float = 2.0
    """How long the end of the program waits for traces to be sent."""
    limits: SpoolLimits = field(default_factory=SpoolLimits)
    known: frozenset[str] = field(default=frozenset(), repr=False)
    """Secrets of this process: masked again, wherever a trace still held one."""
    pseudonym_key: bytes | None = field(default=None, repr=False)
    spacy_model: str | None = None
    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        _need_private(self.cloud_url)

    @property
    def destination(self) -> Destination:
        return Destination.of(self.cloud_url, self.api_key)

    @property
    def folder(self) -> Path:
        """The folder of this destination's segments, outbox and lock."""
        return self.spool_root / self.destination.id

    def to_order(self) -> dict[str, Any]:
        """As JSON, for the child's stdin."""
        return {
            "spool_root": str(self.spool_root.absolute()),
            "cloud_url": self.cloud_url,
            "api_key": self.api_key,
            "batch_size": self.batch_size,
            "flush_interval_s": self.flush_interval_s,
            "max_retries": self.max_retries,
            "exit_flush_s": self.exit_flush_s,
            "limits": asdict(self.limits),
            "known": sorted(self.known),
            "pseudonym_key": None if self.pseudonym_key is None else self.pseudonym_key.hex(),
            "spacy_model": self.spacy_model,
            "pace": asdict(self.pace),
        }

    @staticmethod
    def from_order(order: dict[str, Any]) -> SyncSettings:
        """What `to_order` gave, also after a way through JSON text."""
        key: str | None = order["pseudonym_key"]
        values: dict[str, Any] = order | {
            "spool_root": Path(order["spool_root"]),
            "limits": SpoolLimits(**order["limits"]),
            "known": frozenset[str](order["known"]),
            "pseudonym_key": None if key is None else bytes.fromhex(key),
            "pace": Pace(**order["pace"]),
        }
        return SyncSettings(**values)


def _need_private(cloud_url: str) -> None:
    """The key and the traces cross no network that others can read."""
    scheme, _, rest = Destination.of(cloud_url, None).url.partition("://")
    host = rest.partition("/")[0]
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if scheme != "https" and not _is_loopback(host):
        raise ConfigError("the cloud URL must begin with https://: only a server on this machine may do without")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def encode(order: dict[str, Any]) -> bytes:
    """One line of ASCII: lone surrogates in a path or a secret survive it."""
    return json.dumps(order, separators=(",", ":")).encode() + b"\n"
