"""Limits of a run: what each is, its default, and how people write one.

A `Limits` is frozen and handed down by whoever starts a run; nothing below reads a global. Each limit is enforced on
the host's side of the border, in the module its line names, and each has a test that hits it. Sizes are bytes and may
be written with KiB / MiB / GiB; times are seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from belljar.errors import ConfigError

__all__ = ["KIB", "MAX_FRAME_BYTES", "MAX_JSON_DEPTH", "MIB", "Limits"]

KIB = 1 << 10
MIB = 1 << 20

# 16 MiB: twice the largest tool answer; a guest must not make the host buffer without bound.
MAX_FRAME_BYTES = 16 * MIB
# Far above what people nest, far below what makes a recursive parser overflow its stack.
MAX_JSON_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use. `Limits()` is the documented default; `Limits().with_(wall="1")` changes one."""

    wall: float = 30.0
    """Seconds from code sent to result known, human approval not counted -> EXECUTION_TIMEOUT."""
    call: float = 30.0
    """Seconds one `mcp` call may take -> RPC_TIMEOUT raised in the guest, the call cancelled upstream."""
    memory: int = 256 * MIB
    """Bytes the box may hold -> MemoryError in the guest, or MEMORY_LIMIT."""
    code: int = 256 * KIB
    """Bytes of source -> VALIDATION_ERROR before a box exists."""
    args: int = 4 * MIB
    """Bytes of the run's arguments as JSON -> VALIDATION_ERROR before a box exists."""
    result: int = 4 * MIB
    """Bytes of the result as JSON -> RESULT_LIMIT."""
    call_args: int = 4 * MIB
    """Bytes of one call's arguments as JSON -> RPC_ERROR raised in the guest; the call is not made."""
    answer: int = 8 * MIB
    """Bytes of one tool answer, counted on the byte stream -> RPC_ERROR raised in the guest."""
    tools_list: int = 16 * MIB
    """Bytes of an upstream's whole tools list, counted on the byte stream -> the upstream is unavailable."""
    tools: int = 10_000
    """Number of tools an upstream may list -> the upstream is unavailable."""
    output: int = 1 * MIB
    """Bytes of print kept, stdout and stderr together; the rest is counted and dropped."""
    calls: int = 1000
    """Number of calls in a run -> CALL_LIMIT."""
    in_flight: int = 64
    """Number of calls being answered at once; more wait their turn."""

    def with_(self, **changes: str | float) -> Limits:
        """A copy with some limits changed; values as people write them (`"64MiB"`, `"1.5"`, `1`).

        Raises:
            ConfigError: an unknown name, a value that is not a number or not positive.
        """
        return replace(self, **{name: _parse(name, value) for name, value in changes.items()})

    def narrowed(self, other: Mapping[str, str | float]) -> Limits:
        """A copy in which each named limit is the smaller of both: authority that may only shrink."""
        return replace(self, **{name: min(getattr(self, name), _parse(name, value)) for name, value in other.items()})


_TYPES: dict[str, type] = {field.name: type(getattr(Limits(), field.name)) for field in fields(Limits)}
_UNITS = {"": 1, "kib": KIB, "mib": MIB, "gib": 1 << 30}
_NUMBER = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?(|kib|mib|gib)", re.IGNORECASE | re.ASCII)
# Sizes from which a fresh interpreter still starts and a 32-bit linear memory can still hold it.
_MEMORY_RANGE = (48 * MIB, 4095 * MIB)


def _parse(name: str, value: str | float) -> float | int:
    kind = _TYPES.get(name)
    if kind is None:
        raise ConfigError(f"no limit is called {name!r}; there are: {', '.join(_TYPES)}")
    match = _NUMBER.fullmatch(str(value).strip())
    if match is None or (kind is float and match[2]):
        raise ConfigError(f"limit {name}={value!s}: give {'seconds' if kind is float else 'a number, KiB or MiB'}")
    number = kind(float(match[1]) * _UNITS[match[2].lower()])
    if number <= 0:
        raise ConfigError(f"limit {name}={value!s}: must be more than 0")
    if name == "memory" and not _MEMORY_RANGE[0] <= number <= _MEMORY_RANGE[1]:
        raise ConfigError(f"limit memory={value!s}: must be between 48MiB and 4095MiB")
    return number
