"""Servers that other people wrote, as they come from PyPI and npm."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from belljar.errors import Code, UpstreamError
from belljar.rpc import stubs
from belljar.rpc.servers import ServerSpec
from belljar.rpc.upstreams import RealWorld

pytestmark = pytest.mark.anyio
Needs = Callable[[str], list[str]]
SpecOf = Callable[..., ServerSpec]


@pytest.fixture
def repository(needs: Needs, tmp_path: Path) -> Path:
    git = [*needs("git"), "-C", str(tmp_path), "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "First light"], check=True)
    return tmp_path


async def test_git_reads_a_repository(needs: Needs, spec_of: SpecOf, repository: Path) -> None:
    """mcp-server-git: its tools are usable, and twenty logs come back at once."""
    async with RealWorld([spec_of(needs("mcp-server-git"), name="git")]) as world:
        tools = await world.tools("git")
        assert not [tool for tool in tools.values() if tool.unavailable]
        assert tools["git_log"].read_only
        logs: list[str] = []

        async def one() -> None:
            logs.append(str((await world.call(tools["git_log"], {"repo_path": str(repository)})).value))

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(one)
        assert len(logs) == 20
        assert all("First light" in log for log in logs)
        with pytest.raises(UpstreamError) as caught:
            await world.call(tools["git_log"], {"repo_path": "/nowhere"})
        assert caught.value.code is Code.RPC_ERROR


async def test_time_converts(needs: Needs, spec_of: SpecOf) -> None:
    """mcp-server-time: a text that is JSON comes as a value."""
    async with RealWorld([spec_of(needs("mcp-server-time"), name="time")]) as world:
        tools = await world.tools("time")
        answer = await world.call(tools["get_current_time"], {"timezone": "Europe/Berlin"})
        assert answer.value["timezone"] == "Europe/Berlin"


async def test_everything_works_and_is_offered_nothing(needs: Needs, spec_of: SpecOf) -> None:
    """server-everything (Node): echo, sum, structured content, an image; the tools that need sampling are not there."""
    async with RealWorld([spec_of(needs("server-everything"), name="everything")]) as world:
        tools = await world.tools("everything")
        assert not [tool for tool in tools.values() if tool.unavailable]
        assert (await world.call(tools["echo"], {"message": "hello"})).value == "Echo: hello"
        weather = await world.call(tools["get-structured-content"], {"location": "New York"})
        assert set(weather.value) == {"temperature", "conditions", "humidity"}
        picture = await world.call(tools["get-tiny-image"], {})
        assert [block["type"] for block in picture.value] == ["text", "image", "text"]
        with pytest.raises(UpstreamError, match=r"\$\.a: must be number, is string"):
            await world.call(tools["get-sum"], {"a": "1", "b": 2})
        with pytest.raises(UpstreamError), anyio.fail_after(5):
            await world.call(tools["get-structured-content"], {"location": "Atlantis"})
        compile(stubs.render(tools.values()), "stubs", "exec")


async def test_filesystem_stays_in_its_folder(needs: Needs, spec_of: SpecOf, tmp_path: Path) -> None:
    """server-filesystem (Node): writes and reads inside; its refusal outside is an error, not a value."""
    async with RealWorld([spec_of([*needs("server-filesystem"), str(tmp_path)], name="files")]) as world:
        tools = await world.tools("files")
        assert not [tool for tool in tools.values() if tool.unavailable]
        await world.call(tools["write_file"], {"path": str(tmp_path / "a.txt"), "content": "glass"})
        assert (tmp_path / "a.txt").read_text() == "glass"
        read = await world.call(tools["read_text_file"], {"path": str(tmp_path / "a.txt")})
        assert "glass" in str(read.value)
        with pytest.raises(UpstreamError, match="denied") as caught:
            await world.call(tools["read_text_file"], {"path": "/etc/passwd"})
        assert caught.value.code is Code.RPC_ERROR


async def test_servers_start_together(needs: Needs, spec_of: SpecOf) -> None:
    """Several at once: `warm` starts them in parallel, and each can be asked."""
    specs = [spec_of(needs(f"mcp-server-{name}"), name=name) for name in ("git", "time")]
    async with RealWorld(specs) as world:
        world.warm()
        assert "git_log" in await world.tools("git")
        assert "convert_time" in await world.tools("time")
