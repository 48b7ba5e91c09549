"""`belljar faker`: its words, and the verbs that write entries which start it."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.cli import _app, _faker_proxy, _words
from tests.cli.conftest import FIXTURES, Belljar
from tests.conftest import Needs
from tests.faker.wire import Wire

_ODD = str(Path(__file__).parents[1] / "faker" / "targets" / "odd.py")
_ONE = """
    --command --url --http --name --overrides --world-file --ai-instruction --seed --start-timeout --call-timeout
    --config --args --env --fault
""".split()
_FLAGS = ["--passthrough", "--no-real", "--ignore-annotations", "--debug"]
_VALUES = st.sampled_from(["", "x", "a,b", "7", "1.5", "-1", "--debug", "é"])
_WORD = (
    st.tuples(st.sampled_from(_ONE), _VALUES).map(list)
    | st.tuples(st.sampled_from(_ONE), _VALUES).map(lambda pair: ["=".join(pair)])
    | st.sampled_from([*_FLAGS, "--", "cat", "-x", "classify"]).map(lambda word: [word])
)


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("faker", " ".join([*_ONE, *_FLAGS])),
        (
            "faker create",
            "NAME --command --args --file --env --world-file --overrides --ignore-annotations --fault --seed --force",
        ),
        ("faker convert", "FILE --output --world-file --overrides --ignore-annotations --fault --seed --force"),
    ],
)
def test_help_names_every_option_and_shows_examples(belljar: Belljar, verb: str, options: str) -> None:
    """Each verb's help mentions each of its options, and how it is used."""
    done = belljar(*verb.split(), "--help")
    assert done.status == 0
    assert set(options.split()) <= set(done.out.replace(",", " ").split())
    assert f"  belljar {verb}" in done.out.split("Examples:")[1]


def test_a_command_without_its_dashes(belljar: Belljar) -> None:
    """What is no verb is one line that says what to write."""
    done = belljar("faker", "npx", "-y", "server")
    assert done.status == 2
    assert "write -- before its command" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--passthrough", "--fault", "*=EIO", "--", "cat"], "leave out --fault"),
        (["--passthrough", "--no-real", "--seed", "7", "--", "cat"], "leave out --no-real, --seed"),
        (["--passthrough", "--world-file", "w.db", "--", "cat"], "leave out --world-file"),
        (["--passthrough", "--ai-instruction", "a full disk", "--", "cat"], "leave out --ai-instruction"),
        (["--command", "cat", "--", "cat"], "not both"),
        (["--args", "a,b", "--", "cat"], "--args"),
        (["--args", "a,b", "--url", "http://127.0.0.1:9/mcp"], "--args"),
        (["--env", "TOKEN", "--url", "http://127.0.0.1:9/mcp"], "--env"),
    ],
)
def test_no_option_is_passed_over_in_silence(belljar: Belljar, words: list[str], said: str) -> None:
    """What does not go together is one line that says what to leave out, and no server is started."""
    done = belljar("faker", *words)
    assert (done.status, said in done.err, len(done.err.strip().splitlines())) == (2, True, 1), done.err


@pytest.fixture(scope="module")
def wanted() -> Any:
    """What the declared options make of some words; None if they complain."""
    patch = pytest.MonkeyPatch()
    seen: list[Any] = []
    patch.setattr(_faker_proxy, "run", lambda wanted: seen.append(wanted) or 0)

    def read(words: list[str]) -> Any:
        seen.clear()
        _app.call(["faker", *words])
        return seen[0] if seen else None

    yield read
    patch.undo()


@given(words=st.lists(_WORD, max_size=4).map(lambda parts: [word for part in parts for word in part]))
def test_both_readers_agree(wanted: Any, words: list[str]) -> None:
    """Whatever the quick reader takes, the other one takes for the same."""
    found = _words.read_faker(words)
    if found is not None:
        assert _faker_proxy.Wanted.of(**found) == wanted(words)


def test_the_quick_reader_knows_every_option(wanted: Any) -> None:
    """A new option that it does not know would make each start slow that uses it."""
    words = [word for option in _ONE for word in (option, "7")] + [*_FLAGS, "--", "cat", "-v"]
    found = _words.read_faker(words)
    assert found is not None
    assert _faker_proxy.Wanted.of(**found) == wanted(words)


def test_three_servers_become_three_fakers(belljar: Belljar, needs: Needs, tmp_path: Path) -> None:
    """F73, F83: each entry of a converted file starts a faker that works; what stands in env is in no command line."""
    time, git = needs("mcp-server-time"), needs("mcp-server-git")
    file = belljar.servers(
        time={"command": time[0]},
        git={"command": git[0], "args": [], "env": {"TOKEN": "a-secret-of-git"}},
        odd={"command": sys.executable, "args": [_ODD], "disabled": False},
    )
    done = belljar("faker", "convert", file, "-o", "faked.json", "--world-file", "world.db")
    assert done.status == 0, done.err
    out = tmp_path / "faked.json"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    entries = json.loads(out.read_text())["mcpServers"]
    assert list(entries) == ["time", "git", "odd"]
    assert entries["odd"]["disabled"] is False
    for entry in entries.values():
        assert Path(entry["command"]).is_absolute()
        assert str(tmp_path / "world.db") in entry["args"]
        with Wire([entry["command"], *entry["args"]], state=tmp_path, env=entry.get("env")) as wire:
            wire.begin()
            assert wire.ask("tools/list")["result"]["tools"]
            running = [psutil.Process(wire.process.pid), *wire.below()]
            assert not any("a-secret-of-git" in word for process in running for word in process.cmdline())
            assert wire.end()[0] == 0
    again = belljar("faker", "convert", "faked.json")
    assert again.json["mcpServers"] == entries
    assert belljar("faker", "convert", file, "-o", "faked.json").status == 2


def test_what_a_remote_server_is_told_goes_into_the_environment(belljar: Belljar) -> None:
    """F83: headers, and a URL that holds more than a place."""
    file = belljar.servers(
        plain={"url": "https://one.example/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}},
        keyed={"url": "https://two.example/mcp?key=abc"},
    )
    entries = belljar("faker", "convert", file).json["mcpServers"]
    assert "https://one.example/mcp" in entries["plain"]["args"]
    assert json.loads(entries["plain"]["env"]["BELLJAR_FAKER_HEADERS"]) == {"Authorization": "Bearer ${TOKEN}"}
    assert entries["keyed"]["env"] == {"BELLJAR_FAKER_URL": "https://two.example/mcp?key=abc"}
    assert not any("abc" in word or "TOKEN" in word for entry in entries.values() for word in entry["args"])


def test_an_argument_that_looks_like_a_secret_is_said(belljar: Belljar) -> None:
    """F83: it is the server's own argument; we cannot hide it, and do not keep silent about it."""
    file = belljar.servers(one={"command": "sh", "args": ["-c", "exit", "--key=${TOKEN}"]})
    assert "argument 3 holds what may be a secret" in belljar("faker", "convert", file).err


def test_a_server_need_not_be_believed(belljar: Belljar, tmp_path: Path) -> None:
    """F54: with --ignore-annotations, also as entries carry it, what only says that it reads is answered here."""
    written = tmp_path / "written"
    words = ["--command", sys.executable, "--args", f"{FIXTURES / 'lies.py'},{written}"]
    assert belljar("faker", "create", "liar", "--ignore-annotations", *words).status == 0
    made = json.loads((tmp_path / "mcp.json").read_text())["mcpServers"]["liar"]
    file = belljar.servers(liar={"command": sys.executable, "args": [str(FIXTURES / "lies.py"), str(written)]})
    converted = belljar("faker", "convert", file, "--ignore-annotations").json["mcpServers"]["liar"]
    for entry in (made, converted):
        with Wire([entry["command"], *entry["args"]], state=tmp_path) as wire:
            wire.begin()
            for tool in ("wipe_all", "get_it"):
                wire.call(tool)
            assert wire.end()[0] == 0
        assert written.read_text().split() == ["get_it"]
        written.unlink()


def test_create_writes_an_entry(belljar: Belljar, tmp_path: Path) -> None:
    """F73: with absolute paths, variables by name, and never over another entry."""
    words = ("faker", "create", "one", "--env", "TOKEN", "--seed", "7", "--", "sh", "-c", "exit")
    assert belljar(*words).status == 0
    entry = json.loads((tmp_path / "mcp.json").read_text())["mcpServers"]["one"]
    at = entry["args"].index("--")
    assert Path(entry["args"][at + 1]).is_absolute()
    assert entry["args"][at + 2 :] == ["-c", "exit"]
    assert entry["env"] == {"TOKEN": "${TOKEN}"}
    assert belljar(*words).status == 2
    assert belljar("faker", "create", "two", "--command", "sh", "--args", "-c,exit").status == 0
    assert list(json.loads((tmp_path / "mcp.json").read_text())["mcpServers"]) == ["one", "two"]
    given_away = belljar("faker", "create", "three", "--", "sh", "ghp_" + "a1B2" * 9)
    assert "argument 1 holds what may be a secret" in given_away.err
    assert "ghp_" not in given_away.err


@pytest.mark.parametrize(
    "text", ["", "[]", '{"mcpServers": 1}', '{"mcpServers": {"a": {}}}', '{"mcpServers": {"a": {"command": 1}}}']
)
def test_a_file_that_is_none(belljar: Belljar, tmp_path: Path, text: str) -> None:
    """One line, exit 2, and nothing is written."""
    (tmp_path / "bad.json").write_text(text)
    done = belljar("faker", "convert", "bad.json", "-o", "out.json")
    assert (done.status, len(done.err.splitlines())) == (2, 1)
    assert not (tmp_path / "out.json").exists()
