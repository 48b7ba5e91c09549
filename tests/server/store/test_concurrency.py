"""Many at once: threads, replicas, and an end in the middle of it."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from belljar.server.store.engine import Database, open_database
from belljar.server.store.errors import StoreUnavailable
from belljar.server.store.ingest import ItemResult, ingest
from belljar.server.store.keys import Principal, create_key
from belljar.server.store.schema import execution_trace, tool_stats, trace_tool
from tests.server.conftest import NOW
from tests.server.traces import call, trace

THREADS = 8
_WAIT_S = 60.0


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What `work` gave in each of so many threads that began at the same moment."""
    barrier = threading.Barrier(count)

    def run(n: int) -> Any:
        barrier.wait(_WAIT_S)
        return work(n)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count), timeout=2 * _WAIT_S))


def test_overlapping_batches_in_any_order_never_deadlock(db: Database, owner: Principal) -> None:
    """F37: eight clients, overlapping ids, shuffled: no error, each id stored by exactly one, tools counted once."""
    ids, rounds = 120, 12

    def send(n: int) -> list[ItemResult]:
        order = random.Random(n)
        results = list[ItemResult]()
        for _ in range(rounds):
            chosen = order.sample(range(ids), 20)
            batch = [trace(i, taskResults=[call(tool=f"s:t{i % 7}"), call(2, tool=f"s:t{i % 5}")]) for i in chosen]
            results += ingest(db, owner, batch, now=NOW)
        return results

    results = [result for each in together(THREADS, send) for result in each]
    assert {result.status for result in results} == {"stored", "duplicate"}
    stored = Counter(result.trace_id for result in results if result.status == "stored")
    assert set(stored.values()) == {1}
    assert set(stored) == {result.trace_id for result in results}
    with db.read() as connection:
        assert connection.scalar(select(func.count()).select_from(execution_trace)) == len(stored)
        assert connection.scalar(select(func.sum(tool_stats.c.calls))) == 2 * len(stored)
        assert connection.scalar(select(func.sum(trace_tool.c.calls))) == 2 * len(stored)


def test_clients_that_share_only_tools_never_deadlock(db: Database, owner: Principal) -> None:
    """F82: eight clients with traces of their own and the same tools in any order: the counts are exact."""

    def send(n: int) -> set[str]:
        order = random.Random(n)
        statuses = set[str]()
        for round_ in range(8):
            tools = order.sample(range(40), 40)
            batch = [
                trace(10_000 * n + 40 * round_ + i, taskResults=[call(tool=f"s:t{t}")]) for i, t in enumerate(tools)
            ]
            statuses |= {result.status for result in ingest(db, owner, batch, now=NOW)}
        return statuses

    assert together(THREADS, send) == [{"stored"}] * THREADS
    with db.read() as connection:
        assert set(connection.scalars(select(tool_stats.c.calls))) == {8 * THREADS}


def test_batches_done_again_one_by_one_do_not_deadlock_either(db: Database, owner: Principal) -> None:
    """Savepoints take the same locks in the same order: eight clients, each batch with one trace the engine refuses."""
    from tests.server.store.test_ingest import make_refuse

    make_refuse(db, "poison")

    def send(n: int) -> set[str]:
        order = random.Random(n)
        statuses = set[str]()
        for _ in range(4):
            batch = [trace(i, intent="poison" if i % 10 == 0 else "fine") for i in order.sample(range(40), 20)]
            statuses |= {result.status for result in ingest(db, owner, [*batch, trace(50, intent="poison")], now=NOW)}
        return statuses

    assert set().union(*together(4, send)) <= {"stored", "duplicate", "rejected"}


def test_two_replicas_get_the_same_batch_at_once(db_url: str) -> None:
    """F37: stored once in total; each trace is `stored` for one replica and `duplicate` for the other."""
    replicas = [open_database(db_url), open_database(db_url)]
    owner = _owner(replicas[0])
    for round_ in range(10):
        batch = [trace(100 * round_ + n) for n in range(50)]
        one, two = together(2, lambda n, batch=batch: ingest(replicas[n], owner, batch, now=NOW))
        assert {tuple(sorted((a.status, b.status))) for a, b in zip(one, two, strict=True)} == {("duplicate", "stored")}
    for replica in replicas:
        replica.close()


def _owner(db: Database) -> Principal:
    from tests.server.conftest import principal

    return principal(db, "acme")


def test_readers_read_while_a_writer_writes(db: Database, owner: Principal) -> None:
    """An open writing transaction stops no reader, who sees what was committed before."""
    ingest(db, owner, [trace(1)], now=NOW)
    counting = select(func.count()).select_from(execution_trace)
    with db.write() as writer:
        writer.execute(execution_trace.update().values(intent="changed"))
        assert together(3, lambda _: _scalar(db, counting)) == [1] * 3


def _scalar(db: Database, statement: Any) -> Any:
    with db.read() as connection:
        return connection.scalar(statement)


@pytest.mark.parametrize("same_process", [True, False], ids=["same process", "another process"])
def test_a_writer_waits_its_turn_and_not_for_ever(sqlite_url: str, same_process: bool) -> None:
    """SQLite never says "locked" to a caller: it waits, and past the deadline it is StoreUnavailable, STORE_BUSY."""
    first = open_database(sqlite_url, wait_s=0.2)
    second = first if same_process else open_database(sqlite_url, wait_s=0.2)
    with first.write(), pytest.raises(StoreUnavailable) as caught, second.write():
        pytest.fail("two writers at once")
    assert caught.value.reason == "STORE_BUSY"
    with second.write() as connection:
        assert connection.scalar(select(1)) == 1
    first.close()
    second.close()


def test_many_writers_all_get_their_turn(sqlite_url: str) -> None:
    """Two processes' worth of connections, eight threads: every transaction is done, none fails."""
    databases = [open_database(sqlite_url), open_database(sqlite_url)]

    def write(n: int) -> None:
        for i in range(10):
            create_key(databases[n % 2], f"tenant-{n}-{i}", ["read"], now=NOW)

    together(THREADS, write)
    with databases[0].read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM api_key").scalar() == 10 * THREADS
    for database in databases:
        database.close()


_KILLED = """
import sys
from belljar.server.store.engine import open_database
from belljar.server.store.ingest import ingest
from tests.server.conftest import NOW, principal
from tests.server.traces import trace
db = open_database(sys.argv[1])
owner = principal(db, "acme")
for batch in range(100_000):
    results = ingest(db, owner, [trace(20 * batch + n) for n in range(20)], now=NOW)
    assert {r.status for r in results} == {"stored"}
    print(batch, flush=True)
"""


@pytest.mark.parametrize("after", [1, 7, 40])
def test_kill_minus_nine_stores_whole_batches_or_nothing(db_url: str, after: int) -> None:
    """F37: of a process killed while it stores: what was acknowledged is there, and nothing is half there."""
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", _KILLED, db_url]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(after)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout.read().split()]
    db = open_database(db_url)
    with db.read() as connection:
        ids = connection.scalars(select(execution_trace.c.trace_id)).all()
        tools = connection.scalar(select(func.count()).select_from(trace_tool))
        calls = connection.scalar(select(tool_stats.c.calls))
    batches = Counter(int(found[-12:], 16) // 20 for found in ids)
    assert set(batches.values()) == {20}
    assert set(acknowledged) <= set(batches)
    assert len(batches) <= len(acknowledged) + 1
    assert tools == calls == len(ids)
    db.close()
