"""The worker: one process, one box. What the box imports, and the frames behind it.

The zygote enters the guest, has it rehearse a job, and when it asks for the next one stays in that question for ever
and forks there: each child goes on from it with a box that is warm already, puts its walls up, lets the box rehearse
once more so that the memory it will touch is its own, says `ready`, and waits. So a run costs neither the start of an
interpreter nor most of its page faults, and no box has ever seen another one's job.

Everything here runs on the host's side of wall 1 but inside wall 2: it holds no secret, opens nothing, and trusts
neither the box (it checks what it must read, the rest is checked again behind the socket) nor its own survival.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

from belljar.errors import ProtocolError
from belljar.rpc.messages import Execute, Fault, Ready
from belljar.sandbox.carried import Carried
from belljar.sandbox.channel import CHUNK, Reporter, answer_text, calls_of, ending, logs_of, rehearse_border
from belljar.sandbox.timeline import Timeline

__all__ = ["Worker"]

_REHEARSE = ("", "{}", "0", False)
# The first box rehearses before the fork and after it; its second question is where the zygote stays. Boxes of a worker
# that is reused do not rehearse: that would cost more than it saves.
_FORK_POINT = 2


class Worker:
    """The imports of one box. `attach` is called once, in the forked process."""

    def __init__(self, fork_point: Callable[[], None], carried: Carried | None = None) -> None:
        self._fork_point = fork_point
        self._carried = carried or Carried({})
        self._reporter: Reporter | None = None
        self._ready: Ready | None = None
        self._asked = 0
        self._timeline = Timeline(0)
        self._seed = b""
        self._drawn = 0
        self._shadowed: set[str] = set()
        self.python = ""
        """The guest's version, once it is known."""

    def attach(self, reporter: Reporter, ready: Ready) -> None:
        """From here on this process is a worker: `ready` is what it says when its box is parked."""
        self._reporter = reporter
        self._ready = ready

    @property
    def attached(self) -> bool:
        """Whether this process is a worker already, and not the zygote."""
        return self._reporter is not None

    # ---- imports of the box

    def job(self, store: Any) -> tuple[str, str, str, bool]:
        self._asked += 1
        if self._asked == _FORK_POINT:
            self._fork_point()
        if self._asked <= _FORK_POINT:
            return _REHEARSE
        assert self._reporter is not None
        return self._next_job(self._reporter)

    def _next_job(self, reporter: Reporter) -> tuple[str, str, str, bool]:
        execute = rehearse_border(reporter)
        Timeline(execute.now_ns, execute.clock).wall_ns()
        hashlib.sha256(bytes.fromhex(execute.seed)).hexdigest()
        if self._ready is not None:
            reporter.send(self._ready)
        message = reporter.receive(-1)
        if not isinstance(message, Execute):
            os._exit(0)
        self._seed = bytes.fromhex(message.seed)
        self._drawn = 0
        self._timeline = Timeline(message.now_ns, message.clock)
        return message.code, message.args, hashlib.sha256(self._seed).hexdigest(), message.decisions

    def step(self, store: Any, calls: str, timeout_ms: int) -> str:
        reporter = self._reporter
        if reporter is None:  # the rehearsal has a host of its own
            return "[]"
        if calls != "[]":
            reporter.send(*calls_of(reporter, calls))
        due = self._timeline.answers_due()
        # In a replay exactly as many as then, however long they take.
        returns = reporter.returns(timeout_ms) if due is None else [reporter.receive(-1) for _ in range(due)]
        self._timeline.waited(len(returns))
        return f"[{','.join(map(answer_text, returns))}]"

    def log(self, store: Any, stream: str, text: str) -> None:
        if self._reporter is None:
            self.python = text
        elif stream:
            for message in logs_of(stream, text):
                self._reporter.send(message)

    def packaged(self, store: Any, path: str) -> str | None:
        return self._carried.give(path)

    def random_bytes(self, store: Any, count: int) -> bytes:
        self._shadowed.add("random")
        # A stream of its own for each request, so that no request can be told from another's bytes.
        self._drawn += 1
        return hashlib.shake_256(self._seed + self._drawn.to_bytes(8, "little")).digest(min(count, CHUNK))

    def random_u64(self, store: Any) -> int:
        return int.from_bytes(self.random_bytes(store, 8), "little")

    def wall_ns(self, store: Any) -> int:
        self._shadowed.add("wall")
        return self._timeline.wall_ns()

    def monotonic_ns(self, store: Any) -> int:
        self._shadowed.add("monotonic")
        return self._timeline.monotonic_ns()

    @property
    def shadowed(self) -> frozenset[str]:
        """Which of our definitions a box has used; the zygote refuses to serve if one never was."""
        return frozenset(self._shadowed)

    # ---- the end of a run

    def report(self, ok: bool, text: str, observed: str) -> None:
        """Send what the guest returned."""
        assert self._reporter is not None
        self._reporter.send(ending(ok, text, observed, self._timeline.noted(), {"timeline": self._timeline.events}))

    def report_trap(self, exc: BaseException) -> None:
        """Send that the box itself ended: this is the worker's word, not the guest's."""
        assert self._reporter is not None
        self._reporter.send(_trap(exc))


def _trap(exc: BaseException) -> Fault:
    if isinstance(exc, (ProtocolError, MemoryError)):  # a text too large for this process, whose memory is bounded too
        return Fault("PROTOCOL_ERROR", "the guest sent what no frame may hold")
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    if type(exc).__name__ == "NotInABoxError":  # of the engine, which is not imported here for a name
        return Fault("CAPABILITY_ERROR", str(exc))
    if type(exc).__name__ == "ExitTrap":
        return Fault("CAPABILITY_ERROR", "the capability ended its interpreter (os._exit) instead of returning a value")
    if "call stack exhausted" in str(exc):
        return Fault("CAPABILITY_ERROR", "RecursionError: the capability exhausted its interpreter's stack")
    telling = (line for line in lines if "wasm trap" in line or line.startswith("BUG:"))
    reason = next(telling, lines[-1] if lines else type(exc).__name__)
    return Fault("WORKER_CRASH", f"the box broke down: {reason[:200]}")
