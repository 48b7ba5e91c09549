"""Traces: the wire types, the projection from a run's ledger, and where a trace goes."""

from belljar.tracing.collector import RunFacts, TraceIds, collect
from belljar.tracing.types import Decision, TaskResult, Trace, TraceMetadata

__all__ = ["Decision", "RunFacts", "TaskResult", "Trace", "TraceIds", "TraceMetadata", "collect"]
