"""Takes a stranger's JSON apart: each field by name and type, each error with its place and without its value."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

from belljar.errors import ValidationError

__all__ = ["Reading"]

_Word = TypeVar("_Word", bound=str)
# The most a row can hold of a whole number.
_MOST = 2**63 - 1


class Reading:
    """One object of a document. Every method raises ValidationError for what is missing or of another type."""

    def __init__(self, value: Any, place: str = "") -> None:
        if not isinstance(value, dict):
            raise ValidationError(f"{place or 'the document'} is no object")
        self.value = cast("dict[str, Any]", value)
        self._place = place

    def has(self, name: str) -> bool:
        """Whether it is there, and not null."""
        return self.value.get(name) is not None

    def any(self, name: str) -> Any:
        """Whatever it is; None if it is not there."""
        return self.value.get(name)

    def text(self, name: str, default: str | None = None) -> str:
        """A text."""
        value = self._get(name, default)
        return value if isinstance(value, str) else self._wrong(name, "a text")

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self._get(name, default)
        return value if isinstance(value, bool) else self._wrong(name, "true or false")

    def number(self, name: str, default: float | None = None) -> float:
        """A number that is not negative."""
        value = self._get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST:
            self._wrong(name, "a number from 0")
        return float(value) if math.isfinite(value) else self._wrong(name, "a number from 0")

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number that is not negative."""
        value = self._get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
            self._wrong(name, "a whole number from 0")
        return value

    def one_of(self, name: str, words: Sequence[_Word], default: _Word) -> _Word:
        """One of these words."""
        value = self._get(name, default)
        found = next((word for word in words if word == value), None)
        return found if found is not None else self._wrong(name, f"one of {', '.join(words)}")

    def child(self, name: str) -> Reading:
        """An object; an empty one if it is not there."""
        value = self.value.get(name)
        return Reading({} if value is None else value, self._at(name))

    def items(self, name: str, *, required: bool = True) -> list[Any]:
        """A list."""
        value = self._get(name, None if required else [])
        return cast("list[Any]", value) if isinstance(value, list) else self._wrong(name, "a list")

    def objects(self, name: str, *, required: bool = True) -> Iterator[Reading]:
        """A list of objects."""
        for n, item in enumerate(self.items(name, required=required)):
            yield Reading(item, f"{self._at(name)}[{n}]")

    def _get(self, name: str, default: Any) -> Any:
        value = self.value.get(name)
        return default if value is None else value

    def _at(self, name: str) -> str:
        return f"{self._place}.{name}" if self._place else name

    def _wrong(self, name: str, wanted: str) -> Any:
        what = "is not" if self.has(name) else "is missing; it is"
        raise ValidationError(f"{self._at(name)} {what} {wanted}")
