"""The Python API: `belljar.run` for scripts, `belljar.open` for programs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import belljar
from tests.worlds import guest_cache_in

_SERVERS = Path(__file__).parent / "fixtures" / "servers"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return guest_cache_in(tmp_path_factory)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of the test's own, with the shared guest in it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    (tmp_path / "cache" / "belljar").symlink_to(cache)


def test_run_gives_a_run() -> None:
    """F19: value, prints, calls and trace of one run; code is a text."""
    run = belljar.run("print('hi')\nargs['n'] + 1", {"n": 1}, intent="to count")
    assert (run.value, run.success, run.error, run.stdout, run.calls) == (2, True, None, "hi\n", [])
    assert run.trace["success"] is True
    assert run.duration_ms > 0


def test_a_path_is_a_file(tmp_path: Path) -> None:
    """And a failure is told, not raised."""
    file = tmp_path / "fails.py"
    file.write_text("def main():\n    raise ValueError('no')\n")
    run = belljar.run(file)
    assert run.error is not None
    assert (run.error.code, run.error.line) == (belljar.Code.CAPABILITY_ERROR, 2)


def test_what_cannot_run_is_raised() -> None:
    """Nothing ran, so there is no Run."""
    with pytest.raises(belljar.BelljarError) as caught:
        belljar.run("def main(path: str): pass")
    assert caught.value.code is belljar.Code.VALIDATION_ERROR


def test_servers_as_a_mapping() -> None:
    """What stands in an mcp.json may be given as it is; `allow` and `deny` decide."""
    import sys

    servers = {"s": {"command": sys.executable, "args": [str(_SERVERS / "answers.py")]}}
    assert belljar.run("await mcp.s.wrapped()", servers=servers, allow=["s:*"]).value == [1, 2]
    asked = belljar.run("await mcp.s.wrapped()", servers={"mcpServers": servers})
    assert asked.error is not None
    assert asked.error.code is belljar.Code.APPROVAL_REQUIRED
    left = belljar.run("await mcp.s.wrapped()", servers=servers, auto=["s:*"])
    assert left.error is not None
    assert "(auto: never seen before)" in left.error.message


def test_limits_are_taken() -> None:
    """F2."""
    run = belljar.run("while True: pass", limits=belljar.Limits(wall=0.3))
    assert run.error is not None
    assert run.error.code is belljar.Code.EXECUTION_TIMEOUT


def test_no_file_is_read_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library leaves belljar.toml to the command line, here and in the home folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "belljar.toml").write_text("no toml at all")
    assert belljar.run("1").value == 1


def test_run_from_a_thread() -> None:
    """Any thread without an event loop will do."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(belljar.run("6 * 7").value))
    thread.start()
    thread.join(60)
    assert found == [42]


@pytest.mark.anyio
async def test_run_in_a_loop_says_what_to_do() -> None:
    """It would block the loop; the message names the way."""
    with pytest.raises(RuntimeError, match=r"belljar\.open"):
        belljar.run("1")


@pytest.mark.anyio
async def test_open_is_for_many_runs() -> None:
    """One jar; each run has its own box, and they can be had at once."""
    import anyio

    values: dict[int, object] = {}
    async with belljar.open(limits=belljar.Limits(wall=20)) as jar:

        async def one(n: int) -> None:
            values[n] = (await jar.run("import builtins\nn = args['n']\nn * n", {"n": n})).value

        async with anyio.create_task_group() as tasks:
            for n in range(5):
                tasks.start_soon(one, n)
    assert values == {n: n * n for n in range(5)}
