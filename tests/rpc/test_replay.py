"""Replay: the recorded answers in the recorded order, a difference named, and files that are whole or refused."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from belljar.errors import ApprovalRequired, BelljarError, Code, ConfigError, GuestError, UpstreamError, ValidationError
from belljar.limits import Limits
from belljar.rpc import jsontext
from belljar.rpc.bridge import Admitted, Bridge
from belljar.rpc.ledger import Ledger, verify
from belljar.rpc.messages import Call, Return
from belljar.rpc.policy import Policy
from belljar.rpc.recording import Recording
from belljar.rpc.replay import ReplayBridge
from belljar.rpc.world import Answer, ToolInfo

LIMITS = Limits()


class Numbered:
    """Answers when told to; `fail` fails."""

    name = "real"

    def __init__(self) -> None:
        self.release: dict[int, anyio.Event] = {}

    def servers(self) -> tuple[str, ...]:
        return ("s",)

    async def tools(self, server: str) -> Mapping[str, ToolInfo]:
        read = {"readOnlyHint": True}
        return {name: ToolInfo("s", name, annotations=read, digest="d") for name in ("read", "fail", "no")}

    async def call(self, tool: ToolInfo, args: Mapping[str, Any]) -> Answer:
        await self.release.setdefault(args["n"], anyio.Event()).wait()
        if tool.name == "fail":
            raise UpstreamError(f"no {args['n']}", server="s", data=[args["n"]])
        return Answer({"n": args["n"], "half": args["n"] / 2})


def opened(run_id: str = "run-1", source: str = "real") -> Ledger:
    ledger = Ledger(run_id, source=source)
    ledger.open(
        code="code \u20ac", args_text='{"p":"."}', seed="ab" * 32, now_ns=7, backend="wasm", limits={"wall": 30.0}
    )
    return ledger


def call(number: int, tool: str = "read", n: int | None = None) -> Call:
    return Call(number, "s", tool, json.dumps({"n": number if n is None else n}), number)


Answered = list[Return]


class Run:
    """A run loop in small: admits calls in order, answers them at once, keeps the order of the answers."""

    def __init__(self, bridge: Bridge | ReplayBridge, tasks: anyio.abc.TaskGroup) -> None:
        self.bridge = bridge
        self.tasks = tasks
        self.answers: Answered = []

    def call(self, *args: Any) -> None:
        self.tasks.start_soon(self._answer, self.bridge.admit(call(*args)))

    async def _answer(self, admitted: Admitted) -> None:
        self.answers.append(await self.bridge.answer(admitted))


Script = Callable[[Run, Numbered], Awaitable[None]]


async def record(script: Script, **close: Any) -> tuple[Recording, Answered]:
    world, ledger = Numbered(), opened()
    policy = Policy(allow=("*",), deny=("s:no",))
    bridge = Bridge(world=world, ledger=ledger, limits=LIMITS, policy=policy)
    async with anyio.create_task_group() as tasks:
        run = Run(bridge, tasks)
        await script(run, world)
        tasks.cancel_scope.cancel()
    ledger.close(**{"outcome": "ok", "clock": (1, 2, 3), **close})
    return Recording.of(ledger), run.answers


async def settled() -> None:
    await anyio.wait_all_tasks_blocked()


async def three(run: Run, world: Numbered) -> None:
    """Three at once; the last ends first; then a denied and an unknown one."""
    for number in (1, 2, 3):
        run.call(number, "fail" if number == 2 else "read")
    await settled()
    for number in (3, 1, 2):
        world.release[number].set()
        await settled()
    run.call(4, "no")
    run.call(5, "nowhere")
    await settled()


def replaying(recording: Recording) -> tuple[ReplayBridge, Ledger]:
    ledger = opened("run-2", "replay")
    return ReplayBridge(recording=recording, ledger=ledger, limits=LIMITS), ledger


TOOLS = {1: "read", 2: "fail", 3: "read", 4: "no", 5: "nowhere"}


@pytest.mark.anyio
async def test_replay_gives_the_same_in_the_same_order() -> None:
    """Answers, errors and refusals come as they came, in the order they came, whatever the world does today."""
    recording, answers = await record(three)
    assert [answer.call for answer in answers] == [3, 1, 2, 4, 5]
    bridge, ledger = replaying(recording)
    async with anyio.create_task_group() as tasks:
        run = Run(bridge, tasks)
        for number in TOOLS:
            run.call(number, TOOLS[number])
            await settled()
    bridge.end()
    ledger.close(outcome="ok")
    assert run.answers == answers
    assert [record.state for record in ledger.calls] == ["applied", "failed", "applied", "denied", "failed"]
    assert {record.source for record in ledger.calls} == {"replay"}
    assert ledger.calls[0].source_detail == "run-1"
    assert ledger.calls[0].value == {"n": 1, "half": 0.5}
    assert not ledger.calls[0].is_write


@given(st.data())
# Each example waits for the event loop to come to rest a few dozen times.
@settings(max_examples=15)
def test_replay_of_any_order(data: st.DataObject) -> None:
    """replay(record(run)) == run, for any interleaving of calls and completions, and the replay can be recorded too."""
    count = data.draw(st.integers(1, 8))
    steps: list[tuple[str, int]] = []
    made, done = 0, 0
    waiting: list[int] = []
    while done < count:
        if made < count and (not waiting or data.draw(st.booleans())):
            made += 1
            waiting.append(made)
            steps.append(("call", made))
        else:
            done += 1
            steps.append(("end", waiting.pop(data.draw(st.integers(0, len(waiting) - 1)))))

    async def script(run: Run, world: Numbered) -> None:
        for kind, number in steps:
            if kind == "call":
                run.call(number, "fail" if number % 3 == 0 else "read")
            else:
                await settled()
                world.release[number].set()
            await settled()

    async def both() -> None:
        recording, answers = await record(script)
        for _ in range(2):
            bridge, ledger = replaying(recording)
            async with anyio.create_task_group() as tasks:
                run = Run(bridge, tasks)
                seen = 0
                for kind, number in steps:
                    if kind == "call":
                        run.call(number, "fail" if number % 3 == 0 else "read")
                    else:
                        seen += 1
                    await settled()
                    # No answer before the host has seen the calls it had seen then.
                    assert run.answers == answers[: len(run.answers)]
                    assert all(answer.call <= number or kind == "end" for answer in run.answers)
                assert run.answers == answers
            bridge.end()
            ledger.close(outcome="ok", clock=(1, 2, 3))
            again = Recording.of(ledger)
            assert [c.order for c in again.calls] == [c.order for c in recording.calls]
            recording = again

    anyio.run(both)


@pytest.mark.anyio
async def test_an_answer_waits_for_the_calls_the_host_had_seen() -> None:
    """An answer that came after call 2 was asked for does not come before it in the replay."""

    async def script(run: Run, world: Numbered) -> None:
        run.call(1)
        run.call(2)
        await settled()
        for number in (1, 2):
            world.release[number].set()
            await settled()

    recording, answers = await record(script)
    bridge, _ = replaying(recording)
    async with anyio.create_task_group() as tasks:
        run = Run(bridge, tasks)
        run.call(1)
        await settled()
        assert run.answers == []
        run.call(2)
        await settled()
        assert run.answers == answers


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("number", "other", "shown"),
    [
        (2, Call(2, "s", "fail", '{"n": 9}', 5), ['call 2 is s:fail({"n":9})', 'recorded one is s:fail({"n":2})']),
        (2, Call(2, "s", "read", '{"n": 2}', 5), ['s:read({"n":2})', 's:fail({"n":2})']),
        (2, Call(2, "S", "fail", '{"n": 2}', 5), ['S:fail({"n":2})']),
        (6, Call(6, "s", "read", '{"n": 6}', 5), ["call 6 is s:read", "recorded one is none"]),
        (1, Call(1, "s", "\x1b[2J", '{"n": "\u202e"}', 5), ["\\x1b[2J", "\\u202e"]),
    ],
)
async def test_divergence(number: int, other: Call, shown: list[str]) -> None:
    """A call that differs from the recorded one ends the replay with REPLAY_DIVERGENCE and shows both, escaped."""
    recording, _ = await record(three)
    bridge, _ = replaying(recording)
    for same in range(1, number):
        bridge.admit(call(same, TOOLS[same]))
    with pytest.raises(GuestError) as caught:
        bridge.admit(other)
    assert (caught.value.code, caught.value.line) == (Code.REPLAY_DIVERGENCE, 5)
    assert caught.value.message.isprintable()
    for text in shown:
        assert text in caught.value.message


@pytest.mark.anyio
async def test_arguments_are_compared_by_value() -> None:
    """Another spelling of the same arguments is no divergence."""
    recording, _ = await record(three)
    bridge, _ = replaying(recording)
    assert bridge.admit(Call(1, "s", "read", ' {"\\u006e" : 1.0}', 1)).args == {"n": 1.0}


@pytest.mark.anyio
async def test_fewer_calls_are_a_divergence() -> None:
    """A replayed run that ends with fewer calls than recorded did not do the same."""
    recording, _ = await record(three)
    bridge, _ = replaying(recording)
    bridge.admit(call(1))
    with pytest.raises(GuestError, match="made 1 calls, the recorded one 5") as caught:
        bridge.end()
    assert caught.value.code is Code.REPLAY_DIVERGENCE


@pytest.mark.anyio
async def test_a_call_that_was_never_answered_is_not() -> None:
    """A call that was executing when the recorded run ended gets no answer; the rest goes on."""

    async def script(run: Run, world: Numbered) -> None:
        run.call(1)
        run.call(2)
        await settled()
        world.release[2].set()
        await settled()

    recording, answers = await record(script, outcome="EXECUTION_TIMEOUT")
    assert [(c.state, c.order) for c in recording.calls] == [("unknown", None), ("applied", 0)]
    bridge, ledger = replaying(recording)
    async with anyio.create_task_group() as tasks:
        run = Run(bridge, tasks)
        run.call(1)
        run.call(2)
        await settled()
        tasks.cancel_scope.cancel()
    ledger.close(outcome="EXECUTION_TIMEOUT")
    assert run.answers == answers
    assert [record.state for record in ledger.calls] == ["unknown", "applied"]


@pytest.mark.anyio
async def test_a_run_that_awaited_a_person_ends_there_again() -> None:
    """The replay of a run that ended with APPROVAL_REQUIRED ends with it at the same call."""
    ledger = opened()
    bridge = Bridge(world=Numbered(), ledger=ledger, limits=LIMITS, policy=Policy())
    with pytest.raises(ApprovalRequired):
        await bridge.answer(bridge.admit(call(1)))
    ledger.close(outcome="APPROVAL_REQUIRED")
    again, ledger = replaying(Recording.of(ledger))
    with pytest.raises(ApprovalRequired):
        await again.answer(again.admit(call(1)))
    assert ledger.calls[0].state == "pending"


# Recordings


@pytest.mark.anyio
async def test_a_recording_is_everything_a_box_needs() -> None:
    """Code, arguments, seed, clock and facts come back from a file as they were; the file is its owner's alone."""
    recording, _ = await record(three)
    assert (recording.code, recording.args_text, recording.seed) == ("code \u20ac", '{"p":"."}', "ab" * 32)
    assert (recording.now_ns, recording.clock, recording.run_id) == (7, (1, 2, 3), "run-1")
    assert recording.facts == {"backend": "wasm", "limits": {"wall": 30.0}}
    assert verify(recording.entries) == recording.head


@pytest.mark.anyio
async def test_files(tmp_path: Path) -> None:
    """A saved recording loads equal; its file has mode 0600 whatever the umask, and never replaces another."""
    recording, _ = await record(three)
    path = tmp_path / "run-1.json"
    old = os.umask(0)
    try:
        recording.save(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Recording.load(path) == recording == Recording.load(path, head=recording.head)
    with pytest.raises(ValidationError, match="head"):
        Recording.load(path, head="0" * 64)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="File exists"):
        recording.save(path)
    assert path.read_bytes() == before
    with pytest.raises(ConfigError):
        recording.save(tmp_path / "missing" / "run.json")


@pytest.mark.anyio
async def test_links_and_pipes(tmp_path: Path) -> None:
    """C: a symbolic link is neither written through nor read through, and a pipe or a device is not waited for."""
    recording, _ = await record(three)
    link, target, pipe = tmp_path / "link", tmp_path / "target", tmp_path / "pipe"
    link.symlink_to(target)
    os.mkfifo(pipe)
    with pytest.raises(ConfigError):
        recording.save(link)
    assert not target.exists()
    recording.save(target)
    for path in (link, pipe, tmp_path, Path("/dev/zero"), tmp_path / "missing"):
        with pytest.raises(ConfigError):
            Recording.load(path)


@pytest.mark.anyio
async def test_too_much_to_keep_is_no_recording() -> None:
    """A ledger that dropped answers, and one that is not closed, cannot be recorded."""
    small = Ledger("r", keep_bytes=10)
    small.open(code="", args_text="{}", seed="0" * 64, now_ns=0)
    record_ = small.admit(call(1), {"n": 1})
    small.started(record_, ToolInfo("s", "read"), "")
    small.ended(record_, '"a long answer"', source="real")
    small.close(outcome="ok")
    for ledger in (small, opened()):
        with pytest.raises(ValidationError, match="cannot be recorded"):
            Recording.of(ledger)


def damage(document: dict[str, Any], data: st.DataObject) -> None:
    """Change, remove or retype one thing anywhere in the document."""
    place: Any = document
    while True:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        if data.draw(st.booleans()):
            del place[key]
        else:
            place[key] = data.draw(st.sampled_from([None, "x", -1, True, [], {}, [1], {"a": 1}, '{"n":7}', "1"]))
        return


def rehash(document: dict[str, Any]) -> None:
    head = "0" * 64
    for number, entry in enumerate(document["entries"]):
        entry |= {"n": number, "prev": head}
        entry.pop("hash", None)
        head = entry["hash"] = jsontext.sha256(entry)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "good.json"
    recording, _ = anyio.run(record, three)
    recording.save(path)
    return path


@given(st.data())
@settings(max_examples=300)
def test_damage_is_found(saved: Path, data: st.DataObject) -> None:
    """A recording with anything changed, missing or of another kind is refused; nothing else is ever raised."""
    document = json.loads(saved.read_bytes())
    damage(document, data)
    if jsontext.canonical(document) == saved.read_bytes():
        return
    bad = saved.with_name("bad.json")
    bad.write_text(json.dumps(document))
    with pytest.raises(ValidationError):
        Recording.load(bad)


@given(st.data())
@settings(max_examples=100)
def test_a_forged_chain_is_checked_all_the_same(saved: Path, data: st.DataObject) -> None:
    """Even if every hash was made anew, a recording loads only if it can be replayed; only our errors come out."""
    document = json.loads(saved.read_bytes())
    damage(document["entries"][data.draw(st.integers(0, len(document["entries"]) - 1))], data)
    rehash(document)
    bad = saved.with_name("forged.json")
    bad.write_text(json.dumps(document))
    try:
        recording = Recording.load(bad)
    except ValidationError:
        return
    assert {c.order for c in recording.calls} - {None} == set(range(sum(c.order is not None for c in recording.calls)))


@pytest.mark.parametrize(
    ("key", "value"), [("order", 9), ("order", 1), ("order", None), ("after", 6), ("call", 3), ("code", "X")]
)
def test_a_recording_that_could_not_be_replayed(saved: Path, key: str, value: object) -> None:
    """Orders have no hole, no answer waits for more calls than there are, codes are ours: or a replay would hang."""
    document = json.loads(saved.read_bytes())
    entry = next(e for e in document["entries"] if e.get("order") == 2)
    assert entry["call"] == 2
    entry[key] = value
    rehash(document)
    bad = saved.with_name("impossible.json")
    bad.write_text(json.dumps(document))
    with pytest.raises(ValidationError):
        Recording.load(bad)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"format":"belljar recording 2"}',
        b'{"format":"belljar recording 1"}',
        b"[" * 10**6,
    ],
)
def test_what_is_no_recording(data: bytes, tmp_path: Path) -> None:
    """Any other file is refused in one line."""
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(BelljarError) as caught:
        Recording.load(path)
    assert isinstance(caught.value, ValidationError)
    assert caught.value.message.isprintable()
