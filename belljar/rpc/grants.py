"""Grants of one run: finds the tool a call names, asks the policy, and asks a person where the policy says so.

A grant, once found, is kept for the run: the second call of a tool asks nobody and awaits nothing. So is a person's no:
a tool that was denied is not asked about again, or a guest could ask until the answer slips. Several calls that need a
person are put to them one at a time, and an "always" answers for those that wait. What the policy leaves to evidence is
decided once, too: asking again draws nothing anew.

Names are foreign text here, the guest's as well as the server's, and are shown escaped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import anyio

from belljar import show
from belljar.errors import ApprovalRequired, Code, UpstreamError
from belljar.rpc import jsontext
from belljar.rpc.admission import Admitted
from belljar.rpc.approval import LIFETIME_S, ApprovalRequest, Approvals, Approver, Subject, Word
from belljar.rpc.ledger import RefusedState
from belljar.rpc.policy import CHANGED, RESERVED_SERVERS, Auto, Decision, Declared, Policy, Trust, decide, forbids
from belljar.rpc.world import ToolInfo, World

__all__ = ["Granted", "Grants", "Refused", "upstream_code"]

_log = logging.getLogger("belljar.rpc")

# Looking for near names is quadratic in their length and linear in their number, and the guest says how often.
_MAX_NEAR_NAMES = 500
_MAX_NEAR_CHARS = 64
_MAX_NEAR_SEARCHES = 10
_UPSTREAM_CODES = frozenset({Code.RPC_ERROR, Code.RPC_TIMEOUT, Code.UNKNOWN_TOOL, Code.UPSTREAM_UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class Granted:
    """A tool that may be called, and the rule that says so."""

    tool: ToolInfo
    grant: str


class Refused(Exception):
    """The call is not made, and the guest is told why: `denied` by a rule or a person, `failed` for another reason."""

    def __init__(self, state: RefusedState, code: Code, message: str, data: object = None) -> None:
        super().__init__(message)
        self.state: RefusedState = state
        self.code = code
        self.message = message
        self.data = data


class Grants:
    """Who may call what in one run.

    Args:
        code_sha256: of the run's code; computed when a person is asked.
        auto: decides what the policy leaves to evidence; without one a person is asked.
        remember: told of a tool that was approved with "always". Must not raise.
        on_pause: True when a person is asked, False when they answered: that time is not the run's.
        clock: wall clock, nanoseconds, for the expiry of approvals.
        reserved: the world answers what is reserved; otherwise no server of it has such a name.
    """

    def __init__(
        self,
        *,
        world: World,
        run_id: str,
        code_sha256: Callable[[], str],
        policy: Policy,
        declared: Declared | None,
        trust: Trust | None,
        auto: Auto | None,
        approver: Approver | None,
        approvals: Approvals,
        remember: Callable[[ToolInfo], None] | None,
        on_pause: Callable[[bool], None] | None,
        clock: Callable[[], int],
        reserved: bool = False,
    ) -> None:
        self._world = world
        self._run_id = run_id
        self._code_sha256 = code_sha256
        self._policy = policy
        self._declared = declared
        self._trust = trust
        self._auto = auto
        self._approver = approver
        self._approvals = approvals
        self._remember = remember
        self._on_pause = on_pause
        self._clock = clock
        self._servers = frozenset(world.servers()) - (frozenset() if reserved else RESERVED_SERVERS)
        self._tools: dict[str, Mapping[str, ToolInfo]] = {}
        self._granted: dict[tuple[str, str], Granted] = {}
        self._denied: set[tuple[str, str]] = set()
        self._asking = anyio.Lock()
        self._near_searches = 0

    def known(self, server: str, tool: str) -> Granted | None:
        """The grant of a tool that was granted before in this run."""
        return self._granted.get((server, tool))

    async def find(self, admitted: Admitted) -> Granted:
        """The grant of a call that has none yet.

        Raises:
            Refused: no such tool, not allowed, or its server cannot be asked.
            ApprovalRequired: a person must decide and nobody is there.
        """
        tool = await self._tool(admitted.call.server, admitted.call.tool)
        decision = decide(tool, self._policy, self._declared, self._trust)
        if decision.kind == "auto":
            decision = await self._by_evidence(tool)
        if decision.kind == "deny":
            raise _denial(tool.server, tool.name, decision)
        if decision.kind != "allow":
            return await self._asked(admitted, tool, decision)
        return self._keep(tool, decision.rule)

    async def _by_evidence(self, tool: ToolInfo) -> Decision:
        """An `allow`, or an `ask`: whatever goes wrong, a person is asked."""
        if self._auto is None:
            return Decision("ask", "auto: no server is configured")
        try:
            decision = await self._auto.decide(tool)
        except Exception as exc:  # noqa: BLE001 - a seam; its bug must not end the run, nor let a call through
            _log.error("a call could not be decided on: %s", type(exc).__qualname__)
            return Decision("ask", "auto: cannot be decided")
        if (tool.server, tool.name) in self._denied:  # by a person, meanwhile
            return Decision("ask", decision.rule)
        return decision

    def _keep(self, tool: ToolInfo, grant: str) -> Granted:
        granted = self._granted[tool.server, tool.name] = Granted(tool, grant)
        return granted

    # The tool

    async def _tool(self, server: str, name: str) -> ToolInfo:
        if server not in self._servers:
            raise self._unknown_server(server)
        denied = forbids(server, name, self._policy, self._declared)
        if denied is not None:
            raise _denial(server, name, denied)
        tools = self._tools.get(server)
        if tools is None:
            tools = self._tools[server] = await self._list(server)
        tool = tools.get(name)
        if tool is None:
            raise self._unknown(f"no tool is called {_shown(server, name)}", name, tools)
        if tool.unavailable:
            raise Refused("failed", Code.RPC_ERROR, f"{_shown(server, name)} cannot be called: {tool.unavailable}")
        return tool

    async def _list(self, server: str) -> Mapping[str, ToolInfo]:
        try:
            return await self._world.tools(server)
        except UpstreamError as exc:
            raise Refused("failed", upstream_code(exc), exc.message, exc.data) from None
        except Exception as exc:  # noqa: BLE001 - a world is a seam; its bug is that server's, not the run's
            _log.error("the world could not list tools: %s", type(exc).__qualname__)
            raise Refused("failed", Code.RPC_ERROR, f"the tools of {show.name(server)} could not be listed") from None

    def _unknown_server(self, server: str) -> Refused:
        if server in RESERVED_SERVERS:
            return Refused("failed", Code.UNKNOWN_TOOL, f"mcp.{server} is reserved; no server can have that name")
        return self._unknown(f"no server is called {show.name(server)}", server, self._servers)

    def _unknown(self, message: str, name: str, known: Iterable[str]) -> Refused:
        near = ", ".join(show.name(candidate) for candidate in self._near(name, known))
        return Refused("failed", Code.UNKNOWN_TOOL, f"{message}; near it: {near}" if near else message)

    def _near(self, name: str, known: Iterable[str]) -> list[str]:
        self._near_searches += 1
        if self._near_searches > _MAX_NEAR_SEARCHES or len(name) > _MAX_NEAR_CHARS:
            return []
        # Not at the top: a run that knows its tools' names never needs it.
        import difflib

        short = sorted(candidate for candidate in known if len(candidate) <= _MAX_NEAR_CHARS)
        return difflib.get_close_matches(name, short[:_MAX_NEAR_NAMES])

    # The person

    async def _asked(self, admitted: Admitted, tool: ToolInfo, decision: Decision) -> Granted:
        async with self._asking:
            granted = self.known(tool.server, tool.name)
            if granted is not None:
                return granted
            if (tool.server, tool.name) in self._denied:
                raise _denied_by_person(tool)
            word = await self._word(self._request(admitted, tool, decision))
            if word is None:
                raise _approval_required(admitted, decision)
            return self._settled(tool, word)

    async def _word(self, request: ApprovalRequest) -> Word | None:
        if self._approvals.take(request.subject, self._clock()):
            return "once"
        if self._approver is None:
            return None
        self._pause(True)
        try:
            with anyio.move_on_after(LIFETIME_S):
                return await self._approver.ask(request)
            return None
        finally:
            self._pause(False)

    def _pause(self, paused: bool) -> None:
        if self._on_pause is not None:
            self._on_pause(paused)

    def _settled(self, tool: ToolInfo, word: Word) -> Granted:
        if word == "once":
            return Granted(tool, "approved once")
        if word == "always":
            if self._remember is not None:
                self._remember(tool)
            return self._keep(tool, "approved always")
        self._denied.add((tool.server, tool.name))
        raise _denied_by_person(tool)

    def _request(self, admitted: Admitted, tool: ToolInfo, decision: Decision) -> ApprovalRequest:
        record = admitted.record
        subject = Subject(
            run=self._run_id,
            call_id=record.call_id,
            server=record.server,
            tool=record.tool,
            args_sha256=record.args_sha256,
            code_sha256=self._code_sha256(),
            policy_digest=self._policy.digest,
            tool_digest=tool.digest,
        )
        args = jsontext.canonical(admitted.args).decode()
        return ApprovalRequest(subject, tool, args, decision.rule, record.line)


def upstream_code(exc: UpstreamError) -> Code:
    """The code the guest is told; anything but the four a world may use is RPC_ERROR."""
    return exc.code if exc.code in _UPSTREAM_CODES else Code.RPC_ERROR


def _denial(server: str, tool: str, decision: Decision) -> Refused:
    return Refused("denied", Code.PERMISSION_DENIED, f"{_shown(server, tool)} is not allowed ({decision.rule})")


def _denied_by_person(tool: ToolInfo) -> Refused:
    return _denial(tool.server, tool.name, Decision("deny", "denied by a person"))


def _approval_required(admitted: Admitted, decision: Decision) -> ApprovalRequired:
    call = admitted.call
    shown = _shown(call.server, call.tool)
    why = f" ({show.text(decision.rule)})" if decision.rule.startswith("auto") else ""
    message = f"{shown} needs approval{why}; run it at a terminal, or allow it with --allow '{shown}'"
    if decision.rule == CHANGED:  # no --allow helps: it was given to what the tool was
        server = show.name(call.server)
        message = f"{shown} has changed since it was first seen; look at it, then run `belljar servers trust {server}`"
    return ApprovalRequired(message, call_id=call.call, server=call.server, tool=call.tool)


def _shown(server: str, tool: str) -> str:
    return f"{show.name(server)}:{show.name(tool)}"
