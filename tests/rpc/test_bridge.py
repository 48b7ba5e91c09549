"""The bridge: calls in order, grants before calls, a truthful ledger, and nothing of ours in what the guest is told."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import pytest

from belljar.errors import ApprovalRequired, Code, GuestError, ProtocolError, UpstreamError
from belljar.limits import MAX_FRAME_BYTES, MIB, Limits
from belljar.rpc import jsontext
from belljar.rpc.approval import Approval, ApprovalRequest, Approvals, Subject, Word
from belljar.rpc.bridge import Bridge
from belljar.rpc.frames import encode
from belljar.rpc.ledger import Ledger, text_sha256, verify
from belljar.rpc.messages import Call, Return
from belljar.rpc.policy import Declared, Policy
from belljar.rpc.record import CallRecord
from belljar.rpc.world import Answer, ToolInfo

pytestmark = pytest.mark.anyio

SECRET = "hunter2"
ALL = Policy(allow=("*",))

Handler = Callable[[Mapping[str, Any]], Awaitable[Any]]


class Tools:
    """A world of Python functions: the real seam, without processes."""

    name = "real"

    def __init__(self, **handlers: Handler) -> None:
        self.handlers = handlers
        self.listed: list[str] = []
        self.made: list[tuple[str, Mapping[str, Any]]] = []
        self.cancelled: list[str] = []
        self.info: dict[str, ToolInfo] = {
            name: ToolInfo(
                "git", name, annotations={"readOnlyHint": name.startswith("read")}, digest=f"digest of {name}"
            )
            for name in handlers
        }

    def servers(self) -> tuple[str, ...]:
        return ("git", "time", "capability")

    async def tools(self, server: str) -> Mapping[str, ToolInfo]:
        self.listed.append(server)
        if server == "time":
            raise UpstreamError("it did not start", server="time", code=Code.UPSTREAM_UNAVAILABLE, data={"exit": 1})
        return self.info

    async def call(self, tool: ToolInfo, args: Mapping[str, Any]) -> Answer:
        self.made.append((tool.name, args))
        try:
            return Answer(await self.handlers[tool.name](args), detail="here")
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(tool.name)
            raise


class Person:
    """Gives these words, one for each question."""

    def __init__(self, *words: Word | None) -> None:
        self.words = list(words)
        self.asked: list[ApprovalRequest] = []

    async def ask(self, request: ApprovalRequest) -> Word | None:
        self.asked.append(request)
        await anyio.lowlevel.checkpoint()
        return self.words.pop(0)


class Watcher:
    """Writes down what an observer sees."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, str]] = []

    def started(self, record: CallRecord) -> None:
        self.seen.append(("started", record.call_id, record.state))

    def ended(self, record: CallRecord) -> None:
        self.seen.append(("ended", record.call_id, record.state))


async def echo(args: Mapping[str, Any]) -> Any:
    return args


def opened() -> Ledger:
    ledger = Ledger("run-1")
    ledger.open(code="code", args_text="{}", seed="0" * 64, now_ns=1)
    return ledger


def bridge(world: Tools, policy: Policy = ALL, **options: Any) -> tuple[Bridge, Ledger]:
    ledger = opened()
    options.setdefault("limits", Limits())
    return Bridge(world=world, ledger=ledger, policy=policy, **options), ledger


def call(number: int, tool: str = "echo", args: Any = None, *, server: str = "git", line: int = 1) -> Call:
    return Call(number, server, tool, args if isinstance(args, str) else json.dumps(args or {}), line)


async def make(bridge: Bridge, *args: Any, **options: Any) -> Return:
    answer = await bridge.answer(bridge.admit(call(*args, **options)))
    encode(answer)
    return answer


def error(answer: Return) -> tuple[str, str]:
    assert not answer.ok
    assert answer.value == "null"
    return answer.code, answer.message


# A call that works


async def test_a_call() -> None:
    """F5: nested JSON goes both ways, the world sees the very object that policy saw, the ledger has the truth."""
    world, watcher = Tools(echo=echo), Watcher()
    gate, ledger = bridge(world, Policy(allow=("git:*",)), observer=watcher)
    value = {"a": [1, {"b": None}], "\u20ac": 2.5}
    answer = await make(gate, 1, args=value)
    assert (answer.call, answer.ok, json.loads(answer.value)) == (1, True, value)
    assert world.made == [("echo", value)]
    (record,) = ledger.calls
    assert (record.state, record.grant, record.source, record.source_detail) == (
        "applied",
        "allow git:*",
        "real",
        "here",
    )
    assert (record.args, record.value, record.line, record.is_write) == (value, value, 1, True)
    assert watcher.seen == [("started", 1, "executing"), ("ended", 1, "applied")]
    ledger.close(outcome="ok")
    assert verify(ledger.entries()) == ledger.head


async def test_calls_at_once() -> None:
    """F8: twenty calls at once are answered each with its own, in the order they end, and share a layer."""
    release = [anyio.Event() for _ in range(21)]

    async def wait(args: Mapping[str, Any]) -> Any:
        await release[args["n"]].wait()
        return args["n"]

    gate, ledger = bridge(Tools(wait=wait))
    answers: list[Return] = []

    async def one(number: int) -> None:
        answers.append(await gate.answer(admitted[number]))

    admitted = {number: gate.admit(call(number, "wait", {"n": number})) for number in range(1, 21)}
    async with anyio.create_task_group() as tasks:
        for number in admitted:
            tasks.start_soon(one, number)
        await anyio.wait_all_tasks_blocked()
        for number in reversed(admitted):
            release[number].set()
            await anyio.wait_all_tasks_blocked()
    assert [answer.call for answer in answers] == list(range(20, 0, -1))
    assert all(answer.value == str(answer.call) for answer in answers)
    assert {record.layer for record in ledger.calls} == {0}
    assert [record.completion_order for record in ledger.calls] == list(range(19, -1, -1))


async def test_the_second_call_of_a_tool_asks_nobody() -> None:
    """Tools are listed once a run, and a granted tool's next call awaits nothing but the world."""
    world = Tools(echo=echo)
    gate, _ = bridge(world)
    for number in range(1, 4):
        await make(gate, number)
    assert world.listed == ["git"]


# 0 admission


@pytest.mark.parametrize("ids", [[0], [-1], [2], [1, 1], [1, 3], [1, 2, 1], [2**63 - 1]])
async def test_call_ids(ids: list[int]) -> None:
    """G: call ids count 1, 2, 3...; a skipped, repeated or negative one is a violation, and the call is not made."""
    world = Tools(echo=echo)
    gate, ledger = bridge(world)
    for number in ids[:-1]:
        await make(gate, number)
    with pytest.raises(ProtocolError):
        gate.admit(call(ids[-1]))
    assert len(ledger.calls) == len(world.made) == len(ids) - 1


async def test_a_call_after_the_end() -> None:
    """G: a call after the result is a violation."""
    gate, _ = bridge(Tools(echo=echo))
    gate.end()
    with pytest.raises(ProtocolError):
        gate.admit(call(1))


@pytest.mark.parametrize(
    "args",
    [
        "",
        "[]",
        '"x"',
        "1",
        "null",
        '{"hunter2":1,"hunter2":2}',
        "{",
        '{"a":NaN}',
        '{"a":"\\ud800"}',
        '{"a":' * 65 + "1" + "}" * 65,
    ],
)
async def test_arguments_that_are_no_object(args: str) -> None:
    """G: our own guest code writes the arguments; what is no strict JSON object is a violation, and is not echoed."""
    gate, _ = bridge(Tools(echo=echo))
    with pytest.raises(ProtocolError) as caught:
        gate.admit(call(1, args=args))
    assert SECRET not in caught.value.message


async def test_too_many_calls() -> None:
    """F4: the call over the limit ends the run with CALL_LIMIT and is not made."""
    world = Tools(echo=echo)
    gate, ledger = bridge(world, limits=Limits(calls=3))
    for number in range(1, 4):
        await make(gate, number)
    with pytest.raises(GuestError) as caught:
        gate.admit(call(4, line=9))
    assert (caught.value.code, caught.value.line, len(world.made), len(ledger.calls)) == (Code.CALL_LIMIT, 9, 3, 3)


async def test_arguments_over_the_limit() -> None:
    """Arguments of more than `call_args` bytes are RPC_ERROR in the guest; the call is not made, the text not kept."""
    world = Tools(echo=echo)
    gate, ledger = bridge(world, limits=Limits(call_args=100))
    code, message = error(await make(gate, 1, args={"a": "x" * 100}))
    assert (code, "100 bytes" in message) == ("RPC_ERROR", True)
    assert (world.listed, world.made) == ([], [])
    assert (ledger.calls[0].state, ledger.calls[0].args_text) == ("failed", None)
    assert (await make(gate, 2, args={"a": "x" * 80})).ok


# 1 grant


async def test_unknown_names() -> None:
    """F5: an unknown server or tool is UNKNOWN_TOOL in the guest, with names near it."""
    world = Tools(git_log=echo, git_show=echo)
    gate, ledger = bridge(world)
    assert error(await make(gate, 1, "git_log", server="gti")) == (
        "UNKNOWN_TOOL",
        "no server is called gti; near it: git",
    )
    assert error(await make(gate, 2, "gti_log")) == ("UNKNOWN_TOOL", "no tool is called git:gti_log; near it: git_log")
    assert [(record.state, record.error_code) for record in ledger.calls] == [("failed", "UNKNOWN_TOOL")] * 2
    assert world.made == []


@pytest.mark.parametrize(
    "name", ["Echo", "ECHO", "echo ", " echo", "ech\u043e", "../echo", "__class__", "echo\x00", "", "\x1b[2J"]
)
async def test_look_alike_names(name: str) -> None:
    """G: a name that looks like a tool is no tool, as a server neither, and is shown escaped."""
    world = Tools(echo=echo)
    gate, _ = bridge(world)
    for number, answer in enumerate([call(1, name), call(2, "echo", server=name)], 1):
        code, message = error(await gate.answer(gate.admit(answer)))
        assert (code, number) == ("UNKNOWN_TOOL", number)
        assert message.isascii()
        assert message.isprintable()
    assert world.made == []


async def test_a_reserved_server() -> None:
    """`mcp.capability` is reserved, whatever the world says it has."""
    gate, _ = bridge(Tools(echo=echo))
    assert error(await make(gate, 1, "echo", server="capability"))[0] == "UNKNOWN_TOOL"


async def test_near_names_cost_little() -> None:
    """F: ten thousand tools with long names and a guest that asks for unknown ones again and again."""
    world = Tools()
    world.info = {f"tool_{n:05}" * 20: ToolInfo("git", f"tool_{n:05}" * 20) for n in range(10_000)}
    world.info |= {f"tool_{n:05}": ToolInfo("git", f"tool_{n:05}") for n in range(2000)}
    gate, _ = bridge(world)
    messages = [error(await make(gate, number, "tool_00x"))[1] for number in range(1, 300)]
    assert ["near it" in message for message in messages] == [True] * 10 + [False] * 289
    assert all(len(message) < 200 for message in messages)


async def test_denied() -> None:
    """F12: a denied call is PERMISSION_DENIED in the guest and starts no server; so is an undeclared one."""
    world, watcher = Tools(echo=echo), Watcher()
    gate, ledger = bridge(world, Policy(allow=("*",), deny=("git:e*",)), observer=watcher)
    code, message = error(await make(gate, 1))
    assert (code, message) == ("PERMISSION_DENIED", "git:echo is not allowed (deny git:e*)")
    assert (world.listed, world.made, ledger.calls[0].state) == ([], [], "denied")
    assert watcher.seen == [("ended", 1, "denied")]
    gate, ledger = bridge(world, declared=Declared(("time",)))
    assert error(await make(gate, 1))[0] == "PERMISSION_DENIED"
    assert (world.listed, ledger.calls[0].error_code) == ([], "PERMISSION_DENIED")


async def test_an_unavailable_server() -> None:
    """A server that does not start is UPSTREAM_UNAVAILABLE in the guest, each time it is tried."""
    world = Tools(echo=echo)
    gate, ledger = bridge(world)
    for number in (1, 2):
        answer = await make(gate, number, server="time")
        assert (error(answer), answer.data) == (("UPSTREAM_UNAVAILABLE", "it did not start"), '{"exit":1}')
        assert ledger.calls[-1].state == "failed"
    assert world.listed == ["time", "time"]


async def test_an_unavailable_tool() -> None:
    """A tool whose schema breaks a rule cannot be called; the guest is told why."""
    world = Tools(echo=echo)
    world.info["echo"] = ToolInfo("git", "echo", unavailable="its schema is too deep")
    gate, _ = bridge(world)
    assert error(await make(gate, 1)) == ("RPC_ERROR", "git:echo cannot be called: its schema is too deep")
    assert world.made == []


# 1 grant: a person


async def test_nobody_to_ask() -> None:
    """F13: without a person the run ends with APPROVAL_REQUIRED; the guest gets no answer that it could catch."""
    for approver in (None, Person(None)):
        world, watcher = Tools(echo=echo), Watcher()
        gate, ledger = bridge(world, Policy(), approver=approver, observer=watcher)
        with pytest.raises(ApprovalRequired) as caught:
            await make(gate, 1)
        assert (caught.value.call_id, caught.value.server, caught.value.tool) == (1, "git", "echo")
        assert "--allow 'git:echo'" in caught.value.message
        assert (ledger.calls[0].state, world.made, watcher.seen) == ("pending", [], [("ended", 1, "pending")])
        ledger.close(outcome="APPROVAL_REQUIRED")
        assert ledger.calls[0].state == "pending"
        assert [entry["kind"] for entry in ledger.entries()] == ["open", "pending", "close"]


async def test_once() -> None:
    """A `once` is good for one call: the next of that tool asks again. The person sees the full canonical arguments."""
    person, pauses = Person("once", "once"), list[bool]()
    gate, ledger = bridge(Tools(echo=echo), Policy(ask=("git:*",)), approver=person, on_pause=pauses.append)
    args = {"b": "x" * 10_000, "a": 1.0}
    assert (await make(gate, 1, args=args, line=7)).ok
    assert (await make(gate, 2)).ok
    first, second = person.asked
    assert first.args == jsontext.canonical(args).decode()
    assert (first.rule, first.line, first.tool.name) == ("ask git:*", 7, "echo")
    assert first.subject == Subject(
        run="run-1",
        call_id=1,
        server="git",
        tool="echo",
        args_sha256=jsontext.sha256(args),
        code_sha256=text_sha256("code"),
        policy_digest=Policy(ask=("git:*",)).digest,
        tool_digest="digest of echo",
    )
    assert second.subject != first.subject
    assert pauses == [True, False, True, False]
    assert [record.grant for record in ledger.calls] == ["approved once"] * 2


async def test_always() -> None:
    """ "Always" is good for the tool for the rest of the run, is remembered, and does not reach another tool."""
    person, remembered = Person("always", "deny"), list[ToolInfo]()
    world = Tools(echo=echo, other=echo)
    gate, ledger = bridge(world, Policy(), approver=person, remember=remembered.append)
    assert (await make(gate, 1)).ok
    assert (await make(gate, 2, args={"a": 1})).ok
    assert error(await make(gate, 3, "other"))[0] == "PERMISSION_DENIED"
    assert remembered == [world.info["echo"]]
    assert [record.grant for record in ledger.calls] == ["approved always", "approved always", ""]


async def test_a_no_stays_a_no() -> None:
    """A person who denied a tool is not asked about it again in this run, whatever the arguments."""
    person = Person("deny", "always")
    world = Tools(echo=echo)
    gate, ledger = bridge(world, Policy(), approver=person)
    for number in range(1, 4):
        assert error(await make(gate, number, args={"n": number}))[0] == "PERMISSION_DENIED"
    assert (len(person.asked), world.made) == (1, [])
    assert {record.state for record in ledger.calls} == {"denied"}


async def test_one_question_at_a_time() -> None:
    """Calls that wait for the same question take its answer: twenty gathered calls ask once."""
    asking = 0

    class Slow(Person):
        async def ask(self, request: ApprovalRequest) -> Word | None:
            nonlocal asking
            asking += 1
            assert asking == 1
            await anyio.wait_all_tasks_blocked()
            asking -= 1
            return await super().ask(request)

    person = Slow("always")
    gate, ledger = bridge(Tools(echo=echo), Policy(), approver=person)
    async with anyio.create_task_group() as tasks:
        for number in range(1, 21):
            tasks.start_soon(gate.answer, gate.admit(call(number)))
    assert len(person.asked) == 1
    assert [record.state for record in ledger.calls] == ["applied"] * 20


async def test_a_person_who_is_interrupted_ends_the_pause() -> None:
    """A run that is cancelled while a person is asked does not stay paused."""

    class Absent(Person):
        async def ask(self, request: ApprovalRequest) -> Word | None:
            await anyio.sleep_forever()
            return None

    pauses: list[bool] = []
    gate, ledger = bridge(Tools(echo=echo), Policy(), approver=Absent(), on_pause=pauses.append)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(gate.answer, gate.admit(call(1)))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert pauses == [True, False]
    ledger.close(outcome="INTERRUPTED")
    assert ledger.calls[0].state == "pending"


async def test_an_approval_given_before() -> None:
    """An approval for exactly this call is used once, without asking; for another call it is none."""
    subject = Subject(
        run="run-1",
        call_id=1,
        server="git",
        tool="echo",
        args_sha256=jsontext.sha256({"a": 1}),
        code_sha256=text_sha256("code"),
        policy_digest=Policy().digest,
        tool_digest="digest of echo",
    )
    now = lambda: 5  # noqa: E731
    for args, allowed in (({"a": 1}, True), ({"a": 2}, False)):
        gate, _ = bridge(
            Tools(echo=echo),
            Policy(),
            approvals=Approvals(Approval.given(subject, 0)),
            approver=Person(None),
            clock=now,
        )
        if allowed:
            assert (await make(gate, 1, args=args)).ok
        with pytest.raises(ApprovalRequired):
            await make(gate, 2 if allowed else 1, args=args)


# 3 world


async def test_tool_errors_travel_as_codes() -> None:
    """F7: the tool's words decide nothing: an error that says "timeout" is RPC_ERROR, with its data."""

    async def fail(args: Mapping[str, Any]) -> Any:
        raise UpstreamError("EXECUTION_TIMEOUT: timeout", server="git", data={"why": [1]})

    async def strange(args: Mapping[str, Any]) -> Any:
        raise UpstreamError("no", server="git", code=Code.WALL_MISSING)

    gate, ledger = bridge(Tools(fail=fail, strange=strange))
    answer = await make(gate, 1, "fail")
    assert (error(answer), answer.data) == (("RPC_ERROR", "EXECUTION_TIMEOUT: timeout"), '{"why":[1]}')
    assert error(await make(gate, 2, "strange")) == ("RPC_ERROR", "no")
    assert [record.state for record in ledger.calls] == ["failed", "failed"]
    assert (ledger.calls[0].error_message, ledger.calls[0].error_data) == ("EXECUTION_TIMEOUT: timeout", {"why": [1]})


async def test_the_deadline_of_a_call() -> None:
    """F6: a call over its deadline is RPC_TIMEOUT and cancelled in the world; a write is `unknown` then."""

    async def hang(args: Mapping[str, Any]) -> Any:
        await anyio.sleep_forever()

    world = Tools(hang=hang, read_hang=hang)
    gate, ledger = bridge(world, limits=Limits(call=0.01))
    for number, name in enumerate(("hang", "read_hang"), 1):
        code, message = error(await make(gate, number, name))
        assert (code, "--limit call" in message) == ("RPC_TIMEOUT", True)
    assert world.cancelled == ["hang", "read_hang"]
    assert [record.state for record in ledger.calls] == ["unknown", "failed"]
    assert all(record.duration_ms and record.duration_ms >= 10 for record in ledger.calls)


async def test_a_timeout_of_the_worlds_own_is_no_deadline_of_ours() -> None:
    """A TimeoutError out of a world is its fault, not the call's deadline."""

    async def fail(args: Mapping[str, Any]) -> Any:
        raise TimeoutError(SECRET)

    gate, _ = bridge(Tools(fail=fail))
    assert error(await make(gate, 1, "fail")) == ("RPC_ERROR", "the call failed")


async def test_a_run_that_ends_leaves_the_call_unknown() -> None:
    """A call that was executing when the run was cancelled is cancelled in the world and `unknown` in the ledger."""

    async def hang(args: Mapping[str, Any]) -> Any:
        await anyio.sleep_forever()

    world = Tools(hang=hang)
    gate, ledger = bridge(world)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(gate.answer, gate.admit(call(1, "hang")))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    ledger.close(outcome="EXECUTION_TIMEOUT")
    assert (world.cancelled, ledger.calls[0].state) == (["hang"], "unknown")


@pytest.mark.parametrize("where", ["call", "tools"])
async def test_a_fault_of_ours_says_nothing(where: str, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception is RPC_ERROR in the guest and its type in the log: no traceback, no content."""

    async def fail(args: Mapping[str, Any]) -> Any:
        raise KeyError(SECRET)

    world = Tools(fail=fail)
    if where == "tools":
        world.tools = fail  # type: ignore[method-assign,assignment]
    gate, ledger = bridge(world)
    with caplog.at_level(logging.DEBUG, "belljar"):
        code, message = error(await make(gate, 1, "fail", {"password": SECRET}))
    assert code == "RPC_ERROR"
    assert "KeyError" in caplog.text
    assert SECRET not in caplog.text + message
    assert "Traceback" not in caplog.text
    assert ledger.calls[0].state == ("unknown" if where == "call" else "failed")


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object(), "\ud800", b"x"])
async def test_an_answer_that_is_no_json(value: Any) -> None:
    """What a world answers must be JSON; else the guest gets RPC_ERROR, and a write that was made is `unknown`."""

    async def give(args: Mapping[str, Any]) -> Any:
        return value

    gate, ledger = bridge(Tools(give=give))
    code, message = error(await make(gate, 1, "give"))
    assert (code, "not JSON" in message, ledger.calls[0].state) == ("RPC_ERROR", True, "unknown")


async def test_an_answer_over_the_limit() -> None:
    """An answer over `answer` bytes is RPC_ERROR, and no limit lets one grow beyond a frame."""

    async def give(args: Mapping[str, Any]) -> Any:
        return "\u20ac" * args["n"]

    gate, _ = bridge(Tools(give=give), limits=Limits(answer=1000))
    assert (await make(gate, 1, "give", {"n": 332})).ok
    assert error(await make(gate, 2, "give", {"n": 333}))[0] == "RPC_ERROR"
    gate, _ = bridge(Tools(give=give), limits=Limits(answer=64 * MIB))
    assert error(await make(gate, 1, "give", {"n": MAX_FRAME_BYTES // 3}))[0] == "RPC_ERROR"
    assert (await make(gate, 2, "give", {"n": (MAX_FRAME_BYTES - MIB) // 3})).ok


async def test_hostile_errors_fit_a_frame() -> None:
    """Whatever an upstream says went wrong - endless, no UTF-8, no JSON - what the guest is told fits a frame."""

    async def fail(args: Mapping[str, Any]) -> Any:
        message, data = said[args["n"]]
        raise UpstreamError(message, server="git", data=data)

    said: list[tuple[str, Any]] = [
        ("x" * (20 * MIB), None),
        ("\ud800" * MIB, "\ud800"),
        ("\U0001f600" * MIB, "x" * (20 * MIB)),
        ("m", object()),
        ("m", float("inf")),
    ]
    gate, ledger = bridge(Tools(fail=fail), limits=Limits(answer=64 * MIB))
    for number in range(len(said)):
        answer = await make(gate, number + 1, "fail", {"n": number})
        assert (answer.code, answer.data) == ("RPC_ERROR", "null")
        assert len(answer.message) <= 100_000
    ledger.close(outcome="ok")
    assert verify(ledger.entries()) == ledger.head
