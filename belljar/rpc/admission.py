"""Admission, the first phase of a call: is it the run's next one, and are its arguments JSON? The same in every bridge.

Call ids count 1, 2, 3... and the host checks them, because what a worker says about itself is not believed: an id out
of sequence, a repeated one, or a call after the result is a violation, and a violation ends the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from belljar.errors import Code, GuestError, ProtocolError
from belljar.limits import Limits
from belljar.rpc import jsontext
from belljar.rpc.ledger import Ledger
from belljar.rpc.messages import Call
from belljar.rpc.record import CallRecord
from belljar.rpc.world import JsonValue

__all__ = ["Admission", "Admitted"]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that is the run's next one. `args` is None if its text is over the limit."""

    call: Call
    record: CallRecord
    args: Mapping[str, JsonValue] | None


class Admission:
    """Takes the calls of one run in their order, and writes each into the ledger as asked for."""

    def __init__(self, ledger: Ledger, limits: Limits) -> None:
        self._ledger = ledger
        self._limits = limits
        self._last = 0
        self._ended = False

    def end(self) -> None:
        """The guest has given its result; a call after it is a violation."""
        self._ended = True

    def admit(self, call: Call) -> Admitted:
        """Take the run's next call.

        Raises:
            ProtocolError: the call id is not the next one, the run has its result, or `args` is no JSON object.
            GuestError: CALL_LIMIT.
        """
        if self._ended:
            raise ProtocolError("a call after the run's end")
        if call.call != self._last + 1:
            raise ProtocolError(f"call id {call.call}, where {self._last + 1} comes next")
        if call.call > self._limits.calls:
            raise GuestError(
                f"more than {self._limits.calls} calls; allow more with --limit calls=N",
                code=Code.CALL_LIMIT,
                line=call.line,
            )
        args = self._args(call.args)
        self._last = call.call
        return Admitted(call, self._ledger.admit(call, args), args)

    def _args(self, text: str) -> Mapping[str, JsonValue] | None:
        try:
            if jsontext.size(text) > self._limits.call_args:
                return None
            args = jsontext.parse(text, max_bytes=self._limits.call_args)
        except jsontext.JsonError as exc:
            raise ProtocolError(f"a call's arguments are no JSON text: {exc}") from None
        if type(args) is not dict:
            raise ProtocolError("a call's arguments are no JSON object")
        return args  # pyright: ignore[reportUnknownVariableType]
