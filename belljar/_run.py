"""What a run leaves behind: the value or the error, the calls, what was printed, and the trace."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio

from belljar.errors import BelljarError, Code, GuestError, ValidationError
from belljar.rpc.ledger import Ledger
from belljar.rpc.record import CallRecord
from belljar.rpc.recording import Recording
from belljar.rpc.world import JsonValue
from belljar.tracing.texts import MaskedTrace

__all__ = ["Run", "RunError"]


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run failed. `message` and `traceback` are foreign text: show them through `belljar.show`."""

    code: Code
    message: str
    line: int | None = None
    """Line of the capability's own code. Guest-reported."""
    traceback: str = ""
    """The capability's own frames. Guest-reported."""

    def to_json(self) -> dict[str, JsonValue]:
        shown: dict[str, JsonValue] = {"code": self.code.value, "message": self.message}
        return shown if self.line is None else {**shown, "line": self.line}


@dataclass(slots=True, eq=False)
class Run:
    """One finished run. `value`, `calls` and the prints are the caller's own, unmasked; `trace` is what may leave."""

    run_id: str
    success: bool
    value: JsonValue
    error: RunError | None
    duration_ms: float
    """From the code's way into the box to its result, a person's time to decide included."""
    calls: list[CallRecord]
    stdout: str
    stderr: str
    output_bytes: dict[str, int]
    """What was printed in all, by stream, kept or not."""
    ledger: Ledger = field(repr=False)
    replayable: bool
    """Whether a recording of it can be run again exactly: it ended by itself, and its timeline was kept."""
    _make_trace: Callable[[], MaskedTrace] = field(repr=False)
    _captured: anyio.Event = field(default_factory=anyio.Event, repr=False)
    _making: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _trace: MaskedTrace | None = field(default=None, repr=False)
    _trace_s: float = field(default=0.0, repr=False)
    _wire: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def trace(self) -> dict[str, Any]:
        """The trace in its wire form: sanitized, and made when first asked for, so that no run waits for it."""
        if self._wire is None:
            self._wire = self.made_trace()[0].wire()
        return self._wire

    def made_trace(self) -> tuple[MaskedTrace, float]:
        """The trace, and the seconds it took to make."""
        with self._making:
            if self._trace is None:
                began = time.perf_counter()
                self._trace = self._make_trace()
                self._trace_s = time.perf_counter() - began
            return self._trace, self._trace_s

    def capture_done(self) -> None:
        """The trace is where it shall be."""
        self._captured.set()

    async def captured(self) -> None:
        """Wait until the trace is where it shall be."""
        await self._captured.wait()

    def unwrap(self) -> JsonValue:
        """The value.

        Raises:
            GuestError: the run failed.
        """
        if self.error is not None:
            raise GuestError(self.error.message, code=self.error.code, line=self.error.line)
        return self.value

    def recording(self) -> Recording:
        """What is needed to run the same box again; raw values, for this machine only.

        Raises:
            ValidationError: the run was too large to be kept whole, or it was killed.
        """
        if not self.replayable:
            raise ValidationError(
                "this run cannot be replayed: it was killed, read its clock too often, or ran in native Python"
            )
        return Recording.of(self.ledger)

    def to_json(self) -> dict[str, JsonValue]:
        """The object of `belljar run --json`."""
        return {
            "runId": self.run_id,
            "success": self.success,
            "value": self.value,
            "error": None if self.error is None else self.error.to_json(),
            "durationMs": round(self.duration_ms, 3),
            "stdout": self.stdout,
            "stderr": self.stderr,
            "calls": [_call(record) for record in self.calls],
            "trace": self.trace,
        }

    @staticmethod
    def refused(error: BelljarError) -> dict[str, JsonValue]:
        """The object of `belljar run --json` where nothing ran: no calls, no trace."""
        return {
            "runId": None,
            "success": False,
            "value": None,
            "error": {"code": error.code.value, "message": error.message},
            "durationMs": 0.0,
            "stdout": "",
            "stderr": "",
            "calls": [],
            "trace": None,
        }


def _call(record: CallRecord) -> dict[str, JsonValue]:
    shown: dict[str, JsonValue] = {
        "callId": record.call_id,
        "server": record.server,
        "tool": record.tool,
        "state": record.state,
        "durationMs": None if record.duration_ms is None else round(record.duration_ms, 3),
        "source": record.source,
    }
    more = {"grant": record.grant or None, "errorCode": record.error_code}
    return shown | {key: value for key, value in more.items() if value is not None}
