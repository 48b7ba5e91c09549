"""Replay: a bridge that answers from a recording, in the recorded order, and asks nobody.

The guest is deterministic once seed, clock and the order of completions are given. So a replay is exact, under `gather`
too, if it gives each call the recorded answer and gives the answers in the recorded order: the answer that was the k-th
waits until k others were given, and until the host has seen as many calls as it had then. It has the same two phases
as `Bridge`, because both that order and the comparison are about call ids, which a `World` does not see. No policy is
asked: what was allowed, denied or failed is part of the recording.

The n-th call must be the recorded n-th: same server, same tool, same canonical arguments. A run that differs - changed
code, changed guest - ends with REPLAY_DIVERGENCE and both calls side by side. A call that the recorded run never got an
answer to gets none here, and one that waited for a person ends the run as it did then.

`answer` returns in the recorded order; whoever sends the `Return`s must keep the order in which it returned. The limit
of calls in flight must not be lower than it was, or an answer would wait for a call that waits for the answer.
"""

from __future__ import annotations

import anyio

from belljar import show
from belljar.errors import ApprovalRequired, Code, GuestError
from belljar.limits import MAX_FRAME_BYTES, Limits
from belljar.rpc import jsontext
from belljar.rpc.admission import Admission, Admitted
from belljar.rpc.bridge import CallObserver
from belljar.rpc.ledger import Ledger
from belljar.rpc.messages import Call, Return
from belljar.rpc.record import CallRecord
from belljar.rpc.recording import RecordedCall, Recording
from belljar.rpc.world import ToolInfo

__all__ = ["ReplayBridge"]

_SOURCE = "replay"
_MAX_SHOWN_CHARS = 200


class ReplayBridge:
    """Answers the calls of one replayed run. The same shape as `Bridge`: `admit`, `answer`, `end`."""

    def __init__(
        self, *, recording: Recording, ledger: Ledger, limits: Limits, observer: CallObserver | None = None
    ) -> None:
        self._recording = recording
        self._ledger = ledger
        self._observer = observer
        self._admission = Admission(ledger, limits)
        self._answers = {call.order: call for call in recording.calls if call.order is not None}
        self._next = 0
        self._waiting: dict[int, anyio.Event] = {}

    def admit(self, call: Call) -> Admitted:
        """Take the run's next call.

        Raises:
            GuestError: REPLAY_DIVERGENCE, it is not the recorded one; CALL_LIMIT.
            ProtocolError: as `Bridge.admit`.
        """
        admitted = self._admission.admit(call)
        recorded = self._recorded(call.call)
        if recorded is None or not _is_same(recorded, admitted.record):
            raise _divergence(admitted.record, recorded)
        # Which calls were in flight together is the recorded run's fact: here nobody is waited for.
        admitted.record.layer = recorded.layer
        self._release()
        return admitted

    def end(self) -> None:
        """The guest has given its result; a call after it is a violation.

        Raises:
            GuestError: REPLAY_DIVERGENCE, the recorded run made more calls.
        """
        self._admission.end()
        made, recorded = len(self._ledger.calls), len(self._recording.calls)
        if made != recorded:
            raise GuestError(
                f"the replayed run made {made} calls, the recorded one {recorded}", code=Code.REPLAY_DIVERGENCE
            )

    async def answer(self, admitted: Admitted) -> Return:
        """The recorded answer, when it is its turn.

        Raises:
            ApprovalRequired: the recorded run ended here.
        """
        recorded, record = self._recording.calls[admitted.call.call - 1], admitted.record
        if recorded.kind == "pending":
            self._ledger.awaiting(record)
            self._ended(record)
            raise _approval_required(recorded)
        if recorded.kind == "call":
            self._ledger.started(record, _tool(recorded), recorded.grant)
            if self._observer is not None:
                self._observer.started(record)
        await self._turn(recorded.order)
        return self._given(record, recorded)

    async def _turn(self, order: int | None) -> None:
        if order is None:
            await anyio.sleep_forever()
            return
        event = self._waiting[order] = anyio.Event()
        self._release()
        await event.wait()

    def _release(self) -> None:
        """Let the next answer go, if it is waited for and the host has seen as many calls as it had then."""
        event = self._waiting.get(self._next)
        if event is not None and len(self._ledger.calls) >= self._answers[self._next].after:
            event.set()

    def _given(self, record: CallRecord, recorded: RecordedCall) -> Return:
        self._write(record, recorded)
        self._ended(record)
        self._next += 1
        self._release()
        if recorded.value_text is not None:
            return Return(record.call_id, ok=True, value=recorded.value_text)
        return Return(record.call_id, ok=False, code=recorded.code, message=recorded.message, data=recorded.data_text)

    def _write(self, record: CallRecord, recorded: RecordedCall) -> None:
        if recorded.value_text is not None:
            self._ledger.ended(record, recorded.value_text, source=_SOURCE, detail=self._recording.run_id)
            return
        code = Code(recorded.code)
        if recorded.kind == "call":
            said = recorded.state != "unknown"
            self._ledger.failed(record, code, recorded.message, recorded.data_text, said=said)
        else:
            state = "denied" if recorded.state == "denied" else "failed"
            self._ledger.refused(record, state, code, recorded.message, recorded.data_text)

    def _ended(self, record: CallRecord) -> None:
        if self._observer is not None:
            self._observer.ended(record)

    def _recorded(self, call_id: int) -> RecordedCall | None:
        calls = self._recording.calls
        return calls[call_id - 1] if call_id <= len(calls) else None


def _is_same(recorded: RecordedCall, record: CallRecord) -> bool:
    made = (record.server, record.tool, record.args_sha256)
    return made == (recorded.server, recorded.tool, recorded.args_sha256)


def _divergence(record: CallRecord, recorded: RecordedCall | None) -> GuestError:
    made = _shown(record.server, record.tool, record.args_text, record.args_sha256)
    then = "none"
    if recorded is not None:
        then = _shown(recorded.server, recorded.tool, recorded.args_text, recorded.args_sha256)
    message = f"call {record.call_id} is {made}, the recorded one is {then}"
    return GuestError(message, code=Code.REPLAY_DIVERGENCE, line=record.line)


def _shown(server: str, tool: str, args_text: str | None, args_sha256: str) -> str:
    args = f"arguments {args_sha256[:12]}"
    if args_text is not None:
        args = show.text(_canonical(args_text), max_chars=_MAX_SHOWN_CHARS)
    return f"{show.name(server)}:{show.name(tool)}({args})"


def _canonical(text: str) -> str:
    return jsontext.canonical(jsontext.parse(text, max_bytes=MAX_FRAME_BYTES)).decode()


def _tool(recorded: RecordedCall) -> ToolInfo:
    annotations = {} if recorded.is_write else {"readOnlyHint": True}
    return ToolInfo(recorded.server, recorded.tool, annotations=annotations, digest=recorded.tool_digest)


def _approval_required(recorded: RecordedCall) -> ApprovalRequired:
    shown = f"{show.name(recorded.server)}:{show.name(recorded.tool)}"
    message = f"the recorded run ended here: {shown} needed approval"
    return ApprovalRequired(message, call_id=recorded.call_id, server=recorded.server, tool=recorded.tool)
