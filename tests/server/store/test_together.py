"""Work that is done together: never twice at once, never forgotten, never for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from belljar.server.store._together import Together

_WAIT_S = 30.0


class Bench:
    """Work that notes what it was given, and holds still while `open` is not set."""

    def __init__(self, most: int = 100) -> None:
        self.together = Together(most=most)
        self.groups = list[list[int]]()
        self.begun = threading.Semaphore(0)
        self.open = threading.Event()
        self.fails = set[int]()
        self._at_it = threading.Lock()

    def __call__(self, item: int, wait_s: float = _WAIT_S, size: int = 1) -> None:
        self.together(item, self.work, size=size, wait_s=wait_s)

    def work(self, items: list[int]) -> None:
        assert self._at_it.acquire(blocking=False), "two at once"
        try:
            self.groups.append(items)
            self.begun.release()
            assert self.open.wait(_WAIT_S)
            if self.fails & set(items):
                raise ValueError(items)
        finally:
            self._at_it.release()

    def waiting(self, count: int) -> None:
        """Returns when so many stand in the queue."""
        until = threading.Event()
        while len(self.together._waiting) < count:
            until.wait(0.001)


@contextmanager
def busy(bench: Bench, *items: int, size: int = 1):
    """The first item is being worked at; the others wait behind it, in this order. Gives what becomes of each."""
    with ThreadPoolExecutor(len(items)) as pool:
        results = list[Future[None]]()
        for n, item in enumerate(items):
            results.append(pool.submit(bench, item, size=size))
            bench.begun.acquire(timeout=_WAIT_S) if n == 0 else bench.waiting(n)
        try:
            yield results
        finally:
            bench.open.set()


def test_who_comes_meanwhile_is_done_with_the_others() -> None:
    """The first alone and at once; the five that came meanwhile in one go, in their order; each returns."""
    bench = Bench()
    with busy(bench, 0, 1, 2, 3, 4, 5) as results:
        bench.open.set()
        assert [result.result(_WAIT_S) for result in results] == [None] * 6
    assert bench.groups == [[0], [1, 2, 3, 4, 5]]
    bench(6)
    assert bench.groups[2:] == [[6]]


@pytest.mark.parametrize(("size", "groups"), [(3, [[0], [1, 2], [3, 4], [5]]), (50, [[n] for n in range(6)])])
def test_one_go_is_bounded(size: int, groups: list[list[int]]) -> None:
    """Not more than fits is done in one go; what fits in none is done alone."""
    bench = Bench(most=7)
    with busy(bench, 0, 1, 2, 3, 4, 5, size=size) as results:
        bench.open.set()
        assert [result.result(_WAIT_S) for result in results] == [None] * 6
    assert bench.groups == groups


def test_an_error_is_everybodys_of_that_go_and_nobody_elses() -> None:
    """All whose work was undone are told; those before and after are not."""
    bench = Bench(most=2)
    bench.fails = {1}
    with busy(bench, 0, 1, 2, 3) as results:
        bench.open.set()
        errors = [result.exception(_WAIT_S) for result in results]
    assert [type(error) for error in errors] == [type(None), ValueError, ValueError, type(None)]
    bench(4)


def test_who_waits_too_long_leaves_and_is_not_done() -> None:
    """Its turn did not come: it is told so, and nobody works for it later."""
    bench = Bench()
    with busy(bench, 0, 1) as results:
        with pytest.raises(TimeoutError):
            bench(2, wait_s=0.01)
        bench.open.set()
        assert [result.result(_WAIT_S) for result in results] == [None] * 2
    assert bench.groups == [[0], [1]]


def test_however_they_meet_each_is_done_once() -> None:
    """Sixteen threads, some of them impatient: what returned was done once, what gave up never, and nobody is stuck."""
    bench = Bench(most=5)
    bench.open.set()
    gave_up = set[int]()

    def send(n: int) -> Callable[[], None] | None:
        for i in range(50):
            try:
                bench(n * 50 + i, wait_s=0.0 if n % 4 == 0 else _WAIT_S)
            except TimeoutError:
                gave_up.add(n * 50 + i)
        return None

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(send, range(16), timeout=2 * _WAIT_S))
    done = [item for group in bench.groups for item in group]
    assert sorted(done) == sorted(set(range(800)) - gave_up)
    assert max(map(len, bench.groups)) <= 5
