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
import json
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

from belljar.errors import ProtocolError
from belljar.limits import MAX_FRAME_BYTES
from belljar.rpc.frames import MAX_DECISIONS, Frames, encode
from belljar.rpc.messages import Call, Execute, Fault, FromWorker, Log, Ready, Result, Return
from belljar.sandbox.timeline import Timeline

__all__ = ["Reporter", "Worker"]

_CHUNK = 256 << 10
# Room for the frame's other fields.
_MAX_VALUE = MAX_FRAME_BYTES - (256 << 10)
# Twice what one call may hold: calls cross together, and what they hold stands escaped in their list.
_MAX_STEP = 2 * MAX_FRAME_BYTES
_LOG_CHARS = 1 << 20
_REHEARSE = ("", "{}", "0", False)
# The first box rehearses before the fork and after it; its second question is where the zygote stays. Boxes of a worker
# that is reused do not rehearse: that would cost more than it saves.
_FORK_POINT = 2
# What a guest may call its own failure; the codes of calls are checked against the ledger by the host.
_GUEST_CODES = frozenset(
    "CAPABILITY_ERROR SYNTAX_ERROR RESULT_NOT_JSON MEMORY_LIMIT RPC_ERROR RPC_TIMEOUT UNKNOWN_TOOL PERMISSION_DENIED "
    "UPSTREAM_UNAVAILABLE".split()
)


class Reporter:
    """Frames on the worker's one socket; if the host is gone, so are we. Made before the walls go up."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._frames = Frames.to_worker()
        self._inbox: deque[Any] = deque()
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def send(self, *messages: FromWorker) -> None:
        data = memoryview(b"".join([encode(message) for message in messages]))
        while data:
            try:
                data = data[self._sock.send(data) :]
            except BlockingIOError:
                self._wait_writable()
            except OSError:
                os._exit(0)

    def _wait_writable(self) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        poll.poll()

    def receive(self, timeout_ms: int) -> Any:
        """The next message, or None when the time is up; negative: wait for ever."""
        deadline = None if timeout_ms < 0 else time.monotonic_ns() + timeout_ms * 1_000_000
        while not self._inbox:
            if self._read():
                continue
            left_ns = 0 if deadline is None else deadline - time.monotonic_ns()
            if left_ns <= 0 and deadline is not None:
                return None
            self._poll.poll(None if deadline is None else -(-left_ns // 1_000_000))
        return self._inbox.popleft()

    def _read(self) -> bool:
        try:
            chunk = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            os._exit(0)
        if not chunk:
            os._exit(0)
        self._inbox.extend(self._frames.feed(chunk))
        return True

    def returns(self, timeout_ms: int) -> list[Return]:
        """The next answer and what else has come with it; empty when the time is up."""
        message = self.receive(timeout_ms)
        found: list[Return] = []
        while message is not None:
            found.append(message)
            message = self._inbox.popleft() if self._inbox else None
        return found


class Worker:
    """The imports of one box. `attach` is called once, in the forked process."""

    def __init__(self, fork_point: Callable[[], None]) -> None:
        self._fork_point = fork_point
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
        _rehearse_border()
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
            reporter.send(*_calls(reporter, calls))
        due = self._timeline.answers_due()
        # In a replay exactly as many as then, however long they take.
        returns = reporter.returns(timeout_ms) if due is None else [reporter.receive(-1) for _ in range(due)]
        self._timeline.waited(len(returns))
        return f"[{','.join(map(_answer, returns))}]"

    def log(self, store: Any, stream: str, text: str) -> None:
        if self._reporter is None:
            self.python = text
        elif stream:
            for start in range(0, len(text), _LOG_CHARS):
                self._reporter.send(Log("stderr" if stream == "stderr" else "stdout", text[start : start + _LOG_CHARS]))

    def random_bytes(self, store: Any, count: int) -> bytes:
        self._shadowed.add("random")
        # A stream of its own for each request, so that no request can be told from another's bytes.
        self._drawn += 1
        return hashlib.shake_256(self._seed + self._drawn.to_bytes(8, "little")).digest(min(count, _CHUNK))

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
        decisions = _decisions(observed)
        clock = self._timeline.noted()
        stats = {"timeline": self._timeline.events}
        if not ok:
            self._reporter.send(_fault(text, decisions, clock, stats))
        elif len(text.encode()) > _MAX_VALUE:
            self._reporter.send(Fault("RESULT_LIMIT", f"the result has {len(text)} characters of JSON"))
        else:
            self._reporter.send(Result(text, decisions, clock, stats))

    def report_trap(self, exc: BaseException) -> None:
        """Send that the box itself ended: this is the worker's word, not the guest's."""
        assert self._reporter is not None
        self._reporter.send(_trap(exc))


def _rehearse_border() -> None:
    """Decode a job and encode its end, as the guest rehearses what lies between: after a fork each page of this
    interpreter that is written to is copied, and a parked worker should have that behind it."""
    execute = Execute("", "1", "{}", "0" * 64, 0)
    if [execute] == Frames.to_worker().feed(encode(execute)):
        Timeline(execute.now_ns, execute.clock).wall_ns()
        hashlib.sha256(bytes.fromhex(execute.seed)).hexdigest()
    encode(Result("1", _decisions("[]"), (), {"timeline": 0}))


def _calls(reporter: Reporter, text: str) -> list[FromWorker]:
    try:
        calls: list[Any] = json.loads(text) if len(text) <= _MAX_STEP else []
        if text[:1] != "[" or not calls:
            raise ValueError("no list of calls")
        return [Call(call, server, tool, args, line) for call, server, tool, args, line in calls]
    except (ValueError, TypeError, RecursionError, MemoryError):
        _refuse(reporter, "the guest's calls are malformed")


def _refuse(reporter: Reporter, why: str) -> NoReturn:
    reporter.send(Fault("PROTOCOL_ERROR", why))
    os._exit(0)


def _answer(message: Return) -> str:
    if message.ok:
        return f"[{message.call},true,{json.dumps(message.value)}]"
    error = f'{{"code":{json.dumps(message.code)},"message":{json.dumps(message.message)},"data":{message.data}}}'
    return f"[{message.call},false,{json.dumps(error)}]"


def _decisions(observed: str) -> tuple[tuple[str, str, str], ...]:
    try:
        found: Any = json.loads(observed) if len(observed) <= _MAX_VALUE else []
        return tuple((str(n), str(o), str(c)) for n, o, c in found[:MAX_DECISIONS])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ()  # guest-reported, and the guest broke it: there are none to report


def _fault(
    text: str, decisions: tuple[tuple[str, str, str], ...], clock: tuple[int, ...], stats: dict[str, int]
) -> Fault:
    try:
        said: Any = json.loads(text) if len(text) <= _MAX_VALUE else {}
        return Fault(
            said["code"] if said["code"] in _GUEST_CODES else "CAPABILITY_ERROR",
            str(said["message"]),
            str(said.get("traceback", "")),
            int(said.get("line", 0)),
            str(said.get("data", "null")),
            decisions,
            clock,
            stats,
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return Fault("CAPABILITY_ERROR", "the capability failed and broke its own report of it")


def _trap(exc: BaseException) -> Fault:
    if isinstance(exc, (ProtocolError, MemoryError)):  # a text too large for this process, whose memory is bounded too
        return Fault("PROTOCOL_ERROR", "the guest sent what no frame may hold")
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    if type(exc).__name__ == "ExitTrap":
        return Fault("CAPABILITY_ERROR", "the capability ended its interpreter (os._exit) instead of returning a value")
    if "call stack exhausted" in str(exc):
        return Fault("CAPABILITY_ERROR", "RecursionError: the capability exhausted its interpreter's stack")
    reason = next((line for line in lines if "wasm trap" in line), lines[-1] if lines else type(exc).__name__)
    return Fault("WORKER_CRASH", f"the box broke down: {reason[:200]}")
