"""One run in one box: sends the code, passes calls to the bridge, and ends it.

The host keeps the time, counts what is printed and decides when it is over. The box is killed at the deadline, on a
violation of the protocol, and whenever the run ends otherwise than by its own answer; what was printed and called until
then is kept. Calls are answered concurrently; past `in_flight` of them the host stops reading, and the guest waits.
"""

from __future__ import annotations

import math
import os
import signal
from dataclasses import dataclass, field
from typing import Protocol

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from belljar.errors import BelljarError, Code, GuestError, Interrupted, ProtocolError, WorkerCrash, unwrapped
from belljar.limits import Limits
from belljar.rpc.admission import Admitted
from belljar.rpc.messages import Call, Execute, Fault, Log, Ready, Result, Return
from belljar.sandbox.host import BoxProcess
from belljar.sandbox.workfolder import WorkFolder

__all__ = ["Door", "Outcome", "Output", "Session"]

# A dead worker is reaped in milliseconds, by a zygote that may be forking a hundred others.
_REAPED_S = 3.0
# How often the files of a run are counted.
_WATCH_S = 0.1


class Door(Protocol):
    """What answers calls: a `Bridge`, or in a replay a recording's."""

    def admit(self, call: Call) -> Admitted: ...

    async def answer(self, admitted: Admitted) -> Return: ...

    def end(self) -> None: ...


@dataclass(slots=True)
class Output:
    """What a run printed: at most `limit` bytes kept, all of them counted."""

    limit: int
    bytes_seen: dict[str, int] = field(default_factory=lambda: {"stdout": 0, "stderr": 0})
    _kept: dict[str, list[bytes]] = field(default_factory=lambda: {"stdout": [], "stderr": []})
    _room: int = field(init=False)

    def __post_init__(self) -> None:
        self._room = self.limit

    def add(self, stream: str, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        self.bytes_seen[stream] += len(data)
        if self._room > 0:
            self._kept[stream].append(data[: self._room])
            self._room -= len(self._kept[stream][-1])

    def text(self, stream: str) -> str:
        """What was kept; a character cut in half at the limit is left out."""
        return b"".join(self._kept[stream]).decode("utf-8", "ignore")

    @property
    def truncated(self) -> bool:
        return sum(self.bytes_seen.values()) > self.limit


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a box ended: with its own last message, or with an error of the host's."""

    last: Result | Fault | None
    error: BelljarError | None


class Session:
    """Runs one `Execute` to its end. `pause` stops the clock while a person is asked."""

    def __init__(self, box: BoxProcess, door: Door, limits: Limits, output: Output) -> None:
        self._box = box
        self._door = door
        self._limits = limits
        self._output = output
        # Fast: a call that need not wait should not go round the loop for being polite.
        self._sending = anyio.Lock(fast_acquire=True)
        self._places = anyio.Semaphore(limits.in_flight, fast_acquire=True)
        self._scope = anyio.CancelScope()
        self._remaining_s = 0.0
        self._pauses = 0
        self._heard = False
        self._failure: BelljarError | None = None

    def pause(self, waiting: bool) -> None:
        """A person is asked (True) or has answered: their time is not the run's."""
        if waiting and self._pauses == 0:
            self._remaining_s = self._scope.deadline - anyio.current_time()
            self._scope.deadline = math.inf
        self._pauses += 1 if waiting else -1
        if self._pauses == 0:
            self._scope.deadline = anyio.current_time() + self._remaining_s

    def interrupt(self) -> None:
        """A person ends the run."""
        self._failure = self._failure or Interrupted("interrupted")
        self._scope.cancel()

    @property
    def came_to_nothing(self) -> bool:
        """Whether the box was killed from outside before it said a word: nothing happened, so it may run again."""
        return not self._heard and isinstance(self._failure, WorkerCrash) and self._box.was_killed

    async def run(self, execute: Execute) -> Outcome:
        """Run to the end. Does not raise for what guest, worker or calls do; cancelling it passes through."""
        self._scope.deadline = anyio.current_time() + self._limits.wall
        last: Result | Fault | None = None
        if self._box.prints is not None:
            self._box.prints.listen(self._output.add)
        with self._scope:
            try:
                with unwrapped():
                    async with anyio.create_task_group() as tasks:
                        if self._box.work is not None:
                            tasks.start_soon(self._watch, self._box.work)
                        await self._box.send_rest(self._box.send_now(execute))
                        last = await self._converse(tasks)
                        tasks.cancel_scope.cancel()
            except BelljarError as exc:
                self._failure = self._failure or exc
        if isinstance(self._failure, WorkerCrash):
            self._failure = await _explained(self._box, self._failure)
        if self._box.prints is not None:
            self._box.prints.drain()
        if self._failure is not None:
            return Outcome(None, self._failure)
        if last is None:
            message = f"no result within {self._limits.wall:g} s; allow more with --limit wall=N"
            return Outcome(None, GuestError(message, code=Code.EXECUTION_TIMEOUT))
        self._box.reusable = not (isinstance(last, Fault) and last.code == Code.WORKER_CRASH)
        return Outcome(last, None)

    async def _watch(self, work: WorkFolder) -> None:
        """End the run when its files are more than they may be."""
        while not (excess := await anyio.to_thread.run_sync(work.excess)):  # noqa: ASYNC110 - another process
            await anyio.sleep(_WATCH_S)
        self._failure = GuestError(f"the run wrote {excess}; write less", code=Code.RESULT_LIMIT)
        self._scope.cancel()

    async def _converse(self, tasks: TaskGroup) -> Result | Fault:
        while True:
            message = await self._box.receive()
            self._heard = True
            if isinstance(message, Call):
                await self._admit(message, tasks)
            elif isinstance(message, Log):
                self._output.add(message.stream, message.text)
            elif isinstance(message, Ready):
                raise ProtocolError("a worker said ready in the middle of a run")
            else:
                self._door.end()
                return message

    async def _admit(self, call: Call, tasks: TaskGroup) -> None:
        admitted = self._door.admit(call)
        await self._places.acquire()
        tasks.start_soon(self._answer, admitted)

    async def _answer(self, admitted: Admitted) -> None:
        try:
            answer = await self._door.answer(admitted)
            async with self._sending:
                await self._box.send(answer)
        except BelljarError as exc:
            # Whatever the guest catches, the run ends with this.
            self._failure = self._failure or exc
            self._scope.cancel()
        finally:
            self._places.release()


async def _explained(box: BoxProcess, crash: WorkerCrash) -> BelljarError:
    """The same, with what ended the worker, if the zygote says so in time."""
    with anyio.move_on_after(_REAPED_S):
        await box.gone.wait()
    if box.status is None:
        return crash
    if box.native and os.WIFEXITED(box.status):
        # A worker of ours that can still say something ends with a message.
        return GuestError("the capability ended its interpreter (os._exit) instead of returning a value")
    if not os.WIFSIGNALED(box.status):
        return crash
    name = signal.Signals(os.WTERMSIG(box.status)).name
    return WorkerCrash(f"the worker was ended by {name}, from outside or by what the capability did to its interpreter")
