"""The record of one call: what `Run.calls`, the trace and observers read.

Kept as JSON text, as it crossed the border: text cannot change after the fact, while an object that the world also
holds can. `args` and `value` parse it when somebody looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from belljar.limits import MAX_FRAME_BYTES
from belljar.rpc import jsontext
from belljar.rpc.world import JsonValue

__all__ = ["CallRecord", "State"]

State = Literal["pending", "executing", "applied", "failed", "denied", "unknown"]

_UNPARSED: Any = object()
# Objects take up to twenty times the memory of their text. With this, a thousand calls keep a few MB of them.
_KEEP_PARSED_BYTES = 4096


@dataclass(slots=True)
class CallRecord:
    """One call of a run. Written by the ledger only; everybody else reads."""

    call_id: int
    server: str
    tool: str
    line: int
    """Line of the capability's own code, 0 if unknown. Guest-reported."""
    layer: int
    """From 0. A call made while another was unanswered shares its layer."""
    iteration: int
    """This is the n-th call from that line, from 1."""
    started_at_ns: int
    """Host's wall clock: when the call was made, or asked for if it was never made."""
    args_bytes: int
    args_text: str | None
    """JSON text as the guest sent it; None if it was not kept."""
    source: str
    """`real`, `fake` or `replay`: who answered, or would have."""
    state: State = "pending"
    grant: str = ""
    """The rule that allowed it: `allow git:*`, `trust annotations`, `approved once`; empty if none did."""
    is_write: bool = True
    """False only if the tool's annotations say it is read-only."""
    tool_digest: str = ""
    annotations: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    source_detail: str | None = None
    duration_ms: float | None = None
    value_bytes: int = 0
    value_text: str | None = None
    """JSON text as the guest was given it; None if there was none or it was not kept."""
    error_code: str | None = None
    error_message: str | None = None
    error_data_text: str = "null"
    completion_order: int | None = None
    """From 0, in the order in which the guest was answered; None if it never was."""
    completed_after: int = 0
    """How many calls the host had seen when this one was answered."""
    _args: JsonValue = field(default=_UNPARSED, repr=False)
    _value: JsonValue = field(default=_UNPARSED, repr=False)
    _args_sha256: str = field(default="", repr=False)

    @property
    def args(self) -> JsonValue:
        """The arguments; None if they were not kept."""
        if self._args is not _UNPARSED:
            return self._args
        args = _parsed(self.args_text)
        if self.args_bytes <= _KEEP_PARSED_BYTES:
            self._args = args
        return args

    @property
    def value(self) -> JsonValue:
        """The value the guest was given; None also if there was none or it was not kept."""
        if self._value is not _UNPARSED:
            return self._value
        value = _parsed(self.value_text)
        if self.value_bytes <= _KEEP_PARSED_BYTES:
            self._value = value
        return value

    @property
    def error_data(self) -> JsonValue:
        return _parsed(self.error_data_text)

    @property
    def args_sha256(self) -> str:
        """Of the canonical arguments; of the text, if it was too long to be parsed."""
        if not self._args_sha256:
            self._args_sha256 = jsontext.text_value_sha256(self.args_text or "null", max_bytes=MAX_FRAME_BYTES)
        return self._args_sha256

    def forget_args(self, sha256: str) -> None:
        """Keep the digest alone."""
        self._args_sha256 = sha256
        self._args = self.args_text = None


def _parsed(text: str | None) -> JsonValue:
    return None if text is None else jsontext.parse(text, max_bytes=MAX_FRAME_BYTES)
