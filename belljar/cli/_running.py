"""One run for one person: from options to a jar, and from a `Run` to what is shown.

The order is chosen for the eyes: what can be refused at once is refused before anything is started, then the zygote
starts, and what else is needed is done while it does. Whatever happens, `Report` says it once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from belljar import show
from belljar.cli import _ending, _session_world, _setup, _telemetry, _worlds
from belljar.cli._report import Report
from belljar.config import Config
from belljar.errors import ConfigError, Interrupted, ValidationError
from belljar.jar import Jar, RunOptions, open_jar
from belljar.rpc import jsontext
from belljar.rpc.world import JsonValue, ToolInfo
from belljar.sandbox.loader import Capability, load_code, load_file, parse_args

if TYPE_CHECKING:
    from belljar.rpc.servers import ServerSpec
    from belljar.rpc.world import World

__all__ = ["Wanted", "run"]

# The trace of a run is made within milliseconds; what takes longer has gone wrong and must not hold the answer.
_CAPTURE_S = 2.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of `belljar run`, as they were given."""

    file: str | None
    """A path or a capability's name, as it was written: `./x` is not `x`."""
    code: str | None
    servers: Path | None
    args: str | None
    arg: tuple[str, ...]
    allow: tuple[str, ...]
    deny: tuple[str, ...]
    auto: tuple[str, ...]
    limits: tuple[str, ...]
    backend: str
    install: bool
    keep_files: str | None
    world: str
    intent: str | None
    workflow: str | None
    waive: tuple[str, ...]
    config: Path | None
    debug: bool
    json: bool

    @staticmethod
    def of(
        *,
        file: str | None = None,
        code: str | None = None,
        servers: str | None = None,
        args: str | None = None,
        arg: Sequence[str] | None = None,
        allow: Sequence[str] | None = None,
        deny: Sequence[str] | None = None,
        auto: Sequence[str] | None = None,
        limit: Sequence[str] | None = None,
        backend: str = "wasm",
        install: bool = False,
        keep_files: str | None = None,
        world: str = "real",
        intent: str | None = None,
        workflow: str | None = None,
        waive: Sequence[str] | None = None,
        config: str | None = None,
        debug: bool = False,
        as_json: bool = False,
    ) -> Wanted:
        """From words, by the names of the parameters of `run.py`."""
        return Wanted(
            file=file,
            code=code,
            servers=None if servers is None else Path(servers),
            args=args,
            arg=tuple(arg or ()),
            allow=tuple(allow or ()),
            deny=tuple(deny or ()),
            auto=tuple(auto or ()),
            limits=tuple(limit or ()),
            backend=backend,
            install=install,
            keep_files=keep_files,
            world=world,
            intent=intent,
            workflow=workflow,
            waive=tuple(waive or ()),
            config=None if config is None else Path(config),
            debug=debug,
            json=as_json,
        )


def run(wanted: Wanted) -> int:
    """Run it and show what came of it; the exit status."""
    if wanted.debug:
        _ending.log_to_stderr()
    report = Report(as_json=wanted.json)
    return _ending.ending(lambda: _run(wanted, report), debug=wanted.debug, refused=report.refused)


def _run(wanted: Wanted, report: Report) -> int:
    _refuse_what_is_not_here(wanted)
    config = _setup.configure(
        config=wanted.config,
        servers=wanted.servers,
        limits=wanted.limits,
        allow=wanted.allow,
        deny=wanted.deny,
        auto=wanted.auto,
    )
    capability = _capability(wanted, config)
    args = _args(wanted, config)
    _fetch_what_it_calls(capability, config)
    options = RunOptions(intent=wanted.intent, workflow=wanted.workflow, waive=_setup.walls_of(wanted.waive))
    specs = _setup.servers_of(config)
    if wanted.backend == "process" or capability.dependencies:
        from belljar.cli import _native

        if wanted.backend == "process":
            options = replace(options, backend="process", keep=_native.keeping(wanted.keep_files))
        _native.install(capability, config, wanted.backend, yes=wanted.install, may_ask=not wanted.json)
    if wanted.backend != "process":
        _setup.with_guest(config)
    return anyio.run(_in_a_jar, wanted, config, capability, args, options, specs, report)


def _refuse_what_is_not_here(wanted: Wanted) -> None:
    if wanted.backend not in ("wasm", "process"):
        raise ConfigError(f"--backend {show.name(wanted.backend)}: there are wasm and process")
    if wanted.backend == "wasm" and wanted.keep_files is not None:
        raise ConfigError("a wasm box has no files to keep; use --backend process")
    _worlds.check(wanted.world)


def _capability(wanted: Wanted, config: Config) -> Capability:
    if (wanted.file is None) == (wanted.code is None):
        raise ConfigError("give a FILE, a capability's name, or -c CODE, one of them")
    if wanted.file is None:
        return load_code(wanted.code or "", config.limits)
    from belljar.cli import _named

    meant = _named.meant(wanted.file)
    if isinstance(meant, Path):
        return load_file(meant, config.limits)
    return _named.capability_named(meant, config, may_ask=not wanted.json)


def _fetch_what_it_calls(capability: Capability, config: Config) -> None:
    """What a capability declares that it calls is here before it runs; nothing is fetched afterwards."""
    if capability.declared is not None and any("capability" in each for each in capability.declared.permissions):
        from belljar.cli import _named

        _named.fetch_declared(capability, config)


def _args(wanted: Wanted, config: Config) -> dict[str, JsonValue]:
    args = {} if wanted.args is None else parse_args(wanted.args, config.limits)
    for pair in wanted.arg:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ValidationError(f"--arg {show.text(pair, max_chars=100)}: write NAME=VALUE, for example path=.")
        args[key] = _value(text, config)
    return args


def _value(text: str, config: Config) -> JsonValue:
    try:
        return jsontext.parse(text, max_bytes=config.limits.args)
    except jsontext.JsonError:
        return text


async def _in_a_jar(
    wanted: Wanted,
    config: Config,
    capability: Capability,
    args: Mapping[str, JsonValue],
    options: RunOptions,
    specs: Mapping[str, ServerSpec],
    report: Report,
) -> int:
    async with AsyncExitStack() as stack:
        world: World | None = None
        trust = None
        remember: Callable[[ToolInfo], None] | None = None
        if _session_world.is_session(wanted.world):
            world = _session_world.session_world(wanted.world, config, specs)
        elif specs:
            from belljar.cli._trust import PinningWorld, UserTrust

            trust = UserTrust(_setup.trust_store(config), specs)
            servers = await stack.enter_async_context(_setup.upstreams(config, specs))
            world = PinningWorld(stack.enter_context(_worlds.over(wanted, config, servers, specs, trust)), trust)
            remember = trust.remember
        options = _with_person(wanted, options, remember)
        spans = _telemetry.telemetry()
        ending = stack.enter_context(_telemetry.Ending(spans, config.tracing.exit_flush_s))
        looked_at = wanted.json or wanted.debug
        jar = await stack.enter_async_context(
            open_jar(config, servers=specs, trust=trust, world=world, traces=looked_at, telemetry=spans)
        )
        jar.warm(options, capability)
        status = await _one(jar, capability, args, options, report)
        ending.begin()
        return status


async def _one(
    jar: Jar, capability: Capability, args: Mapping[str, JsonValue], options: RunOptions, report: Report
) -> int:
    from belljar.cli._interrupts import interruptible

    async with interruptible(jar, report) as scope:
        with scope:
            done = await jar.run(capability, args, options)
            status = report.ran(done)
            if options.keep is not None:
                from belljar.cli import _native

                _native.tell_kept(options.keep)
            with anyio.move_on_after(_CAPTURE_S, shield=True):
                await done.captured()
            return status
    raise Interrupted("interrupted before the code ran")


def _with_person(wanted: Wanted, options: RunOptions, remember: Callable[[ToolInfo], None] | None) -> RunOptions:
    """With somebody to ask and to show calls to, if somebody is there."""
    if wanted.json or not sys.stderr.isatty():
        return options
    from belljar.cli._terminal import LiveCalls, TerminalApprover

    options = replace(options, observer=LiveCalls())
    if not os.isatty(0):
        return options
    return replace(options, approver=TerminalApprover(), remember=remember)
