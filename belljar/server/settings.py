"""What the server is told when it starts, as one frozen value. Nothing here reads a file or the environment.

The numbers bound what a stranger can make the server hold or wait for. They are meant to be generous to a syncer, which
sends ten traces of at most 256 KiB each, and to be far below what hurts.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from belljar import show
from belljar.errors import ConfigError
from belljar.limits import MIB

__all__ = ["DEFAULT_PORT", "MAX_TRACES", "Settings", "is_loopback"]

DEFAULT_PORT = 8420
MAX_TRACES = 100
"""Traces in one request."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One server.

    Raises:
        ConfigError: open to everybody on an address that others can reach, a host that is no name, a number that is not
            positive.
    """

    database: str = field(repr=False)
    """SQLAlchemy's URL; may hold a password and is never shown."""
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    """0: one that is free."""
    allowed_hosts: tuple[str, ...] = ()
    """Names this server is reached by, beside `host`, `localhost` and addresses in digits."""
    no_auth: bool = False
    """Everybody who reaches it may do everything, as tenant `default`. On loopback alone."""
    learn: bool = True
    """Whether traces are learned from as they are stored, and a learner runs beside the server."""
    learn_share: float = 0.25
    """Of one core, for the learner."""
    embedder: str | None = None
    """`MODULE:NAME` of what turns texts into vectors; None: our own, which needs no model."""
    rate_per_s: float = 50.0
    """Requests of one key in the long run; 0: no limit. A request carries at most 100 traces."""
    rate_burst: int = 200
    max_body_bytes: int = 8 * MIB
    """Of a request, as it travels."""
    max_decoded_bytes: int = 32 * MIB
    """Of a request, unpacked: 100 traces of the largest size a client sends."""
    max_depth: int = 80
    """Levels of JSON: what a value may have, and those of the trace around it."""
    max_containers: int = 1 << 18
    """Lists and objects in one body: about 16 MB of empty ones."""
    body_timeout_s: float = 20.0
    """From a request's head to the last byte of its body."""
    head_timeout_s: float = 10.0
    """From a connection, or the first byte of a further request on it, to the end of the head."""
    work_timeout_s: float = 30.0
    """How long a request waits for a thread and its answer."""
    shutdown_s: float = 10.0
    """What is under way when the server is told to end has this long."""
    threads: int = 8
    """Requests that parse or talk to the database at once."""
    max_in_flight: int = 128
    """Requests at once; further ones are told to come again."""
    max_connections: int = 512

    def __post_init__(self) -> None:
        if self.no_auth and not is_loopback(self.host):
            raise ConfigError(f"--no-auth serves this machine alone: {show.name(self.host)} can be reached by others")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port {self.port}: a port is 0 to 65535")
        for name in self.allowed_hosts:
            if not name or not name.isascii() or not name.isprintable() or set(name) & set(" /:@*"):
                raise ConfigError(f"--allow-host {show.name(name)}: write a host name, without port or scheme")
        numbers = ("max_body_bytes", "max_decoded_bytes", "threads", "max_in_flight", "max_connections", "shutdown_s")
        if not 0 < self.learn_share <= 1:
            raise ConfigError("--learn-share is a share of one core: more than 0, at most 1")
        if any(getattr(self, name) <= 0 for name in numbers) or self.rate_per_s < 0 or self.rate_burst < 1:
            raise ConfigError("a server's limits are more than 0")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
