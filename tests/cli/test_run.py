"""`belljar run`: its contract with scripts, what it shows a person, and what it says to bad input."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from belljar.errors import EXIT, Code
from tests.cli.conftest import Belljar

_KEYS = ["runId", "success", "value", "error", "durationMs", "stdout", "stderr", "calls", "trace"]


def test_json_is_one_object_with_exactly_these_keys(belljar: Belljar) -> None:
    """F19: the object of a run has the contract's keys, in order, and nothing else is on stdout."""
    belljar("run", "-c", "1")  # whoever is first on this machine waits for the guest to be compiled, and is told
    done = belljar("run", "-c", "print('hi')\n{'a': args['n'] + 1}", "--arg", "n=1", "--intent", "to count", "--json")
    assert (done.status, done.err) == (0, "")
    assert done.out.count("\n") == 1
    assert list(done.json) == _KEYS
    assert done.json["value"] == {"a": 2}
    assert done.json["stdout"] == "hi\n"
    assert done.json["error"] is None
    assert done.json["success"] is True
    assert done.json["calls"] == []
    assert done.json["trace"]["traceId"] == done.json["runId"]
    assert done.json["trace"]["success"] is True


def test_calls_in_json(belljar: Belljar, server: Callable[..., Any]) -> None:
    """F19: each call says what it was, what became of it and how long it took."""
    servers = belljar.servers(s=server("answers"))
    code = (
        "a = await mcp.s.wrapped()\ntry:\n    await mcp.s.fails()\nexcept ToolError as exc:\n    a.append(exc.code)\na"
    )
    done = belljar("run", "-c", code, "--servers", servers, "--allow", "s:*", "--workflow", "w1", "--json")
    assert done.status == 0, done.err
    good, bad = done.json["calls"]
    assert list(good) == ["callId", "server", "tool", "state", "durationMs", "source", "grant"]
    assert (good["callId"], good["server"], good["tool"], good["state"]) == (1, "s", "wrapped", "applied")
    assert (bad["state"], bad["errorCode"]) == ("failed", "RPC_ERROR")
    assert done.json["value"] == [1, 2, "RPC_ERROR"]
    assert done.json["trace"]["workflowId"] == "w1"


def test_a_person_sees_value_prints_and_calls(belljar: Belljar, server: Callable[..., Any]) -> None:
    """Prints and value on stdout, the calls and the trace on stderr; no escape of a stranger's gets through."""
    servers = belljar.servers(s=server("answers"))
    code = "print('\\x1b[31mred\\u202e')\nawait mcp.s.wrapped()\n{'k': ['v\\x9b']}"
    done = belljar("run", "-c", code, "--servers", servers, "--allow", "*")
    assert done.status == 0, done.err
    assert done.out == '\\x1b[31mred\\u202e\n{\n  "k": [\n    "v\\x9b"\n  ]\n}\n'
    assert "s:wrapped" in done.err
    assert "allow *" in done.err
    assert "1 call, trace " in done.err
    assert "\x1b" not in done.err


def test_none_is_no_output(belljar: Belljar) -> None:
    """As at a Python prompt."""
    assert belljar("run", "-c", "None").out == ""


def test_a_file_and_its_arguments(belljar: Belljar) -> None:
    """A module's `main` takes --args and --arg; the latter wins, and is a string if it is no JSON."""
    (belljar.folder / "add.py").write_text("def main(a: int, b: int, c: str = ''):\n    return [a + b, c]\n")
    done = belljar("run", "add.py", "--args", '{"a": 1, "b": 2}', "--arg", "b=5", "--arg", "c=x y", "--json")
    assert done.json["value"] == [6, "x y"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["-c", "1/0"], Code.CAPABILITY_ERROR),
        (["-c", "x = (1 +"], Code.SYNTAX_ERROR),
        (["-c", "object()"], Code.RESULT_NOT_JSON),
        (["-c", "a = []\na.append(a)\na"], Code.RESULT_NOT_JSON),
        (["-c", "import sys\nsys.exit(0)"], Code.CAPABILITY_ERROR),
        (["-c", "while True: pass", "--limit", "wall=0.3"], Code.EXECUTION_TIMEOUT),
        (["-c", "'x' * 2000", "--limit", "result=1000"], Code.RESULT_LIMIT),
        (["-c", "await mcp.nobody.x()"], Code.UNKNOWN_TOOL),
        (["long.py"], Code.VALIDATION_ERROR),
        (["-c", ""], Code.VALIDATION_ERROR),
        (["no_such_file.py"], Code.VALIDATION_ERROR),
        (["-c", "1", "--args", "{"], Code.VALIDATION_ERROR),
        (["-c", "1", "--args", "[1]"], Code.VALIDATION_ERROR),
        (["-c", "1", "--arg", "novalue"], Code.VALIDATION_ERROR),
        (["-c", "def main(path: str): pass"], Code.VALIDATION_ERROR),
        (["-c", "# /// script\n# [tool.belljar]\n# name = 1\n# ///\n1"], Code.VALIDATION_ERROR),
        (["-c", "1", "--limit", "wall"], Code.CONFIG_ERROR),
        (["-c", "1", "--limit", "walls=1"], Code.CONFIG_ERROR),
        (["-c", "1", "--limit", "wall=-1"], Code.CONFIG_ERROR),
        (["-c", "1", "--allow", "git"], Code.CONFIG_ERROR),
        (["-c", "1", "--backend", "none"], Code.CONFIG_ERROR),
        (["-c", "1", "--world", "upside-down"], Code.CONFIG_ERROR),
        (["-c", "1", "--waive", "none"], Code.CONFIG_ERROR),
        (["-c", "1", "--servers", "none.json"], Code.CONFIG_ERROR),
        (["-c", "1", "--config", "none.toml"], Code.CONFIG_ERROR),
        (["-c", "1", "file.py"], Code.CONFIG_ERROR),
        ([], Code.CONFIG_ERROR),
    ],
    ids=lambda value: value.value if isinstance(value, Code) else " ".join(value)[:40],
)
def test_bad_input_is_one_line_and_one_object(belljar: Belljar, words: list[str], code: Code) -> None:
    """F9 F17: each bad input has its code, its exit, one line on stderr and one object on stdout; no traceback."""
    (belljar.folder / "long.py").write_text("#" * 300_000)
    done = belljar("run", *words, "--json")
    assert (done.code, done.status) == (code.value, EXIT[code]), done.err
    assert len(done.err.splitlines()) == 1, done.err
    assert done.err.startswith(f"belljar: {code.value}: ")
    assert (done.json["trace"] is None) == (EXIT[code] == 2)
    assert list(done.json) == _KEYS


def test_a_box_that_ends_itself_is_an_error(belljar: Belljar) -> None:
    """`os._exit(0)` is no success."""
    done = belljar("run", "-c", "import os\nos._exit(0)", "--json")
    assert done.status in {1, 4}
    assert done.json["success"] is False


def test_a_syntax_error_shows_line_and_caret(belljar: Belljar) -> None:
    """To a person the place is shown, and the last line is still the one that says what it is."""
    done = belljar("run", "-c", "a = 1\nb = (2 +\n")
    assert done.status == 1
    assert "line 2" in done.err
    assert "    b = (2 +\n" in done.err
    assert "^" in done.err
    assert done.last().startswith("belljar: SYNTAX_ERROR: ")


def test_a_missing_argument_is_named(belljar: Belljar) -> None:
    """F17: the message names the field."""
    assert "path" in belljar("run", "-c", "def main(path: str): pass").last()


def test_endless_code_ends_in_time(belljar: Belljar) -> None:
    """F2: under a limit of one second, the whole program is over in less than one second more than it needs alone."""
    import time

    began = time.monotonic()
    belljar("run", "-c", "1")
    alone = time.monotonic() - began
    done = belljar("run", "-c", "while True: pass", "--limit", "wall=1", "--json")
    assert (done.code, done.status) == ("EXECUTION_TIMEOUT", 1)
    assert time.monotonic() - began < 2 * alone + 2


# What the trace may hold


def test_a_trace_is_masked_and_the_answer_is_not(belljar: Belljar, server: Callable[..., Any]) -> None:
    """F27: what a server says back, its own secret included, is masked in the trace and nowhere else."""
    env = {"PATH": os.environ["PATH"], "LAB_TOKEN": "${LAB_TOKEN}"}
    servers = belljar.servers(s={**server("answers"), "env": env})
    said = "AKIAZ7VRSQ5TJN2XMPLQ 4111 1111 1111 1111 ann.lee@corp.com 019a0000-0000-7000-8000-000000000001"
    code = "print(args['said'])\n[(await mcp.s.json(text=args['said'])), (await mcp.s.env())['env']['LAB_TOKEN']]"
    words = ["--servers", servers, "--allow", "*", "--arg", f"said={said}", "--intent", said, "--json"]
    done = belljar("run", "-c", code, *words, env={"LAB_TOKEN": "blue horse 77"})
    assert done.status == 0, done.err
    assert done.json["value"] == [said, "blue horse 77"]
    assert done.json["stdout"] == said + "\n"
    masked = "[REDACTED] [CARD] [EMAIL] 019a0000-0000-7000-8000-000000000001"
    trace = done.json["trace"]
    assert (trace["intent"], trace["taskResults"][0]["args"]) == (masked, {"text": masked})
    assert trace["taskResults"][0]["result"] == masked
    assert not [word for word in ("AKIA", "4111", "corp.com", "horse") if word in json.dumps(trace)]


# Servers


def test_a_call_nobody_allowed_needs_a_person(belljar: Belljar, server: Callable[..., Any]) -> None:
    """F12: without --allow and without a terminal: APPROVAL_REQUIRED, exit 3, and the option that would do."""
    servers = belljar.servers(s=server("answers"))
    done = belljar("run", "-c", "await mcp.s.wrapped()", "--servers", servers, "--json")
    assert (done.code, done.status) == ("APPROVAL_REQUIRED", 3)
    assert "--allow 's:wrapped'" in done.last()
    assert done.json["calls"][0]["state"] == "pending"


def test_deny_wins(belljar: Belljar, server: Callable[..., Any]) -> None:
    """F12: deny over allow."""
    servers = belljar.servers(s=server("answers"))
    words = ["--servers", servers, "--allow", "*", "--deny", "s:wrapped", "--json"]
    done = belljar("run", "-c", "await mcp.s.wrapped()", *words)
    assert (done.code, done.status) == ("PERMISSION_DENIED", 1)


@pytest.mark.parametrize(
    ("code", "named", "said"),
    [
        ("await mcp.dead.x()", "UPSTREAM_UNAVAILABLE", "dead"),
        ("await mcp.s.nothing()", "UNKNOWN_TOOL", "nothing"),
        ("await mcp.t.nothing()", "UNKNOWN_TOOL", "t"),
        ("await mcp.s.fails()", "RPC_ERROR", "timeout"),
        ("await mcp.s.huge(bytes=9_000_000)", "RPC_ERROR", "limit"),
    ],
)
def test_what_a_server_does_wrong(
    belljar: Belljar, server: Callable[..., Any], code: str, named: str, said: str
) -> None:
    """F5 F7: each fault of a server or a call has its code, and the trace is there."""
    servers = belljar.servers(s=server("answers"), dead=server("dies_at_start"))
    done = belljar("run", "-c", code, "--servers", servers, "--allow", "*", "--json")
    assert (done.code, done.status) == (named, EXIT[Code(named)])
    assert said in done.last()
    assert len(done.err.splitlines()) == 1
    assert done.json["trace"]["success"] is False


def test_a_server_that_never_answers_is_given_up(belljar: Belljar, server: Callable[..., Any], tmp_path: Path) -> None:
    """F6: the call's limit ends it; the server hears of it."""
    said = tmp_path / "said"
    servers = belljar.servers(slow=server("slow", str(said)))
    words = ["--servers", servers, "--allow", "*", "--limit", "call=1", "--json"]
    done = belljar("run", "-c", "await mcp.slow.wait()", *words)
    assert (done.code, done.status) == ("RPC_TIMEOUT", 1)
    assert "cancelled" in said.read_text()


def test_a_server_beside_our_python_is_found(belljar: Belljar, needs: Callable[[str], list[str]]) -> None:
    """With the environment not activated, a bare command name still finds what is installed in it."""
    needs("mcp-server-git")
    servers = belljar.servers(git={"command": "mcp-server-git"})
    done = belljar("tools", "--servers", servers, "--json", env={"PATH": "/usr/bin:/bin"})
    assert done.status == 0, done.err
    assert "git_log" in {tool["name"] for tool in done.json["tools"]}


def test_variables_do_not_expand_in_arguments(belljar: Belljar) -> None:
    """F83: they would be seen by everybody; the message names the place for them."""
    servers = belljar.servers(s={"command": "x", "args": ["${TOKEN}"]})
    done = belljar("run", "-c", "1", "--servers", servers, "--json")
    assert (done.code, done.status) == ("CONFIG_ERROR", 2)
    assert "env" in done.last()


@pytest.mark.parametrize("text", ['[policy]\nallow = ["*"]', '[tracing]\ncloud_url = "https://x.example"'])
def test_a_project_file_cannot_widen(belljar: Belljar, text: str) -> None:
    """Authority never comes from the working directory."""
    (belljar.folder / "belljar.toml").write_text(text)
    done = belljar("run", "-c", "1", "--json")
    assert (done.code, done.status) == ("CONFIG_ERROR", 2)
    assert "project file" in done.last()


# Logs and pipes


def test_debug_logs_one_trace(belljar: Belljar) -> None:
    """F34: the trace is one DEBUG line of JSON on stderr; stdout stays the contract's."""
    done = belljar("run", "-c", "1", "--debug", "--json")
    lines = [line for line in done.err.splitlines() if line.startswith("DEBUG belljar.trace ")]
    assert len(lines) == 1, done.err
    assert json.loads(lines[0].removeprefix("DEBUG belljar.trace "))["traceId"] == done.json["runId"]


def test_a_reader_that_went_away_is_no_error(belljar: Belljar) -> None:
    """Like other tools in a pipe: silent."""
    reader, writer = os.pipe()
    process = belljar.start("run", "-c", "'x' * 3_000_000", "--json", stdout=writer)
    os.close(reader)
    os.close(writer)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")


@pytest.mark.parametrize("words", [["--nope"], ["-c"], ["a.py", "b.py"]])
def test_misuse_of_options(belljar: Belljar, words: list[str]) -> None:
    """One line that names the help, exit 2."""
    done = belljar("run", *words)
    assert done.status == 2
    assert len(done.err.splitlines()) == 1
    assert "belljar run --help" in done.err


@pytest.mark.parametrize("closed", ["0<&-", "2>&-"])
def test_a_closed_stream_is_nobody(belljar: Belljar, closed: str) -> None:
    """With stdin or stderr closed by whoever started it, stdout still carries one object and nothing else."""
    command = belljar.command("run", "-c", "1/0", "--json")
    words = ["sh", "-c", f'exec "$@" {closed}', "sh", *command]
    done = subprocess.run(words, stdout=subprocess.PIPE, cwd=belljar.folder, env=belljar.environment, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "CAPABILITY_ERROR"
