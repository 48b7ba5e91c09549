"""spool_append: one trace of 10 calls of 1 KB into the spool; trace_memory: what stays in memory for such a trace.

Baselines of the append: `msgpack.packb` of the trace's text alone, its checksum alone, and a bare `os.write` of the
same bytes to a file opened in the same way, all taken in turns with it. Less than their sum is not to be had.
"""

from __future__ import annotations

import gc
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import msgpack
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from belljar.tracing.destination import Destination
from belljar.tracing.outbox import Outbox
from belljar.tracing.spool import SpoolLimits, SpoolWriter
from belljar.tracing.texts import MaskedTrace, encode
from benchmarks.report import Baseline, Figure, Report, median

_ROUNDS = 3000
_HELD = 500
_WORDS = "release notes commit merged branch main title author number state "
_PAYLOAD = "a trace of 10 calls x 1 KB"


def _trace(number: int = 0) -> MaskedTrace:
    tasks = [
        {
            "taskId": f"t{i}",
            "tool": "git:git_log",
            "args": {"repo_path": ".", "max_count": i},
            "result": (_WORDS * 16)[: 1024 - i],
            "success": True,
            "state": "applied",
            "durationMs": 1.25,
            "timestamp": "2026-01-02T03:04:05.678Z",
            "callSite": 3,
            "source": "real",
            "isWrite": False,
        }
        for i in range(10)
    ]
    trace_id = f"019a0000-0000-7000-8000-{number:012x}"
    wire = {
        "traceId": trace_id,
        "capabilityId": "local.default.git.release_notes.a7f3",
        "capabilityHash": "a" * 64,
        "success": True,
        "durationMs": 12.5,
        "timestamp": "2026-01-02T03:04:05.678Z",
        "taskResults": tasks,
        "decisions": [],
        "metadata": {"backend": "wasm", "redactions": {}, "truncated": {}},
    }
    return MaskedTrace(trace_id, None, encode(wire))


@pytest.fixture
def writer(tmp_path: Path) -> SpoolWriter:
    destination = Destination.of("http://127.0.0.1:9", "key")
    return SpoolWriter(tmp_path / "spool", destination, SpoolLimits(max_bytes=256 << 20), sanitizer_version="1")


def test_append(benchmark: BenchmarkFixture, report: Report, writer: SpoolWriter, tmp_path: Path) -> None:
    trace = _trace()
    packed = msgpack.packb(trace.text) or b""
    file = os.open(tmp_path / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    works: dict[str, Callable[[], object]] = {
        "append": lambda: writer.append(trace),
        "packb": lambda: msgpack.packb(trace.text),
        "crc32": lambda: crc32(packed),
        "os.write": lambda: os.write(file, packed),
    }
    benchmark.pedantic(writer.append, (trace,), rounds=100, warmup_rounds=10)
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(_ROUNDS):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - began)
    writer.close()
    os.close(file)
    assert writer.counters["spooled"] == writer.counters["captured"]
    against = tuple(Baseline(name, median(taken[name])) for name in works if name != "append")
    together = Baseline("the three together", sum(base.median for base in against))
    payload = f"{_PAYLOAD}, {len(packed)} bytes"
    report.add(Figure("spool_append", "one append", payload, taken["append"], (*against, together), "<= 10 us"))


def test_memory(benchmark: BenchmarkFixture, report: Report, writer: SpoolWriter) -> None:
    """A trace that is in the spool is not in memory; the outbox holds what it is asked for."""
    traces = [_trace(i) for i in range(_HELD)]
    writer.append(traces[0])
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for trace in traces[1:]:
            assert writer.append(trace)
        gc.collect()
        held = (tracemalloc.get_traced_memory()[0] - before) / (_HELD - 1)
        with Outbox(writer.folder) as outbox:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            assert outbox.take_in() == _HELD
            peak = tracemalloc.get_traced_memory()[1] - before
            before = tracemalloc.get_traced_memory()[0]
            parcels = benchmark.pedantic(outbox.due, (10,))
            parcel = (tracemalloc.get_traced_memory()[0] - before) / len(parcels)
            assert len(parcels) == 10
    finally:
        tracemalloc.stop()
        writer.close()
    report.note(
        f"trace_memory ({_PAYLOAD}): {held:.0f} bytes held by the writer per trace in the spool; "
        f"{parcel / 1024:.1f} KiB per trace that is due; "
        f"at most {peak / 1024:.0f} KiB at once while {_HELD} are taken in; reach: <= 64 KB"
    )
    assert held < 1024
