"""`belljar faker sessions`: golden output, and a session served to real clients of both eras over both transports."""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.shared.exceptions import MCPError

from belljar.cli import main
from belljar.faker.sessions import FILE, ServedTool, SessionRecorder
from tests.cli.conftest import Belljar, Done
from tests.faker.sessions.making import READ, TOOLS, WRITE, event, record

_ROOT = Path(__file__).parents[2]
_RECORDINGS = _ROOT / "tests" / "fixtures" / "recordings"
_ID = "6c2c7577-006d-4a20-a70e-3dd9c6d5f74f"


def _document() -> dict[str, Any]:
    """A session with fixed times, as somebody else exported it."""
    calls = [
        {
            "sequence": 1, "tool_name": "read_file", "arguments": {"path": "/tmp/a"},
            "response": {"content": [{"type": "text", "text": "hello"}]}, "operation_type": "read",
            "timestamp": "2025-11-10T00:30:57.500000000Z", "elapsed_ms": 500, "server": "fs", "source": "real",
            "latency_ms": 2.5, "real_ms": 2.0, "real_mcp_used": True,
        },
        {
            "sequence": 2, "tool_name": "write_file", "arguments": {"path": "/tmp/b", "content": "\x1b[2Jx"},
            "response": {"content": [{"type": "text", "text": "ok"}]}, "operation_type": "write",
            "timestamp": "2025-11-10T00:30:58.000000000Z", "elapsed_ms": 1000, "server": "fs", "source": "overlay",
            "latency_ms": 0.25, "risk": "high", "reason": "verb write", "intercepted_write": True,
        },
        {
            "sequence": 3, "tool_name": "read_file", "arguments": {"path": "/tmp/c"}, "response": None,
            "error": {"code": -32602, "message": "no such file"}, "operation_type": "read",
            "timestamp": "2025-11-10T00:30:59.000000000Z", "elapsed_ms": 2000, "server": "fs", "source": "cache",
            "latency_ms": 0.1,
        },
    ]  # fmt: skip
    return {
        "session_id": _ID, "instruction": "a full disk", "created_at": "2025-11-10T00:30:57Z",
        "tool_calls": calls, "stats": {"Duration": 2_500_000_000}, "format": "belljar.session/1",
        "command": ["npx", "x"],
        "tools": [{"server": "fs", "listed": dict(each.listed)} for each in (READ, WRITE)],
    }  # fmt: skip


class Inside:
    """The program, run inside this process: what it does is done in milliseconds, and starting it is another's test."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[bytes]) -> None:
        self.folder = folder
        self._capsys = capsys

    def __call__(self, *words: str) -> Done:
        self._capsys.readouterr()
        ended, logger = signal.getsignal(signal.SIGTERM), logging.getLogger("belljar")
        handlers = list(logger.handlers)
        level = logger.level
        try:
            with pytest.raises(SystemExit) as exited:
                main(words)
        finally:
            signal.signal(signal.SIGTERM, ended)
            logger.handlers[:] = handlers
            logger.setLevel(level)
        out, err = self._capsys.readouterr()
        assert isinstance(exited.value.code, int)
        return Done(exited.value.code, out.decode(), err.decode())


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Inside:
    for name in [each for each in os.environ if each.startswith(("BELLJAR_", "XDG_", "OTEL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Inside(tmp_path, capsysbinary)


@pytest.fixture
def imported(inside: Inside) -> Inside:
    """The program with that session in it."""
    file = inside.folder / "scenario.json"
    file.write_text(json.dumps(_document()))
    done = inside("faker", "sessions", "import", str(file))
    assert (done.status, done.out) == (0, f"{_ID}\n"), done.err
    return inside


def _file(belljar: Belljar | Inside) -> Path:
    return belljar.folder / "home" / ".local" / "state" / "belljar" / "faker" / FILE


def _sessions(belljar: Inside, *words: str, status: int = 0) -> str:
    done = belljar("faker", "sessions", *words)
    assert done.status == status, done.err
    return "\n".join(line.rstrip() for line in done.out.splitlines())


def test_list(imported: Inside) -> None:
    """F65: the list, for a person and for a program; no escape sequence where there is no terminal."""
    assert _sessions(imported, "list") == (
        "session                               since                 status     calls                  took   what\n"
        "6c2c7577-006d-4a20-a70e-3dd9c6d5f74f  2025-11-10 00:30:57Z  completed  3, 1 writes, 1 failed  2.5 s  "
        "a full disk"
    )
    (facts,) = json.loads(_sessions(imported, "list", "--json"))
    assert facts == {
        "session_id": _ID,
        "instruction": "a full disk",
        "created_at": "2025-11-10T00:30:57.000000000Z",
        "ended_at": "2025-11-10T00:30:59.500000000Z",
        "status": "completed",
        "error": "",
        "calls": 3,
        "reads": 2,
        "writes": 1,
        "errors": 1,
        "lost_calls": 0,
        "duration_ms": 2500.0,
        "safety_mode": True,
        "origin": "belljar",
        "redacted": False,
        "command": ["npx", "x"],
    }


def test_show(imported: Inside) -> None:
    """F65: a session with its calls, and one call whole; what tools said is escaped."""
    assert _sessions(imported, "show", "6c2c") == (
        "\n"
        "session      6c2c7577-006d-4a20-a70e-3dd9c6d5f74f\n"
        "status       completed\n"
        "since        2025-11-10 00:30:57Z, for 2.5 s\n"
        "instruction  a full disk\n"
        "server       npx x\n"
        "writes       intercepted\n"
        "calls        3, 1 writes, 1 failed\n"
        "tools        2\n"
        "\n"
        "call  s       tool        kind   source           ms   arguments\n"
        '1     +0.500  read_file   read   real     ok      2.5  {"path":"/tmp/a"}\n'
        '2     +1.000  write_file  write  overlay  ok      0.2  {"path":"/tmp/b","content":"\\u001b[2Jx"}\n'
        '3     +2.000  read_file   read   cache    failed  0.1  {"path":"/tmp/c"}'
    )
    one = _sessions(imported, "show", _ID, "--call", "3")
    assert '"message": "no such file"' in one
    assert json.loads(_sessions(imported, "show", _ID, "--call", "2", "--json"))["source"] == "overlay"
    assert json.loads(_sessions(imported, "show", _ID, "--json"))["session_id"] == _ID


def test_replay_prints_the_document_and_import_takes_it_back(imported: Inside) -> None:
    """F66, F68: `replay` and `export` print one JSON document, which `import` reads into a session of equal calls."""
    printed = _sessions(imported, "replay", _ID)
    assert json.loads(printed)["stats"] == {
        "TotalToolCalls": 3, "ReadCalls": 2, "WriteCalls": 1, "UniqueTools": 2, "Duration": 2_500_000_000,
    }  # fmt: skip
    out = imported.folder / "out.json"
    _sessions(imported, "export", _ID, "-o", str(out))
    assert out.stat().st_mode & 0o777 == 0o600
    assert json.loads(out.read_text()) == json.loads(printed)
    again = imported("faker", "sessions", "import", str(out))
    assert again.status == 2
    assert "already" in again.err
    other = json.loads(_sessions(imported, "import", str(out), "--as-new", "--json"))["session_id"]
    assert _sessions(imported, "diff", _ID, other) == "3 calls, all the same"
    assert {**json.loads(_sessions(imported, "export", other)), "session_id": _ID} == json.loads(printed)


@pytest.mark.parametrize(("file", "calls"), [("mcp_rec.jsonl", 2), ("mcp_recorder.json", 2)])
def test_recordings_of_others_are_imported(inside: Inside, file: str, calls: int) -> None:
    """F68: recordings of mcp-rec and mcp-recorder become sessions."""
    facts = json.loads(_sessions(inside, "import", str(_RECORDINGS / file), "--json"))
    assert facts["calls"] == calls


def test_diff_says_what_changed_and_exits_1(imported: Inside) -> None:
    """F69: added, removed and changed calls, for a person and for a program; exit 1."""
    changed = _document()
    calls = changed["tool_calls"]
    changed["session_id"] = "aaaaaaaa"
    calls[0]["response"]["content"][0]["text"] = "bye"
    calls[1]["arguments"]["content"] = "y"
    del calls[2]
    file = imported.folder / "changed.json"
    file.write_text(json.dumps(changed))
    _sessions(imported, "import", str(file))
    assert _sessions(imported, "diff", _ID, "aaaaaaaa", status=1) == (
        '- 3 fs:read_file {"path":"/tmp/c"}\n'
        '~ 1 fs:read_file {"path":"/tmp/a"}: other answer\n'
        '  was {"content":[{"type":"text","text":"hello"}]}\n'
        '  is  {"content":[{"type":"text","text":"bye"}]}\n'
        '~ 2 fs:write_file {"path":"/tmp/b","content":"\\u001b[2Jx"}: other arguments\n'
        '  2 fs:write_file {"path":"/tmp/b","content":"y"}\n'
        "0 calls are the same; 0 added, 1 removed, 2 changed"
    )
    facts = json.loads(_sessions(imported, "diff", _ID, "aaaaaaaa", "--json", status=1))
    assert facts["different"] is True
    assert [each["what"] for each in facts["changed"]] == ["answer", "arguments"]
    assert json.loads(_sessions(imported, "diff", _ID, _ID, "--json"))["different"] is False


def test_metrics(imported: Inside) -> None:
    """F84: overhead, cache hits and the time of servers and models, with percentiles."""
    assert _sessions(imported, "metrics") == (
        "\n"
        "sessions     1\n"
        "calls        3 (2 reads, 1 writes), 1 failed\n"
        "answered by  real 1, overlay 1, cache 1\n"
        "cache hits   1 (33.3%)\n"
        "latency      p50 0.250 ms, p95 2.500 ms (3 calls)\n"
        "overhead     p50 0.250 ms, p95 0.500 ms (3 calls)\n"
        "server       p50 2.000 ms, p95 2.000 ms (1 calls)\n"
        "model        no calls\n"
        "tools        read_file 2, write_file 1"
    )
    facts = json.loads(_sessions(imported, "metrics", _ID, "--json"))
    assert facts["overheadMs"] == {"n": 3, "p50": 0.25, "p95": 0.5, "max": 0.5}
    assert facts["cacheHitShare"] == 0.3333


def test_delete(imported: Inside) -> None:
    """F65: a deleted session is gone with its calls; one that is being recorded stays."""
    with SessionRecorder(_file(imported)) as live:
        live.record(event())
        done = imported("faker", "sessions", "delete", live.session_id)
        assert done.status == 2
        assert "still being recorded" in done.err
        assert json.loads(_sessions(imported, "delete", "--all", "--json")) == {"deleted": [_ID]}
    with sqlite3.connect(_file(imported)) as db:
        assert db.execute("SELECT DISTINCT session FROM event").fetchall() == [(live.session_id,)]
    db.close()
    assert imported("faker", "sessions", "delete").status == 2


def test_a_dead_fakers_session_is_shown_as_failed(inside: Inside) -> None:
    """F76: whatever verb comes next, a session whose faker was killed is no longer running."""
    code = (
        "import sys, os, pathlib; from belljar.faker.sessions import SessionRecorder;"
        "r = SessionRecorder(pathlib.Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(_file(inside))], cwd=_ROOT, timeout=20, check=False)
    (facts,) = json.loads(_sessions(inside, "list", "--json"))
    assert facts["status"] == "failed"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "nope"], "no session nope"),
        (["show", "6c2c7577", "--call", "9"], "no call 9"),
        (["import", "/nowhere/at/all"], "cannot be read"),
        (["import", "/"], "cannot be read"),
        (["serve", "6c2c7577", "--http", "0.0.0.0:80"], "127.0.0.1:PORT"),
        (["serve", "6c2c7577", "--server", "x"], "there are: fs"),
        (["export", "6c2c7577", "-o", "/nowhere/x.json"], "cannot be written"),
    ],
)
def test_misuse_is_one_line(imported: Inside, words: list[str], said: str) -> None:
    """Exit 2, and one line that says what is wrong."""
    done = imported("faker", "sessions", *words)
    assert done.status == 2
    assert len(done.err.splitlines()) == 1
    assert said in done.err


def test_a_redacted_export_has_no_secret(inside: Inside) -> None:
    """F68: --redact masks secrets and gives people pseudonyms, in every field."""
    token = "ghp_" + "a1B2c3D4" * 4 + "Z9y8"
    session = record(
        _file(inside), event(READ, {"path": "/ann@corp.com"}, token), instruction=f"for ann@corp.com {token}"
    )
    text = _sessions(inside, "export", session, "--redact")
    assert token not in text
    assert "ann@corp.com" not in text
    assert text.count("[EMAIL:") == 2


@pytest.mark.parametrize("verb", ["list", "show", "replay", "export", "import", "diff", "delete", "metrics", "serve"])
def test_help_shows_examples_and_json(inside: Inside, verb: str) -> None:
    """Each verb's help says how it is used; all but the server know --json."""
    done = inside("faker", "sessions", verb, "--help")
    assert done.status == 0
    assert "belljar faker sessions" in done.out.split("Examples:")[1]
    assert verb == "serve" or "--json" in done.out


# served


def _params(belljar: Belljar, *words: str) -> StdioServerParameters:
    command = belljar.command("faker", "sessions", "serve", *words)
    return StdioServerParameters(command=command[0], args=command[1:], env=belljar.environment)


def _kept(belljar: Belljar) -> str:
    odd = {
        "content": [{"type": "text", "text": "7", "vendor": True}],
        "structuredContent": {"n": None},
        "_meta": {"k": 1},
    }
    made = [
        event(READ, {"path": "/a"}, "first"),
        event(READ, {"path": "/a"}, "second"),
        event(WRITE, {"path": "/a", "content": "x"}, "written", is_error=True),
        event(READ, {"path": "/b"}, error={"code": -32602, "message": "no such file", "data": {"path": "/b"}}),
        event(READ, {"path": "/odd"}),
    ]
    structured = made[-1]
    structured.reply.result.clear()  # pyright: ignore[reportAttributeAccessIssue]
    structured.reply.result.update(odd)  # pyright: ignore[reportAttributeAccessIssue]
    return record(_file(belljar), *made)


def _as_listed(tools: Any) -> list[dict[str, Any]]:
    return [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in tools]


async def _answers(client: Client, *, strict: bool) -> None:
    listed = await client.list_tools()
    assert _as_listed(listed.tools) == [dict(each.tool.listed) for each in TOOLS]
    assert (await client.call_tool("read_file", {"path": "/a"})).content[0].text == "first"  # pyright: ignore[reportAttributeAccessIssue]
    again = await client.call_tool("read_file", {"path": "/a"}, meta={"progressToken": 9})
    assert again.content[0].text == "second"  # pyright: ignore[reportAttributeAccessIssue]
    assert (await client.call_tool("write_file", {"content": "x", "path": "/a"})).is_error is True
    with pytest.raises(MCPError, match="no such file") as refused:
        await client.call_tool("read_file", {"path": "/b"})
    assert refused.value.code == -32602
    assert refused.value.data == {"path": "/b"}
    odd = await client.call_tool("read_file", {"path": "/odd"})
    assert odd.structured_content == {"n": None}
    with pytest.raises(MCPError, match="recorded") as missed:
        await client.call_tool("read_file", {"path": "/never"})
    assert missed.value.code == -32000
    if not strict:
        last = await client.call_tool("read_file", {"path": "/a"})
        assert last.content[0].text == "second"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.anyio
@pytest.mark.parametrize(("era", "strict"), [("legacy", True), ("2026-07-28", False)])
async def test_a_real_client_gets_the_recorded_answers(belljar: Belljar, era: str, strict: bool) -> None:
    """F67: over stdio, in both eras, strict and lenient: identical schemas, the recorded answers."""
    words = [_kept(belljar), *(["--strict"] if strict else [])]
    async with Client(stdio_client(_params(belljar, *words)), mode=era) as client:
        await _answers(client, strict=strict)


@pytest.mark.anyio
async def test_a_session_is_served_by_http(belljar: Belljar) -> None:
    """F67: by streamable HTTP on a port of this machine; a stranger's Host is refused; SIGTERM ends it."""
    import httpx2

    process = belljar.start("faker", "sessions", "serve", _kept(belljar), "--http", "127.0.0.1:0")
    try:
        url = process.stderr.readline().decode().rpartition(" on ")[2].strip()
        async with Client(url) as client:
            await _answers(client, strict=False)
        async with httpx2.AsyncClient() as http:
            refused = await http.post(url, headers={"Host": "evil.example"}, json={})
            assert refused.status_code in (403, 421)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def test_stdout_is_json_rpc_alone_and_the_end_of_stdin_ends_it(belljar: Belljar) -> None:
    """F77: with --debug, each line on stdout is one message; when the client goes, so does the server."""
    ask = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    lines = [
        ask,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    ]
    process = belljar.start("faker", "sessions", "serve", _kept(belljar), "--debug", stdin=subprocess.PIPE)
    process.stdin.write("".join(json.dumps(line) + "\n" for line in lines).encode())
    process.stdin.flush()
    answers = [json.loads(process.stdout.readline()) for _ in range(2)]
    out, err = process.communicate(timeout=30)
    assert out == b""
    assert process.returncode == 0, err
    assert [each["id"] for each in answers] == [1, 2]
    assert answers[1]["result"]["tools"] == [dict(each.tool.listed) for each in TOOLS]


def test_what_the_library_does_not_know_goes_out_too(belljar: Belljar) -> None:
    """F67: a recorded entry or answer with fields of its vendor's goes out as it was said."""
    listed = {**READ.listed, "vendor": {"a": None}}
    tool = type(READ)("read_file", listed)
    with SessionRecorder(_file(belljar)) as recorder:
        recorder.serves([ServedTool("fs", tool)])
        recorder.record(event(tool, {"path": "/a"}))
    init = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    asks = [
        ("initialize", init),
        ("tools/list", {}),
        ("tools/call", {"name": "read_file", "arguments": {"path": "/a"}}),
    ]
    lines = [{"jsonrpc": "2.0", "id": n, "method": method, "params": params} for n, (method, params) in enumerate(asks)]
    process = belljar.start("faker", "sessions", "serve", recorder.session_id, stdin=subprocess.PIPE)
    process.stdin.write("".join(json.dumps(line) + "\n" for line in lines).encode())
    process.stdin.flush()
    answers = {answer["id"]: answer["result"] for answer in (json.loads(process.stdout.readline()) for _ in lines)}
    process.communicate(timeout=30)
    assert answers[1]["tools"] == [listed]
    assert answers[2] == {"content": [{"type": "text", "text": "hello"}], "isError": False}


# behind a run

_ASKS = """
first = await mcp.files.read_file(path="/tmp/a")
written = await mcp.files.write_file(path="/tmp/b", content="\\x1b[2Jx")
errors = []
for path in ("/tmp/c", "/never"):
    try:
        await mcp.files.read_file(path=path)
    except ToolError as exc:
        errors.append(exc.message)
[first, written, errors]
"""


def test_a_run_is_answered_from_a_session(belljar: Belljar, inside: Inside) -> None:
    """`--world session:ID`: recorded answers and errors, sources say replay, and no server is started."""
    file = belljar.folder / "scenario.json"
    file.write_text(json.dumps(_document()))
    _sessions(inside, "import", str(file))
    servers = belljar.servers(files={"command": "/nowhere/at/all"})
    done = belljar("run", "-c", _ASKS, "--world", "session:6c2c", "--servers", servers, "--allow", "*", "--json")
    value = done.json["value"]
    assert done.status == 0, done.err
    assert value[:2] == ["hello", "ok"]
    assert value[2][0] == "no such file"
    assert "no answer was recorded" in value[2][1]
    assert [each["state"] for each in done.json["calls"]] == ["applied", "applied", "failed", "failed"]
    assert [each["source"] for each in done.json["calls"]] == ["replay"] * 4
    assert done.json["trace"]["metadata"]["mockedShare"] > 0


def test_a_session_that_is_none_is_refused(belljar: Belljar) -> None:
    """A world that names no session is exit 2, before anything is started."""
    done = belljar("run", "-c", "1", "--world", "session:nope", "--json")
    assert (done.status, done.code) == (2, "VALIDATION_ERROR")
