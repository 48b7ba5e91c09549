"""Capabilities that call capabilities: what the child gets, what it leaves, and what it cannot do."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from belljar import fqdn
from belljar._run import Run
from belljar.errors import Code
from belljar.jar import Jar, RunOptions, open_jar
from belljar.limits import Limits
from belljar.nested import MAX_LEVELS
from belljar.registry import CapabilityStore
from belljar.rpc.approval import ApprovalRequest, Word
from belljar.rpc.policy import Policy
from belljar.rpc.world import Answer, ToolInfo
from tests.worlds import ALL, Lab, config_in, guest_cache_in

pytestmark = pytest.mark.anyio

OPTIONS = RunOptions(policy=ALL, limits=Limits().with_(wall=30))


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def shared(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Jar]:
    config = config_in(tmp_path_factory.mktemp("jar"), guest_cache_in(tmp_path_factory))
    async with open_jar(config, world=Lab()) as jar:
        yield jar


_BLOCK = '# /// script\n# [tool.belljar]\n# name = "{name}"\n# permissions = {permissions}\n# ///\n'


class Held(Lab):
    """Says when `hold` was called."""

    def __init__(self) -> None:
        super().__init__()
        self.held = anyio.Event()

    async def call(self, tool: ToolInfo, args: Mapping[str, Any]) -> Answer:
        if tool.name == "hold":
            self.held.set()
        return await super().call(tool, args)


class Nest:
    """A jar with a world and a store of the test's own, and every run it made."""

    def __init__(self, jar: Jar, folder: Path) -> None:
        jar.config = replace(jar.config, paths=replace(jar.config.paths, data=folder))
        jar.world = self.world = Held()
        self.jar = jar
        self.store = CapabilityStore(folder / "capabilities")
        self.traces: list[dict[str, Any]] = []
        self.more = anyio.Event()

    def keep(self, name: str, code: str, *, permissions: list[str] | None = None, pin: bool = True) -> str:
        """Keep code under a name; its hash. With permissions, its metadata block lists exactly those."""
        wanted = fqdn.parse(name)
        if permissions is not None:
            named = f"{wanted.namespace}:{wanted.action}"
            code = _BLOCK.format(name=named, permissions=permissions) + code
        return self.store.add(wanted, code, pin=pin).sha256

    async def __call__(self, code: str, options: RunOptions = OPTIONS, args: dict[str, Any] | None = None) -> Run:
        return await self.jar.run(code, args, options)

    async def settled(self, count: int) -> list[dict[str, Any]]:
        """Traces of all runs since the start, when there are so many."""
        with anyio.fail_after(20):
            while len(self.traces) < count:
                self.more = anyio.Event()
                await self.more.wait()
        return self.traces


@pytest.fixture
async def nest(shared: Jar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nest:
    nest = Nest(shared, tmp_path)
    captured: Callable[..., Awaitable[None]] = shared._capture

    async def capture(run: Run, uncaptured: anyio.Semaphore) -> None:
        nest.traces.append(run.trace)
        nest.more.set()
        await captured(run, uncaptured)

    monkeypatch.setattr(shared, "_capture", capture)
    return nest


def called(name: str, args: str = "") -> str:
    return f"await mcp.capability[{name!r}]({args})"


# What a child is


@pytest.mark.parametrize("name", ["git:add", "local.default.git.add", "local.default.git.add.{}"])
async def test_a_capability_calls_another(nest: Nest, name: str) -> None:
    """F21: its value comes back; both have a trace; the child's names its parent, the parent's its child."""
    sha256 = nest.keep(
        "git:add", "async def main(a: int, b: int = 1):\n    return (await mcp.lab.echo(sum=a + b))['sum']"
    )
    run = await nest(called(name.format(sha256[:4]), "a=2"))
    assert run.unwrap() == 3
    child, parent = await nest.settled(2)
    assert (child["parentTraceId"], parent.get("parentTraceId")) == (run.run_id, None)
    assert child["capabilityId"] == f"local.default.git.add.{sha256[:4]}"
    assert child["capabilityHash"] == sha256
    assert [task["tool"] for task in child["taskResults"]] == ["lab:echo"]
    (task,) = parent["taskResults"]
    assert task["tool"].startswith("capability:")
    assert (task["isCapabilityCall"], task["sourceDetail"], task["result"]) == (True, child["traceId"], 3)
    assert child["taskResults"][0]["isCapabilityCall"] is False
    assert run.calls[0].tool_digest == sha256


async def test_of_two_parents_at_once_each_has_its_own_children(nest: Nest) -> None:
    """F21: linked right, also when parents and children of both run at the same time."""
    nest.keep("git:leaf", "async def main(n: int):\n    await mcp.lab.look(n=n)\n    return n")
    code = "import asyncio\nsorted(await asyncio.gather(*(mcp.capability['git:leaf'](n=n) for n in args['n'])))"
    wanted = {"a": [1, 2, 3, 4], "b": [5, 6, 7, 8]}
    runs: dict[str, Run] = {}

    async def one(key: str) -> None:
        runs[key] = await nest(code, args={"n": wanted[key]})

    async with anyio.create_task_group() as tasks:
        for key in wanted:
            tasks.start_soon(one, key)
    traces = await nest.settled(10)
    for key, run in runs.items():
        assert run.unwrap() == wanted[key]
        children = [trace for trace in traces if trace.get("parentTraceId") == run.run_id]
        assert sorted(child["taskResults"][0]["args"]["n"] for child in children) == wanted[key]
        details = {call.source_detail for call in run.calls}
        assert details == {child["traceId"] for child in children}


async def test_arguments_are_held_against_the_childs_schema(nest: Nest) -> None:
    """F17: the caller is told which field; no box is spent on it."""
    nest.keep("git:add", "def main(a: int):\n    return a")
    for args, said in (("", "a"), ("a='x'", "a"), ("a=1, b=2", "b")):
        run = await nest(f"try:\n    {called('git:add', args)}\nexcept ToolError as exc:\n    r = exc.message\nr")
        assert re.search(rf"args\.{said}|args.*{said}", run.unwrap())
    assert len(await nest.settled(3)) == 3


async def test_a_child_that_fails_raises(nest: Nest) -> None:
    """F7: a ToolError with the child's code and its trace, which the caller may catch; the child's trace says why."""
    nest.keep("git:bad", "def main():\n    return 1 / 0")
    run = await nest(
        f"try:\n    {called('git:bad')}\nexcept ToolError as exc:\n    r = [exc.code, exc.message, exc.data]\nr"
    )
    code, message, data = run.unwrap()
    child, _ = await nest.settled(2)
    assert code == "RPC_ERROR"
    assert "division by zero" in message
    assert (data["code"], data["runId"]) == ("CAPABILITY_ERROR", child["traceId"])
    assert (child["success"], child["errorCode"]) == (False, "CAPABILITY_ERROR")


async def test_each_child_has_a_seed_of_its_own(nest: Nest) -> None:
    """Also under a parent whose seed was given."""
    nest.keep("git:dice", "import random\ndef main():\n    return random.random()")
    run = await nest(f"[{called('git:dice')}, {called('git:dice')}]", replace(OPTIONS, seed="5e" * 32))
    first, second = run.unwrap()
    assert first != second


async def test_a_replay_runs_no_child(nest: Nest) -> None:
    """What the child gave is in the parent's recording."""
    nest.keep("git:dice", "import random\nasync def main():\n    await mcp.lab.write()\n    return random.random()")
    run = await nest(f"[{called('git:dice')}, {called('git:dice')}]")
    await nest.settled(3)
    (nest.store._folder / "index.json").unlink()
    again = await nest.jar.replay(run.recording(), OPTIONS)
    assert again.unwrap() == run.unwrap()
    assert len(await nest.settled(4)) == 4
    assert len(nest.world.made) == 2


# What a child may


async def test_by_default_a_person_is_asked(nest: Nest) -> None:
    """F12: a capability is a tool like any other; without anybody to ask, the run ends."""
    nest.keep("git:one", "def main():\n    return 1")
    run = await nest(called("git:one"), replace(OPTIONS, policy=Policy(allow=("lab:*",))))
    assert run.error is not None
    assert run.error.code is Code.APPROVAL_REQUIRED
    assert "capability:git:one" in run.error.message
    assert len(await nest.settled(1)) == 1


@pytest.mark.parametrize("allow", ["capability:*", "capability:git:one", "capability:git:*", "*"])
async def test_patterns_govern_it(nest: Nest, allow: str) -> None:
    nest.keep("git:one", "def main():\n    return 1")
    assert (await nest(called("git:one"), replace(OPTIONS, policy=Policy(allow=(allow,))))).unwrap() == 1


@pytest.mark.parametrize("deny", ["git:one", "local.default.git.*", "*.{}", "*"])
@pytest.mark.parametrize("name", ["git:one", "local.default.git.one", "local.default.git.one.{}"])
async def test_who_denies_one_name_denies_them_all(nest: Nest, deny: str, name: str) -> None:
    """Another way to write a name is no way around a denial."""
    sha256 = nest.keep("git:one", "def main():\n    return 1")
    policy = Policy(allow=("*",), deny=(f"capability:{deny.format(sha256[:4])}",))
    code = f"try:\n    {called(name.format(sha256))}\nexcept ToolError as exc:\n    r = exc.code\nr"
    run = await nest(code, replace(OPTIONS, policy=policy))
    assert run.unwrap() == "PERMISSION_DENIED"
    assert run.calls[0].state == "denied"


TRY = "try:\n        return await mcp.lab.{}()\n    except ToolError as exc:\n        return exc.code"


@pytest.mark.parametrize(
    ("above", "own", "given"),
    [
        (["capability:*", "lab:*"], ["lab:echo"], {"echo": {}, "write": "PERMISSION_DENIED"}),
        (["capability:*", "lab:echo"], ["lab:*"], {"echo": {}, "write": "PERMISSION_DENIED"}),
        (["capability:*", "lab:echo"], None, {"echo": {}, "write": "PERMISSION_DENIED"}),
        (["capability:*"], ["lab:echo"], {"echo": "PERMISSION_DENIED"}),
        (None, ["lab:echo"], {"echo": {}, "write": "PERMISSION_DENIED"}),
        (None, None, {"echo": {}, "write": 1}),
    ],
)
async def test_a_child_gets_what_both_declare(
    nest: Nest, above: list[str] | None, own: list[str] | None, given: dict[str, Any]
) -> None:
    """A child asks for more than its parent has, and gets no more; a parent's rights are not the child's either."""
    for tool in given:
        nest.keep(f"git:{tool}", f"async def main():\n    {TRY.format(tool)}", permissions=own)
    for tool, expected in given.items():
        nest.keep("git:parent", called(f"git:{tool}"), permissions=above)
        run = await nest(called("git:parent"))
        assert run.unwrap() == expected


async def test_what_is_narrowed_stays_narrowed(nest: Nest) -> None:
    """A child that declares everything gives its own child no more than its parent had."""
    nest.keep("git:c", f"async def main():\n    {TRY.format('write')}", permissions=["lab:*"])
    nest.keep("git:b", called("git:c"), permissions=["*"])
    nest.keep("git:a", called("git:b"), permissions=["capability:*", "lab:echo"])
    assert (await nest(called("git:a"))).unwrap() == "PERMISSION_DENIED"
    nest.keep("git:a", called("git:b"), permissions=["capability:git:b", "lab:*"])
    run = await nest(called("git:a"))
    assert run.error is not None
    assert "capability:git:c is not allowed" in run.error.message
    assert nest.world.made == []


class Person:
    """Gives a word, after a while; notes whether it was asked two things at once."""

    def __init__(self, word: Word | None, pause_s: float = 0.0) -> None:
        self.word: Word | None = word
        self.pause_s = pause_s
        self.asked: list[ApprovalRequest] = []
        self.at_once = 0
        self.most_at_once = 0

    async def ask(self, request: ApprovalRequest) -> Word | None:
        self.asked.append(request)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await anyio.sleep(self.pause_s)
        self.at_once -= 1
        return self.word


async def test_a_child_that_needs_a_person_ends_them_all(nest: Nest) -> None:
    """F13: what the child's and the parent's code catch changes nothing; both traces say APPROVAL_REQUIRED."""
    nest.keep("git:w", "try:\n    r = await mcp.lab.write()\nexcept BaseException:\n    r = 'caught'\nr")
    code = f"try:\n    r = {called('git:w')}\nexcept BaseException:\n    r = 'caught'\nr"
    run = await nest(code, replace(OPTIONS, policy=Policy(allow=("capability:*",))))
    assert run.error is not None
    assert run.error.code is Code.APPROVAL_REQUIRED
    assert "lab:write" in run.error.message
    child, parent = await nest.settled(2)
    assert (child["errorCode"], parent["errorCode"]) == ("APPROVAL_REQUIRED", "APPROVAL_REQUIRED")
    assert nest.world.made == []


async def test_a_person_is_asked_for_a_child_as_for_its_parent(nest: Nest) -> None:
    """One question at a time, whoever asks; and no clock runs meanwhile, of the child, its call or its parent."""
    nest.keep("git:w", "async def main(n: int):\n    return [n, await mcp.lab.write()]")
    person = Person("once", 0.5)
    options = RunOptions(
        policy=Policy(allow=("capability:*",)), limits=Limits().with_(wall=1.2, call=0.7), approver=person
    )
    code = (
        "import asyncio\nsorted(n for n, _ in await asyncio.gather(*(mcp.capability['git:w'](n=n) for n in range(4))))"
    )
    run = await nest(code, options)
    assert run.unwrap() == [0, 1, 2, 3]
    assert person.most_at_once == 1
    assert len({request.subject.run for request in person.asked}) == 4


async def test_always_for_a_child_is_for_that_child(nest: Nest) -> None:
    """Each run's grants are its own: a yes given to one is none for another."""
    nest.keep("git:w", "[await mcp.lab.write() for _ in range(3)]")
    person = Person("always")
    run = await nest(
        f"[{called('git:w')}, {called('git:w')}]",
        replace(OPTIONS, policy=Policy(allow=("capability:*",)), approver=person),
    )
    assert run.unwrap() == [[1, 2, 3], [4, 5, 6]]
    assert len(person.asked) == 2


# How far it goes


async def test_a_capability_that_calls_itself(nest: Nest) -> None:
    """Refused at once, by its hash, whatever it calls itself by."""
    sha256 = nest.keep(
        "git:me", "async def main(name: str = 'git:me'):\n    return await mcp.capability[name](name=name)"
    )
    for name in ("git:me", "local.default.git.me", f"local.default.git.me.{sha256}"):
        run = await nest(called("git:me", f"name={name!r}"))
        assert run.error is not None
        assert "cannot call itself" in run.error.message
    assert len(await nest.settled(6)) == 6


async def test_two_that_call_each_other(nest: Nest) -> None:
    """The second time round is refused; and so is the same code under another name."""
    nest.keep("git:ping", f"# ping\n{called('git:pong')}")
    nest.keep("git:pong", f"# pong\n{called('git:ping')}")
    run = await nest(called("git:ping"))
    assert run.error is not None
    assert "running already" in run.error.message
    assert len(await nest.settled(3)) == 3
    code = "async def main(n: int):\n    return n and await mcp.capability['git:b'](n=n - 1)"
    nest.store.add(fqdn.parse("git:a"), code, pin=True)
    nest.store.add(fqdn.parse("git:b"), code, pin=True)
    again = await nest(called("git:a", "n=1"))
    assert again.error is not None
    assert "running already" in again.error.message


async def test_eight_levels_and_not_nine(nest: Nest) -> None:
    """The one that was asked for counts; each level has its trace, linked to the one above."""
    nest.keep("deep:n0", "'bottom'")
    for n in range(1, MAX_LEVELS):
        nest.keep(f"deep:n{n}", called(f"deep:n{n - 1}"))
    run = await nest(called(f"deep:n{MAX_LEVELS - 2}"))
    assert run.unwrap() == "bottom"
    traces = await nest.settled(MAX_LEVELS)
    assert [trace.get("parentTraceId") for trace in traces] == [*(t["traceId"] for t in traces[1:]), None]
    run = await nest(called(f"deep:n{MAX_LEVELS - 1}"))
    assert run.error is not None
    assert "9th run" in run.error.message


async def test_many_children_at_once(nest: Nest) -> None:
    """Sixty-four are asked for at once, and the parent is not in their way: bounded boxes, every value right."""
    nest.keep("git:n", "async def main(n: int):\n    return (await mcp.lab.look(n=n % 5))['n'] + n")
    code = "import asyncio\nawait asyncio.gather(*(mcp.capability['git:n'](n=n) for n in range(64)))"
    run = await nest(code)
    assert run.unwrap() == [n % 5 + n for n in range(64)]
    assert len(await nest.settled(65)) == 65
    assert nest.world.most_at_once <= 64


async def test_more_parents_than_boxes(nest: Nest) -> None:
    """Every place is held by a run that waits for a child three levels down: none waits for ever."""
    nest.keep("git:leaf", "'leaf'")
    nest.keep("git:twig", called("git:leaf"))
    nest.keep("git:branch", called("git:twig"))
    values: list[Any] = []

    async def one() -> None:
        values.append((await nest(called("git:branch"))).unwrap())

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(70):
                tasks.start_soon(one)
    assert values == ["leaf"] * 70


async def test_one_budget_of_calls_for_all(nest: Nest) -> None:
    """F4: children's calls count; a family cannot make more than the run that was asked for may."""
    nest.keep("git:ten", "import asyncio\nlen(await asyncio.gather(*(mcp.lab.echo() for _ in range(10))))")
    code = (
        "n = 0\ntry:\n    while True:\n        n += await mcp.capability['git:ten']()\n"
        "except ToolError as exc:\n    r = exc.message\nr"
    )
    run = await nest(code, replace(OPTIONS, limits=Limits().with_(wall=30, calls=25)))
    assert "more than 25 calls" in run.unwrap()
    assert len(nest.world.made) <= 25


# When it ends


async def test_a_childs_time_is_its_parents(nest: Nest) -> None:
    """A child that does not end is ended within what is left of the parent's call, and says so itself."""
    nest.keep("git:forever", "while True:\n    pass")
    began = time.monotonic()
    code = f"try:\n    {called('git:forever')}\nexcept ToolError as exc:\n    r = exc.code\nr"
    run = await nest(code, replace(OPTIONS, limits=Limits().with_(wall=10, call=0.6)))
    assert run.unwrap() == "RPC_TIMEOUT"
    assert time.monotonic() - began < 3
    child, parent = await nest.settled(2)
    assert child["errorCode"] == "EXECUTION_TIMEOUT"
    assert child["durationMs"] < 700
    assert parent["taskResults"][0]["state"] == "unknown"


def _ledger(session: Any) -> Any:
    return session._door._ledger


@pytest.mark.parametrize("how", ["interrupt", "kill", "cancel", "leave"])
async def test_a_child_ends_with_its_parent(nest: Nest, how: str) -> None:
    """Interrupted, killed, cancelled, not waited for: the child's box and its calls end too; its trace says so."""
    nest.keep("git:held", "await mcp.lab.hold()")
    code = called("git:held")
    if how == "leave":
        code = (
            "import asyncio\ntask = asyncio.ensure_future(mcp.capability['git:held']())\n"
            "await mcp.lab.sleep(s=1)\n'left'"
        )
    runs: list[Run] = []

    async def one(scope: anyio.CancelScope) -> None:
        with scope:
            runs.append(await nest(code))

    scope = anyio.CancelScope()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one, scope)
            await nest.world.started.wait()
            await nest.world.held.wait()
            if how == "interrupt":
                nest.jar.interrupt()
            elif how == "kill":
                parent = next(s for s in nest.jar._sessions if _ledger(s).calls[0].server == "capability")
                os.kill(parent._box.pid, signal.SIGKILL)
            elif how == "cancel":
                scope.cancel()
    traces = await nest.settled(2)
    assert "hold" in nest.world.cancelled
    child = next(trace for trace in traces if "parentTraceId" in trace)
    parent = next(trace for trace in traces if "parentTraceId" not in trace)
    assert child["parentTraceId"] == parent["traceId"]
    assert child["success"] is False
    assert child["errorCode"] in {"INTERRUPTED", "WORKER_CRASH"}
    assert [task["state"] for task in child["taskResults"]] == ["unknown"]
    assert not nest.jar._sessions
    if how == "leave":
        assert runs[0].unwrap() == "left"


# Names


@pytest.mark.parametrize(
    "name",
    ["", "git", "git:none", "../../etc/passwd", "Git:one", "git:one ", "git:\u043ene", "git:one\0", "a" * 500,
     "acme.tools.git.one", "__class__", "git:one:x", "\x1b[2J", "local.default.git.one.0000", "%2e%2e", "*", "git:*"],
)  # fmt: skip
async def test_a_name_that_means_nothing(nest: Nest, name: str) -> None:
    """Whatever the guest writes: UNKNOWN_TOOL, nothing run, nothing fetched, nothing of it obeyed."""
    nest.keep("git:one", "1")
    code = (
        "try:\n    await mcp.capability[args['name']]()\nexcept ToolError as exc:\n    r = [exc.code, exc.message]\nr"
    )
    code, message = (await nest(code, args={"name": name})).unwrap()
    assert code == "UNKNOWN_TOOL"
    assert "\x1b" not in message
    assert len(await nest.settled(1)) == 1


async def test_a_near_name_is_offered(nest: Nest) -> None:
    nest.keep("git:release_notes", "1")
    run = await nest(called("git:release_note"))
    assert run.error is not None
    assert "near it: git:release_notes" in run.error.message


async def test_no_server_can_take_the_name(nest: Nest) -> None:
    """A server of the user's called `capability` is not reached under it."""
    nest.world.servers = lambda: ("lab", "capability")
    run = await nest("await mcp.capability.echo(a=1)")
    assert run.error is not None
    assert nest.world.made == []


# What is kept


async def test_a_tampered_child_does_not_run(nest: Nest) -> None:
    """F11: its hash is taken when it is called, in the middle of a run too."""
    sha256 = nest.keep("git:one", "'good'")
    code = f"a = {called('git:one')}\nawait mcp.lab.hold()\n{called('git:one')}"
    runs: list[Run] = []

    async def one() -> None:
        runs.append(await nest(code))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one)
        await nest.world.started.wait()
        (nest.store._folder / "code" / sha256).write_text("'evil'")
        nest.world.release()
    assert runs[0].error is not None
    assert "is damaged" in runs[0].error.message


async def test_a_run_sees_the_store_as_it_was(nest: Nest) -> None:
    """A name does not change its meaning in the middle of a run."""
    nest.keep("git:one", "'one'")
    code = f"a = {called('git:one')}\nawait mcp.lab.hold()\n[a, {called('git:one')}]"
    runs: list[Run] = []

    async def one() -> None:
        runs.append(await nest(code))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one)
        await nest.world.started.wait()
        nest.keep("git:one", "'two'")
        nest.world.release()
    assert runs[0].unwrap() == ["one", "one"]
    assert (await nest(called("git:one"))).unwrap() == "two"


async def test_what_nobody_agreed_to_does_not_run(nest: Nest) -> None:
    """F11: a new hash under a known name, by its hash: the message says how to agree to it."""
    nest.keep("git:one", "'one'")
    other = nest.keep("git:one", "'two'", pin=False)
    assert (await nest(called("git:one"))).unwrap() == "one"
    run = await nest(called(f"local.default.git.one.{other}"))
    assert run.error is not None
    assert f"belljar capability trust local.default.git.one.{other}" in run.error.message


async def test_a_store_that_cannot_be_used(nest: Nest) -> None:
    """Its path and what is wrong with it; the run goes on with what it has."""
    nest.keep("git:one", "1")
    (nest.store._folder / "index.json").write_text("{")
    run = await nest(
        f"try:\n    {called('git:one')}\nexcept ToolError as exc:\n    r = exc.code\n[r, await mcp.lab.echo(a=1)]"
    )
    assert run.unwrap() == ["UPSTREAM_UNAVAILABLE", {"a": 1}]


async def test_a_run_that_calls_none_reads_no_store(nest: Nest) -> None:
    """The store's folder need not exist, and is not made."""
    assert (await nest("await mcp.lab.echo(a=1)")).unwrap() == {"a": 1}
    run = await nest(called("git:one"))
    assert run.error is not None
    assert run.error.code in {Code.UNKNOWN_TOOL, Code.CAPABILITY_ERROR}
    assert not nest.store._folder.exists()
