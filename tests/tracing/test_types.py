"""The wire types from a server's side: foreign JSON in, checked values or one line of refusal out."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.errors import ValidationError
from belljar.tracing.types import Decision, TaskResult, Trace, TraceMetadata, decode

TASK: dict[str, Any] = {
    "taskId": "t1",
    "tool": "git:git_log",
    "args": {"a": [1]},
    "result": None,
    "success": True,
    "state": "applied",
    "durationMs": 1,
    "timestamp": "2026-01-02T03:04:05.678Z",
    "layerIndex": 0,
    "callSite": 3,
    "iteration": 1,
    "source": "real",
    "isWrite": False,
    "isCapabilityCall": False,
}
WIRE: dict[str, Any] = {
    "traceId": "019a0000-0000-7000-8000-000000000001",
    "capabilityId": "local.default.git.release_notes.a7f3",
    "capabilityHash": "a" * 64,
    "success": True,
    "durationMs": 12.5,
    "timestamp": "2026-01-02T03:04:05.678+00:00",
    "taskResults": [TASK],
    "decisions": [{"nodeId": "L4", "outcome": "case:1"}],
    "metadata": {"backend": "wasm", "walls": ["wasm"], "redactions": {"EMAIL": 2}, "truncated": {"/a/b": 20000}},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    wire = copy.deepcopy(WIRE)
    *parents, last = path.split(".")
    place: Any = wire
    for part in parents:
        place = place[int(part) if part.isdigit() else part]
    place[last] = value
    return wire


def test_a_trace_of_another_origin_is_read() -> None:
    """F19: camelCase keys become fields; what is absent has its default."""
    trace = decode(WIRE)
    assert trace.task_results[0] == TaskResult(
        task_id="t1",
        tool="git:git_log",
        args={"a": [1]},
        result=None,
        success=True,
        state="applied",
        duration_ms=1.0,
        timestamp="2026-01-02T03:04:05.678Z",
        call_site=3,
        is_write=False,
    )
    assert trace.decisions == [Decision(node_id="L4", outcome="case:1")]
    assert trace.metadata == TraceMetadata(
        backend="wasm", walls=["wasm"], redactions={"EMAIL": 2}, truncated={"/a/b": 20000}
    )
    assert (trace.parent_trace_id, trace.error_message, trace.intent) == (None, None, None)


def test_the_older_names_are_taken() -> None:
    """`error` and `toolId` mean errorMessage and tool; the newer name counts if both are there."""
    wire = changed("error", "boom")
    wire["taskResults"][0]["toolId"] = wire["taskResults"][0].pop("tool")
    trace = decode(wire)
    assert (trace.error_message, trace.task_results[0].tool) == ("boom", "git:git_log")
    assert decode(wire | {"errorMessage": "newer"}).error_message == "newer"


def test_what_a_newer_client_adds_is_ignored() -> None:
    """A server takes traces from versions it does not know."""
    assert decode(changed("taskResults.0.new", 1) | {"newer": {"x": 1}}) == decode(WIRE)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("traceId", "x", "traceId is a UUID"),
        ("traceId", "019A0000-0000-7000-8000-000000000001", "lower case"),
        ("traceId", 5, "traceId"),
        ("parentTraceId", "root", "parentTraceId is a UUID"),
        ("success", "true", "success"),
        ("success", 1, "success"),
        ("durationMs", "12", "durationMs"),
        ("durationMs", float("nan"), "durationMs is"),
        ("durationMs", -1, "durationMs is"),
        ("timestamp", "yesterday", "ISO 8601"),
        ("timestamp", "2026-01-02T03:04:05", "ISO 8601"),
        ("capabilityHash", "xyz", "SHA-256"),
        ("taskResults", {}, "taskResults"),
        ("taskResults.0.state", "maybe", "taskResults.0.state"),
        ("taskResults.0.durationMs", float("inf"), "taskResults.0"),
        ("taskResults.0.layerIndex", 1.5, "taskResults.0.layerIndex"),
        ("decisions.0.outcome", "rm -rf", "nodeId is L"),
        ("metadata.mockedShare", 1.5, "mockedShare"),
        ("metadata.walls", "all", "metadata.walls"),
        ("metadata.redactions", {"EMAIL": "two"}, "metadata.redactions"),
    ],
)
def test_a_wrong_field_is_refused_by_name(path: str, value: Any, words: str) -> None:
    """Strictly: no text passes for a number. The message does not repeat the value."""
    with pytest.raises(ValidationError) as caught:
        decode(changed(path, value))
    assert words in caught.value.message
    assert "rm -rf" not in caught.value.message
    assert "\n" not in caught.value.message


KEYS = st.sampled_from([*WIRE, *TASK])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
)


@given(JSON)
def test_anything_else_is_refused_the_same_way(wire: Any) -> None:
    """Whatever JSON arrives: a trace, or one ValidationError."""
    with pytest.raises(ValidationError):
        decode(wire)


def test_frameworks_can_use_the_types_directly() -> None:
    """pydantic derives validation and JSON Schema from the same classes, with the wire's keys."""
    adapter = pydantic.TypeAdapter(list[Trace])
    assert adapter.validate_python([WIRE]) == [decode(WIRE)]
    properties = adapter.json_schema()["$defs"]["TaskResult"]["properties"]
    assert properties.keys() == TASK.keys() | {"sourceDetail", "errorCode", "grant"}


def test_values_are_frozen_and_wire_keys_come_back() -> None:
    """to_wire writes what decode reads: every key it was given is there again."""
    trace = decode(WIRE)
    assert trace.to_wire()["taskResults"] == [TASK]
    assert trace.to_wire().keys() == WIRE.keys()
    with pytest.raises(FrozenInstanceError):
        trace.success = False  # type: ignore[misc]
