"""The jar: a run from code to value, trace and recording, and what is refused before a box is spent on it."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from belljar._run import Run
from belljar.config import TracingConfig
from belljar.errors import BelljarError, Code, ConfigError, GuestError, ValidationError
from belljar.jar import Jar, RunOptions, open_jar
from belljar.limits import Limits
from belljar.rpc.ledger import verify
from belljar.rpc.policy import Policy
from belljar.rpc.recording import Recording
from belljar.rpc.servers import parse_servers
from belljar.tracing.sink import TraceSink
from tests.worlds import ALL, Lab, config_in, guest_cache_in

pytestmark = pytest.mark.anyio

OPTIONS = RunOptions(policy=ALL, limits=Limits().with_(wall=20))
SEED = "5e" * 32


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def jar(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Jar]:
    config = config_in(tmp_path_factory.mktemp("jar"), guest_cache_in(tmp_path_factory))
    async with open_jar(config, world=Lab()) as jar:
        yield jar


@pytest.fixture
def world(jar: Jar) -> Lab:
    jar.world = world = Lab()
    return world


# Leaving


async def test_a_run_is_captured_also_when_the_block_is_left_at_once(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """F18, F35: an exception right behind a run, or a cancelled task, takes no trace away."""
    config = config_in(tmp_path, guest_cache_in(tmp_path_factory))
    with caplog.at_level(logging.DEBUG, "belljar.trace"):
        with pytest.raises(KeyError):
            async with open_jar(config, world=Lab()) as jar:
                first = await jar.run("1")
                raise KeyError
        with anyio.CancelScope() as scope:
            async with open_jar(config, world=Lab()) as jar:
                second = await jar.run("2")
                scope.cancel()
                await anyio.sleep_forever()
    logged = [json.loads(record.getMessage())["traceId"] for record in caplog.records]
    assert logged == [first.run_id, second.run_id]


async def test_many_large_calls_at_once(jar: Jar, world: Lab) -> None:
    """F8: more than fits the socket both ways, and more than may be in flight: neither side waits for the other."""
    code = "import asyncio\nlen(await asyncio.gather(*[mcp.lab.echo(n=n, x='x' * 10000) for n in range(300)]))"
    done = await jar.run(code, options=OPTIONS)
    assert done.unwrap() == 300


# Refused before there is a box


async def test_code_is_measured_by_the_runs_own_limit(jar: Jar) -> None:
    """F9: a limit given with one run counts for that run's code."""
    with pytest.raises(ValidationError, match="code"):
        await jar.run("1" * 200, options=RunOptions(limits=Limits().with_(code=100)))


TAKES_A_PATH = "def main(path: str, depth: int = 1):\n    return path"


@pytest.mark.parametrize(
    ("code", "args", "said"),
    [
        (TAKES_A_PATH, {}, "path"),
        (TAKES_A_PATH, {"path": 3}, "path"),
        (TAKES_A_PATH, {"path": ".", "depth": "x"}, "depth"),
        (TAKES_A_PATH, {"path": ".", "more": 1}, "more"),
        ("1", [1], "object"),
        ("1", {"x": float("nan")}, "JSON"),
        ("1", {"x": b"y"}, "JSON"),
        ("", {}, "empty"),
        ("x\0", {}, "NUL"),
        ("# " + "x" * 300_000, {}, "--limit code="),
    ],
)
async def test_what_cannot_be_is_refused_before_a_box_exists(tmp_path: Path, code: str, args: Any, said: str) -> None:
    """F9, F17: VALIDATION_ERROR that names it; the pool has not so much as a zygote."""
    async with open_jar(config_in(tmp_path, tmp_path / "cache"), world=Lab()) as jar:
        with pytest.raises(ValidationError, match=re.escape(said)) as caught:
            await jar.run(code, args)
        assert "\n" not in caught.value.message
        assert jar.pool.pids() == []
    assert not (tmp_path / "cache").exists()


async def test_a_file_is_a_capability(jar: Jar, tmp_path: Path) -> None:
    """F9: a `Path` is read, a `str` is code; a file that is not there is named."""
    (tmp_path / "add.py").write_text("def main(a: int, b: int):\n    return a + b\n")
    found = await jar.run(tmp_path / "add.py", {"a": 1, "b": 2}, OPTIONS)
    assert found.unwrap() == 3
    assert re.fullmatch(r"local\.default\.adhoc\.add\.[0-9a-f]{4}", found.trace["capabilityId"])
    with pytest.raises(ValidationError, match="no file"):
        await jar.run(tmp_path / "none.py")


async def test_dependencies_that_nobody_approved_are_refused(jar: Jar) -> None:
    """APPROVAL_REQUIRED before a box is spent on it; nothing is looked up."""
    code = "# /// script\n# dependencies = ['requests']\n# ///\n1"
    with pytest.raises(BelljarError, match="requests") as caught:
        await jar.run(code)
    assert caught.value.code == Code.APPROVAL_REQUIRED


# Policy, through a real box


@pytest.mark.parametrize(
    ("policy", "call", "code", "state"),
    [
        (Policy(allow=("*",)), "lab.echo()", None, "applied"),
        (Policy(allow=("lab:*",)), "lab.write()", None, "applied"),
        (Policy(allow=("lab:ec*",)), "lab.echo()", None, "applied"),
        (Policy(allow=("*",), deny=("lab:write",)), "lab.write()", Code.PERMISSION_DENIED, "denied"),
        (Policy(allow=("lab:write",), deny=("*",)), "lab.write()", Code.PERMISSION_DENIED, "denied"),
        (Policy(allow=("*",), deny=("down:*",)), "down.echo()", Code.PERMISSION_DENIED, "denied"),
        (Policy(allow=("lab:echo",)), "lab.write()", Code.APPROVAL_REQUIRED, "pending"),
        (Policy(), "lab.echo()", Code.APPROVAL_REQUIRED, "pending"),
        (Policy(allow=("Lab:*",)), "lab.echo()", Code.APPROVAL_REQUIRED, "pending"),
    ],
)
async def test_policy_decides(jar: Jar, world: Lab, policy: Policy, call: str, code: Code | None, state: str) -> None:
    """F12: deny over allow, exact names, and what no rule allows needs a person - whatever the code catches."""
    caught = f"try:\n    await mcp.{call}\nexcept BaseException:\n    raise"
    found = await jar.run(caught, {}, RunOptions(policy=policy, limits=Limits().with_(wall=20)))
    assert (found.error.code if found.error else None) == code
    assert [record.state for record in found.calls] == [state]
    assert bool(world.made) == (code is None)


async def test_a_capability_that_declares_less_gets_less(jar: Jar, world: Lab) -> None:
    """F12: what the metadata block does not list is denied, though the policy allows all."""
    code = "# /// script\n# [tool.belljar]\n# permissions = ['lab:echo']\n# ///\n"
    code += "await mcp.lab.echo()\nawait mcp.lab.write()"
    found = await jar.run(code, {}, OPTIONS)
    assert found.error is not None
    assert found.error.code == Code.PERMISSION_DENIED
    assert [record.state for record in found.calls] == ["applied", "denied"]


async def test_a_small_table_through_the_bridge(jar: Jar, world: Lab) -> None:
    """F5: two hundred rows of nested JSON, changed in the box and sent back."""
    code = """
rows = await mcp.lab.table(n=200)
back = await mcp.lab.echo(rows=[{**row, "sum": row["row"] + row["deep"]["list"][0]} for row in rows])
[len(back["rows"]), back["rows"][7]]
"""
    assert (await jar.run(code, {}, OPTIONS)).unwrap() == [
        200,
        {"row": 7, "name": "n7", "deep": {"list": [7, None, True, 1.5]}, "sum": 14},
    ]


# What a run leaves


CODE = """print('x')
if args['n']:
    found = await mcp.lab.echo(token='hunter2', n=args['n'])
await mcp.lab.write()
found"""


async def test_the_golden_trace_of_a_run(jar: Jar, world: Lab) -> None:
    """F18, F19, F20: every key, and every value that is not a time or an id; nothing secret or printed."""
    found = await jar.run(CODE, {"n": 3}, OPTIONS)
    trace = json.loads(json.dumps(found.trace))
    assert trace["traceId"] == found.run_id
    assert "hunter2" not in json.dumps(trace)
    assert re.fullmatch(r"[0-9a-f]{64}", trace["metadata"]["ledgerHead"])
    assert trace["metadata"]["ledgerHead"] == found.ledger.head
    assert {"wasm", "seccomp", "landlock"} <= set(trace["metadata"].pop("walls"))
    for timed in (trace, *trace["taskResults"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", timed.pop("timestamp"))
        assert timed.pop("durationMs") >= 0
    for made in ("traceId", "capabilityHash", "capabilityId"):
        assert trace.pop(made)
    for made in ("ledgerHead", "sdkVersion"):
        assert trace["metadata"].pop(made)
    shared = {"success": True, "state": "applied", "iteration": 1, "source": "real", "isCapabilityCall": False}
    shared |= {"grant": "allow *"}
    assert trace == {
        "success": True,
        "taskResults": [
            {
                "taskId": "t1",
                "tool": "lab:echo",
                "args": {"token": "[REDACTED]", "n": 3},
                "result": {"token": "[REDACTED]", "n": 3},
                "layerIndex": 0,
                "callSite": 3,
                "isWrite": False,
                **shared,
            },
            {
                "taskId": "t2",
                "tool": "lab:write",
                "args": {},
                "result": 1,
                "layerIndex": 1,
                "callSite": 4,
                "isWrite": True,
                **shared,
            },
        ],
        "decisions": [{"nodeId": "L2", "outcome": "true", "condition": "args['n']"}],
        "metadata": {
            "backend": "wasm",
            "redactions": {"SECRET": 2},
            "truncated": {},
            "mockedShare": 0.0,
            "decisions": "guest-reported",
        },
    }


PLANTED = ("AKIAZ7VRSQ5TJN2XMPLQ", "4111 1111 1111 1111", "ann.lee@corp.com")
UUID = "019a0000-0000-7000-8000-000000000001"
SAYS = " / ".join((*PLANTED, UUID))
MASKED = f"[REDACTED] / [CARD] / [EMAIL] / {UUID}"
PLANTS = """
print(args['said'])
found = await mcp.lab.echo(said=args['said'])
if args['fails'] == 'tool':
    await mcp.lab.fail(message=args['said'])
if args['fails'] == 'code':
    raise ValueError(args['said'])
found['said']
"""


@pytest.mark.parametrize("fails", ["", "tool", "code"])
async def test_no_secret_and_no_person_is_in_a_trace(jar: Jar, world: Lab, fails: str) -> None:
    """F27: key, card and address in arguments, results, errors and intent are masked, a UUID is whole; the run's own
    value and prints are untouched."""
    options = RunOptions(policy=ALL, limits=Limits().with_(wall=20), intent=f"for {SAYS}")
    found = await jar.run(PLANTS, {"said": SAYS, "fails": fails}, options)
    told = json.dumps(found.trace)
    assert [planted for planted in PLANTED if planted in told] == []
    assert found.trace["intent"] == f"for {MASKED}"
    assert found.trace["taskResults"][0]["args"] == {"said": MASKED}
    assert found.trace["taskResults"][0]["result"] == {"said": MASKED}
    assert {"SECRET", "CARD", "EMAIL"} == set(found.trace["metadata"]["redactions"])
    assert found.stdout == SAYS + "\n"
    assert found.calls[0].args == {"said": SAYS}
    if not fails:
        assert found.value == SAYS
        return
    assert found.error is not None
    assert SAYS in found.error.message
    assert MASKED in found.trace["errorMessage"]
    if fails == "tool":
        assert MASKED in found.trace["taskResults"][1]["result"]["message"]


async def test_a_servers_secret_is_masked_where_it_comes_back(jar: Jar) -> None:
    """F27, F83: no format tells that it is one; that a server was given it does. The key of this program, too."""
    text = '{"mcpServers": {"lab": {"command": "/bin/cat", "env": {"LAB_TOKEN": "${LAB_TOKEN}"}}}}'
    servers = parse_servers(text, {"LAB_TOKEN": "blue horse 77"})
    config = replace(jar.config, tracing=TracingConfig(api_key="bj-none-of-a-format"))
    code = "[await mcp.lab.echo(note='a blue horse 77, a bj-none-of-a-format'), 'blue horse 77']"
    async with open_jar(config, servers=servers, world=Lab(), traces=False) as other:
        found = await other.run(code, {}, OPTIONS)
    assert found.value[1] == "blue horse 77"
    assert found.trace["taskResults"][0]["result"] == {"note": "a [REDACTED], a [REDACTED]"}
    assert "horse" not in json.dumps(found.trace)
    assert found.trace is found.trace


async def test_a_trace_that_cannot_be_masked_has_no_values(
    jar: Jar, world: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F27: the run is what it was, its trace an error."""

    def broken(*_args: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr("belljar.tracing.outbound.Outbound.texts", broken)
    found = await jar.run("await mcp.lab.echo(word='plain')", {}, OPTIONS)
    assert found.value == {"word": "plain"}
    assert "plain" not in json.dumps(found.trace)
    assert (found.trace["traceId"], found.trace["metadata"]["redactions"]) == (found.run_id, {"ERROR": 1})


async def test_what_a_run_says_of_itself(jar: Jar, world: Lab) -> None:
    """F18: the object of `--json`, for a good run and a failed one."""
    good = (await jar.run(CODE, {"n": 3}, OPTIONS)).to_json()
    assert list(good) == ["runId", "success", "value", "error", "durationMs", "stdout", "stderr", "calls", "trace"]
    assert (good["success"], good["error"], good["stdout"]) == (True, None, "x\n")
    keys = ["callId", "server", "tool", "state", "durationMs", "source", "grant"]
    assert [list(call) for call in good["calls"]] == [keys] * 2
    bad = await jar.run("x = 1\n1 / 0", {}, OPTIONS)
    assert bad.to_json()["error"] == {
        "code": "CAPABILITY_ERROR",
        "message": "ZeroDivisionError: division by zero",
        "line": 2,
    }
    assert bad.trace["errorCode"] == "CAPABILITY_ERROR"
    with pytest.raises(GuestError, match="division") as caught:
        bad.unwrap()
    assert (caught.value.code, caught.value.line) == (Code.CAPABILITY_ERROR, 2)
    json.dumps(good)


async def test_the_ledger_of_a_run_is_whole(jar: Jar, world: Lab) -> None:
    """F18: the chain verifies and its head is the one in the trace."""
    found = await jar.run(CODE, {"n": 3}, OPTIONS)
    entries = found.ledger.entries()
    assert verify(entries) == found.trace["metadata"]["ledgerHead"]
    assert [entry["kind"] for entry in entries] == ["open", "call", "end", "call", "end", "close"]
    assert (entries[0]["facts"]["backend"], entries[-1]["outcome"]) == ("wasm", "ok")


@pytest.mark.parametrize("code", ["1", "1 / 0", "x = (", "while True: pass", "await mcp.lab.nothing()", "object()"])
async def test_exactly_one_trace_a_run_on_the_debug_log(
    jar: Jar, world: Lab, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    """F18, F34: success or failure, one DEBUG line of JSON on `belljar.trace`, when the run is captured."""
    with caplog.at_level(logging.DEBUG, "belljar.trace"):
        found = await jar.run(code, {}, RunOptions(policy=ALL, limits=Limits().with_(wall=1)))
        with anyio.fail_after(5):
            await found.captured()
    lines = [record for record in caplog.records if record.name == "belljar.trace"]
    assert [record.levelno for record in lines] == [logging.DEBUG]
    assert json.loads(lines[0].getMessage()) == json.loads(json.dumps(found.trace))


async def test_a_long_trace_is_made_beside_the_loop(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F34: a short trace is appended in the next turn of the loop; a long one is made in a thread, and so is any that a
    handler of a log takes."""
    threads, take = list[int](), TraceSink.take

    def noting(self: TraceSink, make: Any) -> None:
        threads.append(threading.get_ident())
        take(self, make)

    monkeypatch.setattr(TraceSink, "take", noting)
    config = config_in(tmp_path, guest_cache_in(tmp_path_factory))
    config = replace(config, tracing=TracingConfig(cloud_url="http://127.0.0.1:9", exit_flush_s=0))
    async with open_jar(config, world=Lab()) as jar:
        await anyio.to_thread.run_sync(jar._traces.prepare)
        for code, level in (("1", "INFO"), ("await mcp.lab.echo(x='y' * 40_000)", "INFO"), ("1", "DEBUG")):
            with caplog.at_level(level, "belljar.trace"):
                run = await jar.run(code, {}, OPTIONS)
                await run.captured()
            assert run.success
    assert [ident == threading.get_ident() for ident in threads] == [True, False, False]


async def test_misuse_leaves_no_trace(jar: Jar, caplog: pytest.LogCaptureFixture) -> None:
    """F34: nothing ran, so there is nothing to tell."""
    with caplog.at_level(logging.DEBUG, "belljar.trace"):
        with pytest.raises(ValidationError):
            await jar.run("", {}, OPTIONS)
        await anyio.wait_all_tasks_blocked()
    assert caplog.records == []


async def test_runs_are_captured_though_nobody_listens(jar: Jar) -> None:
    """F34: more runs than may be uncaptured at once."""
    runs = [await jar.run("1", {}, OPTIONS) for _ in range(70)]
    with anyio.fail_after(5):
        for found in runs:
            await found.captured()
    assert len({found.run_id for found in runs}) == 70


async def test_interrupting_ends_every_run(jar: Jar, world: Lab) -> None:
    """Ctrl-C: each run ends INTERRUPTED, and the jar goes on."""
    ends: list[Run] = []

    async def one() -> None:
        ends.append(await jar.run("await mcp.lab.hold()", {}, OPTIONS))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one)
        tasks.start_soon(one)
        with anyio.fail_after(15):
            while world.at_once < 2:  # noqa: ASYNC110 - the world counts, it does not tell
                await anyio.sleep(0.01)
        jar.interrupt()
    assert [found.error.code for found in ends if found.error] == [Code.INTERRUPTED] * 2
    assert (await jar.run("1", {}, OPTIONS)).unwrap() == 1


async def test_a_recording_survives_a_file(jar: Jar, world: Lab, tmp_path: Path) -> None:
    """replay(load(save(record(run)))) == run, with random values and clocks."""
    code = "import random, time\n[random.random(), time.time_ns(), await mcp.lab.echo(x=random.random())]"
    found = await jar.run(code, {}, OPTIONS)
    path = tmp_path / "recording"
    found.recording().save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    again = await jar.replay(Recording.load(path, head=found.ledger.head), OPTIONS)
    assert again.unwrap() == found.unwrap()
    assert again.trace["metadata"]["mockedShare"] == 1.0


async def test_an_unknown_wall_is_misuse(jar: Jar) -> None:
    """F1: doing without a wall there is none of must not pass silently."""
    with anyio.fail_after(60), pytest.raises(ConfigError):
        await jar.run("1", {}, RunOptions(waive=frozenset({"moat"})))
