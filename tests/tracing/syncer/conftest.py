"""Traces, a spool with some in it, and settings with waits short enough for a test."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from belljar.tracing.collector import TraceIds
from belljar.tracing.outbox import Outbox, Status
from belljar.tracing.sanitizer import VERSION
from belljar.tracing.spool import SpoolWriter
from belljar.tracing.syncer import Pace, SyncSettings
from tests.masked import masked

KEY = "bj_0123456789abcdef0123456789abcdef"
QUICK = Pace(connect_s=2, request_s=2, backoff_base_s=0.02, backoff_cap_s=0.2, breaker_s=0.2, parked_s=0.5)

_new_id = TraceIds()
Settings = Callable[..., SyncSettings]


def trace(parent: str | None = None, **more: Any) -> dict[str, Any]:
    """A trace's wire form, as pass 1 leaves it."""
    wire: dict[str, Any] = {
        "traceId": _new_id(),
        "capabilityId": "local.default.git.release_notes.a7f3",
        "capabilityHash": "a" * 64,
        "success": True,
        "durationMs": 1.5,
        "timestamp": "2026-01-02T03:04:05.678Z",
        "taskResults": [],
        "decisions": [],
        "metadata": {"redactions": {}, "truncated": {}},
        **more,
    }
    return wire if parent is None else wire | {"parentTraceId": parent}


def chain(length: int) -> list[dict[str, Any]]:
    """Nested runs: each the parent of the next."""
    traces = [trace()]
    while len(traces) < length:
        traces.append(trace(traces[-1]["traceId"]))
    return traces


def ids(traces: Iterable[dict[str, Any]]) -> list[str]:
    return [wire["traceId"] for wire in traces]


def spool(settings: SyncSettings, traces: Iterable[dict[str, Any]]) -> list[str]:
    """Append them, as a run's process does; their ids."""
    writer = SpoolWriter(settings.spool_root, settings.destination, settings.limits, sanitizer_version=VERSION)
    taken = list(traces)
    try:
        assert all(writer.append(masked(wire)) for wire in taken), dict(writer.counters)
    finally:
        writer.close()
    return ids(taken)


def status(settings: SyncSettings) -> Status:
    with Outbox(settings.folder, settings.limits, read_only=True) as outbox:
        return outbox.status()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings for a server's URL; anything may be said otherwise."""

    def make(url: str, **more: Any) -> SyncSettings:
        base = SyncSettings(tmp_path / "spool", url, KEY, flush_interval_s=0.2, max_retries=3, pace=QUICK)
        return replace(base, **more)

    return make
