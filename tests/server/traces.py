"""Traces for tests: small, valid, different where a test says so."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from belljar.tracing.types import Trace, decode

SHA256 = "ab" * 32


def trace_id(n: int) -> str:
    """The n-th of a row of ids that sort as their numbers do."""
    return str(UUID(int=(0x0190_0000_0000_7000 << 64) | (0x8 << 60) | n))


def call(n: int = 1, **changes: Any) -> dict[str, Any]:
    """The n-th call of a run, on the wire."""
    return {
        "taskId": f"t{n}",
        "tool": "git:git_log",
        "args": {"repo_path": ".", "max_count": n},
        "result": ["a commit", {"author": "Ada"}],
        "success": True,
        "state": "applied",
        "durationMs": 1.5,
        "timestamp": "2026-11-21T11:59:00.000Z",
        "iteration": n,
        **changes,
    }


def wire(n: int = 1, **changes: Any) -> dict[str, Any]:
    """A trace on the wire."""
    return {
        "traceId": trace_id(n),
        "capabilityId": f"local.default.git.release_notes.{SHA256[:4]}",
        "capabilityHash": SHA256,
        "success": True,
        "durationMs": 12.5,
        "timestamp": "2026-11-21T11:59:00.000Z",
        "intent": "what changed",
        "taskResults": [call()],
        "decisions": [{"nodeId": "L3", "outcome": "true", "condition": "x > 1"}],
        "metadata": {"backend": "wasm", "walls": ["wasm", "landlock"], "sdkVersion": "0.1"},
        **changes,
    }


def trace(n: int = 1, **changes: Any) -> Trace:
    """A trace as the server has decoded it."""
    return decode(wire(n, **changes))
