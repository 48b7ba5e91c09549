"""Calls as a proxy hands them to its recorders, for tests that need many."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from belljar.faker.calls import Call, CallEvent, Operation, Reply, Source, Tool, Verdict
from belljar.faker.sessions import ServedTool, SessionRecorder

__all__ = ["READ", "TOOLS", "WRITE", "event", "record", "until"]

READ = Tool(
    "read_file",
    {
        "name": "read_file",
        "description": "Read a file",
        "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
        "annotations": {"readOnlyHint": True},
    },
)
WRITE = Tool(
    "write_file",
    {
        "name": "write_file",
        "description": "Write a file",
        "inputSchema": {
            "type": "object",
            "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
            "required": ["path", "content"],
        },
    },
)
TOOLS = [ServedTool("fs", READ), ServedTool("fs", WRITE)]


def event(
    tool: Tool = READ,
    args: dict[str, Any] | None = None,
    text: str = "hello",
    *,
    source: Source = "real",
    is_error: bool = False,
    error: dict[str, Any] | None = None,
    latency_ms: float = 1.5,
    **more: Any,
) -> CallEvent:
    """A call that was answered with one text."""
    operation: Operation = "read" if tool is READ else "write"
    verdict = Verdict(operation, "low" if tool is READ else "high", "verb")
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": is_error}
    reply = Reply({} if error else result, source, verdict, error=error, **more)
    call = Call("fs", tool, {"path": "/a"} if args is None else args)
    return CallEvent(call, reply, time.time_ns(), latency_ms)


def record(path: Path, *events: CallEvent, **more: Any) -> str:
    """A session of these calls, over and done with; its id."""
    with SessionRecorder(path, **more) as recorder:
        recorder.serves(TOOLS)
        for each in events:
            recorder.record(each)
    return recorder.session_id


def until(happened: Callable[[], bool], within_s: float = 20.0) -> None:
    """Wait for what another process does."""
    ends = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.005)
