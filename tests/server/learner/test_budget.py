"""The learner's share of a core."""

from __future__ import annotations

import threading
import time

import pytest

from belljar.errors import ConfigError
from belljar.server.learner.budget import Budget, Stopped
from belljar.server.settings import Settings


class Machine:
    """A clock and a processor that go as far as they are told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.used = 0.0
        self.rests: list[float] = []
        self.ending = False

    def work(self, seconds: float) -> None:
        self.now += seconds
        self.used += seconds

    def rest(self, seconds: float) -> bool:
        self.rests.append(seconds)
        self.now += seconds
        return self.ending

    def budget(self, share: float) -> Budget:
        return Budget(share, self.rest, clock=lambda: self.now, processor=lambda: self.used)


@pytest.mark.parametrize("share", [0.05, 0.25, 0.9])
def test_the_share_is_kept(share: float) -> None:
    """However the work is cut: of all the time that passed no more than the share was worked, and hardly less."""
    machine = Machine()
    budget = machine.budget(share)
    for n in range(200):
        machine.work(0.01 * (1 + n % 7))
        budget.pay()
    assert share * 0.9 < machine.used / machine.now <= share * 1.001


def test_idle_time_is_not_saved_up() -> None:
    """After an hour of nothing, work is paid for as before."""
    machine = Machine()
    budget = machine.budget(0.25)
    machine.now += 3600
    budget.pay()
    began = machine.now
    machine.work(10)
    budget.pay()
    assert machine.now - began >= 38


def test_a_whole_core_never_rests() -> None:
    """A share of 1 only looks whether it is to end."""
    machine = Machine()
    budget = machine.budget(1.0)
    machine.work(100)
    budget.pay()
    assert sum(machine.rests) == 0


def test_told_to_end() -> None:
    """While it rests, and before it works on."""
    machine = Machine()
    budget = machine.budget(0.25)
    machine.ending = True
    with pytest.raises(Stopped):
        budget.pay()
    stop = threading.Event()
    real = Budget(0.001, stop.wait)
    ends = time.process_time() + 0.05
    while time.process_time() < ends:
        pass
    timer = threading.Timer(0.1, stop.set)
    timer.start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        real.pay()  # for a minute
    assert time.monotonic() - began < 20
    timer.join()


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, float("nan")])
def test_what_is_no_share(share: float) -> None:
    """A server is not started with it."""
    with pytest.raises(ConfigError, match="--learn-share"):
        Settings(database="sqlite:///x.db", learn_share=share)


def test_a_real_process_keeps_it() -> None:
    """Its own processor time over the time on the wall, on a busy machine too."""
    stop = threading.Event()
    budget = Budget(0.3, stop.wait)
    began, used = time.monotonic(), time.process_time()
    while time.monotonic() - began < 1.5:
        sum(range(20_000))
        budget.pay()
    assert (time.process_time() - used) / (time.monotonic() - began) < 0.36
