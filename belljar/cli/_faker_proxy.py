"""From the options of `belljar faker` to a proxy that runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from belljar.faker.clients import Client
    from belljar.faker.proxy import Ended
    from belljar.faker.targets import Target
    from belljar.rpc.servers import ServerSpec

__all__ = ["Wanted", "listed", "run"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    command: tuple[str, ...]
    url: str | None
    http: str | None
    name: str | None
    env: tuple[str, ...]
    passthrough: bool
    real: bool
    overrides: str | None
    world_file: str | None
    faults: tuple[str, ...]
    seed: int
    ai_instruction: str | None
    start_timeout: float
    call_timeout: float
    config: str | None
    debug: bool

    @classmethod
    def of(cls, *, command: str | None, args: list[str] | None, rest: list[str] | None, **given: Any) -> Wanted:
        """The options as they were given."""
        words = rest if rest is not None else [] if command is None else [command, *listed(args or [])]
        faults, env = given.pop("fault") or (), given.pop("env") or ()
        return cls(command=tuple(words), faults=tuple(faults), env=tuple(env), **given)


def listed(args: list[str]) -> list[str]:
    """`a,b,"c,d"` as three words."""
    import csv

    return [word for row in csv.reader(args) for word in row]


def run(wanted: Wanted) -> int:
    """Stand before the server until the client has gone; the exit status."""
    from belljar.cli import _ending

    if wanted.debug:
        _ending.log_to_stderr()
    return _ending.ending(lambda: _serve(wanted), debug=wanted.debug)


def _serve(wanted: Wanted) -> int:
    import os

    import anyio

    from belljar.faker import guard

    guard.check_depth(os.environ)
    spec = _spec(wanted, os.environ)
    return anyio.run(_stand, wanted, spec)


def _spec(wanted: Wanted, environ: Mapping[str, str]) -> ServerSpec:
    """The server that is named, by its command or by its URL.

    Raises:
        ConfigError: none is, or two are, or it cannot be used.
    """
    from pathlib import Path

    from belljar.errors import ConfigError
    from belljar.faker import entries, guard

    url = wanted.url or ("" if wanted.command else environ.get(entries.URL, ""))
    if bool(url) == bool(wanted.command):
        raise ConfigError("name one server; write -- and its command, or --url")
    if url:
        return entries.endpoint(url, environ.get(entries.HEADERS, ""), name=wanted.name or "")
    return guard.spec_of(wanted.command, environ, cwd=Path.cwd(), names=wanted.env, name=wanted.name or "")


async def _stand(wanted: Wanted, spec: ServerSpec) -> int:
    """Between our stdin and stdout and the server, until one of them ends, or a signal comes."""
    import signal

    from belljar.errors import EXIT, Code, UpstreamError, unwrapped
    from belljar.faker.targets import TargetGoneError

    reasons: list[str] = []
    async with _signals() as signalled:
        try:
            with unwrapped():
                if wanted.http:
                    await _by_http(wanted, spec, wanted.http)
                else:
                    ended = await _by_stdio(wanted, spec)
                    reasons += [ended.reason] if ended.by == "target" else []
        except TargetGoneError as exc:
            reasons.append(str(exc))
    for reason in reasons:
        raise UpstreamError(f"the server {reason}", server=spec.name, code=Code.UPSTREAM_UNAVAILABLE)
    return EXIT[Code.INTERRUPTED] if signalled == [signal.SIGINT] else 0


async def _by_stdio(wanted: Wanted, spec: ServerSpec) -> Ended:
    from belljar.faker.clients import stdio_client

    with stdio_client(0, 1) as client:
        return await _between(wanted, spec, client)


async def _by_http(wanted: Wanted, spec: ServerSpec, where: str) -> None:
    """Until a signal comes."""
    from belljar.cli import _screen
    from belljar.faker import http_listening

    async def serve(client: Client) -> None:
        ended = await _between(wanted, spec, client)
        if ended.by == "target":
            _screen.note(f"belljar: the server {ended.reason}")

    await http_listening.listen(where, serve, ready=lambda url: _screen.note(f"belljar: serving at {url}"))


async def _between(wanted: Wanted, spec: ServerSpec, client: Client) -> Ended:
    from belljar.faker.calls import Verdict
    from belljar.faker.proxy import Proxy, ProxyOptions
    from belljar.faker.pump import PumpOptions

    pump = PumpOptions(wanted.passthrough, wanted.debug, wanted.start_timeout, wanted.call_timeout)
    options = ProxyOptions(spec.name, pump, real=wanted.real)
    async with _target(wanted, spec) as target:
        proxy = Proxy(client, target, None, options, classify=lambda _tool: Verdict("write", "high", ""))
        return await proxy.run()


@asynccontextmanager
async def _target(wanted: Wanted, spec: ServerSpec) -> AsyncGenerator[Target]:
    if spec.command:
        from belljar.faker.targets import open_stdio

        async with open_stdio(spec, start_s=wanted.start_timeout, write_s=wanted.call_timeout) as program:
            yield program
    else:
        from belljar.faker.http_target import open_http

        async with open_http(spec) as endpoint:
            yield endpoint


@asynccontextmanager
async def _signals() -> AsyncGenerator[list[int]]:
    """SIGTERM and Ctrl-C cancel the block; the number that did it is in the list."""
    import signal

    import anyio

    came: list[int] = []

    async def listen(*, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            came.append(await anext(signals))
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        await tasks.start(listen)
        yield came
        tasks.cancel_scope.cancel()
