"""Whose call a world answers: set for the length of the answer, in the task that gives it, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from belljar.errors import UpstreamError
from belljar.limits import Limits
from belljar.rpc.bridge import Bridge
from belljar.rpc.ledger import Ledger
from belljar.rpc.messages import Call
from belljar.rpc.policy import Policy
from belljar.rpc.world import CALLER, Answer, Caller, Hop, ToolInfo

pytestmark = pytest.mark.anyio


class Asks:
    """A world that notes who calls, before and after others do."""

    name = "real"

    def __init__(self) -> None:
        self.seen: list[tuple[int, Caller | None, Caller | None]] = []
        self.listed: list[Caller | None] = []

    def servers(self) -> tuple[str, ...]:
        return ("asks",)

    async def tools(self, server: str) -> Mapping[str, ToolInfo]:
        self.listed.append(CALLER.get())
        return {name: ToolInfo("asks", name, digest="d") for name in ("answer", "fail", "hang")}

    async def call(self, tool: ToolInfo, args: Mapping[str, Any]) -> Answer:
        before = CALLER.get()
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        self.seen.append((args["n"], before, CALLER.get()))
        if tool.name == "hang":
            await anyio.sleep_forever()
        if tool.name == "fail":
            raise UpstreamError("no", server="asks")
        return Answer(None)


def bridge(world: Asks, run: str, **more: Any) -> Bridge:
    ledger = Ledger(run)
    ledger.open(code="", args_text="{}", seed="0" * 64, now_ns=0)
    return Bridge(world=world, ledger=ledger, limits=Limits().with_(call=0.2), policy=Policy(allow=("*",)), **more)


async def test_each_call_knows_its_own_run_and_number() -> None:
    """F21: two runs, four calls at once of every ending; each sees itself throughout, and nobody is left set."""
    world = Asks()
    one, two = bridge(world, "one"), bridge(world, "two")
    tools = ("answer", "fail", "hang", "answer")
    async with anyio.create_task_group() as tasks:
        for door, first in ((one, 0), (two, 10)):
            for n, tool in enumerate(tools, 1):
                tasks.start_soon(door.answer, door.admit(Call(n, "asks", tool, f'{{"n": {first + n}}}', 1)))
    assert CALLER.get() is None
    assert set(world.listed) == {None}
    assert len(world.seen) == 8
    for n, before, after in world.seen:
        assert before == after == Caller("two" if n > 10 else "one", n % 10)


async def test_what_is_told_is_the_runs_to_decide() -> None:
    """F71: a run with spans tells more of each call; the task that answered knows nothing of it afterwards."""
    world, told = Asks(), Caller("one", 1, "00-1-2-01", Hop())
    door = bridge(world, "one", caller=lambda call_id: told if call_id == 1 else Caller("one", call_id))
    for n, tool in ((1, "answer"), (2, "fail")):
        await door.answer(door.admit(Call(n, "asks", tool, f'{{"n": {n}}}', 1)))
        assert CALLER.get() is None
    assert world.seen == [(1, told, told), (2, Caller("one", 2), Caller("one", 2))]
