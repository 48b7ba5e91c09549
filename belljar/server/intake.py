"""From what a client sent to traces the store may keep, one by one.

A trace that breaks a rule is refused by itself, with the first field that is wrong and never its value; the others go
on. Two things are looked at here: the wire format (`tracing.types.decode`, which knows the older names), and - because
not every client is ours - secrets and personal data, by the same pass 1 a client makes, which also cuts long texts and
brings a trace under the cap. That costs little where nothing is suspect - the text that will be stored is made first
and looked through as it is - and ten times that where something is. Lengths of columns, times and characters that no
database holds are the store's business.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, cast

from belljar.errors import ValidationError
from belljar.limits import KIB, MIB
from belljar.server.answers import encoded
from belljar.server.metrics import Metrics
from belljar.server.problems import Problem, ProblemCode
from belljar.server.settings import MAX_TRACES
from belljar.server.store.ingest import Rejected, Written, written
from belljar.tracing import types
from belljar.tracing.sanitizer import Sanitizer
from belljar.tracing.types import TaskResult, Trace

__all__ = ["Intake", "Refused", "batch_of"]

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Far above what a run makes (its limit is 1000 calls), far below what makes looking at it take long.
_MAX_TASKS = 5000
_MAX_NAMES = 1000
_KINDS = frozenset(("SECRET", "KNOWN", "EMAIL", "PHONE", "SSN", "CARD", "IBAN", "IP", "ERROR"))
# What a client of ours caps a trace at; the sanitizer brings others under it.
_MAX_BYTES = 256 * KIB
# What the store refuses; refused here before anybody looks through it.
_LARGE = MIB
# Texts can be made to be slow to look through, seconds a megabyte. A batch of our client's takes milliseconds.
_LOOK_S = 5.0

_TRACE_KEYS = {types.camel(field.name) for field in fields(Trace)} | {"error"}
_TASK_KEYS = {types.camel(field.name) for field in fields(TaskResult)} | {"toolId"}


@dataclass(frozen=True, slots=True)
class Refused:
    """A trace that is not taken."""

    trace_id: str | None
    """What it calls itself, if that is an id."""
    message: str
    code: str = ProblemCode.VALIDATION_ERROR.value
    status: Literal["rejected", "retry"] = "rejected"


def batch_of(value: Any) -> list[Any]:
    """The traces of a body: `{"traces": [...]}`, or the bare list.

    Raises:
        Problem: 400 or 413.
    """
    traces: Any = cast("dict[str, Any]", value).get("traces") if isinstance(value, dict) else value
    if not isinstance(traces, list):
        raise Problem(400, 'the body must be {"traces": [...]}, or a list of traces')
    items = cast("list[Any]", traces)
    if len(items) > MAX_TRACES:
        detail = f"{len(items)} traces: at most {MAX_TRACES} in one request"
        raise Problem(413, detail, code=ProblemCode.TOO_MANY_TRACES)
    return items


class Intake:
    """Looks at batches. Safe to share between threads."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    @cached_property
    def _sanitizer(self) -> Sanitizer:
        return Sanitizer()

    def prepare(self) -> None:
        """Build what masks, which takes a moment."""
        self._sanitizer.value({})

    def look(self, items: Sequence[Any], size: int) -> list[Written | Refused]:
        """Each trace as it may be stored, or why not; in their order. Together they have `size` bytes."""
        ends = time.monotonic() + _LOOK_S
        large = size > _LARGE
        taken = [self._taken(item, large) if time.monotonic() < ends else _later(item) for item in items]
        if self._all_clean([each for each in taken if isinstance(each, Written)]):
            return taken
        return [
            each if isinstance(each, Refused) else self._masked(item, each) if time.monotonic() < ends else _later(item)
            for item, each in zip(items, taken, strict=True)
        ]

    def _taken(self, item: Any, large: bool) -> Written | Refused:
        if large and len(encoded(item)) > _LARGE:
            return Refused(_id_of(item), f"the trace is larger than {_LARGE} bytes", ProblemCode.TOO_LARGE.value)
        try:
            _check_sizes(item)
            trace = types.decode(item)
            self._metrics.ignored.inc(_ignored(item))
            return written(trace)
        except ValidationError as exc:
            return Refused(_id_of(item), exc.message)
        except Rejected as exc:
            return Refused(_id_of(item), str(exc), exc.code)

    def _all_clean(self, traces: list[Written]) -> bool:
        """One look at all of them, which is mostly enough; the sanitizer's tables are large, and so read once."""
        texts = list(map(_text_of, traces))
        return 4 * max(map(len, texts), default=0) <= _MAX_BYTES and self._sanitizer.passes("\n".join(texts))

    def _masked(self, item: dict[str, Any], own: Written) -> Written | Refused:
        if self._all_clean([own]):
            return own
        done = self._sanitizer.value(_without_counts(item))
        if not done.redactions and not done.truncated and done.bytes_bound <= _MAX_BYTES:
            return own
        self._metrics.masked.inc(bool(done.redactions))
        try:
            return written(types.decode(self._sanitizer.trace(item)))
        except ValidationError as exc:
            return Refused(_id_of(item), exc.message)


def _text_of(own: Written) -> str:
    """What would be stored, as far as it has to be looked at: without ids and hashes, nor the counts of what its client
    masked. Chance in a text is dear: re2 makes states for whatever it has not met, and every trace has new ids."""
    metadata: dict[str, Any] = own.wire["metadata"]
    facts: str = own.texts["metadata"]
    if metadata["redactions"]:
        facts = encoded(_without_counts({"metadata": metadata})["metadata"]).decode()
    calls, decisions = own.texts["task_results"], own.texts["decisions"]
    return "\n".join((_ID.sub("", own.texts[""]), calls, decisions, _ID.sub("", facts)))


# Fields that hold nothing else, in texts whose values are no objects: behind a quote that is not escaped is a name.
_ID = re.compile(
    r'"(?:traceId|parentTraceId)":"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"'
    r'|"(?:capabilityHash|ledgerHead)":"[0-9a-f]{64}"|"otelTraceId":"[0-9a-f]{32}"'
)


def _later(item: Any) -> Refused:
    message = "looking at the traces before this one took too long: send fewer at once"
    return Refused(_id_of(item), message, ProblemCode.UNAVAILABLE.value, "retry")


def _id_of(item: Any) -> str | None:
    given: Any = cast("dict[str, Any]", item).get("traceId") if isinstance(item, dict) else None
    return given if isinstance(given, str) and _UUID.fullmatch(given) else None


def _without_counts(item: dict[str, Any]) -> dict[str, Any]:
    """The trace without the counts of what its client masked: `EMAIL` under them is no name of a field."""
    metadata = item.get("metadata")
    if not isinstance(metadata, dict):
        return item
    notes = cast("dict[str, Any]", metadata)
    counts: Any = notes.get("redactions")
    if not counts or not counts.keys() <= _KINDS:
        return item
    return {**item, "metadata": {name: value for name, value in notes.items() if name != "redactions"}}


def _ignored(item: Mapping[str, Any]) -> int:
    count = len(item.keys() - _TRACE_KEYS)
    return count + sum(len(task.keys() - _TASK_KEYS) for task in item.get("taskResults", ()))


def _check_sizes(item: Any) -> None:
    """Before anything looks at each entry: a list of a million wrong ones would be a million errors."""
    if not isinstance(item, dict):
        raise ValidationError("not a trace: must be an object")
    wire = cast("dict[str, Any]", item)
    _check_count(wire, "taskResults", _MAX_TASKS)
    _check_count(wire, "decisions", types.MAX_DECISIONS)
    metadata: Any = wire.get("metadata")
    if isinstance(metadata, dict):
        for name in ("walls", "redactions", "truncated"):
            _check_count(cast("dict[str, Any]", metadata), name, _MAX_NAMES, "metadata.")


def _check_count(wire: Mapping[str, Any], name: str, most: int, place: str = "") -> None:
    value: Any = wire.get(name)
    if isinstance(value, list | dict) and len(cast("list[Any]", value)) > most:
        raise ValidationError(f"not a trace: {place}{name}: at most {most}")
