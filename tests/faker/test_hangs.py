"""The proxy before servers that hang, flood, lie and die, and behind clients that vanish."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from belljar.faker.sessions import FILE, SessionStore
from tests.faker.wire import Wire, faker

_ODD = Path(__file__).with_name("targets") / "odd.py"
# Of the machine the tests may share with many others, not of the proxy.
_SLACK_S = 15.0


def odd(fault: str = "") -> list[str]:
    return [sys.executable, str(_ODD), fault]


def through(state: Path, fault: str = "", *options: str) -> Wire:
    return Wire(faker(*options, "--", *odd(fault)), state=state)


def gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=_SLACK_S)[1]


@pytest.mark.parametrize(
    ("words", "said", "status"),
    [
        (["nosuch-command"], "there is no command nosuch-command", 2),
        ([sys.executable, "-c", "import sys; sys.exit('no such luck')"], "it last said: no such luck", 4),
        (["sh", "-c", f"{sys.executable} -m belljar faker -- cat"], "cannot stand before a faker", 4),
        ([str(Path(sys.executable).with_name("belljar")), "faker", "--", "cat"], "cannot stand before itself", 2),
        ([], "name one server", 2),
    ],
)
def test_a_server_that_does_not_start(tmp_path: Path, words: list[str], said: str, status: int) -> None:
    """F74, F75: missing, dying at once, and ourselves: one line that says it, at once, and nobody is left."""
    with Wire(faker("--", *words), state=tmp_path) as wire:
        wire.say({"id": 1, "method": "initialize", "params": {}})
        left = wire.below()
        code, err = wire.end(_SLACK_S)
        assert (code, said in err) == (status, True), err
        assert len(err.strip().splitlines()) == 1
        assert gone(left)


def test_a_server_that_says_nothing(tmp_path: Path) -> None:
    """F75: an error for the client within the time for starting, then the end, with zero children."""
    with Wire(faker("--start-timeout", "1", "--", "sleep", "3600"), state=tmp_path) as wire:
        wire.say({"id": 1, "method": "initialize", "params": {}})
        assert "no answer within" in wire.answer(1, _SLACK_S)["error"]["message"]
        left = wire.below()
        assert wire.end(_SLACK_S)[0] == 4
        assert gone(left)


@pytest.mark.parametrize("fault", ["hangs", "stopped"])
def test_a_call_that_is_never_answered(tmp_path: Path, fault: str) -> None:
    """F75: a server that waits for ever, or was stopped by a signal: an error in time; writes are answered."""
    with through(tmp_path, fault, "--call-timeout", "1") as wire:
        wire.begin()
        wire.ask("tools/list")
        server = next(each for each in wire.below() if str(_ODD) in each.cmdline())
        if fault == "stopped":
            server.suspend()
        began = time.monotonic()
        assert "no answer" in wire.ask("tools/call", {"name": "get_it", "arguments": {}}, _SLACK_S)["error"]["message"]
        assert time.monotonic() - began < _SLACK_S
        assert "result" in wire.call("put_it")
        left = wire.below()
        assert wire.end(_SLACK_S)[0] == 0
        assert gone(left)


def test_a_server_that_dies_in_a_call(tmp_path: Path) -> None:
    """F75, F76: the client learns that it died, and of what; its session has failed, and the call is in it."""
    with through(tmp_path, "dies") as wire:
        wire.begin()
        assert "ended with status 3; it last said: I am done" in wire.call("get_it")["error"]["message"]
        assert wire.end(_SLACK_S)[0] == 4
    with SessionStore(tmp_path / "belljar" / "faker" / FILE) as store:
        (session,) = store.sessions()
        assert (session.status, session.error) == ("failed", "TargetGoneError")
        assert [event.tool for event in store.events(session.id)] == ["get_it"]


def test_a_server_that_floods_stderr(tmp_path: Path) -> None:
    """F75: what it writes there is drained; its answers come."""
    with through(tmp_path, "flood") as wire:
        wire.begin()
        assert wire.call("get_it")["result"]["content"][0]["text"] == "it"
        assert len(wire.end(_SLACK_S)[1]) < 10_000


def test_garbage_on_stdout_does_not_pass(tmp_path: Path) -> None:
    """F77: what is no message is dropped, and the answer behind it comes."""
    with through(tmp_path, "garbage", "--debug") as wire:
        wire.begin()
        assert "result" in wire.call("get_it")
        assert all(line.startswith(b"{") for line in wire.lines)
        assert "no message" in wire.end(_SLACK_S)[1]


def test_a_huge_result(tmp_path: Path) -> None:
    """10 MB pass whole."""
    with through(tmp_path, "huge") as wire:
        wire.begin()
        assert len(wire.call("get_it")["result"]["content"][0]["text"]) == 10 << 20


def test_ten_thousand_tools(tmp_path: Path) -> None:
    """They are listed, and each can be called."""
    with through(tmp_path, "many", "--debug") as wire:
        wire.begin()
        assert len(wire.ask("tools/list")["result"]["tools"]) == 10_000
        assert "result" in wire.call("get_9999")


def test_a_name_that_is_listed_twice(tmp_path: Path) -> None:
    """Both are seen, and a call of either is an error that says why."""
    with through(tmp_path, "twice") as wire:
        wire.begin()
        assert len(wire.ask("tools/list")["result"]["tools"]) == 3
        assert "several tools" in wire.call("get_it")["error"]["message"]


def test_hostile_names_and_schemas(tmp_path: Path) -> None:
    """They pass to the client as they are; on our stderr they are escaped."""
    with through(tmp_path, "hostile", "--debug") as wire:
        wire.begin()
        assert wire.ask("tools/list")["result"]["tools"][0]["name"] == "get_\x1b[31m<b>\u202e"
        assert "result" in wire.call("get_deep")
        err = wire.end(_SLACK_S)[1]
        assert "\x1b" not in err
        assert "\u202e" not in err


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_nobody_outlives_a_faker(tmp_path: Path, number: int, status: int) -> None:
    """F75: whatever ends it, its server ends too; a signal that can be heard is obeyed."""
    with through(tmp_path) as wire:
        wire.begin()
        left = wire.below()
        assert left
        wire.process.send_signal(number)
        assert wire.process.wait(_SLACK_S) == status
        assert gone(left)


def test_a_client_that_vanishes(tmp_path: Path) -> None:
    """F75: both pipes closed in the middle of a call, and a server that hangs in it: everything ends."""
    with through(tmp_path, "hangs") as wire:
        wire.begin()
        wire.say({"id": "x", "method": "tools/call", "params": {"name": "get_it", "arguments": {}}})
        left = wire.below()
        assert wire.process.stdin
        assert wire.process.stdout
        wire.process.stdin.close()
        wire.process.stdout.close()
        assert wire.process.wait(_SLACK_S) == 0
        assert gone(left)
        wire.process.stdin = wire.process.stdout = None


def test_requests_piped_in_at_once_are_all_answered(tmp_path: Path) -> None:
    """A client may write all it has to say, close its end, and read."""
    with through(tmp_path) as wire:
        for request in range(1, 20):
            method = "initialize" if request == 1 else "tools/call"
            params = {"protocolVersion": "2025-06-18"} if request == 1 else {"name": "get_it", "arguments": {}}
            wire.say({"id": request, "method": method, "params": params})
        assert wire.process.stdin
        wire.process.stdin.close()
        wire.process.stdin = None
        answered = set()
        while line := wire.line(_SLACK_S):
            answered.add(line)
        assert len(answered) == 19
        assert wire.process.wait(_SLACK_S) == 0


def test_the_environment_of_the_server(tmp_path: Path) -> None:
    """F83: it gets what we got, without what is ours; with --env only what is named and PATH and the like."""
    show = [
        sys.executable,
        "-c",
        "import json, os; print(json.dumps({'jsonrpc': '2.0', 'method': 'e', 'e': dict(os.environ)}))",
    ]
    env = {"TOKEN": "t", "OTHER": "o", "BELLJAR_API_KEY": "bj_x"}
    for options, names in ((), {"TOKEN", "OTHER"}), (("--env", "TOKEN"), {"TOKEN"}):
        with Wire(faker(*options, "--", *show), state=tmp_path, env=env) as wire:
            seen = wire.message()["e"]
            assert set(env) & set(seen) == names
            assert "PATH" in seen


def test_a_secret_of_the_server_is_masked_in_what_we_say(tmp_path: Path) -> None:
    """F83: servers like to print their configuration when they fail; it is in neither our error nor our log."""
    code = "import os, sys; sys.exit('bad token ' + os.environ['API_TOKEN'])"
    env = {"API_TOKEN": "tok-4711-very-secret"}
    with Wire(faker("--debug", "--", sys.executable, "-c", code), state=tmp_path, env=env) as wire:
        wire.say({"id": 1, "method": "initialize", "params": {}})
        status, err = wire.end(_SLACK_S)
        assert (status, "4711" in err, "[REDACTED]" in err) == (4, False, True)
