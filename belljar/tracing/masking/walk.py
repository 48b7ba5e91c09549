"""One look at every leaf of one value: by the name it stands under, then as a text, then cut if it is long.

Most of a value that holds a find holds none: a list or an object in which nothing could be, by one scan of its text, is
left as it is, and so are an object's own leaves if only what is further inside could be a find.

A value is bounded work (`work`): when that is spent, what could hold something becomes a mark and is noted as cut.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from belljar.tracing.masking import cap, checks, hints
from belljar.tracing.masking.keys import HEADERS, verdict
from belljar.tracing.masking.masker import PLACEHOLDER, REDACTED, Masker
from belljar.tracing.masking.plain import TRUNCATED
from belljar.tracing.masking.ruleset import SECRET
from belljar.tracing.masking.work import ExhaustedError, Work, spend
from belljar.tracing.texts import encode

__all__ = ["LEAF", "Walk"]

# Units for a leaf, beside its length; and what of them is still shown when all are spent.
LEAF = 200
_SHORT = 256
# A text is looked at by itself, and not with those beside it.
_LONG = 64
# Bytes serialized and scanned for a unit.
_SCANNED = 5
_CONTAINERS = (dict, list, tuple)
_MAX_JSON_TEXT = 64 * 1024
_JSON_LEVELS = 3
_NAMES = (
    "name", "key", "header", "field", "headerName", "header_name", "Name", "Key", "ParameterKey", "ParameterName",
    "OptionName", "variable", "variableName", "paramName", "label", "param",
)  # fmt: skip
_ANY_NAME = frozenset(_NAMES)
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
# A card as a float: nothing else that long is whole.
_MIN_FLOAT = 14
_DIGITS = {"PHONE": (7, 15), "SSN": (9, 9), "CARD": (12, 19)}
_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Walk:
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
            if isinstance(value, _CONTAINERS):
                return self._container(value, under)
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

    def _container(self, value: Any, under: str | None) -> Any:
        inside = bool(self._path) or self._json > 0  # the whole has been looked at
        if under is None and inside and self._is_calm(value):
            return value
        if isinstance(value, dict):
            return self._dict(cast("dict[str, Any]", value), under)
        return self._list(cast("list[Any]", value), under)

    def _is_calm(self, value: Any) -> bool:
        """Whether by itself there is nothing to mask in it and nothing to cut."""
        work = self._work
        try:
            text = encode(value)
            if not text.isascii():
                text.encode()
        except ValueError:  # NaN, a lone surrogate
            return False
        if len(text) > min(work.kept, work.units):
            return False
        work.units -= len(text) // _SCANNED
        if cap.has_long(text) or self._masker.suspects(text):
            return False
        self._keep(text)
        return True

    def _dict(self, value: dict[str, Any], under: str | None) -> dict[str, Any]:
        schema = under is not None and value.get("type") in _SCHEMA_TYPES
        named, columns = _named(value), _columns(value)
        if under is None and not named and not columns and (outside := _outside(value)) and self._is_calm(outside):
            return {
                key: item if outside[key] is item else self._inside(key, item, value) for key, item in value.items()
            }
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
            above = None if schema and key in hints.SCHEMA else under
            result[shown] = self(item, SECRET if key in _VALUES and named else self._says(key, item, value) or above)
            self._path.pop()
        return result

    def _inside(self, key: str, item: Any, beside: dict[str, Any]) -> Any:
        self._path.append(key)
        result = self(item, self._says(key, item, beside))
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
        if not isinstance(value, int) and not (value.is_integer() and len(text) >= _MIN_FLOAT):
            return value
        if len(text) < 4:
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
            spend(LEAF + len(text) // 4)
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
            inner = Walk(self._masker, self._key, self._window, "", self._work)
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


def _outside(value: dict[str, Any]) -> dict[str, Any] | None:
    """The object without what is long or has an inside; None if that is nothing, or all of it."""
    outside, inside = dict(value), 0
    for key, item in value.items():
        if isinstance(item, _CONTAINERS) or (isinstance(item, str) and len(item) > _LONG):
            outside[key], inside = "", inside + 1
    return outside if 0 < inside < len(value) else None


def _free(taken: dict[str, Any], name: str, times: Counter[str]) -> str:
    """Two names that are masked alike stay two."""
    while (free := f"{name}#{times[name]}") in taken:
        times[name] += 1
    return free


def _named(value: dict[str, Any]) -> bool:
    """{"name": "Authorization", "value": ...}: the name stands beside."""
    if _ANY_NAME.isdisjoint(value):
        return False
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
