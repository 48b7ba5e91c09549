"""A trace's whole size, brought under the cap: long texts first, then whole values, then the tail of the lists.

What goes is replaced by a mark, and its size before is written down under its JSON pointer, so that a reader knows what
is missing. The result is cut before it is dropped: a thousand calls with their first words say more than ten in full.
"""

from __future__ import annotations

import json
from typing import Any, cast

from belljar.tracing.masking.plain import TRUNCATED

__all__ = ["MAX_POINTERS", "MAX_TEXT_BYTES", "MAX_TRACE_BYTES", "cut", "fit", "has_long", "pointer", "size"]

MAX_TEXT_BYTES = 10 * 1024
"""Bytes of UTF-8 kept of one text."""
MAX_TRACE_BYTES = 256 * 1024
"""Bytes of a whole trace as compact JSON."""

MAX_POINTERS = 1000
"""They are part of the trace; their number must not fill it."""
_SHORTEST = 64
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def size(value: Any) -> int:
    """Bytes as compact JSON in UTF-8."""
    return len(_ENCODE(value).encode("utf-8", "replace"))


def has_long(serialized: str) -> bool:
    """Whether a text in this JSON may be over its bound; a long one always is."""
    data = serialized.encode("utf-8", "replace")
    # A text, escapes and all, lies between two quotes that are not escaped themselves.
    return len(data) > MAX_TEXT_BYTES and max(map(len, data.replace(b'\\"', b"__").split(b'"'))) > MAX_TEXT_BYTES


def cut(text: str, max_bytes: int) -> str:
    """The beginning of the text and the mark, together at most `max_bytes`; not within a word if one ends nearby."""
    kept = text.encode("utf-8", "replace")[: max_bytes - len(TRUNCATED)].decode("utf-8", "ignore")
    word = max(kept.rfind(" ", -200), kept.rfind("\n", -200), kept.rfind('"', -200), kept.rfind(",", -200))
    return (kept[:word] if word > 0 else kept) + TRUNCATED


def pointer(path: list[str]) -> str:
    """RFC 6901."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def fit(trace: dict[str, Any]) -> dict[str, Any]:
    """The trace with at most MAX_TRACE_BYTES; what was cut is added to metadata.truncated."""
    if size(trace) <= MAX_TRACE_BYTES:
        return trace
    truncated = trace["metadata"]["truncated"]
    most = MAX_TEXT_BYTES // 2
    while size(trace) > MAX_TRACE_BYTES and most >= _SHORTEST:
        trace = _shortened(trace, most, [], truncated)
        trace["metadata"]["truncated"] = truncated = _bounded(truncated)
        most //= 2
    if size(trace) > MAX_TRACE_BYTES:
        _without_values(trace, truncated)
    for name in ("decisions", "taskResults"):
        if size(trace) > MAX_TRACE_BYTES:
            _without_tail(trace, name, truncated)
    trace["metadata"]["truncated"] = _bounded(truncated)
    return trace if size(trace) <= MAX_TRACE_BYTES else _bare(trace)


def _bounded(truncated: dict[str, int]) -> dict[str, int]:
    return dict(list(truncated.items())[:MAX_POINTERS])


def _shortened(value: Any, most: int, path: list[str], truncated: dict[str, int]) -> Any:
    if isinstance(value, str):
        whole = len(value.encode("utf-8", "replace"))
        if whole <= most:
            return value
        if len(truncated) < MAX_POINTERS:
            truncated.setdefault(pointer(path), whole)
        return cut(value, most)
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        skipped = ("truncated", "redactions") if path == ["metadata"] else ()
        return {k: v if k in skipped else _shortened(v, most, [*path, k], truncated) for k, v in pairs}
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [_shortened(item, most, [*path, str(i)], truncated) for i, item in enumerate(items)]
    return value


def _without_values(trace: dict[str, Any], truncated: dict[str, int]) -> None:
    """Takes away the largest arguments and results until the rest fits."""
    tasks = cast("list[dict[str, Any]]", trace.get("taskResults") or [])
    places = [
        (size(task[name]), i, name) for i, task in enumerate(tasks) for name in ("result", "args") if name in task
    ]
    over = size(trace) - MAX_TRACE_BYTES
    for bytes_, i, name in sorted(places, reverse=True):
        if over <= 0 or bytes_ <= _SHORTEST:
            return
        tasks[i][name] = TRUNCATED
        where = f"/taskResults/{i}/{name}"
        truncated.setdefault(where, bytes_)
        over -= bytes_ - len(TRUNCATED) - len(where) - 12


def _without_tail(trace: dict[str, Any], name: str, truncated: dict[str, int]) -> None:
    items = trace.get(name)
    if not isinstance(items, list) or not items:
        return
    kept = cast("list[Any]", items)
    truncated[f"/{name}"] = size(kept)
    while kept and size(trace) > MAX_TRACE_BYTES:
        kept = trace[name] = kept[: len(kept) * 3 // 4]


def _bare(trace: dict[str, Any]) -> dict[str, Any]:
    """When even that was too much: what is not a short scalar goes, and the pointers with it."""
    before = {"": size(trace)}
    bare = {k: v for k, v in trace.items() if not isinstance(v, dict | list) and size(v) <= 1024}
    return bare | {"taskResults": [], "decisions": [], "metadata": {"redactions": {}, "truncated": before}}
