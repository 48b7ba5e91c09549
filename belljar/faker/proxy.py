"""The proxy: carries out what the pump decides, between one client and one server.

One task reads the client, one reads the server, one looks at deadlines, and each call that is served has its own. The
pump is theirs together; all of it runs in one event loop, so that a step of the pump is never interrupted. What must
be sent is sent in the order in which the pump said so. The server is read on while calls wait, and a client that does
not read its answers stops the reading of the server, as it would without us.

The end: when the client has gone, what is under way has a few seconds, then the server is told. When the server has
gone, all that wait for it get an error, and so will we end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import anyio
from anyio.abc import TaskGroup

from belljar import show
from belljar.faker import actions
from belljar.faker.calls import Call, CallEvent, CallWorld, RealError, Recorder, Reply, Tool, Verdict, Way
from belljar.faker.clients import Client, ClientGoneError
from belljar.faker.pump import GONE, LONGEST, TIMED_OUT, Pump, PumpOptions
from belljar.faker.targets import Target, TargetGoneError
from belljar.rpc.world import JsonValue

__all__ = ["Ended", "Proxy", "ProxyOptions", "longest_s"]

_logger = logging.getLogger("belljar.faker")

# After the client's last word; it may have written all its requests at once and be reading the answers.
_FINISH_S = 5.0
_TICK_S = 1.0
# The pump keeps the server's time, and a world its own, of which a fault may be an hour of silence. This is for a world
# that never comes to its end: longer than both.
_WORLD_S = 3900.0
_NOTES = 1000
_UNJUDGED = Verdict("write", "high", "not judged")
_CANCELLED = -32800


@dataclass(frozen=True, slots=True)
class ProxyOptions:
    """What a proxy does."""

    server: str
    """The server's name, in calls and sessions."""
    pump: PumpOptions
    real: bool = True
    """Whether reads may reach the server."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended."""

    by: Literal["client", "target"]
    reason: str = ""
    """Of the server's end, for a sentence that begins "the server"."""


def longest_s(call_s: float) -> float:
    """What a world is given for one call of a server that is given so long for one answer."""
    return call_s * LONGEST + _WORLD_S


class Proxy:
    """One client, one server."""

    def __init__(
        self,
        client: Client,
        target: Target,
        world: CallWorld | None,
        options: ProxyOptions,
        *,
        classify: Callable[[Tool], Verdict],
        recorder: Recorder | None = None,
        begin: Callable[[Call, Mapping[str, JsonValue]], None] | None = None,
        listed: Callable[[Mapping[str, Tool]], None] | None = None,
    ) -> None:
        """The parts.

        Args:
            client: who asks.
            target: who is asked.
            world: who answers calls; None in pass-through mode alone.
            options: what to do.
            classify: judges tools where no world does.
            recorder: is told of every call.
            begin: is told of a call and its `_meta` when it comes in.
            listed: is told of each list of tools that was seen whole.
        """
        assert world is not None or options.pump.passthrough
        self._client = client
        self._target = target
        self._world = world
        self._options = options
        self._classify = classify
        self._recorder = recorder
        self._begin = begin
        self._listed = listed
        self._pump = Pump(options.pump, time.monotonic)
        self._tasks: TaskGroup
        self._serving: dict[int, anyio.CancelScope] = {}
        self._answers: dict[int, _Answer] = {}
        self._ended: Ended | None = None
        self._ending = False
        self._over = anyio.Event()
        self._busy = anyio.Event()
        self._notes = 0

    async def run(self) -> Ended:
        """Until either side has gone; what was under way is finished or answered with an error."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._from_client)
            tasks.start_soon(self._from_target)
            tasks.start_soon(self._watch_deadlines)
            await self._over.wait()
            await self._finish()
            tasks.cancel_scope.cancel()
        assert self._ended is not None
        return self._ended

    def _end(self, ended: Ended) -> None:
        if self._ended is None or ended.by == "target":
            self._ended = ended
        self._over.set()

    async def _finish(self) -> None:
        """Let what is under way come to its end, within bounds."""
        with anyio.move_on_after(_FINISH_S):
            # Whether anybody still reads can only be looked at again and again.
            while (self._serving or not self._pump.idle) and not self._client.gone():  # noqa: ASYNC110
                await anyio.sleep(0.02)
        if self._ended == Ended("client"):
            self._ending = True
            await self._target.end()

    # the three loops

    async def _from_client(self) -> None:
        while (line := await self._client.receive()) is not None:
            await self._do(self._pump.client(line))
        self._end(Ended("client"))

    async def _from_target(self) -> None:
        try:
            while True:
                await self._do(self._pump.target(await self._target.receive()))
        except TargetGoneError as exc:
            if not self._ending:
                self._end(Ended("target", str(exc)))
            await self._do(self._pump.fail_all(str(exc)))

    async def _watch_deadlines(self) -> None:
        while True:
            deadline = self._pump.next_deadline()
            if deadline is None:
                self._busy = anyio.Event()
                await self._busy.wait()
            else:
                await anyio.sleep(min(max(deadline - time.monotonic(), 0.01), _TICK_S))
                await self._do(self._pump.expire())

    # what the pump decided

    async def _do(self, decided: Iterable[actions.Action]) -> None:
        # All of them are decided before the first is carried out: sending lets other tasks in.
        todo = list(decided)
        self._busy.set()  # there may be a deadline now, also while the first of them is carried out
        for action in todo:
            match action:
                case actions.ToTarget(line):
                    await self._send_target(line)
                case actions.ToClient(line):
                    await self._send_client(line)
                case actions.Serve(serial):
                    # Before the task begins: the next line of the client may cancel it.
                    scope = self._serving[serial] = anyio.CancelScope()
                    self._tasks.start_soon(self._serve, action, scope)
                case actions.Answered(serial, body):
                    if (answer := self._answers.pop(serial, None)) is not None:
                        answer.come(body)
                case actions.Cancelled(serial):
                    if (scope := self._serving.get(serial)) is not None:
                        scope.cancel()
                case _:
                    self._tell(action)

    def _tell(self, action: actions.Action) -> None:
        match action:
            case actions.Refused(tool, args, meta, error):
                reply = Reply({}, "synthesized", self._classify(tool), error=error)
                self._record(Call(self._options.server, tool, args), reply, meta, 0.0)
            case actions.Watched():
                self._watched(action)
            case actions.Listed(tools):
                if self._listed is not None:
                    self._listed(tools)
            case actions.Note(text):
                self._note(text)
            case actions.GiveUp(reason):
                self._end(Ended("target", reason))
            case _:
                raise AssertionError(action)

    async def _send_target(self, line: bytes) -> None:
        try:
            await self._target.send(line)
        except TargetGoneError as exc:
            self._end(Ended("target", str(exc)))

    async def _send_client(self, line: bytes) -> None:
        try:
            await self._client.send(line)
        except ClientGoneError:
            self._end(Ended("client"))

    def _note(self, text: str) -> None:
        self._notes += 1
        if self._notes <= _NOTES:
            _logger.debug("%s", text)

    # calls

    async def _serve(self, wanted: actions.Serve, scope: anyio.CancelScope) -> None:
        asking = _Asking(self, wanted.serial)
        ask = asking.ask if self._options.real else None
        call = Call(self._options.server, wanted.tool, wanted.args, tools=self._pump.toolbox.tools, ask=ask)
        asking.way = call.way
        if self._begin is not None:
            self._begin(call, wanted.meta)
        started_ns, started = time.time_ns(), time.perf_counter()
        reply = None
        with scope:
            await anyio.lowlevel.checkpoint_if_cancelled()  # where one that was cancelled before it began ends
            reply = await self._answer(call, asking.real if self._options.real else None)
        latency_ms = (time.perf_counter() - started) * 1e3
        if reply is None:
            reply = self._unanswered(call, _CANCELLED, "cancelled by the client", real_used=asking.asked)
        else:
            await self._do(self._pump.finish(wanted.serial, reply))
        self._serving.pop(wanted.serial, None)
        self._record(call, reply, wanted.meta, latency_ms, started_ns)

    async def _answer(self, call: Call, real: Any) -> Reply:
        try:
            with anyio.fail_after(longest_s(self._options.pump.call_s)):
                assert self._world is not None
                return await self._world.call(call, real)
        except RealError as exc:
            return _failed(self._classify(call.tool), exc.code, exc.message, data=exc.data, real_used=True)
        except TimeoutError:
            return self._unanswered(call, TIMED_OUT, "no answer was found in time")
        except Exception:
            _logger.exception("a fault in the faker, at a call of %s", show.name(call.tool.name))
            return _failed(_UNJUDGED, -32603, "a fault in the faker; see it with --debug")

    def _unanswered(self, call: Call, code: int, message: str, *, real_used: bool = False) -> Reply:
        verdict = self._classify(call.tool)
        if call.way.fault:
            error: dict[str, JsonValue] = {"code": code, "message": message}
            writes = verdict.operation == "write"
            return Reply({}, "fault", verdict, intercepted=writes, detail=call.way.fault, error=error)
        return _failed(verdict, code, message, real_used=real_used)

    def _watched(self, seen: actions.Watched) -> None:
        result, error = seen.body.get("result"), seen.body.get("error")
        reply = Reply(
            cast("dict[str, JsonValue]", result) if isinstance(result, dict) else {},
            "real",
            self._classify(seen.tool),
            real_used=True,
            detail="passed through",
            error=cast("dict[str, JsonValue]", error) if isinstance(error, dict) else None,
        )
        self._record(Call(self._options.server, seen.tool, seen.args), reply, seen.meta, seen.seconds * 1e3)

    def _record(
        self, call: Call, reply: Reply, meta: Mapping[str, JsonValue], latency_ms: float, started_ns: int | None = None
    ) -> None:
        if self._recorder is None:
            return
        if started_ns is None:
            started_ns = time.time_ns() - int(latency_ms * 1e6)
        self._recorder.record(CallEvent(call, reply, started_ns, latency_ms, meta))

    # the server, for whoever serves a call

    async def forward(self, serial: int, traceparent: str | None) -> dict[str, JsonValue]:
        """Let the call with this serial reach the server, and wait for its answer.

        Raises:
            RealError: it is an error, none came, or the call may not pass any more.
        """
        return await self._ask_target(serial, self._pump.forward(serial, traceparent))

    async def ask(self, serial: int, tool: str, args: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Call another tool, for the call with this serial; one that reads.

        Raises:
            RealError: as `forward`; or the tool is none that may be asked.
        """
        known = self._pump.toolbox.tools.get(tool)
        if known is None or self._classify(known).operation != "read":
            raise RealError(-32603, f"{tool!r} is no tool that reads")
        return await self._ask_target(*self._pump.ask(serial, known, args))

    async def _ask_target(self, serial: int, decided: Iterable[actions.Action]) -> dict[str, JsonValue]:
        answer = self._answers[serial] = _Answer()
        try:
            await self._do(decided)
            if self._ended is not None and self._ended.by == "target":
                raise RealError(GONE, f"the server {self._ended.reason}")
            return await answer.result()
        finally:
            self._answers.pop(serial, None)


class _Answer:
    """What the server says to one request, once it does."""

    def __init__(self) -> None:
        self._came = anyio.Event()
        self._body: Mapping[str, Any] = {}

    def come(self, body: Mapping[str, Any]) -> None:
        self._body = body
        self._came.set()

    async def result(self) -> dict[str, JsonValue]:
        await self._came.wait()
        result, error = self._body.get("result"), self._body.get("error")
        if isinstance(result, dict):
            return cast("dict[str, JsonValue]", result)
        if not isinstance(error, dict):
            raise RealError(-32603, "the server answered with what is no valid MCP result")
        said = cast("dict[str, Any]", error)
        code, message = said.get("code"), said.get("message")
        raise RealError(code if isinstance(code, int) else -32603, str(message), said.get("data"))


class _Asking:
    """The way of one call to the server."""

    def __init__(self, proxy: Proxy, serial: int) -> None:
        self._proxy = proxy
        self._serial = serial
        self.way = Way()
        self.asked = False

    async def real(self) -> dict[str, JsonValue]:
        """A `Real`."""
        if self.asked:
            raise RealError(-32603, "a call reaches the server once")
        self.asked = True
        with self.way.asking_real():
            return await self._proxy.forward(self._serial, self.way.traceparent)

    async def ask(self, tool: str, args: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """An `Ask`."""
        with self.way.asking_other(tool):
            return await self._proxy.ask(self._serial, tool, args)


def _failed(verdict: Verdict, code: int, message: str, *, data: JsonValue = None, real_used: bool = False) -> Reply:
    error: dict[str, JsonValue] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return Reply({}, "real" if real_used else "synthesized", verdict, real_used=real_used, error=error)
