"""Calls that work, calls that fail, and what of a server's answer a capability gets."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from belljar.errors import Code, UpstreamError
from belljar.limits import Limits
from belljar.rpc.servers import ServerSpec
from belljar.rpc.upstreams import RealWorld
from belljar.rpc.world import Answer, ToolInfo

pytestmark = pytest.mark.anyio
Script = Callable[..., ServerSpec]
Until = Callable[[Callable[[], object]], Awaitable[None]]


async def outcome(world: RealWorld, tool: str, **args: object) -> object:
    tools = await world.tools("answers")
    return (await world.call(tools[tool], args)).value


@pytest.fixture
async def world(script: Script) -> AsyncIterator[RealWorld]:
    async with RealWorld([script("answers.py", env={"OWN": "1"})]) as world:
        yield world


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        ("[]", []),
        ("17", 17),
        ("true", True),
        ('"quoted"', "quoted"),
        ("plain words", "plain words"),
        ("", ""),
        ("NaN", "NaN"),
        ('{"a": 1, "a": 2}', '{"a": 1, "a": 2}'),
        ("1e999", "1e999"),
        ("[" * 70 + "]" * 70, "[" * 70 + "]" * 70),
    ],
)
async def test_a_single_text_is_its_json_or_itself(world: RealWorld, text: str, value: object) -> None:
    """Strict JSON is parsed; everything else stays the text it is."""
    assert await outcome(world, "json", text=text) == value


async def test_structured_content_comes_first_and_a_sole_result_is_unwrapped(world: RealWorld) -> None:
    """F5: nested JSON comes back as the plain value."""
    assert await outcome(world, "wrapped") == [1, 2]
    assert isinstance(await outcome(world, "env"), dict)


async def test_several_blocks_come_as_they_are(world: RealWorld) -> None:
    """What is neither structured nor one text is the list of content blocks."""
    assert await outcome(world, "blocks") == [
        {"type": "text", "text": "a"},
        {"type": "image", "data": "aGk=", "mimeType": "image/png"},
    ]


async def test_an_error_is_an_error_by_its_flag_not_its_words(world: RealWorld) -> None:
    """F7: a tool whose text says timeout is RPC_ERROR, with the text as message and all it said as data."""
    with pytest.raises(UpstreamError) as caught:
        await outcome(world, "fails")
    assert caught.value.code is Code.RPC_ERROR
    assert caught.value.message == "EXECUTION_TIMEOUT: request timeout after 30 s"
    assert caught.value.data == [{"type": "text", "text": "EXECUTION_TIMEOUT: request timeout after 30 s"}]
    assert caught.value.server == "answers"


@pytest.mark.parametrize(
    ("tool", "args", "words"),
    [
        ("no_mcp", {}, "answered with what is no valid MCP result"),
        ("deep", {"levels": 70}, "answered with JSON that is refused: nested deeper than 64 levels"),
    ],
)
async def test_an_answer_that_is_none_is_an_error(
    world: RealWorld, tool: str, args: dict[str, object], words: str
) -> None:
    """Not the protocol, or deeper than values may be: RPC_ERROR."""
    with pytest.raises(UpstreamError, match=words) as caught:
        await outcome(world, tool, **args)
    assert caught.value.code is Code.RPC_ERROR


async def test_a_server_gets_a_minimal_environment_and_our_folder(world: RealWorld) -> None:
    """PATH, HOME, LANG, TMPDIR and its own entry's variables; nothing else of ours."""
    answer = await outcome(world, "env")
    assert isinstance(answer, dict)
    known = {"PATH", "HOME", "LANG", "TMPDIR", "OWN", "LC_CTYPE", "STARTED_BY_TEST_RUN", "__CF_USER_TEXT_ENCODING"}
    assert set(answer["env"]) <= known
    assert answer["env"]["OWN"] == "1"
    assert answer["cwd"] == os.getcwd()


async def test_twenty_gathered_calls_come_back_to_their_callers(world: RealWorld) -> None:
    """F8: many calls on one connection at once, each with its own answer."""
    tools = await world.tools("answers")
    got: dict[int, object] = {}

    async def one(number: int) -> None:
        got[number] = (await world.call(tools["json"], {"text": str(number)})).value

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(one, number)
    assert got == {number: number for number in range(20)}


async def test_an_answer_says_where_it_is_from(world: RealWorld) -> None:
    """The real world answers for real."""
    tools = await world.tools("answers")
    assert await world.call(tools["json"], {"text": "1"}) == Answer(1, "real", None)
    assert world.name == "real"
    assert world.servers() == ("answers",)


async def test_a_call_past_its_deadline_is_cancelled_upstream(script: Script, tmp_path: Path, until: Until) -> None:
    """F6: slow tool -> RPC_TIMEOUT, and the server sees the cancel; the connection stays."""
    log = tmp_path / "log"
    async with RealWorld([script("slow.py", str(log))], limits=Limits(call=0.3)) as world:
        tools = await world.tools("slow")
        with pytest.raises(UpstreamError) as caught:
            await world.call(tools["wait"], {})
        assert caught.value.code is Code.RPC_TIMEOUT
        assert caught.value.message == "slow:wait gave no answer within 0.3 s"
        await until(lambda: log.read_text() == "called\ncancelled\n")
        assert (await world.call(tools["quick"], {})).value == "q"


async def test_cancelling_the_caller_cancels_the_call_upstream(script: Script, tmp_path: Path, until: Until) -> None:
    """F6: whoever awaits the call is cancelled, and so is the call."""
    log = tmp_path / "log"
    async with RealWorld([script("slow.py", str(log))]) as world:
        tools = await world.tools("slow")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.call, tools["wait"], {})
            await until(log.exists)
            tasks.cancel_scope.cancel()
        await until(lambda: log.read_text() == "called\ncancelled\n")


async def test_arguments_that_miss_the_schema_are_not_sent(script: Script) -> None:
    """The arguments are held against the tool's input schema; the error names the place, and no value."""
    async with RealWorld([script("answers.py")]) as world:
        tool = (await world.tools("answers"))["json"]
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["text"]}
        strict = ToolInfo(tool.server, tool.name, input_schema=schema, digest=tool.digest)
        with pytest.raises(UpstreamError) as caught:
            await world.call(strict, {"n": "hunter2"})
        assert caught.value.code is Code.RPC_ERROR
        assert caught.value.message == (
            "answers:json cannot be called with these arguments: $.n: must be integer, is string; $.text: is required"
        )


async def test_arguments_over_their_limit_are_not_sent(script: Script) -> None:
    """call_args is a limit here too."""
    async with RealWorld([script("answers.py")], limits=Limits(call_args=1000)) as world:
        tool = (await world.tools("answers"))["json"]
        with pytest.raises(UpstreamError, match=r"1014 bytes of arguments \(limit call_args\)"):
            await world.call(tool, {"text": "x" * 1003})


async def test_a_schema_that_takes_for_ever_is_not_waited_for(script: Script) -> None:
    """Fanned-out references: refused in about a second, while others go on."""
    forms = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 4} for n in range(20)}
    bomb = {"$defs": {**forms, "d20": {}}, "$ref": "#/$defs/d0"}
    async with RealWorld([script("answers.py")]) as world:
        tools = await world.tools("answers")
        costly = ToolInfo("answers", "json", input_schema=bomb, digest=tools["json"].digest)
        with anyio.fail_after(15), pytest.raises(UpstreamError, match="its schema is too costly to check"):
            await world.call(costly, {"text": "1"})


async def test_a_tool_that_changed_under_the_caller_is_not_called(script: Script) -> None:
    """After `list_changed` a call with the old description of a tool fails; tools that stayed the same still work."""
    async with RealWorld([script("changes.py")]) as world:
        old = await world.tools("changes")
        assert (await world.call(old["shifty"], {})).value == 1
        with pytest.raises(UpstreamError, match="changes:shifty has changed since it was listed") as caught:
            await world.call(old["shifty"], {})
        assert caught.value.code is Code.RPC_ERROR
        await world.call(old["steady"], {})
        new = await world.tools("changes")
        assert new["shifty"].digest != old["shifty"].digest
        assert new["steady"].digest == old["steady"].digest


async def test_calls_do_not_list_the_tools_again(script: Script) -> None:
    """The library would list them after a call by itself; a server that counts sees one list."""
    async with RealWorld([script("changes.py", "silent")]) as world:
        tools = await world.tools("changes")
        assert [(await world.call(tools["shifty"], {})).value for _ in range(3)] == [1, 1, 1]


async def test_a_tool_or_server_that_is_not_there_is_unknown(world: RealWorld) -> None:
    """UNKNOWN_TOOL, for a tool that left its list and for a server nobody configured."""
    with pytest.raises(UpstreamError) as caught:
        await world.call(ToolInfo("answers", "nothing"), {})
    assert caught.value.code is Code.UNKNOWN_TOOL
    with pytest.raises(UpstreamError) as caught:
        await world.tools("nobody")
    assert caught.value.code is Code.UNKNOWN_TOOL
