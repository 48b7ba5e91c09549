"""The Python API: `belljar.open` for programs that wait for many things, `belljar.run` for scripts.

A library does not read the files of whoever uses it: no `belljar.toml` is looked for, here or in the home folder, and
what is to be configured is passed. The environment is read for two things only: our folders (the `XDG_*` variables,
see `Paths`), unless a `Config` is given, and what an `mcp.json` itself asks for - its `${VARIABLES}` and the PATH in
which its servers are found. Nobody is trusted and nobody is asked unless a `trust` and an `approver` say so: what
`allow` does not name ends APPROVAL_REQUIRED.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from belljar._run import Run
from belljar.config import Config, Paths
from belljar.errors import ConfigError
from belljar.jar import Jar, RunOptions, open_jar
from belljar.limits import Limits
from belljar.rpc.approval import Approver
from belljar.rpc.bridge import CallObserver
from belljar.rpc.policy import Policy, Trust
from belljar.rpc.servers import ServerSpec, load_servers, parse_servers
from belljar.sandbox.compiled import Progress

if TYPE_CHECKING:
    from belljar.tracing.otel import Telemetry

__all__ = ["Servers", "open", "run"]

Servers = str | Path | Mapping[str, Any]
"""The path of an `mcp.json`, what stands in one, or its `mcpServers` alone."""


@asynccontextmanager
async def open(  # noqa: A001 - `belljar.open` reads as `tarfile.open` does
    *,
    config: Config | None = None,
    servers: Servers | None = None,
    allow: Iterable[str] = (),
    deny: Iterable[str] = (),
    auto: Iterable[str] = (),
    limits: Limits | None = None,
    trust: Trust | None = None,
    progress: Progress | None = None,
    telemetry: Telemetry | None = None,
) -> AsyncGenerator[Jar]:
    """A jar for the length of the block; after it, no process of it is left.

    Args:
        config: all there is to configure; by default the documented defaults, with the XDG folders.
        servers: the upstreams; in place of those of `config`.
        allow: patterns (`git:git_log`, `git:*`) in addition to those of `config`; so is `deny`, which wins, and
            `auto`: of a server that `trust` trusts, unasked once the configured server's evidence speaks for it.
        limits: in place of those of `config`.
        trust: whose annotations are believed; nobody's by default.
        progress: told (seconds so far, seconds expected) while the guest is compiled, once on a machine.
        telemetry: makes OpenTelemetry spans of the runs, and is the caller's to shut down.

    Raises:
        ConfigError: something of it cannot be used; says what.
    """
    settled = _settled(config, Policy(tuple(allow), tuple(deny), (), tuple(auto)), limits)
    specs = _specs(settled.servers if servers is None else servers)
    async with open_jar(settled, servers=specs, trust=trust, progress=progress, telemetry=telemetry) as jar:
        jar.warm()
        yield jar


def run(
    source: str | Path,
    args: Mapping[str, Any] | None = None,
    *,
    config: Config | None = None,
    servers: Servers | None = None,
    allow: Iterable[str] = (),
    deny: Iterable[str] = (),
    auto: Iterable[str] = (),
    limits: Limits | None = None,
    intent: str | None = None,
    workflow: str | None = None,
    waive: Iterable[str] = (),
    approver: Approver | None = None,
    observer: CallObserver | None = None,
    trust: Trust | None = None,
    progress: Progress | None = None,
) -> Run:
    """Run a capability once, from a script: a `Path` is a file, a `str` is code.

    A capability that fails gives a `Run` with an `error`. Each call opens a jar and closes it: for more than a few runs
    use `belljar.open`. May be called from any thread that has no event loop running.

    Raises:
        RuntimeError: this thread runs an event loop.
        ValidationError: code or arguments that break a rule; nothing ran.
        ConfigError: something else that cannot be used; nothing ran.
    """
    _refuse_in_a_loop()
    options = RunOptions(intent=intent, workflow=workflow, waive=frozenset(waive), approver=approver, observer=observer)

    async def once() -> Run:
        opened = open(
            config=config,
            servers=servers,
            allow=allow,
            deny=deny,
            auto=auto,
            limits=limits,
            trust=trust,
            progress=progress,
        )
        async with opened as jar:
            done = await jar.run(source, args, options)
            await done.captured()
            return done

    return anyio.run(once)


def _refuse_in_a_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "belljar.run cannot wait inside a running event loop: "
        "use `async with belljar.open(...) as jar: await jar.run(...)`"
    )


def _settled(config: Config | None, said: Policy, limits: Limits | None) -> Config:
    config = config or Config(_paths())
    return replace(config, policy=config.policy.and_(said), limits=limits or config.limits)


def _specs(servers: Servers | None) -> Mapping[str, ServerSpec] | None:
    if servers is None:
        return None
    if isinstance(servers, str | Path):
        return load_servers(Path(servers), os.environ)
    document = servers if "mcpServers" in servers else {"mcpServers": dict(servers)}
    try:
        text = json.dumps(document)
    except (TypeError, ValueError) as exc:
        raise ConfigError(f"servers: {exc}; give what an mcp.json holds") from None
    return parse_servers(text, os.environ, source="servers")


def _paths() -> Paths:
    """The XDG folders. A variable that holds no absolute path counts as not set."""
    return Paths(
        state=_folder("XDG_STATE_HOME", ".local/state"),
        data=_folder("XDG_DATA_HOME", ".local/share"),
        cache=_folder("XDG_CACHE_HOME", ".cache"),
    )


def _folder(variable: str, below_home: str) -> Path:
    said = os.environ.get(variable, "")
    try:
        base = Path(said) if os.path.isabs(said) else Path.home() / below_home
    except RuntimeError:
        raise ConfigError(f"neither {variable} nor a home folder is set: set one, or pass a Config") from None
    return base / "belljar"
