"""F36: how fast a key may go."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from belljar.server.store.engine import Database, open_database
from belljar.server.store.limiter import limiter_for


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_and_then_the_rate(db: Database, clock: Clock) -> None:
    """As many at once as the bucket holds, then one each time a token has come; the wait is what it takes."""
    limiter = limiter_for(db, per_second=2, burst=3, clock=clock)
    assert [limiter.take("a").granted for _ in range(4)] == [True, True, True, False]
    refused = limiter.take("a")
    assert refused.wait_s == pytest.approx(0.5)
    clock.now += refused.wait_s
    assert limiter.take("a").granted
    assert not limiter.take("a").granted
    assert limiter.take("b").granted  # another key, another bucket
    clock.now += 1000
    assert [limiter.take("a").granted for _ in range(4)] == [True, True, True, False]


def test_cost(db: Database, clock: Clock) -> None:
    """A request may cost more than one; one that costs more than the bucket holds takes all of it, and is possible."""
    limiter = limiter_for(db, per_second=1, burst=10, clock=clock)
    assert limiter.take("a", 8).granted
    refused = limiter.take("a", 8)
    assert (refused.granted, refused.wait_s) == (False, pytest.approx(6))
    assert limiter.take("a", 2).granted  # a refusal takes nothing
    clock.now += 10
    assert limiter.take("a", 1000).granted


def test_a_clock_that_goes_back_gives_nothing(postgres_url: str, clock: Clock) -> None:
    """Nor does it take."""
    db = open_database(postgres_url)
    limiter = limiter_for(db, per_second=1, burst=1, clock=clock)
    assert limiter.take("a").granted
    clock.now -= 500
    assert not limiter.take("a").granted
    clock.now += 501
    assert limiter.take("a").granted
    db.close()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.floats(0, 2), st.floats(0.1, 3)), max_size=30))
def test_never_more_than_burst_and_rate(db: Database, steps: list[tuple[float, float]]) -> None:
    """Whatever the pattern: what is granted stays under burst + rate x time, and waiting as told is enough."""
    count = test_never_more_than_burst_and_rate.__dict__.setdefault("count", [0])
    count[0] += 1
    key, clock, granted = f"key-{count[0]}", Clock(), 0.0
    began = clock.now
    limiter = limiter_for(db, per_second=1.5, burst=3, clock=clock)
    for pause, cost in steps:
        clock.now += pause
        answer = limiter.take(key, cost)
        if not answer.granted:
            clock.now += answer.wait_s + 1e-6
            answer = limiter.take(key, cost)
        assert answer.granted
        granted += cost
        assert granted <= 3 + 1.5 * (clock.now - began) + 1e-6


def test_threads_and_replicas_share_a_bucket(db: Database, db_url: str, clock: Clock) -> None:
    """Two hundred at once take as many tokens as there are; on PostgreSQL through two servers' limiters."""
    limiter = limiter_for(db, per_second=0.001, burst=50, clock=clock)
    second = open_database(db_url)
    shared = limiter_for(second, per_second=0.001, burst=50, clock=clock) if db.dialect == "postgresql" else limiter
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: (limiter if n % 2 else shared).take("a").granted, range(200)))
    assert sum(answers) == 50
    second.close()


def test_the_databases_own_clock(db: Database) -> None:
    """Without a clock of the caller's it works too."""
    limiter = limiter_for(db, per_second=0.001, burst=2)
    assert [limiter.take("a").granted for _ in range(3)] == [True, True, False]
    assert 900 < limiter.take("a").wait_s <= 1000


def test_memory_is_bounded(sqlite_url: str, clock: Clock) -> None:
    """A hundred thousand keys keep ten thousand buckets."""
    db = open_database(sqlite_url)
    limiter = limiter_for(db, per_second=1, burst=1, clock=clock)
    for n in range(100_000):
        limiter.take(f"{n}")
    assert len(limiter._buckets) == 10_000  # type: ignore[attr-defined]
    db.close()
