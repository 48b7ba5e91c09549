"""call_roundtrip: one `mcp` call from the guest through bridge, policy and ledger to a null world, and back.

A run with a hundred calls and the same run with none are taken in turn; the difference, divided, is what a call costs.
The time is the host's, from the code's way into the box to its result. Baseline: two processes on asyncio that pass a
line of about the size of a call to and fro, and do nothing else.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from belljar.jar import Jar, RunOptions
from belljar.rpc.policy import Policy
from belljar.rpc.world import Answer, JsonValue, ToolInfo
from benchmarks.conftest import Held, OpenJar
from benchmarks.report import Baseline, Figure, Report, median, per

_CALLS = 100
_ROUNDS = 25
_ALLOW = RunOptions(policy=Policy(allow=("null:*",)))
_LINE = b"x" * 63 + b"\n"

_SEQUENCE = """\
for i in range(args["calls"]):
    await mcp.null.echo(n=i)
"""
_GATHERED = """\
import asyncio
await asyncio.gather(*(mcp.null.echo(n=i) for i in range(args["calls"])))
None
"""
_PONG = """\
import asyncio, socket, sys
async def main():
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=int(sys.argv[1])))
    while line := await reader.readline():
        writer.write(line)
asyncio.run(main())
"""


class NullWorld:
    """A world in this process, with one tool that answers at once."""

    name = "real"

    def servers(self) -> tuple[str, ...]:
        return ("null",)

    async def tools(self, server: str) -> Mapping[str, ToolInfo]:
        return {"echo": ToolInfo(server, "echo", input_schema={"type": "object"})}

    async def call(self, tool: ToolInfo, args: Mapping[str, JsonValue]) -> Answer:
        return Answer({"ok": 1})


async def _seconds(jar: Jar, code: str, calls: int) -> float:
    run = await jar.run(code, {"calls": calls}, _ALLOW)
    assert run.success, run.error
    assert len(run.calls) == calls
    return run.duration_ms / 1e3


@asynccontextmanager
async def _pong() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    ours, theirs = socket.socketpair()
    with theirs:
        fd = theirs.fileno()
        process = await asyncio.create_subprocess_exec(sys.executable, "-I", "-c", _PONG, str(fd), pass_fds=(fd,))
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()
        await process.wait()


async def _ping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, at_once: int) -> float:
    """Seconds a line takes there and back, `at_once` of them on the way at a time."""
    began = time.perf_counter()
    for _ in range(_CALLS // at_once):
        writer.writelines([_LINE] * at_once)
        for _ in range(at_once):
            await reader.readline()
    return (time.perf_counter() - began) / _CALLS


@pytest.mark.parametrize(
    ("case", "code", "at_once", "reach"),
    [("in sequence", _SEQUENCE, 1, "<= 180 us"), ("gathered", _GATHERED, _CALLS, "<= 150 us")],
    ids=["sequence", "gathered"],
)
def test_call_roundtrip(
    benchmark: BenchmarkFixture,
    held: Held,
    open_held_jar: OpenJar,
    report: Report,
    case: str,
    code: str,
    at_once: int,
    reach: str,
) -> None:
    jar = open_held_jar(world=NullWorld())
    reader, writer = held.enter(_pong())
    full: list[float] = []
    empty: list[float] = []
    lines: list[float] = []

    def beside() -> None:
        lines.append(held(_ping(reader, writer, at_once)))
        empty.append(held(_seconds(jar, code, 0)))

    benchmark.pedantic(
        lambda: full.append(held(_seconds(jar, code, _CALLS))), setup=beside, rounds=_ROUNDS, warmup_rounds=2
    )
    base = Baseline("socketpair ping-pong", median(lines[2:]))
    report.add(Figure("call_roundtrip", f"baseline: ping-pong, {case}", f"a line of {len(_LINE)} B", lines[2:]))
    payload = 'echo(n=i) -> {"ok": 1}, ' + f"{_CALLS} calls"
    report.add(Figure("call_roundtrip", f"a call, {case}", payload, per(_CALLS, full, empty)[2:], [base], reach))
