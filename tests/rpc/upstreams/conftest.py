"""Servers for these tests: scripts of `tests/fixtures/servers`, each in its own process, and none left after a test."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import anyio
import psutil
import pytest

from belljar.rpc.servers import ServerSpec, parse_servers

_SCRIPTS = Path(__file__).parents[2] / "fixtures" / "servers"
# Ending takes up to 2.2 s for the worst of them; more only on a machine that is busy with something else.
_GONE_S = 10.0

# An environment variable that each of them, and what it starts, inherits.
_MARK = ("STARTED_BY_TEST_RUN", f"run-{os.getpid()}")

Script = Callable[..., ServerSpec]


@pytest.fixture
def script() -> Script:
    """`script("slow.py", "argument", env={...})`: the spec of a server that is one of our scripts; named after it."""

    def spec(name: str, *args: str, env: dict[str, str] | None = None) -> ServerSpec:
        return _spec([sys.executable, str(_SCRIPTS / name), *args], name=name.removesuffix(".py"), env=env or {})

    return spec


@pytest.fixture
def spec_of() -> Callable[..., ServerSpec]:
    """`spec_of([command, *args], name=...)`, read as from an mcp.json with the environment of this process."""
    return _spec


def _spec(command: list[str], *, name: str = "server", env: dict[str, str] | None = None) -> ServerSpec:
    entry = {"command": command[0], "args": command[1:], "env": {**(env or {}), _MARK[0]: _MARK[1]}}
    return parse_servers(json.dumps({"mcpServers": {name: entry}}), dict(os.environ))[name]


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """`await until(holds)`: what another process does is seen by looking, for at most 10 s."""

    async def wait(holds: Callable[[], object]) -> None:
        with anyio.fail_after(10):
            while not holds():  # noqa: ASYNC110
                await anyio.sleep(0.01)

    return wait


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """After each test no server, warden or grandchild of it runs, whoever its parent is by then."""
    before = {process.pid for process in _ours()}
    yield
    left = [process for process in _ours() if process.pid not in before]
    _, alive = psutil.wait_procs(left, timeout=_GONE_S)
    for process in alive:
        process.kill()
    assert not alive, f"still running: {alive}"


def _ours() -> Iterator[psutil.Process]:
    """Our descendants, and whoever carries our mark: other tests may run on this machine."""
    yield from psutil.Process().children(recursive=True)
    for process in psutil.process_iter():
        try:
            marked = process.environ().get(_MARK[0]) == _MARK[1]
        except psutil.Error:  # it ended, or is another user's
            continue
        if marked:
            yield process
