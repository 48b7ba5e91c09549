"""Without a server: one DEBUG line of JSON a trace, and nothing of a network."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from belljar.tracing import standalone
from belljar.tracing.texts import MaskedTrace
from belljar.tracing.types import Decision, Trace, decode
from tests.masked import masked

TRACE = Trace(
    trace_id="019a0000-0000-7000-8000-000000000001",
    capability_id="local.default.git.release_notes.a7f3",
    capability_hash="a" * 64,
    success=True,
    duration_ms=1.5,
    timestamp="2026-01-02T03:04:05.678Z",
    workflow_id="line\n\u202ebreak",
    decisions=[Decision(node_id="L1", outcome="true")],
)


def test_a_trace_is_one_debug_line(caplog: pytest.LogCaptureFixture) -> None:
    """F34: on logger belljar.trace, as one line of ASCII that reads back as the trace."""
    with caplog.at_level(logging.DEBUG, logger="belljar.trace"):
        standalone.emit(masked(TRACE.to_wire()))
    (record,) = caplog.records
    line = record.getMessage()
    assert (record.name, record.levelno) == ("belljar.trace", logging.DEBUG)
    assert line.isascii()
    assert line.isprintable()
    assert decode(json.loads(line)) == TRACE


def test_without_a_listener_nothing_is_serialized(caplog: pytest.LogCaptureFixture) -> None:
    """F34: at INFO the trace is not even turned into a line; one that cannot be would raise."""
    broken = MaskedTrace("t", None, "\x7f")
    with caplog.at_level(logging.INFO, logger="belljar.trace"):
        assert not standalone.wanted()
        standalone.emit(broken)
    assert caplog.records == []
    with caplog.at_level(logging.DEBUG, logger="belljar.trace"):
        assert standalone.wanted()
        with pytest.raises(ValueError, match="JSON value"):
            standalone.emit(broken)


EMIT = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(event) if event.startswith("socket.") else None)
import logging
from belljar.tracing import RunFacts, TraceIds, standalone
from belljar.tracing.masked import MaskedTraces
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="%(name)s %(levelname)s %(message)s")
facts = RunFacts(trace_id=TraceIds()(), capability_id="a.b.c.d.0000", capability_hash="", success=True,
                 duration_ms=1.0, started_at_ns=10**18)
standalone.emit(MaskedTraces()(facts, []))
print(opened)
{extra}
"""


def run(extra: str) -> list[str]:
    script = EMIT.replace("{extra}", extra)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


def test_no_socket_is_opened() -> None:
    """F34: from the first import to the line in the log, no socket is made or connected; the hook would see one."""
    line, opened, control = run("import socket; socket.socket().close(); print(opened)")
    assert line.startswith("belljar.trace DEBUG {")
    assert "traceId" in json.loads(line.removeprefix("belljar.trace DEBUG "))
    assert opened == "[]"
    assert control == "['socket.__new__']"
