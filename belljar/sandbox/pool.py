"""The pool: parked boxes ahead of need, one zygote for each kind of box.

A run takes a parked box and the place is filled again at once. Who asks first is served first; at most `most` boxes
of a level are in use, and who asks beyond that waits. A box is used once, or, where `reuse` is more than 1, by the same
principal again. What dies is replaced: a worker by the next fork, a zygote by a new one, with a back-off if it dies
young.
Without demand the pool shrinks to one parked box a kind, and a kind nobody asks for is closed.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from belljar.errors import BelljarError, WallError, WorkerCrash, unwrapped
from belljar.sandbox.compiled import open_folder
from belljar.sandbox.host import BoxProcess, PoolKey, ZygoteProcess
from belljar.sandbox.workfolder import remove_left_behind
from belljar.sandbox.zygote import NONE

__all__ = ["Pool", "PoolSettings"]

_BACK_OFF_S = (0.05, 0.2, 1.0, 5.0)
_YOUNG_S = 5.0
_ACQUIRE_DEADLINE_S = 60.0
_REFILL_DELAY_S = 0.005
# Kinds of boxes at a time: one for each memory limit and set of waived walls that runs ask for.
_MOST_KINDS = 8
# Workers may be killed by accident (the kernel out of memory), all that come up at once; so many more are no accident.
_MOST_FAILURES = 5


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """How many boxes, and for how long."""

    parked: int = 0
    """Boxes held ready of each kind; 0: one a core and one more."""
    most: int = 0
    """Boxes in use at once, of runs at one level; 0: four a core."""
    reuse: int = 1
    """Runs one worker may serve, all of one principal."""
    idle_s: float = 60.0
    """Seconds without demand until parked boxes are let go; after ten times as long the zygote goes too."""


class Pool:
    """Hands out boxes. Use `open_pool`."""

    def __init__(self, settings: PoolSettings, open_cwasm: Callable[[], int], tasks: TaskGroup) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._parked = settings.parked or cores + 1
        self._reuse = settings.reuse
        self._idle_s = settings.idle_s
        self._open_cwasm = open_cwasm
        self._tasks = tasks
        self._most = settings.most or 4 * cores
        self._places: dict[int, anyio.Semaphore] = {}
        self._shelves: dict[PoolKey, _Shelf] = {}

    def warm(self, key: PoolKey) -> None:
        """Start this kind's zygote now, so that it is there when a run asks."""
        self._shelf(key)

    @asynccontextmanager
    async def box(self, key: PoolKey, principal: str, *, level: int = 0) -> AsyncGenerator[BoxProcess]:
        """A parked box for one run; whatever happens in the block, it is gone or used up after it.

        A run that was called by another says at which `level`. Each level has places of its own: those above wait for
        it, and must not hold what it waits for.

        Raises:
            WallError, WorkerCrash: no box can be had; says why.
        """
        async with self._places.setdefault(level, anyio.Semaphore(self._most)):
            shelf = self._shelf(key)
            box = await shelf.take(principal)
            try:
                yield box
            finally:
                shelf.give_back(box, principal)

    def _shelf(self, key: PoolKey) -> _Shelf:
        shelf = self._shelves.get(key)
        if shelf is None or shelf.closed:
            self._make_room()
            shelf = self._shelves[key] = _Shelf(key, self._parked, self._reuse, self._idle_s, self._open_cwasm)
            self._tasks.start_soon(shelf.run)
        return shelf

    def _make_room(self) -> None:
        """A kind costs a zygote: the one unused for longest goes when there would be too many."""
        self._shelves = {key: shelf for key, shelf in self._shelves.items() if not shelf.closed}
        unused = sorted((s for s in self._shelves.values() if not s.busy), key=lambda s: s.last_demand)
        for shelf in unused[: max(0, len(self._shelves) - _MOST_KINDS + 1)]:
            shelf.close()

    def close(self) -> None:
        for shelf in self._shelves.values():
            shelf.close()

    def pids(self) -> list[int]:
        """Zygotes and workers alive; for tests and `doctor`."""
        return [pid for shelf in self._shelves.values() for pid in shelf.pids()]


class _Shelf:
    """The parked boxes of one kind, and their zygote."""

    def __init__(self, key: PoolKey, target: int, reuse: int, idle_s: float, open_cwasm: Callable[[], int]) -> None:
        self.closed = False
        self._key = key
        self._target = target
        # Native code leaves nothing of its process to trust: such a worker is used once.
        self._reuse = 1 if key.backend == "process" else reuse
        self._idle_s = idle_s
        self._open_cwasm = open_cwasm
        self._zygote: ZygoteProcess | None = None
        self._failure: BelljarError | None = None
        self._parked: deque[BoxProcess] = deque()
        self._used: dict[str, deque[tuple[BoxProcess, int]]] = {}
        self._runs: dict[int, int] = {}
        self._coming = 0
        self._failed_to_park = 0
        self._opening = False
        """Whether what a zygote needs is still being made, which has a deadline of its own."""
        self._waiting: deque[_Waiter] = deque()
        self.last_demand = time.monotonic()
        self._tasks: TaskGroup | None = None

    @property
    def busy(self) -> bool:
        """Whether a run has one of its boxes or waits for one."""
        return bool(self._runs or self._waiting)

    # ---- the zygote

    async def run(self) -> None:
        """Keep a zygote alive and the shelf filled until `close`."""
        deaths = 0
        while not self.closed:
            born = time.monotonic()
            served = await self._serve()
            if self.closed:
                return
            deaths = deaths + 1 if not served or time.monotonic() - born < _YOUNG_S else 0
            if deaths >= len(_BACK_OFF_S):
                self._fail(self._failure or WorkerCrash("the zygote keeps dying; run `belljar doctor`"))
                return
            await anyio.sleep(_BACK_OFF_S[deaths])

    async def _serve(self) -> bool:
        """One zygote's life; whether it ever served."""
        try:
            zygote = self._zygote = await self._start()
        except BelljarError as exc:
            self._fail(exc)  # no compiled guest: trying again will not make one
            return False
        try:
            with unwrapped():
                await self._keep(zygote)
        except BelljarError as exc:
            self._failure = exc
            if isinstance(exc, WallError):
                self._fail(exc)  # trying again will not build a wall
        finally:
            zygote.close()
            self._let_go()
        return zygote.failure is None and zygote.serving.is_set()

    async def _start(self) -> ZygoteProcess:
        if self._key.work:
            await anyio.to_thread.run_sync(remove_left_behind, Path(self._key.work))
        self._opening = True
        try:
            cwasm, packages = await anyio.to_thread.run_sync(self._open_given)
        finally:
            self._opening = False
        try:
            return ZygoteProcess(self._key, self._reuse, cwasm=cwasm, packages=packages)
        finally:
            for descriptor in (cwasm, packages):
                if descriptor != NONE:
                    os.close(descriptor)

    def _open_given(self) -> tuple[int, int]:
        cwasm = NONE if self._key.backend == "process" else self._open_cwasm()  # it may have to be compiled first
        try:
            return cwasm, open_folder(Path(self._key.packages)) if self._key.packages else NONE
        except BaseException:
            if cwasm != NONE:
                os.close(cwasm)
            raise

    async def _keep(self, zygote: ZygoteProcess) -> None:
        async with anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(zygote.listen)
            await zygote.wait_serving()
            self._fill()
            self._tasks.start_soon(self._shrink)
            await zygote.ended.wait()
            self._tasks.cancel_scope.cancel()

    def _let_go(self) -> None:
        used = [box for boxes in self._used.values() for box, _ in boxes]
        for box in (*self._parked, *used):
            box.end()
        self._parked.clear()
        self._used.clear()
        self._coming = 0

    def _fail(self, failure: BelljarError) -> None:
        self.closed = True
        for waiter in self._waiting:
            waiter.fail(failure)
        self._waiting.clear()
        self._failure = failure

    def close(self) -> None:
        self.closed = True
        if self._zygote is not None:
            self._zygote.close()

    def pids(self) -> list[int]:
        return self._zygote.pids() if self._zygote is not None and self._zygote.alive else []

    # ---- filling and shrinking

    def _fill(self) -> None:
        zygote = self._zygote
        if zygote is None or not zygote.alive or not zygote.serving.is_set():
            return
        while len(self._parked) + self._coming < self._target + len(self._waiting) and zygote.fork(self._arrived):
            self._coming += 1

    def _arrived(self, box: BoxProcess) -> None:
        assert self._tasks is not None
        self._tasks.start_soon(self._park, box)

    async def _park(self, box: BoxProcess) -> None:
        try:
            await box.parked()
            if not box.is_waiting():
                raise WorkerCrash("a worker was killed as soon as it was ready")
        except (BelljarError, TimeoutError) as exc:
            self._coming = max(0, self._coming - 1)
            self._not_parked(box, exc)
            return
        except BaseException:
            box.end()
            raise
        self._coming = max(0, self._coming - 1)
        self._failed_to_park = 0
        self._shelve(box)

    def _not_parked(self, box: BoxProcess, exc: Exception) -> None:
        box.end()
        self._failed_to_park += 1
        if isinstance(exc, WallError) or self._failed_to_park >= _MOST_FAILURES + self._target:
            self._fail(exc if isinstance(exc, BelljarError) else WorkerCrash("workers do not come up in time"))
            self.close()
        else:
            self._fill()

    def _shelve(self, box: BoxProcess) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if waiter.give(box):
                return
        self._parked.append(box)

    async def _shrink(self) -> None:
        while True:
            await anyio.sleep(self._idle_s / 4)
            idle = time.monotonic() - self.last_demand
            if idle > 10 * self._idle_s and not self._runs:
                self.close()
                return
            while idle > self._idle_s and len(self._parked) > 1:
                self._parked.popleft().end()

    # ---- taking and giving back

    async def take(self, principal: str) -> BoxProcess:
        self.last_demand = time.monotonic()
        if self._failure is not None and self.closed:
            raise self._failure
        box = self._reusable(principal) or self._next_parked()
        if box is None:
            box = await self._wait()
        self._runs[box.pid] = self._runs.get(box.pid, 0) + 1
        if self._tasks is not None:
            self._tasks.start_soon(self._refill)
        return box

    async def _refill(self) -> None:
        # Most runs are over before this; a fork beside them would take their caches and half their time.
        await anyio.sleep(_REFILL_DELAY_S)
        self._fill()

    def _reusable(self, principal: str) -> BoxProcess | None:
        boxes = self._used.get(principal)
        while boxes:
            box, runs = boxes.popleft()
            if box.is_waiting():
                self._runs[box.pid] = runs
                return box
            box.end()
        return None

    def _next_parked(self) -> BoxProcess | None:
        while self._parked:
            box = self._parked.popleft()
            if box.is_waiting():
                return box
            box.end()  # it died, or spoke unasked, since it was parked
        return None

    async def _wait(self) -> BoxProcess:
        waiter = _Waiter()
        self._waiting.append(waiter)
        self._fill()
        try:
            while True:
                with anyio.move_on_after(_ACQUIRE_DEADLINE_S):
                    return await waiter.get()
                if not self._opening:
                    raise WorkerCrash("no box came up in time; run `belljar doctor`")
        except BaseException:
            if waiter.box is not None:  # it came as this run gave up; the next one takes it
                self._shelve(waiter.box)
            raise
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def give_back(self, box: BoxProcess, principal: str) -> None:
        """After a run: the box is parked again for the same principal, or ended."""
        runs = self._runs.pop(box.pid, 1)
        if box.reusable and runs < self._reuse and not self.closed and self._tasks is not None:
            self._tasks.start_soon(self._park_again, box, principal, runs)
        else:
            box.end()
        self._fill()

    async def _park_again(self, box: BoxProcess, principal: str, runs: int) -> None:
        try:
            await box.parked()
        except BaseException as exc:
            box.end()
            if isinstance(exc, (BelljarError, TimeoutError)):
                return
            raise
        self._used.setdefault(principal, deque()).append((box, runs))


class _Waiter:
    """A run that waits for a box."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self.box: BoxProcess | None = None
        self._failure: BelljarError | None = None

    def give(self, box: BoxProcess) -> bool:
        if self._event.is_set():
            return False
        self.box = box
        self._event.set()
        return True

    def fail(self, failure: BelljarError) -> None:
        self._failure = failure
        self._event.set()

    async def get(self) -> BoxProcess:
        await self._event.wait()
        if self._failure is not None:
            raise self._failure
        assert self.box is not None
        return self.box


@asynccontextmanager
async def open_pool(settings: PoolSettings, open_cwasm: Callable[[], int]) -> AsyncGenerator[Pool]:
    """A pool for the length of the block; after it, no process of it is left."""
    with unwrapped():
        async with anyio.create_task_group() as tasks:
            pool = Pool(settings, open_cwasm, tasks)
            try:
                yield pool
            finally:
                pool.close()
                tasks.cancel_scope.cancel()
