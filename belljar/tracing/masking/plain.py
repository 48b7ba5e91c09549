"""Any value as plain JSON: no cycle, no depth, no bytes, no NaN, no lone surrogate, and every key a string.

What a trace is made of is JSON already; this is for the rest, and for what a stranger made to break the encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from belljar.limits import MAX_JSON_DEPTH

__all__ = ["TRUNCATED", "plain"]

TRUNCATED = "...[TRUNCATED]"
"""What a cut text ends in, and what stands for a value that was cut away whole."""

# Some more than the parser lets in: a trace puts a value a few levels deeper.
_MAX_DEPTH = MAX_JSON_DEPTH + 16
# Containers and scalars looked at; past this the rest of the value is cut away.
_MAX_NODES = 1_000_000


class _Copy:
    def __init__(self) -> None:
        self._left = _MAX_NODES
        self._above = set[int]()

    def __call__(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, int):
            return int(value) if value.bit_length() < 4096 else TRUNCATED
        if isinstance(value, float):
            return float(value) if value - value == 0 else repr(float(value))
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(cast("bytes", value)).decode("utf-8", "backslashreplace")
        return self._container(value, depth)

    def _container(self, value: Any, depth: int) -> Any:
        place = id(value)
        if depth >= _MAX_DEPTH or self._left < 0 or place in self._above:
            return TRUNCATED
        self._above.add(place)
        try:
            if isinstance(value, Mapping):
                pairs = cast("Mapping[Any, Any]", value).items()
                return {self._key(key): self(item, depth + 1) for key, item in pairs}
            if isinstance(value, list | tuple | set | frozenset):
                return [self(item, depth + 1) for item in cast("list[Any]", value)]
            return self._other(value)
        finally:
            self._above.discard(place)

    def _key(self, key: Any) -> str:
        if isinstance(key, str):
            return str.__str__(key)
        if isinstance(key, tuple | list | frozenset):
            return " ".join(map(self._key, cast("tuple[Any, ...]", key)))
        plain_key = self(key, _MAX_DEPTH)
        return plain_key if isinstance(plain_key, str) else repr(plain_key)

    def _other(self, value: Any) -> str:
        if isinstance(value, BaseException):
            return f"{type(value).__name__}: {value}"
        return repr(value)


def plain(value: Any) -> Any:
    """A copy of the value that JSON can hold; raises only what the value's own code raises."""
    return _Copy()(value, 0)
