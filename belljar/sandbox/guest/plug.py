"""Plugs the holes in the heap before the snapshot is taken.

Building leaves a heap full of freed blocks, spread over all its pages. New objects would go into those blocks, and each
first write to a page of the snapshot costs a box a page fault and a copy: half of a run's time, measured. So the holes
are filled with objects that live for ever, and what a box allocates comes from fresh memory, close together.
"""

from __future__ import annotations

import gc

__all__ = ["plug"]

_ALIGNMENT = 16
_SMALL = 512  # largest block of the small-object allocator
_LARGE = 256 << 10
_OVERHEAD = bytes(0).__sizeof__()
# A pool is 16 KiB: this many blocks in a row from new memory mean that no pool with holes is left in a class.
_POOL_BYTES = 16 << 10
_IN_A_ROW = 8

_kept: list[bytes] = []


def plug() -> None:
    """Allocate in every size class until the addresses handed out are new ones."""
    top = max(map(id, gc.get_objects()))
    fresh: list[bytes] = []
    size = _LARGE
    while size > _SMALL:
        _fill(size, top, 1, fresh)
        size = size * 3 // 4
    for size in range(_SMALL, _OVERHEAD, -_ALIGNMENT):
        _fill(size, top, _IN_A_ROW * _POOL_BYTES // size, fresh)


def _fill(size: int, top: int, enough: int, fresh: list[bytes]) -> None:
    beyond = 0
    while beyond < enough:
        block = bytes(size - _OVERHEAD)
        if id(block) > top:
            beyond += 1
            fresh.append(block)
        else:
            beyond = 0
            _kept.append(block)
