"""Reads recordings into sessions: ours, the bare shape, and those of two other recorders.

    belljar, or the shape alone   one JSON object with `session_id` and `tool_calls` (`document.py`)
    mcp-recorder                  one JSON object with `version` 1.x and `interactions`: requests with their responses
    mcp-rec                       lines of JSON, each `{"ts", "dir", "msg"}`: every message as it passed

What they are is seen from what is in them, not from a name. Of others' recordings the tools and the calls are taken;
resources and prompts are not part of a session. Their format says nothing of reading and writing, so each tool is
classified like any other. A file is bounded in bytes, depth and number of values before anything is made of it; what is
malformed is one error that names the place. Their packages: mcp-recorder 0.5, mcp-rec 0.1.1.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from belljar.errors import ValidationError
from belljar.faker.calls import Tool, Verdict
from belljar.faker.classify import classify
from belljar.faker.sessions import document
from belljar.faker.sessions.document import Recorded
from belljar.faker.sessions.model import Event, ServedTool, Session
from belljar.faker.sessions.reading import Reading
from belljar.limits import MIB
from belljar.rpc import jsontext

__all__ = ["MAX_BYTES", "parse"]

MAX_BYTES = 256 * MIB
"""More than ten thousand calls with answers of ordinary size; parsed, it takes ten times that."""

_MAX_LINES = 1_000_000
_MAX_CONTAINERS = 8 << 20
_MAX_DEPTH = 80
_SERVER = "server"


def parse(data: bytes) -> Recorded:
    """The session in this file.

    Raises:
        ValidationError: none of the formats, malformed, or too large.
    """
    if len(data) > MAX_BYTES:
        raise ValidationError(f"a recording of more than {MAX_BYTES >> 20} MiB")
    first, _, rest = data.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")
    if rest.strip() and first.rstrip().endswith(b"}"):
        return _mcp_rec(data)
    value = _json(data, "the file")
    if not isinstance(value, dict):
        raise ValidationError("the file is no recording: its JSON is no object")
    if "tool_calls" in value:
        return document.read(value)  # pyright: ignore[reportUnknownArgumentType]
    if "interactions" in value:
        return _mcp_recorder(value)  # pyright: ignore[reportUnknownArgumentType]
    if "msg" in value:
        return _mcp_rec(data)
    raise ValidationError(
        "the file is no recording that is known: neither a session nor one of mcp-recorder or mcp-rec"
    )


def _json(data: bytes, place: str) -> Any:
    try:
        # What servers said is kept as they said it, lone surrogates too.
        return jsontext.parse(
            data, max_bytes=MAX_BYTES, max_depth=_MAX_DEPTH, max_containers=_MAX_CONTAINERS, surrogates=True
        )
    except jsontext.JsonError as exc:
        raise ValidationError(f"{place} is no JSON that is taken: {exc}") from None


@dataclass(slots=True)
class _Taken:
    """What was found in another's recording so far."""

    tools: dict[str, Tool] = field(default_factory=dict[str, Tool])
    calls: list[Event] = field(default_factory=list[Event])
    server: str = _SERVER

    def answered(self, request: Reading, response: Reading, started_at_ns: int, latency_ms: float) -> None:
        """A request, and what was answered."""
        method, params = request.text("method"), request.child("params")
        result = response.child("result")
        if method == "initialize":
            self.server = result.child("serverInfo").text("name", _SERVER)[:128] or _SERVER
        elif method == "tools/list":
            for entry in result.objects("tools", required=False):
                self.tools[entry.text("name")] = Tool(entry.text("name"), entry.value)
        elif method == "tools/call":
            error = response.child("error").value if response.has("error") else None
            self.calls.append(
                Event(
                    sequence=len(self.calls) + 1,
                    server="",
                    tool=params.text("name"),
                    arguments=params.child("arguments").value,
                    response={} if error is not None else result.value,
                    started_at_ns=started_at_ns,
                    error=error,
                    is_error=error is not None or result.value.get("isError") is True,
                    real_used=True,
                    latency_ms=latency_ms,
                )
            )

    def recorded(self, origin: str, created_at_ns: int) -> Recorded:
        """All of it as a session."""
        verdicts = dict[str, Verdict]()
        events = [self._finished(event, created_at_ns, verdicts) for event in self.calls]
        ends = max((event.started_at_ns + round(event.latency_ms * 1e6) for event in events), default=created_at_ns)
        session = Session(
            str(uuid.uuid4()), created_at_ns, safety_mode=False, status="completed", ended_at_ns=ends, origin=origin
        )
        return session, events, [ServedTool(self.server, tool) for tool in self.tools.values()]

    def _finished(self, event: Event, created_at_ns: int, verdicts: dict[str, Verdict]) -> Event:
        tool = self.tools.get(event.tool)
        verdict = verdicts.get(event.tool)
        if verdict is None:
            verdict = verdicts[event.tool] = classify(tool or Tool(event.tool, {"name": event.tool}))
        return replace(
            event,
            server=self.server,
            operation=verdict.operation,
            risk=verdict.risk,
            reason=verdict.reason,
            elapsed_ms=(event.started_at_ns - created_at_ns) / 1e6,
            schema_digest="" if tool is None else tool.digest,
        )


def _mcp_recorder(value: Mapping[str, Any]) -> Recorded:
    top = Reading(value)
    if top.text("version").partition(".")[0] != "1":
        raise ValidationError(f"a cassette of version {top.text('version')[:20]!r}: this version reads 1.x")
    taken, stamp = _Taken(), top.child("metadata").text("recorded_at", "")
    began = document.ns_of(stamp, "metadata.recorded_at") if stamp else time.time_ns()
    now = began
    for each in top.objects("interactions"):
        # Latencies alone are kept: the calls are put one behind the other.
        latency = each.number("latency_ms", 0.0)
        if each.text("type") == "jsonrpc_request" and each.has("request") and each.has("response"):
            taken.answered(each.child("request"), each.child("response"), now, latency)
        now += round(latency * 1e6)
    return taken.recorded("mcp-recorder", began)


def _mcp_rec(data: bytes) -> Recorded:
    taken = _Taken()
    waiting = dict[str, tuple[Reading, int]]()
    began: int | None = None
    for line in _lines(data):
        at = round(line.number("ts") * 1e9)
        began = at if began is None else began
        message = line.child("msg")
        to_server = line.one_of("dir", ("client->server", "server->client"), "client->server") == "client->server"
        number = message.any("id")
        # What could not be parsed was noted as such by the recorder, and is nobody's answer.
        if number is None or message.has("_unparsed"):
            continue
        if to_server and message.has("method"):
            waiting[repr(number)] = (message, at)
        elif not to_server and (asked := waiting.pop(repr(number), None)) is not None:
            request, asked_at = asked
            taken.answered(request, message, asked_at, max(0, at - asked_at) / 1e6)
    if began is None:
        raise ValidationError("the file is empty")
    return taken.recorded("mcp-rec", began)


def _lines(data: bytes) -> Iterator[Reading]:
    lines = data.split(b"\n")
    if len(lines) > _MAX_LINES:
        raise ValidationError(f"a recording of more than {_MAX_LINES} lines")
    for n, line in enumerate(lines, 1):
        if line.strip():
            yield Reading(_json(line, f"line {n}"), f"line {n}")
