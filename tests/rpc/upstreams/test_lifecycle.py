"""When servers start and when they end - with us, without us, and against their will."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import psutil
import pytest

from belljar.errors import UpstreamError
from belljar.rpc.servers import ServerSpec
from belljar.rpc.upstreams import RealWorld

Script = Callable[..., ServerSpec]
Until = Callable[[Callable[[], object]], Awaitable[None]]
_HOST = """
import json, os, sys, anyio
from belljar.rpc.servers import parse_servers
from belljar.rpc.upstreams import RealWorld

async def main():
    entry = {"command": sys.executable, "args": sys.argv[1:]}
    specs = parse_servers(json.dumps({"mcpServers": {"s": entry}}), dict(os.environ))
    async with RealWorld(specs.values()) as world:
        await world.tools("s")
        print("up", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


def wardens() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if child.status() != psutil.STATUS_ZOMBIE and is_warden(child)]


def is_warden(process: psutil.Process) -> bool:
    try:
        return any("_warden" in word for word in process.cmdline())
    except psutil.Error:  # it ended while we looked
        return False


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def read(pids: Path) -> list[int]:
    return [int(pid) for pid in pids.read_text().split()]


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """Where the stubborn server writes its process ids; none of them outlives the test, whatever happens."""
    file = tmp_path / "pids"
    yield file
    for pid in read(file) if file.exists() else ():
        if alive([pid]):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.anyio
async def test_nothing_starts_before_it_is_asked_for(script: Script) -> None:
    """Lazily: a world with servers that nobody calls has no process."""
    async with RealWorld([script("noisy.py")]) as world:
        assert world.servers() == ("noisy",)
        await anyio.sleep(0.1)
        assert not wardens()


@pytest.mark.anyio
async def test_warm_starts_in_the_background_all_at_once(script: Script) -> None:
    """Three servers that are each silent for 4 s to the first question are up together, not one after the other."""
    specs = [script("mute.py", "probe") for _ in range(3)]
    named = [ServerSpec(name=f"s{n}", command=s.command, args=s.args, env=s.env) for n, s in enumerate(specs)]
    async with RealWorld(named) as world:
        world.warm()
        world.warm(["s0", "nobody"])
        began = time.monotonic()
        for name in world.servers():
            await world.tools(name)
        assert time.monotonic() - began < 11
        assert len(wardens()) == 3


@pytest.mark.anyio
async def test_warm_keeps_its_failures_to_itself(script: Script) -> None:
    """A server that dies while it is warmed up harms nobody; whoever asks for it hears of it."""
    async with RealWorld([script("dies_at_start.py"), script("noisy.py")]) as world:
        world.warm()
        assert "ok" in await world.tools("noisy")
        with pytest.raises(UpstreamError):
            await world.tools("dies_at_start")


@pytest.mark.anyio
async def test_an_idle_server_ends_and_comes_back_when_called(script: Script, until: Until) -> None:
    """Idle shutdown: gone after the time given, never during a call, back with the next one."""
    async with RealWorld([script("answers.py")], idle_s=0.3) as world:
        tools = await world.tools("answers")
        first = (await world.call(tools["pid"], {})).value
        assert (await world.call(tools["sleep"], {"seconds": 1})).value == "slept"
        assert (await world.call(tools["pid"], {})).value == first
        await until(lambda: not wardens())
        assert not alive([first])
        assert (await world.call(tools["pid"], {})).value != first


@pytest.mark.anyio
async def test_leaving_ends_even_a_stubborn_server_within_two_seconds(script: Script, pids: Path) -> None:
    """It ignores the end of stdin and SIGTERM, and so does its grandchild in another session."""
    async with RealWorld([script("stubborn.py", str(pids))]) as world:
        await world.tools("stubborn")
        family = read(pids)
        assert len(alive(family)) == 2
        began = time.monotonic()
    assert time.monotonic() - began < 3
    assert not alive(family)


@pytest.mark.anyio
async def test_leaving_while_a_server_starts_breaks_the_start_off(script: Script, until: Until) -> None:
    """A start that would take its whole deadline does not hold up the end."""
    async with RealWorld([script("mute.py")]) as world:
        world.warm()
        await until(wardens)
        began = time.monotonic()
    assert time.monotonic() - began < 3


@pytest.mark.anyio
async def test_leaving_before_a_server_is_started_starts_none(script: Script) -> None:
    """What was asked for and has not begun, or is still loading the client library, does not begin any more."""
    for turns in (0, 1, 3):
        began = time.monotonic()
        async with RealWorld([script("noisy.py")]) as world:
            world.warm()
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
        assert time.monotonic() - began < 3
        assert not wardens()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.anyio
async def test_secrets_are_in_no_argv_and_not_in_the_warden(script: Script) -> None:
    """A variable's value is in the server's environment and nowhere else a process list could show."""
    async with RealWorld([script("noisy.py", env={"TOKEN": "sesame-open"})]) as world:
        await world.tools("noisy")
        (warden,) = wardens()
        (server,) = warden.children()
        assert server.environ()["TOKEN"] == "sesame-open"
        assert "sesame-open" not in " ".join([*server.cmdline(), *warden.cmdline(), *warden.environ().values()])


@pytest.mark.anyio
async def test_an_exception_in_the_body_ends_everything_too(script: Script) -> None:
    """What is raised comes out as it is, not in a group, and no server stays."""
    with pytest.raises(KeyError, match="mine"):
        async with RealWorld([script("noisy.py")]) as world:
            await world.tools("noisy")
            raise KeyError("mine")
    assert not wardens()


@pytest.mark.skipif(sys.platform != "linux", reason="what left its session is found through /proc")
@pytest.mark.parametrize("victim", ["host", "warden"])
def test_kill_9_leaves_no_upstream(pids: Path, victim: str) -> None:
    """kill -9 of the host: server and escaped grandchild are gone within 2 s. Of the warden: the server is."""
    stubborn = Path(__file__).parents[2] / "fixtures" / "servers" / "stubborn.py"
    host = subprocess.Popen(
        [sys.executable, "-c", _HOST, str(stubborn), str(pids)], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert host.stdout is not None
        assert host.stdout.readline() == b"up\n"
        family = read(pids)
        warden = next(filter(is_warden, psutil.Process(host.pid).children()))
        assert len(alive(family)) == 2
        began = time.monotonic()
        os.kill(host.pid if victim == "host" else warden.pid, signal.SIGKILL)
        doomed = family if victim == "host" else family[:1]
        while alive(doomed) and time.monotonic() - began < 10:
            time.sleep(0.01)
        assert time.monotonic() - began < 2
        assert not alive(doomed)
    finally:
        host.kill()
        host.communicate()


@pytest.mark.anyio
async def test_many_starts_leave_descriptors_threads_and_children_flat(script: Script, until: Until) -> None:
    """Ten connections, one after the other, leave nothing open."""
    me = psutil.Process()
    others = set(me.children())  # of other tests of this process
    async with RealWorld([script("noisy.py")], idle_s=0.01) as world:
        await world.tools("noisy")
        await until(lambda: others >= set(me.children()))
        descriptors, threads = me.num_fds(), me.num_threads()
        for _ in range(10):
            await world.tools("noisy")
            await until(lambda: others >= set(me.children()))
        await until(lambda: me.num_fds() <= descriptors)
        assert me.num_threads() <= threads + 1


def test_the_client_library_is_not_imported_before_a_server_starts() -> None:
    """Importing the world, and a world without calls, costs neither `mcp` nor pydantic nor jsonschema."""
    code = (
        "import sys, anyio\n"
        "from belljar.rpc.upstreams import RealWorld\n"
        "from belljar.rpc import servers, schemas, stubs\n"
        "async def main():\n"
        "    async with RealWorld([]) as world: world.warm()\n"
        "anyio.run(main)\n"
        "print(sorted({'mcp', 'mcp_types', 'pydantic', 'jsonschema', 'httpx2', 're2'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
