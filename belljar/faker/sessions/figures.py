"""Figures of sessions: where the time of calls went, and who answered them.

The overhead of a call is what it took beyond what its target and a model took; percentiles are nearest-rank, of what
was measured: a call that asked no model says nothing about models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from belljar.faker.sessions.model import Session

__all__ = ["figures", "percentile"]


def figures(sessions: Sequence[Session], timings: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts, shares and percentiles in milliseconds, over the calls in `timings`."""
    sources, tools = Counter[str](), Counter[str]()
    latency, overhead, real, ai = list[float](), list[float](), list[float](), list[float]()
    errors = writes = 0
    for row in timings:
        sources[row["source"]] += 1
        tools[row["tool"]] += 1
        errors += row["is_error"]
        writes += row["operation"] == "write"
        latency.append(row["latency_ms"])
        overhead.append(max(0.0, row["latency_ms"] - (row["real_ms"] or 0.0) - (row["ai_ms"] or 0.0)))
        if row["real_ms"] is not None:
            real.append(row["real_ms"])
        if row["ai_ms"] is not None:
            ai.append(row["ai_ms"])
    calls = len(latency)
    return {
        "sessions": len(sessions),
        "calls": calls,
        "reads": calls - writes,
        "writes": writes,
        "errors": errors,
        "lost": sum(session.lost for session in sessions),
        "sources": dict(sources.most_common()),
        "cacheHits": sources["cache"],
        "cacheHitShare": round(sources["cache"] / calls, 4) if calls else 0.0,
        "latencyMs": _spread(latency),
        "overheadMs": _spread(overhead),
        "realMs": _spread(real),
        "aiMs": _spread(ai),
        "topTools": [{"tool": tool, "calls": n} for tool, n in tools.most_common(10)],
    }


def _spread(values: list[float]) -> dict[str, float | int] | None:
    if not values:
        return None
    values.sort()
    return {"n": len(values), "p50": percentile(values, 50), "p95": percentile(values, 95), "max": round(values[-1], 3)}


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The nearest-rank percentile of values in rising order."""
    return round(ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 3)
