"""What the store says when it cannot do a thing.

    StoreError(BelljarError)
    |- StoreUnavailable   the database does not answer, is locked too long, full, or not migrated; try again later (503)
    |- StoreConflict      what is asked contradicts what is stored (409)
    |- StoreDenied        the tenant may not do this (403)
    `- StoreRefused       a value that breaks a stated rule: a name, a scope, a cursor (400)

`reason` is one word for programs, stable; the message is one line for people and holds no value of a stranger's unless
`show` has passed it, and never a key or a password.
"""

from __future__ import annotations

from typing import ClassVar

from belljar.errors import BelljarError, Code

__all__ = ["StoreConflict", "StoreDenied", "StoreError", "StoreRefused", "StoreUnavailable"]


class StoreError(BelljarError):
    """Base of the store's errors. `reason` says which, for programs."""

    default_code = Code.UPSTREAM_UNAVAILABLE
    default_reason: ClassVar[str] = "STORE_ERROR"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason or self.default_reason


class StoreUnavailable(StoreError):
    """Nothing was changed; the same may work in a moment.

    Reasons: `STORE_UNAVAILABLE`, `STORE_BUSY`, `NOT_MIGRATED`.
    """

    default_reason = "STORE_UNAVAILABLE"


class StoreConflict(StoreError):
    """It contradicts what is stored. Reasons: `HASH_CONFLICT`, `METADATA_CONFLICT`."""

    default_code = Code.VALIDATION_ERROR
    default_reason = "CONFLICT"


class StoreDenied(StoreError):
    """The tenant may not. Reasons: `ORG_TAKEN`, `ORG_RESERVED`."""

    default_code = Code.VALIDATION_ERROR
    default_reason = "DENIED"


class StoreRefused(StoreError):
    """A value that breaks a rule.

    Reasons: `BAD_CODE`, `BAD_CURSOR`, `BAD_FILTER`, `BAD_METADATA`, `BAD_NAME`, `BAD_SCOPE`, `BAD_URL`,
    `HASH_MISMATCH`, `TOO_LARGE`.
    """

    default_code = Code.VALIDATION_ERROR
    default_reason = "REFUSED"
