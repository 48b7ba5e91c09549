"""Resource limits: nothing new of anything, and an optional ceiling on memory.

Limits of the process, not of a cgroup, because those need nobody's leave. Two facts shape them. RLIMIT_NOFILE is not a
count but the first descriptor number that may not be given out: set to the lowest free one, every open fails while
all that is open goes on working. And RLIMIT_AS cannot bound a box, because wasmtime reserves 4 GiB for its memory
whatever its limit; RLIMIT_DATA counts private writable memory, also when a reservation is made writable, and can.
"""

from __future__ import annotations

import errno
import os
import resource
from dataclasses import dataclass

from belljar.limits import MIB

__all__ = ["Kind", "Room", "lower_limits"]

# With folders to read a worker opens files: an import holds a handful at once.
_DESCRIPTORS_WITH_FOLDERS = 64
_FILE_BYTES_WITH_FOLDER = 64 * MIB
# The one memory RLIMIT_DATA does not count is the first thread's stack; systems give it 8 MiB, and some no end.
_STACK_BYTES = 64 * MIB


@dataclass(frozen=True, slots=True)
class Kind:
    """What a worker is for, beyond computing."""

    threads: bool = False
    reading: bool = False
    writing: bool = False
    native: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """Ceilings of a worker's memory, in bytes."""

    data: int
    """Private and writable."""
    address_space: int

    @classmethod
    def beyond_now(cls, memory: int, reserve: int) -> Room:
        """`memory` more private writable bytes than this process holds, and `reserve` more that are only reserved.

        Measured in the zygote, whose memory a worker starts with: /proc/self/statm costs 0.3 ms in a new process.
        """
        with open("/proc/self/statm", "rb") as file:
            pages = file.read().split()
        page = resource.getpagesize()
        return cls(int(pages[5]) * page + memory, int(pages[0]) * page + memory + reserve)


def lower_limits(room: Room | None, kind: Kind) -> None:
    """Lower soft and hard limits alike, so that nobody without CAP_SYS_RESOURCE raises them again.

    Raises:
        OSError: a limit could not be set.
    """
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE):
        _lower(limit, 0)
    for limit in (resource.RLIMIT_NICE, resource.RLIMIT_RTPRIO):
        _lower(limit, 0)
    _lower(resource.RLIMIT_FSIZE, _FILE_BYTES_WITH_FOLDER if kind.writing else 0)
    _lower_stack()
    folders = kind.reading or kind.writing
    _lower(resource.RLIMIT_NOFILE, _DESCRIPTORS_WITH_FOLDERS if folders else _lowest_free_descriptor())
    if not kind.threads:
        # Counts all threads of a user, so it can say "none" but not "a few".
        _lower(resource.RLIMIT_NPROC, 0)
    if room is not None:
        _lower(resource.RLIMIT_DATA, room.data)
        _lower(resource.RLIMIT_AS, room.address_space)


def _lower_stack() -> None:
    """As others, but never raise the soft limit: then recursion would go on for long before it hits the end."""
    soft, hard = (_finite(limit) for limit in resource.getrlimit(resource.RLIMIT_STACK))
    resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))


def _finite(limit: int) -> int:
    return _STACK_BYTES if limit == resource.RLIM_INFINITY else min(limit, _STACK_BYTES)


def _lower(limit: int, value: int) -> None:
    hard = resource.getrlimit(limit)[1]
    ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
    try:
        resource.setrlimit(limit, (ceiling, ceiling))
    except ValueError as exc:  # how the standard library says EINVAL and EPERM
        raise OSError(errno.EPERM, f"setrlimit {limit}: {exc}") from exc


def _lowest_free_descriptor() -> int:
    descriptor = os.eventfd(0)
    os.close(descriptor)
    return max(1, descriptor)  # poll() refuses more entries than the limit, and a worker waits for one
