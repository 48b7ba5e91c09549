"""The registry from both ends: `belljar capability` and `belljar run` against a real `belljar serve`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.cli.conftest import Belljar
from tests.cli.test_capability import code, written

pytestmark = pytest.mark.slow

_DEADLINE_S = 30


class Far:
    """A server on an SQLite file of the test's own, and keys for it."""

    def __init__(self, belljar: Belljar) -> None:
        import json

        self._belljar = belljar
        self.db = f"sqlite:///{belljar.folder / 'server.db'}"
        self.process: subprocess.Popen[bytes] = belljar.start("serve", "--port", "0", "--db", self.db, "--json")
        assert self.process.stdout is not None
        self.url: str = json.loads(self.process.stdout.readline())["url"]

    def key(self, tenant: str, *scopes: str) -> dict[str, str]:
        """What the environment of a client of that tenant holds; each call is another machine."""
        words = [word for scope in scopes for word in ("--scope", scope)]
        made = self._belljar("server", "key", "create", "--db", self.db, "--tenant", tenant, *words, "--json")
        assert made.status == 0, made.err
        data = self._belljar.folder / f"data-{made.json['id']}"
        return {"BELLJAR_CLOUD_URL": self.url, "BELLJAR_API_KEY": made.json["key"], "XDG_DATA_HOME": str(data)}

    def ask(self, method: str, path: str, env: dict[str, str]) -> httpx2.Response:
        headers = {"x-api-key": env["BELLJAR_API_KEY"]}
        return httpx2.request(method, self.url + path, headers=headers, timeout=_DEADLINE_S, trust_env=False)

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=_DEADLINE_S)


@pytest.fixture
def far(belljar: Belljar) -> Iterator[Far]:
    config = belljar.folder / "home" / ".config" / "belljar"
    config.mkdir(parents=True)
    (config / "belljar.toml").write_text("[tracing]\nenabled = false\n")
    server = Far(belljar)
    try:
        yield server
    finally:
        server.end()


NAME = "acme.default.git.notes"


def publish(belljar: Belljar, env: dict[str, str], org: str = "acme") -> Any:
    return belljar("capability", "publish", "notes.py", "--org", org, "--json", env=env)


def test_from_one_machine_to_another(belljar: Belljar, far: Far) -> None:
    """F10: run by another key of the tenant, by every form of its name; kept when the server is gone."""
    sha256 = written(belljar, "\ufeff" + code("n + 1", "na\u00efve \u4e16"))
    ann, bob = far.key("acme"), far.key("acme")
    assert publish(belljar, ann).status == 0
    assert publish(belljar, ann).status == 0
    for name in (NAME, f"{NAME}.{sha256[:4]}", f"{NAME}.{sha256}"):
        elsewhere = {**bob, "XDG_DATA_HOME": str(belljar.folder / name)}
        done = belljar("run", name, "--arg", "n=1", "--json", env=elsewhere)
        assert (done.status, done.json["value"]) == (0, 2), done.err
        assert done.json["trace"]["capabilityId"] == f"{NAME}.{sha256[:4]}"
    found = far.ask("GET", f"/api/registry/{NAME}", bob).json()
    assert (found["sha256"], found["permissions"]) == (sha256, ["git:git_log"])
    assert found["description"] == "na\u00efve \u4e16"
    assert found["schema"]["properties"] == {"n": {"type": "integer", "default": 1}}
    far.end()
    done = belljar("run", NAME, "--json", env={**bob, "XDG_DATA_HOME": str(belljar.folder / NAME)})
    assert (done.status, done.json["value"]) == (0, 2)


def test_a_new_version_asks_and_a_withdrawn_one_is_gone(belljar: Belljar, far: Far) -> None:
    """F11: `trust` takes the newest; after a withdrawal new machines get the one before, and who has it keeps it."""
    first = written(belljar, code("'one'"))
    ann, bob, eve = far.key("acme"), far.key("acme"), far.key("acme")
    publish(belljar, ann)
    assert belljar("run", NAME, "--json", env=bob).json["value"] == "one"
    second = written(belljar, code("'two'"))
    publish(belljar, ann)
    assert belljar("run", NAME, "--json", env=bob).json["value"] == "one"
    assert belljar("run", f"{NAME}.{second}", "--json", env=bob).code == "APPROVAL_REQUIRED"
    assert belljar("capability", "trust", NAME, "--json", env=bob).json["sha256"] == second
    assert belljar("run", NAME, "--json", env=bob).json["value"] == "two"
    assert belljar("capability", "yank", f"{NAME}.{second}", env=far.key("other")).status == 2
    assert belljar("capability", "yank", f"{NAME}.{second}", env=far.key("acme", "read")).status == 2
    yanked = belljar("capability", "yank", f"{NAME}.{second[:4]}", env=ann)
    assert (yanked.status, "taken back" in yanked.out) == (0, True), yanked.err
    assert belljar("capability", "yank", f"{NAME}.{second}", env=ann).status == 2
    assert belljar("capability", "yank", NAME, env=ann).status == 2
    assert belljar("run", NAME, "--json", env=eve).json["value"] == "one"
    refused = belljar("run", f"{NAME}.{second}", "--json", env=eve)
    assert (refused.code, "withdrawn" in refused.err) == ("VALIDATION_ERROR", True)
    (Path(bob["XDG_DATA_HOME"]) / "belljar" / "capabilities" / "code" / second).unlink()
    assert belljar("run", NAME, "--json", env=bob).json["value"] == "two"
    assert {entry["sha256"] for entry in belljar("capability", "list", "--json", env=bob).json} == {first, second}


def test_an_organisation_is_one_tenants(belljar: Belljar, far: Far) -> None:
    """Another tenant can neither publish under it nor see it; a key without the scope is told so."""
    written(belljar, code("1"))
    ann, eve, reader = far.key("acme"), far.key("evil"), far.key("acme", "read")
    assert publish(belljar, ann).status == 0
    for env, said in (eve, "acme"), (reader, "does not allow this"), ({**ann, "BELLJAR_API_KEY": "bj_x"}, "our key"):
        done = publish(belljar, env)
        assert done.status == 2
        assert said in done.err
        assert len(done.err.splitlines()) == 1
    assert belljar("run", NAME, "--json", env=eve).code == "VALIDATION_ERROR"
    assert belljar("run", NAME, "--json", env=reader).status == 0
