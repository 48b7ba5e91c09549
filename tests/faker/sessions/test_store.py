"""Sessions on a real file: what is kept, who may read it, what a crash leaves, two fakers at once."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from belljar.errors import ConfigError, ValidationError
from belljar.faker.calls import RealError, Tool
from belljar.faker.sessions import FILE, ServedTool, Session, SessionRecorder, SessionStore
from belljar.faker.sessions.recorder import _MOST_WAITING
from tests.faker.sessions.making import READ, TOOLS, WRITE, event, record, until

_ROOT = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "faker" / FILE


def test_every_call_is_an_event_with_source_latency_and_error(path: Path) -> None:
    """F64: N calls are N events, failed ones and cached ones too, each with its source, latency and error."""
    refused = {"code": -32602, "message": "no such file"}
    session = record(
        path,
        event(latency_ms=2.5),
        event(WRITE, {"path": "/a", "content": "x"}, source="overlay", intercepted=True),
        event(source="cache"),
        event(source="fault", is_error=True, detail="ENOSPC"),
        event(error=refused),
        instruction="a disk that fills up",
    )
    with SessionStore(path) as store:
        found = store.session(session)
        events = store.events(session)
        tools = store.tools(session)
    assert [each.source for each in events] == ["real", "overlay", "cache", "fault", "real"]
    assert [each.sequence for each in events] == [1, 2, 3, 4, 5]
    assert [each.is_error for each in events] == [False, False, False, True, True]
    assert events[0].latency_ms == 2.5
    assert events[0].response == {"content": [{"type": "text", "text": "hello"}], "isError": False}
    assert events[1].operation == "write"
    assert events[1].intercepted
    assert events[4].error == refused
    assert events[4].response == {}
    assert {each.schema_digest for each in events} == {READ.digest, WRITE.digest}
    assert (found.calls, found.writes, found.errors, found.lost, found.status) == (5, 1, 2, 0, "completed")
    assert found.instruction == "a disk that fills up"
    assert found.duration_ns > 0
    assert tools == TOOLS


def test_the_file_is_its_owners_alone(path: Path) -> None:
    """What tools answered is raw, so the file, its journal and its folder are nobody else's."""
    with SessionRecorder(path) as recorder:
        recorder.record(event())
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert len(modes) == 3
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="yours alone"):
        SessionStore(path)


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    """A link in the place of the file is refused, and what it points at is not made."""
    path.parent.mkdir(mode=0o700)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="cannot be opened"):
        SessionStore(path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_newer_file_is_refused_by_name(path: Path) -> None:
    """A file whose schema a newer belljar made is left alone, and the message says what to do."""
    SessionStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ConfigError, match="newer belljar"):
        SessionStore(path)


def test_what_is_no_database_is_one_error(path: Path) -> None:
    """A file of something else is an error that names it."""
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"not a database, by far" * 100)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="cannot be used"):
        SessionStore(path)


def test_odd_texts_come_back_as_they_were(path: Path) -> None:
    """Lone surrogates, NUL and escape sequences in arguments, answers and names are kept."""
    odd = "\ud800 \x00 \x1b[2J \u202e é"
    session = record(path, event(args={odd: [odd]}, text=odd))
    with SessionStore(path) as store:
        (kept,) = store.events(session)
    assert kept.arguments == {odd: [odd]}
    assert kept.response["content"][0]["text"] == odd


def test_what_is_no_json_does_not_take_others_along(path: Path) -> None:
    """A result no JSON can say is kept as a call without its texts; the calls beside it are whole."""
    session = record(path, event(), event(args={"path": object()}), event(text="third"))
    with SessionStore(path) as store:
        events = store.events(session)
    assert [each.detail for each in events] == [None, "not kept: no JSON", None]
    assert events[2].response["content"][0]["text"] == "third"


_CRASHING = """
import sys, time
from pathlib import Path
from belljar.faker.sessions import SessionRecorder
from tests.faker.sessions.making import event
recorder = SessionRecorder(Path(sys.argv[1]))
for n in range(50):
    recorder.record(event(text=str(n)))
print(recorder.session_id, flush=True)
sys.stdin.read()
"""


def _crash(path: Path) -> str:
    child = subprocess.Popen(
        [sys.executable, "-c", _CRASHING, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=_ROOT,
        text=True,
    )
    assert child.stdout is not None
    session = child.stdout.readline().strip()
    with SessionStore(path) as store:
        assert store.reap() == 0, "it lives, and is none of ours to end"
        until(lambda: store.session(session).calls == 50)
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=20)
    return session


def test_a_crash_leaves_a_session_that_the_next_start_ends(path: Path) -> None:
    """F76: a faker that was killed leaves its calls; whoever opens the file next marks its session as failed."""
    session = _crash(path)
    with SessionStore(path) as store:
        assert store.session(session).status == "running"
    record(path)
    with SessionStore(path) as store:
        found = store.session(session)
        events = store.events(session)
    assert found.status == "failed"
    assert "ended without a word" in found.error
    assert found.ended_at_ns is not None
    assert len(events) == 50


def test_a_session_of_this_very_process_is_not_reaped(path: Path) -> None:
    """Whoever lists while a faker serves does not end its session."""
    with SessionRecorder(path) as recorder, SessionStore(path) as store:
        assert store.reap() == 0
        assert store.session(recorder.session_id).status == "running"


def test_an_owner_of_another_boot_is_gone(path: Path) -> None:
    """A pid is believed only together with the start of its process and of the machine."""
    with SessionStore(path) as store:
        store.begin(Session("a" * 36, 1))
        db = sqlite3.connect(path)
        for owner in (f"0000:{os.getpid()}:1:1", f"boot:ns:{os.getpid()}:1"):
            db.execute("UPDATE session SET status = 'running', owner = ?", (owner,))
            db.commit()
            assert store.reap() == 1
        db.close()


def test_two_fakers_write_one_file(path: Path) -> None:
    """Two processes and a reader at once: each session has all of its calls, in order."""
    other = subprocess.Popen(
        [sys.executable, "-c", _CRASHING.replace("range(50)", "range(2000)"), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=_ROOT,
        text=True,
    )
    assert other.stdout is not None
    theirs = other.stdout.readline().strip()
    ours = record(path, *(event(text=str(n)) for n in range(2000)))
    with SessionStore(path) as store:
        until(lambda: store.session(theirs).calls == 2000)
        other.communicate("", timeout=20)
        for session in (ours, theirs):
            texts = [each.response["content"][0]["text"] for each in store.events(session)]
            assert texts == [str(n) for n in range(2000)]


def test_a_full_queue_is_counted_and_never_waited_for(path: Path) -> None:
    """A disk that stands still costs calls, not time: what is lost is counted in the session."""
    recorder = SessionRecorder(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        many = [event(text="x") for _ in range(50)]
        for _ in range(_MOST_WAITING // 50 + 20):
            for each in many:
                recorder.record(each)
        lost = recorder.lost
        assert 0 < lost <= 1000
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()
    assert recorder.close() is False
    with SessionStore(path) as store:
        found = store.session(recorder.session_id)
    assert found.lost == lost
    assert found.calls + found.lost == _MOST_WAITING + 1000


def test_large_answers_are_bounded_in_bytes(path: Path) -> None:
    """Ten of 10 MB at once do not wait in memory without bound; what was refused is counted."""
    recorder = SessionRecorder(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    large = "x" * 10_000_000
    for _ in range(10):
        recorder.record(event(text=large))
    blocker.execute("ROLLBACK")
    blocker.close()
    recorder.close()
    with SessionStore(path) as store:
        found = store.session(recorder.session_id)
    assert (found.calls, found.lost) == (6, 4)


def test_a_list_that_changes_without_end_is_kept_once(path: Path) -> None:
    """A target that says a thousand times that its tools changed fills no queue; the last list is the session's."""
    recorder = SessionRecorder(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    for n in range(1000):
        recorder.serves([ServedTool("fs", Tool(f"t{n}", {"name": f"t{n}"}))] if n % 2 else [])
    assert recorder._queue.qsize() <= 1
    blocker.execute("ROLLBACK")
    blocker.close()
    recorder.close()
    with SessionStore(path) as store:
        assert [each.tool.name for each in store.tools(recorder.session_id)] == ["t999"]


def test_records_from_many_threads(path: Path) -> None:
    """Calls that end at the same time are all there, each once."""
    recorder = SessionRecorder(path)
    threads = [
        threading.Thread(target=lambda n=n: [recorder.record(event(text=f"{n}-{i}")) for i in range(100)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.close()
    with SessionStore(path) as store:
        events = store.events(recorder.session_id)
    assert [each.sequence for each in events] == list(range(1, 801))
    assert len({each.response["content"][0]["text"] for each in events}) == 800


def test_a_session_is_named_by_the_beginning_of_its_id(path: Path) -> None:
    """Enough of an id names a session; too little, none and several are errors."""
    with SessionStore(path) as store:
        for each in ("aaaa1111", "aaaa2222", "bbbb3333"):
            store.begin(Session(each, 1))
        assert store.session("bbbb").id == "bbbb3333"
        for wrong, why in (("aaaa", "several"), ("bb", "no session"), ("%%%%", "no session"), ("cccc", "no session")):
            with pytest.raises(ValidationError, match=why):
                store.session(wrong)
        store.delete(["bbbb3333"])
        assert [each.id for each in store.sessions()] == ["aaaa1111", "aaaa2222"]


def test_deleting_takes_the_calls_along(path: Path) -> None:
    """F65: nothing of a deleted session stays in the file."""
    session = record(path, event(text="forget me"))
    with SessionStore(path) as store:
        store.delete([session])
        assert store.events(session) == []


def test_a_call_notes_its_legs() -> None:
    """What the target and a model took, and how it ended, is on the call: figures and spans are made of it."""
    call = event().call
    with pytest.raises(RealError), call.way.asking_real():
        raise RealError(-32001, "gone")
    with call.way.asking_other("stat"), call.way.asking_ai():
        pass
    assert call.way.real is not None
    assert call.way.real.error == "-32001"
    ((other, leg),) = call.way.asked
    assert other == "stat"
    assert call.way.real_ms == call.way.real.ms + leg.ms
    assert [leg.error for leg in call.way.ai] == [""]
