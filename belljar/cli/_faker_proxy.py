"""From the options of `belljar faker` to a proxy that runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from belljar.cli._faker_parts import Parts
    from belljar.faker.clients import Client
    from belljar.faker.proxy import Proxy, ProxyOptions
    from belljar.faker.targets import Target
    from belljar.rpc.servers import ServerSpec
    from belljar.rpc.upstreams.programs import Program

__all__ = ["Wanted", "listed", "run"]

# Any client says its first word at once.
_SILENT_S = 1.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    command: tuple[str, ...] = ()
    url: str | None = None
    http: str | None = None
    name: str | None = None
    env: tuple[str, ...] = ()
    passthrough: bool = False
    real: bool = True
    overrides: str | None = None
    ignore_annotations: bool = False
    world_file: str | None = None
    faults: tuple[str, ...] = ()
    seed: int = 0
    ai_instruction: str | None = None
    start_timeout: float = 30.0
    call_timeout: float = 60.0
    config: str | None = None
    debug: bool = False
    misuse: str = ""
    """What is wrong with how the server was named."""

    @classmethod
    def of(
        cls,
        *,
        command: str | None = None,
        args: list[str] | None = None,
        rest: list[str] | None = None,
        env: list[str] | None = None,
        fault: list[str] | None = None,
        **given: Any,
    ) -> Wanted:
        """The options as they were given."""
        words = rest if rest is not None else [] if command is None else [command, *listed(args or [])]
        misuse = ""
        if rest is not None and command is not None:
            misuse = "name one server; write its command behind -- or in --command, not both"
        elif args and command is None:
            misuse = "--args are those of --command; behind -- write them after the command"
        return cls(command=tuple(words), faults=tuple(fault or ()), env=tuple(env or ()), misuse=misuse, **given)


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

    from belljar.faker import guard

    guard.check_depth(os.environ)
    _check(wanted)
    spec = _spec(wanted, os.environ)
    program = _started(spec) if spec.command and not wanted.http and not wanted.debug else None

    import anyio

    return anyio.run(_stand, wanted, spec, program)


def _check(wanted: Wanted) -> None:
    """Nothing that was asked for is passed over in silence.

    Raises:
        ConfigError: options that do not go together.
    """
    from belljar.errors import ConfigError

    if wanted.misuse:
        raise ConfigError(wanted.misuse)
    idle = {
        "--fault": wanted.faults,
        "--no-real": not wanted.real,
        "--world-file": wanted.world_file is not None,
        "--seed": wanted.seed,
        "--ai-instruction": wanted.ai_instruction,
    }
    if wanted.passthrough and (given := [option for option, value in idle.items() if value]):
        raise ConfigError(f"--passthrough lets everything through as it is; leave out {', '.join(given)}")


def _started(spec: ServerSpec) -> Program:
    """The server, before even the event loop is imported: from here on, all that we need is hidden behind its start."""
    from belljar.errors import Code, UpstreamError
    from belljar.rpc.upstreams.programs import Program, StartError

    try:
        return Program.start(spec)
    except StartError as exc:
        message = f"the server cannot be started: {exc}"
        raise UpstreamError(message, server=spec.name, code=Code.UPSTREAM_UNAVAILABLE) from None


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
    if url and wanted.env:
        raise ConfigError("--env is for a server that is started; one at a URL has no environment of ours")
    if url:
        return entries.endpoint(url, environ.get(entries.HEADERS, ""), name=wanted.name or "")
    return guard.spec_of(wanted.command, environ, cwd=Path.cwd(), names=wanted.env, name=wanted.name or "")


async def _stand(wanted: Wanted, spec: ServerSpec, program: Program | None) -> int:
    """Between our stdin and stdout and the server, until one of them ends, or a signal comes."""
    import signal

    from belljar.errors import EXIT, Code, UpstreamError, unwrapped
    from belljar.faker.targets import TargetGoneError

    reasons: list[str] = []
    signalled: list[int] = []
    try:
        with unwrapped():
            async with _signals(signalled):
                if wanted.http:
                    await _by_http(wanted, spec, wanted.http)
                else:
                    await _by_stdio(wanted, spec, program)
    except TargetGoneError as exc:
        reasons.append(str(exc))
    for reason in reasons:
        raise UpstreamError(f"the server {reason}", server=spec.name, code=Code.UPSTREAM_UNAVAILABLE)
    return EXIT[Code.INTERRUPTED] if signalled == [signal.SIGINT] else 0


async def _by_stdio(wanted: Wanted, spec: ServerSpec, program: Program | None) -> None:
    from belljar.cli import _screen
    from belljar.faker.clients import stdio_client
    from belljar.faker.targets import TargetGoneError

    with stdio_client(0, 1) as client:
        if wanted.debug and not await client.spoke_within(_SILENT_S):
            # A person, most likely, who waits for what --debug says; a client would have spoken.
            _screen.note("no client yet; asking the server for its tools")
            await _ask_for_tools(wanted, spec)
        async with _target(wanted, spec, program) as target:
            from belljar.cli import _faker_parts

            with _faker_parts.opened(wanted, spec) as parts:
                ended = await _proxy(parts, client, target).run()
                if ended.by == "target":
                    raise TargetGoneError(ended.reason)  # in here, so that the session knows how it ended


async def _by_http(wanted: Wanted, spec: ServerSpec, where: str) -> None:
    """Until a signal comes."""
    from belljar.cli import _faker_parts, _screen
    from belljar.faker import http_listening

    if wanted.debug:
        await _ask_for_tools(wanted, spec)
    with _faker_parts.opened(wanted, spec) as parts:

        async def serve(client: Client) -> None:
            async with _target(wanted, spec) as target:
                ended = await _proxy(parts, client, target).run()
            if ended.by == "target":
                _screen.note(f"belljar: the server {ended.reason}")

        await http_listening.listen(where, serve, ready=lambda url: _screen.note(f"belljar: serving at {url}"))


async def _ask_for_tools(wanted: Wanted, spec: ServerSpec) -> None:
    """Start the server, say what tools it has, end it."""
    from belljar.cli import _faker_parts
    from belljar.faker.asking import Asker
    from belljar.faker.proxy import Proxy
    from belljar.faker.targets import TargetGoneError

    with _faker_parts.world(wanted, spec, _faker_parts.configured(wanted)) as world:
        listed = _faker_parts.Telling(wanted, spec, world).listed
        async with _target(wanted, spec) as target:
            options = _options(wanted, spec)
            proxy = Proxy(
                Asker(), target, world, options, classify=lambda t: world.verdict(spec.name, t), listed=listed
            )
            ended = await proxy.run()
    if ended.by == "target":
        raise TargetGoneError(ended.reason)


def _proxy(parts: Parts, client: Client, target: Target) -> Proxy:
    from belljar.faker.proxy import Proxy

    return Proxy(
        client,
        target,
        parts.world,
        _options(parts.wanted, parts.spec),
        classify=parts.classify,
        recorder=parts.recording,
        begin=parts.recording.begin,
        listed=parts.listed,
    )


def _options(wanted: Wanted, spec: ServerSpec) -> ProxyOptions:
    from belljar.faker.proxy import ProxyOptions
    from belljar.faker.pump import PumpOptions

    pump = PumpOptions(wanted.passthrough, wanted.debug, wanted.start_timeout, wanted.call_timeout)
    return ProxyOptions(spec.name, pump, real=wanted.real)


@asynccontextmanager
async def _target(wanted: Wanted, spec: ServerSpec, program: Program | None = None) -> AsyncGenerator[Target]:
    if spec.command:
        from belljar.faker.targets import open_stdio

        seconds = {"start_s": wanted.start_timeout, "write_s": wanted.call_timeout}
        async with open_stdio(spec, program=program, **seconds) as opened:
            yield opened
    else:
        from belljar.faker.http_target import open_http

        async with open_http(spec) as endpoint:
            yield endpoint


@asynccontextmanager
async def _signals(came: list[int]) -> AsyncGenerator[None]:
    """SIGTERM and Ctrl-C cancel the block; the number that did it is put into the list."""
    import signal

    import anyio

    async def listen(*, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            came.append(await anext(signals))
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        await tasks.start(listen)
        yield
        tasks.cancel_scope.cancel()
