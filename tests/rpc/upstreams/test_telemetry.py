"""What upstreams are told of traces: the span of their call, and nothing else of the program they are called by."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.shared import _otel as library
from opentelemetry import baggage, context, propagate
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import set_span_in_context

from belljar.errors import Code, UpstreamError
from belljar.rpc.servers import ServerSpec, parse_servers
from belljar.rpc.upstreams import RealWorld, _telemetry
from belljar.rpc.world import CALLER, Caller, Hop
from tests.rpc.upstreams.test_http import friendly, serving

pytestmark = pytest.mark.anyio
Script = Callable[..., ServerSpec]

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SECRET = "hunter2-in-baggage"


@contextmanager
def calling(traceparent: str | None = None, hop: Hop | None = None) -> Iterator[None]:
    """As the bridge does it."""
    token = CALLER.set(Caller("019a0000-0000-7000-8000-000000000001", 1, traceparent, hop))
    try:
        yield
    finally:
        CALLER.reset(token)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The program traces the library; what it got of it."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    _telemetry.install()
    monkeypatch.setattr(library._tracer, "_inner", provider.get_tracer("mcp-python-sdk"))
    return exporter


@contextmanager
def ambient() -> Iterator[None]:
    """The program has a span, and keeps something in its baggage that is nobody else's."""
    span = TracerProvider().get_tracer("program").start_span("outer")
    token = context.attach(baggage.set_baggage("session", SECRET, set_span_in_context(span)))
    try:
        yield
    finally:
        context.detach(token)


@pytest.fixture
async def world(script: Script) -> AsyncIterator[RealWorld]:
    async with RealWorld([script("meta.py")]) as world:
        yield world


async def ask(world: RealWorld, tool: str, **args: Any) -> Any:
    tools = await world.tools("meta")
    return (await world.call(tools[tool], args)).value


@pytest.mark.parametrize("traceparent", [TRACEPARENT, None])
async def test_baggage_and_the_programs_span_stay_here(
    world: RealWorld, spans: InMemorySpanExporter, traceparent: str | None
) -> None:
    """F71, attack: started, listed and called in the program's trace, a server sees our traceparent alone."""
    with ambient(), calling(traceparent):
        await ask(world, "echo", n=1)
        told = await ask(world, "seen")
    assert SECRET not in json.dumps(told)
    assert {message["method"] for message in told["seen"]} >= {"initialize", "tools/list", "tools/call"}
    expected = {"traceparent": traceparent} if traceparent else None
    for message in told["seen"]:
        # Of the newer protocol's own keys there may be some.
        meta = {key: value for key, value in (message["_meta"] or {}).items() if "/" not in key}
        assert meta == ((expected or {}) if message["method"] == "tools/call" else {}), message
    assert not {"TRACEPARENT", "TRACESTATE", "BAGGAGE"} & set(told["environment"])
    assert spans.get_finished_spans() == ()


async def test_no_propagator_of_the_program_writes_to_us(
    world: RealWorld, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F71, attack: a propagator that needs no context, such as one of a vendor, is not asked."""

    class Vendor(TextMapPropagator):
        def extract(self, carrier: Any, context: Any = None, getter: Any = None) -> Any:
            return context

        def inject(self, carrier: Any, context: Any = None, setter: Any = None) -> None:
            carrier["x-vendor"] = SECRET
            carrier["traceparent"] = "overwritten"

        @property
        def fields(self) -> set[str]:
            return {"x-vendor"}

    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", Vendor())
    with calling(TRACEPARENT):
        assert (await ask(world, "meta"))["meta"] == {"traceparent": TRACEPARENT}
        assert SECRET not in json.dumps(await ask(world, "seen"))


async def test_another_user_of_the_library_keeps_its_spans(world: RealWorld, spans: InMemorySpanExporter) -> None:
    """F71: the library's span is suppressed for our calls, and for those alone, also at the same time."""
    script = Path(__file__).parents[2] / "fixtures" / "servers" / "meta.py"
    theirs = StdioServerParameters(command=sys.executable, args=[str(script)])
    ours: list[Any] = []

    async def call() -> None:
        ours.extend([await ask(world, "meta") for _ in range(5)])

    with ambient(), calling(TRACEPARENT):
        async with Client(theirs, mode="legacy") as client, anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            for _ in range(5):
                answer = await client.call_tool("meta", {})
    assert [said["meta"] for said in ours] == [{"traceparent": TRACEPARENT}] * 5
    names = [span.name for span in spans.get_finished_spans()]
    assert names.count("MCP send tools/call meta") == 5
    assert names.count("MCP send initialize") == 1
    assert answer.structured_content["meta"]["baggage"] == f"session={SECRET}"


async def test_an_upstreams_words_are_in_no_span_of_the_program(world: RealWorld, spans: InMemorySpanExporter) -> None:
    """F71: an error's text would be the status of the library's span, unmasked."""
    with ambient(), calling(TRACEPARENT, hop := Hop()), pytest.raises(UpstreamError) as caught:
        await ask(world, "refuses", words=SECRET)
    assert caught.value.code is Code.RPC_ERROR
    assert spans.get_finished_spans() == ()
    assert (hop.error_code, hop.tool_error, hop.transport) == (-32050, False, "pipe")


async def test_how_a_call_travelled(world: RealWorld) -> None:
    """F70: transport, protocol, the request's number, and who failed."""
    with calling(None, hop := Hop()):
        said = await ask(world, "meta")
    assert said["meta"] is None
    assert hop == Hop(transport="pipe", protocol_version="2025-06-18", request_id=str(said["id"]))
    with calling(None, hop := Hop()), pytest.raises(UpstreamError):
        await ask(world, "fails", words="no")
    assert (hop.tool_error, hop.error_code) == (True, None)


async def test_a_call_over_http(spans: InMemorySpanExporter) -> None:
    """F70, F71: an endpoint gets the traceparent in the message and no header of the program's; its host is noted."""
    requests: list[tuple[dict[str, str], bytes]] = []
    inner = friendly().streamable_http_app()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = bytearray()

        async def noted() -> Any:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        await inner(scope, noted, send)
        if scope["type"] == "http":
            requests.append(({key.decode(): value.decode() for key, value in scope["headers"]}, bytes(body)))

    async with serving(app) as url:
        spec = parse_servers(json.dumps({"mcpServers": {"web": {"url": f"{url}/mcp"}}}), {})["web"]
        async with RealWorld([spec]) as world:
            with ambient(), calling(TRACEPARENT, hop := Hop()):
                tools = await world.tools("web")
                assert (await world.call(tools["add"], {"a": 1, "b": 2})).value == 3
    (called,) = [body for _, body in requests if b'"tools/call"' in body]
    assert json.loads(called)["params"]["_meta"]["traceparent"] == TRACEPARENT
    assert not any(SECRET.encode() in body for _, body in requests)
    assert not any(name in headers for headers, _ in requests for name in ("traceparent", "tracestate", "baggage"))
    assert (hop.transport, hop.address, hop.port) == ("tcp", "127.0.0.1", int(url.rpartition(":")[2]))
    assert hop.protocol_version >= "2025-06-18"
    assert hop.request_id == str(json.loads(called)["id"])
    # The server is the library's too, in this process, and another user of it.
    assert {span.kind.name for span in spans.get_finished_spans()} <= {"SERVER"}


def test_a_host_that_a_variable_made_is_not_noted() -> None:
    """What `${VAR}` put into a URL may be a secret; the rest of the URL is never looked at."""
    entry = {"url": "https://${TENANT}.example.org/mcp?key=${KEY}"}
    environ = {"TENANT": "Acme-7f3k9", "KEY": "hunter2"}
    spec = parse_servers(json.dumps({"mcpServers": {"web": entry}}), environ)["web"]
    with calling(None, hop := Hop()):
        _telemetry.Way(spec).sent("2025-11-25")
    assert hop == Hop(transport="tcp", protocol_version="2025-11-25")
