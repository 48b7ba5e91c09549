"""One run, from what it was given to what it leaves behind: its ledger, its door, its session, its `Run`.

The jar decides where and when a run happens; this decides what it means. A guest's word is weighed here: a fault is
called what the guest calls it only where the guest can know, or the ledger knows of it too.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from belljar._run import Run, RunError
from belljar.errors import Code
from belljar.limits import Limits
from belljar.nested import Calling
from belljar.rpc import jsontext
from belljar.rpc.approval import Approver
from belljar.rpc.bridge import Bridge, CallObserver
from belljar.rpc.ledger import Ledger
from belljar.rpc.messages import Execute, Fault, Result
from belljar.rpc.policy import Policy, Trust
from belljar.rpc.recording import Recording
from belljar.rpc.replay import ReplayBridge
from belljar.rpc.world import CALLER, JsonValue, ToolInfo, World
from belljar.sandbox.host import BoxProcess
from belljar.sandbox.loader import Capability
from belljar.sandbox.session import Door, Outcome, Output, Session
from belljar.sandbox.workfolder import Keeping
from belljar.tracing.collector import RunFacts
from belljar.tracing.masked import MaskedTraces
from belljar.tracing.texts import MaskedTrace

if TYPE_CHECKING:
    from belljar.tracing.otel import RunSpans, Telemetry

__all__ = ["LOCAL", "OneRun", "RunOptions"]

LOCAL = "local"
"""The principal of whoever sits at this machine."""

# What a fault may be called on the guest's word alone; any other code has to be one the ledger knows of.
_GUEST_CODES = frozenset({Code.CAPABILITY_ERROR, Code.SYNTAX_ERROR, Code.RESULT_NOT_JSON, Code.MEMORY_LIMIT})
# What the worker itself may say; it ends the run either way, so a lie gains nothing.
_WORKER_CODES = frozenset({Code.WORKER_CRASH, Code.RESULT_LIMIT, Code.PROTOCOL_ERROR})


# A native box has our own Python, which reports branches from 3.14 on.
_NO_BRANCHES = sys.version_info < (3, 14)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What one run is given beside its arguments; what is None is the jar's."""

    policy: Policy | None = None
    limits: Limits | None = None
    backend: Literal["wasm", "process"] = "wasm"
    intent: str | None = None
    workflow: str | None = None
    principal: str = LOCAL
    seed: str | None = None
    """64 hex digits; by default a fresh one."""
    waive: frozenset[str] = frozenset()
    """Walls to do without, by name."""
    approver: Approver | None = None
    observer: CallObserver | None = None
    remember: Callable[[ToolInfo], None] | None = None
    """Told of a tool a person allowed for good."""
    keep: Keeping | None = None
    """Give the run a work folder, and copy its files out; process backend."""


class OneRun:
    """What belongs to one run, and the steps it takes: `session`, and when that has ended, `finished`.

    Made in the task that asked for the run: if that task answers a call of another run, this one is its child.
    """

    def __init__(
        self,
        capability: Capability,
        options: RunOptions,
        limits: Limits,
        policy: Policy,
        world: World,
        trust: Trust | None,
        execute: Execute,
        traces: MaskedTraces,
        recording: Recording | None = None,
        *,
        telemetry: Telemetry | None = None,
        calling: Calling | None = None,
    ) -> None:
        self.execute = execute
        self._capability = capability
        self._options = options
        self._limits = limits
        self._policy = policy
        self._world = world
        self._trust = trust
        self._traces = traces
        self._recording = recording
        self._telemetry = telemetry
        self._calling = calling
        self._spans: RunSpans | None = None
        self._parent = CALLER.get()
        self._ledger = Ledger(execute.run, source="replay" if recording else "real")
        self._output = Output(limits.output)
        self._session: Session | None = None
        self._bridge: Bridge | None = None
        self._began: float | None = None
        self._walls: tuple[str, ...] = ()

    @property
    def keep(self) -> Keeping | None:
        """Where its files shall go."""
        return self._options.keep

    def session(self, box: BoxProcess) -> Session:
        """The run begins, in this box; or in another one, if the first was lost before it said a word."""
        if self._began is None:
            self._begin(box.ready.walls if box.ready else ())
        self._session = Session(box, self._door(), self._limits, self._output)
        return self._session

    def _begin(self, walls: tuple[str, ...]) -> None:
        self._walls = walls
        self._began = time.perf_counter()
        execute = self.execute
        if self._telemetry is not None:
            self._spans = self._telemetry.begin(execute.run, str(self._capability.fqdn))
        self._ledger.open(
            code=execute.code,
            args_text=execute.args,
            seed=execute.seed,
            now_ns=execute.now_ns,
            capability=str(self._capability.fqdn),
            policy_sha256=self._policy.digest,
            world=self._world.name,
            backend=self._options.backend,
            walls=list(walls),
        )

    def _door(self) -> Door:
        observer = self._options.observer
        if self._recording is not None:
            return ReplayBridge(recording=self._recording, ledger=self._ledger, limits=self._limits, observer=observer)
        calling = self._calling
        self._bridge = Bridge(
            world=calling.world(self._world, self._pause_call) if calling else self._world,
            ledger=self._ledger,
            limits=self._limits,
            policy=self._policy,
            declared=calling.family.declared if calling else self._capability.declared,
            trust=self._trust,
            auto=calling.family.auto if calling else None,
            approver=self._options.approver,
            remember=self._options.remember,
            on_pause=self._pause,
            observer=observer,
            caller=self._spans.caller if self._spans else None,
            reserved=calling is not None,
        )
        return self._bridge

    def _pause(self, waiting: bool) -> None:
        """A person is asked for this run, or one below it: its clock stands still, and so do those above."""
        assert self._session is not None
        self._session.pause(waiting)
        if self._calling is not None and self._calling.family.pause is not None:
            self._calling.family.pause(waiting)

    def _pause_call(self, call_id: int, waiting: bool) -> None:
        assert self._bridge is not None
        self._bridge.pause(call_id, waiting)
        self._pause(waiting)

    # ---- the end

    def finished(self, outcome: Outcome) -> Run:
        """The run has ended: its ledger is closed, and here is what it leaves. Also for one that got no box."""
        if self._began is None:
            self._begin(())
        duration_ms = (time.perf_counter() - (self._began or 0.0)) * 1e3
        value, error = self._value(outcome)
        last = outcome.last
        self._ledger.close(outcome=error.code.value if error else "ok", clock=last.clock if last else ())
        facts = self._facts(error, duration_ms, last)
        return Run(
            run_id=self.execute.run,
            success=error is None,
            value=value,
            error=error,
            duration_ms=duration_ms,
            calls=self._ledger.calls,
            stdout=self._output.text("stdout"),
            stderr=self._output.text("stderr"),
            output_bytes=dict(self._output.bytes_seen),
            ledger=self._ledger,
            replayable=last is not None and last.stats.get("timeline", 1) <= len(last.clock),
            _make_trace=lambda: self._trace(facts),
        )

    def _trace(self, facts: RunFacts) -> MaskedTrace:
        trace = self._traces(replace(facts, ledger_head=self._ledger.head), self._ledger.calls)
        if self._spans is not None:
            self._spans.finish(trace, self._ledger.calls)
        return trace

    def _value(self, outcome: Outcome) -> tuple[JsonValue, RunError | None]:
        if outcome.error is not None:
            return None, RunError(outcome.error.code, outcome.error.message, getattr(outcome.error, "line", None))
        last = outcome.last
        if isinstance(last, Result):
            return self._result(last)
        assert last is not None
        return None, RunError(self._code(last), last.message, last.line or None, last.traceback)

    def _result(self, result: Result) -> tuple[JsonValue, RunError | None]:
        size = jsontext.size(result.value)
        if size > self._limits.result:
            message = f"the result has {size} bytes, over {self._limits.result}; allow more with --limit result=N"
            return None, RunError(Code.RESULT_LIMIT, message)
        try:
            return jsontext.parse(result.value, max_bytes=self._limits.result), None
        except jsontext.JsonError as exc:
            return None, RunError(Code.RESULT_NOT_JSON, f"the result is not JSON we take: {exc}")

    def _code(self, fault: Fault) -> Code:
        """The fault's code, as far as it can be believed."""
        try:
            code = Code(fault.code)
        except ValueError:
            return Code.CAPABILITY_ERROR
        seen = {record.error_code for record in self._ledger.calls}
        return code if code in _GUEST_CODES | _WORKER_CODES or code.value in seen else Code.CAPABILITY_ERROR

    def _facts(self, error: RunError | None, duration_ms: float, last: Result | Fault | None) -> RunFacts:
        return RunFacts(
            trace_id=self.execute.run,
            capability_id=str(self._capability.fqdn),
            capability_hash=self._capability.sha256,
            success=error is None,
            duration_ms=duration_ms,
            started_at_ns=self.execute.now_ns,
            error_code=error.code if error else None,
            error_message=error.message if error else None,
            error_line=error.line if error else None,
            parent_trace_id=self._parent.run_id if self._parent else None,
            workflow_id=self._options.workflow,
            intent=self._options.intent or self._capability.description or None,
            backend=self._options.backend,
            walls=self._walls,
            decisions=last.decisions if last else (),
            decisions_state="unavailable" if self._options.backend == "process" and _NO_BRANCHES else "guest-reported",
            otel_trace_id=self._spans.otel_trace_id if self._spans else None,
            otel_span_id=self._spans.otel_span_id if self._spans else None,
        )
