"""A worker's end of the border: frames on its one socket, and the guest's texts turned into messages.

Both kinds of workers use it, behind wall 2 and beside the box. Neither side is trusted here: what the guest says is
checked as far as it must be read, and the host checks all of it again.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections import deque
from typing import Any, NoReturn

from belljar.limits import MAX_FRAME_BYTES
from belljar.rpc.frames import MAX_DECISIONS, Frames, encode
from belljar.rpc.messages import Call, Execute, Fault, FromWorker, Log, Result, Return

__all__ = ["CHUNK", "Reporter", "answer_text", "calls_of", "decisions_of", "ending", "logs_of", "rehearse_border"]

CHUNK = 256 << 10
# Room for the frame's other fields.
_MAX_VALUE = MAX_FRAME_BYTES - (256 << 10)
# Twice what one call may hold: calls cross together, and what they hold stands escaped in their list.
_MAX_STEP = 2 * MAX_FRAME_BYTES
_LOG_CHARS = 1 << 20
# What a guest may call its own failure; the codes of calls are checked against the ledger by the host.
_GUEST_CODES = frozenset(
    "CAPABILITY_ERROR SYNTAX_ERROR RESULT_NOT_JSON MEMORY_LIMIT RPC_ERROR RPC_TIMEOUT UNKNOWN_TOOL PERMISSION_DENIED "
    "UPSTREAM_UNAVAILABLE".split()
)

Decisions = tuple[tuple[str, str, str], ...]


class Reporter:
    """Frames on the worker's one socket; if the host is gone, so are we. Made before the walls go up.

    `wake` is a descriptor that ends a wait when it can be read, where there are threads that may have to.
    """

    def __init__(self, sock: socket.socket, wake: int | None = None) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._wake = wake
        self._frames = Frames.to_worker()
        self._inbox: deque[Any] = deque()
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        if wake is not None:
            self._poll.register(wake, select.POLLIN)

    def send(self, *messages: FromWorker) -> None:
        self.send_bytes(b"".join([encode(message) for message in messages]))

    def send_bytes(self, frames: bytes) -> None:
        data = memoryview(frames)
        while data:
            try:
                data = data[self._sock.send(data) :]
            except BlockingIOError:
                self._wait_writable()
            except OSError:
                os._exit(0)

    def _wait_writable(self) -> None:
        """Answers are taken in meanwhile: the host may wait for that before it reads on, and we would both wait."""
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT | select.POLLIN)
        for _, events in poll.poll():
            if events & select.POLLIN:
                self._read()

    def receive(self, timeout_ms: int) -> Any:
        """The next message, or None when the time is up or somebody woke us; negative: wait for ever."""
        deadline = None if timeout_ms < 0 else time.monotonic_ns() + timeout_ms * 1_000_000
        while not self._inbox:
            if self._read():
                continue
            left_ns = 0 if deadline is None else deadline - time.monotonic_ns()
            if left_ns <= 0 and deadline is not None:
                return None
            ready = self._poll.poll(None if deadline is None else -(-left_ns // 1_000_000))
            if self._wake is not None and any(descriptor == self._wake for descriptor, _ in ready):
                os.read(self._wake, 8)
                return None
        return self._inbox.popleft()

    def _read(self) -> bool:
        try:
            chunk = self._sock.recv(CHUNK)
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

    def refuse(self, why: str) -> NoReturn:
        """The guest broke the rules of its own side: say so and end."""
        self.send(Fault("PROTOCOL_ERROR", why))
        os._exit(0)


def rehearse_border(reporter: Reporter) -> Execute:
    """Decode a job and encode its end, as the guest rehearses what lies between: after a fork each page of this
    interpreter that is written to is copied, and a parked worker should have that behind it. Gives the job."""
    reporter.receive(0)
    (execute,) = Frames.to_worker().feed(encode(Execute("", "1", "{}", "0" * 64, 0)))
    encode(ending(True, "1", "[]", (), {"timeline": 0}))
    assert isinstance(execute, Execute)
    return execute


# The guest's texts


def calls_of(reporter: Reporter, text: str) -> list[FromWorker]:
    """New calls, as `wit/world.wit` has them; a text that is none ends the worker."""
    try:
        calls: list[Any] = json.loads(text) if len(text) <= _MAX_STEP else []
        if text[:1] != "[" or not calls:
            raise ValueError("no list of calls")
        return [Call(call, server, tool, args, line) for call, server, tool, args, line in calls]
    except (ValueError, TypeError, RecursionError, MemoryError):
        reporter.refuse("the guest's calls are malformed")


def answer_text(message: Return) -> str:
    """One answer as the guest takes it."""
    if message.ok:
        return f"[{message.call},true,{json.dumps(message.value)}]"
    error = f'{{"code":{json.dumps(message.code)},"message":{json.dumps(message.message)},"data":{message.data}}}'
    return f"[{message.call},false,{json.dumps(error)}]"


def logs_of(stream: str, text: str) -> list[FromWorker]:
    """What was printed, in pieces that fit a frame."""
    target = "stderr" if stream == "stderr" else "stdout"
    return [Log(target, text[start : start + _LOG_CHARS]) for start in range(0, len(text), _LOG_CHARS)]


def decisions_of(observed: str) -> Decisions:
    """The branches the guest reports."""
    try:
        found: Any = json.loads(observed) if len(observed) <= _MAX_VALUE else []
        return tuple((str(n), str(o), str(c)) for n, o, c in found[:MAX_DECISIONS])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ()  # guest-reported, and the guest broke it: there are none to report


def ending(
    ok: bool, text: str, observed: str, clock: tuple[int, ...] = (), stats: dict[str, int] | None = None
) -> Result | Fault:
    """The last message of a run whose guest returned."""
    decisions, stats = decisions_of(observed), stats or {}
    if not ok:
        return _fault(text, decisions, clock, stats)
    if len(text.encode()) > _MAX_VALUE:
        return Fault("RESULT_LIMIT", f"the result has {len(text)} characters of JSON")
    return Result(text, decisions, clock, stats)


def _fault(text: str, decisions: Decisions, clock: tuple[int, ...], stats: dict[str, int]) -> Fault:
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
