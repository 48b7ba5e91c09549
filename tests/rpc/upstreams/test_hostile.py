"""Servers that mean harm: each ends in time, with the right code, and leaves nothing behind."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import psutil
import pytest

from belljar.errors import Code, UpstreamError
from belljar.limits import MIB, Limits
from belljar.rpc.servers import ServerSpec
from belljar.rpc.upstreams import RealWorld

pytestmark = pytest.mark.anyio
Script = Callable[..., ServerSpec]
Until = Callable[[Callable[[], object]], Awaitable[None]]


async def refusal(spec: ServerSpec, limits: Limits | None = None) -> UpstreamError:
    """How asking for the tools fails."""
    async with RealWorld([spec], limits=limits) as world:
        with pytest.raises(UpstreamError) as caught:
            await world.tools(spec.name)
    return caught.value


async def failure(spec: ServerSpec, tool: str, limits: Limits | None = None, **args: object) -> UpstreamError:
    """How a call fails."""
    async with RealWorld([spec], limits=limits) as world:
        tools = await world.tools(spec.name)
        with pytest.raises(UpstreamError) as caught:
            await world.call(tools[tool], args)
    return caught.value


async def test_a_server_that_dies_at_start_is_unavailable_with_its_status_and_last_words(script: Script) -> None:
    """It dies at start: UPSTREAM_UNAVAILABLE quotes its stderr, escaped and without the secret it printed."""
    error = await refusal(script("dies_at_start.py", env={"TOKEN": "tok-sesame-open"}))
    assert error.code is Code.UPSTREAM_UNAVAILABLE
    assert error.message == (
        "server dies_at_start is not available: it ended with status 3; "
        r"it last said: \x1b[31mno config\x1b[0m, token [REDACTED]"
    )


async def test_a_missing_command_is_named(spec_of: Callable[..., ServerSpec]) -> None:
    """A command that is not in PATH: UPSTREAM_UNAVAILABLE, at once."""
    error = await refusal(spec_of(["no-such-server"], name="gone"))
    assert error.code is Code.UPSTREAM_UNAVAILABLE
    assert error.message == (
        "server gone is not available: 'no-such-server' is not in PATH; install it, or give an absolute path"
    )


async def test_a_program_that_cannot_be_executed_is_named(spec_of: Callable[..., ServerSpec], tmp_path: Path) -> None:
    """A file without the right to be executed: UPSTREAM_UNAVAILABLE with the system's reason."""
    (tmp_path / "server").write_text("#!/bin/sh\n")
    error = await refusal(spec_of([str(tmp_path / "server")]))
    assert error.code is Code.UPSTREAM_UNAVAILABLE
    assert "cannot be started: Permission denied" in error.message


async def test_path_entries_that_mean_the_working_directory_find_nothing(
    spec_of: Callable[..., ServerSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program in the working directory is not found through an empty or relative PATH entry."""
    (tmp_path / "trap").write_text("#!/bin/sh\ntouch sprung\n")
    (tmp_path / "trap").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    error = await refusal(spec_of(["trap"], env={"PATH": ":.:relative"}))
    assert "'trap' is not in PATH" in error.message
    assert not (tmp_path / "sprung").exists()


async def test_a_server_that_never_answers_is_given_up(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """It never answers: UPSTREAM_UNAVAILABLE at the start-up deadline."""
    monkeypatch.setattr("belljar.rpc.upstreams._upstream.START_S", 2.0)
    began = time.monotonic()
    error = await refusal(script("mute.py"))
    assert error.code is Code.UPSTREAM_UNAVAILABLE
    assert "it gave no answer within 2 s" in error.message
    assert time.monotonic() - began < 12


async def test_a_server_that_is_silent_to_the_first_question_is_asked_the_older_way(script: Script) -> None:
    """No answer to the newer protocol's probe: the older handshake is tried, and works."""
    async with RealWorld([script("mute.py", "probe")]) as world:
        began = time.monotonic()
        assert set(await world.tools("mute")) == {"ok"}
        assert time.monotonic() - began < 8


async def test_a_server_that_dies_of_the_first_question_is_asked_the_older_way(script: Script) -> None:
    """It ends when probed: it is started again and asked with the older handshake."""
    async with RealWorld([script("chokes.py")]) as world:
        tools = await world.tools("chokes")
        assert (await world.call(tools["ok"], {})).value == "fine"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("garbage", "it wrote more than 1000 lines to stdout that are no messages"),
        ("endless", "it writes a line that does not end"),
        ("messages", "it sends a flood of messages that nobody asked for"),
        ("requests", "it sends a flood of messages that nobody asked for"),
    ],
)
async def test_a_flood_on_stdout_fails_the_call_it_comes_in(script: Script, kind: str, words: str) -> None:
    """It floods stdout when called: RPC_ERROR that says so; our memory stays flat."""
    before = psutil.Process().memory_info().rss
    error = await failure(script("floods.py", kind), "go")
    assert error.code is Code.RPC_ERROR
    assert words in error.message or "asks and does not read the answers" in error.message
    assert psutil.Process().memory_info().rss - before < 120 * MIB


@pytest.mark.parametrize("kind", ["garbage", "endless", "messages", "requests"])
async def test_a_server_that_floods_all_the_time_is_soon_unavailable(script: Script, kind: str) -> None:
    """It floods stdout from its start: its answers may come through for a moment, then it is UPSTREAM_UNAVAILABLE."""
    async with RealWorld([script("floods.py", kind, "now")]) as world:
        with anyio.fail_after(60), pytest.raises(UpstreamError) as caught:
            while True:
                await world.tools("floods")
                await anyio.sleep(0.05)
    assert caught.value.code is Code.UPSTREAM_UNAVAILABLE


async def test_a_flood_on_stderr_does_not_matter(
    script: Script, caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    """It floods stderr: calls work, the log is bounded and escaped."""
    caplog.set_level(logging.DEBUG, "belljar.upstream")
    async with RealWorld([script("floods.py", "stderr")]) as world:
        tools = await world.tools("floods")
        await until(lambda: "more than 1000 lines" in caplog.text)
        for _ in range(100):
            assert (await world.call(tools["go"], {})).value == "fine"
    lines = [record.getMessage() for record in caplog.records if record.name == "belljar.upstream.floods"]
    assert len(lines) == 1001
    assert all(len(line) <= 1000 and line.isprintable() for line in lines)


@pytest.mark.parametrize("id_last", [False, True])
async def test_an_answer_over_the_limit_fails_its_own_call_alone(script: Script, id_last: bool) -> None:
    """100 MB as an answer: RPC_ERROR naming the limit, memory flat, a call beside it unharmed, the server alive."""
    before = psutil.Process().memory_info().rss
    async with RealWorld([script("answers.py")]) as world:
        tools = await world.tools("answers")
        pid = (await world.call(tools["pid"], {})).value
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.call, tools["sleep"], {"seconds": 0.1})
            with pytest.raises(UpstreamError, match=r"more than 8388608 bytes \(limit answer\)") as caught:
                await world.call(tools["huge"], {"bytes": 100_000_000, "id_last": id_last})
        assert caught.value.code is Code.RPC_ERROR
        assert psutil.Process().memory_info().rss - before < 150 * MIB
        assert (await world.call(tools["pid"], {})).value == pid


async def test_an_answer_just_within_the_limit_passes(script: Script) -> None:
    """The limit is where it says: 1 MB passes under 1 MiB, 1.1 MB does not."""
    limits = Limits(answer=1 * MIB)
    async with RealWorld([script("answers.py")], limits=limits) as world:
        tools = await world.tools("answers")
        assert len((await world.call(tools["huge"], {"bytes": 1_000_000})).value) == 1_000_000
        with pytest.raises(UpstreamError, match="limit answer"):
            await world.call(tools["huge"], {"bytes": 1_100_000})


async def test_a_server_that_dies_in_a_call_fails_it_and_is_there_again(script: Script) -> None:
    """A call in flight at death: RPC_ERROR that says so; the next call finds a new process."""
    async with RealWorld([script("answers.py")]) as world:
        tools = await world.tools("answers")
        first = (await world.call(tools["pid"], {})).value
        with pytest.raises(UpstreamError) as caught:
            await world.call(tools["die"], {})
        assert caught.value.code is Code.RPC_ERROR
        assert caught.value.message == (
            "server answers died while answering die: it was killed by signal 9; it last said: out of memory"
        )
        assert (await world.call(tools["pid"], {})).value != first


async def test_a_server_that_keeps_dying_is_left_alone_for_a_while(script: Script) -> None:
    """Restarts back off: after a few deaths in a row calls fail at once and say when the next attempt is."""
    async with RealWorld([script("dies_at_start.py")]) as world:
        for _ in range(8):
            with pytest.raises(UpstreamError) as caught:
                await world.tools("dies_at_start")
            if "the next attempt is in" in caught.value.message:
                break
        began = time.monotonic()
        with pytest.raises(UpstreamError, match=r"ended with status 3.*the next attempt is in"):
            await world.tools("dies_at_start")
        assert time.monotonic() - began < 0.5


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("many", "20000"), "holds more than 10000 tools (limit tools)"),
        (("pages", "new"), "has more than 1000 pages"),
        (("pages", "same"), "comes back to a page it already gave"),
        (("big", "17000000"), "answered with more than 16777216 bytes (limit tools_list)"),
        (("deep", "10000"), "was refused: answered with what is refused: nested deeper than 400 levels"),
        (("none",), "is no valid MCP"),
    ],
)
async def test_a_list_that_breaks_a_limit_makes_the_server_unavailable(
    script: Script, args: tuple[str, ...], words: str
) -> None:
    """20,000 tools, endless pages, pages in a circle, too many bytes, a line that cannot be parsed, no list at all."""
    error = await refusal(script("lists.py", *args))
    assert error.code is Code.UPSTREAM_UNAVAILABLE
    assert words in error.message


async def test_bytes_of_a_list_add_up_over_its_pages(script: Script) -> None:
    """A list in pages has one limit of bytes, not one a page."""
    error = await refusal(script("lists.py", "pages", "new"), Limits(tools_list=5000))
    assert "limit tools_list" in error.message


async def test_ten_thousand_tools_are_fine(script: Script) -> None:
    """The most that may be, within the start-up deadline."""
    async with RealWorld([script("lists.py", "many", "10000")]) as world:
        assert len(await world.tools("lists")) == 10_000


async def test_each_bad_tool_is_unavailable_by_name_and_the_others_stay(script: Script) -> None:
    """1 MB schema, remote `$ref`, remote dialect, lookahead, two of a name...: only those cannot be called."""
    async with RealWorld([script("lists.py", "bad")]) as world:
        tools = await world.tools("lists")
        assert {name: tool.unavailable for name, tool in tools.items()} == {
            "fine": "",
            "megabyte": "its input schema is refused: it has 1000034 bytes, more than 262144",
            "remote": "its input schema is refused: #/properties/a/$ref: must point into its own document (#/...)",
            "remote_dialect": "its input schema is refused: #/$schema: is no draft known here",
            "lookahead": "its input schema is refused: "
            "#/properties/a/pattern: a pattern that cannot run in linear time (RE2)",
            "catastrophic": "",
            "twice": "the server lists this name twice",
            "no_schema": "its input schema is refused: it is not an object",
            "bad_output": "its output schema is refused: #/type: must name types of JSON",
            "bell\x07": "its name holds characters that cannot be seen",
        }
        assert (await world.call(tools["fine"], {})).value == "fine"
        with pytest.raises(UpstreamError, match="lists:remote cannot be used: its input schema is refused") as caught:
            await world.call(tools["remote"], {})
        assert caught.value.code is Code.RPC_ERROR
        began = time.monotonic()
        with pytest.raises(UpstreamError, match=r"\$\.a: must match"):
            await world.call(tools["catastrophic"], {"a": "a" * 40 + "!"})
        assert time.monotonic() - began < 1


async def test_a_schema_nested_too_deep_costs_its_tool_alone(script: Script) -> None:
    """80 levels are too many for a schema and not too many for a message."""
    async with RealWorld([script("lists.py", "deep", "80")]) as world:
        tools = await world.tools("lists")
        assert tools["fine"].unavailable == ""
        assert "nested deeper than 64 levels" in tools["deep"].unavailable


async def test_garbage_between_messages_is_passed_over(script: Script) -> None:
    """Lines on stdout that are no messages, and JSON that is none, do not harm a server that works."""
    async with RealWorld([script("noisy.py")]) as world:
        tools = await world.tools("noisy")
        assert (await world.call(tools["ok"], {})).value == "fine"


async def test_nothing_is_offered_to_a_server(script: Script) -> None:
    """No sampling, no roots, no elicitation: not in the handshake, and refused when asked for. A ping is answered."""
    async with RealWorld([script("asks_back.py")]) as world:
        tools = await world.tools("asks_back")
        said = (await world.call(tools["ask"], {})).value["said"]
    capabilities, *replies = said
    assert capabilities["capabilities"] == {}
    by_id = {reply["id"]: reply for reply in replies}
    assert by_id["s0"]["result"] == {}
    assert [by_id[f"s{n}"]["error"]["code"] for n in (1, 2, 3)] == [-32601] * 3
