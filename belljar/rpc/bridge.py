"""The bridge: the host side of `mcp.*`, and the only door of a box.

Each call passes in two phases, so that the run loop can keep order and back-pressure:

    admit    at once, in the order of the frames: call ids, count, arguments. A violation ends the run.
    answer   concurrently: 1 grant, 2 ledger, 3 world, 4 ledger, 5 answer. What goes wrong here is told to the guest as
             an error it can catch - except that a person is needed and nobody is there: that ends the run, whatever
             the guest catches, because `ApprovalRequired` leaves `answer` and never becomes a `Return`.

What the guest may know is the tool's own answer or error. A fault of ours becomes "the call failed" for the guest and a
line in the host's log that names the kind of fault and nothing of the arguments.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import anyio

from belljar.errors import ApprovalRequired, Code, UpstreamError
from belljar.limits import KIB, MAX_FRAME_BYTES, Limits
from belljar.rpc import jsontext
from belljar.rpc.admission import Admission, Admitted
from belljar.rpc.approval import Approvals, Approver
from belljar.rpc.grants import Granted, Grants, Refused, upstream_code
from belljar.rpc.ledger import Ledger, text_sha256
from belljar.rpc.messages import Call, Return
from belljar.rpc.policy import Auto, Declared, Policy, Trust
from belljar.rpc.record import CallRecord
from belljar.rpc.world import CALLER, Answer, Caller, JsonValue, ToolInfo, World

__all__ = ["Admitted", "Bridge", "CallObserver"]

_log = logging.getLogger("belljar.rpc")

# More than any message a person reads; a longer one is cut.
_MAX_MESSAGE_CHARS = 16 * KIB
# What a frame holds beside the value or the data of an answer; a character is at most ten bytes, escaped.
_FRAME_OVERHEAD = 10 * _MAX_MESSAGE_CHARS + KIB


class _Clock:
    """The deadline of one call, which can stand still."""

    __slots__ = ("_pauses", "_remaining_s", "_scope")

    def __init__(self, scope: anyio.CancelScope) -> None:
        self._scope = scope
        self._pauses = 0
        self._remaining_s = 0.0

    def pause(self, waiting: bool) -> None:
        if waiting and self._pauses == 0:
            self._remaining_s = self._scope.deadline - anyio.current_time()
            self._scope.deadline = math.inf
        self._pauses += 1 if waiting else -1
        if self._pauses == 0:
            self._scope.deadline = anyio.current_time() + self._remaining_s


class CallObserver(Protocol):
    """Sees the calls of a run as they happen: a live list, spans. Called on the run's path; must not raise or block."""

    def started(self, record: CallRecord) -> None:
        """The call goes to the world now."""
        ...

    def ended(self, record: CallRecord) -> None:
        """The guest is answered now, or a person must decide; also for calls that were never made."""
        ...


class Bridge:
    """Answers the calls of one run. Not for a second run: grants, denials and call ids are this run's.

    Args:
        declared: what the capability's metadata lists; None if it has none.
        auto: decides what the policy leaves to evidence; without one a person is asked.
        approver: who is asked; without one a call that needs a person ends the run.
        approvals: given before this run, for a call of it.
        remember: told of a tool that was approved with "always". Must not raise.
        on_pause: True when a person is asked, False when they answered: that time is not the run's.
        observer: sees each call.
        caller: what the world may know of a call, by its number; by default whose it is.
        clock: wall clock, nanoseconds, for the expiry of approvals.
        reserved: the world answers `mcp.capability`.
    """

    def __init__(
        self,
        *,
        world: World,
        ledger: Ledger,
        limits: Limits,
        policy: Policy,
        declared: Declared | None = None,
        trust: Trust | None = None,
        auto: Auto | None = None,
        approver: Approver | None = None,
        approvals: Approvals | None = None,
        remember: Callable[[ToolInfo], None] | None = None,
        on_pause: Callable[[bool], None] | None = None,
        observer: CallObserver | None = None,
        caller: Callable[[int], Caller] | None = None,
        clock: Callable[[], int] = time.time_ns,
        reserved: bool = False,
    ) -> None:
        self._world = world
        self._ledger = ledger
        self._limits = limits
        self._observer = observer
        self._caller = caller or partial(Caller, ledger.run_id)
        self._max_answer = min(limits.answer, MAX_FRAME_BYTES - _FRAME_OVERHEAD)
        self._admission = Admission(ledger, limits)
        self._grants = Grants(
            world=world,
            run_id=ledger.run_id,
            code_sha256=lambda: text_sha256(ledger.code),
            policy=policy,
            declared=declared,
            trust=trust,
            auto=auto,
            approver=approver,
            approvals=approvals or Approvals(),
            remember=remember,
            on_pause=on_pause,
            clock=clock,
            reserved=reserved,
        )
        self._clocks: dict[int, _Clock] = {}

    def admit(self, call: Call) -> Admitted:
        """Take the run's next call.

        Raises:
            ProtocolError: its id is not the next one, the run has its result, or `args` is no JSON object.
            GuestError: CALL_LIMIT.
        """
        return self._admission.admit(call)

    def end(self) -> None:
        """The guest has given its result; a call after it is a violation."""
        self._admission.end()

    def pause(self, call_id: int, waiting: bool) -> None:
        """A person is asked on behalf of this call (True), or has answered: their time is not the call's."""
        clock = self._clocks.get(call_id)
        if clock is not None:
            clock.pause(waiting)

    async def answer(self, admitted: Admitted) -> Return:
        """The answer to an admitted call, good or bad.

        Raises:
            ApprovalRequired: a person must decide and nobody is there. The run ends with it.
        """
        call, args, record = admitted.call, admitted.args, admitted.record
        try:
            if args is None:
                raise Refused("failed", Code.RPC_ERROR, f"arguments over the limit of {self._limits.call_args} bytes")
            granted = self._grants.known(call.server, call.tool) or await self._grants.find(admitted)
        except Refused as refused:
            return self._refuse(record, refused)
        except ApprovalRequired:
            self._ledger.awaiting(record)
            self._ended(record)
            raise
        return await self._make(record, granted, args)

    async def _make(self, record: CallRecord, granted: Granted, args: Mapping[str, JsonValue]) -> Return:
        self._ledger.started(record, granted.tool, granted.grant)
        if self._observer is not None:
            self._observer.started(record)
        try:
            with anyio.move_on_after(self._limits.call) as scope:
                self._clocks[record.call_id] = _Clock(scope)
                return self._applied(record, await self._ask(record, granted.tool, args))
            message = f"no answer within {self._limits.call:g} s; allow more with --limit call=N"
            return self._failed(record, Code.RPC_TIMEOUT, message)
        except UpstreamError as exc:
            if exc.source is not None:
                record.source, record.source_detail = exc.source
            return self._failed(record, upstream_code(exc), exc.message, exc.data)
        except ApprovalRequired:  # of a run that this call set going
            self._ended(record)
            raise
        except Exception as exc:  # noqa: BLE001 - a world is a seam; its bug must not end the run's other calls
            # The type alone: a message or a traceback may hold the call's arguments.
            _log.error("the world could not answer a call: %s", type(exc).__qualname__)
            return self._failed(record, Code.RPC_ERROR, "the call failed", said=False)
        finally:
            self._clocks.pop(record.call_id, None)

    async def _ask(self, record: CallRecord, tool: ToolInfo, args: Mapping[str, JsonValue]) -> Answer:
        token = CALLER.set(self._caller(record.call_id))
        try:
            return await self._world.call(tool, args)
        finally:
            CALLER.reset(token)

    def _applied(self, record: CallRecord, answer: Answer) -> Return:
        try:
            text = jsontext.dump(answer.value)
        except jsontext.JsonError as exc:
            return self._failed(record, Code.RPC_ERROR, f"the tool's answer is not JSON: {exc}", said=False)
        if jsontext.size(text) > self._max_answer:
            message = f"the tool's answer is over the limit of {self._max_answer} bytes"
            return self._failed(record, Code.RPC_ERROR, message, said=False)
        self._ledger.ended(record, text, source=answer.source, detail=answer.detail)
        self._ended(record)
        return Return(record.call_id, ok=True, value=text)

    def _failed(
        self, record: CallRecord, code: Code, message: str, data: object = None, *, said: bool = True
    ) -> Return:
        message, data_text = _clipped(message), self._data(data)
        self._ledger.failed(record, code, message, data_text, said=said)
        self._ended(record)
        return Return(record.call_id, ok=False, code=code.value, message=message, data=data_text)

    def _refuse(self, record: CallRecord, refused: Refused) -> Return:
        message, data_text = _clipped(refused.message), self._data(refused.data)
        self._ledger.refused(record, refused.state, refused.code, message, data_text)
        self._ended(record)
        return Return(record.call_id, ok=False, code=refused.code.value, message=message, data=data_text)

    def _ended(self, record: CallRecord) -> None:
        if self._observer is not None:
            self._observer.ended(record)

    def _data(self, data: object) -> str:
        """What an upstream said beside its message, if that is JSON and fits; without it the message still stands."""
        if data is None:
            return "null"
        try:
            text = jsontext.dump(data)
            return text if jsontext.size(text) <= self._max_answer else "null"
        except jsontext.JsonError:
            return "null"


def _clipped(message: str) -> str:
    """Short enough for a frame, and UTF-8."""
    cut = message[:_MAX_MESSAGE_CHARS]
    return cut if cut.isascii() else cut.encode(errors="backslashreplace").decode()
