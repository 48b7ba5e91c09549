"""Which API keys were good a moment ago, and whose they are.

It decides nothing: whether a key still is good is asked in the very transaction that stores what was sent with it. It
changes the order of things, which saves a look in the database and a change of threads: whoever sends with such a key
may have a small body read before that is asked. A stranger may not, who could hold places by sending slowly.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict

from belljar.server.store.keys import Principal

__all__ = ["GoodKeys"]

_GOOD_FOR_S = 60.0
_MOST = 1000


class GoodKeys:
    """Keeps hashes of keys, not keys. For the event loop alone."""

    def __init__(self) -> None:
        self._known = OrderedDict[bytes, tuple[Principal, float]]()

    def get(self, key: str) -> Principal | None:
        """Whose it was; None if that is not known, or too long ago."""
        who, until = self._known.get(_hashed(key), (None, 0.0))
        return who if until > time.monotonic() else None

    def note(self, key: str, who: Principal) -> None:
        """It was good just now."""
        hashed = _hashed(key)
        self._known.pop(hashed, None)
        self._known[hashed] = who, time.monotonic() + _GOOD_FOR_S
        if len(self._known) > _MOST:
            self._known.popitem(last=False)


def _hashed(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
