"""What a user may configure, as frozen values.

These say what is possible and what it is by default; nothing here reads a file or the environment. The command line
does that once (`cli/_config.py`) and hands the result down; a program builds a `Config` itself. Whatever runs below
gets the part it needs and never the whole.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from belljar import show
from belljar.errors import ConfigError
from belljar.limits import MIB, Limits
from belljar.rpc.policy import Policy

__all__ = ["MAX_BATCH", "Config", "Paths", "PoolConfig", "TracingConfig"]

MAX_BATCH = 100
"""Traces a server takes in one request."""


@dataclass(frozen=True, slots=True)
class TracingConfig:
    """Where traces go. Without `cloud_url`: to the debug log, and no socket is opened.

    Raises:
        ConfigError: a number that is not positive, a URL that is neither https nor on this machine, or that holds a
            user name or password; a key that cannot travel in a header. No message holds the key.
    """

    enabled: bool = True
    cloud_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    """A secret: from the environment alone, never shown."""
    batch_size: int = 10
    """Traces sent together."""
    flush_interval_s: float = 5.0
    """A trace waits no longer than this for others."""
    max_retries: int = 8
    """Attempts after the first, for one batch."""
    exit_flush_s: float = 2.0
    """How long the end of the program waits for traces to be sent; the rest stays in the spool."""
    raw: bool = False
    """Keep each run's unmasked recording on this machine, for debugging; such runs are never sent."""
    pseudonyms: bool = False
    """Equal personal values get equal placeholders, under a key that stays on this machine."""
    spacy_model: str | None = None
    """An installed spaCy model that finds names of people and places before traces are sent."""
    spool_max_bytes: int = 64 * MIB
    """What may wait to be sent; beyond it the oldest is dropped, and counted."""
    spool_max_age_s: float = 30 * 86400.0
    """How long it may wait."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "flush_interval_s", "spool_max_age_s"):
            _positive("tracing", name, getattr(self, name))
        if self.batch_size > MAX_BATCH:
            raise ConfigError(f"tracing.batch_size = {self.batch_size}: a server takes {MAX_BATCH} traces at once")
        if self.spool_max_bytes < MIB:
            raise ConfigError(f"tracing.spool_max_bytes = {self.spool_max_bytes}: must be at least {MIB}")
        for name in ("max_retries", "exit_flush_s"):
            _not_negative("tracing", name, getattr(self, name))
        if self.cloud_url is not None:
            _check_url(self.cloud_url)
        if self.api_key is not None:
            _check_key(self.api_key)


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """How boxes are kept ready.

    Raises:
        ConfigError: a number that is not positive.
    """

    reuse: int = 1
    """Runs of one principal that may share a worker, one after the other. 1: each run has its own process."""
    size: int | None = None
    """Workers kept parked; by default one more than there are cores."""
    idle_s: float = 60.0
    """Parked workers beyond the first end after this long without a run."""

    def __post_init__(self) -> None:
        for name in ("reuse", "size", "idle_s"):
            _positive("pool", name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class Paths:
    """Our folders; none of them need exist yet."""

    state: Path
    """Spool, runs, sessions."""
    data: Path
    """Capabilities, trust pins."""
    cache: Path
    """The compiled guest."""


@dataclass(frozen=True, slots=True)
class Config:
    """All of it."""

    paths: Paths
    limits: Limits = field(default_factory=Limits)
    policy: Policy = field(default_factory=Policy)
    tracing: TracingConfig = field(default_factory=TracingConfig)
    pool: PoolConfig = field(default_factory=PoolConfig)
    servers: Path | None = None
    """The `mcp.json`; None if there are no servers."""


def _positive(section: str, name: str, number: float | None) -> None:
    if number is not None and not 0 < number < float("inf"):
        raise ConfigError(f"{section}.{name} = {number}: must be more than 0")


def _not_negative(section: str, name: str, number: float) -> None:
    if not 0 <= number < float("inf"):
        raise ConfigError(f"{section}.{name} = {number}: must be 0 or more")


def _check_url(url: str) -> None:
    # A password may stand in it: the message shows no more than the host.
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigError("the cloud URL is no URL: write https://HOST") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError("the cloud URL holds a user name or password: the key belongs in BELLJAR_API_KEY")
    if not host or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError("the cloud URL is no URL: write https://HOST")
    if parts.query or parts.fragment:
        raise ConfigError("the cloud URL holds a query or fragment: write https://HOST")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise ConfigError(f"the cloud URL must begin with https:// (host {show.name(host)} is not this machine)")


def _check_key(key: str) -> None:
    if not 1 <= len(key) <= 512 or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError("the API key holds characters no key has, or is too long: copy it again, without quotes")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
