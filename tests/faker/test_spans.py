"""Spans of a faker's calls, at a real collector: every path, true parents, no waiting for a collector that is dead."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from belljar.faker.calls import CallEvent, RealError
from belljar.faker.recording import open_recording
from belljar.faker.sessions import FILE, SessionStore
from belljar.rpc.world import Hop
from belljar.tracing.otel import Telemetry
from tests.faker.sessions.making import READ, TOOLS, WRITE, event
from tests.otlp_receiver import Collector, collecting, mute

_EIGHT = {
    "faker.tool_name",
    "faker.ai_instruction",
    "faker.safety_mode",
    "faker.is_write_operation",
    "faker.session_id",
    "faker.real_mcp_used",
    "faker.intercepted_write",
    "faker.synthesized_response",
}
_PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_SECRET = "sk-proj-" + "a1B2" * 12


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "faker" / FILE


def _telemetry(url: str, **more: str) -> Telemetry:
    found = Telemetry.from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_SERVICE_NAME": "station", **more})
    assert found is not None
    return found


def _spans(collector: Collector, session: str) -> list[Any]:
    return [span for span in collector.spans if span.attributes.get("faker.session_id") == session]


def _with_meta(made: CallEvent, **meta: Any) -> CallEvent:
    return CallEvent(made.call, made.reply, made.started_at_ns, made.latency_ms, meta)


def _every_path() -> list[CallEvent]:
    return [
        event(real_used=True),
        event(WRITE, {"path": "/a", "content": "x"}, source="overlay", intercepted=True),
        event(source="synthesized", synthesized=True),
        event(source="ai", synthesized=True, ai=True),
        event(source="cache"),
        event(source="fault", is_error=True, detail="ENOSPC"),
        event(error={"code": -32602, "message": "no"}),
        event(source="replay"),
    ]


def test_every_path_has_all_eight_attributes(collector: Collector, path: Path) -> None:
    """F70: whatever answered a call, its span is `faker.{tool}` in scope station.faker with the eight attributes."""
    made = _every_path()
    with open_recording(path, instruction="slow disks", telemetry=_telemetry(collector.url)) as recording:
        for each in made:
            recording.record(each)
    spans = _spans(collector, recording.session_id)
    assert len(spans) == len(made)
    assert all(span.scope == "station.faker" for span in spans)
    assert all(span.resource["service.name"] == "station" for span in spans)
    assert all(span.attributes.keys() >= _EIGHT for span in spans)
    by_source = {span.attributes["faker.source"]: span for span in spans if not span.failed}
    assert by_source["real"].name == "faker.read_file"
    assert by_source["real"].attributes["faker.real_mcp_used"] is True
    assert by_source["overlay"].attributes["faker.intercepted_write"] is True
    assert by_source["overlay"].attributes["faker.is_write_operation"] is True
    assert by_source["ai"].attributes["faker.synthesized_response"] is True
    assert by_source["real"].attributes["faker.ai_instruction"] == "slow disks"
    failed = {span.attributes["error.type"] for span in spans if span.failed}
    assert failed == {"tool_error", "-32602"}


def test_the_parent_is_who_called_and_the_target_is_told(collector: Collector, path: Path) -> None:
    """F71: `traceparent` of `_meta` is the parent; the target is told of the client span below `faker.{tool}`."""
    made = event(real_used=True)
    way = made.call.way
    with open_recording(
        path, telemetry=_telemetry(collector.url), hop=Hop("pipe", protocol_version="2025-11-25")
    ) as recording:
        recording.begin(made.call, {"traceparent": _PARENT})
        told = way.traceparent
        with way.asking_real():
            pass
        with way.asking_other("get_file_info"):
            pass
        with way.asking_ai():
            pass
        recording.record(made)
    trace = [span for span in collector.spans if span.trace_id == "0af7651916cd43dd8448eb211c80319c"]
    spans = {span.name: span for span in trace}
    assert spans.keys() == {
        "faker.read_file",
        "tools/call read_file",
        "tools/call get_file_info",
        "faker.ai_enrichment",
    }
    own, real, ai = (spans[name] for name in ("faker.read_file", "tools/call read_file", "faker.ai_enrichment"))
    assert own.parent_id == "b7ad6b7169203331"
    other = spans["tools/call get_file_info"]
    assert real.parent_id == other.parent_id == ai.parent_id == own.span_id
    assert real.kind == other.kind == "SPAN_KIND_CLIENT"
    assert other.attributes["gen_ai.tool.name"] == "get_file_info"
    assert told == f"00-{own.trace_id}-{real.span_id}-01"
    assert real.attributes["mcp.method.name"] == "tools/call"
    assert real.attributes["gen_ai.tool.name"] == "read_file"
    assert real.attributes["network.transport"] == "pipe"
    assert real.attributes["mcp.protocol.version"] == "2025-11-25"
    assert ai.attributes["faker.operation"] == "ai_enrichment"
    assert ai.attributes["faker.ai_enrichment_enabled"] is True
    assert real.start >= own.start
    assert real.end <= ai.end


def test_a_failed_leg_is_a_failed_span(collector: Collector, path: Path) -> None:
    """An error of the target is on the client span with its code, and on the call's, as an exception."""
    made = event(error={"code": -32001, "message": f"token {_SECRET}"}, real_used=True)
    with open_recording(path, telemetry=_telemetry(collector.url)) as recording:
        with pytest.raises(RealError), made.call.way.asking_real():
            raise RealError(-32001, "gone")
        recording.record(made)
    own, real = _spans(collector, recording.session_id)
    assert own.failed
    assert real.failed
    assert real.attributes["rpc.response.status_code"] == "-32001"
    assert own.said == "-32001"


def test_row_and_span_name_each_other(collector: Collector, path: Path) -> None:
    """F72: the trace id of the span stands in the call's row, the session's id in the span."""
    with open_recording(path, telemetry=_telemetry(collector.url)) as recording:
        recording.record(event())
    (span,) = _spans(collector, recording.session_id)
    with SessionStore(path) as store:
        (row,) = store.events(recording.session_id)
        assert store.by_trace(span.trace_id) == [(recording.session_id, 1)]
    assert (row.trace_id, row.span_id) == (span.trace_id, span.span_id)


def test_no_secret_is_in_a_span(collector: Collector, path: Path) -> None:
    """Instruction, error messages and names are masked, by their form or because they are known."""
    telemetry = _telemetry(collector.url, OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="true")
    before = len(collector.bodies)
    with open_recording(
        path,
        instruction=f"use {_SECRET} for ann@corp.com",
        command=["server", "--key=hunter2hunter2"],
        known=["hunter2hunter2"],
        telemetry=telemetry,
    ) as recording:
        recording.record(event(error={"code": 1, "message": f"bad key hunter2hunter2 and {_SECRET}"}))
        recording.record(event(text=f"denied: {_SECRET}", is_error=True))
    sent = b"".join(collector.bodies[before:])
    assert b"faker.read_file" in sent
    for secret in (_SECRET, "hunter2hunter2", "ann@corp.com"):
        assert secret.encode() not in sent
    assert b"bad key [REDACTED]" in sent
    with SessionStore(path) as store:
        assert store.session(recording.session_id).command == ("server", "--key=[REDACTED]")


def test_an_unsampled_parent_has_no_spans_and_the_target_hears_it(collector: Collector, path: Path) -> None:
    """The caller's decision not to sample holds, and is passed on."""
    made = event()
    with open_recording(path, telemetry=_telemetry(collector.url)) as recording:
        recording.begin(made.call, {"traceparent": _PARENT.removesuffix("01") + "00"})
        told = made.call.way.traceparent
        recording.record(made)
    assert told is not None
    assert told.endswith("-00")
    assert _spans(collector, recording.session_id) == []


def test_hostile_meta_and_names_do_no_harm(collector: Collector, path: Path) -> None:
    """A `traceparent` that is none is no parent; a tool's name with escapes is shown escaped."""
    hostile = type(READ)("a\x1b[2J\u202e<b>", {"name": "a\x1b[2J\u202e<b>"})
    with open_recording(path, telemetry=_telemetry(collector.url)) as recording:
        for sent in ("garbage", 7, None, {"a": 1}, "0" * 5000):
            recording.record(_with_meta(event(hostile), traceparent=sent))
    spans = _spans(collector, recording.session_id)
    assert len(spans) == 5
    assert {span.parent_id for span in spans} == {""}
    assert {span.name for span in spans} == {"faker.a\\x1b[2J\\u202e<b>"}


def _median_ms(recording: Any, n: int = 200) -> float:
    took = list[float]()
    for _ in range(n):
        made = event()
        start = time.perf_counter()
        recording.begin(made.call, {"traceparent": _PARENT})
        recording.record(made)
        took.append((time.perf_counter() - start) * 1e3)
    return sorted(took)[n // 2]


@pytest.mark.parametrize("dead", ["nobody listens", "never answers"])
def test_a_dead_collector_costs_a_call_nothing(path: Path, dead: str) -> None:
    """F71: with a collector that is not there or never answers, a call costs < 5 ms and the end has a deadline."""
    with socket.create_server(("127.0.0.1", 0)) as closing:
        url = f"http://127.0.0.1:{closing.getsockname()[1]}"
    with mute() as silent:
        telemetry = _telemetry(url if dead == "nobody listens" else silent)
        with open_recording(path, telemetry=telemetry, flush_s=0.3) as recording:
            assert _median_ms(recording) < 5.0
            start = time.perf_counter()
        assert time.perf_counter() - start < 2.0
    with SessionStore(path) as store:
        assert store.session(recording.session_id).calls == 200


class _Stuck(SpanProcessor):
    """A program's own processor that takes its time."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def on_end(self, span: ReadableSpan) -> None:
        self.go_on.wait(30)


def test_what_takes_no_spans_costs_spans_and_no_time(path: Path) -> None:
    """Past the bound spans are dropped and counted; no call waits, and no row of the session is missing."""
    stuck = _Stuck()
    telemetry = Telemetry([stuck])
    with open_recording(path, telemetry=telemetry, flush_s=5.0) as recording:
        slowest = 0.0
        for _ in range(2300):
            made = event()
            start = time.perf_counter()
            recording.record(made)
            slowest = max(slowest, time.perf_counter() - start)
        assert telemetry.counters["dropped"] >= 200
        stuck.go_on.set()
    assert slowest < 0.5
    with SessionStore(path) as store:
        assert store.session(recording.session_id).calls == 2300


def test_without_telemetry_there_is_a_session_alone(path: Path) -> None:
    """No OTEL_* variable: no spans, no ids, and the session is kept all the same."""
    made = event()
    with open_recording(path) as recording:
        recording.serves(TOOLS)
        recording.begin(made.call, {"traceparent": _PARENT})
        recording.record(made)
    assert made.call.way.traceparent is None
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT trace_id FROM event").fetchall() == [(None,)]
    db.close()
