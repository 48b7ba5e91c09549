"""The syncer as a process: real children, a real server, and ends of every kind."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from random import Random

import anyio
import anyio.to_thread
import psutil
import pytest

from belljar.tracing.outbox import Outbox
from belljar.tracing.sanitizer import VERSION
from belljar.tracing.spool import SpoolWriter
from belljar.tracing.syncer import Pace, SyncerProcess, SyncSettings, sync_now
from tests.cloud import cloud, never, slow, until
from tests.cloud import status as answering
from tests.masked import masked
from tests.tracing.syncer.conftest import KEY, Settings, chain, ids, spool, status, trace

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
# A child has to import a second's worth before it can send, on a machine that does other things.
UP_S = 40.0


def child_of(syncer: SyncerProcess) -> psutil.Process:
    pid = syncer.pid
    assert pid is not None
    return psutil.Process(pid)


async def started(syncer: SyncerProcess) -> psutil.Process:
    await until(lambda: syncer.pid, UP_S)
    return child_of(syncer)


async def test_what_is_appended_arrives(settings: Settings) -> None:
    """F28, F29: a jar's life: entering waits for nothing, one trace leaves after the interval, 25 as 10, 10, 5."""
    with cloud(KEY) as there:
        mine = settings(there.url, flush_interval_s=1.0)
        began = time.monotonic()
        async with SyncerProcess(mine) as syncer:
            assert time.monotonic() - began < 0.1
            # The first one, also to know that it is up.
            first = spool(mine, [trace()])
            syncer.nudge()
            await until(lambda: there.arrived == first, UP_S)
            appended = time.monotonic()
            (second,) = spool(mine, [trace()])
            syncer.nudge()
            await until(lambda: second in there.stored)
            assert 0.7 < there.requests[-1].at - appended < 2.5
            many = spool(mine, [trace() for _ in range(25)])
            syncer.nudge()
            await until(lambda: set(many) <= there.stored.keys())
            assert [len(batch) for batch in there.batches] == [1, 1, 10, 10, 5]
            assert there.requests[-2].at - there.requests[-3].at < 0.5
            assert there.requests[-1].at - there.requests[-2].at > 0.3
            child = await started(syncer)
        assert not child.is_running()
    assert status(mine).counters["acknowledged"] == 27


async def test_leaving_sends_what_waits(settings: Settings) -> None:
    """F35: at the end everything goes at once, although the interval is an hour."""
    with cloud(KEY) as there:
        mine = settings(there.url, flush_interval_s=3600, exit_flush_s=UP_S)
        async with SyncerProcess(mine) as syncer:
            sent = spool(mine, chain(13))
            syncer.nudge()
        assert there.arrived == sent
        assert there.batches == [sent[:10], sent[10:]]
    assert status(mine).pending == 0


async def test_nudging_is_cheap_and_harmless_from_any_thread(settings: Settings) -> None:
    """F28: before, during and after; a child that is stopped and reads nothing makes no nudge wait."""
    mine = settings("http://127.0.0.1:9", exit_flush_s=0.3)
    syncer = SyncerProcess(mine)
    syncer.nudge()
    async with syncer:
        child = await started(syncer)
        child.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        threads = [threading.Thread(target=lambda: [syncer.nudge() for _ in range(25_000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await anyio.to_thread.run_sync(thread.join)
        assert time.monotonic() - began < 5
    syncer.nudge()
    assert not child.is_running()


# ---- the end


async def test_leaving_has_a_deadline_and_loses_nothing(settings: Settings) -> None:
    """F28, F35: a server that sleeps: leaving takes `exit_flush_s`, the trace waits, and arrives later, once."""
    with cloud(KEY) as there:
        mine = settings(there.url, flush_interval_s=0.1, exit_flush_s=0.5, pace=Pace())
        async with SyncerProcess(mine) as syncer:
            there.always = never()
            sent = spool(mine, [trace()])
            syncer.nudge()
            await until(lambda: there.requests, UP_S)
            began = time.monotonic()
        assert time.monotonic() - began < 0.5 + 0.5
        assert status(mine).pending == 1
        there.always = None
        assert (await sync_now(mine)).pending == 0
    assert there.arrived == sent
    bodies = [request.body for request in there.requests if request.body]
    assert len(set(bodies)) == 1


@pytest.mark.parametrize("moment", ["at once", "while it imports", "stopped"])
async def test_leaving_never_takes_longer(settings: Settings, moment: str) -> None:
    """F35: whatever the child is doing, also nothing at all."""
    mine = settings("http://127.0.0.1:9", exit_flush_s=0.4)
    spool(mine, [trace()])
    async with SyncerProcess(mine) as syncer:
        if moment != "at once":
            child = await started(syncer)
            if moment == "stopped":
                child.send_signal(signal.SIGSTOP)
        began = time.monotonic()
    assert time.monotonic() - began < 0.4 + 0.5
    assert syncer.pid is None
    assert status(mine).pending == 1


async def test_leaving_when_cancelled(settings: Settings) -> None:
    """F35: also a jar that is cancelled, or that leaves by an error, ends its child; the error stays what it was."""
    mine = settings("http://127.0.0.1:9", exit_flush_s=0.4)
    with anyio.move_on_after(0.2) as scope:
        async with SyncerProcess(mine) as syncer:
            await anyio.sleep(60)
    assert scope.cancelled_caught
    assert syncer.pid is None
    with pytest.raises(KeyError, match="mine"):
        async with SyncerProcess(mine):
            raise KeyError("mine")


async def test_an_empty_spool_is_left_at_once(settings: Settings) -> None:
    """F35: with nothing to send, leaving does not use up its time, nor wait for what masks."""
    with cloud(KEY) as there:
        mine = settings(there.url, exit_flush_s=30)
        async with SyncerProcess(mine) as syncer:
            await started(syncer)
            began = time.monotonic()
        assert time.monotonic() - began < 15
    assert there.requests == []


async def test_ctrl_c_at_the_terminal_is_not_for_it(settings: Settings) -> None:
    """F35: it is in a session of its own and ignores SIGINT: what the jar captured last is still sent."""
    with cloud(KEY) as there:
        mine = settings(there.url, flush_interval_s=3600, exit_flush_s=UP_S)
        async with SyncerProcess(mine) as syncer:
            child = await started(syncer)
            assert os.getsid(child.pid) == child.pid
            await until(lambda: (mine.folder / "outbox.db").exists(), UP_S)
            child.send_signal(signal.SIGINT)
            sent = spool(mine, [trace()])
        assert there.arrived == sent


# ---- death


PARENT = """
import sys, json
sys.path[:0] = json.loads(sys.argv[1])
import anyio
from belljar.tracing.syncer import SyncerProcess, SyncSettings
settings = SyncSettings.from_order(json.loads(sys.stdin.readline()))

async def main():
    async with SyncerProcess(settings) as syncer:
        while syncer.pid is None:
            await anyio.sleep(0.01)
        print(syncer.pid, flush=True)
        await anyio.sleep(600)

anyio.run(main)
"""


def program(text: str, line: str) -> subprocess.Popen[str]:
    """Another Python that runs this and is given this line."""
    path = json.dumps([entry for entry in [str(ROOT), *sys.path] if entry])
    process = subprocess.Popen(
        [sys.executable, "-c", text, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write(line)
    process.stdin.flush()
    return process


def parent_of_a_syncer(settings: SyncSettings, text: str = PARENT) -> tuple[subprocess.Popen[str], psutil.Process]:
    parent = program(text, json.dumps(settings.to_order()) + "\n")
    assert parent.stdout is not None
    return parent, psutil.Process(int(parent.stdout.readline()))


def bury(parent: subprocess.Popen[str]) -> None:
    parent.kill()
    parent.communicate()


@pytest.mark.parametrize("state", ["importing", "idle", "in a request", "stdin held open"])
async def test_it_is_gone_when_its_jar_is_killed(settings: Settings, state: str) -> None:
    """kill -9 of the jar's process: within three seconds the syncer is gone, also in the middle of a request, and
    also if somebody else holds the other end of its stdin."""
    with cloud(KEY) as there:
        mine = settings(there.url, exit_flush_s=2.0, pace=Pace())
        if state == "in a request":
            there.always = never()
            spool(mine, [trace()])
        text = PARENT
        if state == "stdin held open":
            text = text.replace(
                "        print(syncer.pid", "        keeper = holder(syncer)\n        print(syncer.pid"
            ).replace("async def main", HOLDER + "\nasync def main")
        parent, child = await anyio.to_thread.run_sync(parent_of_a_syncer, mine, text)
        try:
            if state == "in a request":
                await until(lambda: there.requests, UP_S)
            elif state != "importing":
                await until(lambda: (mine.folder / "outbox.db").exists(), UP_S)
        finally:
            bury(parent)
        killed = time.monotonic()
        await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 20)
        assert time.monotonic() - killed < 3


# A process that keeps the writing end, as a careless fork would; it ends by itself.
HOLDER = """
def holder(syncer):
    import os, subprocess, time
    while syncer._pipe is None:
        time.sleep(0.01)
    fd = syncer._pipe.fileno()
    program = [sys.executable, "-c", "import time; time.sleep(8)"]
    return subprocess.Popen(program, pass_fds=[fd], stdout=subprocess.DEVNULL)
"""


async def test_the_request_under_way_may_finish(settings: Settings) -> None:
    """The jar is killed while the server is slow: the answer is still heard, so nothing is sent a second time."""
    with cloud(KEY) as there:
        mine = settings(there.url, exit_flush_s=3.0, flush_interval_s=0.1, pace=Pace())
        spool(mine, [trace()])
        there.always = slow(1.0)
        parent, child = await anyio.to_thread.run_sync(parent_of_a_syncer, mine)
        try:
            await until(lambda: there.requests, UP_S)
        finally:
            bury(parent)
        await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 20)
        assert status(mine).pending == 0
        assert len(there.requests) == 1


async def test_a_syncer_that_dies_is_started_again(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """A long-lived jar goes on sending after its syncer was killed, and says so."""
    with cloud(KEY) as there:
        mine = settings(there.url)
        async with SyncerProcess(mine) as syncer:
            child = await started(syncer)
            child.kill()
            await until(lambda: syncer.pid not in (None, child.pid), UP_S)
            sent = spool(mine, [trace()])
            syncer.nudge()
            await until(lambda: there.arrived == sent, UP_S)
    assert "another one is started" in caplog.text


async def test_the_end_of_its_stdin_ends_it(settings: Settings) -> None:
    """A jar that hangs up without a word is gone, and the syncer ends: on systems where no signal says so, too."""
    mine = settings("http://127.0.0.1:9", exit_flush_s=1.0)
    async with SyncerProcess(mine) as syncer:
        child = await started(syncer)
        await until(lambda: (mine.folder / "outbox.db").exists(), UP_S)
        with syncer._lock:
            assert syncer._pipe is not None
            syncer._pipe.close()
            syncer._pipe = None
        await until(lambda: syncer.pid != child.pid, 3.0)


async def test_a_fork_of_the_jar_does_not_end_its_syncer(settings: Settings) -> None:
    """A process that was forked from the jar's and leaves its block as well: the child belongs to the jar alone."""
    with cloud(KEY) as there:
        mine = settings(there.url)
        async with SyncerProcess(mine) as syncer:
            child = await started(syncer)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12: we have threads
                forked = os.fork()
            if forked == 0:
                syncer._leave()
                os._exit(0)
            assert (await anyio.to_thread.run_sync(os.waitpid, forked, 0))[1] == 0
            sent = spool(mine, [trace()])
            syncer.nudge()
            await until(lambda: there.arrived == sent, UP_S)
            assert syncer.pid == child.pid


@pytest.mark.slow
async def test_kill_9_of_the_syncer_at_any_moment(settings: Settings) -> None:
    """F33: killed at 25 random moments while it works: everything arrives, nothing twice, order kept."""
    random = Random(11)
    with cloud(KEY) as there:
        mine = settings(there.url, batch_size=3, flush_interval_s=0.05)
        there.always = slow(0.01)
        sent: list[str] = []
        for n in range(25):
            sent += spool(mine, chain(3) + [trace() for _ in range(3)])
            seen = len(there.requests)
            async with SyncerProcess(mine) as syncer:
                child = await started(syncer)
                if n % 3:  # in the middle of its work; otherwise while it starts
                    await until(lambda seen=seen: len(there.requests) > seen, UP_S)
                await anyio.sleep(random.uniform(0, 0.15 if n % 3 else 1.0))
                child.kill()
        assert there.arrived
        done = await sync_now(mine)
    assert (done.pending, done.dead) == (0, 0)
    assert sorted(there.arrived) == sorted(sent)
    assert len(there.arrived) == len(set(there.arrived))
    for request in there.requests:
        for other in there.requests:
            assert request.body == other.body or not (set(request.ids) == set(other.ids) and request.ids)


WRITER = """
import sys, json
sys.path[:0] = json.loads(sys.argv[1])
import anyio
from belljar.tracing.sanitizer import VERSION
from belljar.tracing.spool import SpoolWriter
from belljar.tracing.syncer import SyncerProcess, SyncSettings
from belljar.tracing.texts import MaskedTrace
order = json.loads(sys.stdin.readline())
settings, traces = SyncSettings.from_order(order["settings"]), order["traces"]
writer = SpoolWriter(settings.spool_root, settings.destination, settings.limits, sanitizer_version=VERSION)

async def main():
    async with SyncerProcess(settings) as syncer:
        for wire in traces:
            assert writer.append(MaskedTrace(wire["traceId"], wire.get("parentTraceId"), json.dumps(wire)))
            sys.stdout.write(wire["traceId"] + "\\n")
            sys.stdout.flush()
            syncer.nudge()
            await anyio.sleep(0.002)
        await anyio.sleep(600)

anyio.run(main)
"""


@pytest.mark.slow
async def test_kill_9_of_the_client_at_any_moment(settings: Settings) -> None:
    """F33: 50 processes that run, capture and send, each killed at a random moment: every captured trace arrives, once.

    What a process says on its stdout, line by line, is what it had captured for certain.
    """
    random = Random(23)
    captured: list[str] = []
    appended: set[str] = set()
    with cloud(KEY) as there:
        mine = settings(there.url, flush_interval_s=0.05, exit_flush_s=0.2)
        there.always = slow(0.005)
        for n in range(50):
            traces = chain(4) + [trace() for _ in range(60)]
            appended |= set(ids(traces))
            order = json.dumps({"settings": mine.to_order(), "traces": traces}) + "\n"
            client = program(WRITER, order)
            assert client.stdout is not None
            first = await anyio.to_thread.run_sync(client.stdout.readline)
            # Mostly while it appends; every fifth when its syncer is up and sends.
            seen = len(there.requests)
            if n % 5 == 0:
                await until(lambda seen=seen: len(there.requests) > seen, UP_S)
            await anyio.sleep(random.uniform(0, 0.15))
            client.kill()
            rest, _ = await anyio.to_thread.run_sync(client.communicate)
            captured += (first + rest).split()
        assert there.arrived  # some of it by the syncers, before they died with their jars
        # The last one's child may hold the lock for a moment still.
        done = await sync_now(mine)
    assert (done.pending, done.dead) == (0, 0)
    assert set(captured) <= set(there.arrived) <= appended
    assert len(there.arrived) == len(set(there.arrived))
    assert len(captured) > 50
    assert not {name for name in done.counters if name.startswith("dropped")} - {"dropped.damaged"}


# ---- secrets


def readable(child: psutil.Process) -> str:
    found = [Path(f"/proc/{child.pid}/{name}").read_bytes() for name in ("cmdline", "environ", "comm", "stat")]
    ps = subprocess.run(["ps", "eww", "-p", str(child.pid)], capture_output=True, check=False).stdout
    return b"\n".join([*found, ps]).decode("utf-8", "replace")


async def test_nobody_can_read_the_key(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key, known secrets and the pseudonym key are in no argv and no environment, and nothing is inherited."""
    monkeypatch.setenv("BELLJAR_API_KEY", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    mine = settings("http://127.0.0.1:9", known=frozenset({"hunter22"}), pseudonym_key=b"k" * 32, exit_flush_s=0.2)
    inherited = os.open(__file__, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        async with SyncerProcess(mine) as syncer:
            child = await started(syncer)
            await until(lambda: (mine.folder / "outbox.db").exists(), UP_S)
            text = readable(child)
            assert child.environ() == {}
            assert not [file for file in child.open_files() if file.path == __file__]
            assert child.nice() == 10
            assert child.cwd() == "/"
    finally:
        os.close(inherited)
    for secret in (KEY, "hunter22", "k" * 32, (b"k" * 32).hex(), "wJalrXUtn"):
        assert secret not in text


async def test_many_secrets_still_fit(settings: Settings) -> None:
    """Settings larger than a pipe holds at once: entering does not wait for the child to read them."""
    with cloud(KEY) as there:
        mine = settings(there.url, known=frozenset(f"secret number {n:06d}" for n in range(20_000)), exit_flush_s=UP_S)
        assert len(json.dumps(mine.to_order())) > 1 << 18
        sent = spool(mine, [trace(intent="a secret number 012345 in it")])
        began = time.monotonic()
        async with SyncerProcess(mine):
            assert time.monotonic() - began < 0.2
        assert there.arrived == sent
    assert "012345" not in json.dumps(there.stored)


async def test_what_a_person_should_know_is_logged_once(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """401: one line at WARNING in the jar's log, the status says it as well, and neither holds the key."""
    with cloud("another key") as there, caplog.at_level(logging.WARNING, logger="belljar"):
        mine = settings(there.url)
        async with SyncerProcess(mine) as syncer:
            spool(mine, [trace()])
            syncer.nudge()
            # It asks again after a pause, and is refused again: no news.
            await until(lambda: len(there.requests) == 2, UP_S)
            assert (status(mine).parked or "").startswith("the server does not take this API key")
            there.key = KEY
            await until(lambda: there.stored)
            await until(lambda: status(mine).parked is None)
    said = [record for record in caplog.records if "API key" in record.getMessage()]
    assert [record.levelno for record in said] == [logging.WARNING]
    assert KEY not in caplog.text


async def test_debug_says_what_happens_and_no_values(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    """With our loggers at DEBUG the child's lines come too; without, nothing of it reaches the terminal."""
    logger = logging.getLogger("belljar.syncer")
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        with cloud(KEY) as there:
            mine = settings(there.url, exit_flush_s=UP_S)
            spool(mine, [trace(intent="a value of mine")])
            async with SyncerProcess(mine):
                pass
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert any(line.startswith("sent 1") for line in lines)
    assert KEY not in "\n".join(lines)
    assert "a value of mine" not in "\n".join(lines)
    assert capfd.readouterr().out == ""


# ---- company


async def test_two_jars_on_one_spool(settings: Settings) -> None:
    """F33: one of them sends, also what the other captured; the second takes over when the first is gone."""
    with cloud(KEY) as there:
        mine = settings(there.url)
        async with SyncerProcess(mine) as second:
            async with SyncerProcess(mine) as first:
                await started(first)
                sent = spool(mine, [trace() for _ in range(5)])
                second.nudge()
                await until(lambda: len(there.arrived) == 5, UP_S)
                sent += spool(mine, [trace() for _ in range(5)])
                await until(lambda: len(there.arrived) == 10, UP_S)
            sent += spool(mine, [trace()])
            await until(lambda: len(there.arrived) == 11, UP_S)
    assert sorted(there.arrived) == sorted(sent)
    assert sum(len(batch) for batch in there.batches) == 11


async def test_a_spool_that_cannot_be_used_is_waited_out(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that is a symlink: told once, nothing is followed; when it is right again, sending goes on."""
    with cloud(KEY) as there, caplog.at_level(logging.WARNING, logger="belljar"):
        mine = settings(there.url)
        mine.spool_root.mkdir(mode=0o700)
        elsewhere = mine.spool_root.parent / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        mine.folder.symlink_to(elsewhere)
        async with SyncerProcess(mine) as syncer:
            await until(lambda: "cannot be sent now" in caplog.text, UP_S)
            mine.folder.unlink()
            sent = spool(mine, [trace()])
            syncer.nudge()
            await until(lambda: there.arrived == sent, UP_S)
    assert caplog.text.count("cannot be sent now") == 1
    assert list(elsewhere.iterdir()) == []


async def test_a_damaged_outbox_is_set_aside_and_work_goes_on(settings: Settings) -> None:
    """A database that turns to rubbish while nobody looks costs what it held, and not what comes."""
    with cloud(KEY) as there:
        mine = settings(there.url)
        spool(mine, [trace()])
        with Outbox(mine.folder, mine.limits) as outbox:
            outbox.take_in()
        (mine.folder / "outbox.db").write_bytes(os.urandom(8192))
        async with SyncerProcess(mine) as syncer:
            sent = spool(mine, [trace()])
            syncer.nudge()
            await until(lambda: there.arrived == sent, UP_S)


async def test_the_circuit_breaker(settings: Settings) -> None:
    """F30: after all attempts it pauses; then one batch is tried, once; when that works, all goes out."""
    with cloud(KEY) as there:
        pace = Pace(backoff_base_s=0.01, backoff_cap_s=0.02, breaker_s=1.0, parked_s=1.0)
        mine = settings(there.url, pace=pace, max_retries=2)
        there.always = answering(503)
        sent = spool(mine, [trace() for _ in range(25)])
        async with SyncerProcess(mine):
            await until(lambda: len(there.requests) == 5, UP_S)
            there.always = None
            await until(lambda: len(there.arrived) == 25, UP_S)
    times = [request.at for request in there.requests]
    assert times[2] - times[0] < 0.6
    assert times[3] - times[2] > 0.7
    assert times[4] - times[3] > 0.7
    assert [request.ids for request in there.requests[:5]] == [sent[:10]] * 5
    assert there.arrived == sent


def test_the_jar_pays_for_nothing_it_does_not_use() -> None:
    """`import belljar.tracing.syncer` brings neither HTTP nor SQLite nor what masks."""
    script = "import sys, belljar.tracing.syncer; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    )
    heavy = {"httpx2", "sqlite3", "tenacity", "presidio_analyzer", "spacy", "re2", "phonenumbers", "ssl"}
    assert heavy & set(done.stdout.split()) == set()


async def test_a_writer_beside_a_syncer(settings: Settings) -> None:
    """F28: while 200 traces are appended one after the other, none of the appends waits for anything."""
    with cloud(KEY) as there:
        there.always = slow(0.2)
        mine = settings(there.url, exit_flush_s=UP_S)
        writer = SpoolWriter(mine.spool_root, mine.destination, mine.limits, sanitizer_version=VERSION)
        took: list[float] = []
        async with SyncerProcess(mine) as syncer:
            for wire in [trace() for _ in range(200)]:
                began = time.perf_counter()
                assert writer.append(masked(wire))
                syncer.nudge()
                took.append(time.perf_counter() - began)
                await asyncio.sleep(0)
            writer.close()
        assert len(there.arrived) == 200
    assert sorted(took)[100] < 0.002
