"""The program as a user starts it: real processes, real boxes, folders of their own.

All tests share one cache, so that the guest is compiled once; everything else a run leaves behind is the test's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.worlds import guest_cache_in

_ROOT = Path(__file__).parents[2]
FIXTURES = Path(__file__).parents[1] / "fixtures" / "servers"
# Far more than any of these takes; a test that hangs says so by itself.
_DEADLINE_S = 60


@dataclass(frozen=True, slots=True)
class Done:
    """What a finished program left."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on standard output; more than one is an error."""
        return json.loads(self.out)

    @property
    def code(self) -> str:
        return self.json["error"]["code"]

    def last(self) -> str:
        return self.err.strip().splitlines()[-1]


class Belljar:
    """Starts the program in a folder of the test's own."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("BELLJAR_", "XDG_", "OTEL_"))},
            "PYTHONPATH": str(_ROOT),
            "HOME": str(folder / "home"),
            "XDG_CACHE_HOME": str(cache),
            "COLUMNS": "100",
        }

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "belljar", *words]

    def __call__(self, *words: str, env: Mapping[str, str] | None = None) -> Done:
        done = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env={**self.environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_DEADLINE_S,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *words: str, **options: Any) -> Any:
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(self.command(*words), cwd=self.folder, env=self.environment, **given)

    def servers(self, **entries: Mapping[str, Any]) -> str:
        """An mcp.json with these entries; its path."""
        path = self.folder / "mcp.json"
        path.write_text(json.dumps({"mcpServers": entries}))
        return str(path)


def fixture_server(name: str, *args: str) -> dict[str, Any]:
    """The mcp.json entry of a server in tests/fixtures/servers."""
    return {"command": sys.executable, "args": [str(FIXTURES / f"{name}.py"), *args]}


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder whose compiled guest is the session's."""
    folder = tmp_path_factory.mktemp("cache")
    guest = guest_cache_in(tmp_path_factory)
    guest.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "belljar").symlink_to(guest)
    return folder


@pytest.fixture
def belljar(tmp_path: Path, cache: Path) -> Belljar:
    (tmp_path / "home").mkdir()
    return Belljar(tmp_path, cache)


@pytest.fixture
def server() -> Callable[..., dict[str, Any]]:
    return fixture_server
