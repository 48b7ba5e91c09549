"""`belljar capability`, and `belljar run` by a name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from belljar.errors import EXIT, Code
from belljar.registry.capabilities import sha256_of
from tests.cli.conftest import Belljar
from tests.cli.test_terminal import _Terminal
from tests.registries import FakeRegistry, serving

HEAD = '# /// script\n# [tool.belljar]\n# name = "git:notes"\n# description = "{}"\n# permissions = ["git:{}"]\n# ///\n'
TOKEN = "ghp_" + "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5"
KEY = "bj_sesame-open-the-door"


def code(value: str, description: str = "d", tool: str = "git_log") -> str:
    return HEAD.format(description, tool) + f"def main(n: int = 1):\n    return {value}\n"


def written(belljar: Belljar, text: str, name: str = "notes.py") -> str:
    (belljar.folder / name).write_text(text)
    return sha256_of(text)


def kept(belljar: Belljar) -> Path:
    return belljar.folder / "home" / ".local" / "share" / "belljar" / "capabilities"


@pytest.fixture
def far(belljar: Belljar) -> Iterator[FakeRegistry]:
    app = FakeRegistry()
    with serving(app) as url:
        app.url = url
        belljar.environment |= {"BELLJAR_CLOUD_URL": url, "BELLJAR_API_KEY": KEY}
        # Nothing but the registry is asked at that address: traces are another verb's tests.
        config = belljar.folder / "home" / ".config" / "belljar"
        config.mkdir(parents=True)
        (config / "belljar.toml").write_text("[tracing]\nenabled = false\n")
        yield app


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("add", "FILE --org --project --config --debug --json"),
        ("publish", "FILE --org --project --servers --config --debug --json"),
        ("yank", "NAME --config --debug"),
        ("trust", "NAME --config --debug --json"),
        ("list", "--config --debug --json"),
        ("show", "NAME --config --debug --json"),
    ],
)
def test_help_names_every_option_and_shows_examples(belljar: Belljar, verb: str, options: str) -> None:
    done = belljar("capability", verb, "--help")
    assert done.status == 0
    assert set(options.split()) <= set(done.out.replace(",", " ").split())
    assert f"  belljar capability {verb}" in done.out.split("Examples:")[1]


# On this machine


def test_what_was_added_runs_by_its_name(belljar: Belljar) -> None:
    """F39: by namespace:action, four parts, five with four digits or all; the trace says which it was."""
    sha256 = written(belljar, code("n + 1"))
    done = belljar("capability", "add", "notes.py", "--json")
    assert done.status == 0, done.err
    assert done.json["fqdn"] == f"local.default.git.notes.{sha256[:4]}"
    assert (done.json["sha256"], done.json["pinned"], done.json["origin"]) == (sha256, True, "this machine")
    (belljar.folder / "notes.py").unlink()
    family = "local.default.git.notes"
    for name in ("git:notes", family, f"{family}.{sha256[:4]}", f"{family}.{sha256}"):
        ran = belljar("run", name, "--arg", "n=4", "--json")
        assert (ran.status, ran.json["value"]) == (0, 5), ran.err
        assert ran.json["trace"]["capabilityId"] == f"{family}.{sha256[:4]}"
        assert ran.json["trace"]["capabilityHash"] == sha256


def test_a_name_takes_what_the_capability_takes(belljar: Belljar) -> None:
    """F17: arguments are held against its schema before there is a box."""
    written(belljar, code("n"))
    belljar("capability", "add", "notes.py")
    done = belljar("run", "git:notes", "--arg", "n=x", "--json")
    assert done.code == "VALIDATION_ERROR"


def test_list_and_show(belljar: Belljar) -> None:
    """What is kept, from where, and which of it the name means; foreign text is shown, not obeyed."""
    first = written(belljar, code("1", "a\\\\u001b[31mb", "git_log"))
    belljar("capability", "add", "notes.py")
    second = written(belljar, code("'\x9b\u202e'", "now"))
    belljar("capability", "add", "notes.py")
    entries = belljar("capability", "list", "--json").json
    assert [(entry["sha256"], entry["current"]) for entry in entries] == [(first, False), (second, True)]
    assert "current" in belljar("capability", "list").out
    shown = belljar("capability", "show", "git:notes", "--json").json
    assert (shown["description"], shown["permissions"], shown["sha256"]) == ("now", ["git:git_log"], second)
    assert shown["code"] == code("'\x9b\u202e'", "now")
    text = belljar("capability", "show", "git:notes").out
    assert "\\x9b\\u202e" in text
    assert not {"\x1b", "\x9b", "\u202e"} & set(text)
    assert "\x1b" not in belljar("capability", "show", f"local.default.git.notes.{first}").out


def test_a_file_that_reads_as_a_name_is_never_guessed_at(belljar: Belljar) -> None:
    """A stranger's folder holds a file called like a capability: nothing runs until `./` says which is meant."""
    written(belljar, code("'kept'"))
    belljar("capability", "add", "notes.py")
    for name in ("git:notes", "local.default.git.notes"):
        written(belljar, "'file'", name)
        done = belljar("run", name, "--json")
        assert (done.code, done.status) == ("VALIDATION_ERROR", 2)
        assert f"./{name}" in done.err
        assert belljar("run", f"./{name}", "--json").json["value"] == "file"
        (belljar.folder / name).unlink()
        assert belljar("run", name, "--json").json["value"] == "kept"


@pytest.mark.parametrize("name", ["notes", "notes.txt", "a.b", "A:b", "v1.2.3.TXT", "notes.py"])
def test_what_reads_as_no_name_is_a_file(belljar: Belljar, name: str) -> None:
    """A file of any other name runs as before."""
    written(belljar, "'file'", name)
    assert belljar("run", name, "--json").json["value"] == "file"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("git:notes", "capability add"),
        ("acme.tools.git.notes", "BELLJAR_CLOUD_URL"),
        ("Git:notes", "bad namespace"),
        ("git:n\u043etes", r"bad action n\u043etes"),
        ("git:notes:x", "no capability name"),
        ("a.b.c.d.XYZ", "bad hash"),
        ("nothing", "no file"),
        ("x/git:notes", "no file"),
    ],
)
def test_a_name_that_nobody_knows(belljar: Belljar, name: str, said: str) -> None:
    """One line, exit 2, nothing ran; it says what to do."""
    done = belljar("run", name, "--json")
    assert (done.code, done.status) == ("VALIDATION_ERROR", 2)
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert done.json["trace"] is None


def test_a_tampered_store_runs_nothing(belljar: Belljar) -> None:
    """F11: the file's hash is taken on every load; another code in its place is refused by name."""
    sha256 = written(belljar, code("1"))
    belljar("capability", "add", "notes.py")
    (kept(belljar) / "code" / sha256).write_text(code("'evil'"))
    for words in (["run", "git:notes", "--json"], ["capability", "show", "git:notes"]):
        done = belljar(*words)
        assert done.status == 2
        assert "is damaged" in done.err
        assert "evil" not in done.out + done.err


def test_a_code_under_a_name_it_does_not_have_is_refused(belljar: Belljar) -> None:
    """Whoever writes the index cannot make `git:safe` mean another capability."""
    written(belljar, code("1"))
    belljar("capability", "add", "notes.py")
    index = kept(belljar) / "index.json"
    index.write_text(index.read_text().replace("git.notes", "git.safe"))
    done = belljar("run", "git:safe", "--json")
    assert done.code == "VALIDATION_ERROR"
    assert "git:notes" in done.err


@pytest.mark.parametrize("text", ["1", "# /// script\n# [tool.belljar]\n# servers = ['x']\n# ///\n1"])
@pytest.mark.parametrize("verb", [["add"], ["publish", "--org", "acme"]])
def test_code_without_a_name_is_not_kept(belljar: Belljar, far: FakeRegistry, text: str, verb: list[str]) -> None:
    """It says how to give it one."""
    written(belljar, text)
    done = belljar("capability", *verb, "notes.py")
    assert done.status == 2
    assert 'name = "namespace:action"' in done.err
    assert far.asked == []


# There and back


def test_published_here_and_run_elsewhere(belljar: Belljar, far: FakeRegistry) -> None:
    """F10: another machine fetches it once by its name; the second run asks nobody, nor does one without a registry."""
    sha256 = written(belljar, "\ufeff" + code("n + 1", "na\u00efve"))
    done = belljar("capability", "publish", "notes.py", "--org", "acme", "--project", "tools", "--json")
    assert (done.status, done.json["fqdn"]) == (0, f"acme.tools.git.notes.{sha256[:4]}"), done.err
    sent = json.loads(far.asked[0].body)
    assert (sent["sha256"], sent["permissions"], sent["description"]) == (sha256, ["git:git_log"], "na\u00efve")
    assert far.asked[0].headers["x-api-key"] == KEY
    elsewhere = {"XDG_DATA_HOME": str(belljar.folder / "elsewhere")}
    far.asked.clear()
    for name in ("acme.tools.git.notes", f"acme.tools.git.notes.{sha256[:4]}", "acme.tools.git.notes"):
        ran = belljar("run", name, "--arg", "n=1", "--json", env=elsewhere)
        assert (ran.status, ran.json["value"]) == (0, 2), ran.err
    assert [asked.path for asked in far.asked] == ["/api/registry/acme.tools.git.notes"]
    assert belljar("run", "acme.tools.git.notes", env={**elsewhere, "BELLJAR_CLOUD_URL": ""}).status == 0
    assert belljar("run", "acme.tools.git.notes").status == 0  # who publishes has it


def test_publishing_needs_an_organisation_and_a_registry(belljar: Belljar, far: FakeRegistry) -> None:
    """Both are said before anything is sent."""
    written(belljar, code("1"))
    assert "--org" in belljar("capability", "publish", "notes.py").err
    done = belljar("capability", "publish", "notes.py", "--org", "acme", env={"BELLJAR_CLOUD_URL": ""})
    assert (done.status, "BELLJAR_CLOUD_URL" in done.err) == (2, True)
    assert "bad org" in belljar("capability", "publish", "notes.py", "--org", "../x").err
    assert far.asked == []


def test_code_with_secrets_is_refused_and_not_changed(belljar: Belljar, far: FakeRegistry) -> None:
    """Published code passes the one way out: the lines are named, the text is not, and nothing is sent."""
    written(belljar, code("1") + f"token = '{TOKEN}'\n# ask ann.smith@corp.com\nkey = '{KEY}'\n")
    done = belljar("capability", "publish", "notes.py", "--org", "acme")
    assert done.status == EXIT[Code.VALIDATION_ERROR]
    assert "line 9 (SECRET), line 10 (EMAIL), line 11 (" in done.err
    for secret in (TOKEN, "ann.smith", KEY):
        assert secret not in done.err + done.out
    assert far.asked == []


def test_a_secret_that_no_line_shows_is_refused(belljar: Belljar, far: FakeRegistry) -> None:
    """TOML joins what stands on two lines; an escape hides nothing; a server's secret counts as well."""
    joined = code("1", "d").replace('"d"', '"""ask ann.smith@\\\n# corp.com"""')
    for text, said in (joined, "metadata block"), (code("1", "ask ann.smith\\u0040corp.com"), "line 4 (EMAIL)"):
        written(belljar, text)
        assert said in belljar("capability", "publish", "notes.py", "--org", "acme").err
    written(belljar, code("'open-up-now'"))
    servers = belljar.servers(s={"command": "x", "env": {"PASS": "open-up-now"}})
    assert "line 8 (KNOWN)" in belljar("capability", "publish", "notes.py", "--org", "acme", "--servers", servers).err
    assert far.asked == []


def test_a_new_hash_under_a_known_name_needs_a_person(belljar: Belljar, far: FakeRegistry) -> None:
    """F11: without a terminal it ends APPROVAL_REQUIRED and no run; `trust` is the person's word, and names both."""
    written(belljar, code("'one'"))
    belljar("capability", "publish", "notes.py", "--org", "acme")
    changed = code("'two'")
    name = f"acme.default.git.notes.{sha256_of(changed)}"
    far.put(name, changed, sha256_of(changed))
    for short in (name, name[:-60]):
        done = belljar("run", short, "--json")
        assert (done.code, done.status) == ("APPROVAL_REQUIRED", 3)
        assert (done.json["trace"], done.json["runId"], done.json["calls"]) == (None, None, [])
        assert f"belljar capability trust {name}" in done.err
    assert belljar("run", "acme.default.git.notes", "--json").json["value"] == "one"
    trusted = belljar("capability", "trust", name, "--json")
    assert (trusted.status, trusted.json["current"]) == (0, True)
    assert belljar("run", name, "--json").json["value"] == "two"
    assert belljar("run", "acme.default.git.notes", "--json").json["value"] == "two"


def test_trust_fetches_the_newest(belljar: Belljar, far: FakeRegistry) -> None:
    """Four parts ask the registry, though an older version is here."""
    written(belljar, code("'one'"))
    belljar("capability", "publish", "notes.py", "--org", "acme")
    changed = code("'two'")
    far.put(f"acme.default.git.notes.{sha256_of(changed)}", changed, sha256_of(changed))
    assert belljar("capability", "trust", "acme.default.git.notes", "--json").json["sha256"] == sha256_of(changed)
    assert belljar("run", "acme.default.git.notes", "--json").json["value"] == "two"


@pytest.mark.parametrize(
    ("typed", "status", "again"), [("o\n", 0, "one"), ("a\n", 0, "two"), ("d\n", 1, "one"), ("\x04", 3, "one")]
)
def test_a_person_is_asked_with_what_changed(
    belljar: Belljar, far: FakeRegistry, typed: str, status: int, again: str
) -> None:
    """F11: both versions with what they may call; once is once, always is for good, the end of input is no yes."""
    written(belljar, code("'one'"))
    belljar("capability", "publish", "notes.py", "--org", "acme")
    changed = code("'two'", "all\\\\u001b[2J new".replace("\\\\", "\\"), "git_push")
    name = f"acme.default.git.notes.{sha256_of(changed)}"
    far.put(name, changed, sha256_of(changed))
    terminal = _Terminal(belljar, "run", name)
    terminal.until("[o]nce / [a]lways / [d]eny: ")
    assert "git:git_log" in terminal.seen
    assert "git:git_push" in terminal.seen
    assert "\\x1b[2J new" in terminal.seen
    assert far.url in terminal.seen
    terminal.type(typed)
    assert terminal.end() == status
    assert ("two" in terminal.seen.split("eny: ")[1]) is (status == 0)
    assert belljar("run", "acme.default.git.notes", "--json").json["value"] == again


def test_a_registry_that_lies_runs_nothing(belljar: Belljar, far: FakeRegistry) -> None:
    """F11: another code than the hash ends with exit 4, and nothing of it is kept."""
    honest, other = code("1"), code("'evil'")
    far.put(f"acme.x.git.notes.{sha256_of(honest)}", other, sha256_of(honest))
    done = belljar("run", "acme.x.git.notes", "--json")
    assert (done.code, done.status) == ("UPSTREAM_UNAVAILABLE", 4)
    assert belljar("capability", "list", "--json").json == []


def test_a_registry_that_is_not_there_is_named(belljar: Belljar) -> None:
    """Exit 4 with its address; what is kept here runs all the same."""
    written(belljar, code("1"))
    belljar("capability", "add", "notes.py")
    away = {"BELLJAR_CLOUD_URL": "http://127.0.0.1:9"}
    done = belljar("run", "acme.x.git.notes", "--json", env=away)
    assert (done.code, done.status) == ("UPSTREAM_UNAVAILABLE", 4)
    assert "127.0.0.1:9" in done.err
    (belljar.folder / "t.toml").write_text("[tracing]\nenabled = false\n")
    assert belljar("run", "git:notes", "--config", "t.toml", env=away).status == 0


def test_a_run_by_name_loads_no_http_client(belljar: Belljar) -> None:
    """F10: what is kept here costs no import of what fetches."""
    import subprocess

    written(belljar, code("1"))
    belljar("capability", "add", "notes.py")
    command = belljar.command("run", "git:notes")
    command.insert(1, "-Ximporttime")
    done = subprocess.run(command, cwd=belljar.folder, env=belljar.environment, capture_output=True, check=True)
    imported = {line.split("|")[-1].strip() for line in done.stderr.decode().splitlines()}
    assert "belljar.registry.capabilities" in imported
    assert not imported & {"httpx2", "httpx", "typer", "rich", "sqlalchemy", "fastapi"}


# Capabilities that call each other


def naming(name: str, permissions: str, body: str) -> str:
    head = f'# /// script\n# [tool.belljar]\n# name = "{name}"\n# permissions = [{permissions}]\n# ///\n'
    return head + body


def test_a_kept_capability_is_called_by_code(belljar: Belljar) -> None:
    """F21: allowed by its pattern; one line of the call table; the trace names it a capability's call."""
    written(belljar, code("n + 1"))
    belljar("capability", "add", "notes.py")
    snippet = "await mcp.capability['git:notes'](n=4)"
    done = belljar("run", "-c", snippet, "--allow", "capability:git:*", "--json")
    assert (done.status, done.json["value"]) == (0, 5), done.err
    (task,) = done.json["trace"]["taskResults"]
    assert (task["tool"], task["isCapabilityCall"]) == ("capability:git:notes", True)
    refused = belljar("run", "-c", snippet, "--json")
    assert (refused.code, refused.status) == ("APPROVAL_REQUIRED", 3)
    assert "--allow 'capability:git:notes'" in refused.err


def test_a_person_is_asked_without_any_server(belljar: Belljar) -> None:
    """The question names the capability and its hash; always is for this run, and says how to make it more."""
    sha256 = written(belljar, code("n + 1"))
    belljar("capability", "add", "notes.py")
    terminal = _Terminal(belljar, "run", "-c", "[await mcp.capability['git:notes'](n=n) for n in range(3)]")
    terminal.until("eny: ")
    assert f"local.default.git.notes.{sha256}" in terminal.seen
    terminal.type("a\n")
    assert terminal.end() == 0
    assert terminal.seen.count("wants to call") == 1


def test_always_for_a_capability_is_for_this_run(belljar: Belljar) -> None:
    """Beside servers too, whose trust a capability has no part in; it says how to allow it in every run."""
    written(belljar, code("n + 1"))
    belljar("capability", "add", "notes.py")
    servers = belljar.servers(s={"command": "never-started"})
    snippet = "[await mcp.capability['git:notes'](n=n) for n in range(3)]"
    terminal = _Terminal(belljar, "run", "-c", snippet, "--servers", servers)
    terminal.until("eny: ")
    terminal.type("a\n")
    assert terminal.end() == 0
    assert 'allow = ["capability:git:notes"]' in terminal.seen


def test_what_code_declares_that_it_calls_is_fetched_before_it_runs(belljar: Belljar, far: FakeRegistry) -> None:
    """F10: by the names in its permissions, and in theirs; the second run asks nobody."""
    leaf, twig = naming("x:leaf", "", "'leaf'"), naming("x:twig", "", "'twig'")
    branch = naming("x:branch", "'capability:acme.t.x.leaf'", "await mcp.capability['acme.t.x.leaf']()")
    for name, text in ("leaf", leaf), ("twig", twig), ("branch", branch):
        far.put(f"acme.t.x.{name}.{sha256_of(text)}", text, sha256_of(text))
    written(
        belljar,
        naming(
            "y:tree",
            f"'capability:acme.t.x.branch', 'capability:acme.t.x.leaf', 'capability:acme.t.x.twig.{sha256_of(twig)}'",
            f"[await mcp.capability['acme.t.x.branch'](), await mcp.capability['acme.t.x.twig.{sha256_of(twig)}']()]",
        ),
        "tree.py",
    )
    done = belljar("run", "tree.py", "--allow", "capability:*", "--json")
    assert (done.status, done.json["value"]) == (0, ["leaf", "twig"]), done.err
    assert len(far.asked) == 3
    belljar("run", "tree.py", "--allow", "capability:*", "--json")
    assert len(far.asked) == 3


def test_running_code_makes_nobody_ask_a_registry(belljar: Belljar, far: FakeRegistry) -> None:
    """A name that code makes up could carry something out: it is looked for on this machine alone."""
    far.put(f"acme.t.x.leaf.{sha256_of('1')}", "1", sha256_of("1"))
    for declared in "", "'capability:*'", "'capability:acme.*'":
        written(belljar, naming("x:y", declared, "await mcp.capability['acme.t.x.' + 'leaf']()"), "y.py")
        done = belljar("run", "y.py", "--allow", "capability:*", "--json")
        assert done.code in {"UNKNOWN_TOOL", "PERMISSION_DENIED"}
    assert far.asked == []


def test_a_declared_capability_that_is_nowhere(belljar: Belljar, far: FakeRegistry) -> None:
    """Said before anything runs, with its name."""
    written(belljar, naming("x:y", "'capability:acme.t.x.gone'", "1"), "y.py")
    done = belljar("run", "y.py", "--json")
    assert (done.code, done.status) == ("VALIDATION_ERROR", 2)
    assert "acme.t.x.gone" in done.err
