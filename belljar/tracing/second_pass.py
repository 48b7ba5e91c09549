"""Pass 2: what pass 1 left is looked at once more, by Presidio's recognizers, just before it is sent.

It runs in the process that sends, never in a run's: importing it takes a second, and it costs milliseconds where pass
1 costs a tenth of one. It takes what pass 1 gave and only adds: placeholders are blanked out before it looks, so that
none can be masked anew, cut in two, or taken for a word (`[PHONE]` is no context for the number after it). Numbers are
also found by the words beside them, in the text or as their field's name (`second.contexts`), in any script's digits.

What the host itself wrote - ids, hashes, times, states - is not looked at, if it has the form the host gives it. All
else is, dictionary keys too. It fails closed like pass 1: a leaf that could not be looked at is `[REDACTED]`, ERROR.

No model is loaded unless one is named (`second.names`), and nothing is downloaded: the list of public suffixes is the
installed one.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from typing import Any, cast

from belljar.tracing.masking import cap
from belljar.tracing.masking.masker import REDACTED, Masks
from belljar.tracing.sanitizer import SanitizedValue, empty_trace
from belljar.tracing.second.finders import warm
from belljar.tracing.second.texts import Budget, Texts

__all__ = ["SecondPass"]

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}|[0-9a-f]{64}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})")
_WORD = re.compile(r"[a-z]{1,24}|[tL][0-9]{1,9}")
_FQDN = re.compile(r"[A-Za-z][\w-]*(?:\.[\w-]+){3}\.[0-9a-f]{4,64}")
# What the host writes in a trace, a call and a decision, and the form it has; numbers have no other.
_HOST: dict[str, re.Pattern[str] | None] = {
    "traceId": _ID, "parentTraceId": _ID, "capabilityHash": _ID, "capabilityId": _FQDN, "timestamp": _TIME,
    "taskId": _WORD, "state": _WORD, "source": _WORD, "nodeId": _WORD, "outcome": _WORD,
    "durationMs": None, "layerIndex": None, "callSite": None, "iteration": None,
}  # fmt: skip
_LISTS = ("taskResults", "decisions")
# As deep as pass 1 reads; what comes here is at most 10 KB long in a trace.
_JSON_LEVELS = 3
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class SecondPass:
    """Adds masks to what a `Sanitizer` gave. Keeps nothing of what it saw; safe to share between threads.

    `pseudonym_key` is the sanitizer's own, so that equal values have equal placeholders in both passes. `spacy_model`
    names an installed model, or is the absolute path of one; then names of people and places are masked, too.

    Raises:
        ConfigError: if the model is not installed, or cannot be loaded.
    """

    def __init__(self, *, pseudonym_key: bytes | None = None, spacy_model: str | None = None) -> None:
        # Presidio logs texts it could not read.
        logging.getLogger("presidio-analyzer").disabled = True
        self._masks = Masks(pseudonym_key)
        self._texts = Texts(self._masks, spacy_model)

    def warm(self) -> None:
        """Import Presidio now, not with the first candidate. It takes a second: not for a thread somebody waits for."""
        warm()

    def value(self, value: Any, pointer: str = "") -> SanitizedValue:
        """A value that a `Sanitizer` gave, with more masks. Never raises."""
        try:
            if not self._texts.suspects(_ENCODE(value)):
                return SanitizedValue(value)
            walk = _Walk(self._texts, self._masks, pointer)
            return SanitizedValue(walk(value, ""), dict(walk.counts), walk.truncated)
        except Exception:  # noqa: BLE001 - fail closed: whatever went wrong, the value does not pass
            return SanitizedValue(REDACTED, {"ERROR": 1})

    def trace(self, wire: dict[str, Any]) -> dict[str, Any]:
        """A trace that a `Sanitizer` gave, with more masks, counted in its metadata; the same if none. Never raises."""
        try:
            if not self._texts.suspects(_ENCODE(wire)):
                return wire
            walk = _Walk(self._texts, self._masks, "")
            added = walk.trace(wire)
            return _noted(added, walk) if walk.counts else wire
        except Exception:  # noqa: BLE001 - as in value()
            return empty_trace(wire)


def _noted(trace: dict[str, Any], walk: _Walk) -> dict[str, Any]:
    """With what was done written into its metadata; and under the cap again: masks can be longer."""
    metadata = cast("dict[str, Any]", trace["metadata"])
    redactions = Counter[str](metadata.get("redactions") or {})
    redactions.update(walk.counts)
    truncated = walk.truncated | cast("dict[str, int]", metadata.get("truncated") or {})
    return cap.fit({**trace, "metadata": metadata | {"redactions": dict(redactions), "truncated": truncated}})


class _Walk:
    """One look at every leaf of one value."""

    def __init__(self, texts: Texts, masks: Masks, pointer: str) -> None:
        self.counts = Counter[str]()
        self.truncated = dict[str, int]()
        self._texts = texts
        self._masks = masks
        self._prefix = pointer
        self._path = list[str]()
        self._budget = Budget()
        self._json = 0

    def trace(self, wire: dict[str, Any]) -> dict[str, Any]:
        """What the host wrote stays; `metadata` is its own but for the names in the pointers."""
        out = self._record({name: value for name, value in wire.items() if name not in ("metadata", *_LISTS)})
        for name in _LISTS:
            if isinstance(items := wire.get(name), list):
                self._path.append(name)
                out[name] = [self._item(i, item) for i, item in enumerate(cast("list[Any]", items))]
                self._path.pop()
            elif name in wire:
                out[name] = self(wire[name], name)
        metadata = dict(cast("dict[str, Any]", wire.get("metadata") or {}))
        if pointers := cast("dict[str, int]", metadata.get("truncated") or {}):
            metadata["truncated"] = {self._pointer(pointer): size for pointer, size in pointers.items()}
        ordered = {name: out[name] for name in wire if name != "metadata"}
        return ordered | {"metadata": metadata}

    def _item(self, i: int, item: Any) -> Any:
        self._path.append(str(i))
        result = self._record(cast("dict[str, Any]", item)) if isinstance(item, dict) else self(item, "")
        self._path.pop()
        return result

    def _record(self, record: dict[str, Any]) -> dict[str, Any]:
        result = dict[str, Any]()
        for name, value in record.items():
            self._path.append(name)
            result[name] = value if _is_host(name, value) else self(value, "")
            self._path.pop()
        return result

    def _pointer(self, pointer: str) -> str:
        parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")]
        return "/".join(
            self._texts(part, "", Counter(), self._budget).replace("~", "~0").replace("/", "~1") for part in parts
        )

    def __call__(self, value: Any, name: str) -> Any:
        """`name` is that of the field, and of the one above it."""
        try:
            if isinstance(value, str):
                return self._string(value, name)
            if isinstance(value, dict):
                return self._dict(cast("dict[str, Any]", value), name)
            if isinstance(value, list):
                return [self._in_list(i, item, name) for i, item in enumerate(cast("list[Any]", value))]
            if isinstance(value, int) and not isinstance(value, bool):
                return self._number(value, name)
            return value
        except Exception:  # noqa: BLE001 - fail closed, leaf by leaf
            self.counts["ERROR"] += 1
            return REDACTED

    def _dict(self, value: dict[str, Any], name: str) -> dict[str, Any]:
        result = dict[str, Any]()
        above = name.rpartition(" ")[2]
        for key, item in value.items():
            shown = self._texts(key, "", self.counts, self._budget)
            while shown in result:
                shown += "#"
            self._path.append(shown)
            result[shown] = self(item, f"{above} {key[:64].replace(' ', '_')}")
            self._path.pop()
        return result

    def _in_list(self, i: int, item: Any, name: str) -> Any:
        self._path.append(str(i))
        result = self(item, name)
        self._path.pop()
        return result

    def _number(self, value: int, name: str) -> Any:
        text = repr(value)
        masked = self._texts(text, name, self.counts, self._budget) if name else text
        return value if masked == text else masked

    def _string(self, text: str, name: str) -> str:
        masked = self._texts(self._json_text(text, name), name, self.counts, self._budget)
        if len(masked) <= len(text) or len(size := masked.encode()) <= cap.MAX_TEXT_BYTES:
            return masked
        self.truncated[self._prefix + cap.pointer(self._path)] = len(size)
        return self._texts(cap.cut(masked, cap.MAX_TEXT_BYTES), name, self.counts, self._budget)

    def _json_text(self, text: str, name: str) -> str:
        """A text that is JSON is also read as the value it holds; rewritten only if something in it was masked."""
        if text[:1] not in "{[ \n" or not text or self._json >= _JSON_LEVELS:
            return text
        try:
            value = json.loads(text)
            if not isinstance(value, dict | list):
                return text
            inner = _Walk(self._texts, self._masks, "")
            inner._json, inner._budget = self._json + 1, self._budget
            value = inner(cast("Any", value), name)
        except (ValueError, RecursionError):
            return text
        self.counts.update(inner.counts)
        return _ENCODE(value) if inner.counts else text


def _is_host(name: str, value: Any) -> bool:
    if isinstance(value, bool | int | float):
        return name in _HOST or isinstance(value, bool)
    form = _HOST.get(name)
    return form is not None and isinstance(value, str) and form.fullmatch(value) is not None
