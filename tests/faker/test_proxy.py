"""The proxy before real servers: what a client sees through it, and what it would see without it."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Needs
from tests.faker.wire import Wire, faker

_ODD = Path(__file__).with_name("targets") / "odd.py"


def _script(wire: Wire, folder: Path) -> None:
    """What a client may do that changes nothing, and a few errors."""
    wire.begin()
    wire.ask("tools/list")
    wire.call("list_directory", path=str(folder))
    wire.call("read_text_file", path=str(folder / "é.txt"))
    wire.call("read_text_file", path="/etc/passwd")
    wire.ask("resources/list")
    wire.ask("ping")


def test_bytes_are_those_of_the_server(needs: Needs, tmp_path: Path) -> None:
    """F51, F60: 14 of 14 tools; passed through, every answer is the server's byte by byte, and else the same value."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "é.txt").write_text("naïve \u2028 text\n")
    server = [*needs("server-filesystem"), str(folder)]
    with (
        Wire(server, state=tmp_path) as direct,
        Wire(faker("--passthrough", "--", *server), state=tmp_path) as passing,
        Wire(faker("--", *server), state=tmp_path) as safe,
    ):
        for wire in direct, passing, safe:
            _script(wire, folder)
        assert passing.lines == direct.lines
        assert [json.loads(line) for line in safe.lines] == [json.loads(line) for line in direct.lines]
        assert safe.lines[:4] == direct.lines[:4]
        assert len(json.loads(direct.lines[1])["result"]["tools"]) == 14
        assert (passing.end()[0], safe.end()[0]) == (0, 0)


def test_pass_through_writes(needs: Needs, tmp_path: Path) -> None:
    """F60: with --passthrough a write is made, and its answer is the server's."""
    server = [*needs("server-filesystem"), str(tmp_path)]
    with Wire(faker("--passthrough", "--", *server), state=tmp_path) as wire:
        wire.begin()
        assert "Successfully" in str(wire.call("write_file", path=str(tmp_path / "a"), content="x"))
        assert (tmp_path / "a").read_text() == "x"


def _digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def test_no_write_reaches_a_real_server(needs: Needs, tmp_path: Path) -> None:
    """F55: every write tool of the filesystem server is called, in a canary folder that stays as it is to the byte."""
    folder = tmp_path / "canary"
    folder.mkdir()
    (folder / "a.txt").write_text("one")
    before = _digest(folder)
    with Wire(faker("--", *needs("server-filesystem"), str(folder)), state=tmp_path) as wire:
        wire.begin()
        for name, args in {
            "write_file": {"path": str(folder / "a.txt"), "content": "two"},
            "edit_file": {"path": str(folder / "a.txt"), "edits": [{"oldText": "one", "newText": "two"}]},
            "create_directory": {"path": str(folder / "new")},
            "move_file": {"source": str(folder / "a.txt"), "destination": str(folder / "b.txt")},
        }.items():
            assert "result" in wire.call(name, **args)
        assert _digest(folder) == before
        assert wire.end()[0] == 0


def test_an_id_that_is_used_again_lets_no_write_through(tmp_path: Path) -> None:
    """F55: a read, its cancellation and a write under the same id, all in one piece: the server sees no write."""
    command = faker("--debug", "--", sys.executable, str(_ODD), "tells")
    with Wire(command, state=tmp_path) as wire:
        wire.begin()
        wire.ask("tools/list")
        said: list[dict[str, Any]] = []
        for request in range(100, 120):
            read, write = (
                {"id": request, "method": "tools/call", "params": {"name": name, "arguments": {}}}
                for name in ("get_it", "put_it")
            )
            said += [read, {"method": "notifications/cancelled", "params": {"requestId": request}}, write]
        wire.say(b"\n".join(json.dumps({"jsonrpc": "2.0", **each}).encode() for each in said))
        answers = [wire.message() for _ in range(20)]
        assert sorted(each["id"] for each in answers) == list(range(100, 120))
        assert all("result" in each for each in answers)
        assert "result" in wire.call("get_it")
        status, err = wire.end()
    assert (status, "called get_it" in err, "called put_it" in err) == (0, True, False)


def test_everything_passes_both_ways(needs: Needs, tmp_path: Path) -> None:
    """F52: resources, prompts, completion, logging, progress, sampling and roots are as without a proxy."""
    server = needs("server-everything")

    def script(wire: Wire) -> list[Any]:
        seen = [wire.begin(sampling={}, roots={"listChanged": True}, elicitation={})]
        seen += [
            wire.ask(method, params)
            for method, params in (
                ("resources/list", {}),
                ("resources/templates/list", {}),
                ("prompts/list", {}),
                ("prompts/get", {"name": "simple-prompt"}),
                (
                    "completion/complete",
                    {
                        "ref": {"type": "ref/prompt", "name": "completable-prompt"},
                        "argument": {"name": "department", "value": "E"},
                    },
                ),
                ("logging/setLevel", {"level": "debug"}),
                ("ping", {}),
            )
        ]
        wire.ask("tools/list")
        params = {"name": "trigger-long-running-operation", "arguments": {"duration": 0.2, "steps": 2}}
        seen.append(wire.ask("tools/call", {**params, "_meta": {"progressToken": "t"}}))
        seen += [message for line in wire.lines if "notifications/progress" in (message := json.loads(line)).values()]
        seen.append(_sampled(wire))
        return seen

    overrides = tmp_path / "overrides.json"
    overrides.write_text(json.dumps({"*": "read"}))
    command = faker("--overrides", str(overrides), "--", *server)
    with Wire(server, state=tmp_path) as direct, Wire(command, state=tmp_path) as proxied:
        expected = script(direct)
        assert script(proxied) == expected
        assert sum("progressToken" in str(each) for each in expected) == 2


def _sampled(wire: Wire) -> Any:
    """A tool that asks the client's model; the server's own question is part of what is seen."""
    request = {"name": "trigger-sampling-request", "arguments": {"prompt": "hi", "maxTokens": 5}}
    wire.say({"id": "call", "method": "tools/call", "params": request})
    while (question := wire.message()).get("method") != "sampling/createMessage":
        if question.get("method") == "roots/list":
            wire.say({"id": question["id"], "result": {"roots": []}})
    content = {"type": "text", "text": "well"}
    wire.say({"id": question["id"], "result": {"role": "assistant", "model": "m", "content": content}})
    return question["params"], wire.answer("call")


def test_cancellation_reaches_the_server(needs: Needs, tmp_path: Path) -> None:
    """F52: a call that is cancelled is cancelled at the server, and the connection goes on."""
    overrides = tmp_path / "overrides.json"
    overrides.write_text(json.dumps({"*": "read"}))
    with Wire(faker("--overrides", str(overrides), "--", *needs("server-everything")), state=tmp_path) as wire:
        wire.begin()
        wire.ask("tools/list")
        params = {"name": "trigger-long-running-operation", "arguments": {"duration": 60, "steps": 60}}
        wire.say({"id": "x", "method": "tools/call", "params": {**params, "_meta": {"progressToken": 9}}})
        while wire.message().get("method") != "notifications/progress":
            pass
        wire.say({"method": "notifications/cancelled", "params": {"requestId": "x"}})
        assert "result" in wire.ask("ping")


@pytest.mark.parametrize("part", ["server-memory", "server-sequential-thinking", "mcp-server-git", "mcp-server-time"])
def test_lists_of_other_servers(needs: Needs, tmp_path: Path, part: str) -> None:
    """F51: tools and schemas of servers in two languages are identical through the proxy."""
    server = needs(part)
    env = {"MEMORY_FILE_PATH": str(tmp_path / "memory.json")}
    with (
        Wire(server, state=tmp_path, env=env) as direct,
        Wire(faker("--", *server), state=tmp_path, env=env) as proxied,
    ):
        for wire in direct, proxied:
            wire.begin()
            wire.ask("tools/list")
        assert proxied.lines == direct.lines


def test_debug_says_what_is_intercepted(needs: Needs, tmp_path: Path) -> None:
    """F53, F54, F77: the list of the filesystem server with its risks, on stderr, while stdout is messages alone."""
    server = [*needs("server-filesystem"), str(tmp_path)]
    command = faker("--command", server[0], "--args", ",".join(server[1:]), "--debug")
    with Wire(command, state=tmp_path) as wire:
        wire.begin()
        wire.ask("tools/list")
        _, err = wire.end()
    assert "SAFETY MODE: 4 write operations detected and will be INTERCEPTED:" in err
    risks = {"write_file": "high", "edit_file": "medium", "create_directory": "medium", "move_file": "medium"}
    assert all(f"{name} (risk: {risk})" in err for name, risk in risks.items())
    assert "14 tools" in err


def test_debug_says_it_also_when_no_client_speaks(needs: Needs, tmp_path: Path) -> None:
    """A person who looks at a terminal sees the list before there is any client."""
    with Wire(faker("--debug", "--", *needs("server-filesystem"), str(tmp_path)), state=tmp_path) as wire:
        assert wire.process.stderr is not None
        seen = b""
        while b"move_file (risk: medium)" not in seen:
            chunk = wire.process.stderr.readline()
            assert chunk, seen
            seen += chunk
        assert wire.begin()["result"]["serverInfo"]
        assert wire.end()[0] == 0


def test_a_call_that_is_kept_waiting_is_recorded_as_a_fault(tmp_path: Path) -> None:
    """F64, F65: a timeout made on purpose lasts until the client gives up, and is a fault in the session."""
    from belljar.faker.sessions import FILE, SessionStore

    with Wire(faker("--fault", "*=timeout", "--", sys.executable, str(_ODD)), state=tmp_path) as wire:
        wire.begin()
        wire.ask("tools/list")
        for request, name in enumerate(("get_it", "put_it"), 100):
            wire.say({"id": request, "method": "tools/call", "params": {"name": name, "arguments": {}}})
            wire.ask("ping")
            wire.say({"method": "notifications/cancelled", "params": {"requestId": request}})
        wire.ask("ping")
        wire.end()
    store = SessionStore(tmp_path / "belljar" / "faker" / FILE)
    (session,) = store.sessions()
    assert [(event.source, event.is_error) for event in store.events(session.id)] == [("fault", True)] * 2
    store.close()


def test_a_server_that_hangs_after_a_wait_is_given_up_in_time(tmp_path: Path) -> None:
    """F75: a deadline counts also when it begins long after the client's last word."""
    options = ("--call-timeout", "1", "--fault", "get_it=latency:300ms")
    with Wire(faker(*options, "--", sys.executable, str(_ODD), "hangs"), state=tmp_path) as wire:
        wire.begin()
        wire.ask("tools/list")
        params = {"name": "get_it", "arguments": {}}
        assert "no answer within" in wire.ask("tools/call", params, 20)["error"]["message"]


def test_a_world_is_given_longer_than_all_that_it_may_wait_for() -> None:
    """F75: progress keeps a call for ten times its deadline, a fault for an hour; what ends both is theirs to say."""
    from belljar.faker import proxy, pump, world

    assert proxy.longest_s(60.0) > 60.0 * pump.LONGEST
    assert proxy.longest_s(0.1) > world._LONGEST_SILENCE_S


def test_every_call_is_recorded(needs: Needs, tmp_path: Path) -> None:
    """F64: reads, writes, failures and calls of no tool are events of the session."""
    from belljar.faker.sessions import FILE, SessionStore

    with Wire(faker("--", *needs("server-filesystem"), str(tmp_path)), state=tmp_path) as wire:
        wire.begin()
        wire.call("list_directory", path=str(tmp_path))
        wire.call("write_file", path=str(tmp_path / "a"), content="x")
        wire.call("read_text_file", path="/nowhere")
        wire.call("nothing_of_the_kind")
        wire.end()
    store = SessionStore(tmp_path / "belljar" / "faker" / FILE)
    (session,) = store.sessions()
    events = store.events(session.id)
    assert [event.tool for event in events] == [
        "list_directory",
        "write_file",
        "read_text_file",
        "nothing_of_the_kind",
    ]
    assert [event.is_error for event in events] == [False, False, True, True]
    store.close()
