"""What is shown of a trace: the objects that queries give, and their JSON."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from belljar.server.store.schema import execution_trace

__all__ = ["DETAIL", "SUMMARY", "TraceDetail", "TraceSummary", "TraceTree", "detail_of", "iso", "summary_of"]

_TRACE = execution_trace.c
_LARGE = ("metadata", "decisions", "task_results")
_UNSEEN = ("tenant_id", "capability_name", "size_bytes", "content_hash")

SUMMARY = [column for column in _TRACE if column.name not in (*_LARGE, *_UNSEEN)]
"""Columns of a list."""
DETAIL = [*SUMMARY, _TRACE.content_hash, *(_TRACE[name] for name in _LARGE)]
"""Columns of a whole trace."""


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC, to the microsecond."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSummary:
    """One line of a list; everything of a trace but its calls, decisions and metadata."""

    row_id: int
    trace_id: str
    parent_trace_id: str | None
    capability_id: str | None
    """UUID in this registry; None if the name is not known here."""
    capability_fqdn: str
    capability_hash: str
    workflow_id: str | None
    user_id: str | None
    """The key that sent it."""
    success: bool
    duration_ms: float
    calls: int
    priority: float
    predicted: float
    td_error: float
    mocked_share: float
    executed_at: datetime
    received_at: datetime
    anonymized_at: datetime | None
    error_code: str | None
    error_message: str | None
    intent: str | None

    def to_wire(self) -> dict[str, Any]:
        """The wire format's keys, and what the server adds; absent where None."""
        wire = {
            "traceId": self.trace_id,
            "parentTraceId": self.parent_trace_id,
            "workflowId": self.workflow_id,
            "capabilityId": self.capability_fqdn,
            "capabilityHash": self.capability_hash,
            "capabilityUuid": self.capability_id,
            "success": self.success,
            "errorCode": self.error_code,
            "errorMessage": self.error_message,
            "durationMs": self.duration_ms,
            "timestamp": iso(self.executed_at),
            "userId": self.user_id,
            "intent": self.intent,
            "calls": self.calls,
            "mockedShare": self.mocked_share,
            "priority": self.priority,
            "predicted": self.predicted,
            "tdError": self.td_error,
            "receivedAt": iso(self.received_at),
            "anonymizedAt": iso(self.anonymized_at) if self.anonymized_at else None,
        }
        return {key: value for key, value in wire.items() if value is not None}


@dataclass(frozen=True, slots=True)
class TraceDetail:
    """A whole trace."""

    summary: TraceSummary
    task_results: list[Any]
    decisions: list[Any]
    metadata: dict[str, Any]
    etag: str
    """Another one whenever anything shown of the trace is another. Without quotes."""

    def to_wire(self) -> dict[str, Any]:
        """The trace in the wire format, with `priority`, `predicted`, `tdError` and what else the server adds."""
        # The share as it was counted here; what the client said of itself is only kept.
        metadata = self.metadata | {"mockedShare": self.summary.mocked_share}
        calls = {"taskResults": self.task_results, "decisions": self.decisions, "metadata": metadata}
        wire = self.summary.to_wire() | calls
        del wire["calls"], wire["mockedShare"]
        return wire


@dataclass(frozen=True, slots=True)
class TraceTree:
    """A trace and the runs it made."""

    trace: TraceDetail
    children: list[TraceTree]
    """Oldest first."""
    etag: str
    """Of all that is shown."""
    truncated: bool = False
    """Of the root: there are more levels or traces than were asked for."""

    def to_wire(self) -> dict[str, Any]:
        """`trace.to_wire()` with `children: [...]`; the root has `childrenTruncated: true` if so."""
        wire = self.trace.to_wire() | {"children": [child.to_wire() for child in self.children]}
        return wire | {"childrenTruncated": True} if self.truncated else wire


def summary_of(row: Row[Any]) -> TraceSummary:
    """From a row of SUMMARY or DETAIL."""
    values = row._mapping  # pyright: ignore[reportPrivateUsage]  # SQLAlchemy's public name for it
    return TraceSummary(**{column.name: values[column.name] for column in SUMMARY})


def detail_of(row: Row[Any]) -> TraceDetail:
    """From a row of DETAIL."""
    summary = summary_of(row)
    changing = (row.row_id, row.content_hash, row.priority, row.predicted, row.td_error, row.anonymized_at)
    etag = hashlib.sha256(repr(changing).encode()).hexdigest()[:32]
    return TraceDetail(summary, row.task_results, row.decisions, row.metadata, etag)
