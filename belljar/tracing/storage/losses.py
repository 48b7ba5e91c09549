"""How many traces a full disk swallowed, kept on that disk.

A file needs a block, and there is none. A short symbolic link needs none: its target stands beside its name. So each
writer that cannot write leaves one link to nowhere, `lost-...`, whose target are the numbers; nobody ever follows it.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping

__all__ = ["note", "read", "take_back"]

# In tmpfs, ext4 and xfs a target stands in the inode up to 59 bytes; a longer one may need a block after all.
_COUNTS = re.compile(r"[a-z_.]{1,40}=[0-9]{1,15}(?:,[a-z_.]{1,40}=[0-9]{1,15}){0,15}")
# Where so many writers have left one each, the oldest are put together with the next.
_MAX_LINKS = 100


def note(folder: int, name: str, counters: Mapping[str, int], others: Iterable[str]) -> Counter[str]:
    """Write the numbers down under a new name; what is written, others' old ones included, or nothing if it failed.

    Args:
        others: the links that are there, the oldest first.
    """
    told = Counter(counters)
    for old in list(others)[: -_MAX_LINKS or None]:
        counted = read(folder, old)
        if _taken(folder, old):
            told.update(counted)
    try:
        os.symlink(",".join(f"{kind}={n}" for kind, n in told.items() if n), name, dir_fd=folder)
    except OSError:
        return Counter()
    return told


def _taken(folder: int, name: str) -> bool:
    """Whether it was there and we removed it: of two who try, one counts it."""
    try:
        return take_back(folder, name)
    except OSError:
        return False


def read(folder: int, name: str) -> Counter[str]:
    """The numbers of a link; none if it is gone, or none of ours."""
    try:
        target = os.readlink(name, dir_fd=folder)
    except OSError:
        return Counter()
    if _COUNTS.fullmatch(target) is None:
        return Counter()
    return Counter({kind: int(n) for kind, n in (pair.split("=") for pair in target.split(","))})


def take_back(folder: int, name: str) -> bool:
    """Remove the link; False if somebody else did, who has counted it."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True
