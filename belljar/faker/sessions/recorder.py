"""Writes a session down while it happens. A call never waits for it.

`record` puts the call into a queue; a thread of its own turns it into JSON and commits whatever is there, so that under
load many calls share a commit and at rest each has one within a millisecond or two. The queue is bounded in calls and
in bytes (by a guess that looks at the texts alone). Past a bound, or when the disk refuses, calls are lost; they are
counted, the count stands in the session, and one line in the log says so. N calls are N events, or the session says how
many are missing.

A faker that is killed loses what was not committed yet: the calls of the last milliseconds. Its session stays `running`
until `SessionStore.reap` finds that its owner is gone.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal, cast

from belljar.errors import ConfigError
from belljar.faker.calls import CallEvent, Tool
from belljar.faker.sessions.model import Event, ServedTool, Session, Status, text_of
from belljar.faker.sessions.store import SessionStore
from belljar.limits import MIB
from belljar.rpc import jsontext
from belljar.rpc.world import JsonValue

__all__ = ["SessionRecorder"]

_log = logging.getLogger("belljar.faker")

# A commit takes about a millisecond: seconds of calls at any rate a faker reaches.
_MOST_WAITING = 10_000
_MOST_WAITING_BYTES = 64 * MIB
_BATCH = 256
_CLOSE_S = 10.0


class SessionRecorder:
    """Keeps one session in a store. A `Recorder`; made when the faker starts, closed when it ends.

    Raises:
        ConfigError: the file of the sessions cannot be used; said here, before anything is served.
    """

    def __init__(
        self,
        path: Path,
        *,
        instruction: str = "",
        command: Sequence[str] = (),
        safety_mode: bool = True,
        session_id: str | None = None,
    ) -> None:
        self._store = SessionStore(path)
        self._store.reap()
        began = Session(session_id or str(uuid.uuid4()), time.time_ns(), instruction, safety_mode, tuple(command))
        self.session = began
        self._store.begin(began)
        self._queue = queue.SimpleQueue[CallEvent | Literal["tools"] | None]()
        self._lock = threading.Lock()
        self._waiting = self._waiting_bytes = self._sequence = 0
        self._lost = 0
        self._tools: tuple[ServedTool, ...] = ()
        self._kept_tools: tuple[ServedTool, ...] = ()
        self._tools_wait = False
        self._digests = dict[str, tuple[Tool, str]]()
        self._closed = False
        self._thread = threading.Thread(target=self._write, name="belljar-session", daemon=True)
        self._thread.start()

    @property
    def session_id(self) -> str:
        return self.session.id

    @property
    def lost(self) -> int:
        """Calls that could not be written down so far."""
        return self._lost

    def record(self, event: CallEvent) -> None:
        """A call was answered. Never waits, never raises."""
        size = _guess(event)
        with self._lock:
            room = not self._closed and self._waiting < _MOST_WAITING
            room = room and (not self._waiting or self._waiting_bytes + size <= _MOST_WAITING_BYTES)
            if room:
                self._waiting += 1
                self._waiting_bytes += size
                self._queue.put(event)
        if not room:
            self._lose(1, "more calls than can be written")

    def serves(self, tools: Iterable[ServedTool]) -> None:
        """What the target serves, now; said again whenever its list changes. The last word counts."""
        latest = tuple(tools)
        with self._lock:
            # A target may say that its list changed as often as it likes: one list waits, not many.
            self._tools = latest
            if not self._tools_wait and latest != self._kept_tools:
                self._tools_wait = True
                self._queue.put("tools")

    def close(self, status: Status = "completed", *, error: str = "") -> bool:
        """Write what waits and end the session; whether all of it was written in time. Blocks."""
        with self._lock:
            if self._closed:
                return self._lost == 0
            self._closed = True
        self._queue.put(None)
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            self._lose(self._waiting, "the disk takes too long")
            return False
        try:
            self._store.end(self.session_id, status, time.time_ns(), error=error, lost=self._lost)
        except ConfigError as exc:
            _log.warning("the session was not ended: %s", exc.message)
        self._store.close()
        return self._lost == 0

    def __enter__(self) -> SessionRecorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Ctrl-C and a cancelled task are how a faker is ended, not how it fails.
        failed = exc is not None and isinstance(exc, Exception)
        self.close("failed" if failed else "completed", error=type(exc).__qualname__ if failed else "")

    def _write(self) -> None:
        going = True
        while going:
            batch, tools, going = self._taken()
            if tools:
                self._keep_tools()
            if batch:
                self._keep(batch)
                with self._lock:
                    self._waiting -= len(batch)
                    self._waiting_bytes -= sum(map(_guess, batch))

    def _taken(self) -> tuple[list[CallEvent], bool, bool]:
        """What there is: calls, at most a batch of them; whether there are other tools; whether there may be more."""
        batch, tools, item = list[CallEvent](), False, self._queue.get()
        while item is not None:
            if isinstance(item, CallEvent):
                batch.append(item)
            else:
                tools = True
            if len(batch) >= _BATCH:
                return batch, tools, True
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, tools, True
        return batch, tools, False

    def _keep_tools(self) -> None:
        with self._lock:
            tools = self._kept_tools = self._tools
            self._tools_wait = False
        try:
            self._store.set_tools(self.session_id, tools)
        except Exception as exc:  # noqa: BLE001 - the thread must outlive one list
            _log.warning("the session does not say which tools there were: %s", type(exc).__qualname__)

    def _keep(self, batch: Sequence[CallEvent]) -> None:
        events = [self._event(each, self._sequence + n) for n, each in enumerate(batch, 1)]
        try:
            try:
                self._store.append(self.session_id, events)
            except (TypeError, ValueError, RecursionError):
                # One call that is no JSON must not take its batch along.
                self._store.append(self.session_id, [_without_what_is_no_json(each) for each in events])
            self._sequence += len(batch)
        except Exception as exc:  # noqa: BLE001 - the thread must outlive one batch
            self._lose(len(batch), exc.message if isinstance(exc, ConfigError) else type(exc).__qualname__)

    def _event(self, event: CallEvent, sequence: int) -> Event:
        tool = event.call.tool
        known = self._digests.get(tool.name)
        if known is None or known[0] is not tool:
            known = self._digests[tool.name] = (tool, _digest(tool))
        return event_of(event, sequence, self.session.created_at_ns, known[1])

    def _lose(self, count: int, why: str) -> None:
        with self._lock:
            first = self._lost == 0
            self._lost += count
        if first:
            _log.warning("calls of this session are not recorded (%s); this is said once, and they are counted", why)


def event_of(event: CallEvent, sequence: int, began_ns: int, digest: str) -> Event:
    """What is kept of a call."""
    call, reply, way = event.call, event.reply, event.call.way
    return Event(
        sequence=sequence,
        server=call.server,
        tool=call.tool.name,
        arguments=call.args,
        response=reply.result,
        started_at_ns=event.started_at_ns,
        operation=reply.verdict.operation,
        risk=reply.verdict.risk,
        reason=reply.verdict.reason,
        source=reply.source,
        detail=reply.detail,
        error=reply.error,
        is_error=reply.is_error,
        real_used=reply.real_used,
        intercepted=reply.intercepted,
        synthesized=reply.synthesized,
        ai=reply.ai,
        elapsed_ms=max(0.0, (event.started_at_ns - began_ns) / 1e6),
        latency_ms=event.latency_ms,
        real_ms=way.real_ms,
        ai_ms=sum(leg.ms for leg in way.ai) if way.ai else None,
        schema_digest=digest,
        trace_id=None if way.span is None else f"{way.span.trace_id:032x}",
        span_id=None if way.span is None else f"{way.span.span_id:016x}",
    )


def _without_what_is_no_json(event: Event) -> Event:
    try:
        text_of([dict(event.arguments), dict(event.response), event.error])
    except (TypeError, ValueError, RecursionError):
        return replace(event, arguments={}, response={}, error=None, detail="not kept: no JSON")
    return event


def _digest(tool: Tool) -> str:
    try:
        return tool.digest
    except jsontext.JsonError:
        return ""


def _guess(event: CallEvent) -> int:
    """Bytes it may take, by its texts at the top: what is large is a text nearly always, and looking costs little."""
    size = 512
    content: object = event.reply.result.get("content")
    blocks = cast("list[Mapping[str, JsonValue]]", content) if isinstance(content, list) else []
    for block in (event.call.args, event.reply.result, *blocks):
        values = block.values() if isinstance(cast("object", block), Mapping) else ()
        size += sum(len(value) for value in values if isinstance(value, str))
    return size
