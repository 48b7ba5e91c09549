"""The outbox: every trace taken in once, given out in order, frozen for good, and nothing lost without a counter."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from belljar.tracing import outbox as outbox_module
from belljar.tracing.destination import Destination
from belljar.tracing.outbox import Outbox, OutboxError, Status, SyncerLock, destinations, sweep
from belljar.tracing.spool import SpoolLimits, SpoolWriter
from tests.masked import masked

HERE = Destination.of("https://traces.example.org", "bj_key")
KIB = 1 << 10
DAY_S = 86400.0
NOW_NS = 1_800_000_000 * 10**9


class Clock:
    """Shows what it is told to."""

    def __init__(self, now_ns: int = NOW_NS) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns

    def forward(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


def trace(name: object, parent: object = None, **more: Any) -> dict[str, Any]:
    wire = {"traceId": f"t{name}", "success": True, **more}
    return wire if parent is None else {**wire, "parentTraceId": f"t{parent}"}


def writer(root: Path, destination: Destination = HERE, clock: Callable[[], int] = time.time_ns) -> SpoolWriter:
    return SpoolWriter(root, destination, SpoolLimits(), sanitizer_version="1", clock_ns=clock)


def spooled(root: Path, traces: Iterable[dict[str, Any]], destination: Destination = HERE) -> Path:
    """The folder, with these traces in one finished segment."""
    spool = writer(root, destination)
    for wire in traces:
        assert spool.append(masked(wire))
    spool.close()
    return spool.folder


def due(outbox: Outbox, count: int = 1000) -> list[str]:
    return [parcel.trace_id for parcel in outbox.due(count)]


def fresh(tmp_path: Path) -> Path:
    """A folder for one example of many."""
    return Path(tempfile.mkdtemp(dir=tmp_path)) / "spool"


def drain(outbox: Outbox, count: int) -> list[str]:
    """Everything, in the order in which it would be sent, `count` at a time."""
    order = list[str]()
    while batch := due(outbox, count):
        outbox.acknowledged(batch)
        order += batch
    return order


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "spool"


# taking in


def test_a_trace_comes_out_as_it_went_in(root: Path) -> None:
    """F33: with its parent, its version and the time it was captured; what the database cannot hold is held."""
    wire = trace(1, 0, big=10**50, odd="\ud800", args={"\udfff": [None, 1.5]})
    clock = Clock()
    spool = writer(root, clock=clock)
    spool.append(masked(wire))
    with Outbox(spool.folder) as outbox:
        assert outbox.take_in() == 1
        (parcel,) = outbox.due(1)
    assert (parcel.trace_id, parcel.parent_id, parcel.text, parcel.body) == ("t1", "t0", masked(wire).text, None)
    assert (parcel.sanitizer_version, parcel.captured_at_ns, parcel.attempts) == ("1", NOW_NS, 0)
    assert "success" not in repr(parcel)
    spool.close()


def test_a_segment_that_is_written_is_read_as_far_as_it_is(root: Path) -> None:
    """F33: what is whole is taken at once, again and again, each trace once; the file goes when its writer is done."""
    spool = writer(root)
    with Outbox(spool.folder) as outbox:
        for i in range(20):
            spool.append(masked(trace(i)))
            assert outbox.take_in() == 1
        (path,) = spool.folder.glob("*.seg")
        with path.open("ab") as file:
            file.write(b"\x10\0\0\0half a record")
        assert outbox.take_in() == 0
        assert "dropped.damaged" not in outbox.status().counters
        spool.close()
        assert outbox.take_in() == 0
        assert list(spool.folder.glob("*.seg")) == []
        assert outbox.status().counters["dropped.damaged"] == 1
        assert due(outbox) == [f"t{i}" for i in range(20)]
        assert outbox.status().counters == {"captured": 20, "spooled": 20, "dropped.damaged": 1}


def test_the_same_id_twice_is_one_trace(root: Path) -> None:
    """F33: a second trace under an id that waits is not sent beside the first, and counted."""
    folder = spooled(root, [trace(1, x=1), trace(1, x=2), trace(2)])
    with Outbox(folder) as outbox:
        assert outbox.take_in() == 2
        assert [parcel.text for parcel in outbox.due(9)] == [masked(wire).text for wire in (trace(1, x=1), trace(2))]
        counters = outbox.status().counters
    assert counters == {"captured": 3, "spooled": 3, "dropped.repeated": 1}


TAKE = """
import sys
from pathlib import Path
from belljar.tracing.outbox import Outbox, SyncerLock
folder = Path(sys.argv[1])
lock = SyncerLock.take(folder)
assert lock is not None
print("ready", flush=True)
with Outbox(folder) as outbox:
    while True:
        print(outbox.take_in(), flush=True)
        for parcel in outbox.due(5):
            if parcel.body is None:
                outbox.freeze(parcel.trace_id, b"body of " + parcel.trace_id.encode(), "1")
"""


@pytest.mark.slow
def test_a_killed_syncer_takes_each_trace_once(root: Path) -> None:
    """F33: kill -9 at 30 random moments while two writers append: every trace is there once, the lock is free again."""
    draw = random.Random(30)
    spool = SpoolWriter(root, HERE, SpoolLimits(segment_bytes=32 * KIB), sanitizer_version="1")
    appended = 0
    for _ in range(30):
        child = subprocess.Popen([sys.executable, "-c", TAKE, str(spool.folder)], stdout=subprocess.PIPE, bufsize=0)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        assert SyncerLock.take(spool.folder) is None
        for _ in range(draw.randrange(8)):  # so often it has taken in what there was; then it dies at any moment
            appended += _append(spool, draw, appended)
            assert child.stdout.readline()
        appended += _append(spool, draw, appended)
        child.send_signal(signal.SIGKILL)
        child.wait(60)
        child.stdout.close()
    spool.close()
    with Outbox(spool.folder) as outbox:
        outbox.take_in()
        status = outbox.status()
        parcels = outbox.due(100_000)
        assert all(parcel.body in (None, b"body of " + parcel.trace_id.encode()) for parcel in parcels)
        everything = drain(outbox, 1000)
    assert sorted(everything) == sorted(f"t{i}" for i in range(appended))
    assert status.counters == {"captured": appended, "spooled": appended}
    assert list(spool.folder.glob("*.seg")) == []


@pytest.mark.parametrize(
    ("place", "counters"),
    [(-3, {"captured": 1, "spooled": 1, "dropped.damaged": 1}), (20, {"dropped.damaged": 3})],
)
def test_ended_between_storing_and_removing(
    root: Path, monkeypatch: pytest.MonkeyPatch, place: int, counters: dict[str, int]
) -> None:
    """F33: what was stored and counted is not so again if the file is still there: damaged at its end, in its head."""
    folder = spooled(root, [trace(1), trace(2)])
    (path,) = folder.glob("*.seg")
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)

    def ended(folder: int, name: str) -> None:
        raise OSError(5, "as if killed here")

    with Outbox(folder) as outbox:
        with monkeypatch.context() as patched:
            patched.setattr("belljar.tracing.storage.folder.remove", ended)
            with pytest.raises(OutboxError, match="as if killed here"):
                outbox.take_in()
        assert path.exists()
        assert outbox.take_in() == 0
        assert not path.exists()
        assert outbox.status().counters == counters


def _append(spool: SpoolWriter, draw: random.Random, first: int) -> int:
    count = draw.randrange(1, 60)
    for i in range(first, first + count):
        assert spool.append(masked(trace(i, x="x" * draw.randrange(2000))))
    return count


# what is not ours


def test_destinations_never_meet(root: Path) -> None:
    """F33: another key or server is another folder; what is copied there by hand is refused, counted, and never due."""
    other = Destination.of("https://traces.example.org", "bj_other")
    theirs = spooled(root, [trace(1), trace(2)], other)
    ours = spooled(root, [trace(3)])
    assert destinations(root) == sorted([theirs, ours])
    shutil.copy(next(theirs.glob("*.seg")), ours / "00000000000000000000-1-00.seg")
    with Outbox(ours) as outbox:
        assert outbox.status().pending == 1
        assert outbox.take_in() == 1
        assert due(outbox) == ["t3"]
        assert outbox.take_in() == 0
        assert outbox.status().counters == {"captured": 1, "spooled": 1, "dropped.foreign": 2}
    with Outbox(theirs) as outbox:
        outbox.take_in()
        assert due(outbox) == ["t1", "t2"]


def test_a_database_of_another_destination_is_refused(root: Path) -> None:
    """F33: an outbox.db copied from another folder is set aside and counted; nothing in it is ever due."""
    theirs = spooled(root, [trace(1)], Destination.of("https://traces.example.org", "bj_other"))
    with Outbox(theirs) as outbox:
        outbox.take_in()
    ours = spooled(root, [trace(2)])
    shutil.copy(theirs / "outbox.db", ours / "outbox.db")
    with Outbox(ours) as outbox:
        outbox.take_in()
        assert due(outbox) == ["t2"]
        assert outbox.status().counters["dropped.foreign"] == 1
    assert (ours / "outbox.db.foreign-1").exists()


def _fifo(path: Path, secret: Path) -> None:
    os.mkfifo(path)


def _link(path: Path, secret: Path) -> None:
    path.symlink_to(secret)


def _folder(path: Path, secret: Path) -> None:
    path.mkdir()


def _socket(path: Path, secret: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path has a bound
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(here)


def _writable(path: Path, secret: Path) -> None:
    shutil.copy(secret, path)
    path.chmod(0o666)


def _given_away(path: Path, secret: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give a file away")
    shutil.copy(secret, path)
    os.chown(path, 65534, 65534)


@pytest.mark.parametrize("plant", [_fifo, _link, _folder, _socket, _writable, _given_away])
@pytest.mark.parametrize("name", ["00000000000000000000-1-00.seg", "a name\n.seg"])
def test_what_is_planted_among_segments_is_refused(
    root: Path, tmp_path: Path, plant: Callable[[Path, Path], None], name: str
) -> None:
    """F33: no hang, nothing followed or read, counted once; the writer that needs room trips over none of it either."""
    secret = tmp_path / "secret.seg"
    folder = spooled(root, [trace("secret")])
    shutil.move(next(folder.glob("*.seg")), secret)
    plant(folder / name, secret)
    small = SpoolWriter(root, HERE, SpoolLimits(max_bytes=64 * KIB, segment_bytes=16 * KIB), sanitizer_version="1")
    for i in range(30):
        assert small.append(masked(trace(i, x="x" * 4 * KIB)))
    small.close()
    with Outbox(folder) as outbox:
        assert outbox.status().pending < 30
        outbox.take_in()
        outbox.take_in()
        assert outbox.status().counters["dropped.foreign"] == 1
        assert "tsecret" not in due(outbox)
        assert due(outbox)[-1] == "t29"
    assert secret.exists()


@pytest.mark.parametrize("name", ["outbox.db", "outbox.db-wal", "outbox.db-shm", "outbox.lock", "syncer.lock"])
@pytest.mark.parametrize("plant", [_fifo, _link, _folder])
def test_what_is_planted_as_the_outbox_is_refused(
    root: Path, tmp_path: Path, plant: Callable[[Path, Path], None], name: str
) -> None:
    """F33: fail closed, with an error that names the place; nothing is written through a link."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"")
    folder = spooled(root, [trace(1)])
    plant(folder / name, secret)
    with pytest.raises(OutboxError) as caught:
        SyncerLock.take(folder) if name == "syncer.lock" else Outbox(folder)
    assert str(folder) in caught.value.message
    assert secret.read_bytes() == b""
    assert len(list(folder.glob("*.seg"))) == 1


# order


def test_parents_go_before_children(root: Path) -> None:
    """F31: whatever was captured first, at every batch size; a parent that comes later, was sent, or never was one."""
    made = [trace("c", "b"), trace("b", "a"), trace("x"), trace("a"), trace("orphan", "nobody"), trace("d", "c")]
    for count in (1, 2, 3, 10):
        folder = spooled(root / str(count), made)
        with Outbox(folder) as outbox:
            outbox.take_in()
            assert drain(outbox, count) == ["ta", "tb", "tc", "tx", "torphan", "td"]


def test_a_parent_that_comes_later_goes_first_of_what_is_left(root: Path) -> None:
    """F31: a child that was held up by nothing is sent; one that still waits when its parent comes goes after it."""
    folder = spooled(root, [trace("c1", "p"), trace("c2", "p"), trace("x")])
    with Outbox(folder) as outbox:
        outbox.take_in()
        assert due(outbox, 1) == ["tc1"]
        outbox.acknowledged(["tc1"])
        spooled(root, [trace("p")])
        outbox.take_in()
        assert drain(outbox, 1) == ["tp", "tc2", "tx"]


def test_a_child_of_a_dead_parent_is_sent(root: Path) -> None:
    """F31, F32: a dead letter holds up nobody; revived, it goes before what still waits for it."""
    folder = spooled(root, [trace("c", "p"), trace("p")])
    with Outbox(folder) as outbox:
        outbox.take_in()
        assert due(outbox) == ["tp", "tc"]
        outbox.dead_letter("tp", "BAD", "no")
        assert due(outbox) == ["tc"]
        assert outbox.retry(["tp"]) == 1
        assert due(outbox) == ["tp", "tc"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parents=st.lists(st.integers(-1, 15), min_size=1, max_size=16), data=st.data())
def test_order_holds_for_any_parents(tmp_path: Path, parents: list[int], data: st.DataObject) -> None:
    """F31: chains, forests and forged cycles: everything is sent once, and none before a parent above it."""
    captured = data.draw(st.permutations(range(len(parents))))
    count = data.draw(st.integers(1, 5))
    folder = spooled(fresh(tmp_path), [trace(i, None if parents[i] < 0 else parents[i]) for i in captured])
    with Outbox(folder) as outbox:
        outbox.take_in()
        order = [int(name[1:]) for name in drain(outbox, count)]
    assert sorted(order) == sorted(captured)
    for i in captured:
        above, one = list[int](), parents[i]
        while 0 <= one < len(parents) and one not in above and one != i:
            above.append(one)
            one = parents[one]
        if one != i and not _in_a_ring(above, parents):
            assert all(order.index(parent) < order.index(i) for parent in above)


def _in_a_ring(above: list[int], parents: list[int]) -> bool:
    return bool(above) and parents[above[-1]] in above


def test_a_deep_chain_the_wrong_way_round(root: Path) -> None:
    """F31: eight deep, the youngest captured first; and a hundred deep."""
    for depth in (8, 100):
        folder = spooled(root / str(depth), [trace(i, i + 1) for i in range(depth)])
        with Outbox(folder) as outbox:
            outbox.take_in()
            assert drain(outbox, 3) == [f"t{i}" for i in reversed(range(depth))]


def test_asking_for_a_few_loads_a_few(root: Path) -> None:
    """F29: due(10) of 2000 traces of 10 KB holds about ten of them; and large ones are given out a few at a time."""
    folder = spooled(root, [trace(i, x="x" * 10 * KIB) for i in range(2000)])
    with Outbox(folder) as outbox:
        outbox.take_in()
        tracemalloc.start()
        try:
            assert len(outbox.due(10)) == 10
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()
        for i in range(20):
            outbox.freeze(f"t{i}", b"x" * (1 << 20), "1")
        assert due(outbox, 20) == [f"t{i}" for i in range(7)]


# frozen, sent, acknowledged


def test_a_frozen_body_never_changes(root: Path) -> None:
    """F37: the same bytes on every attempt and after a restart, until another version of the sanitizer freezes it."""
    folder = spooled(root, [trace(1)])
    with Outbox(folder) as outbox:
        outbox.take_in()
        outbox.freeze("t1", b'{"a":1}', "1")
        outbox.freeze("t1", b'{"a":2}', "1")
        outbox.freeze("unknown", b"{}", "1")
        outbox.sent(["t1"])
    with Outbox(folder) as outbox:
        outbox.sent(["t1"])
        (parcel,) = outbox.due(5)
        assert (parcel.text, parcel.body, parcel.sanitizer_version, parcel.attempts) == (None, b'{"a":1}', "1", 2)
        outbox.freeze("t1", b'{"a":3}', "2")
        (parcel,) = outbox.due(5)
        assert (parcel.body, parcel.sanitizer_version) == (b'{"a":3}', "2")
        assert outbox.status().counters["sent"] == 2


def test_what_is_acknowledged_is_gone(root: Path) -> None:
    """F37: counted once, whatever is named again; a duplicate is acknowledged as well."""
    folder = spooled(root, [trace(i) for i in range(3)])
    with Outbox(folder) as outbox:
        outbox.take_in()
        outbox.failed("the server did not answer")
        outbox.acknowledged(["t0", "t0", "unknown", "\ud800"])
        outbox.acknowledged(["t1"], duplicate=True)
        status = outbox.status()
    assert (status.pending, status.last_error) == (1, None)
    assert status.last_success_at is not None
    assert abs(status.last_success_at - time.time()) < 60
    assert (status.counters["acknowledged"], status.counters["duplicate"]) == (2, 1)


# dead letters


def test_dead_letters_are_listed_revived_and_dropped(root: Path) -> None:
    """F32: with what the server said; they are not due; revived at their old place; dropped for good, and counted."""
    folder = spooled(root, [trace(i) for i in range(5)])
    with Outbox(folder) as outbox:
        outbox.take_in()
        outbox.freeze("t1", b"{}", "1")
        for i in (1, 2, 3):
            outbox.dead_letter(f"t{i}", "TOO_LARGE", "x" * 5000 + "\ud800")
        outbox.dead_letter("t1", "AGAIN", "not twice")
        letters = outbox.dead_letters()
        assert [letter.trace_id for letter in letters] == ["t1", "t2", "t3"]
        assert (letters[0].code, letters[0].body, letters[0].text) == ("TOO_LARGE", b"{}", None)
        assert (letters[1].text, len(letters[1].message)) == (masked(trace(2)).text, 1000)
        assert due(outbox) == ["t0", "t4"]
    with Outbox(folder, read_only=True) as outbox:
        assert len(outbox.dead_letters()) == 3
    with Outbox(folder) as outbox:
        assert outbox.retry(["t1", "t4", "unknown"]) == 1
        assert due(outbox) == ["t0", "t1", "t4"]
        assert outbox.drop(["t2"]) == 1
        assert (outbox.retry(), outbox.drop()) == (1, 0)
        counters = outbox.status().counters
    assert (counters["dead_lettered"], counters["retried"], counters["dropped.by_hand"]) == (3, 2, 1)


def test_dead_letters_are_bounded(root: Path) -> None:
    """F32: in number and in bytes, the oldest go, and are counted."""
    folder = spooled(root, [trace(i) for i in range(1010)])
    with Outbox(folder) as outbox:
        outbox.take_in()
        for i in range(1010):
            outbox.dead_letter(f"t{i}", "BAD", "no")
        assert [letter.trace_id for letter in outbox.dead_letters()] == [f"t{i}" for i in range(10, 1010)]
        assert outbox.status().counters["dropped.dead_letter"] == 10
    folder = spooled(root / "large", [trace(i, x="x" * 100 * KIB) for i in range(5)])
    with Outbox(folder, SpoolLimits(max_bytes=2048 * KIB)) as outbox:
        outbox.take_in()
        for i in range(5):
            outbox.dead_letter(f"t{i}", "BAD", "no")
        assert [letter.trace_id for letter in outbox.dead_letters()] == ["t3", "t4"]
        assert outbox.status().counters["dropped.dead_letter"] == 3


# bounds


def test_the_oldest_rows_go_when_there_is_no_room(root: Path) -> None:
    """F33: the outbox keeps under its share, gives the room back to the disk, and counts what went."""
    limits = SpoolLimits(max_bytes=2048 * KIB)
    folder = spooled(root, [trace(i, x="x" * 10 * KIB) for i in range(400)])
    with Outbox(folder, limits) as outbox:
        outbox.take_in()
        status, kept = outbox.status(), due(outbox)
    assert kept == [f"t{i}" for i in range(400 - len(kept), 400)]
    assert 80 < len(kept) < 150
    assert status.counters["dropped.full"] == 400 - len(kept)
    assert sum(path.stat().st_size for path in folder.glob("outbox.db*")) < limits.max_bytes


def _aged(root: Path, clock: Clock, *moves: float, max_age_s: float = 30 * DAY_S) -> Status:
    """Capture one trace, take it in, then look again after the clock has moved by each of these seconds."""
    spool = writer(root, clock=clock)
    spool.append(masked(trace(1)))
    spool.close()
    with Outbox(spool.folder, SpoolLimits(max_age_s=max_age_s), clock_ns=clock) as outbox:
        outbox.take_in()
        for seconds in moves:
            clock.forward(seconds)
            outbox.take_in()
        return outbox.status()


def test_what_waited_too_long_is_dropped(root: Path) -> None:
    """F33: after 30 days of looking every day the trace goes, and is counted; after 29 it is there."""
    status = _aged(root / "a", Clock(), *[DAY_S] * 29)
    assert (status.pending, status.counters.get("dropped.age")) == (1, None)
    assert status.oldest_age_s == pytest.approx(29 * DAY_S)
    status = _aged(root / "b", Clock(), *[DAY_S] * 31)
    assert (status.pending, status.counters["dropped.age"]) == (0, 1)
    assert _aged(root / "c", Clock(), 61, max_age_s=60).counters["dropped.age"] == 1


def test_a_wrong_clock_drops_nothing(root: Path) -> None:
    """F33: years ahead for a moment, once or twice, or years back: what is young stays; ages are never negative."""
    years = 20 * 365 * DAY_S
    assert _aged(root / "ahead", Clock(), years, -years, DAY_S).pending == 1
    assert _aged(root / "twice", Clock(), years, -years, years, -years).pending == 1
    back = _aged(root / "back", Clock(), -years, DAY_S)
    assert (back.pending, back.oldest_age_s) == (1, 0.0)
    # captured before the clock was set right, or after it was set wrong
    clock = Clock(1)
    spool = writer(root / "first", clock=clock)
    spool.append(masked(trace(1)))
    spool.close()
    with Outbox(spool.folder, clock_ns=Clock()) as outbox:
        assert outbox.take_in() == 1
        assert outbox.status().pending == 1


# what is told about it


def test_status_of_nothing(root: Path) -> None:
    """A folder that does not exist: all zero, nothing is made."""
    with Outbox(root / HERE.id, read_only=True) as outbox:
        assert outbox.status() == Status(destination=HERE.id)
        assert outbox.dead_letters() == []
    assert not root.exists()
    assert destinations(root) == []


def test_status_reads_beside_a_syncer(root: Path) -> None:
    """What lies in segments counts as waiting, with its counters; looking changes nothing and disturbs nobody."""
    spool = writer(root)
    for i in range(10):
        spool.append(masked(trace(i)), cost_us=i * 100)
    spool.append(masked({}))
    spool.close()
    with Outbox(spool.folder, read_only=True) as looking:
        before = looking.status()
    assert not (spool.folder / "outbox.db").exists()
    with SyncerLock.take(spool.folder) or pytest.fail("locked"), Outbox(spool.folder) as outbox:
        outbox.take_in()
        outbox.park("the key is not known")
        with Outbox(spool.folder, read_only=True) as looking:
            after = looking.status()
            with pytest.raises(OutboxError):
                looking.acknowledged(["t1"])
    assert before.pending == after.pending == 10
    assert before.counters == after.counters == {"captured": 11, "spooled": 10, "dropped.error": 1}
    assert before.destination == after.destination == HERE.url
    assert before.capture_ms == after.capture_ms == {"p50": 0.5, "p95": 0.9, "n": 10}
    assert (before.parked, after.parked) == (None, "the key is not known")
    assert after.spool_bytes > 0
    assert after.oldest_age_s is not None


def test_capture_cost_is_that_of_the_newest_thousand(root: Path) -> None:
    """Percentiles of cost_us over the last 1000 traces, however many there were."""
    spool = writer(root)
    for i in range(1500):
        spool.append(masked(trace(i)), cost_us=10_000 if i < 500 else i - 500)
    with Outbox(spool.folder) as outbox:
        outbox.take_in()
        assert outbox.status().capture_ms == {"p50": 0.5, "p95": 0.95, "n": 1000}
    spool.close()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=25))
def test_every_captured_trace_is_somewhere(tmp_path: Path, steps: list[tuple[int, int]]) -> None:
    """F33: captured = waiting + dead + acknowledged + dropped by reason, after whatever happens in whatever order."""
    limits = SpoolLimits(max_bytes=256 * KIB, segment_bytes=16 * KIB)
    spool = SpoolWriter(fresh(tmp_path), HERE, limits, sanitizer_version="1")
    captured = 0
    with Outbox(spool.folder, limits) as outbox:
        for what, n in steps:
            if what < 3:
                for _ in range(n * 3):
                    spool.append(masked(trace(captured, x="x" * 1000 * n) if n < 9 else {}))
                    captured += 1
            elif what == 3:
                outbox.take_in()
            elif what == 4:
                outbox.acknowledged(due(outbox, n))
            elif what == 5:
                for name in due(outbox, n):
                    outbox.dead_letter(name, "BAD", "no")
            else:
                _ = outbox.drop() if n < 3 else outbox.retry()
        spool.close()
        outbox.take_in()
        status = outbox.status()
    gone = sum(n for name, n in status.counters.items() if name.startswith("dropped.") or name == "acknowledged")
    assert status.counters.get("captured", 0) == captured
    assert captured == status.pending + status.dead + gone


# damage


def _damaged(folder: Path, how: str) -> None:
    data = bytearray((folder / "outbox.db").read_bytes())
    if how == "text":
        data[:] = b"this is no database" * 1000
    elif how == "cut":
        del data[len(data) // 2 :]
    elif how == "pages":
        data[4096:40960] = os.urandom(40960 - 4096)
    else:
        data[:100] = bytes(100)
    (folder / "outbox.db").write_bytes(data)


_HALF_MADE = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN EXCLUSIVE")
connection.execute("CREATE TABLE trace (x)")
connection.executemany("INSERT INTO trace VALUES (?)", [("x" * 5000,)] * 50)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_one_that_was_never_finished_can_be_looked_at(root: Path) -> None:
    """F33: killed while it made the database, the syncer leaves a journal; status reads past it, and work goes on."""
    folder = spooled(root, [trace(1)])
    path = folder / "outbox.db"
    path.touch(0o600)
    done = subprocess.run([sys.executable, "-c", _HALF_MADE, str(path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert (folder / "outbox.db-journal").stat().st_size
    with Outbox(folder, read_only=True) as outbox:
        assert outbox.status().pending == 1
    with Outbox(folder) as outbox:
        assert outbox.take_in() == 1


@pytest.mark.parametrize("how", ["text", "cut", "pages", "head"])
def test_a_damaged_outbox_is_set_aside(root: Path, how: str) -> None:
    """F33: looking says which file; opening it to work sets it aside, counts it, and goes on with what comes."""
    folder = spooled(root, [trace(i, x="x" * 1000) for i in range(50)])
    with Outbox(folder) as outbox:
        outbox.take_in()
    _damaged(folder, how)
    if how != "pages":  # nothing that is looked at need lie there
        with pytest.raises(OutboxError, match="damaged") as caught, Outbox(folder, read_only=True) as outbox:
            outbox.status()
        assert str(folder / "outbox.db") in caught.value.message
    assert not list(folder.glob("outbox.db.*"))
    spooled(root, [trace("new")])
    with Outbox(folder) as outbox:
        assert outbox.take_in() == 1
        assert due(outbox) == ["tnew"]
        assert outbox.status().counters["dropped.outbox"] == 1
    assert (folder / "outbox.db.damaged-1").stat().st_mode & 0o777 == 0o600


def test_databases_set_aside_are_bounded(root: Path) -> None:
    """F33: the newest two stay for somebody to look at."""
    folder = spooled(root, [trace(1)])
    for n in range(5):
        with Outbox(folder) as outbox:
            outbox.take_in()
            assert outbox.status().counters.get("dropped.outbox", 0) == (n > 0)
        _damaged(folder, "text")
    Outbox(folder).close()
    assert sorted(path.name for path in folder.glob("*.damaged-*")) == ["outbox.db.damaged-4", "outbox.db.damaged-5"]


def test_a_database_somebody_uses_is_not_set_aside(root: Path) -> None:
    """F33: while another has it open it stays where it is, so that nobody writes to one that is gone."""
    folder = spooled(root, [trace(1)])
    with Outbox(folder) as outbox:
        outbox.take_in()
        with closing(sqlite3.connect(folder / "outbox.db")) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        data = (folder / "outbox.db").read_bytes()
        (folder / "outbox.db").write_bytes(b"no database at all, and long enough to be read as one" * 100)
        with pytest.raises(OutboxError, match=r"outbox\.db"):
            Outbox(folder)
        (folder / "outbox.db").write_bytes(data)
    with Outbox(folder) as outbox:
        assert due(outbox) == ["t1"]


def test_a_newer_format_is_left_alone(root: Path) -> None:
    """Another version's database is neither read nor set aside."""
    folder = spooled(root, [trace(1)])
    Outbox(folder).close()
    with sqlite3.connect(folder / "outbox.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    for read_only in (True, False):
        with pytest.raises(OutboxError, match="another version"):
            Outbox(folder, read_only=read_only)
    assert not list(folder.glob("outbox.db.*"))


def test_a_row_that_cannot_be_read_back_is_a_dead_letter(root: Path) -> None:
    """F32: it holds up nothing, and somebody can see it."""
    folder = spooled(root, [trace(i) for i in range(3)])
    with Outbox(folder) as outbox:
        outbox.take_in()
    with sqlite3.connect(folder / "outbox.db") as db:
        db.execute("UPDATE trace SET wire = x'c1c1' WHERE id IN ('t0', 't1')")
    db.close()
    with Outbox(folder) as outbox:
        assert due(outbox, 1) == ["t2"]
        assert [letter.code for letter in outbox.dead_letters()] == ["DAMAGED"] * 2


# locks and other folders


def test_one_syncer_per_destination(root: Path) -> None:
    """F33: a second one is told so at once; it gets the lock when the first lets go."""
    folder = root / HERE.id
    first = SyncerLock.take(folder)
    assert first is not None
    assert SyncerLock.take(folder) is None
    first.release()
    first.release()
    with SyncerLock.take(folder) or pytest.fail("still locked"):
        assert SyncerLock.take(folder) is None


def test_a_sweep_bounds_what_nobody_uses(root: Path) -> None:
    """F33: other folders keep the bounds; one with a syncer of its own is passed by at once; so is what is not ours."""
    names = [Destination.of("https://a.org", key) for key in ("used", "left", "busy")]
    used, left, busy = (spooled(root, [trace(i, x="x" * 10 * KIB) for i in range(200)], name) for name in names)
    (root / "0123456789abcdef").symlink_to("/")
    (root / "not-a-destination").mkdir()
    limits = SpoolLimits(max_bytes=1024 * KIB)
    with SyncerLock.take(busy) or pytest.fail("locked"):
        assert sweep(root, limits, used) == 1
    with Outbox(left, read_only=True) as outbox:
        assert 0 < outbox.status().pending < 100
        assert outbox.status().counters["dropped.full"] == 200 - outbox.status().pending
    assert not (used / "outbox.db").exists()
    assert not (busy / "outbox.db").exists()


def test_a_sweep_removes_what_was_empty_for_long(root: Path) -> None:
    """F33: a folder with nothing in it goes when nothing has happened there for max_age; one with a trace stays."""
    empty, full = Destination.of("https://a.org", "empty"), Destination.of("https://a.org", "full")
    for name in (empty, full):
        folder = spooled(root, [trace(1)], name)
        with Outbox(folder) as outbox:
            outbox.take_in()
            if name is empty:
                outbox.acknowledged(["t1"])
        os.utime(folder / "outbox.db", (1, 1))
    assert sweep(root, SpoolLimits(), root / "none") == 2
    assert destinations(root) == [root / full.id]


def test_an_outbox_that_is_closed_says_so(root: Path) -> None:
    """Every method of a closed outbox raises OutboxError, and closing twice is nothing."""
    outbox = Outbox(spooled(root, [trace(1)]))
    outbox.close()
    outbox.close()
    for method in (lambda: outbox.take_in(), lambda: outbox.due(1), lambda: outbox.count("x"), lambda: outbox.retry()):
        with pytest.raises(OutboxError, match="closed"):
            method()
    assert set(outbox_module.__all__) >= {"Outbox", "OutboxError", "Parcel", "Status", "DeadLetter"}
