"""Spans of real runs, as a real collector receives them: which there are, what they hold, and what they never hold."""

from __future__ import annotations

import json
import logging
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler
from opentelemetry.trace import SpanKind, use_span

import belljar.jar
from belljar._run import Run
from belljar.errors import ValidationError
from belljar.jar import Jar, RunOptions, open_jar
from belljar.limits import Limits
from belljar.one_run import OneRun
from belljar.rpc.bridge import Bridge
from belljar.rpc.ledger import Ledger
from belljar.rpc.messages import Call
from belljar.rpc.policy import Policy
from belljar.rpc.servers import parse_servers
from belljar.rpc.upstreams import RealWorld
from belljar.rpc.world import CALLER, Answer, ToolInfo, World
from belljar.tracing import RunFacts, TraceIds
from belljar.tracing.masked import MaskedTraces
from belljar.tracing.otel import Telemetry
from belljar.tracing.spans.ids import new_span_id
from belljar.tracing.types import decode
from tests.masked import masked
from tests.otlp_receiver import Collector, Received, collecting, mute
from tests.worlds import ALL, Lab, config_in, guest_cache_in

pytestmark = pytest.mark.anyio

OPTIONS = RunOptions(policy=ALL, limits=Limits().with_(wall=20))
META_SERVER = Path(__file__).parents[1] / "fixtures" / "servers" / "meta.py"
SECRET = "AKIAZ7VRSQ5TJN2XMPLQ"
MAIL = "ann.lee@corp.com"


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


@contextmanager
def traced_by(telemetry: Telemetry) -> Iterator[None]:
    """Runs that begin within have spans."""

    def made(*args: Any, **more: Any) -> OneRun:
        return OneRun(*args, **{**more, "telemetry": telemetry})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(belljar.jar, "OneRun", made)
        yield


Telling = Callable[..., tuple[Telemetry, Collector]]


@pytest.fixture
def telling() -> Iterator[Telling]:
    """`telling(OTEL_...="...")`: runs have spans, which go to the collector that is returned."""
    with ExitStack() as stack:

        def start(**environ: str) -> tuple[Telemetry, Collector]:
            collector = stack.enter_context(collecting())
            given = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "20"}
            telemetry = Telemetry.from_environment({**given, **environ})
            assert telemetry is not None
            stack.enter_context(traced_by(telemetry))
            stack.callback(telemetry.shutdown, 5.0)
            return telemetry, collector

        yield start


async def spans_of(run: Run, collector: Collector) -> tuple[Received, list[Received]]:
    """The run's own span, and those of its calls in order, once they have come."""

    def come() -> list[Received]:
        ends = time.monotonic() + 15
        while True:
            own = [span for span in collector.spans if span.attributes.get("belljar.trace_id") == run.run_id]
            if len(own) == 1 + len(run.calls):
                return own
            assert time.monotonic() < ends, [span.name for span in own]
            time.sleep(0.01)

    await anyio.to_thread.run_sync(lambda: run.trace)
    own = await anyio.to_thread.run_sync(come)
    (of_run,) = [span for span in own if span.kind == "SPAN_KIND_INTERNAL"]
    calls = [span for span in own if span is not of_run]
    return of_run, sorted(calls, key=lambda span: span.attributes["belljar.call.id"])


# One span a run, one a call


async def test_a_run_and_its_calls_are_one_trace(jar: Jar, world: Lab, telling: Telling) -> None:
    """F70, F72: a root run's trace id is ours; trace and span name each other; times are the ledger's."""
    _, collector = telling()
    before = time.time_ns()
    run = await jar.run("[await mcp.lab.echo(n=1), await mcp.lab.write()]", {}, OPTIONS)
    after = time.time_ns()
    own, calls = await spans_of(run, collector)
    assert {span.trace_id for span in (own, *calls)} == {run.run_id.replace("-", "")}
    assert own.parent_id == ""
    assert own.name == "run local.default.adhoc.snippet"
    assert own.scope == "belljar"
    assert own.resource["service.name"] == "belljar"
    assert not {key for key in own.resource if key.startswith(("process.", "host."))}
    assert [span.parent_id for span in calls] == [own.span_id] * 2
    assert [span.name for span in calls] == ["tools/call echo", "tools/call write"]
    assert [span.kind for span in calls] == ["SPAN_KIND_CLIENT"] * 2
    assert len({span.span_id for span in (own, *calls)}) == 3
    metadata = run.trace["metadata"]
    assert (metadata["otelTraceId"], metadata["otelSpanId"]) == (own.trace_id, own.span_id)
    assert decode(run.trace).metadata.otel_span_id == own.span_id
    for record, span in zip(run.calls, calls, strict=True):
        assert span.start == record.started_at_ns
        assert abs(span.end - span.start - (record.duration_ms or 0) * 1e6) <= 1
        assert before <= own.start <= span.start <= span.end <= own.end <= after + 1_000_000


COMMON = {
    "belljar.trace_id",
    "belljar.run_id",
    "belljar.capability.id",
    "belljar.capability.hash",
}
OF_RUN = COMMON | {
    "belljar.success",
    "belljar.calls",
    "belljar.backend",
    "belljar.walls",
    "belljar.ledger_head",
    "belljar.mocked_share",
}
OF_CALL = COMMON | {
    "mcp.method.name",
    "gen_ai.operation.name",
    "gen_ai.tool.name",
    "belljar.server",
    "belljar.call.id",
    "belljar.call.state",
    "belljar.call.source",
    "belljar.call.grant",
    "belljar.call.is_write",
    "belljar.call.line",
}
DENIES = Policy(allow=("lab:echo",), deny=("lab:write",))
CAUGHT = "try:\n    await mcp.lab.{}\nexcept Exception:\n    pass\n"
PATHS = [
    ("await mcp.lab.echo(n=1)", ALL, 20, ("applied", "real", "allow *", None), None),
    (CAUGHT.format("fail(message='x')"), ALL, 20, ("failed", "real", "allow *", "RPC_ERROR"), None),
    ("await mcp.lab.write()", DENIES, 20, ("denied", "real", "none", "PERMISSION_DENIED"), "PERMISSION_DENIED"),
    ("await mcp.lab.look(n=1)", DENIES, 20, ("pending", "real", "none", "APPROVAL_REQUIRED"), "APPROVAL_REQUIRED"),
    (CAUGHT.format("nothing()"), ALL, 20, ("failed", "real", "none", "UNKNOWN_TOOL"), None),
    ("await mcp.lab.hold()", ALL, 0.5, ("unknown", "real", "allow *", "_OTHER"), "EXECUTION_TIMEOUT"),
]


@pytest.mark.parametrize(("code", "policy", "wall", "expected", "ended"), PATHS)
async def test_every_path_has_the_same_attributes(
    jar: Jar,
    world: Lab,
    telling: Telling,
    code: str,
    policy: Policy,
    wall: float,
    expected: tuple[str, str, str, str | None],
    ended: str | None,
) -> None:
    """F70: applied, failed, denied, pending, unknown: the full set each time, and `error.type` where it failed."""
    _, collector = telling()
    run = await jar.run(code, {}, RunOptions(policy=policy, limits=Limits().with_(wall=wall)))
    own, (call,) = await spans_of(run, collector)
    error = expected[3]
    assert run.calls[0].state == expected[0]
    assert set(call.attributes) == OF_CALL | ({"error.type"} if error else set())
    assert set(own.attributes) == OF_RUN | ({"error.type"} if ended else set())
    shown = [call.attributes[f"belljar.call.{name}"] for name in ("state", "source", "grant")]
    assert (*shown, call.attributes.get("error.type")) == expected
    assert call.failed is (error is not None)
    assert own.failed is (ended is not None)
    assert own.attributes.get("error.type") == ended
    assert (call.said, own.said) == ("", "")
    assert call.attributes["mcp.method.name"] == "tools/call"
    assert call.attributes["gen_ai.operation.name"] == "execute_tool"
    assert call.attributes["belljar.call.id"] == 1
    tool = call.attributes["gen_ai.tool.name"]
    assert call.name == ("tools/call" if error == "UNKNOWN_TOOL" else f"tools/call {tool}")


async def test_a_replay_has_spans_of_its_own(jar: Jar, world: Lab, telling: Telling) -> None:
    """F70: answered by a recording: the same set, `replay` as source, and the time it is now."""
    _, collector = telling()
    first = await jar.run("await mcp.lab.echo(n=1)", {}, OPTIONS)
    before = time.time_ns()
    again = await jar.replay(first.recording(), OPTIONS)
    own, (call,) = await spans_of(again, collector)
    assert again.run_id != first.run_id
    assert own.trace_id == again.run_id.replace("-", "")
    assert set(call.attributes) == OF_CALL
    assert call.attributes["belljar.call.source"] == "replay"
    assert own.start >= before
    assert call.start >= own.start


async def test_a_capability_that_gets_no_box_has_a_span(jar: Jar, world: Lab, telling: Telling) -> None:
    """F70: a run that fails in its first line is a run all the same."""
    _, collector = telling()
    run = await jar.run("this is no python", {}, OPTIONS)
    own, calls = await spans_of(run, collector)
    assert (own.failed, own.attributes["error.type"], calls) == (True, "SYNTAX_ERROR", [])


# Parents


async def test_a_run_joins_the_programs_trace(jar: Jar, world: Lab, telling: Telling) -> None:
    """F71: under the program's current span the run is its child, and is sampled as it is; our id is an attribute."""
    _, collector = telling()
    outer = TracerProvider().get_tracer("program").start_span("outer")
    with use_span(outer):
        run = await jar.run("await mcp.lab.echo()", {}, OPTIONS)
    own, (call,) = await spans_of(run, collector)
    context = outer.get_span_context()
    assert own.trace_id == call.trace_id == f"{context.trace_id:032x}"
    assert own.parent_id == f"{context.span_id:016x}"
    assert own.attributes["belljar.trace_id"] == run.run_id
    assert run.trace["metadata"]["otelTraceId"] == own.trace_id
    unsampled = TracerProvider(sampler=ALWAYS_OFF).get_tracer("program").start_span("outer")
    with use_span(unsampled):
        run = await jar.run("1", {}, OPTIONS)
    assert "otelTraceId" not in run.trace["metadata"]


async def test_a_run_joins_the_trace_of_its_environment(jar: Jar, world: Lab, telling: Telling) -> None:
    """F71: TRACEPARENT of the environment is the parent of a run that has no nearer one."""
    parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    _, collector = telling(TRACEPARENT=f"00-{parent[0]}-{parent[1]}-01")
    own, _ = await spans_of(await jar.run("1", {}, OPTIONS), collector)
    assert (own.trace_id, own.parent_id) == parent


class Nesting(Lab):
    """A world whose `echo` runs a capability in the same jar, and tells its run."""

    def __init__(self, jar: Jar) -> None:
        super().__init__()
        self.jar = jar
        self.children: dict[str, Run] = {}
        self.both = anyio.Event()
        self.inside = 0

    async def call(self, tool: ToolInfo, args: Mapping[str, Any]) -> Answer:
        if tool.name != "echo" or args["depth"] == 0:
            return await super().call(tool, args)
        self.inside += 1
        if self.inside == 2:
            self.both.set()
        with anyio.fail_after(10):
            await self.both.wait()
        code = f"await mcp.lab.echo(depth={args['depth'] - 1}, name={args['name']!r} + '+')"
        child = await self.jar.run(code, {}, OPTIONS)
        self.children[args["name"]] = child
        return Answer(child.unwrap())


@pytest.mark.parametrize("with_spans", [False, True])
async def test_children_of_two_parents_at_once(jar: Jar, telling: Telling, with_spans: bool) -> None:
    """F21: two parents at the same time, each with a child and a grandchild; every link is right, spans or not."""
    collector = telling()[1] if with_spans else None
    jar.world = world = Nesting(jar)
    parents: dict[str, Run] = {}

    async def start(name: str) -> None:
        parents[name] = await jar.run(f"await mcp.lab.echo(depth=2, name={name!r})", {}, OPTIONS)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(start, "a")
        tasks.start_soon(start, "b")
    assert CALLER.get() is None
    for name, parent in parents.items():
        child, grandchild = world.children[name], world.children[name + "+"]
        assert parent.unwrap() == {"depth": 0, "name": name + "++"}
        assert "parentTraceId" not in parent.trace
        assert child.trace["parentTraceId"] == parent.run_id
        assert grandchild.trace["parentTraceId"] == child.run_id
        if collector is None:
            continue
        chain = [await spans_of(run, collector) for run in (parent, child, grandchild)]
        assert {own.trace_id for own, _ in chain} == {parent.run_id.replace("-", "")}
        for (_, (call,)), (below, _) in pairwise(chain):
            assert below.parent_id == call.span_id
        assert chain[1][0].attributes["belljar.parent_trace_id"] == parent.run_id


async def test_runs_at_once_do_not_mix(jar: Jar, world: Lab, telling: Telling) -> None:
    """F71: eight runs in parallel, eight traces, each call below its own run."""
    _, collector = telling()
    runs: list[Run] = []

    async def start(n: int) -> None:
        runs.append(await jar.run(f"for i in range({n}):\n    await mcp.lab.look(n=i)", {}, OPTIONS))

    async with anyio.create_task_group() as tasks:
        for n in range(8):
            tasks.start_soon(start, n)
    for run in runs:
        own, calls = await spans_of(run, collector)
        assert own.attributes["belljar.calls"] == len(run.calls)
        assert {call.parent_id for call in calls} <= {own.span_id}
        assert {call.trace_id for call in calls} <= {run.run_id.replace("-", "")}


# A real server


def meta_server(**more: Any) -> Mapping[str, Any]:
    entry = {"command": sys.executable, "args": [str(META_SERVER)], **more}
    return parse_servers(json.dumps({"mcpServers": {"meta": entry}}), {})


async def test_the_server_is_told_the_span_of_its_call(jar: Jar, telling: Telling) -> None:
    """F71, F72: run -> call -> what the server received in `_meta`: the call's own span, in the run's trace."""
    _, collector = telling()
    async with RealWorld(meta_server().values()) as jar.world:
        run = await jar.run("[await mcp.meta.meta(), await mcp.meta.meta()]", {}, OPTIONS)
    own, calls = await spans_of(run, collector)
    for said, call in zip(run.unwrap(), calls, strict=True):
        assert said["meta"] == {"traceparent": f"00-{own.trace_id}-{call.span_id}-01"}
        assert call.attributes["network.transport"] == "pipe"
        assert call.attributes["mcp.protocol.version"] == "2025-06-18"
        assert call.attributes["jsonrpc.request.id"] == str(said["id"])
        assert not {"server.address", "network.protocol.name", "mcp.session.id"} & set(call.attributes)


async def test_the_ways_a_server_fails(jar: Jar, telling: Telling) -> None:
    """F70: a tool's own failure is `tool_error`, a JSON-RPC error its code, a deadline ours; no words."""
    _, collector = telling()
    code = "".join(CAUGHT.replace("lab", "meta").format(call) for call in ("fails(words='w')", "refuses(words='w')"))
    code += CAUGHT.replace("lab", "meta").format("sleep(seconds=30)")
    async with RealWorld(meta_server().values()) as jar.world:
        run = await jar.run(code, {}, RunOptions(policy=ALL, limits=Limits().with_(wall=20, call=1)))
    _, calls = await spans_of(run, collector)
    assert [call.attributes["error.type"] for call in calls] == ["tool_error", "-32050", "RPC_TIMEOUT"]
    assert [call.attributes.get("rpc.response.status_code") for call in calls] == [None, "-32050", None]
    assert all(call.failed and not call.said for call in calls)


async def test_without_telemetry_nothing_is_sent(jar: Jar) -> None:
    """F71: no spans, no `_meta`; and the metadata names none."""
    async with RealWorld(meta_server().values()) as jar.world:
        run = await jar.run("await mcp.meta.meta()", {}, OPTIONS)
    assert run.unwrap()["meta"] is None
    assert not {"otelTraceId", "otelSpanId"} & set(run.trace["metadata"])


async def test_what_is_not_sampled_says_so(jar: Jar, telling: Telling) -> None:
    """F71: always_off: the server is told a trace that is not sampled, and nothing is exported."""
    telemetry, collector = telling(OTEL_TRACES_SAMPLER="always_off")
    async with RealWorld(meta_server().values()) as jar.world:
        run = await jar.run("await mcp.meta.meta()", {}, OPTIONS)
    assert run.unwrap()["meta"]["traceparent"].endswith("-00")
    assert "otelTraceId" not in run.trace["metadata"]
    await anyio.to_thread.run_sync(telemetry.shutdown, 5.0)
    assert collector.bodies == []
    assert set(telemetry.counters.values()) == {0}


async def test_a_recording_knows_nothing_of_traces(jar: Jar, telling: Telling) -> None:
    """F71: recorded with spans, replayed without, and the other way round: `_meta` is no part of a call."""
    async with RealWorld(meta_server().values()) as jar.world:
        plain = await jar.run("(await mcp.meta.echo(n=1))['echo']", {}, OPTIONS)
        telling()
        traced = await jar.run("(await mcp.meta.echo(n=1))['echo']", {}, OPTIONS)
    for recording in (plain.recording(), traced.recording()):
        assert "traceparent" not in repr(recording)
        assert (await jar.replay(recording, OPTIONS)).unwrap() == {"n": 1}
    assert plain.calls[0].args_sha256 == traced.calls[0].args_sha256


# What never leaves


LEAKS = """
words = args["words"]
await mcp.lab.echo(token=words, words=words, **{words: 1})
try:
    await mcp.lab.fail(message=words, data=words)
except Exception:
    pass
try:
    await mcp.lab[words]()
except Exception:
    pass
try:
    await mcp[words].x()
except Exception:
    pass
if words:
    raise ValueError(words)
"""


@pytest.mark.parametrize("content", ["", "true"])
async def test_a_secret_is_in_no_exported_byte(jar: Jar, world: Lab, telling: Telling, content: str) -> None:
    """F27: in arguments, keys, results, messages, names, intent and workflow; asked for content or not."""
    _, collector = telling(OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=content)
    told = f"{SECRET} {MAIL}"
    options = RunOptions(policy=ALL, limits=OPTIONS.limits, intent=told, workflow=SECRET)
    run = await jar.run(LEAKS, {"words": told}, options)
    own, calls = await spans_of(run, collector)
    assert len(calls) == 4
    sent = b"".join(collector.bodies)
    assert SECRET.encode() not in sent
    assert MAIL.encode() not in sent
    assert SECRET[4:].encode() not in sent
    held = "gen_ai.tool.call.arguments" in calls[0].attributes, bool(own.said), "belljar.intent" in own.attributes
    assert held == (bool(content),) * 3
    if content:
        assert json.loads(calls[0].attributes["gen_ai.tool.call.arguments"])["token"] == "[REDACTED]"
        assert calls[1].said == "[REDACTED] [EMAIL]"
        assert "gen_ai.tool.call.result" not in calls[1].attributes


async def test_content_is_what_the_trace_holds(jar: Jar, world: Lab, telling: Telling) -> None:
    """F70: asked for, arguments and results are there, and nothing else than the trace has."""
    _, collector = telling(OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="true")
    run = await jar.run("await mcp.lab.echo(n=[1, {'a': None}])", {}, OPTIONS)
    _, (call,) = await spans_of(run, collector)
    task = run.trace["taskResults"][0]
    assert json.loads(call.attributes["gen_ai.tool.call.arguments"]) == task["args"] == {"n": [1, {"a": None}]}
    assert json.loads(call.attributes["gen_ai.tool.call.result"]) == task["result"]


async def test_content_is_cut(jar: Jar, world: Lab, telling: Telling) -> None:
    """F26: spans wait in memory by the thousand; an attribute of one holds 32 KiB at most."""
    _, collector = telling(OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="true")
    run = await jar.run("await mcp.lab.echo(**{f'k{i}': 'word ' * 1800 for i in range(8)})", {}, OPTIONS)
    _, (call,) = await spans_of(run, collector)
    for name in ("arguments", "result"):
        held = call.attributes[f"gen_ai.tool.call.{name}"]
        assert len(held) == 32 * 1024
        assert held.endswith("...[TRUNCATED]")


def test_ids_of_spans_pass_the_sanitizer_and_the_decoder() -> None:
    """F25, F72: no id of ours reads as anything that is masked; what is no id is refused, by name."""
    ids, masked = TraceIds(), MaskedTraces()
    for _ in range(2000):
        run_id, span_id = ids(), new_span_id()
        facts = RunFacts(
            trace_id=run_id,
            capability_id="local.default.adhoc.snippet.a7f3",
            capability_hash="a" * 64,
            success=True,
            duration_ms=1.0,
            started_at_ns=1,
            otel_trace_id=run_id.replace("-", ""),
            otel_span_id=span_id,
        )
        metadata = masked(facts, []).wire()["metadata"]
        assert (metadata["otelTraceId"], metadata["otelSpanId"]) == (run_id.replace("-", ""), span_id)
    for bad in ({"otelTraceId": "a" * 16}, {"otelSpanId": "a" * 32}, {"otelTraceId": "A" * 32}, {"otelSpanId": 7}):
        with pytest.raises(ValidationError, match="metadata"):
            decode({**masked(facts, []).wire(), "metadata": bad})


async def test_headers_are_the_collectors_alone(jar: Jar, world: Lab, telling: Telling) -> None:
    """The key of the collector goes to the collector, and is known as a secret."""
    telemetry, collector = telling(OTEL_EXPORTER_OTLP_HEADERS="x-api-key=swordfish-9")
    await spans_of(await jar.run("1", {}, OPTIONS), collector)
    assert collector.headers[0]["x-api-key"] == "swordfish-9"
    assert telemetry.secrets == {"swordfish-9"}
    assert "swordfish" not in repr(telemetry)


# A collector that does not help


def aimed_at(url: str, **environ: str) -> Telemetry:
    given = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "5", "OTEL_EXPORTER_OTLP_TIMEOUT": "2"}
    telemetry = Telemetry.from_environment({**given, **environ})
    assert telemetry is not None
    return telemetry


@contextmanager
def closed_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    yield url


async def _calls_at_the_bridge(telemetry: Telemetry | None) -> float:
    """Seconds of ten calls on this side of the border, with all that spans add; the spans are built after it."""
    run_id = TraceIds()()
    ledger = Ledger(run_id)
    ledger.open(code="", args_text="{}", seed="0" * 64, now_ns=0)
    began = time.perf_counter()
    spans = telemetry.begin(run_id, "local.default.adhoc.snippet.a7f3") if telemetry else None
    caller = spans.caller if spans else None
    bridge = Bridge(world=Lab(), ledger=ledger, limits=Limits(), policy=ALL, caller=caller)
    for n in range(10):
        await bridge.answer(bridge.admit(Call(n + 1, "lab", "echo", "{}", 1)))
    taken = time.perf_counter() - began
    ledger.close(outcome="ok")
    if spans is not None:
        wire = {"traceId": run_id, "success": True, "durationMs": 1.0}
        await anyio.to_thread.run_sync(spans.finish, masked(wire), ledger.calls)
    return taken


@pytest.mark.parametrize("collector", [closed_port, mute])
async def test_a_dead_collector_adds_less_than_5_ms(collector: Callable[[], Any]) -> None:
    """F71: refused or never answered, while spans wait to be exported, ten calls take less than 5 ms longer.

    At the bridge and not around whole runs: there two halves of the same thing differ by more than 5 ms on a busy
    machine, in either direction, and 6 ms put in on purpose are mostly missed. Here they are always found.
    """
    with collector() as url:
        telemetry = aimed_at(url)
        without, traced = list[float](), list[float]()
        await _calls_at_the_bridge(telemetry)
        for _ in range(40):
            without.append(await _calls_at_the_bridge(None))
            traced.append(await _calls_at_the_bridge(telemetry))
        assert telemetry.counters["built"] == 41 * 11
        assert telemetry.counters["exported"] == 0
        await anyio.to_thread.run_sync(telemetry.shutdown, 0.1)
    assert statistics.median(traced) - statistics.median(without) < 0.005


@pytest.mark.parametrize("collector", [closed_port, mute])
async def test_no_run_and_no_trace_waits_for_a_collector(
    jar: Jar, world: Lab, caplog: pytest.LogCaptureFixture, collector: Callable[[], Any]
) -> None:
    """F71: whole runs and their traces never take a collector's time; one line is said, and the end is bounded."""
    with collector() as url, caplog.at_level(logging.INFO):
        telemetry = aimed_at(url, OTEL_EXPORTER_OTLP_TIMEOUT="10")
        with traced_by(telemetry):
            # Waiting for a single request of it would take the ten seconds.
            with anyio.fail_after(9):
                for _ in range(10):
                    run = await jar.run("await mcp.lab.echo(n=1)", {}, OPTIONS)
                    await anyio.to_thread.run_sync(lambda made: made.trace, run)
        began = time.perf_counter()
        done = await anyio.to_thread.run_sync(telemetry.shutdown, 0.3)
        taken = time.perf_counter() - began
    assert not done
    assert taken < 2.0
    counted = telemetry.counters
    assert counted["built"] == 20
    assert counted["exported"] == counted["errors"] == 0
    said = [record for record in caplog.records if record.levelno >= logging.INFO]
    assert [record.name for record in said] == ["belljar.otel"], caplog.text
    assert url in said[0].getMessage()
    assert said[0].exc_info is None


async def test_every_span_that_is_lost_is_counted(jar: Jar, world: Lab) -> None:
    """F71: with room for four, behind a collector that never answers: built is what was sent, refused or is dropped."""
    with mute() as url:
        telemetry = aimed_at(url, OTEL_BSP_MAX_QUEUE_SIZE="4", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="2")
        with traced_by(telemetry):
            run = await jar.run("for i in range(20):\n    await mcp.lab.look(n=0)", {}, OPTIONS)
            await anyio.to_thread.run_sync(lambda: run.trace)
        assert telemetry.counters["built"] == 21
        assert 21 - 4 - 2 <= telemetry.counters["dropped"] <= 21 - 4
        assert not await anyio.to_thread.run_sync(telemetry.shutdown, 0.1)
        assert telemetry.counters["dropped"] == 21, "also the batch that was on its way"
        with traced_by(telemetry):
            late = await jar.run("await mcp.lab.echo()", {}, OPTIONS)
            await anyio.to_thread.run_sync(lambda: late.trace)
        assert telemetry.counters["dropped"] == 21 + 2


async def test_what_waits_is_sent_at_the_end(jar: Jar, world: Lab, telling: Telling) -> None:
    """F71: a long interval and a short life: the end hands everything on, and says so."""
    telemetry, collector = telling(OTEL_BSP_SCHEDULE_DELAY="60000")
    run = await jar.run("await mcp.lab.echo()", {}, OPTIONS)
    await anyio.to_thread.run_sync(lambda: run.trace)
    assert await anyio.to_thread.run_sync(telemetry.shutdown, 10.0)
    assert len(collector.spans) == 2
    assert telemetry.counters == {"built": 2, "exported": 2, "failed": 0, "dropped": 0, "errors": 0}


async def test_a_refusal_of_the_collector_is_counted(
    jar: Jar, world: Lab, telling: Telling, caplog: pytest.LogCaptureFixture
) -> None:
    """F71: a collector that answers 400 gets each batch once; what it refused is counted, one line said."""
    telemetry, collector = telling()
    collector.status = 400
    run = await jar.run("1", {}, OPTIONS)
    await anyio.to_thread.run_sync(lambda: run.trace)
    await anyio.to_thread.run_sync(telemetry.shutdown, 10.0)
    assert (telemetry.counters["failed"], telemetry.counters["exported"]) == (1, 0)
    assert [record.name for record in caplog.records] == ["belljar.otel"]


# A program's own SDK


async def test_a_programs_processors_and_sampler(jar: Jar, world: Lab) -> None:
    """F71: whatever a program hands in is used: its exporter, its sampler, asked once a run and never for a call."""
    exporter, asked = InMemorySpanExporter(), []

    class Asked(Sampler):
        def should_sample(self, parent_context: Any, trace_id: int, name: str, *args: Any, **more: Any) -> Any:
            asked.append(name)
            return ALWAYS_OFF.should_sample(parent_context, trace_id, name) if len(asked) > 1 else _on(trace_id, name)

        def get_description(self) -> str:
            return "asked"

    telemetry = Telemetry([SimpleSpanProcessor(exporter)], sampler=Asked(), content=True)
    with traced_by(telemetry):
        first = await jar.run("await mcp.lab.echo(n=1)", {}, OPTIONS)
        second = await jar.run("await mcp.lab.echo(n=1)", {}, OPTIONS)
    assert (first.trace["metadata"]["otelTraceId"], second.trace["metadata"].get("otelTraceId")) == (
        first.run_id.replace("-", ""),
        None,
    )
    spans = exporter.get_finished_spans()
    assert sorted(span.kind.name for span in spans) == ["CLIENT", "INTERNAL"]
    assert len(asked) == 2
    (own,) = [span for span in spans if span.kind is SpanKind.INTERNAL]
    assert own.attributes is not None
    assert own.attributes["sampler.says"] == "yes"
    assert telemetry.shutdown(1.0)


def _on(trace_id: int, name: str) -> Any:
    from opentelemetry.sdk.trace.sampling import Decision, SamplingResult

    return SamplingResult(Decision.RECORD_AND_SAMPLE, {"sampler.says": "yes"})


async def test_a_processor_or_sampler_that_raises_costs_its_spans_alone(
    jar: Jar, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """F71: a run and its trace are there whatever the program's own code does."""

    class Bad(Sampler):
        def should_sample(self, *args: Any, **more: Any) -> Any:
            raise RuntimeError("bad")

        def get_description(self) -> str:
            return "bad"

    class Raises(SimpleSpanProcessor):
        def on_end(self, span: Any) -> None:
            raise RuntimeError("bad")

    for telemetry in (Telemetry([], sampler=Bad()), Telemetry([Raises(InMemorySpanExporter())])):
        with traced_by(telemetry):
            run = await jar.run("await mcp.lab.echo(n=1)", {}, OPTIONS)
            assert run.trace["success"] is True
        assert telemetry.counters["errors"] == 1
    assert "RuntimeError" in caplog.text
    assert all(record.exc_info is None for record in caplog.records)


# Ways out other than OTLP


async def test_the_console_is_stderr(jar: Jar, world: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """F71: OTEL_TRACES_EXPORTER=console: one line of ASCII JSON a span on stderr; stdout is the run's own."""
    telemetry = Telemetry.from_environment({"OTEL_TRACES_EXPORTER": "console"})
    assert telemetry is not None
    with traced_by(telemetry):
        run = await jar.run("await mcp.lab.echo(n='\\x1b[31m')", {}, OPTIONS)
        assert run.trace
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.isascii()
    assert "\x1b" not in shown.err
    assert [json.loads(line)["name"] for line in shown.err.splitlines()] == [
        "run local.default.adhoc.snippet",
        "tools/call echo",
    ]
    assert telemetry.shutdown(1.0)


PROGRAM = """
import sys, time
from belljar.tracing import RunFacts, TraceIds
from belljar.tracing.spans.ids import new_span_id
from belljar.tracing.masked import MaskedTraces
from belljar.tracing.otel import Telemetry
from belljar.tracing.texts import MaskedTrace
telemetry = Telemetry.from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": sys.argv[1], "OTEL_BSP_SCHEDULE_DELAY": "1"})
trace_id = "019a0000-0000-7000-8000-000000000001"
run = telemetry.begin(trace_id, "x")
run.finish(MaskedTrace(trace_id, None, '{"traceId": "%s", "success": true, "durationMs": 1}' % trace_id), [])
began = time.perf_counter()
telemetry.shutdown(0.3)
print(time.perf_counter() - began, telemetry.counters["built"])
"""


@pytest.mark.parametrize("collector", [closed_port, mute])
async def test_a_program_ends_though_its_collector_hangs(collector: Callable[[], Any]) -> None:
    """F71: the deadline of the end is the end: no thread and no handler at exit waits on, and one line says why."""
    with collector() as url:
        command = [sys.executable, "-c", PROGRAM, url]
        with anyio.fail_after(20):
            done = await anyio.run_process(command, cwd=Path(__file__).parents[2])
    taken, built = done.stdout.split()
    assert float(taken) < 1.0
    assert built == b"1"
    said = done.stderr.decode().splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"OpenTelemetry: {url} did not take all spans in time")
