"""`belljar serve` and `belljar server`: real processes, real sockets, files of the test's own."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.cli.conftest import Belljar
from tests.server.api.processes import DEADLINE_S as _DEADLINE_S
from tests.server.api.processes import Server


def trace(number: int = 0) -> dict[str, Any]:
    return {
        "traceId": str(uuid4()),
        "capabilityId": "local.default.git.release_notes.a7f3",
        "capabilityHash": "a" * 64,
        "success": True,
        "durationMs": float(number),
        "timestamp": "2026-01-02T03:04:05.678Z",
    }


Serving = Callable[..., Server]


@pytest.fixture
def serve(belljar: Belljar) -> Iterator[Serving]:
    """`serve(*words)`: a server on a free port that has said that it is ready."""
    with ExitStack() as stack:

        def started(*words: str) -> Server:
            return stack.enter_context(Server(belljar.start("serve", "--port", "0", "--json", *words)))

        yield started


def new_key(belljar: Belljar, *words: str) -> str:
    done = belljar("server", "key", "create", "--json", *words)
    assert done.status == 0, done.err
    return done.json["key"]


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        (
            "serve",
            "--host --port --db --allow-host --rate --no-auth --no-learn --learn-share --embedder --debug --json",
        ),
        ("server key create", "--db --tenant --scope --label --expires --debug --json"),
        ("server key list", "--db --tenant --debug --json"),
        ("server key revoke", "ID --db --tenant --debug"),
        ("server migrate", "--db --debug"),
        ("server prune", "--older-than --keep-above --db --tenant --debug --json"),
        ("server anonymize", "ID --db --tenant --debug"),
        ("server export", "--db --tenant --anonymized --debug"),
    ],
)
def test_help_names_every_option_and_shows_examples(belljar: Belljar, verb: str, options: str) -> None:
    """Each verb's help mentions each of its options, and how it is used."""
    done = belljar(*verb.split(), "--help")
    assert done.status == 0
    assert set(options.split()) <= set(done.out.replace(",", " ").split())
    assert f"  belljar {verb}" in done.out.split("Examples:")[1]


def test_served_from_an_empty_folder(belljar: Belljar, serve: Serving) -> None:
    """F36: nothing is there before; it says where it is, how to make a key, keeps its file to itself, and ends well."""
    server = serve()
    assert server.said.keys() == {"url", "host", "port", "pid"}
    assert server.said["pid"] == server.process.pid
    key = new_key(belljar)
    one = trace()
    with server.client(key) as client:
        assert client.get("/readyz").status_code == 200
        assert client.post("/api/traces", json=[one]).json()["stored"] == 1
        assert client.get(f"/api/traces/{one['traceId']}").json()["traceId"] == one["traceId"]
    assert server.end() == 0
    assert any("belljar server key create" in line for line in server.lines)
    events = [json.loads(line) for line in server.lines if line.startswith("{")]
    said = [event["event"] for event in events if not event["event"].startswith(("request", "learner"))]
    assert said == ["serving", "ending", "ended"]
    stored = next(e for e in events if e.get("route") == "/api/traces")
    assert (stored["status"], stored["stored"], stored["tenant"]) == (200, 1, "default")
    assert not [line for line in server.lines if key in line or one["traceId"] in line]
    files = [file for file in Path(belljar.folder / "home").rglob("server.db*") if file.is_file()]
    assert files
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)


def test_what_was_acknowledged_is_there_after_a_restart(belljar: Belljar, serve: Serving) -> None:
    """F37: SIGTERM in the middle of a load from four clients: each batch is either refused or stored, none is lost."""
    db = f"sqlite:///{belljar.folder / 'load.db'}"
    key = new_key(belljar, "--db", db)
    server = serve("--db", db, "--rate", "0")
    acknowledged, refused, enough = list[str](), list[object](), threading.Event()

    def send() -> None:
        with server.client(key) as client:
            while True:
                batch = [trace(n) for n in range(10)]
                try:
                    answer = client.post("/api/traces", json=batch)
                except httpx2.TransportError as exc:
                    refused.append(exc)
                    return
                if answer.status_code == 503:
                    refused.append(answer.headers["retry-after"])
                    return
                assert answer.status_code == 200
                acknowledged.extend(one["traceId"] for one in batch)
                if len(acknowledged) > 200:
                    enough.set()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert enough.wait(_DEADLINE_S)
    began = time.monotonic()
    assert server.end() == 0
    assert time.monotonic() - began < 10
    for thread in threads:
        thread.join(_DEADLINE_S)
    assert len(refused) == 4
    done = belljar("server", "export", "--db", db)
    stored = [json.loads(line)["traceId"] for line in done.out.splitlines()]
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ending_with_an_open_connection(serve: Serving, number: int) -> None:
    """An idle client, or one that never finishes its head, does not keep the server from ending; exit 0."""
    server = serve("--no-auth")
    address = (server.said["host"], server.said["port"])
    with socket.create_connection(address) as idle, httpx2.Client(base_url=server.url, trust_env=False) as client:
        idle.sendall(b"GET /healthz HT")
        assert client.get("/healthz").status_code == 200
        began = time.monotonic()
        assert server.end(number) == 0
        assert time.monotonic() - began < 5


def test_told_twice_to_end(serve: Serving) -> None:
    """A request that is never finished keeps it from ending, until it is told again: 503 to that one, no traceback."""
    server = serve("--no-auth")
    with socket.create_connection((server.said["host"], server.said["port"])) as half:
        half.settimeout(_DEADLINE_S)
        head = "POST /api/traces HTTP/1.1", "host: localhost", "content-type: application/json", "content-length: 9"
        half.sendall("\r\n".join([*head, "expect: 100-continue", "", ""]).encode())
        assert half.recv(100).startswith(b"HTTP/1.1 100")  # it is being read
        server.process.send_signal(signal.SIGTERM)
        ends = time.monotonic() + _DEADLINE_S
        while not any('"ending"' in line for line in server.lines):
            assert time.monotonic() < ends
            time.sleep(0.01)
        assert server.end() == 0
        answer = b"".join(iter(lambda: half.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 503")
    assert b'"UNAVAILABLE"' in answer
    events = [json.loads(line) for line in server.lines if line.startswith("{")]
    assert [e["event"] for e in events] == ["serving", "ending", "request", "ended"]


def test_open_to_this_machine(serve: Serving) -> None:
    """--no-auth says so loudly."""
    server = serve("--no-auth")
    with server.client("") as client:
        assert client.post("/api/traces", json=[trace()]).json()["stored"] == 1
    server.end()
    assert any("NO AUTHENTICATION" in line for line in server.lines)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--no-auth", "--host", "0.0.0.0"), "this machine alone"),
        (("--db", "mysql://u:hunter2@h/d"), "--db takes"),
        (("--db", "nonsense"), "--db takes"),
        (("--db", "sqlite:////nowhere/at/all/x.db"), "cannot be opened"),
        (("--host", "256.1.1.1"), "--host"),
        (("--host", "192.0.2.1"), "cannot listen"),
        (("--port", "70000"), "--port"),
        (("--allow-host", "https://x"), "--allow-host"),
        (("--rate", "-1"), "limits"),
    ],
)
def test_what_cannot_be_served(belljar: Belljar, words: tuple[str, ...], said: str) -> None:
    """Exit 2, one line that names the option, no password."""
    done = belljar("serve", *words)
    assert done.status == 2, done.err
    assert said in done.last()
    assert "hunter2" not in done.out + done.last()
    assert "Traceback" not in done.err


def test_a_port_that_is_taken(belljar: Belljar, serve: Serving) -> None:
    """Is said, exit 2."""
    server = serve("--no-auth")
    done = belljar("serve", "--no-auth", "--port", str(server.said["port"]), "--db", f"sqlite:///{belljar.folder}/b.db")
    assert (done.status, "in use" in done.last()) == (2, True)


def test_a_database_that_does_not_answer(belljar: Belljar) -> None:
    """The verbs that need it end with 4 and one line, without the password."""
    db = "postgresql+psycopg://ann:hunter2@127.0.0.1:1/none"
    for words in (("key", "list"), ("migrate",), ("export",)):
        done = belljar("server", *words, "--db", db)
        assert done.status == 4, done.err
        assert "UPSTREAM_UNAVAILABLE" in done.last()
        assert "hunter2" not in done.out + done.err


def test_a_password_in_argv_is_warned_of(belljar: Belljar) -> None:
    """F83: the command line is public; BELLJAR_DB is not."""
    db = "postgresql+psycopg://ann:hunter2@127.0.0.1:1/none"
    assert "BELLJAR_DB" in belljar("server", "key", "list", "--db", db).err
    assert "BELLJAR_DB" not in belljar("server", "key", "list", env={"BELLJAR_DB": db}).err


def test_without_the_extra(belljar: Belljar) -> None:
    """Says what to install, exit 2."""
    script = (
        "import sys\n"
        "class Gone:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('fastapi', 'sqlalchemy'): raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Gone())\n"
        "from belljar.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    for words in (("serve",), ("server", "key", "list")):
        done = subprocess.run(
            [sys.executable, "-c", script, *words],
            env=belljar.environment,
            cwd=belljar.folder,
            capture_output=True,
            timeout=_DEADLINE_S,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert b"pip install 'belljar[server]'" in done.stderr
        assert len(done.stderr.splitlines()) == 1


# Keys, retention, export


def test_keys(belljar: Belljar, serve: Serving) -> None:
    """Made, listed without the key, revoked: at once, also for the server that is running."""
    made = belljar("server", "key", "create", "--tenant", "acme", "--scope", "read", "--json").json
    assert made.keys() == {"key", "id", "tenant"}
    assert (made["key"][:3], made["tenant"]) == ("bj_", "acme")
    listed = belljar("server", "key", "list", "--json")
    assert [(key["id"], key["tenant"], key["scopes"], key["revokedAt"]) for key in listed.json] == [
        (made["id"], "acme", ["read"], None)
    ]
    assert made["key"] not in listed.out + belljar("server", "key", "list").out
    with serve().client(made["key"]) as client:
        assert client.get("/api/traces").status_code == 200
        assert client.post("/api/traces", json=[]).status_code == 403
        assert belljar("server", "key", "revoke", made["id"]).status == 0
        assert client.get("/api/traces").status_code == 401
    assert belljar("server", "key", "revoke", made["id"]).status == 2
    ends = belljar("server", "key", "create", "--expires", "90d", "--json").json["id"]
    (listed,) = (each for each in belljar("server", "key", "list", "--json").json if each["id"] == ends)
    assert listed["expiresAt"] > listed["createdAt"]
    plain = belljar("server", "key", "create")
    assert plain.out.startswith("bj_")
    assert plain.out.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("--scope", "everything"),
        ("--tenant", ""),
        ("--tenant", "a\x1b[2J"),
        ("--tenant", "x" * 500),
        ("--expires", "0d"),
        ("--expires", "999999w"),
        ("--expires", "-1d"),
    ],
)
def test_keys_that_cannot_be(belljar: Belljar, words: tuple[str, ...]) -> None:
    """Exit 2 and one line."""
    done = belljar("server", "key", "create", *words)
    assert done.status == 2
    assert "\x1b" not in done.err


def test_prune_and_export(belljar: Belljar, serve: Serving) -> None:
    """F41, F42: old traces go, surprises stay; one is made nobody's; export is JSON Lines, also without values."""
    key = new_key(belljar)
    with serve().client(key) as client:
        batch = [{**trace(n), "intent": "private words"} for n in range(3)]
        batch[0]["capabilityId"] = "local.default.git.once.a7f3"
        assert client.post("/api/traces", json=batch).json()["stored"] == 3
    lines = belljar("server", "export").out.splitlines()
    assert {json.loads(line)["traceId"] for line in lines} == {one["traceId"] for one in batch}
    assert "private words" in lines[0]
    assert "private words" not in belljar("server", "export", "--anonymized").out
    assert belljar("server", "prune", "--older-than", "1d", "--json").json["removed"] == 0
    assert belljar("server", "prune", "--older-than", "0s", "--tenant", "nobody").status == 2
    assert belljar("server", "prune", "--older-than", "soon").status == 2
    assert belljar("server", "prune", "--older-than", "999999w").status == 2
    gone, other = batch[0]["traceId"], str(uuid4())
    assert "no trace of this tenant: 1" in belljar("server", "anonymize", gone, other).last()
    assert belljar("server", "anonymize", gone).status == 0
    assert belljar("server", "export").out.count("private words") == 2
    done = belljar("server", "prune", "--older-than", "0s", "--keep-above", "0.9", "--json").json
    assert (done["lookedAt"], done["removed"], done["forgotten"]) == (3, 3, 1)
    assert belljar("server", "export").out == ""
    words = ("--older-than", "1d", "--keep-paths", "0", "--tenant", "default")
    assert belljar("server", "prune", *words).out.endswith("forgot 0 learned things\n")


def test_migrate(belljar: Belljar) -> None:
    """Up to date, and nothing to do the second time."""
    db = f"sqlite:///{belljar.folder / 'new.db'}"
    first, second = belljar("server", "migrate", "--db", db), belljar("server", "migrate", "--db", db)
    assert (first.status, second.status) == (0, 0)
    assert "empty -> " in first.out
    assert "nothing to do" in second.out


# What the server is made of stays off the others' path


def test_a_run_imports_nothing_of_the_server(belljar: Belljar) -> None:
    """`belljar run` pays nothing for verbs it is not."""
    command = belljar.command("run", "-c", "1")
    command.insert(1, "-Ximporttime")
    done = subprocess.run(command, cwd=belljar.folder, env=belljar.environment, capture_output=True, check=True)
    imported = {line.split("|")[-1].strip() for line in done.stderr.decode().splitlines()}
    assert not imported & {"fastapi", "uvicorn", "sqlalchemy", "alembic", "prometheus_client", "belljar.server"}
