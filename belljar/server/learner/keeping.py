"""A tenant's replay, kept in step with the store.

It is built from the store, page by page, and then follows: new rows are added, removed ones drawn no more. Replay wants
rows in ascending order, and PostgreSQL lets them come to light out of turn; so what is seen is held back until all who
were writing at that moment have ended, and only then read, without gaps. Whatever cannot be followed - an SQLite file
gives the row ids of its newest traces out again when those are removed - is built anew, which is right in any case and
takes seconds for a million.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from belljar.learning.replay import PrioritizedReplay
from belljar.server.store import runs
from belljar.server.store.engine import Database

__all__ = ["MOST_ROWS", "Keeping"]

MOST_ROWS = 1_000_000
"""The newest real runs of a tenant that can be drawn: 24 to 32 MB."""
_SLACK = 1.25
# Removed rows keep their leaves; with more than such a share of them, a new tree is worth its time.
_DEAD = 0.25

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Keeping:
    """Built at first use. Blocking; not safe between threads.

    Args:
        paid: called after each page; rests, or raises to give up, after which this can be used again.
    """

    def __init__(
        self, db: Database, tenant_id: int, *, paid: Callable[[], None], most: int = MOST_ROWS, page: int = runs.PAGE
    ) -> None:
        self._db = db
        self._tenant_id = tenant_id
        self._paid = paid
        self._most = most
        self._page = page
        self._reset()

    def follow(self) -> int:
        """Take in what has come and is complete; how many runs that was. Cheap when there is none.

        Raises:
            StoreUnavailable: the database does not answer; it may be tried again.
        """
        before = len(self.replay)
        if self._seen is None:
            newest = runs.last_row(self._db, self._tenant_id)
            if newest < self._until:
                self._reset()
            if newest > self._until:
                self._seen = newest, runs.mark(self._db)
        if self._seen is not None and runs.past(self._db, self._seen[1]):
            self._take(self._seen[0])
            self._seen = None
        return max(0, len(self.replay) - before)

    def compare(self) -> int:
        """Let go of what was removed from the store; how many runs that was. Counts them all.

        Raises:
            StoreUnavailable: as `follow`.
        """
        there = runs.count(self._db, self._tenant_id, after=self._after, until=self._until)
        if there == len(self.replay):
            return 0
        pages = list(self._rows())
        gone = np.setdiff1d(self.replay.rows, np.concatenate(pages) if pages else np.empty(0, np.int64))
        if there + len(gone) != len(self.replay) or len(gone) > _DEAD * len(self.replay):
            until = self._until
            self._reset()
            self._take(until)
        else:
            self.replay.remove(gone)
        return len(gone)

    def new_since(self, row: int) -> int:
        """Runs in rows above this one."""
        return self.replay.newer_than(row)

    @property
    def waits(self) -> bool:
        """Something was seen that is not complete yet."""
        return self._seen is not None

    def update(self, rows: Ints, priorities: Floats) -> None:
        """As they were written to the store."""
        self.replay.update(rows, priorities)

    # ----

    def _reset(self) -> None:
        self.replay = PrioritizedReplay()
        self._after = 0
        self._until = 0
        self._seen: tuple[int, int] | None = None

    def _take(self, until: int) -> None:
        """Everything between what there is and `until`. A failure in the middle leaves what was read so far."""
        if not self._until:
            self._after = self._until = runs.floor(self._db, self._tenant_id, self._most)
        some = {"after": self._until, "until": until, "page": self._page}
        for rows, priorities in runs.priorities(self._db, self._tenant_id, **some):
            self.replay.add(rows, priorities)
            self._until = int(rows[-1])
            self._paid()
        self._until = max(self._until, until)
        if len(self.replay) > _SLACK * self._most:
            self._reset()
            self._take(until)

    def _rows(self) -> list[Ints]:
        pages = list[Ints]()
        for page in runs.rows(self._db, self._tenant_id, after=self._after, until=self._until):
            pages.append(page)
            self._paid()
        return pages
