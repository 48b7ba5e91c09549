"""The projection of a ledger: every call, host's facts, and the values as they were; and that it leaves masked."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar._version import __version__
from belljar.errors import Code
from belljar.limits import MIB
from belljar.rpc.ledger import CallRecord, Ledger
from belljar.rpc.messages import Call
from belljar.rpc.world import ToolInfo
from belljar.tracing import RunFacts, TraceIds, collect
from belljar.tracing.masked import MaskedTraces
from belljar.tracing.masking.plain import TRUNCATED
from belljar.tracing.types import MAX_DECISIONS, Trace, decode

READ = ToolInfo("git", "git_log", annotations={"readOnlyHint": True}, digest="d1")
WRITE = ToolInfo("git", "git_commit", digest="d2")
TRACE_ID = "019a0000-0000-7000-8000-000000000001"
START_NS = 1_700_000_000_123_456_789
SECRET = "AKIAZ7VRSQ5TJN2XMPLQ"
MASKED = MaskedTraces()


class Clock:
    """Counts up by a quarter of a second each time it is read."""

    def __init__(self, now: int = START_NS) -> None:
        self.now = now

    def __call__(self) -> int:
        self.now += 250_000_000
        return self.now


def opened(source: str = "real") -> Ledger:
    ledger = Ledger("run-1", source=source, clock=Clock(), monotonic=Clock())
    ledger.open(code="code", args_text="{}", seed="0" * 64, now_ns=7)
    return ledger


def admit(ledger: Ledger, tool: ToolInfo = READ, args: Any = None, line: int = 3) -> CallRecord:
    text = json.dumps({} if args is None else args)
    return ledger.admit(Call(len(ledger.calls) + 1, tool.server, tool.name, text, line), json.loads(text))


def apply(ledger: Ledger, value: Any, tool: ToolInfo = READ, args: Any = None, source: str = "real") -> None:
    record = admit(ledger, tool, args)
    ledger.started(record, tool, "allow git:*")
    ledger.ended(record, json.dumps(value), source=source)


def facts(**changes: Any) -> RunFacts:
    known: dict[str, Any] = {
        "trace_id": TRACE_ID,
        "capability_id": "local.default.git.release_notes.a7f3",
        "capability_hash": "a" * 64,
        "success": True,
        "duration_ms": 12.3456,
        "started_at_ns": START_NS,
    }
    return RunFacts(**(known | changes))


def projected(told: RunFacts, calls: list[CallRecord]) -> Trace:
    """The raw projection, read as a server reads one."""
    return decode(json.loads(collect(told, calls).joined()))


def test_golden_trace() -> None:
    """F18 F19 F20 F22: one run, one trace, field by field; loops count up, gathered calls share a layer."""
    ledger = opened()
    for _ in range(2):
        apply(ledger, ["a"], args={"repo_path": "."})
    gathered = [admit(ledger, WRITE, line=5), admit(ledger, READ, line=6)]
    for record, tool in zip(gathered, (WRITE, READ), strict=True):
        ledger.started(record, tool, "allow git:*")
    ledger.ended(gathered[1], '{"x": 1}', source="real")
    ledger.failed(gathered[0], Code.RPC_ERROR, "no such repository")
    ledger.close(outcome="CAPABILITY_ERROR")
    trace = collect(
        facts(
            success=False,
            error_code=Code.CAPABILITY_ERROR,
            error_message="ToolError: no such repository",
            error_line=5,
            parent_trace_id="019a0000-0000-7000-8000-000000000000",
            workflow_id="release-7",
            intent="What changed",
            backend="wasm",
            walls=("wasm", "landlock", "seccomp"),
            ledger_head="b" * 64,
            decisions=[("L4", "true", "count > 1"), ("L9", "case:2", "")],
        ),
        ledger.calls,
    )

    def task(number: int, **changes: Any) -> dict[str, Any]:
        return {
            "taskId": f"t{number}",
            "tool": "git:git_log",
            "args": {},
            "success": True,
            "state": "applied",
            "durationMs": 250.0,
            "layerIndex": 2,
            "callSite": 3,
            "iteration": 1,
            "source": "real",
            "isWrite": False,
            "isCapabilityCall": False,
            "grant": "allow git:*",
        } | changes

    path, one = {"repo_path": "."}, ["a"]
    wire = json.loads(trace.joined())
    assert decode(wire).to_wire() == wire
    assert wire == {
        "traceId": TRACE_ID,
        "parentTraceId": "019a0000-0000-7000-8000-000000000000",
        "workflowId": "release-7",
        "capabilityId": "local.default.git.release_notes.a7f3",
        "capabilityHash": "a" * 64,
        "success": False,
        "errorMessage": "ToolError: no such repository",
        "errorCode": "CAPABILITY_ERROR",
        "durationMs": 12.346,
        "timestamp": "2023-11-14T22:13:20.123Z",
        "intent": "What changed",
        "taskResults": [
            task(1, args=path, result=one, layerIndex=0, timestamp="2023-11-14T22:13:20.873Z"),
            task(2, args=path, result=one, layerIndex=1, iteration=2, timestamp="2023-11-14T22:13:21.373Z"),
            task(
                3,
                tool="git:git_commit",
                result={"code": "RPC_ERROR", "message": "no such repository"},
                success=False,
                state="failed",
                durationMs=750.0,
                callSite=5,
                isWrite=True,
                errorCode="RPC_ERROR",
                timestamp="2023-11-14T22:13:22.123Z",
            ),
            task(4, result={"x": 1}, callSite=6, timestamp="2023-11-14T22:13:22.373Z"),
        ],
        "decisions": [
            {"nodeId": "L4", "outcome": "true", "condition": "count > 1"},
            {"nodeId": "L9", "outcome": "case:2"},
        ],
        "metadata": {
            "backend": "wasm",
            "walls": ["wasm", "landlock", "seccomp"],
            "sdkVersion": __version__,
            "ledgerHead": "b" * 64,
            "redactions": {},
            "truncated": {},
            "mockedShare": 0.0,
            "decisions": "guest-reported",
            "errorLine": 5,
        },
    }


def every_state(text: str) -> Ledger:
    """A ledger with a call in each state, and `text` in everything the guest or an upstream may say."""
    ledger, args = opened(), {"q": text, text: 1}
    apply(ledger, {"answer": text}, args=args)
    failed = admit(ledger, READ, args)
    ledger.started(failed, READ, "allow *")
    ledger.failed(failed, Code.RPC_ERROR, text, json.dumps(text))
    ledger.refused(admit(ledger, READ, args), "denied", Code.PERMISSION_DENIED, text)
    ledger.awaiting(admit(ledger, WRITE, args))
    ledger.started(admit(ledger, WRITE, args), WRITE, "allow *")
    admit(ledger, READ, args)
    ledger.close(outcome="APPROVAL_REQUIRED")
    return ledger


def test_every_call_appears_with_its_state() -> None:
    """F18: denied, pending, unknown and never-made calls are in the trace as well, and only applied ones succeeded."""
    trace = projected(facts(), every_state("x").calls)
    states = [(task.state, task.success) for task in trace.task_results]
    assert states == [
        ("applied", True),
        ("failed", False),
        ("denied", False),
        ("pending", False),
        ("unknown", False),
        ("pending", False),
    ]
    assert [task.error_code for task in trace.task_results][2:4] == ["PERMISSION_DENIED", "APPROVAL_REQUIRED"]
    assert [task.result is None for task in trace.task_results] == [False, False, False, True, True, False]


def test_a_secret_is_in_the_projection_and_not_in_what_leaves() -> None:
    """F27: a secret in every place a guest, caller or upstream can write is nowhere in the trace."""
    told = facts(error_message=SECRET, intent=SECRET, decisions=[("L1", "true", SECRET), (SECRET, SECRET, SECRET)])
    calls = every_state(SECRET).calls
    raw = projected(told, calls)
    assert (raw.error_message, raw.intent, raw.decisions[0].condition) == (SECRET, SECRET, SECRET)
    assert raw.task_results[0].result == {"answer": SECRET}
    assert raw.task_results[1].result == {"code": "RPC_ERROR", "message": SECRET}
    trace = MaskedTraces()(told, calls).wire()
    assert SECRET not in json.dumps(trace)
    assert trace["metadata"]["redactions"]["SECRET"] > 10
    assert [task["state"] for task in trace["taskResults"]] == [task.state for task in raw.task_results]


def broken(*_args: Any, **_kwargs: Any) -> Any:
    raise RuntimeError(f"a bug that quotes what it was given: {SECRET}")


@pytest.mark.parametrize(
    "place", ["sanitizer.Sanitizer.__init__", "sanitizer.Sanitizer._looks", "outbound.Outbound.texts", "masked.collect"]
)
def test_what_cannot_be_masked_does_not_leave(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """F27: whatever breaks on the way, the trace that is left has an ERROR, and no value at all."""
    monkeypatch.setattr(f"belljar.tracing.{place}", broken)
    traces = MaskedTraces()
    traces.prepare()
    trace = traces(facts(error_message="plain words", intent="plain words"), every_state("plain words").calls).wire()
    assert "plain words" not in json.dumps(trace)
    assert SECRET not in json.dumps(trace)
    assert (trace["traceId"], trace["success"]) == (TRACE_ID, True)
    assert trace["metadata"]["redactions"] == {"ERROR": 1}
    assert trace["taskResults"] == []


def test_threads_build_one_way_out() -> None:
    """However many threads ask first."""
    traces = MaskedTraces(["swordfish-9"])
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(traces.built())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(map(id, found))) == 1
    assert traces(facts(intent="say swordfish-9"), []).wire()["intent"] == "say [REDACTED]"


@given(st.text(st.characters(exclude_categories=()), max_size=20), st.sampled_from([1, 300]))
def test_names_are_bounded_and_harmless(name: str, times: int) -> None:
    """F19: names are foreign text; what is in the trace is bounded and visible."""
    ledger = opened()
    record = ledger.admit(Call(1, name * times, name * times, "{}", 1), {})
    ledger.refused(record, "failed", Code.UNKNOWN_TOOL, "no such tool")
    tool = projected(facts(workflow_id=name * times), ledger.calls).task_results[0].tool
    assert tool.replace("…", "").isascii()
    assert tool.isprintable()
    assert len(tool) < 1000


def test_a_colon_in_a_servers_name_moves_no_border() -> None:
    """The first colon divides server and tool, also of a server nobody should have named so."""
    ledger = opened()
    for server, tool in (("a:b", "c"), ("a", "b:c")):
        ledger.refused(ledger.admit(Call(1, server, tool, "{}", 1), {}), "failed", Code.UNKNOWN_TOOL, "no")
    assert [task.tool for task in projected(facts(), ledger.calls).task_results] == [r"a\x3ab:c", "a:b:c"]


@given(
    st.lists(st.sampled_from(["applied", "failed", "denied", "pending", "unknown"]), max_size=8),
    st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4), st.text(max_size=4)), max_size=4),
    st.integers(0, 2**62),
)
def test_every_trace_is_one_a_server_takes(states: list[str], decisions: list[tuple[str, str, str]], ns: int) -> None:
    """F19: a server takes what was collected, raw or masked, and there is nothing in it that it does not know."""
    ledger = opened()
    for state in states:
        record = admit(ledger)
        if state == "denied":
            ledger.refused(record, "denied", Code.PERMISSION_DENIED, "no")
        elif state == "pending":
            ledger.awaiting(record)
        else:
            ledger.started(record, WRITE, "allow *")
            if state == "applied":
                ledger.ended(record, "1", source="real", detail="cache")
            elif state == "failed":
                ledger.failed(record, Code.RPC_ERROR, "no")
    ledger.close(outcome="ok")
    told = facts(decisions=decisions, started_at_ns=ns % 10**18, ledger_head=ledger.head)
    wire = json.loads(collect(told, ledger.calls).joined())
    trace = decode(wire)
    assert trace.to_wire() == wire
    assert [task.state for task in trace.task_results] == states
    assert decode(MASKED(told, ledger.calls).wire()).trace_id == TRACE_ID


def test_a_line_is_too_small_to_hold_anything() -> None:
    """F27: what the guest reports as a line is a number that nobody looks at; one of sixteen digits is no line."""
    ledger = opened()
    ledger.refused(admit(ledger, line=4556737586899855), "failed", Code.UNKNOWN_TOOL, "no")
    trace = projected(facts(error_line=4556737586899855), ledger.calls)
    assert (trace.task_results[0].call_site, trace.metadata.error_line) == (0, 0)


def test_decisions_are_bounded_and_read_like_decisions() -> None:
    """F20: what is no branch is dropped, beyond 1000 nothing is kept, and either is said."""
    many = [(f"L{n}", "false", "") for n in range(MAX_DECISIONS + 1)]
    assert len(projected(facts(decisions=many), []).decisions) == MAX_DECISIONS
    assert projected(facts(decisions=many), []).metadata.decisions == "truncated"
    assert projected(facts(decisions=[("L1", "yes", "")]), []).metadata.decisions == "truncated"
    assert projected(facts(decisions=many[:3]), []).metadata.decisions == "guest-reported"
    assert projected(facts(decisions_state="unavailable"), []).metadata.decisions == "unavailable"


def test_the_mocked_share_is_counted_by_the_host() -> None:
    """Calls that nothing real answered, as a share; without calls there is none."""
    ledger = opened()
    for source in ("real", "fake", "replay", "real"):
        apply(ledger, 1, source=source)
    assert projected(facts(), ledger.calls).metadata.mocked_share == 0.5
    assert projected(facts(), []).metadata.mocked_share == 0.0


def test_values_that_were_not_kept_are_marks() -> None:
    """A ledger that ran out of room still gives a truthful trace, masked or not: a mark for each, and its size."""
    ledger = Ledger("run-1", keep_bytes=100)
    record = ledger.admit(Call(1, "git", "git_log", '{"a": "' + "x" * 200 + '"}', 1), {"a": "x" * 200})
    ledger.started(record, READ, "allow *")
    ledger.ended(record, "x" * 500, source="real")
    trace = projected(facts(), ledger.calls)
    assert (trace.task_results[0].args, trace.task_results[0].result) == (TRUNCATED, TRUNCATED)
    assert trace.metadata.truncated == {"/taskResults/0/args": 209, "/taskResults/0/result": 500}
    assert MaskedTraces()(facts(), ledger.calls).wire()["metadata"]["truncated"] == trace.metadata.truncated


def test_only_so_much_is_parsed() -> None:
    """Beyond 4 MiB of values the rest are marks; a run's trace does not take the memory of all its answers."""
    ledger = opened()
    for _ in range(5):
        apply(ledger, "x" * MIB)
    trace = projected(facts(), ledger.calls)
    assert [task.result == TRUNCATED for task in trace.task_results] == [False] * 3 + [True] * 2
    assert trace.metadata.truncated == {f"/taskResults/{n}/result": MIB + 2 for n in (3, 4)}


@pytest.mark.parametrize("value", [{}, [], "a", True, None, -1.5, 0, 2**70])
def test_a_result_is_what_it_was(value: Any) -> None:
    """None is a result, too."""
    ledger = opened()
    apply(ledger, value)
    assert projected(facts(), ledger.calls).task_results[0].result == value


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.binary(min_size=10, max_size=10))
def test_trace_ids_are_uuid7_and_rise(ticks: list[int], noise: bytes) -> None:
    """RFC 9562: version and variant, the clock's milliseconds in front; a clock that goes back changes no order."""
    times = iter([START_NS + (tick - 2) * 1_000_000 for tick in ticks])
    ids = TraceIds(lambda: next(times), lambda n: noise[:n])
    made = [ids() for _ in ticks]
    assert made == sorted(set(made))
    for text in made:
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 7, uuid.RFC_4122)
    assert uuid.UUID(made[0]).int >> 80 == START_NS // 1_000_000 + ticks[0] - 2


def test_trace_ids_outlast_their_counter() -> None:
    """More ids in one millisecond than the counter holds: time runs ahead, order stays."""
    ids = TraceIds(lambda: START_NS)
    made = [ids() for _ in range(10_000)]
    assert made == sorted(set(made))


def test_trace_ids_are_unique_between_threads() -> None:
    """One source, many threads."""
    ids = TraceIds(lambda: START_NS, bytes)
    made: list[list[str]] = [[] for _ in range(4)]
    threads = [threading.Thread(target=lambda into=into: into.extend(ids() for _ in range(2000))) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({text for some in made for text in some}) == 8000


def test_collecting_needs_no_validation_library() -> None:
    """The client's half of the types works without pydantic, which takes longer to import than a run; so does re2."""
    script = (
        "import sys, belljar.tracing.masked, belljar.tracing.standalone; print({'pydantic', 're2'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "set()\n"


def test_a_lone_surrogate_costs_no_trace() -> None:
    """What came as broken bytes from a command line is replaced; the rest of the trace stands, and is masked."""
    facts = RunFacts(
        trace_id="01a1fe1d-c8d8-719d-89af-bade32a85696",
        capability_id="local.default.git.notes.a7f3",
        capability_hash="a" * 64,
        success=True,
        duration_ms=1.0,
        started_at_ns=1,
        intent="caf\udce9, key AKIAIOSFODNN7EXAMPLE",
    )
    wire = MASKED(facts, []).wire()
    assert wire["capabilityId"] == facts.capability_id
    assert wire["intent"].startswith("caf")
    assert wire["intent"].endswith(", key [REDACTED]")


def test_what_cannot_be_masked_keeps_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """F21: a trace that lost its values to a fault of ours is still its parent's child."""
    traces = MaskedTraces()
    monkeypatch.setattr(traces, "built", lambda: 1 / 0)
    parent = "01a1fe1d-c8d8-719d-89af-bade32a85697"
    facts = RunFacts(
        trace_id="01a1fe1d-c8d8-719d-89af-bade32a85696",
        parent_trace_id=parent,
        capability_id="local.default.git.notes.a7f3",
        capability_hash="a" * 64,
        success=True,
        duration_ms=1.0,
        started_at_ns=1,
    )
    assert traces(facts, []).wire()["parentTraceId"] == parent
