"""The circuit breaker and what is put off, with a clock that the test turns."""

from __future__ import annotations

import math

from belljar.tracing.outbox import Parcel
from belljar.tracing.syncer.gate import Deferred, Gate
from belljar.tracing.syncer.settings import Pace

PACE = Pace(backoff_base_s=0.5, backoff_cap_s=60, breaker_s=60, parked_s=900)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def parcel(name: str, parent: str | None = None) -> Parcel:
    return Parcel(name, parent, "{}", None, "1", 0, 0)


def test_each_failure_shuts_the_gate_for_longer_up_to_a_bound() -> None:
    """F30: 60 s, 120 s, 240 s ... 900 s, somewhat less at random; then a probe; a success opens it for good."""
    clock = Clock()
    gate = Gate(PACE, clock)
    assert gate.shut_for == 0
    assert not gate.probing
    for longest in (60, 120, 240, 480, 900, 900, 900):
        gate.failed(0)
        assert longest * 0.75 <= gate.shut_for <= longest
        assert gate.probing
        clock.now += longest
        assert gate.shut_for == 0
    gate.succeeded()
    assert not gate.probing
    gate.failed(0)
    assert gate.shut_for <= 60


def test_the_servers_floor_holds_for_the_gate() -> None:
    """F30: a Retry-After longer than our own pause is kept."""
    gate = Gate(PACE, Clock())
    gate.failed(3600)
    assert gate.shut_for == 3600


def test_a_parked_queue_is_news_once() -> None:
    """The same reason is told once; after a success, or for another reason, it is told again."""
    gate = Gate(PACE, Clock())
    assert gate.parked("the key")
    assert gate.shut_for == 900
    assert not gate.parked("the key")
    assert gate.parked("a redirect")
    gate.succeeded()
    assert gate.parked("a redirect")


def test_what_is_put_off_keeps_its_descendants_waiting() -> None:
    """F31: nothing below a trace that waits is sent, anything else is; each time it waits longer."""
    clock = Clock()
    deferred = Deferred(PACE, clock)
    queue = [parcel("a"), parcel("b", "a"), parcel("c", "b"), parcel("d"), parcel("e", "d")]
    assert deferred.next_in == math.inf
    last = 0.0
    for _ in range(5):
        deferred.put_off("a")
        assert [x.trace_id for x in deferred.sendable(queue)] == ["d", "e"]
        assert last < deferred.next_in <= 60
        last = deferred.next_in
        clock.now += last + 0.001
        assert [x.trace_id for x in deferred.sendable(queue)] == ["a", "b", "c", "d", "e"]
        assert deferred.next_in == math.inf
        last /= 2  # the random half
    deferred.forget("a")
    deferred.put_off("a")
    assert deferred.next_in <= 1


def test_what_was_dropped_elsewhere_is_not_remembered_for_ever() -> None:
    """However many traces are put off and then dropped by a bound, memory does not grow with them."""
    clock = Clock()
    deferred = Deferred(PACE, clock)
    for n in range(20_000):
        deferred.put_off(str(n))
        if n % 1000 == 0:
            clock.now += 100
            deferred.sendable([])
    assert len(deferred._times) < 6000
    assert len(deferred) <= 1000
