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
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from belljar.tracing.masking import cap, checks, hints
from belljar.tracing.masking.keys import HEADERS, verdict
from belljar.tracing.masking.masker import PLACEHOLDER, REDACTED, Masker
from belljar.tracing.masking.plain import TRUNCATED, plain
from belljar.tracing.masking.ruleset import SECRET, digest
from belljar.tracing.masking.work import KEPT_BYTES, LEAST_KEPT_BYTES, ExhaustedError, Work, spend

__all__ = ["VERSION", "SanitizedValue", "Sanitizer", "empty_trace"]

VERSION = f"3.{digest()}"
"""Of both passes: a number for their code, and a digest of the rules. Two texts of one version were masked alike."""

_MAX_KNOWN_KEYS = 4096
# How far past the cut a text is still looked at: longer than any token that has a fixed end.
_MARGIN = 6 * 1024
# A value this long is looked at leaf by leaf at once: each leaf is cut first.
_MAX_SCANNED = 4 << 20
# Units for a leaf, beside its length; and what of them is still shown when all are spent.
_LEAF = 200
_SHORT = 256
_MAX_JSON_TEXT = 64 * 1024
_JSON_LEVELS = 3
_NAMES = (
    "name", "key", "header", "field", "headerName", "header_name", "Name", "Key", "ParameterKey", "ParameterName",
    "OptionName", "variable", "variableName", "paramName", "label", "param",
)  # fmt: skip
_VALUES = (
    "value",
    "values",
    "val",
    "Value",
    "content",
    "ParameterValue",
    "OptionValue",
    "stringValue",
    "resolvedValue",
)
_ROWS = ("rows", "data", "values", "records")
_MAX_COLUMNS = 256
_SCHEMA_TYPES = frozenset(("string", "integer", "number", "boolean", "object", "array", "null"))
_DIGITS = {"PHONE": (7, 15), "SSN": (9, 9), "CARD": (12, 19)}
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
        walk = _Walk(self._masker, self._key, self._window, pointer, work)
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
            spend(_LEAF)
            found = Counter[str]()
            masked = self._masker.text(key, found)
            known = (masked, found)
            if len(key) <= 128 and len(self._keys) < _MAX_KNOWN_KEYS:
                self._keys[key] = known
        counts.update(known[1])
        return known[0]


class _Walk:
    """One look at every leaf of one value."""

    def __init__(
        self, masker: Masker, key: Callable[[str, Counter[str]], str], window: int, pointer: str, work: Work
    ) -> None:
        self.counts = Counter[str]()
        self.truncated = dict[str, int]()
        self._masker = masker
        self._key = key
        self._window = window
        self._prefix = pointer
        self._work = work
        self._path = list[str]()
        self._json = 0

    def __call__(self, value: Any, under: str | None = None) -> Any:
        """`under` is what the name above says."""
        try:
            if isinstance(value, str):
                return self._string(value, under)
            if isinstance(value, dict):
                return self._dict(cast("dict[str, Any]", value), under)
            if isinstance(value, list | tuple):
                return self._list(cast("list[Any]", value), under)
            if value is None or isinstance(value, bool):
                return value
            return self._number(value, under)
        except ExhaustedError:
            return self._mark(0)
        except Exception:  # noqa: BLE001 - fail closed, leaf by leaf
            return self._masked("ERROR", "")

    def _masked(self, kind: str, found: str) -> str:
        self.counts[kind] += 1
        return self._masker.placeholder(kind, found)

    def _mark(self, size: int) -> str:
        """What stands where nobody looked."""
        if len(self.truncated) < cap.MAX_POINTERS:
            self.truncated[self._prefix + cap.pointer(self._path)] = size
        return TRUNCATED

    def _keep(self, text: str) -> str:
        if not self._json:
            self._work.kept -= len(text) + 4
        return text

    def _is_full(self) -> bool:
        """Whether what is behind would only be cut away; the outermost fields of a trace stay."""
        return self._work.kept < 0 and bool(self._path) and not self._json

    # Containers

    def _dict(self, value: dict[str, Any], under: str | None) -> dict[str, Any]:
        if under is not None and value.get("type") in _SCHEMA_TYPES:
            under = None
        named, columns = _named(value), _columns(value)
        result = dict[str, Any]()
        taken = Counter[str]()
        for key, item in value.items():
            if self._is_full():
                result[TRUNCATED] = self._mark(0)
                break
            shown = self._shown(key)
            if shown in result:
                taken[shown] += 1
                shown = _free(result, shown, taken)
            self._path.append(shown)
            if columns and key in _ROWS and isinstance(item, list):
                item = self._columns(cast("list[Any]", item), columns)
            result[shown] = self(item, SECRET if key in _VALUES and named else self._says(key, item, value) or under)
            self._path.pop()
        return result

    def _columns(self, rows: list[Any], columns: list[int]) -> list[Any]:
        """The rows without what stands in those columns. A list of words has a column `token`, too: words stay."""
        result = list[Any]()
        for row in rows:
            cells = list(cast("list[Any]", row)) if isinstance(row, list | tuple) else None
            for i in columns:
                if (
                    cells is not None
                    and i < len(cells)
                    and not str(cells[i]).isalpha()
                    and cells[i] not in ("", REDACTED)
                ):
                    cells[i] = self._masked(SECRET, "")
            result.append(row if cells is None else cells)
        return result

    def _says(self, key: str, item: Any, beside: dict[str, Any]) -> str | None:
        says = verdict(key)
        if says == SECRET:
            return None if hints.excused(key, item, beside) else SECRET
        return SECRET if hints.accused(key, item, beside) else says

    def _list(self, value: list[Any], under: str | None) -> list[Any]:
        result = list[Any]()
        for i, item in enumerate(value):
            if self._is_full():
                result.append(self._mark(0))
                break
            self._path.append(str(i))
            beside = i > 0 and _names_next(value[i - 1], item, i, len(value))
            result.append(self(item, SECRET if beside else under))
            self._path.pop()
        return result

    def _shown(self, key: str) -> str:
        """A key, masked."""
        try:
            return self._keep(self._key(key, self.counts))
        except ExhaustedError:
            return self._keep(key if len(key) <= _SHORT and self._is_clean(key) else self._mark(0))

    # Leaves

    def _number(self, value: Any, under: str | None) -> Any:
        text = repr(value)
        if under == SECRET:
            return self._masked(SECRET, text)
        self._keep(text)
        if not isinstance(value, int) or len(text) < 4:
            return value
        if under in _DIGITS and _fits(text, under):
            return self._masked(under, text)
        masked = self._masked_text(text)
        return value if masked == text else masked

    def _string(self, text: str, under: str | None) -> str:
        if under == SECRET:
            return text if not text or PLACEHOLDER.fullmatch(text) else self._masked(SECRET, text)
        if under in _DIGITS and _fits(text, under):
            return self._masked(under, text)
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode()
        if len(text) * 4 > cap.MAX_TEXT_BYTES:
            size = len(text) if text.isascii() else len(text.encode())
            if size > cap.MAX_TEXT_BYTES:
                return self._cut(text, size)
        masked = self._keep(self._text(text))
        # A mask can be longer than what it hides.
        if len(masked) > len(text) and (size := len(masked.encode())) > cap.MAX_TEXT_BYTES:
            return self._cut(masked, size)
        return masked

    def _text(self, text: str) -> str:
        if text[:1] in "{[ \n" and len(text) <= _MAX_JSON_TEXT and self._json < _JSON_LEVELS:
            text = self._json_text(text)
        return self._masked_text(text)

    def _masked_text(self, text: str) -> str:
        try:
            spend(_LEAF + len(text) // 4)
            return self._masker.text(text, self.counts)
        except ExhaustedError:
            return text if len(text) <= _SHORT and self._is_clean(text) else self._mark(len(text.encode()))

    def _is_clean(self, text: str) -> bool:
        """What one scan costs is not counted: names and states of a trace stay readable to the end."""
        return not self._masker.suspects(_ENCODE(text))

    def _json_text(self, text: str) -> str:
        """A text that is JSON is also read as the value it holds; rewritten only if something in it was masked."""
        try:
            value = json.loads(text)
            if not isinstance(value, dict | list):
                return text
            inner = _Walk(self._masker, self._key, self._window, "", self._work)
            inner._json = self._json + 1
            value = inner(cast("Any", value))
            if not inner.counts and not inner.truncated:
                return text
            self.counts.update(inner.counts)
            return _ENCODE(value)
        except (ValueError, RecursionError):
            return text

    def _cut(self, text: str, size: int) -> str:
        if not self._json:
            self.truncated[self._prefix + cap.pointer(self._path)] = size
        masked = self._masked_text(text[: self._window])
        # What a cut leaves at its end may look like something new.
        return self._keep(self._masked_text(cap.cut(masked, cap.MAX_TEXT_BYTES)))


def _free(taken: dict[str, Any], name: str, times: Counter[str]) -> str:
    """Two names that are masked alike stay two."""
    while (free := f"{name}#{times[name]}") in taken:
        times[name] += 1
    return free


def _named(value: dict[str, Any]) -> bool:
    """{"name": "Authorization", "value": ...}: the name stands beside."""
    name = next((name for k in _NAMES if isinstance(name := value.get(k), str) and verdict(name) == SECRET), None)
    texts = (item for k in _VALUES if isinstance(item := value.get(k), str))
    return name is not None and not any(hints.word(name, item) for item in texts)


def _columns(value: dict[str, Any]) -> list[int]:
    """{"columns": ["user", "password"], "rows": [...]}: which columns hold secrets."""
    heads: Any = value.get("columns") or value.get("header") or value.get("headers") or value.get("fields")
    if not isinstance(heads, list) or not any(isinstance(value.get(k), list) for k in _ROWS):
        return []
    names: list[Any] = [
        cast("dict[str, Any]", head).get("name") if isinstance(head, dict) else head
        for head in cast("list[Any]", heads)[:_MAX_COLUMNS]
    ]
    return [i for i, name in enumerate(names) if isinstance(name, str) and verdict(name) == SECRET]


def _names_next(name: Any, item: Any, i: int, size: int) -> bool:
    """["Authorization", ...], [..., "Cookie", ...], ["--token", ...], ["-u", "user:password"]."""
    if not isinstance(name, str) or len(name) > 128 or isinstance(item, dict):
        return False
    if name in ("-u", "--user") and isinstance(item, str):
        user, _, password = item.partition(":")
        return bool(password) and not (user + password).isdecimal()  # 1000:1000 is who a container runs as
    if name.startswith("-"):
        return "=" not in name and isinstance(item, str) and not item.startswith("--") and verdict(name) == SECRET
    if HEADERS.fullmatch(name) is not None:
        return i % 2 == 1
    said = isinstance(item, str) and hints.word(name, item)
    return size == 2 and " " not in name and verdict(name) == SECRET and not said


def _fits(text: str, kind: str) -> bool:
    """Whether a text under a person's name has the form: its digits, and little else."""
    least, most = _DIGITS[kind]
    count = len(checks.digits(text.encode("ascii", "replace")))
    return least <= count <= most and sum(map(str.isalpha, text)) <= 4


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
