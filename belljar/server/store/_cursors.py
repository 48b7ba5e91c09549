"""Where a list goes on: an opaque word that names the last row seen and the filter it belongs to.

A page begins *after* a row, not at a number, so rows that arrive meanwhile shift nothing. A cursor is no secret and
grants nothing - the tenant comes from the key - so it is checked for sense, not signed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from datetime import UTC, datetime
from typing import Any, cast

from belljar.server.store.errors import StoreRefused

__all__ = ["MAX_PAGE", "bad_cursor", "check_limit", "check_moment", "check_text", "cursor_of", "position_of"]

MAX_PAGE = 500
_MAX_CHARS = 1000
_MAX_INT = 1 << 63


def cursor_of(position: list[str | int], belongs_to: object) -> str:
    """The word for a position: texts and numbers."""
    text = json.dumps([*position, _digest(belongs_to)], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def position_of(cursor: str, belongs_to: object, kinds: tuple[type, ...]) -> list[Any]:
    """The position again.

    Raises:
        StoreRefused: no cursor of ours, or one of another list (`BAD_CURSOR`).
    """
    found = _decoded(cursor)
    if not isinstance(found, list) or not found:
        raise bad_cursor()
    *position, digest = cast("list[Any]", found)
    if digest != _digest(belongs_to) or tuple(map(type, position)) != kinds:
        raise bad_cursor()
    if any(isinstance(part, int) and not 0 <= part < _MAX_INT for part in position):
        raise bad_cursor()
    return position


def _decoded(cursor: str) -> object:
    if len(cursor) > _MAX_CHARS:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        return json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError, binascii.Error):
        return None


def _digest(belongs_to: object) -> str:
    return hashlib.sha256(repr(belongs_to).encode(errors="backslashreplace")).hexdigest()[:12]


def bad_cursor() -> StoreRefused:
    """What to raise for a position that makes no sense."""
    return StoreRefused("this cursor does not belong to this list; begin again without it", reason="BAD_CURSOR")


def check_limit(limit: int) -> None:
    """Raises StoreRefused (`BAD_FILTER`)."""
    if not 1 <= limit <= MAX_PAGE:
        raise StoreRefused(f"limit is a number from 1 to {MAX_PAGE}", reason="BAD_FILTER")


def check_text(name: str, text: str | None, max_chars: int = 1000) -> None:
    """A text to look for: what no stored text can hold is refused here rather than by one engine of the two."""
    if text is not None and (len(text) > max_chars or "\0" in text or _surrogate(text)):
        raise StoreRefused(f"{name} cannot be looked for: too long, or not text", reason="BAD_FILTER")


def check_moment(moment: datetime | None) -> None:
    """A time to compare with. Raises StoreRefused (`BAD_FILTER`)."""
    try:
        if moment is None or (moment.tzinfo is not None and moment.astimezone(UTC)):
            return
    except OverflowError:
        pass  # its offset takes it beyond the calendar
    raise StoreRefused("a time needs an offset, such as Z, and a place in the calendar", reason="BAD_FILTER")


def _surrogate(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)
