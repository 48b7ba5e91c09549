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

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from belljar.tracing.masking import cap
from belljar.tracing.masking.masker import REDACTED, Masker
from belljar.tracing.masking.plain import plain
from belljar.tracing.masking.ruleset import digest
from belljar.tracing.masking.walk import LEAF, Walk
from belljar.tracing.masking.work import KEPT_BYTES, LEAST_KEPT_BYTES, Work, spend
from belljar.tracing.texts import Part, TraceTexts, decode, encode, encode_json

__all__ = ["VERSION", "SanitizedValue", "Sanitizer", "empty_trace"]

VERSION = f"3.{digest()}"
"""Of both passes: a number for their code, and a digest of the rules. Two texts of one version were masked alike."""

_MAX_KNOWN_KEYS = 4096
# How far past the cut a text is still looked at: longer than any token that has a fixed end.
_MARGIN = 6 * 1024
# A value this long is looked at leaf by leaf at once: each leaf is cut first.
_MAX_SCANNED = 4 << 20
_KIND = re.compile(r"[A-Z_]{1,32}")


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

    def passes(self, serialized: str) -> bool:
        """Whether nothing is to be masked or cut in what this is the compact JSON of: then `value()` changes nothing.

        May say no where there is nothing: it is for those who have the text anyway, and ask `value()` then.
        """
        return _utf8(serialized) is not None and self._is_clean(serialized)

    def text(self, text: str) -> str:
        """A text that may leave."""
        return str(self.value(text).value)

    def trace(self, wire: dict[str, Any]) -> dict[str, Any]:
        """A trace's wire form that may leave, with metadata.redactions and metadata.truncated filled. Never raises."""
        try:
            return self._trace(wire)
        except Exception:  # noqa: BLE001 - as in value()
            return empty_trace(wire)

    def texts(self, raw: TraceTexts) -> TraceTexts:
        """A trace in parts that may leave. Only a part with a find is parsed.

        Raises:
            ValueError: a part could not be looked at.
        """
        parts = [raw.head, *raw.tasks]
        foreign = [part.foreign for part in parts]
        looks = self._looks([*map(_utf8, foreign)], lambda i: decode(foreign[i]))
        masked = [
            part if look is None else part._replace(foreign=encode_json(look.value))
            for part, look in zip(parts, looks, strict=True)
        ]
        if not all(part.foreign.startswith("{") for part in masked):
            raise ValueError("a part of a trace could not be looked at")
        redactions, truncated = _noted(looks)
        done = TraceTexts(masked[0], masked[1:], raw.metadata, redactions, {**raw.truncated, **truncated})
        size = sum(len(part.foreign) + len(part.host) for part in masked)
        return done if size <= cap.MAX_TRACE_BYTES // 8 else _fitted(done)

    def _trace(self, wire: dict[str, Any]) -> dict[str, Any]:
        metadata = cast("dict[str, Any]", wire.get("metadata") or {})
        counted = _counts(metadata.get("redactions"))
        truncated = cast("dict[str, int]", metadata.get("truncated") or {})
        seen_before = bool(counted or truncated)
        found: object = wire.get("taskResults")
        bare = {name: fact for name, fact in metadata.items() if name not in ("redactions", "truncated")}
        parts: list[Any] = [
            {**wire, "taskResults": [], "metadata": bare},
            *(cast("list[Any]", found) if isinstance(found, list) else []),
        ]
        texts = [*map(_encoded, parts)]
        looks = self._looks(texts, parts.__getitem__)
        head, *tasks = [part if look is None else look.value for part, look in zip(parts, looks, strict=True)]
        if not all(isinstance(part, dict) for part in (head, *tasks)):
            return empty_trace(wire)
        if truncated:  # pointers hold the names of fields, which are foreign
            truncated = cast("dict[str, int]", self.value(truncated).value)
        redactions, cuts = _noted(looks)
        counted.update(redactions)
        notes = {"redactions": dict(counted), "truncated": truncated | cuts}
        trace = {**head, "taskResults": tasks, "metadata": {**head["metadata"], **notes}}
        small = None not in texts and 8 * sum(map(len, filter(None, texts))) <= cap.MAX_TRACE_BYTES // 2
        return trace if small and not seen_before else cap.fit(trace)

    def _looks(self, texts: list[str | None], value: Callable[[int], Any]) -> list[SanitizedValue | None]:
        """Each part of a trace by itself, of what the whole trace may cost: its head, then its calls.

        None if there is nothing to mask in it: of ten calls, mostly one has something.
        """
        work, share = Work(), max(LEAST_KEPT_BYTES, KEPT_BYTES // max(1, len(texts) - 1))
        looks = list[SanitizedValue | None]()
        for i, text in enumerate(texts):
            try:
                if text is not None and self._is_clean(text):
                    looks.append(None)
                    continue
                work.kept = share if i else KEPT_BYTES
                looks.append(self._walked(text, value(i), f"/taskResults/{i - 1}" if i else "", work))
            except Exception:  # noqa: BLE001 - as in value()
                looks.append(SanitizedValue(REDACTED, {"ERROR": 1}))
        return looks

    def _value(self, value: Any, pointer: str, work: Work) -> SanitizedValue:
        text = _encoded(value)
        if text is not None and self._is_clean(text):
            return SanitizedValue(value, bytes_bound=4 * len(text))
        return self._walked(text, value, pointer, work)

    def _walked(self, text: str | None, value: Any, pointer: str, work: Work) -> SanitizedValue:
        walk = Walk(self._masker, self._key, self._window, pointer, work)
        # A mask is at most 20 bytes and stands for at least three; what was cut is measured by who needs it.
        bound = 8 * len(text) if text is not None and len(text) <= _MAX_SCANNED else sys.maxsize
        with work:
            masked = walk(plain(value) if text is None else value)
        return SanitizedValue(masked, dict(walk.counts), walk.truncated, bound)

    def _is_clean(self, text: str) -> bool:
        """Whether there is nothing to mask in it and nothing to cut."""
        return len(text) <= _MAX_SCANNED and not cap.has_long(text) and not self._masker.suspects(text)

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
        if known[1]:
            counts.update(known[1])
        return known[0]


def _encoded(value: Any) -> str | None:
    """As compact JSON; None for what is no JSON, or no UTF-8."""
    try:
        return _utf8(encode(value))
    except (TypeError, ValueError, RecursionError):
        return None


def _utf8(text: str) -> str | None:
    """The text, if it holds no lone surrogate."""
    try:
        return text if text.isascii() or text.encode() else None
    except UnicodeEncodeError:
        return None


def _noted(looks: Iterable[SanitizedValue | None]) -> tuple[dict[str, int], dict[str, int]]:
    """What was masked and what was cut, in all."""
    redactions, truncated = Counter[str](), dict[str, int]()
    for look in looks:
        if look is not None:
            redactions.update(look.redactions)
            truncated |= look.truncated
    return dict(redactions), truncated


def _fitted(texts: TraceTexts) -> TraceTexts:
    whole = decode(texts.joined())
    trace = cap.fit(whole)
    if trace is whole:
        return texts
    tasks, metadata = trace.pop("taskResults"), trace.pop("metadata")
    redactions, truncated = metadata.pop("redactions"), metadata.pop("truncated")
    parts = [Part(encode_json(task), "") for task in tasks]
    return TraceTexts(Part(encode_json(trace), ""), parts, encode_json(metadata), redactions, truncated)


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
