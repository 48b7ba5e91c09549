"""Traces for tests, as pass 1 leaves them."""

from __future__ import annotations

import json
from typing import Any, cast

from belljar.tracing.texts import MaskedTrace


def masked(wire: dict[str, Any]) -> MaskedTrace:
    """A trace of this wire form; one that the sanitizer would not have made may be odd in any way."""
    return MaskedTrace(wire.get("traceId", cast("str", None)), wire.get("parentTraceId"), json.dumps(wire))
