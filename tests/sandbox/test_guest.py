"""The guest: the forms a capability may have, how it calls, what it is told, what of its branches is seen."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from belljar._run import Run
from belljar.errors import Code
from belljar.rpc.recording import Recording
from tests.worlds import Lab

pytestmark = pytest.mark.anyio

SEED = "5e" * 32


def decisions(run: Run) -> list[tuple[str, str]]:
    return [(found["nodeId"], found["outcome"]) for found in run.trace["decisions"]]


# Forms


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("def main(a, b=2):\n    return [a, b]", [1, 2]),
        ("async def main(a):\n    return await mcp.lab.echo(a=a)", {"a": 1}),
        ("import functools\ndef main(**given):\n    return given", {"a": 1}),
        ("args['a'] + 1", 2),
        ("found = await mcp.lab.echo(x=args['a'])\nfound['x']", 1),
        ("await mcp.lab.echo(x=None)", {"x": None}),
        ("x = 1", None),
        ("for n in range(3):\n    n", None),
        ("import asyncio\nasync def go():\n    return await mcp.lab.echo(b=1)\nasyncio.run(go())", {"b": 1}),
        ("import asyncio\nasync def go(n):\n    return n\n[asyncio.run(go(1)), asyncio.run(go(2))]", [1, 2]),
        ("(1, (2, 3))", [1, [2, 3]]),
        ("{1: 'a', None: 'b', True: 'c'}", {"1": "c", "null": "b"}),
        ("'ü€🎈'", "ü€🎈"),
        ("10**400", 10**400),
        ("__name__", "__main__"),
    ],
)
async def test_a_module_with_main_and_a_snippet_both_give_their_value(run: Any, code: str, value: Any) -> None:
    """F5: `def main`, `async def main`, top-level await, the last expression, `asyncio.run`."""
    assert (await run(code, {"a": 1})).unwrap() == value


async def test_classes_of_a_capability_find_their_module(run: Any) -> None:
    """Dataclasses, `get_type_hints` with text annotations and pickle look up the module a class says it is from."""
    code = """
        from __future__ import annotations
        import dataclasses, pickle, typing
        @dataclasses.dataclass(slots=True)
        class Point:
            x: int
            near: Point | None = None
        point = pickle.loads(pickle.dumps(Point(1, Point(2))))
        [dataclasses.asdict(point), sorted(typing.get_type_hints(Point))]
    """
    assert (await run(code)).unwrap() == [{"x": 1, "near": {"x": 2, "near": None}}, ["near", "x"]]


async def test_asyncio_works_as_anywhere(run: Any) -> None:
    """TaskGroup, `timeout`, `wait_for`, queues, `sleep` and a lock in the box's own loop."""
    code = """
        import asyncio
        async def worker(queue, out):
            while (item := await queue.get()) is not None:
                out.append((await mcp.lab.echo(item=item))["item"])
        queue, out = asyncio.Queue(), []
        async with asyncio.TaskGroup() as group:
            group.create_task(worker(queue, out))
            for item in (1, 2, None):
                await queue.put(item)
        try:
            async with asyncio.timeout(0.05):
                await asyncio.sleep(30)
        except TimeoutError:
            out.append("timeout")
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        except TimeoutError:
            out.append("wait_for")
        out
    """
    assert (await run(code)).unwrap() == [1, 2, "timeout", "wait_for"]


async def test_a_task_group_passes_on_the_error_of_a_call(run: Any) -> None:
    code = """
        import asyncio
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(mcp.lab.sleep(s=20))
                group.create_task(mcp.lab.fail(message="no"))
        except* ToolError as group:
            found = [exc.message for exc in group.exceptions]
        found
    """
    assert (await run(code)).unwrap() == ["no"]


async def test_a_forgotten_task_does_not_outlive_the_run(run: Any, world: Lab) -> None:
    code = """
        import asyncio
        task = asyncio.create_task(mcp.lab.sleep(s=20))
        await mcp.lab.echo()
        "done"
    """
    found = await run(code)
    assert found.unwrap() == "done"
    assert found.duration_ms < 5000
    assert world.cancelled == ["sleep"]


# Calls


async def test_twenty_gathered_calls(run: Any, world: Lab) -> None:
    """F8: 20 results in their places though the last is answered first, unique ids, one layer."""
    code = """
        import asyncio
        await asyncio.gather(*[mcp.lab.look(n=n) for n in range(20, 0, -1)])
    """
    found = await run(code)
    assert found.unwrap() == [{"n": n} for n in range(20, 0, -1)]
    assert sorted(record.call_id for record in found.calls) == list(range(1, 21))
    assert {record.layer for record in found.calls} == {0}
    assert len(found.trace["taskResults"]) == 20
    assert world.most_at_once == 20
    assert [record.completion_order for record in found.calls] != list(range(20))


async def test_calls_of_a_loop_are_iterations_of_one_line(run: Any) -> None:
    """F22: three calls from one line are iterations 1 to 3, each in a layer of its own, and the trace has them."""
    code = "out = []\nfor n in range(3):\n    out.append(await mcp.lab.echo(n=n))\nawait mcp.lab.echo(n=9)"
    found = await run(code)
    assert [(r.line, r.iteration, r.layer) for r in found.calls] == [(3, 1, 0), (3, 2, 1), (3, 3, 2), (4, 1, 3)]
    tasks = found.trace["taskResults"]
    assert [(t["callSite"], t["iteration"], t["layerIndex"]) for t in tasks] == [
        (3, 1, 0),
        (3, 2, 1),
        (3, 3, 2),
        (4, 1, 3),
    ]


async def test_nested_json_goes_both_ways(run: Any) -> None:
    """F5: what a tool is given and what it answers are the same JSON."""
    value = {"a": [1, 2.5, None, True, {"ü": '\u0000\u2028"\\'}], "big": 2**70, "empty": [[], {}, ""]}
    found = await run("await mcp.lab.echo(**args)", value)
    assert found.unwrap() == value
    assert found.calls[0].args == value


async def test_names_that_are_no_identifiers_are_items(run: Any) -> None:
    """F5: `mcp["my-server"]["do-it"]`, and keywords as names."""
    found = await run('[await mcp["my-server"]["do-it"](x=1), await mcp.lab["class"](y=2)]')
    assert found.unwrap() == [{"x": 1}, {"y": 2}]
    assert [record.tool for record in found.calls] == ["do-it", "class"]


@pytest.mark.parametrize(
    "code",
    [
        "mcp.lab.echo(x=1).close()",
        "import warnings\nwarnings.simplefilter('ignore')\nmcp.lab.echo(x=1)\nNone",
        "mcp.lab",
        "mcp.nowhere.nothing\nNone",
        "try:\n    await mcp.lab\nexcept TypeError:\n    pass",
        "try:\n    await mcp.lab.echo\nexcept TypeError:\n    pass",
        "import copy\ntry:\n    copy.copy(mcp.lab)\nexcept Exception:\n    pass",
        "try:\n    mcp.lab.echo(1)\nexcept TypeError:\n    pass",
        "repr([mcp, mcp.lab, mcp.lab.echo])",
        "hasattr(mcp, '__iter__'), hasattr(mcp.lab, '__await__')",
    ],
)
async def test_looking_at_a_tool_calls_nothing(run: Any, world: Lab, code: str) -> None:
    """F5: only awaiting a call does something."""
    found = await run(code)
    assert world.made == []
    assert found.calls == []


async def test_positional_arguments_are_refused_with_the_way_out(run: Any) -> None:
    found = await run("await mcp.lab.echo('text')")
    assert found.error.code == Code.CAPABILITY_ERROR
    assert found.error.message == "TypeError: lab.echo() takes arguments by name: echo(name=value)"
    assert found.error.line == 1


@pytest.mark.parametrize("value", ["{1, 2}", "float('nan')", "b'x'", "object()"])
async def test_arguments_that_are_no_json_are_an_error_naming_the_tool(run: Any, world: Lab, value: str) -> None:
    found = await run(f"await mcp.lab.echo(x={value})")
    assert found.error.code == Code.CAPABILITY_ERROR
    assert "echo" in found.error.message
    assert "are not JSON" in found.error.message
    assert world.made == []


@pytest.mark.parametrize("name", ["ToolError", "mcp.ToolError", "Exception"])
async def test_a_tool_error_can_be_caught_and_read(run: Any, name: str) -> None:
    """F7: code, message and data, whatever name it is caught by."""
    code = f"""
        try:
            await mcp.lab.fail(message="no such branch", data={{"exit": 128}})
        except {name} as exc:
            found = [exc.code, exc.message, exc.data, str(exc)]
        found
    """
    found = await run(code)
    assert found.unwrap() == ["RPC_ERROR", "no such branch", {"exit": 128}, "RPC_ERROR: no such branch"]
    assert found.calls[0].state == "failed"


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("lab.fail(message='timeout: EXECUTION_TIMEOUT, PERMISSION_DENIED')", Code.RPC_ERROR),
        ("lab.crash(secret='hunter2')", Code.RPC_ERROR),
        ("lab.notjson()", Code.RPC_ERROR),
        ("lab.nothing()", Code.UNKNOWN_TOOL),
        ("nowhere.echo()", Code.UNKNOWN_TOOL),
        ("down.echo()", Code.UPSTREAM_UNAVAILABLE),
    ],
)
async def test_an_uncaught_tool_error_ends_the_run_with_its_code(run: Any, call: str, code: Code) -> None:
    """F7: the code travels as itself; no words of a message become one."""
    found = await run(f"x = 1\nawait mcp.{call}")
    assert found.error.code == code
    assert found.error.line == 2
    assert found.calls[0].error_code == code
    assert found.trace["errorCode"] == code
    assert "hunter2" not in found.error.message


async def test_a_code_of_its_own_making_is_not_believed(run: Any) -> None:
    """F7: a capability that raises `ToolError("APPROVAL_REQUIRED", ...)` only failed."""
    for code in ("APPROVAL_REQUIRED", "EXECUTION_TIMEOUT", "WALL_MISSING", "WORKER_CRASH", "PERMISSION_DENIED", "X"):
        found = await run(f"raise ToolError({code!r}, 'mine')")
        assert found.error.code == Code.CAPABILITY_ERROR


# Results


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("float('nan')", "not JSON"),
        ("[float('inf')]", "not JSON"),
        ("b'bytes'", "bytes"),
        ("{1, 2}", "set"),
        ("import datetime\ndatetime.datetime(2026, 1, 1)", "datetime"),
        ("x = []\nx.append(x)\nx", "ircular"),
        ("async def go():\n    pass\ngo()", "`await` is missing"),
        ("mcp.lab.echo(a=1)", "`await` is missing"),
        ("'\\ud800'", "surrogate"),
        ("{(1, 2): 3}", "keys"),
        ("10**5000", "not JSON"),
        ("x = []\nfor _ in range(65):\n    x = [x]\nx", "not JSON"),
        ("x = []\nfor _ in range(3000):\n    x = [x]\nx", "not JSON"),
        ("mcp", "not JSON"),
    ],
)
async def test_a_result_that_is_no_json_is_named(run: Any, code: str, said: str) -> None:
    """F4: what cannot be JSON is RESULT_NOT_JSON with the reason, never a value that is something else."""
    found = await run(code)
    assert found.error is not None
    assert (found.error.code, found.value) == (Code.RESULT_NOT_JSON, None)
    assert said in found.error.message


async def test_a_result_64_deep_is_taken(run: Any) -> None:
    found = (await run("x = 1\nfor _ in range(64):\n    x = [x]\nx")).unwrap()
    assert json.dumps(found).count("[") == 64


async def test_a_class_between_json_and_not_is_converted_as_json_does(run: Any) -> None:
    code = """
        import enum, collections
        class Colour(enum.IntEnum):
            RED = 1
        class Text(str):
            pass
        [Colour.RED, Text("t"), collections.OrderedDict(a=1), collections.namedtuple("P", "x y")(1, 2), -0.0]
    """
    found = (await run(code)).unwrap()
    assert found == [1, "t", {"a": 1}, [1, 2], 0.0]
    assert math.copysign(1, found[-1]) == -1


# Failures


@pytest.mark.parametrize(
    ("code", "line", "said"),
    [
        ("x = 1\n1 / 0", 2, "ZeroDivisionError"),
        ("def f():\n    raise ValueError('why')\nf()", 2, "ValueError: why"),
        ("import json\njson.loads('{')", 2, "JSONDecodeError"),
        ("raise KeyboardInterrupt", 1, "KeyboardInterrupt"),
        ("class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E", 4, "E"),
        ("import sys\nsys.exit(3)", 2, "sys.exit(3)"),
        ("exit", None, ""),
        ("def f():\n    f()\nf()", 2, "RecursionError"),
    ],
)
async def test_a_failure_says_where(run: Any, code: str, line: int | None, said: str) -> None:
    """The line is the capability's own, the traceback holds its frames alone."""
    found = await run(code)
    assert found.error is not None
    assert found.error.code in (Code.CAPABILITY_ERROR, Code.RESULT_NOT_JSON)
    assert said in found.error.message
    if line:
        assert found.error.line == line
        assert "belljar" not in found.error.traceback.replace("<capability>", "")
        assert "/python/" not in found.error.traceback
        assert "\n" not in found.error.message


@pytest.mark.parametrize(
    ("code", "line"), [("x = (", 1), ("x = 1\nif x\n    pass", 2), ("return 1", 1), ("x = 1\n  y", 2), ("await", 1)]
)
async def test_a_syntax_error_has_line_and_caret(run: Any, code: str, line: int) -> None:
    found = await run(code)
    assert (found.error.code, found.error.line) == (Code.SYNTAX_ERROR, line)
    assert found.error.message.startswith(f"line {line}: ")


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos._exit(0)",
        "x = []\nfor _ in range(100_000):\n    x = [x]\nx = None",
        "import os\nos.abort()",
        "import sys\nsys.setrecursionlimit(10**9)\ndef f():\n    f()\nf()",
        "import sys\nsys.setrecursionlimit(10**9)\nx = []\nfor _ in range(10**6):\n    x = [x]\nrepr(x)",
        "import sys\nsys.stdout = sys.stderr = None\nsys.modules.clear()\n1 / 0",
        "import asyncio, builtins\nfor n in list(vars(builtins)):\n    delattr(builtins, n)",
        "import gc\nfor o in gc.get_objects():\n    if isinstance(o, dict): o.clear()\n1 / 0",
        "raise SystemExit",
        "import threading\nthreading.Thread(target=print).start()",
    ],
)
async def test_an_interpreter_that_ends_itself_is_a_named_error_and_nobody_elses(run: Any, code: str) -> None:
    """F1: whatever a capability does to its interpreter ends its own run with a code; the next one works."""
    found = await run(code, wall=10)
    assert found.error is not None
    assert found.error.code in (Code.CAPABILITY_ERROR, Code.WORKER_CRASH, Code.MEMORY_LIMIT, Code.RESULT_NOT_JSON)
    assert "\n" not in found.error.message
    assert len(found.error.message) < 1000
    assert (await run("1 + 1")).unwrap() == 2


# Prints


async def test_prints_are_kept_as_text(run: Any) -> None:
    """F4: both streams, bytes that are not UTF-8, NUL and control characters, a surrogate, os.write."""
    code = r"""
        import os, sys
        print("out", "ü€🎈")
        print("err", file=sys.stderr)
        print("\x1b[31mred\x00")
        sys.stdout.buffer.write(b"\xff\xfe|")
        print("\ud800")
        os.write(1, b"raw\n")
        os.write(2, b"raw error\n")
        sys.stdout.write("no newline")
        None
    """
    found = await run(code)
    assert found.unwrap() is None
    assert found.stdout.startswith("out ü€🎈\n\x1b[31mred\x00\n\ufffd\ufffd|\\ud800\n")
    assert "raw\n" in found.stdout
    assert found.stdout.endswith("no newline")
    assert found.stderr == "err\nraw error\n"


# Decisions


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("x = 1\nif x:\n    pass", [("L2", "true")]),
        ("x = 0\nif x:\n    pass\nelse:\n    x = 2", [("L2", "false")]),
        ("x = 2\nif x == 1:\n    x\nelif x == 2:\n    x = 5\nelse:\n    x", [("L2", "false"), ("L4", "true")]),
        ("x = 3\nif x == 1:\n    x\nelif x == 2:\n    x\nelse:\n    x = 6", [("L2", "false"), ("L4", "false")]),
        ("n = 0\nwhile n < 2:\n    n += 1", [("L2", "true"), ("L2", "true"), ("L2", "false")]),
        ("n = 0\nwhile n < 2:\n    n += 1\nn", [("L2", "true"), ("L2", "true"), ("L2", "false")]),
        ("x = 5\ny = 'a' if x > 3 else 'b'", [("L2", "true")]),
        ("x = 1\ny = 'a' if x > 3 else 'b'", [("L2", "false")]),
        ("def f(x):\n    if x:\n        return 1\n    return 2\nf(1)\nf(0)", [("L2", "true"), ("L2", "false")]),
        ("async def main():\n    if args:\n        return 1\n    return 2", [("L2", "false")]),
        (
            "match 2:\n    case 1:\n        x = 1\n    case 2:\n        x = 2\n    case _:\n        x = 3",
            [("L1", "case:2")],
        ),
        ("match 'a':\n    case 'b':\n        x = 1\n    case 'a':\n        x = 2", [("L1", "case:2")]),
        ("a, b = 1, 0\nif a and b:\n    x = 1\nelse:\n    x = 2", [("L2", "false")]),
        ("a, b = 1, 1\nif a and b:\n    x = 1", [("L2", "true")]),
        ("a, b = 0, 1\nif a or b:\n    x = 1", [("L2", "true")]),
        ("a = None\nif not a:\n    x = 1", [("L2", "true")]),
        ("a = None\nif a is None:\n    x = 1", [("L2", "true")]),
        ("x = [n for n in range(3)]", []),
        ("for n in range(3):\n    pass", []),
    ],
)
async def test_each_branch_is_seen_with_its_outcome(run: Any, code: str, expected: list[tuple[str, str]]) -> None:
    """F20: if, elif, else, while, conditional expressions, match; in functions too; a compound test is one decision."""
    found = await run(code)
    assert found.error is None
    assert decisions(found) == expected


async def test_a_test_that_awaits_a_call_is_a_decision(run: Any) -> None:
    """F20: the branch that depends on an answer is the one that matters."""
    found = await run("if (await mcp.lab.echo(ok=True))['ok']:\n    x = 1\nelse:\n    x = 2")
    assert decisions(found) == [("L1", "true")]


async def test_a_condition_is_in_the_trace_without_its_secrets(run: Any) -> None:
    """F20: the text of a condition is the capability's, and masked as every other."""
    found = await run("n = 1\nif n == 1 and 'AKIAZ7VRSQ5TJN2XMPLQ' != 'x':\n    pass")
    assert found.trace["decisions"][0]["condition"] == "n == 1 and '[REDACTED]' != 'x'"


async def test_hot_loops_are_cut(run: Any) -> None:
    """F20: 100 from one branch, 1000 in all, and the rest runs at full speed."""
    one = await run("n = 0\nwhile n < 100_000:\n    n += 1")
    assert decisions(one) == [("L2", "true")] * 100
    branches = "\n".join(f"    if n % {k}:\n        pass" for k in range(2, 22))
    many = await run(f"for n in range(500):\n{branches}")
    assert many.error is None
    assert len(decisions(many)) == 1000


async def test_decisions_are_reported_of_a_failed_run_too(run: Any) -> None:
    """F20."""
    found = await run("x = 1\nif x:\n    1 / 0")
    assert found.error.line == 3
    assert decisions(found) == [("L2", "true")]


# Determinism


RANDOM = """
    import os, random, secrets, uuid
    [random.random(), str(uuid.uuid4()), os.urandom(8).hex(), secrets.token_hex(8), id(object()),
     random.sample(range(99), 5),
     hash("text"), list({"a", "b", "c", "d"})]
"""


async def test_a_seed_gives_the_same_random_values(run: Any) -> None:
    """F21: same seed, same box; another seed, and each run without one, is another box."""
    first, again, other = await run(RANDOM, seed=SEED), await run(RANDOM, seed=SEED), await run(RANDOM, seed="00" * 32)
    assert first.unwrap() == again.unwrap()
    for one, two in zip(first.value[:4], other.unwrap()[:4], strict=True):
        assert one != two
    free, free_again = (await run(RANDOM)).unwrap(), (await run(RANDOM)).unwrap()
    for one, two in zip(free[:4], free_again[:4], strict=True):
        assert one != two


CALLS = """
    import asyncio, random, time, uuid
    log = []
    async def ask(n):
        await asyncio.sleep(random.random() / 500)
        try:
            found = await mcp.lab.look(n=random.randrange(20))
        except ToolError as exc:
            found = exc.code
        log.append([n, found, time.time_ns(), time.monotonic_ns(), str(uuid.uuid4())])
        if n % 3 == 0:
            try:
                await mcp.lab.fail(message=str(n), data=n)
            except ToolError as exc:
                log.append([n, exc.message, exc.data])
    await asyncio.gather(*[ask(n) for n in range(12)])
    print(len(log), time.time())
    log
"""


@pytest.mark.parametrize("attempt", range(5))
async def test_a_replay_is_the_run(run: Any, jar: Any, attempt: int) -> None:
    """replay(record(run)) == run, under gather, with timers, clocks and answers in any order; no world is asked."""
    found = await run(CALLS)
    found.unwrap()
    recording = found.recording()
    jar.world = nobody = Lab()
    again = await jar.replay(recording)
    assert again.unwrap() == found.value
    assert again.stdout == found.stdout
    assert [(r.tool, r.args, r.value, r.state, r.layer) for r in again.calls] == [
        (r.tool, r.args, r.value, r.state, r.layer) for r in found.calls
    ]
    assert {r.source for r in again.calls} == {"replay"}
    assert nobody.made == []


async def test_a_replay_of_a_failed_run_fails_the_same(run: Any, jar: Any) -> None:
    found = await run("import random\nawait mcp.lab.echo(x=random.random())\nraise ValueError(random.random())")
    again = await jar.replay(found.recording())
    assert again.error == found.error


async def test_a_replay_that_differs_stops(run: Any, jar: Any, tmp_path: Any) -> None:
    """Another guest than the recorded one: the first call that differs ends the run with both calls side by side."""
    found = await run("await mcp.lab.echo(x=args['x'])\nawait mcp.lab.echo(x=2)", {"x": 1})
    recording = found.recording()
    other = Recording(recording.code, '{"x":5}', recording.clock, recording.entries, recording.calls, recording.head)
    again = await jar.replay(other)
    assert again.error.code == Code.REPLAY_DIVERGENCE
    assert '{"x":5}' in again.error.message
    assert '{"x":1}' in again.error.message
    assert again.error.line == 1


@pytest.mark.parametrize("code", ["(" * 150 + ")" * 150, "-" * 200_000 + "1"])
async def test_code_nested_too_deeply_is_a_syntax_error(run: Any, code: str) -> None:
    """Not a lack of memory, which is how CPython's parser puts it."""
    ended = await run(code)
    assert ended.error is not None
    assert ended.error.code == Code.SYNTAX_ERROR
    assert "nested" in ended.error.message


@pytest.mark.parametrize("calls", ['"{}"', '" " * (40 << 20) + "[]"', '"x" * (100 << 20)'])
async def test_calls_of_another_shape_are_a_violation(run: Any, calls: str) -> None:
    """What the guest hands over is checked by the worker, also its size."""
    ended = await run(f"import wit_world\nwit_world.step({calls}, 0)")
    assert ended.error is not None
    assert ended.error.code == Code.PROTOCOL_ERROR
