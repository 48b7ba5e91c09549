"""Sessions as documents: the shape others know, out and in without loss; recordings of others; what is malformed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from belljar.errors import ValidationError
from belljar.faker.sessions import FILE, Event, ServedTool, Session, SessionStore, document, imports
from belljar.faker.sessions.replayer import Replayer
from tests.faker.sessions.making import READ, WRITE, event, record

_RECORDINGS = Path(__file__).parents[2] / "fixtures" / "recordings"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "faker" / FILE


def _exported(path: Path, session: str) -> dict[str, Any]:
    with SessionStore(path) as store:
        return document.write(store.session(session), store.events(session), store.tools(session))


def _some(path: Path) -> str:
    return record(
        path,
        event(source="cache"),
        event(WRITE, {"path": "/a", "content": "\ud800 é"}, source="overlay", intercepted=True, detail="files"),
        event(error={"code": -32602, "message": "no", "data": [1, None]}),
        event(is_error=True, source="fault"),
        instruction="a full disk",
        command=["npx", "server"],
    )


def test_the_document_has_the_seeds_shape(path: Path) -> None:
    """F66: exactly the fields of the seed with their types, the tools beside them."""
    found = _exported(path, _some(path))
    assert list(found)[:5] == ["session_id", "instruction", "created_at", "tool_calls", "stats"]
    assert found["stats"].keys() == {"TotalToolCalls", "ReadCalls", "WriteCalls", "UniqueTools", "Duration"}
    assert [found["stats"][name] for name in ("TotalToolCalls", "ReadCalls", "WriteCalls", "UniqueTools")] == [
        4,
        3,
        1,
        2,
    ]
    assert found["stats"]["Duration"] > 0
    first = found["tool_calls"][0]
    assert list(first)[:7] == [
        "sequence", "tool_name", "arguments", "response", "operation_type", "timestamp", "elapsed_ms",
    ]  # fmt: skip
    assert (first["sequence"], first["tool_name"], first["operation_type"]) == (1, "read_file", "read")
    assert isinstance(first["elapsed_ms"], int)
    assert found["tool_calls"][2]["response"] is None
    assert found["tool_calls"][2]["error"]["code"] == -32602
    assert [each["listed"] for each in found["tools"]] == [READ.listed, WRITE.listed]
    assert {each["digest"] for each in found["tools"]} == {READ.digest, WRITE.digest}


def test_import_on_a_fresh_database_replays_equal(path: Path, tmp_path: Path) -> None:
    """F68: what was exported is the same document after an import elsewhere, and gives the same answers."""
    session = _some(path)
    exported = _exported(path, session)
    other = tmp_path / "other" / FILE
    with SessionStore(other) as store:
        store.put(*imports.parse(json.dumps(exported).encode()))
        again = store.events(session)
    assert _exported(other, session) == exported
    with SessionStore(path) as store:
        first = store.events(session)
    one, two = Replayer(first, strict=True), Replayer(again, strict=True)
    for each in first:
        assert (
            one.answer("fs", each.tool, each.arguments).response == two.answer("fs", each.tool, each.arguments).response
        )


def test_the_bare_shape_is_read_too() -> None:
    """A document of the seed itself - no more fields than its own, answers that are no MCP results - is a session."""
    bare = {
        "session_id": "ff3d104c-6df4-43dc-9814-9125b0c90d3f",
        "instruction": "Generate realistic test files with sample data",
        "created_at": "2025-11-09T18:30:57.017082047-06:00",
        "tool_calls": [
            {"sequence": 1, "tool_name": "ls", "arguments": None, "response": {"files": ["a"]},
             "operation_type": "read", "timestamp": "2025-11-09T18:30:58-06:00", "elapsed_ms": 983},
            {"sequence": 2, "tool_name": "cat", "arguments": {"f": "a"}, "response": "text", "operation_type": "read",
             "elapsed_ms": 1500},
        ],
        "stats": {"TotalToolCalls": 2, "ReadCalls": 2, "WriteCalls": 0, "UniqueTools": 2, "Duration": 2_000_000_000},
    }  # fmt: skip
    session, events, tools = imports.parse(json.dumps(bare).encode())
    assert document.iso(session.created_at_ns) == "2025-11-10T00:30:57.017082047Z"
    assert session.origin == "seed"
    assert session.duration_ns == 2_000_000_000
    assert tools == []
    assert [each.response["content"][0]["text"] for each in events] == ['{"files":["a"]}', "text"]
    assert events[1].started_at_ns - session.created_at_ns == 1_500_000_000


def test_a_recording_of_mcp_rec_is_a_session() -> None:
    """A JSONL file that mcp-rec 0.1.1 wrote of mcp-server-time: its tools, its calls with times and latencies."""
    session, events, tools = imports.parse((_RECORDINGS / "mcp_rec.jsonl").read_bytes())
    assert session.origin == "mcp-rec"
    assert [(each.server, each.tool.name) for each in tools] == [
        ("mcp-time", "get_current_time"),
        ("mcp-time", "convert_time"),
    ]
    assert [(each.tool, each.is_error, each.operation) for each in events] == [
        ("convert_time", False, "read"),
        ("get_current_time", True, "read"),
    ]
    assert events[0].latency_ms == pytest.approx(47.6, abs=0.2)
    assert events[0].schema_digest == tools[1].tool.digest
    answer = Replayer(events).answer(
        "mcp-time",
        "convert_time",
        {"time": "12:00", "source_timezone": "Europe/Zurich", "target_timezone": "Asia/Tokyo"},
    )
    assert "Asia/Tokyo" in answer.response["content"][0]["text"]


def test_a_cassette_of_mcp_recorder_is_a_session() -> None:
    """A JSON cassette as mcp-recorder 0.5 writes it: tools, results, errors; `_meta` is no part of a call."""
    session, events, tools = imports.parse((_RECORDINGS / "mcp_recorder.json").read_bytes())
    assert session.origin == "mcp-recorder"
    assert [each.tool.name for each in tools] == ["get_weather", "set_alarm"]
    assert [(each.server, each.tool, each.operation) for each in events] == [
        ("Weather", "get_weather", "read"),
        ("Weather", "set_alarm", "write"),
    ]
    assert events[0].arguments == {"city": "London"}
    assert events[0].response["structuredContent"] == {"temp_c": 22}
    assert events[1].error == {"code": -32602, "message": "no bell"}
    assert events[1].latency_ms == 4


_CALL = {"sequence": 1, "tool_name": "t", "arguments": {}, "response": {}, "operation_type": "read"}
_DOC = {"session_id": "s1", "created_at": "2026-01-01T00:00:00Z", "tool_calls": [_CALL]}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[1, 2]", "no object"),
        (b'{"a": 1}', "no recording that is known"),
        (b'{"a": 1, "a": 2}', "no JSON that is taken"),
        (b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "nested deeper"),
        (json.dumps({**_DOC, "created_at": "yesterday"}).encode(), "created_at is no time"),
        (json.dumps({**_DOC, "format": "belljar.session/9"}).encode(), "this version reads"),
        (json.dumps({**_DOC, "tool_calls": {}}).encode(), "tool_calls is not a list"),
        (json.dumps({**_DOC, "tool_calls": [7]}).encode(), r"tool_calls\[0\] is no object"),
        (json.dumps({**_DOC, "tool_calls": [{**_CALL, "tool_name": None}]}).encode(), r"\[0\].tool_name is missing"),
        (json.dumps({**_DOC, "tool_calls": [{**_CALL, "arguments": "x"}]}).encode(), r"\[0\].arguments is no object"),
        (json.dumps({**_DOC, "tool_calls": [{**_CALL, "operation_type": "x"}]}).encode(), "one of read, write"),
        (json.dumps({**_DOC, "tool_calls": [{**_CALL, "elapsed_ms": -1}]}).encode(), "a number from 0"),
        (json.dumps({**_DOC, "tool_calls": [{**_CALL, "sequence": 2**64}]}).encode(), "a whole number from 0"),
        (json.dumps({**_DOC, "tool_calls": [_CALL, _CALL]}).encode(), "twice"),
        (json.dumps({**_DOC, "session_id": "a b\x1b[2J"}).encode(), "session_id is none"),
        (b'{"version": "9.0", "interactions": []}', "this version reads 1.x"),
        (b'{"version": "1", "interactions": [{"type": "jsonrpc_request", "request": [], "response": 1}]}', "no object"),
        (b'{"ts": 1, "dir": "client->server", "msg": {}}\n{"ts": "x", "dir": "client->server"}', "line 2.ts"),
        (b'{"ts": 1, "dir": "sideways", "msg": {}}\n', "one of client->server"),
        (b'{"ts": 1, "dir": "client->server", "msg": {}}\nnot json\n', "line 2 is no JSON"),
    ],
)  # fmt: skip
def test_what_is_malformed_is_one_error_that_names_the_place(data: bytes, said: str) -> None:
    """F68: bad input ends in a ValidationError that says where, never in another exception."""
    with pytest.raises(ValidationError, match=said):
        imports.parse(data)


def test_a_huge_file_is_refused_before_it_is_parsed() -> None:
    """The bound is on bytes, and comes first."""
    with pytest.raises(ValidationError, match="more than 256 MiB"):
        imports.parse(b" " * (imports.MAX_BYTES + 1))


def test_an_id_that_is_here_is_not_written_over(path: Path) -> None:
    """The same session twice is an error, and the first one stays as it is."""
    with SessionStore(path) as store:
        store.put(Session("s1", 1, status="completed"), [Event(1, "fs", "t", {}, {}, 1)], [ServedTool("fs", READ)])
        with pytest.raises(ValidationError, match="already"):
            store.put(Session("s1", 2, status="completed"), [], [])
        assert store.session("s1").calls == 1
