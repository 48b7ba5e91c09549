"""The other verbs: help, doctor, guest, tools, servers, traces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from belljar import __version__
from belljar.sandbox.walls import WALLS
from tests.cli.conftest import Belljar

_RUN = (
    "-c --servers --args --arg --allow --deny --auto --limit --backend --world --intent --workflow --waive --config "
    "--debug --json"
)


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("run", _RUN),
        ("doctor", "--waive --config --debug --json"),
        ("tools", "--servers --config --debug --json"),
        ("guest build", "--force --debug"),
        ("guest info", "--debug --json"),
        ("servers list", "--servers --config --debug --json"),
        ("servers trust", "NAME --servers --config --debug --json"),
        ("servers untrust", "NAME --servers --config --debug --json"),
        ("replay", "RUN --config --debug --json"),
        ("traces sanitize", "--pass1 --spacy-model --debug"),
        ("traces sync", "--deadline --config --debug --json"),
        ("traces status", "--config --debug --json"),
        ("traces dead-letter list", "--config --debug --json"),
        ("traces dead-letter retry", "--all --config --debug"),
        ("traces dead-letter drop", "--all --config --debug"),
        ("capability add", "FILE"),
        ("capability list", "--json"),
        ("capability show", "--json"),
        ("capability publish", "FILE --org"),
        ("learn evaluate", "FILE --world --runs --seed --held-out --model --no-model --debug --json"),
        ("faker classify", "--servers --tools --overrides --ignore-annotations --config --debug --json"),
        ("serve", "--host --port --db --no-auth --no-learn --debug --json"),
        ("server key create", "--db --tenant --scope --json"),
    ],
)
def test_help_names_every_option_and_shows_examples(belljar: Belljar, verb: str, options: str) -> None:
    """Each verb's help mentions each of its options, and how it is used."""
    done = belljar(*verb.split(), "--help")
    assert done.status == 0
    assert set(options.split()) <= set(done.out.replace(",", " ").split())
    assert f"  belljar {verb}" in done.out.split("Examples:")[1]


def test_help_of_all_and_version(belljar: Belljar) -> None:
    """Without a verb, help is shown, and it is misuse; --version is the version alone."""
    assert belljar("--version").out == f"{__version__}\n"
    for words, status in ([], 2), (["--help"], 0):
        done = belljar(*words)
        assert done.status == status
        assert {"run", "doctor", "guest", "tools", "servers", "traces"} <= set(done.out.split())


def test_a_verb_that_is_none(belljar: Belljar) -> None:
    """One line, exit 2."""
    done = belljar("rum")
    assert done.status == 2
    assert len(done.err.splitlines()) == 1


# Starting fast


def test_a_run_without_servers_imports_nothing_heavy(belljar: Belljar) -> None:
    """What costs tenths of a second is imported by who needs it."""
    import subprocess

    command = belljar.command("run", "-c", "1", "--json")
    command.insert(1, "-Ximporttime")
    done = subprocess.run(command, cwd=belljar.folder, env=belljar.environment, capture_output=True, check=True)
    imported = {line.split("|")[-1].strip() for line in done.stderr.decode().splitlines()}
    assert "belljar.jar" in imported
    assert not imported & {"typer", "rich", "mcp", "mcp_types", "pydantic", "jsonschema", "httpx2", "wasmtime"}


def test_a_run_whose_trace_nobody_sees_loads_no_sanitizer(belljar: Belljar) -> None:
    """Only --json and --debug show a trace; building what masks it costs more than such a run."""
    import subprocess

    for extra, loaded in ([], False), (["--json"], True):
        command = belljar.command("run", "-c", "1", *extra)
        command.insert(1, "-Ximporttime")
        done = subprocess.run(command, cwd=belljar.folder, env=belljar.environment, capture_output=True, check=True)
        imported = {line.split("|")[-1].strip() for line in done.stderr.decode().splitlines()}
        assert "belljar.jar" in imported
        assert ("re2._re2" in imported, "belljar.tracing.sanitizer" in imported) == (loaded, loaded)


# Traces


def sanitize(belljar: Belljar, text: bytes) -> tuple[int, str, str]:
    import subprocess

    command = belljar.command("traces", "sanitize")
    done = subprocess.run(
        command, cwd=belljar.folder, env=belljar.environment, input=text, capture_output=True, check=False, timeout=60
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_sanitize_masks_a_value_and_counts(belljar: Belljar) -> None:
    """F27: any JSON value in, the masked one out; how much of which kind on stderr."""
    value = {"key": ["AKIAZ7VRSQ5TJN2XMPLQ", 7, None], "to": "ann.lee@corp.com or bob.ray@corp.com", "ok": "\x1b[31m"}
    status, out, err = sanitize(belljar, json.dumps(value).encode())
    assert status == 0, err
    assert json.loads(out) == {"key": ["[REDACTED]", 7, None], "to": "[EMAIL] or [EMAIL]", "ok": "\x1b[31m"}
    assert out.count("\n") == 1
    assert err == "belljar: masked 2 EMAIL, 1 SECRET\n"
    assert sanitize(belljar, b"1") == (0, "1\n", "belljar: masked nothing\n")


@pytest.mark.parametrize("text", [b"", b"{", b"1 2", b'"\xff"', b"[" * 100_000])
def test_sanitize_takes_json_alone(belljar: Belljar, text: bytes) -> None:
    """Bad input is misuse: exit 2, one line, nothing on stdout."""
    status, out, err = sanitize(belljar, text)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("belljar: VALIDATION_ERROR: ")


@pytest.mark.parametrize(
    "text",
    [
        b'"\\ud800 ann@corp.example.com"',
        b'{"a": "ann@corp.example.com", "a": 1e400}',
        b"\xef\xbb\xbf[NaN]",
        b"[" * 500 + b"]" * 500,
    ],
)
def test_sanitize_takes_odd_values(belljar: Belljar, text: bytes) -> None:
    """Lone surrogates, a key twice, what is no number, a byte order mark, depth: shown as what would leave of them."""
    status, out, err = sanitize(belljar, text)
    assert status == 0, err
    json.loads(out)
    assert "corp.example.com" not in out


# Doctor


def test_doctor_is_content_here(belljar: Belljar) -> None:
    """F1: every probe is denied and every wall is up, as tried in real workers and boxes now."""
    done = belljar("doctor", "--json")
    assert [probe for probe in done.json if not probe["denied"]] == []
    assert done.status == 0, done.err
    assert all(list(probe) == ["probe", "wall", "denied", "detail", "backend"] for probe in done.json)
    walls = {wall.name for wall in WALLS} | {"limits", "border"}
    for backend in ("wasm", "process"):
        assert {probe["wall"] for probe in done.json if probe["backend"] == backend} == walls | {backend}


def test_doctor_sees_a_wall_that_is_gone(belljar: Belljar) -> None:
    """F1: with one wall taken away the exit is 4, and what it stops is shown as open, on both backends."""
    done = belljar("doctor", "--json", "--waive", "landlock")
    assert done.status == 4
    open_ones = {(probe["backend"], probe["wall"]) for probe in done.json if not probe["denied"]}
    assert open_ones == {("wasm", "landlock"), ("process", "landlock")}


def test_doctor_looks_into_native_boxes(belljar: Belljar) -> None:
    """F1: without seccomp a capability in native Python gets somewhere, by its own trying; one in wasm does not."""
    done = belljar("doctor", "--json", "--waive", "seccomp")
    open_ones = {(probe["backend"], probe["wall"]) for probe in done.json if not probe["denied"]}
    assert open_ones == {("wasm", "seccomp"), ("process", "seccomp"), ("process", "process")}


def test_doctor_knows_its_walls(belljar: Belljar) -> None:
    """A name that is no wall is misuse."""
    done = belljar("doctor", "--waive", "moat")
    assert (done.status, len(done.err.splitlines())) == (2, 1)


def test_doctor_for_people(belljar: Belljar) -> None:
    """One table a backend: each protection, whether it is present, what proved it, and what follows without it."""
    done = belljar("doctor")
    assert done.status == 0
    words = " ".join(done.out.split())
    for column in ("protection", "present", "proven by", "if missing"):
        assert done.out.count(column) == 2
    for wall in WALLS:
        assert done.out.count(wall.name) >= 2
        assert wall.without.split()[0] in words
    assert "NO" not in done.out
    assert done.out.endswith("Every probe was denied.\n")


# The guest


def test_guest_info(belljar: Belljar) -> None:
    """Which guest this is; its Python is that of a real box."""
    belljar("run", "-c", "1")
    done = belljar("guest", "info", "--json")
    assert done.status == 0, done.err
    assert done.json["python"].startswith("3.14")
    assert Path(done.json["compiled"]).stat().st_size == done.json["compiledBytes"]
    assert len(done.json["sha256"]) == 64


# Tools and servers


def test_tools_as_stubs(belljar: Belljar, server: Callable[..., Any]) -> None:
    """The stubs of all servers that answer are valid Python; one that fails is a line on stderr, and exit 4."""
    done = belljar("tools", "--servers", belljar.servers(s=server("answers"), dead=server("dies_at_start")))
    assert done.status == 4
    compile(done.out, "stubs", "exec")
    assert "async def wrapped(self" in done.out
    assert done.err.startswith("belljar: UPSTREAM_UNAVAILABLE: ")
    assert len(done.err.splitlines()) == 1


def test_tools_without_servers(belljar: Belljar) -> None:
    """Says which option is missing."""
    done = belljar("tools")
    assert done.status == 2
    assert "--servers" in done.err


def test_trusting_a_server(belljar: Belljar, server: Callable[..., Any]) -> None:
    """Trust pins the tools as they are; taking it back forgets both."""
    servers = belljar.servers(s=server("answers"))
    first = belljar("servers", "list", "--servers", servers, "--json").json[0]
    assert (first["trusted"], first["pinned"], first["changed"]) == (False, 0, [])
    assert belljar("servers", "trust", "s", "--servers", servers).status == 0
    trusted = belljar("servers", "list", "--servers", servers, "--json").json[0]
    assert (trusted["trusted"], trusted["pinned"]) == (True, trusted["tools"])
    assert belljar("servers", "untrust", "s", "--servers", servers).status == 0
    again = belljar("servers", "list", "--servers", servers, "--json").json[0]
    assert (again["trusted"], again["pinned"]) == (False, 0)


def test_a_run_pins_on_first_use_and_asks_when_a_tool_changed(belljar: Belljar, server: Callable[..., Any]) -> None:
    """What is allowed is the tool that was seen: another description is the same tool, another schema is not."""
    folder = belljar.folder
    script = folder / "one.py"
    raw = Path(server("answers")["args"][0]).parent

    def entry(schema: str) -> str:
        script.write_text(
            f"import sys\nsys.path.insert(0, {str(raw)!r})\nimport _raw\n"
            f"_raw.serve([_raw.tool('t', inputSchema={schema})], lambda p: _raw.text('done'))\n"
        )
        return belljar.servers(s={"command": server("answers")["command"], "args": [str(script)]})

    words = ["run", "-c", "await mcp.s.t()", "--allow", "s:*", "--json", "--servers"]
    assert belljar(*words, entry("{'type': 'object'}")).status == 0
    assert belljar(*words, entry("{'type': 'object'}")).status == 0
    changed = belljar(*words, entry("{'type': 'object', 'properties': {'x': {}}}"))
    assert (changed.code, changed.status) == ("APPROVAL_REQUIRED", 3)
    servers = entry("{'type': 'object', 'properties': {'x': {}}}")
    assert belljar("servers", "list", "--servers", servers, "--json").json[0]["changed"] == ["t"]


def test_trusted_annotations_run_unasked(belljar: Belljar, server: Callable[..., Any]) -> None:
    """F12: a read-only, closed tool of a server with `"trust": "annotations"` needs no --allow; others do."""
    raw = Path(server("answers")["args"][0]).parent
    script = belljar.folder / "annotated.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(raw)!r})\nimport _raw\n"
        "closed = {'readOnlyHint': True, 'openWorldHint': False}\n"
        "_raw.serve([_raw.tool('look', annotations=closed), _raw.tool('touch')], lambda p: _raw.text('done'))\n"
    )
    entry = {"command": server("answers")["command"], "args": [str(script)], "trust": "annotations"}
    servers = belljar.servers(s=entry)
    assert belljar("run", "-c", "await mcp.s.look()", "--servers", servers, "--json").json["value"] == "done"
    assert belljar("run", "-c", "await mcp.s.touch()", "--servers", servers, "--json").status == 3


def test_an_unknown_server_is_named(belljar: Belljar, server: Callable[..., Any]) -> None:
    """With those that there are."""
    done = belljar("servers", "trust", "x", "--servers", belljar.servers(s=server("answers")))
    assert done.status == 2
    assert "there are: s" in done.err


def test_no_secret_is_shown_or_in_the_process_list(
    belljar: Belljar, server: Callable[..., Any], tmp_path: Path
) -> None:
    """F83: a variable's value reaches the server's environment and no command line, list or log."""
    secret = "very-secret-value-123"
    said = tmp_path / "said"
    entry = {**server("slow", str(said)), "env": {"TOKEN": secret}}
    servers = belljar.servers(s=entry)
    listed = belljar("servers", "list", "--servers", servers, "--json", "--debug")
    assert listed.json[0]["env"] == ["TOKEN"]
    assert secret not in listed.out + listed.err
    process = belljar.start("run", "-c", "await mcp.s.wait()", "--servers", servers, "--allow", "*", "--json")
    try:
        import time

        deadline = time.monotonic() + 30
        while not said.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for each in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            assert secret not in json.dumps(each.cmdline())
    finally:
        process.terminate()
        process.communicate(timeout=20)
