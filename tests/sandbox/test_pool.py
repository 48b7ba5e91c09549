"""The pool: boxes ahead of need, one for each run, replaced when they die, and nothing left of them."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from belljar._run import Run
from belljar.errors import Code, ConfigError, WorkerCrash
from belljar.jar import Jar, RunOptions, open_jar
from belljar.limits import MIB, Limits
from belljar.sandbox.compiled import open_compiled
from belljar.sandbox.host import PoolKey
from belljar.sandbox.pool import Pool, PoolSettings, open_pool
from tests.worlds import ALL, Lab, config_in

pytestmark = pytest.mark.anyio

KEY = PoolKey("wasm", 256 * MIB)
HOLD = "await mcp.lab.hold()\n'held'"


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def until(true: Callable[[], Any], what: str) -> None:
    """Wait for something another process does; there is no event to wait for."""
    with anyio.move_on_after(15):
        while not true():  # noqa: ASYNC110 - other processes have no event here
            await anyio.sleep(0.01)
        return
    pytest.fail(f"waited 15 s for: {what}")


@pytest.fixture
async def pool(anyio_backend: str, guest_cache: Path) -> AsyncIterator[Pool]:
    async with open_pool(PoolSettings(parked=2, most=2), lambda: open_compiled(guest_cache)) as pool:
        yield pool


@asynccontextmanager
async def opened(folder: Path, cache: Path, world: Lab | None = None, **pool: Any) -> AsyncIterator[Jar]:
    async with open_jar(config_in(folder, cache, **pool), world=world or Lab()) as jar:
        yield jar


def usage() -> dict[str, int]:
    gc.collect()
    me = psutil.Process()
    return {
        "rss": me.memory_info().rss // MIB,
        "threads": threading.active_count(),
        "fds": me.num_fds(),
        "processes": len(me.children(recursive=True)),
    }


# Nothing accumulates


async def _many(run: Any, count: int) -> None:
    for n in range(20):
        assert (await run("args['n'] + (await mcp.lab.echo(x=1))['x']", {"n": n})).unwrap() == n + 1
    await anyio.sleep(0.5)
    before = usage()
    for n in range(count):
        assert (await run("args['n'] + (await mcp.lab.echo(x=1))['x']", {"n": n})).unwrap() == n + 1
    await anyio.sleep(0.5)
    after = usage()
    assert after["rss"] - before["rss"] <= 8
    assert after["threads"] == before["threads"]
    # A worker more may be on its way.
    assert abs(after["fds"] - before["fds"]) <= 4
    assert abs(after["processes"] - before["processes"]) <= 2


async def test_a_hundred_runs_in_a_row_leave_nothing(run: Any) -> None:
    """F1: memory, threads, descriptors and processes are flat."""
    await _many(run, 100)


@pytest.mark.slow
async def test_five_hundred_runs_in_a_row_leave_nothing(run: Any) -> None:
    """F1."""
    await _many(run, 500)


@pytest.mark.parametrize("runs", [0, 1, 3])
async def test_after_the_jar_nothing_is_left(guest_cache: Path, tmp_path: Path, runs: int) -> None:
    """F1: no process and no descriptor, also of boxes that were still coming up when it closed."""
    before, fds = {child.pid for child in psutil.Process().children(recursive=True)}, psutil.Process().num_fds()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        async with opened(tmp_path, guest_cache) as jar:
            jar.warm()
            for n in range(runs):
                assert (await jar.run(f"{n}")).unwrap() == n
            pids = jar.pool.pids()
        # Workers end with their zygote, in the kernel's own time.
        await until(lambda: all(map(ended, pids)), "the workers to end")
        assert psutil.Process().num_fds() == fds, "descriptors are open after the jar"
        assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


async def test_a_jar_that_closes_in_the_middle_of_runs(guest_cache: Path, tmp_path: Path) -> None:
    """F1: an exception in the block ends runs, workers and zygotes with it."""
    world, pids = Lab(), list[int]()
    with pytest.raises(ZeroDivisionError):
        async with opened(tmp_path, guest_cache, world) as jar, anyio.create_task_group() as tasks:
            tasks.start_soon(jar.run, HOLD, None, RunOptions(policy=ALL))
            await world.started.wait()
            pids = jar.pool.pids()
            raise ZeroDivisionError
    assert pids
    await until(lambda: all(map(ended, pids)), "the workers to end")


# What dies is replaced


async def test_a_parked_worker_that_was_killed_is_replaced(pool: Pool) -> None:
    """F1: the run takes another one."""
    async with pool.box(KEY, "me") as box:
        used = box.pid
    await until(lambda: used not in pool.pids() and len(pool.pids()) >= 3, "two parked boxes")
    victims = pool.pids()[1:]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: not set(victims) & set(pool.pids()), "the zygote to say so")
    async with pool.box(KEY, "me") as box:
        assert box.pid not in victims
        assert not ended(box.pid)


async def test_a_worker_killed_at_the_very_moment_does_not_fail_the_run(guest_cache: Path, tmp_path: Path) -> None:
    """F1: killed while parked, and nobody has said so yet: the run that comes next works."""
    async with opened(tmp_path, guest_cache) as jar:
        assert (await jar.run("1")).unwrap() == 1
        await until(lambda: len(jar.pool.pids()) >= 3, "parked boxes")
        await anyio.sleep(0.3)
        victims = jar.pool.pids()[1:]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        while not all(map(ended, victims)):
            time.sleep(0.001)  # noqa: ASYNC251 - the loop must not turn, or it hears of the deaths
        assert (await jar.run("2")).unwrap() == 2


async def test_a_running_worker_that_was_killed_is_a_crash_of_that_run(run: Any, jar: Jar, world: Lab) -> None:
    """F1: WORKER_CRASH, the write under way is `unknown`, the next run works."""
    ends: list[Run] = []

    async def go() -> None:
        ends.append(await run("await mcp.lab.write_slowly(s=1000)"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go)
        await world.started.wait()
        (session,) = jar._sessions
        os.kill(session._box.pid, signal.SIGKILL)
    assert ends[0].error is not None
    assert ends[0].error.code == Code.WORKER_CRASH
    assert [record.state for record in ends[0].calls] == ["unknown"]
    assert (await run("1 + 1")).unwrap() == 2


async def test_a_zygote_that_was_killed_is_replaced(run: Any, jar: Jar, world: Lab) -> None:
    """F1: parked, and with a run under way, which is a WORKER_CRASH; the next run has a new zygote."""
    (await run("1")).unwrap()
    first = jar.pool.pids()[0]
    os.kill(first, signal.SIGKILL)
    assert (await run("1 + 1")).unwrap() == 2
    # A box that was parked may have outlived its zygote by the moment this run took.
    await until(lambda: jar.pool.pids()[:1] not in ([], [first]), "a new zygote")
    second = jar.pool.pids()[0]
    ends: list[Run] = []

    async def go() -> None:
        ends.append(await run("await mcp.lab.hold()"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go)
        await world.started.wait()
        os.kill(second, signal.SIGKILL)
    assert ends[0].error is not None
    assert ends[0].error.code == Code.WORKER_CRASH
    assert (await run("1 + 1")).unwrap() == 2


async def test_a_zygote_that_stopped_is_ended_with_the_pool(guest_cache: Path, tmp_path: Path) -> None:
    """F1: SIGSTOP is no way to outlive the jar."""
    async with opened(tmp_path, guest_cache) as jar:
        assert (await jar.run("1")).unwrap() == 1
        pids = jar.pool.pids()
        os.kill(pids[0], signal.SIGSTOP)
    await until(lambda: all(map(ended, pids)), "all of it to end")


async def test_a_guest_that_cannot_be_had_is_told_to_every_run(tmp_path: Path) -> None:
    """F1: no compiled guest, no run: the reason is told and nothing hangs."""

    def nothing() -> int:
        raise ConfigError("the cache cannot be used")

    with pytest.raises(ConfigError, match="the cache cannot be used"), anyio.fail_after(15):
        async with open_pool(PoolSettings(), nothing) as pool, pool.box(KEY, "me"):
            pytest.fail("a box from nothing")


async def test_compiling_the_guest_is_not_waiting_for_a_box(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a deadline of its own, and takes minutes on a busy machine: what comes of it is what a run hears."""
    monkeypatch.setattr("belljar.sandbox.pool._ACQUIRE_DEADLINE_S", 0.05)
    failed = threading.Event()

    def compiling() -> int:
        failed.wait(0.5)
        raise ConfigError("compiled in vain")

    with pytest.raises(ConfigError, match="in vain"):
        async with open_pool(PoolSettings(), compiling) as pool, pool.box(KEY, "me"):
            pass


async def test_what_is_no_guest_is_told(tmp_path: Path) -> None:
    """F1: a zygote that cannot load its guest is tried a few times and then given up, with what it said."""
    (tmp_path / "rubbish").write_bytes(b"rubbish" * 1000)

    def rubbish() -> int:
        return os.open(tmp_path / "rubbish", os.O_RDONLY)

    with anyio.fail_after(60):
        async with open_pool(PoolSettings(), rubbish) as pool:
            with pytest.raises(WorkerCrash, match="zygote"):
                async with pool.box(KEY, "me"):
                    pytest.fail("a box from rubbish")


# Back-pressure and concurrency


async def test_most_boxes_in_use(pool: Pool) -> None:
    """F4: who asks beyond `most` waits for one that is given back; who asked first is first."""
    order: list[str] = []
    async with anyio.create_task_group() as tasks:

        async def third(name: str) -> None:
            async with pool.box(KEY, "me"):
                order.append(name)

        async with pool.box(KEY, "me"), pool.box(KEY, "me"):
            for name in ("a", "b", "c"):
                tasks.start_soon(third, name)
                await anyio.wait_all_tasks_blocked()
            await anyio.sleep(0.2)
            assert order == []
    assert order == ["a", "b", "c"]


async def test_eight_at_once(run: Any, world: Lab) -> None:
    """F8: eight runs at the same time in eight boxes; none sees another's."""
    code = "import os\nglobals().setdefault('seen', []).append(args['n'])\nawait mcp.lab.hold()\n[seen, args['n']]"
    values: dict[int, Any] = {}

    async def one(n: int) -> None:
        values[n] = (await run(code, {"n": n})).unwrap()
        await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        for n in range(8):
            tasks.start_soon(one, n)
        await until(lambda: world.at_once == 8, "eight calls at once")
        world.release()
    assert values == {n: [[n], n] for n in range(8)}


async def test_a_cancelled_run_gives_its_place_back(run: Any, jar: Jar, world: Lab) -> None:
    """F2: cancelling who waits ends the box, and the call upstream."""
    for _ in range(20):
        jar.world = world = Lab()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, HOLD)
            await world.started.wait()
            tasks.cancel_scope.cancel()
        assert world.cancelled == ["hold"]
    assert (await run("1 + 1")).unwrap() == 2


# Reuse


STATE = "import builtins\nfound = getattr(builtins, 'left', 0)\nbuiltins.left = found + 1\nfound"


async def _pids(jar: Jar, principals: list[str]) -> list[tuple[str, int]]:
    seen: list[tuple[str, int]] = []
    taken: Any = jar.pool.box

    @asynccontextmanager
    async def noting(key: PoolKey, principal: str, **more: Any) -> AsyncIterator[Any]:
        async with taken(key, principal, **more) as box:
            seen.append((principal, box.pid))
            yield box

    jar.pool.box = noting
    for principal in principals:
        found = await jar.run(STATE, None, RunOptions(principal=principal, limits=Limits().with_(wall=20)))
        assert found.unwrap() == 0, "a box of another run"
        await anyio.sleep(0.3)  # time to park again
    return seen


async def test_without_reuse_every_run_has_its_own_process(guest_cache: Path, tmp_path: Path) -> None:
    """F1."""
    async with opened(tmp_path, guest_cache) as jar:
        pids = [pid for _, pid in await _pids(jar, ["a"] * 4)]
    assert len(set(pids)) == 4


async def test_with_reuse_two_principals_never_share_a_worker(guest_cache: Path, tmp_path: Path) -> None:
    """F1: reuse=3 lets one principal's runs follow one another in a process, at most three, each in a fresh box."""
    async with opened(tmp_path, guest_cache, reuse=3) as jar:
        seen = await _pids(jar, ["a", "b"] * 6)
    of = {name: [pid for principal, pid in seen if principal == name] for name in ("a", "b")}
    assert not set(of["a"]) & set(of["b"])
    for pids in of.values():
        assert max(pids.count(pid) for pid in pids) <= 3
        assert len(set(pids)) < len(pids), "nothing was reused"


async def test_a_run_that_ended_badly_is_not_reused(guest_cache: Path, tmp_path: Path) -> None:
    """F1: a worker whose box broke down or was killed serves nobody again."""
    async with opened(tmp_path, guest_cache, reuse=3) as jar:
        for code in ("import os\nos._exit(0)", "while True: pass", "1 / 0"):
            await jar.run(code, None, RunOptions(limits=Limits().with_(wall=1)))
            assert (await jar.run("1 + 1")).unwrap() == 2


async def test_kinds_of_boxes_are_bounded(guest_cache: Path, tmp_path: Path) -> None:
    """Each memory limit needs a zygote of its own; one that asks for many ends those it no longer uses."""
    async with open_jar(config_in(tmp_path, guest_cache)) as jar:
        for mib in range(64, 76):
            run = await jar.run("1", options=RunOptions(limits=Limits().with_(memory=f"{mib}MiB")))
            assert run.unwrap() == 1
        zygotes = [shelf for shelf in jar.pool._shelves.values() if not shelf.closed]
        assert len(zygotes) <= 8
