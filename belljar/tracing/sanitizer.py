"""Pass 1: what leaves the machine loses its secrets and its people here, before it is written anywhere.

It runs in the process of the run, synchronously, and fails closed: a value that could not be looked at becomes
`[REDACTED]` and is counted as ERROR, never passed on. The order, cheapest first:

1. One scan of the serialized value for everything that could be a find (`ruleset`). Most values end here.
2. Otherwise each leaf is looked at: by the name it stands under (`keys`), then as a text (`masker`): known values,
   formats with their checks, and what its surroundings give away (`pairs`), also below escapes (`views`) and in JSON
   texts. Dictionary keys are texts, too. In header lists names stand beside their values, not over them.
3. Only then is a long text cut, so that no cut leaves half a secret, and a whole trace brought under its cap (`cap`).

The modules named here are those of `tracing.masking`.

Secrets become `[REDACTED]`, people `[EMAIL] [PHONE] [SSN] [CARD] [IBAN] [IP]`, with a key also `[EMAIL:3f9a0c21be77]`:
12 hex digits of an HMAC, so that equal values stay equal and nobody without the key can guess them back. The result has
the value's shape, and sanitizing it again changes nothing.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from belljar.tracing.masking import cap
from belljar.tracing.masking.masker import REDACTED, Masker
from belljar.tracing.masking.plain import plain
from belljar.tracing.masking.ruleset import digest
from belljar.tracing.masking.walk import LEAF, Walk
from belljar.tracing.masking.work import KEPT_BYTES, LEAST_KEPT_BYTES, Work, spend

__all__ = ["VERSION", "SanitizedValue", "Sanitizer", "empty_trace"]

VERSION = f"3.{digest()}"
"""Of both passes: a number for their code, and a digest of the rules. Two texts of one version were masked alike."""

_MAX_KNOWN_KEYS = 4096
# How far past the cut a text is still looked at: longer than any token that has a fixed end.
_MARGIN = 6 * 1024
# A value this long is looked at leaf by leaf at once: each leaf is cut first.
_MAX_SCANNED = 4 << 20
_KIND = re.compile(r"[A-Z_]{1,32}")
_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class SanitizedValue:
    """What may leave, and what was done to it."""

    value: Any
    redactions: dict[str, int] = field(default_factory=dict[str, int])
    """How much was masked, by kind: SECRET, KNOWN, EMAIL, PHONE, SSN, CARD, IBAN, IP, and ERROR if looking failed."""
    truncated: dict[str, int] = field(default_factory=dict[str, int])
    """JSON pointer of each cut text -> its bytes before; 0 if nobody could say."""
    bytes_bound: int = sys.maxsize
    """The value has at most so many bytes as compact JSON."""


class Sanitizer:
    """Masks secrets and personal data in any value. Keeps nothing of what it saw; safe to share between threads.

    `known` are the secrets this process itself loaded; they are found in any encoding. With a `pseudonym_key`, equal
    personal values get equal placeholders.
    """

    def __init__(self, *, known: Iterable[str] = (), pseudonym_key: bytes | None = None) -> None:
        known = tuple(known)
        self._masker = Masker(known, pseudonym_key)
        self._window = cap.MAX_TEXT_BYTES + max(_MARGIN, 4 * max(map(len, known), default=0))
        self._keys = dict[str, tuple[str, Counter[str]]]()

    def value(self, value: Any, pointer: str = "") -> SanitizedValue:
        """Any value as JSON that may leave. Never raises; `pointer` is put before the pointers of what was cut."""
        try:
            return self._value(value, pointer, Work())
        except Exception:  # noqa: BLE001 - fail closed: whatever went wrong, the raw value does not pass
            return SanitizedValue(REDACTED, {"ERROR": 1})

    def text(self, text: str) -> str:
        """A text that may leave."""
        return str(self.value(text).value)

    def trace(self, wire: dict[str, Any]) -> dict[str, Any]:
        """A trace's wire form that may leave, with metadata.redactions and metadata.truncated filled. Never raises."""
        try:
            return self._trace(wire)
        except Exception:  # noqa: BLE001 - as in value()
            return empty_trace(wire)

    def _trace(self, wire: dict[str, Any]) -> dict[str, Any]:
        metadata = cast("dict[str, Any]", wire.get("metadata") or {})
        redactions = _counts(metadata.get("redactions"))
        truncated = cast("dict[str, int]", metadata.get("truncated") or {})
        bare = {**wire, "metadata": {k: v for k, v in metadata.items() if k not in ("redactions", "truncated")}}
        done = self._by_tasks(bare)
        if done is None:
            return empty_trace(wire)
        noted = bool(redactions or truncated)
        if truncated:  # pointers hold the names of fields, which are foreign
            truncated = cast("dict[str, int]", self.value(truncated).value)
        redactions.update(done.redactions)
        trace = dict(cast("dict[str, Any]", done.value))
        trace["metadata"] = trace["metadata"] | {
            "redactions": dict(redactions),
            "truncated": truncated | done.truncated,
        }
        small = done.bytes_bound <= cap.MAX_TRACE_BYTES // 2 and not noted
        return trace if small else cap.fit(trace)

    def _by_tasks(self, bare: dict[str, Any]) -> SanitizedValue | None:
        """A trace, looked at task by task if something is in it: of ten calls, mostly one. None if looking failed."""
        found: object = bare.get("taskResults")
        tasks = cast("list[Any]", found) if isinstance(found, list) else []
        try:
            text = _ENCODE(bare)
            size = len(text.encode())  # a lone surrogate has none
            if size <= _MAX_SCANNED and self._clean(bare, text):
                return SanitizedValue(bare, bytes_bound=4 * size)
        except (TypeError, ValueError, RecursionError):
            pass  # the one part that cannot be encoded is made plain by itself
        work = Work()
        rest = self._part({**bare, "taskResults": []}, "", work, KEPT_BYTES)
        share = max(LEAST_KEPT_BYTES, KEPT_BYTES // max(1, len(tasks)))
        parts = [self._part(task, f"/taskResults/{i}", work, share) for i, task in enumerate(tasks)]
        if not all(isinstance(part.value, dict) for part in (rest, *parts)):
            return None
        counts, truncated = Counter[str](rest.redactions), dict(rest.truncated)
        for part in parts:
            counts.update(part.redactions)
            truncated |= part.truncated
        value = {**rest.value, "taskResults": [part.value for part in parts]}
        bound = sum(part.bytes_bound for part in (rest, *parts))
        return SanitizedValue(value, dict(counts), truncated, bound)

    def _part(self, value: Any, pointer: str, work: Work, kept: int) -> SanitizedValue:
        """Like `value`, of what the whole trace may cost."""
        work.kept = kept
        try:
            return self._value(value, pointer, work)
        except Exception:  # noqa: BLE001 - as in value()
            return SanitizedValue(REDACTED, {"ERROR": 1})

    def _value(self, value: Any, pointer: str, work: Work) -> SanitizedValue:
        try:
            serialized = _ENCODE(value)
            whole = serialized.isascii() or bool(serialized.encode())
        except (TypeError, ValueError, RecursionError):
            value, serialized, whole = plain(value), "", False
        small = len(serialized) <= _MAX_SCANNED
        if whole and small and self._clean(value, serialized):
            return SanitizedValue(value, bytes_bound=4 * len(serialized))
        walk = Walk(self._masker, self._key, self._window, pointer, work)
        # A mask is at most 20 bytes and stands for at least three; what was cut is measured by who needs it.
        bound = 8 * len(serialized) if whole and small else sys.maxsize
        with work:
            return SanitizedValue(walk(value), dict(walk.counts), walk.truncated, bound)

    def _clean(self, value: Any, serialized: str) -> bool:
        """Whether there is nothing to mask in it and nothing to cut."""
        if len(serialized) > cap.MAX_TEXT_BYTES // 4 and _has_long(value):
            return False
        return not self._masker.suspects(serialized)

    def _key(self, key: str, counts: Counter[str]) -> str:
        """A dictionary's key, masked; the few that a program uses are looked at once."""
        known = self._keys.get(key)
        if known is None:
            spend(LEAF)
            found = Counter[str]()
            masked = self._masker.text(key, found)
            known = (masked, found)
            if len(key) <= 128 and len(self._keys) < _MAX_KNOWN_KEYS:
                self._keys[key] = known
        counts.update(known[1])
        return known[0]


def _has_long(value: Any) -> bool:
    """Whether a text in it could be over its bound."""
    stack = [value]
    while stack:
        item = stack.pop()
        if type(item) is str:
            if len(item) * 4 > cap.MAX_TEXT_BYTES and len(item.encode("utf-8", "replace")) > cap.MAX_TEXT_BYTES:
                return True
        elif isinstance(item, dict):
            stack.extend(cast("dict[str, Any]", item).values())
        elif isinstance(item, list | tuple):
            stack.extend(cast("list[Any]", item))
    return False


def _counts(noted: Any) -> Counter[str]:
    """What was counted before, as far as it reads like counts: kinds are words of ours, and SECRET is no secret."""
    counts = cast("dict[str, int]", noted) if isinstance(noted, dict) else {}
    return Counter({kind: n for kind, n in counts.items() if _KIND.fullmatch(kind) and type(n) is int and n >= 0})


def empty_trace(wire: dict[str, Any]) -> dict[str, Any]:
    """All that is left of a trace that could not be looked at: what the host made and cannot hold anything foreign."""
    kept: dict[str, Any] = {}
    for name in ("traceId", "parentTraceId", "capabilityHash"):
        text = wire.get(name)
        if isinstance(text, str) and len(text) <= 64 and not set(text) - set("0123456789abcdef-"):
            kept[name] = text
    for name in ("success", "durationMs"):
        if isinstance(wire.get(name), bool | int | float):
            kept[name] = wire[name]
    notes = {"redactions": {"ERROR": 1}, "truncated": {"": 0}}
    return {**kept, "capabilityId": REDACTED, "taskResults": [], "decisions": [], "metadata": notes}
