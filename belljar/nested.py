"""Capabilities that call capabilities: `await mcp.capability["git:notes"](path=".")`.

To the bridge such a call is a call like any other: the server is `capability`, the tool is a name, the policy decides
(`capability:*`, and by default a person is asked), the ledger has it, a replay answers it from the recording. What
answers is a layer around the run's world: it finds the code on this machine, and runs it in a box of its own through
the same jar. That gives the child a ledger and a trace, and, because it is asked for in the task that answers the call,
its parent. All else goes to the world beneath.

A child can do less than who called it, never more:

    grants      what the policy allows, and the child declares, and its parent declares, and so on up; what is left to
                evidence, only where that suffices for the code of each
    time        what is left of the parent's call; while a person is asked for the child, no clock above it runs
    calls       one budget for the run that was asked for and all below it
    levels      eight runs below each other, and none that is its own ancestor, by the hash of its code
    life        it ends with its parent, and its trace says so

A person who is needed and not there ends all of them: no code above can catch that. Names are looked up on this machine
alone, once for a run: what running code says is not asked of a registry, since a name would be a letter it could send.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from belljar import fqdn
from belljar._run import Run, RunError
from belljar.errors import ApprovalRequired, BelljarError, Code, MisuseError, UpstreamError, ValidationError
from belljar.fqdn import Fqdn
from belljar.limits import Limits
from belljar.rpc.approval import ApprovalRequest, Approver, Word
from belljar.rpc.policy import RESERVED_SERVERS, Auto, Declared
from belljar.rpc.world import CALLER, Answer, JsonValue, ToolInfo, World
from belljar.sandbox.loader import Capability, load_code

if TYPE_CHECKING:
    from belljar.registry.capabilities import CapabilityStore, Kept, Known

__all__ = ["MAX_LEVELS", "SERVER", "Calling", "Family", "OneAtATime", "as_capability"]

SERVER = "capability"
"""What stands between `mcp` and a capability's name."""
MAX_LEVELS = 8
"""Runs below each other, the one that was asked for included."""

# So that it is the child that runs out of time and says so, before its parent's call does.
_GRACE_S = 0.05
_LEAST_S = 0.01


def as_capability(name: Fqdn, code: str, limits: Limits) -> Capability:
    """A kept code under its name.

    Raises:
        ValidationError: it cannot be run; or it says that it is called otherwise.
    """
    loaded = load_code(code, limits)
    own = loaded.fqdn
    if own.namespace != "adhoc" and (own.namespace, own.action) != (name.namespace, name.action):
        raise ValidationError(
            f"{name} calls itself {own.namespace}:{own.action}: somebody put another capability under that name"
        )
    return replace(loaded, fqdn=name, name=str(name))


@dataclass(slots=True)
class _Budget:
    """Calls that the runs of one family may still make, together."""

    left: int

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0


class OneAtATime:
    """An approver that several runs share: a person is asked one thing at a time."""

    def __init__(self, approver: Approver) -> None:
        self._approver = approver
        self._turn = anyio.Lock()

    async def ask(self, request: ApprovalRequest) -> Word | None:
        async with self._turn:
            return await self._approver.ask(request)


@dataclass(frozen=True, slots=True)
class Family:
    """Where a run stands: who called it, what they leave it, and whose clocks stop when a person is asked for it."""

    hashes: tuple[str, ...]
    """Of the codes from the run that was asked for down to this one."""
    declared: Declared | None
    """What all of them declare; None if none of them declares anything."""
    budget: _Budget
    pause: Callable[[bool], None] | None = None
    """Stops the clocks above (True), or lets them go on."""
    auto: Auto | None = None
    """What decides by evidence for this run; before it begins, for the one that called it."""

    @staticmethod
    def first(capability: Capability, limits: Limits) -> Family:
        """Of a run that no run called."""
        return Family((capability.sha256,), capability.declared, _Budget(limits.calls))

    def below(self, capability: Capability, pause: Callable[[bool], None]) -> Family:
        """Of a run that this one calls."""
        declared = _both(capability.declared, self.declared)
        return replace(self, hashes=(*self.hashes, capability.sha256), declared=declared, pause=pause)

    @property
    def level(self) -> int:
        """0 for the run that was asked for."""
        return len(self.hashes) - 1


def _both(declared: Declared | None, above: Declared | None) -> Declared | None:
    if declared is None or above is None:
        return declared or above
    return replace(declared, within=above)


RunChild = Callable[[Capability, Mapping[str, JsonValue], Limits, Family], Awaitable[Run]]


@dataclass(slots=True, eq=False)
class Calling:
    """What one run needs to call others: a layer for its world. Made for each run; `world` when its box begins."""

    family: Family
    limits: Limits
    """Of this run."""
    folder: Path
    """Of the capabilities that are kept on this machine."""
    run_child: RunChild
    """Runs a capability as this one is run, within these limits."""

    def world(self, beneath: World, pause: Callable[[int, bool], None]) -> World:
        """The world beneath, with `capability` answered here. `pause` stops the clocks of this run and of one call."""
        return _Capabilities(beneath, self, pause)


class _Capabilities:
    """The layer."""

    def __init__(self, beneath: World, calling: Calling, pause: Callable[[int, bool], None]) -> None:
        self._beneath = beneath
        self._calling = calling
        self._pause = pause
        self._tools: _Names | None = None

    @property
    def name(self) -> str:
        return self._beneath.name

    def servers(self) -> tuple[str, ...]:
        # A server of the user's with a reserved name is not reached by it.
        return (*(server for server in self._beneath.servers() if server not in RESERVED_SERVERS), SERVER)

    async def tools(self, server: str) -> Mapping[str, ToolInfo]:
        if server != SERVER:
            return await self._beneath.tools(server)
        return await self._names()

    async def call(self, tool: ToolInfo, args: Mapping[str, JsonValue]) -> Answer:
        if not self._calling.family.budget.take():
            raise _error(f"more than {self._calling.limits.calls} calls by this run and those it is part of")
        if tool.server != SERVER:
            return await self._beneath.call(tool, args)
        return await self._call(tool, args)

    # a capability

    async def _names(self) -> _Names:
        if self._tools is None:
            store = self._store()
            try:
                self._tools = _Names(await anyio.to_thread.run_sync(store.known))
            except BelljarError as exc:
                raise _error(exc.message, Code.UPSTREAM_UNAVAILABLE) from None
        return self._tools

    def _store(self) -> CapabilityStore:
        from belljar.registry.capabilities import CapabilityStore  # most runs call no capability

        return CapabilityStore(self._calling.folder)

    async def _call(self, tool: ToolInfo, args: Mapping[str, JsonValue]) -> Answer:
        calling, family = self._calling, self._calling.family
        kept = (await self._names()).kept(tool.name)
        if kept.sha256 in family.hashes:
            raise _error(f"{kept.fqdn} is running already, further up: a capability cannot call itself")
        if len(family.hashes) >= MAX_LEVELS:
            raise _error(f"{kept.fqdn} would be the {MAX_LEVELS + 1}th run below another: {MAX_LEVELS} is the most")
        try:
            capability = await self._loaded(kept)
            below = family.below(capability, self._pause_of_this_call())
            run = await calling.run_child(capability, args, self._limits(), below)
        except MisuseError as exc:
            raise _error(exc.message) from None
        return self._answer(kept, tool, run)

    async def _loaded(self, kept: Kept) -> Capability:
        code = await anyio.to_thread.run_sync(self._store().code, kept)
        if code is None:
            raise ValidationError(f"the code of {kept.fqdn} is gone from this machine: add or fetch it again")
        return as_capability(kept.fqdn, code, self._calling.limits)

    def _limits(self) -> Limits:
        """The caller's, and no more time than is left of its call."""
        limits = self._calling.limits
        left = anyio.current_effective_deadline() - anyio.current_time() - _GRACE_S
        return limits if left == math.inf else replace(limits, wall=max(min(limits.wall, left), _LEAST_S))

    def _pause_of_this_call(self) -> Callable[[bool], None]:
        caller = CALLER.get()
        assert caller is not None, "a capability is called in the task that answers a call"
        return lambda waiting: self._pause(caller.call_id, waiting)

    def _answer(self, kept: Kept, tool: ToolInfo, run: Run) -> Answer:
        if run.error is None:
            return Answer(run.value, detail=run.run_id)
        if run.error.code is Code.APPROVAL_REQUIRED:
            caller = CALLER.get()
            call_id = caller.call_id if caller else 0
            message = f"{run.error.message} (asked for by {kept.fqdn})"
            raise ApprovalRequired(message, call_id=call_id, server=SERVER, tool=tool.name)
        data = {"code": run.error.code.value, "runId": run.run_id, "capability": str(kept.fqdn)}
        raise _error(f"{kept.fqdn} failed: {run.error.message}", _code(run.error), data)


def _code(error: RunError) -> Code:
    if error.code is Code.EXECUTION_TIMEOUT:
        return Code.RPC_TIMEOUT
    of_machine = error.code in (Code.WORKER_CRASH, Code.WALL_MISSING)
    return Code.UPSTREAM_UNAVAILABLE if of_machine else Code.RPC_ERROR


def _error(message: str, code: Code = Code.RPC_ERROR, data: object = None) -> UpstreamError:
    return UpstreamError(message, server=SERVER, code=code, data=data)


@dataclass(slots=True, eq=False)
class _Names(Mapping[str, ToolInfo]):
    """The tools of `capability`: every way of writing the name of what is kept on this machine."""

    known: Known
    _made: dict[str, ToolInfo] = field(default_factory=dict[str, ToolInfo])

    def kept(self, name: str) -> Kept:
        """What a name means that `self` has."""
        found = self.known.find(fqdn.parse(name))
        assert found is not None
        return found

    def __getitem__(self, name: str) -> ToolInfo:
        if name not in self._made:
            self._made[name] = self._tool(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        for family in self.known.families():
            yield _short(fqdn.parse(family))

    def __len__(self) -> int:
        return len(self.known.families())

    def _tool(self, name: str) -> ToolInfo:
        try:
            found = self.known.find(fqdn.parse(name))
        except ValidationError as exc:
            if not _is_name(name):
                raise KeyError(name) from None
            return ToolInfo(SERVER, name, unavailable=exc.message)
        if found is None:
            raise KeyError(name)
        unavailable = "" if found.pinned else f"nobody has agreed to it; `belljar capability trust {found.fqdn.exact}`"
        return ToolInfo(
            SERVER,
            name,
            description=f"the capability {found.fqdn.exact}",
            digest=found.sha256,
            unavailable=unavailable,
            also=_spellings(found.fqdn),
        )


def _is_name(name: str) -> bool:
    try:
        fqdn.parse(name)
    except ValidationError:
        return False
    return True


def _short(name: Fqdn) -> str:
    """`namespace:action` where that suffices."""
    is_here = (name.org, name.project) == (fqdn.LOCAL_ORG, fqdn.DEFAULT_PROJECT)
    return f"{name.namespace}:{name.action}" if is_here else name.family


def _spellings(name: Fqdn) -> tuple[str, ...]:
    """All the ways of writing it: who forbids one of them forbids the capability."""
    return tuple(dict.fromkeys((_short(name), name.family, str(name), name.exact)))
