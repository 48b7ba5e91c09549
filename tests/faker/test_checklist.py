"""The seed's "Verification Checklist", box by box, on one run of an agent: nothing stands in for anything but Jaeger.

The agent is a capability in a box; its only server is `belljar faker` before a real filesystem server; a real collector
takes the spans of both. What the boxes say is looked for where a person would look: at what the program printed, in
the sessions, in the folder, at the collector.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from belljar.faker.sessions import FILE, SessionStore
from tests.cli.conftest import Belljar, Done
from tests.otlp_receiver import Collector, Received, collecting
from tests.worlds import guest_cache_in

# A dozen processes are started.
pytestmark = pytest.mark.slow

_ROOT = Path(__file__).parents[2]
_INSTRUCTION = "Generate realistic test files with sample data"
_AGENT = """
async def main(folder: str):
    before = await mcp.fs.list_directory(path=folder)
    wrote = await mcp.fs.write_file(path=folder + "/new.txt", content="made by an agent")
    read = await mcp.fs.read_text_file(path=folder + "/new.txt")
    real = await mcp.fs.read_text_file(path=folder + "/canary.txt")
    after = await mcp.fs.list_directory(path=folder)
    return {"before": before, "wrote": wrote, "read": read, "real": real, "after": after}
"""
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


@dataclass(frozen=True, slots=True)
class Played:
    """What the agent's run left behind."""

    belljar: Belljar
    done: Done
    took_s: float
    spans: list[Received]
    folder: Path
    untouched: dict[str, tuple[bytes, int]]
    sessions: list[dict[str, Any]]
    document: dict[str, Any]


def _contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.iterdir())}


def _faker(server: list[str], folder: Path, *options: str) -> list[str]:
    return ["-m", "belljar", "faker", *options, "--", *server, str(folder)]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, collector: Collector, needs: Callable[[str], list[str]]) -> Played:
    """The agent's run, once for all boxes."""
    server = needs("server-filesystem")
    home = tmp_path_factory.mktemp("agent")
    (home / "home").mkdir()
    guest = guest_cache_in(tmp_path_factory)
    guest.mkdir(mode=0o700, parents=True, exist_ok=True)
    cache = tmp_path_factory.mktemp("cache")
    (cache / "belljar").symlink_to(guest)
    belljar = Belljar(home, cache)
    folder = home / "data"
    folder.mkdir()
    (folder / "canary.txt").write_text("alive\n")
    telemetry = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_SERVICE_NAME": "station"}
    entry = {
        "command": sys.executable,
        "args": _faker(server, folder, "--ai-instruction", _INSTRUCTION),
        "env": {"PYTHONPATH": str(_ROOT), "HOME": str(home / "home"), "PATH": os.environ["PATH"], **telemetry},
    }
    servers = belljar.servers(fs=entry)
    (home / "agent.py").write_text(_AGENT)
    untouched = _contents(folder)
    start = time.monotonic()
    done = belljar(
        "run", "agent.py", "--servers", servers, "--allow", "fs:*", "--arg", f"folder={folder}", "--json", env=telemetry
    )
    took = time.monotonic() - start
    sessions = belljar("faker", "sessions", "list", "--json").json
    document = belljar("faker", "sessions", "replay", sessions[0]["session_id"]).json
    return Played(belljar, done, took, list(collector.spans), folder, untouched, sessions, document)


def test_the_faker_starts_without_hanging(played: Played) -> None:
    """[ ] Faker starts without hanging: the first call was answered, within the run's own deadlines."""
    first = played.done.json["calls"][0]
    assert first["state"] == "applied"
    assert played.took_s < 45


def test_the_agent_completes(played: Played) -> None:
    """[ ] Agent completes execution (not stuck in running): the program ended by itself, and so did the faker."""
    assert played.done.status == 0, played.done.err
    assert [each["status"] for each in played.sessions] == ["completed"]


def test_the_run_is_shown_as_completed(played: Played) -> None:
    """[ ] Agent run shows "completed" status: success in its answer and in its trace, every call applied."""
    answer = played.done.json
    assert answer["success"] is True
    assert answer["trace"]["success"] is True
    assert {each["state"] for each in answer["calls"]} == {"applied"}


def test_a_session_is_in_the_database(played: Played) -> None:
    """[ ] Faker session created in database: one, with the instruction and the server's command."""
    (session,) = played.sessions
    assert session["instruction"] == _INSTRUCTION
    assert session["command"][-1] == str(played.folder)
    assert session["safety_mode"] is True


def test_the_session_contains_the_calls(played: Played) -> None:
    """[ ] Session contains tool calls (not empty): all five, in order, each with an answer, none lost."""
    calls = played.document["tool_calls"]
    assert [each["tool_name"] for each in calls] == [
        "list_directory", "write_file", "read_text_file", "read_text_file", "list_directory",
    ]  # fmt: skip
    assert all(each["response"]["content"] for each in calls)
    assert played.document["lost_calls"] == 0


def test_the_replay_is_valid_json(played: Played) -> None:
    """[ ] Session replay exports valid JSON: in the seed's shape, with all 14 tools and their schemas."""
    document = played.document
    assert document["stats"]["TotalToolCalls"] == 5
    assert (document["stats"]["ReadCalls"], document["stats"]["WriteCalls"]) == (4, 1)
    assert len(document["tools"]) == 14
    assert all(each["listed"]["inputSchema"]["type"] == "object" for each in document["tools"])


def test_the_collector_has_the_spans(played: Played) -> None:
    """[ ] Jaeger shows `station.faker` spans: one for each call, below the agent's own call in the same trace."""
    spans = [span for span in played.spans if span.scope == "station.faker" and span.name.startswith("faker.")]
    assert sorted(span.name for span in spans) == [
        "faker.list_directory",
        "faker.list_directory",
        "faker.read_text_file",
        "faker.read_text_file",
        "faker.write_file",
    ]
    calls = {span.span_id: span for span in played.spans if span.scope == "belljar"}
    for span in spans:
        assert span.resource["service.name"] == "station"
        assert calls[span.parent_id].name == f"tools/call {span.name.removeprefix('faker.')}"
        assert span.trace_id == calls[span.parent_id].trace_id


def test_the_spans_have_their_attributes(played: Played) -> None:
    """[ ] Spans have correct attributes: all eight on each; the session's rows name their spans."""
    spans = {span.span_id: span for span in played.spans if span.name.startswith("faker.")}
    session = played.sessions[0]["session_id"]
    for span in spans.values():
        assert span.attributes.keys() >= _EIGHT
        assert span.attributes["faker.session_id"] == session
        assert span.attributes["faker.ai_instruction"] == _INSTRUCTION
    write = next(span for span in spans.values() if span.name == "faker.write_file")
    assert write.attributes["faker.is_write_operation"] is True
    assert write.attributes["faker.intercepted_write"] is True
    for call in played.document["tool_calls"]:
        assert spans[call["span_id"]].name == f"faker.{call['tool_name']}"
        assert spans[call["span_id"]].trace_id == call["trace_id"]


def test_a_call_to_the_server_is_a_client_span(played: Played) -> None:
    """Beside the boxes: what reached the real server is the standard client span below its `faker.{tool}`."""
    above = {span.span_id: span for span in played.spans if span.name.startswith("faker.")}
    real = [span for span in played.spans if span.scope == "station.faker" and span.kind == "SPAN_KIND_CLIENT"]
    asked = {span.span_id for span in above.values() if span.attributes["faker.real_mcp_used"]}
    assert {span.parent_id for span in real} == asked
    assert all(span.attributes["mcp.method.name"] == "tools/call" for span in real)
    assert all(span.attributes["network.transport"] == "pipe" for span in real)
    assert "tools/call write_file" not in {span.name for span in real}


@pytest.mark.anyio
async def test_other_instructions_make_other_data(
    tmp_path: Path, needs: Callable[[str], list[str]], played: Played
) -> None:
    """[ ] Different AI instructions produce different simulated data; the same one, the same data: without a model."""
    server = needs("server-filesystem")
    texts = [await _made_up(tmp_path, server, words) for words in ("slow disks", "many files", "slow disks")]
    assert texts[0] == texts[2]
    assert texts[0] != texts[1]


@pytest.mark.anyio
async def test_a_model_follows_the_instruction(
    tmp_path: Path, needs: Callable[[str], list[str]], collector: Collector
) -> None:
    """[ ] The same box with a model, a loopback OpenAI-compatible endpoint: its answers, its span, its time."""
    with _model() as url:
        env = {"BELLJAR_AI_URL": url, "BELLJAR_AI_MODEL": "m", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        server = needs("server-filesystem")
        texts = [await _made_up(tmp_path, server, words, env) for words in ("a cost spike", "a fraud")]
    assert texts == ["as in a cost spike", "as in a fraud"]
    with SessionStore(tmp_path / ".local" / "state" / "belljar" / "faker" / FILE) as store:
        (event,) = store.events(store.sessions()[0].id)
    assert (event.source, event.ai, event.synthesized) == ("ai", True, True)
    assert event.ai_ms is not None
    (enriched,) = [span for span in collector.spans if span.parent_id == event.span_id]
    assert enriched.name == "faker.ai_enrichment"
    assert enriched.attributes["faker.ai_enrichment_enabled"] is True


@contextmanager
def _model() -> Iterator[str]:
    """An endpoint that completes every prompt with its scenario, in the shape that the tool asks for."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            scenario = json.loads(body["messages"][1]["content"])["scenario"]
            said = json.dumps({"content": f"as in {scenario}"})
            data = json.dumps({"choices": [{"message": {"role": "assistant", "content": said}}]}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


async def _made_up(home: Path, server: list[str], instruction: str, env: Mapping[str, str] | None = None) -> str:
    """What a file that is nowhere holds, when the real server is not asked."""
    command = StdioServerParameters(
        command=sys.executable,
        args=_faker(server, home, "--no-real", "--ai-instruction", instruction),
        env={"PYTHONPATH": str(_ROOT), "HOME": str(home), **(env or {})},
    )
    async with Client(stdio_client(command), mode="legacy") as client:
        answer = await client.call_tool("read_text_file", {"path": str(home / "nowhere.txt")})
    return answer.structured_content["content"]


def test_writes_are_intercepted(played: Played) -> None:
    """[ ] Write operations are intercepted in safety mode: the agent saw its file, and no byte on the disk changed."""
    value = played.done.json["value"]
    assert "new.txt" in json.dumps(value["after"])
    assert "new.txt" not in json.dumps(value["before"])
    assert "made by an agent" in json.dumps(value["read"])
    assert _contents(played.folder) == played.untouched
    write = played.document["tool_calls"][1]
    assert write["intercepted_write"] is True


def test_reads_come_from_the_server_or_are_made_up(played: Played) -> None:
    """[ ] Read operations use real MCP or synthesized data: each says where its answer is from; the canary is real."""
    assert "alive" in json.dumps(played.done.json["value"]["real"])
    reads = [each for each in played.document["tool_calls"] if each["operation_type"] == "read"]
    assert all(each["source"] in ("real", "overlay", "synthesized", "ai", "cache") for each in reads)
    canary = next(each for each in reads if each["arguments"]["path"].endswith("canary.txt"))
    assert (canary["source"], canary["real_mcp_used"]) == ("real", True)


@pytest.mark.anyio
async def test_the_session_answers_without_the_server(played: Played) -> None:
    """And then: the recorded session, served, gives a client what the agent was given, though no server is there."""
    document = played.document
    command = played.belljar.command("faker", "sessions", "serve", document["session_id"], "--strict")
    params = StdioServerParameters(command=command[0], args=command[1:], env=played.belljar.environment)
    async with Client(stdio_client(params), mode="legacy") as client:
        listed = await client.list_tools()
        assert [each.name for each in listed.tools] == [each["listed"]["name"] for each in document["tools"]]
        for call in document["tool_calls"]:
            answer = await client.call_tool(call["tool_name"], call["arguments"])
            assert answer.content[0].text == call["response"]["content"][0]["text"]  # pyright: ignore[reportAttributeAccessIssue]
