"""Which runs are sampled, decided when they begin; the six standard samplers in a few lines. Pure.

A sampler that reckons with the trace id compares its last 64 bits with a bound. Two of those bits are the same in every
UUIDv7, so that of a ratio of 0.2 nothing would be left, and of 0.8 everything: a run that gives its trace its own id is
judged by the 62 random bits behind them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from belljar.tracing.spans.ids import SpanRef

__all__ = ["RatioSampler", "Sampling", "uniform"]

_MASK_64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Sampling:
    """What was decided: whether spans are made, and whether they are sent."""

    recording: bool
    sampled: bool
    trace_state: Any = None
    """What the sampler gave, an OpenTelemetry `TraceState`."""
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the sampler adds to the run's span."""


@dataclass(frozen=True, slots=True)
class RatioSampler:
    """One of the six standard samplers; the default is `parentbased_always_on`."""

    ratio: float = 1.0
    parent_based: bool = True

    def __call__(self, trace_id: int, parent: SpanRef | None) -> Sampling:
        """What becomes of a run in this trace."""
        if self.parent_based and parent is not None:
            sampled = parent.sampled
        else:
            sampled = uniform(trace_id, parent) & _MASK_64 < round(self.ratio * 2**64)
        return Sampling(sampled, sampled)


def uniform(trace_id: int, parent: SpanRef | None) -> int:
    """A trace id whose last 64 bits are random, as samplers take for granted; another's id is taken as it is."""
    return trace_id if parent is not None else trace_id & ~_MASK_64 | (trace_id << 2) & _MASK_64
