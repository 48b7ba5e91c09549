"""The pool with native boxes: one for each run, replaced when they die, and nothing left of them."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from belljar.errors import Code
from belljar.jar import Jar, RunOptions, open_jar
from belljar.limits import MIB
from belljar.sandbox.host import PoolKey
from tests.sandbox.process.conftest import BACKEND
from tests.sandbox.test_pool import ended, until, usage
from tests.worlds import ALL, Lab, config_in

pytestmark = pytest.mark.anyio

KEY = PoolKey(BACKEND, 256 * MIB)
OPTIONS = RunOptions(policy=ALL, backend=BACKEND)


@asynccontextmanager
async def opened(folder: Path, world: Lab | None = None, **pool: Any) -> AsyncIterator[Jar]:
    """A jar whose cache is empty: a native box needs no compiled guest."""
    async with open_jar(config_in(folder, folder / "cache", **pool), world=world or Lab()) as jar:
        yield jar


async def test_it_needs_no_compiled_guest(tmp_path: Path) -> None:
    """Nothing is compiled or written for it."""
    async with opened(tmp_path) as jar:
        assert (await jar.run("1 + 1", None, OPTIONS)).unwrap() == 2
    assert not (tmp_path / "cache").exists()


async def test_both_backends_share_a_pool(run: Any, jar: Jar) -> None:
    """One pool holds boxes of both kinds; a run gets its own kind."""
    code = "import sys\nsys.platform"
    assert (await run(code)).unwrap() == "linux"
    assert (await jar.run(code, None, RunOptions(policy=ALL))).unwrap() == "wasi"


async def test_a_worker_is_never_used_twice(tmp_path: Path) -> None:
    """Whatever `pool.reuse` says: native code may have changed anything."""
    async with opened(tmp_path, reuse=10) as jar:
        code = "import os, sys\nold = getattr(sys, 'left', None)\nsys.left = 1\n[old, os.getpid()]"
        runs = [(await jar.run(code, None, OPTIONS)).unwrap() for _ in range(5)]
    assert [old for old, _ in runs] == [None] * 5
    assert len({pid for _, pid in runs}) == 5


async def test_sixty_runs_leave_nothing(run: Any) -> None:
    """F1: memory, threads, descriptors and processes are flat, crashes and prints included."""
    codes = ["print('x')\n1", "import ctypes\nctypes.string_at(8)", "import posix\nposix.write(2, b'x' * 70000)\n1"]
    for code in codes * 3:
        await run(code)
    await anyio.sleep(0.5)
    before = usage()
    for code in codes * 20:
        await run(code)
    await anyio.sleep(0.5)
    after = usage()
    assert after["rss"] - before["rss"] <= 8
    assert after["threads"] == before["threads"]
    assert abs(after["fds"] - before["fds"]) <= 12  # a worker more or less has six
    assert abs(after["processes"] - before["processes"]) <= 2


async def test_after_the_jar_nothing_is_left(tmp_path: Path) -> None:
    """F1: no process and no descriptor."""
    fds = psutil.Process().num_fds()
    async with opened(tmp_path) as jar:
        assert (await jar.run("1", None, OPTIONS)).unwrap() == 1
        pids = jar.pool.pids()
    await until(lambda: all(map(ended, pids)), "the workers to end")
    assert psutil.Process().num_fds() == fds


async def test_a_zygote_that_is_killed_takes_its_workers_and_is_replaced(tmp_path: Path) -> None:
    """F1: the tree dies as one; the next run has a new one."""
    async with opened(tmp_path) as jar:
        await jar.run("1", None, OPTIONS)
        pids = jar.pool.pids()
        os.kill(pids[0], signal.SIGKILL)
        await until(lambda: all(map(ended, pids)), "the workers to end with their zygote")
        assert (await jar.run("2", None, OPTIONS)).unwrap() == 2


async def test_a_worker_killed_in_the_middle_is_a_crash(tmp_path: Path) -> None:
    """F2: from outside, after it spoke: WORKER_CRASH, and no second attempt."""
    world = Lab()
    async with opened(tmp_path, world) as jar, anyio.create_task_group() as tasks:

        async def kill() -> None:
            await world.started.wait()
            (session,) = jar._sessions
            os.kill(session._box.pid, signal.SIGKILL)

        tasks.start_soon(kill)
        found = await jar.run("await mcp.lab.hold()", None, OPTIONS)
    assert found.error is not None
    assert found.error.code == Code.WORKER_CRASH
    assert "SIGKILL" in found.error.message
    assert len(world.made) == 1


async def test_a_missing_wall_refuses_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail closed: where a wall cannot stand, the run ends WALL_MISSING and says which one and how to go without."""
    from belljar.sandbox import host

    blind = "import sys; sys.modules['pyseccomp'] = None; "
    monkeypatch.setattr(host, "_ENTRY", blind + host._ENTRY)
    async with opened(tmp_path) as jar:
        found = await jar.run("1", None, OPTIONS)
        assert found.error is not None
        assert found.error.code == Code.WALL_MISSING
        assert "--waive seccomp" in found.error.message
        without = RunOptions(policy=ALL, backend=BACKEND, waive=frozenset({"seccomp"}))
        waived = await jar.run("1", None, without)
        assert waived.unwrap() == 1
        assert "seccomp" not in waived.trace["metadata"]["walls"]
