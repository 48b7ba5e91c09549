"""From options to what a jar is opened with: configuration, servers, trust, a compiled guest."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from belljar import show
from belljar.cli import _config
from belljar.config import Config
from belljar.errors import ConfigError

if TYPE_CHECKING:
    from belljar.registry.trust import TrustStore
    from belljar.rpc.servers import ServerSpec
    from belljar.rpc.upstreams import RealWorld
    from belljar.tracing.syncer import SyncSettings

__all__ = [
    "configure",
    "limits_of",
    "server_named",
    "servers_of",
    "some_servers",
    "sync_settings",
    "trust_store",
    "upstreams",
    "walls_of",
    "with_guest",
]


def configure(
    *,
    config: Path | None = None,
    servers: Path | None = None,
    limits: Iterable[str] = (),
    allow: Iterable[str] = (),
    deny: Iterable[str] = (),
    auto: Iterable[str] = (),
) -> Config:
    """The configuration of this call of the program.

    Raises:
        ConfigError: an option, a file or the environment that cannot be used.
    """
    return _config.load(
        environ=os.environ,
        cwd=Path.cwd(),
        file=config,
        servers=servers,
        limits=limits_of(limits),
        allow=allow,
        deny=deny,
        auto=auto,
    )


def limits_of(pairs: Iterable[str]) -> dict[str, str]:
    """`["wall=1"]` as a mapping.

    Raises:
        ConfigError: a pair that is none.
    """
    limits: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise ConfigError(f"--limit {show.text(pair, max_chars=100)}: write NAME=VALUE, for example wall=1")
        limits[name] = value
    return limits


def walls_of(names: Iterable[str]) -> frozenset[str]:
    """Walls to do without.

    Raises:
        ConfigError: a name that no wall has.
    """
    waived = frozenset(names)
    if waived:
        from belljar.sandbox.walls import WALLS

        there = [info.name for info in WALLS]
        if unknown := waived.difference(there):
            shown = ", ".join(map(show.name, sorted(unknown)))
            raise ConfigError(f"--waive {show.text(shown, max_chars=100)}: no such wall; there are: {', '.join(there)}")
    return waived


def servers_of(config: Config) -> Mapping[str, ServerSpec]:
    """The servers that are configured; none is an empty mapping.

    Raises:
        ConfigError: the mcp.json cannot be used.
    """
    if config.servers is None:
        return {}
    from belljar.rpc.servers import load_servers

    return load_servers(config.servers, _environ())


def some_servers(config: Config) -> Mapping[str, ServerSpec]:
    """The servers, for a verb that has nothing to do without them.

    Raises:
        ConfigError: no mcp.json is given, or it cannot be used.
    """
    if config.servers is None:
        raise ConfigError("no servers are configured; give an mcp.json with --servers")
    return servers_of(config)


def server_named(specs: Mapping[str, ServerSpec], name: str) -> ServerSpec:
    """One of them.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in specs:
        there = ", ".join(map(show.name, specs)) or "none"
        raise ConfigError(f"no server is called {show.name(name)}; there are: {there}")
    return specs[name]


def _environ() -> dict[str, str]:
    """Our environment, in which servers installed beside our interpreter are found too, after all others."""
    beside = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", os.defpath)
    return {**os.environ, "PATH": f"{path}{os.pathsep}{beside}"}


def sync_settings(config: Config) -> SyncSettings | None:
    """What the syncer is told when no jar is open; None without a server.

    The secrets of MCP servers are not among the known values here: pass 1 masked them where they were known.
    """
    from belljar.tracing import sink

    known = () if config.tracing.api_key is None else (config.tracing.api_key,)
    key = sink.pseudonym_key(config.tracing, config.paths.state)
    return sink.sync_settings(config.tracing, config.paths.state, known=known, pseudonym_key=key)


def trust_store(config: Config) -> TrustStore:
    """What this user decided about servers."""
    from belljar.registry.trust import TrustStore

    return TrustStore(config.paths.data / "trust.json")


@asynccontextmanager
async def upstreams(config: Config, specs: Mapping[str, ServerSpec]) -> AsyncGenerator[RealWorld]:
    """The servers, none of them started yet."""
    from belljar.errors import unwrapped
    from belljar.rpc.upstreams import RealWorld

    with unwrapped():
        async with RealWorld(specs.values(), limits=config.limits) as world:
            yield world


def with_guest(config: Config) -> None:
    """Compile the guest if this machine has not yet: before an event loop runs, so that Ctrl-C ends it.

    Raises:
        ConfigError: there is no component, or it cannot be compiled.
    """
    from belljar.sandbox.compiled import compiled_path, open_compiled

    if compiled_path(config.paths.cache).exists():
        return  # checked when it is opened
    from belljar.cli import _screen

    with _screen.progress("compiling the guest, once on this machine") as tick:
        os.close(open_compiled(config.paths.cache, tick))
