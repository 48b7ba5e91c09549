"""Every limit, hit: the code it ends in, what is kept, and that nobody but the run itself pays for it."""

from __future__ import annotations

import textwrap
import time
from typing import Any

import anyio
import psutil
import pytest

from belljar.errors import Code, ValidationError
from belljar.jar import Jar, RunOptions
from belljar.limits import KIB, MIB, Limits
from tests.worlds import ALL, Lab

pytestmark = pytest.mark.anyio

# Of wall=1: what is left for killing, reaping and answering.
_ENDED_S = 2.0


async def gone(pids: set[int]) -> set[int]:
    """Those of the processes that are still there after a moment: ended ones are reaped by their zygote."""
    with anyio.move_on_after(5):
        while alive := {pid for pid in pids if psutil.pid_exists(pid)}:  # noqa: ASYNC110 - other processes
            await anyio.sleep(0.01)
        return set()
    return alive


# wall


@pytest.mark.parametrize(
    "code",
    [
        "while True:\n    pass",
        "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass",
        "import time\ntime.sleep(1000)",
        "import asyncio\nawait asyncio.sleep(1000)",
        "import asyncio\nawait asyncio.Event().wait()",
        "10 ** 10 ** 8",
        "import re\nre.match('(a+)+$', 'a' * 99 + 'b')",
        "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E",
        "import signal, atexit\natexit.register(lambda: exec('while True: pass'))\nwhile True: pass",
        "await mcp.lab.sleep(s=1000)",
        "while True:\n    try:\n        await mcp.lab.sleep(s=1000)\n    except BaseException:\n        pass",
    ],
)
async def test_wall_ends_whatever_runs(run: Any, jar: Jar, code: str) -> None:
    """F2: EXECUTION_TIMEOUT in under 2 s with wall=1, and the process is gone."""
    (await run("1")).unwrap()
    seen: set[int] = set()
    began = time.monotonic()
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            while True:
                seen.update(box.pid for box in _in_use(jar))
                await anyio.sleep(0.05)

        tasks.start_soon(watch)
        found = await run(code, wall=1)
        tasks.cancel_scope.cancel()
    assert time.monotonic() - began < _ENDED_S
    assert found.error.code == Code.EXECUTION_TIMEOUT
    assert "--limit wall=" in found.error.message
    assert seen
    assert await gone(seen) == set()


def _in_use(jar: Jar) -> list[Any]:
    return [session._box for session in jar._sessions]


async def test_what_was_printed_and_called_before_the_end_is_kept(run: Any) -> None:
    """F2, F18: a run that was killed still tells what it did."""
    found = await run("print('before')\nawait mcp.lab.echo(x=1)\nprint('between')\nwhile True: pass", wall=1)
    assert found.stdout == "before\nbetween\n"
    assert [record.state for record in found.calls] == ["applied"]
    assert found.trace["errorCode"] == "EXECUTION_TIMEOUT"


async def test_a_write_under_way_at_the_deadline_is_unknown(run: Any, world: Lab) -> None:
    """F2, F6: nobody may be told "failed" of a write that may have been made; upstream sees the cancel."""
    code = "import asyncio\nawait asyncio.gather(mcp.lab.write_slowly(s=1000), mcp.lab.sleep(s=1000), mcp.lab.write())"
    found = await run(code, wall=1)
    assert found.error.code == Code.EXECUTION_TIMEOUT
    assert [(r.tool, r.state) for r in found.calls] == [
        ("write_slowly", "unknown"),
        ("sleep", "unknown"),
        ("write", "applied"),
    ]
    assert sorted(world.cancelled) == ["sleep", "write_slowly"]


# call


async def test_a_call_that_takes_too_long_is_cancelled(run: Any, world: Lab) -> None:
    """F6: RPC_TIMEOUT raised in the guest, which may go on; the call is cancelled upstream."""
    code = """
        try:
            await mcp.lab.sleep(s=1000)
        except ToolError as exc:
            found = exc.code
        [found, await mcp.lab.echo(x=1)]
    """
    found = await run(code, call=0.2)
    assert found.unwrap() == ["RPC_TIMEOUT", {"x": 1}]
    assert world.cancelled == ["sleep"]
    assert [(r.state, r.error_code) for r in found.calls] == [("failed", "RPC_TIMEOUT"), ("applied", None)]


async def test_a_write_that_takes_too_long_is_unknown(run: Any) -> None:
    """F6."""
    found = await run("await mcp.lab.write_slowly(s=1000)", call=0.2)
    assert found.error.code == Code.RPC_TIMEOUT
    assert found.calls[0].state == "unknown"


# memory


@pytest.mark.parametrize(
    "code",
    [
        "[0] * 10**9",
        "x = bytearray()\nwhile True:\n    x += bytes(1 << 20)",
        "x = []\nwhile True:\n    x.append('x' * 1000)",
        "'x' * (1 << 30)",
        "x = []\nwhile True:\n    x = [x, x]",
        "x = []\ntry:\n    while True:\n        x.append(bytearray(1 << 16))\nexcept ValueError:\n    pass",
        "import json\njson.loads('[' + '0,' * 10**8 + '0]')",
    ],
)
async def test_memory(run: Any, code: str) -> None:
    """F3: a gigabyte under 64 MiB is MEMORY_LIMIT; the host's own memory stays where it is."""
    (await run("1", memory="64MiB")).unwrap()
    before = psutil.Process().memory_info().rss
    found = await run(code, memory="64MiB")
    assert found.error.code == Code.MEMORY_LIMIT
    assert psutil.Process().memory_info().rss - before < 20 * MIB
    assert (await run("1 + 1", memory="64MiB")).unwrap() == 2


async def test_a_memory_error_can_be_caught(run: Any) -> None:
    """F3: what does not fit is a MemoryError, and the capability may do with less."""
    code = "try:\n    x = bytearray(1 << 30)\nexcept MemoryError:\n    x = bytearray(1 << 20)\nlen(x)"
    assert (await run(code, memory="64MiB")).unwrap() == MIB


# code, args: refused before a box exists


async def test_code_and_args(run: Any, jar: Jar) -> None:
    """F9: 300 KB of code and too large arguments are refused by size, before there is a run."""
    with pytest.raises(ValidationError, match="--limit code="):
        await run("# " + "x" * 300_000)
    with pytest.raises(ValidationError, match=str(64 * KIB)):
        await run("1", {"x": "y" * 65 * KIB}, args=64 * KIB)
    assert (await run("len(args['x'])", {"x": "ü" * MIB})).unwrap() == MIB
    padding = "#" * (256 * KIB - 2)
    assert (await run(f"1\n{padding}")).error is None


# result


async def test_result(run: Any) -> None:
    """F4: RESULT_LIMIT, also for one that no frame could carry; up to the limit it arrives."""
    for count in (4 * MIB, 5 * 10**7):
        found = await run(f"'x' * {count}")
        assert (found.error.code, found.value) == (Code.RESULT_LIMIT, None)
    assert (await run(f"'x' * {4 * MIB - 2}")).unwrap() == "x" * (4 * MIB - 2)
    assert (await run("'x' * 99", result=100)).error.code == Code.RESULT_LIMIT
    # Bytes, not characters.
    assert (await run("'ü' * 60", result=100)).error.code == Code.RESULT_LIMIT


# call_args, answer


async def test_arguments_of_a_call(run: Any, world: Lab) -> None:
    """F4: too large arguments are RPC_ERROR in the guest, and the call is not made."""
    code = """
        out = []
        for count in args["counts"]:
            try:
                out.append(len((await mcp.lab.echo(x="y" * count))["x"]))
            except ToolError as exc:
                out.append(exc.code)
        out
    """
    found = await run(code, {"counts": [100, 5 * MIB, 20 * MIB, 100]})
    assert found.unwrap() == [100, "RPC_ERROR", "RPC_ERROR", 100]
    assert len(world.made) == 2


async def test_answer(run: Any) -> None:
    """F4: an answer over its limit is RPC_ERROR in the guest; up to it, it arrives."""
    found = await run("len(await mcp.lab.answer(bytes=args['n']))", {"n": 8 * MIB - 2}, memory="512MiB")
    assert found.unwrap() == 8 * MIB - 2
    found = await run("await mcp.lab.answer(bytes=args['n'])", {"n": 9 * MIB})
    assert found.error.code == Code.RPC_ERROR
    assert "limit" in found.error.message
    assert len(found.calls) == 1


# output


async def test_output(run: Any) -> None:
    """F4: ten megabytes of prints keep the first one, and all are counted."""
    found = await run("for n in range(10_000):\n    print('x' * 999)\nimport sys\nprint('e', file=sys.stderr)")
    assert found.error is None
    assert len(found.stdout) == MIB
    assert found.output_bytes == {"stdout": 10_000_000, "stderr": 2}
    assert found.stderr == ""


async def test_output_is_cut_between_characters(run: Any) -> None:
    """F4: three bytes a character, cut in the middle of one: what is kept is text."""
    found = await run("print('€' * 100, end='')", output=100)
    assert found.stdout == "€" * 33
    assert found.output_bytes["stdout"] == 300


async def test_both_streams_share_the_limit(run: Any) -> None:
    """F4."""
    found = await run(
        "import sys\nprint('a' * 60, end='', flush=True)\nprint('b' * 60, end='', file=sys.stderr)", output=100
    )
    assert (found.stdout, found.stderr) == ("a" * 60, "b" * 40)


async def test_one_enormous_print(run: Any) -> None:
    """F4: more than a frame holds, in one piece."""
    found = await run("print('x' * 30_000_000)", output=1000)
    assert found.error is None
    assert (found.stdout, found.output_bytes["stdout"]) == ("x" * 1000, 30_000_001)


# calls


@pytest.mark.parametrize(
    "code",
    [
        "for n in range(10**6):\n    await mcp.lab.echo(n=n)",
        "for n in range(10**6):\n    try:\n        await mcp.lab.echo(n=n)\n    except BaseException:\n        pass",
        "import asyncio\nawait asyncio.gather(*[mcp.lab.echo(n=n) for n in range(2000)])",
    ],
)
async def test_calls(run: Any, world: Lab, code: str) -> None:
    """F4: a million calls end at the cap with CALL_LIMIT, whatever the code catches; not one more is made."""
    found = await run(code)
    assert found.error.code == Code.CALL_LIMIT
    assert len(found.calls) == 1000
    assert len(world.made) <= 1000


async def test_the_last_call_is_allowed(run: Any) -> None:
    assert (await run("for n in range(5):\n    await mcp.lab.echo(n=n)\nn", calls=5)).unwrap() == 4


# in_flight


async def test_in_flight(run: Any, world: Lab) -> None:
    """F4: a hundred calls at once are answered five at a time; all of them in the end."""
    code = "import asyncio\nlen(await asyncio.gather(*[mcp.lab.look(n=30) for n in range(100)]))"
    found = await run(code, in_flight=5)
    assert found.unwrap() == 100
    assert world.most_at_once == 5


async def test_calls_that_wait_for_a_place_do_not_hide_the_deadline(run: Any, world: Lab) -> None:
    """F2: the host reads on no further, and still ends it in time; what was not made is `pending`, and says why."""
    code = "import asyncio\nawait asyncio.gather(*[mcp.lab.write_slowly(s=1000) for n in range(100)])"
    found = await run(code, in_flight=5, wall=1)
    assert found.error.code == Code.EXECUTION_TIMEOUT
    assert [r.state for r in found.calls].count("unknown") == 5 == len(world.made)
    waiting = [r for r in found.calls if r.state != "unknown"]
    assert {(r.state, r.error_code) for r in waiting} == {("pending", "EXECUTION_TIMEOUT")}


# a frame


@pytest.mark.parametrize("what", ["server", "tool"])
async def test_a_name_longer_than_a_frame_takes(run: Any, world: Lab, what: str) -> None:
    """F4: a name of a megabyte is no name; the run ends with a code and no call."""
    path = "mcp['x' * 10**6].echo()" if what == "server" else "mcp.lab['x' * 10**6]()"
    found = await run(f"await {path}")
    assert found.error.code in (Code.PROTOCOL_ERROR, Code.UNKNOWN_TOOL, Code.CAPABILITY_ERROR, Code.RPC_ERROR)
    assert world.made == []
    assert len(found.error.message) < 20_000


async def test_limits_are_each_runs_own(jar: Jar, world: Lab) -> None:
    """F4: two runs at once with different limits do not share them."""
    code = textwrap.dedent("for n in range(args['n']):\n    await mcp.lab.echo(n=n)\nprint('x' * 50)")
    ends: dict[int, Any] = {}

    async def one(calls: int) -> None:
        options = RunOptions(policy=ALL, limits=Limits().with_(calls=calls, output=calls, wall=20))
        ends[calls] = await jar.run(code, {"n": 10}, options)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one, 5)
        tasks.start_soon(one, 20)
    assert ends[5].error.code == Code.CALL_LIMIT
    assert ends[20].error is None
    assert len(ends[20].stdout) == 20
