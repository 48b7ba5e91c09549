"""The jar: everything a process needs to run capabilities, opened once and used for many runs.

It owns the pool of boxes, the world behind the bridge and the way traces take, all inside one `async with`; after it no
process, task or descriptor of ours is left. A run passes through here in a straight line: load, check the arguments,
open the ledger, take a box, converse, close the ledger, answer. The trace is made when the answer has been handed over,
a long one in a thread: whoever looks at it later finds it masked, and nobody finds it raw.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from belljar._run import Run
from belljar.config import Config
from belljar.errors import BelljarError, Code, ConfigError, Interrupted, UpstreamError, unwrapped
from belljar.limits import KIB, Limits
from belljar.nested import MAX_LEVELS, Calling, Family, OneAtATime
from belljar.one_run import LOCAL, OneRun, RunOptions
from belljar.rpc.kept import KeptRuns
from belljar.rpc.messages import Execute
from belljar.rpc.policy import Auto, Policy, Trust
from belljar.rpc.recording import Recording
from belljar.rpc.servers import ServerSpec
from belljar.rpc.world import Answer, JsonValue, ToolInfo, World
from belljar.sandbox.compiled import Progress, open_compiled
from belljar.sandbox.host import PoolKey
from belljar.sandbox.kinds import box_kind
from belljar.sandbox.loader import Capability, check_args, load_code, load_file
from belljar.sandbox.pool import Pool, PoolSettings, open_pool
from belljar.sandbox.session import Outcome, Session
from belljar.tracing.collector import TraceIds
from belljar.tracing.masked import MaskedTraces
from belljar.tracing.sink import TraceSink, open_sink, pseudonym_key

if TYPE_CHECKING:
    from belljar.auto import Questions
    from belljar.tracing.otel import Telemetry

__all__ = ["LOCAL", "Jar", "RunOptions", "open_jar"]

# A worker that is being killed looks alive for a moment; a run may meet several when all are killed at once.
_MORE_ATTEMPTS = 3
# Runs whose answer is out and whose trace is not: beyond it a run waits for an earlier one's capture.
_MOST_UNCAPTURED = 64
# What is captured on the loop, in well under a millisecond; the worst text of this size takes some ten.
_SHORT_BYTES = 32 * KIB
_SHORT_CALLS = 32


class _NoWorld:
    """Where no servers are configured."""

    name = "real"

    def servers(self) -> tuple[str, ...]:
        return ()

    async def tools(self, server: str) -> Mapping[str, ToolInfo]:
        raise UpstreamError(f"no server is called {server!r}", server=server, code=Code.UNKNOWN_TOOL)

    async def call(self, tool: ToolInfo, args: Mapping[str, JsonValue]) -> Answer:
        raise UpstreamError(f"no server is called {tool.server!r}", server=tool.server, code=Code.UNKNOWN_TOOL)


class Jar:
    """Runs capabilities. Made by `open_jar`."""

    def __init__(
        self,
        config: Config,
        pool: Pool,
        world: World,
        trust: Trust | None,
        tasks: TaskGroup,
        asking: TaskGroup,
        traces: MaskedTraces,
        sink: TraceSink,
        telemetry: Telemetry | None,
    ) -> None:
        self.config = config
        self.pool = pool
        self.world = world
        self._trust = trust
        self._tasks = tasks
        self._asking = asking
        self._questions: Questions | None = None
        self._traces = traces
        self._sink = sink
        self._telemetry = telemetry
        self._kept = KeptRuns(config.paths.state / "runs") if config.tracing.raw else None
        self._ids = TraceIds()
        self._sessions: set[Session] = set()
        # For each level of runs that call runs: those above wait for those below, and must not hold what they need.
        self._uncaptured = [anyio.Semaphore(_MOST_UNCAPTURED) for _ in range(MAX_LEVELS)]

    def warm(self, options: RunOptions | None = None, capability: Capability | None = None) -> None:
        """Start what the first run will need, without waiting for it.

        Raises:
            BelljarError: as `run` would.
        """
        self.pool.warm(self._key(options or RunOptions(), capability))

    def load(self, capability: Capability | Path | str, limits: Limits | None = None) -> Capability:
        """A capability as it is, from a file (a `Path`) or from its text (a `str`); by the jar's limits or these.

        Raises:
            ValidationError: it cannot be one; says why.
        """
        limits = limits or self.config.limits
        if isinstance(capability, Path):
            return load_file(capability, limits)
        return load_code(capability, limits) if isinstance(capability, str) else capability

    async def run(
        self,
        capability: Capability | Path | str,
        args: Mapping[str, JsonValue] | None = None,
        options: RunOptions | None = None,
    ) -> Run:
        """Run a capability in a fresh box.

        A capability that fails gives a `Run` with an `error`. What is raised means that nothing ran:

        Raises:
            ValidationError: code or arguments that break a rule.
            ConfigError: a wall to waive that there is none of; files where the backend has none.
            BelljarError: APPROVAL_REQUIRED, for dependencies that nobody has approved.
        """
        options = options or RunOptions()
        return await self._run(self.load(capability, options.limits), args or {}, options)

    async def _run(
        self,
        capability: Capability,
        args: Mapping[str, JsonValue],
        options: RunOptions,
        family: Family | None = None,
    ) -> Run:
        limits = options.limits or self.config.limits
        args_text = check_args(capability, args, limits)
        seed = options.seed or secrets.token_hex(32)
        execute = Execute(self._ids(), capability.source, args_text, seed, time.time_ns())
        return await self._start(capability, options, limits, execute, family=family)

    async def _run_below(
        self,
        above: RunOptions,
        capability: Capability,
        args: Mapping[str, JsonValue],
        limits: Limits,
        family: Family,
    ) -> Run:
        """A run that another one calls: as that one is run, but with a seed, an intent and calls of its own."""
        options = replace(above, limits=limits, seed=None, intent=None, observer=None, keep=None)
        return await self._run(capability, args, options, family)

    async def replay(self, recording: Recording, options: RunOptions | None = None) -> Run:
        """Run a recording's code again, answered from the recording; a run that differs ends REPLAY_DIVERGENCE."""
        options = options or RunOptions()
        limits = options.limits or self.config.limits
        loaded = load_code(recording.code, limits)
        seed, now_ns = recording.seed, recording.now_ns
        execute = Execute(self._ids(), recording.code, recording.args_text, seed, now_ns, clock=recording.clock)
        return await self._start(loaded, options, limits, execute, recording)

    def interrupt(self) -> None:
        """End every run now; each gives a `Run` with INTERRUPTED."""
        for session in self._sessions:
            session.interrupt()

    # ---- the steps of a run

    async def _start(
        self,
        capability: Capability,
        options: RunOptions,
        limits: Limits,
        execute: Execute,
        recording: Recording | None = None,
        family: Family | None = None,
    ) -> Run:
        policy = options.policy or self.config.policy
        if family is None and options.approver is not None:  # from here on, all below share it
            options = replace(options, approver=OneAtATime(options.approver))
        family = family or Family.first(capability, limits)
        if policy.auto and recording is None:
            family = replace(family, auto=self._auto(policy, capability, family))
        calling = Calling(
            family,
            limits,
            self.config.paths.data / "capabilities",
            partial(self._run_below, options),
        )
        one = OneRun(
            capability,
            options,
            limits,
            policy,
            self.world,
            self._trust,
            execute,
            self._traces,
            recording,
            telemetry=self._telemetry,
            calling=calling,
        )
        return await self._go(one, self._key(options, capability), options.principal, calling.family.level)

    def _auto(self, policy: Policy, capability: Capability, family: Family) -> Auto | None:
        """What decides on calls that the policy leaves to evidence; None without a server to ask for it."""
        if self.config.tracing.cloud_url is None:
            return None
        if self._questions is None:
            from belljar.auto import Questions  # most policies leave nothing to evidence

            state, may_leave = self.config.paths.state, self._traces.may_leave
            self._questions = Questions(self.config.tracing, state, self._asking, may_leave)
        servers = [name for name in self.world.servers() if self._trust is not None and self._trust.trusted(name)]
        return self._questions.of_run(policy, capability, servers, family.auto)

    async def _go(self, one: OneRun, box_kind: PoolKey, principal: str, level: int) -> Run:
        uncaptured = self._uncaptured[level]
        await uncaptured.acquire()
        try:
            run = await self._in_a_box(one, box_kind, principal, level)
        except anyio.get_cancelled_exc_class():
            # Whoever waited for it is gone; what it did is told all the same.
            run = one.finished(Outcome(None, Interrupted("ended, because whoever waited for it did")))
            self._tasks.start_soon(self._capture, run, uncaptured)
            raise
        except BaseException:
            uncaptured.release()
            raise
        self._tasks.start_soon(self._capture, run, uncaptured)
        return run

    async def _in_a_box(self, one: OneRun, box_kind: PoolKey, principal: str, level: int) -> Run:
        try:
            session, outcome = await self._attempt(one, box_kind, principal, level)
            for _ in range(_MORE_ATTEMPTS):
                if not session.came_to_nothing:
                    break
                # Somebody killed the box, or its zygote, at this very moment; perhaps all of them.
                session, outcome = await self._attempt(one, box_kind, principal, level)
        except BelljarError as exc:
            outcome = Outcome(None, exc)
        return one.finished(outcome)

    async def _attempt(self, one: OneRun, box_kind: PoolKey, principal: str, level: int) -> tuple[Session, Outcome]:
        async with self.pool.box(box_kind, principal, level=level) as box:
            session = one.session(box)
            self._sessions.add(session)
            try:
                outcome = await session.run(one.execute)
            finally:
                self._sessions.discard(session)
            if one.keep is not None:
                await box.keep(one.keep)
            return session, outcome

    async def _capture(self, run: Run, uncaptured: anyio.Semaphore) -> None:
        try:
            # Whoever asked for the run may be leaving: what it did is told all the same.
            with anyio.CancelScope(shield=True):
                if self._kept is not None:
                    await anyio.to_thread.run_sync(self._kept.keep, run.ledger)
                if self._is_short(run):
                    self._sink.take(run.made_trace)
                elif self._sink.wanted or self._telemetry is not None:
                    await anyio.to_thread.run_sync(self._sink.take, run.made_trace)
        finally:
            uncaptured.release()
            run.capture_done()

    def _is_short(self, run: Run) -> bool:
        """Whether its trace is made at once. In a thread it takes twice as long: its data lie in another core's cache.

        And the loop would hardly be free meanwhile, for there is one GIL.
        """
        small = run.ledger.kept_bytes <= _SHORT_BYTES and len(run.calls) <= _SHORT_CALLS
        return small and self._traces.is_built and self._sink.is_append and self._telemetry is None

    def _key(self, options: RunOptions, capability: Capability | None = None) -> PoolKey:
        memory = (options.limits or self.config.limits).memory
        keeps_files = options.keep is not None
        return box_kind(options.backend, memory, options.waive, self.config.paths, capability, keeps_files=keeps_files)


@asynccontextmanager
async def open_jar(
    config: Config,
    *,
    servers: Mapping[str, ServerSpec] | None = None,
    trust: Trust | None = None,
    world: World | None = None,
    progress: Progress | None = None,
    traces: bool = True,
    telemetry: Telemetry | None = None,
) -> AsyncGenerator[Jar]:
    """A jar for the length of the block.

    Args:
        servers: the upstreams behind the bridge; none of them is started before it is called. Their secrets are masked
            in every trace.
        world: what answers calls in place of them.
        progress: told while the guest is compiled, once per machine.
        traces: whether somebody will look at them: what masks them is then made ready at once, in a thread, and
            otherwise when the first trace is asked for.
        telemetry: makes spans of the runs. It is the caller's, who ends it.

    Raises:
        ConfigError: not on Linux; a pseudonym key that cannot be used.
    """
    if sys.platform != "linux":
        raise ConfigError("this version runs boxes on Linux alone")
    pool_settings = PoolSettings(parked=config.pool.size or 0, reuse=config.pool.reuse, idle_s=config.pool.idle_s)
    with unwrapped():
        async with AsyncExitStack() as stack:
            if world is None:
                world = await _real_world(stack, servers, config.limits) if servers else _NoWorld()
            pool = await stack.enter_async_context(
                open_pool(pool_settings, lambda: open_compiled(config.paths.cache, progress))
            )
            known, key = _secrets(config, servers or {}), pseudonym_key(config.tracing, config.paths.state)
            telemetry = telemetry if config.tracing.enabled and not config.tracing.raw else None
            if telemetry is not None:
                known |= telemetry.secrets
            sink = await stack.enter_async_context(
                open_sink(config.tracing, config.paths.state, known=known, pseudonym_key=key)
            )
            tasks = await stack.enter_async_context(anyio.create_task_group())
            asking = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(asking.cancel_scope.cancel)  # what is still asked when the jar is left has no use
            masked = MaskedTraces(known, key)
            if traces or sink.wanted or telemetry is not None:
                tasks.start_soon(anyio.to_thread.run_sync, masked.prepare)
            if telemetry is not None:
                tasks.start_soon(anyio.to_thread.run_sync, telemetry.prepare)
            yield Jar(config, pool, world, trust, tasks, asking, masked, sink, telemetry)


def _secrets(config: Config, servers: Mapping[str, ServerSpec]) -> set[str]:
    """What this process loaded and nobody may see in a trace."""
    found = {secret for spec in servers.values() for secret in spec.secrets}
    return found if config.tracing.api_key is None else found | {config.tracing.api_key}


async def _real_world(stack: AsyncExitStack, servers: Mapping[str, ServerSpec], limits: Limits) -> World:
    from belljar.rpc.upstreams import RealWorld  # only who has servers pays for it

    return await stack.enter_async_context(RealWorld(servers.values(), limits=limits))
