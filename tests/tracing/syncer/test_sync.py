"""Everything between the spool and a server, in this process: `sync_now` against a real one that misbehaves."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from email.utils import formatdate
from itertools import chain as chain_
from itertools import pairwise
from random import Random
from typing import Any

import anyio
import pytest

from belljar.errors import ConfigError
from belljar.tracing.outbox import Outbox, Status, SyncerLock
from belljar.tracing.sanitizer import VERSION
from belljar.tracing.syncer import Pace, SyncSettings, sync_now
from belljar.tracing.syncer.bell import Bell
from belljar.tracing.syncer.delivery import Server
from belljar.tracing.syncer.gate import Gate
from belljar.tracing.syncer.loop import Syncer
from belljar.tracing.syncer.masks import Masks
from tests.cloud import Behaviour, Cloud, Reply, Request, cloud, garbage, html, item, never, refuse, say, slow
from tests.cloud import status as answering
from tests.tcp_proxy import Plan, tcp_proxy
from tests.tracing.syncer.conftest import KEY, QUICK, Settings, chain, ids, spool, status, trace

pytestmark = pytest.mark.anyio


async def test_all_that_waits_is_sent_in_batches(settings: Settings) -> None:
    """F29: 25 traces leave as 10, 10, 5, in the order of their capture, and progress is told."""
    told: list[Status] = []
    with cloud(KEY) as there:
        sent = spool(settings(there.url), [trace() for _ in range(25)])
        done = await sync_now(settings(there.url), progress=told.append)
    assert there.batches == [sent[:10], sent[10:20], sent[20:]]
    assert (done.pending, done.dead, done.parked, done.last_error) == (0, 0, None, None)
    assert done.counters["acknowledged"] == done.counters["sent"] == 25
    assert [x.pending for x in told] == [15, 5, 0]
    assert done.last_success_at is not None


async def test_a_batch_size_of_ones_own(settings: Settings) -> None:
    """F29: the size is configurable."""
    with cloud(KEY) as there:
        mine = settings(there.url, batch_size=3)
        spool(mine, [trace() for _ in range(7)])
        await sync_now(mine)
    assert [len(batch) for batch in there.batches] == [3, 3, 1]


async def test_a_request_stays_under_four_mebibytes(settings: Settings) -> None:
    """A batch of large traces is as many as fit."""
    traces = [
        trace(taskResults=[{"taskId": f"t{n}", "tool": "a:b", "args": _noise(n), "result": None} for n in range(25)])
        for _ in range(30)
    ]
    with cloud(KEY) as there:
        mine = settings(there.url, batch_size=100, pace=replace(QUICK, request_s=20))
        sent = spool(mine, traces)
        done = await sync_now(mine)
    assert done.pending == 0
    assert there.arrived == sent
    assert len(there.batches) > 1
    assert max(len(request.body) for request in there.requests) <= 4 << 20


def _noise(seed: int) -> str:
    random = Random(seed)
    return " ".join(random.choice(["lorem", "ipsum", "dolor", "sit"]) for _ in range(1700))


# ---- masks


async def test_what_leaves_was_masked_again(settings: Settings) -> None:
    """F27: both passes look at it just before it is sent: a secret of this process, and what only pass 2 knows."""
    with cloud(KEY) as there:
        mine = settings(there.url, known=frozenset({"correct horse"}))
        spool(mine, [trace(intent=f"correct horse; PESEL 44051401359; {KEY}")])
        await sync_now(mine)
    (stored,) = there.stored.values()
    assert stored["intent"] == "[REDACTED]; PESEL [SSN]; [REDACTED]"
    assert stored["metadata"]["redactions"]["KNOWN"] == 2


async def test_without_its_masks_nothing_leaves(settings: Settings) -> None:
    """Fail closed: a spaCy model that is not installed stops sending, and the status names it."""
    with cloud(KEY) as there:
        mine = settings(there.url, spacy_model="xx_no_such_model")
        spool(mine, [trace()])
        done = await sync_now(mine)
        assert done.pending == 1
        assert done.parked is not None
        assert "xx_no_such_model" in done.parked
        assert there.requests == []
        done = await sync_now(settings(there.url))
    assert (done.pending, done.parked) == (0, None)


async def test_a_trace_that_cannot_be_masked_does_not_leave(settings: Settings) -> None:
    """Fail closed, trace by trace: one whose id does not survive the masks is a dead letter, the others are sent."""
    bad = trace() | {"traceId": "ann@example.com"}
    with cloud(KEY) as there:
        spool(settings(there.url), [bad, good := trace()])
        done = await sync_now(settings(there.url))
    assert there.arrived == [good["traceId"]]
    assert (done.pending, done.dead) == (0, 1)


async def test_the_same_bytes_on_every_attempt_and_in_every_process(settings: Settings) -> None:
    """F33: bytes are frozen before they are first sent; attempts and other processes send the very same."""
    with cloud(KEY) as there:
        spool(settings(there.url), [trace(intent="call (415) 555-2671") for _ in range(3)])
        there.always = answering(503)
        await sync_now(settings(there.url))
        # Another process, with other known secrets: what was frozen stays as it is.
        there.always = None
        await sync_now(settings(there.url, known=frozenset({"[PHONE]", "local.default"})))
    assert len(there.requests) == 5
    assert len({request.body for request in there.requests}) == 1
    assert len(there.stored) == 3


async def test_bytes_of_another_version_are_masked_again(settings: Settings) -> None:
    """Bytes that an older sanitizer froze pass the one of today before they are sent."""
    wire = trace(intent="call (415) 555-2671")
    with cloud(KEY) as there:
        mine = settings(there.url)
        spool(mine, [wire])
        with Outbox(mine.folder, mine.limits) as outbox:
            outbox.take_in()
            outbox.freeze(wire["traceId"], json.dumps(wire).encode(), "an older one")
        await sync_now(mine)
        spool(mine, [other := trace()])
        with Outbox(mine.folder, mine.limits) as outbox:
            outbox.take_in()
            outbox.freeze(other["traceId"], json.dumps(other | {"intent": "as frozen"}).encode(), VERSION)
        await sync_now(mine)
    assert there.stored[wire["traceId"]]["intent"] == "call [PHONE]"
    assert there.stored[other["traceId"]]["intent"] == "as frozen"


# ---- partial failure


async def test_one_rejected_of_ten(settings: Settings) -> None:
    """F32: that one is a dead letter with the server's words, masked and cut; the others are not sent again."""
    with cloud(KEY) as there:
        sent = spool(settings(there.url), [trace() for _ in range(10)])
        message = f"bad timestamp; write to ann@example.com or use {KEY}; " + "x" * 5000
        there.next.append(item(lambda t: t["traceId"] == sent[3], status="rejected", code="BAD_TIME", message=message))
        done = await sync_now(settings(there.url))
        assert (done.pending, done.dead) == (0, 1)
        assert there.batches == [sent]
        with Outbox(settings(there.url).folder) as outbox:
            (letter,) = outbox.dead_letters()
            assert (letter.trace_id, letter.code) == (sent[3], "BAD_TIME")
            assert letter.message.startswith("bad timestamp; write to [EMAIL] or use [REDACTED]; xxx")
            assert len(letter.message) <= 500
            assert outbox.retry() == 1
        await sync_now(settings(there.url))
    assert there.batches == [sent, [sent[3]]]
    assert set(there.stored) == set(sent)


async def test_one_put_off_is_sent_again_alone(settings: Settings) -> None:
    """F32: "retry" of one item, and an item not named at all: sent again, without those that were stored."""
    with cloud(KEY) as there:
        sent = spool(settings(there.url), [trace() for _ in range(5)])

        async def forgetful(app: Cloud, request: Request) -> Any:
            results = [app.store(t) for t in request.traces[2:]]
            return app.results([{"traceId": sent[0], "status": "retry"}, *results])

        there.next.append(forgetful)
        done = await sync_now(settings(there.url))
    assert there.batches[0] == sent
    assert sorted(chain_.from_iterable(there.batches[1:])) == sorted(sent[:2])
    assert done.pending == 0
    assert set(there.arrived) == set(sent)


async def test_one_that_is_always_put_off_holds_nobody_up(settings: Settings) -> None:
    """F32: twelve traces that the server never decides about, before fifteen others: those arrive, each sent once."""
    with cloud(KEY) as there:
        stuck = spool(settings(there.url), [trace() for _ in range(12)])
        others = spool(settings(there.url), [trace() for _ in range(15)])
        there.always = item(lambda t: t["traceId"] in stuck, status="retry")
        done = await sync_now(settings(there.url))
        assert sorted(there.arrived) == sorted(others)
        assert done.pending == 12
        assert done.dead == 0
        there.always = None
        done = await sync_now(settings(there.url))
    assert done.pending == 0
    assert set(there.arrived) == {*stuck, *others}


async def test_a_wrong_one_is_found_by_halves(settings: Settings) -> None:
    """F32: 400 for every request that holds one of two wrong traces: just these become dead letters."""
    with cloud(KEY) as there:
        sent = spool(settings(there.url), [trace() for _ in range(10)])
        wrong = {sent[2], sent[7]}
        there.always = refuse(
            lambda traces, _: any(t["traceId"] in wrong for t in traces), say(400, code="BAD", detail="no")
        )
        done = await sync_now(settings(there.url))
    assert done.pending == 0
    assert done.dead == 2
    assert there.arrived == [x for x in sent if x not in wrong]
    assert len(there.requests) <= 1 + 2 * 4 * 2


async def test_422_is_like_400(settings: Settings) -> None:
    """F32: and a single one is a dead letter at once, with the code of the answer where it names none."""
    with cloud(KEY) as there:
        spool(settings(there.url), [trace()])
        there.always = garbage(b"", 422)
        done = await sync_now(settings(there.url))
        with Outbox(settings(there.url).folder) as outbox:
            (letter,) = outbox.dead_letters()
    assert (done.pending, done.dead) == (0, 1)
    assert letter.code == "HTTP_422"


async def test_too_much_is_sent_by_halves(settings: Settings) -> None:
    """F32: 413 halves the batch, keeps the order, and only what is too large by itself is a dead letter."""
    with cloud(KEY) as there:
        sent = spool(settings(there.url), [trace() for _ in range(4)])
        (large,) = spool(settings(there.url), [trace(intent="lorem ipsum " * 800)])
        more = spool(settings(there.url), [trace() for _ in range(4)])
        there.always = refuse(lambda traces, body: len(traces) > 3 or len(body) > 8000, say(413))
        done = await sync_now(settings(there.url))
        with Outbox(settings(there.url).folder) as outbox:
            assert [(x.trace_id, x.code) for x in outbox.dead_letters()] == [(large, "TOO_LARGE")]
    assert done.pending == 0
    assert there.arrived == sent + more


# ---- order


def out_of_time(stored: int) -> Behaviour:
    """Stores so many of a batch and says "later" of the rest."""

    async def behave(app: Cloud, request: Request) -> Reply:
        results = [app.store(t) for t in request.traces[:stored]]
        return app.results([*results, *({"traceId": t, "status": "retry"} for t in request.ids[stored:])])

    return behave


@pytest.mark.parametrize("seed", range(4))
async def test_parents_first_through_failures(settings: Settings, seed: int) -> None:
    """F31: whatever fails on the way, and in whatever order they were captured, no trace arrives before its parent."""
    random = Random(seed)
    with cloud(KEY) as there, tcp_proxy(there.port) as proxy:
        families = [chain(random.randint(1, 8)) for _ in range(6)]
        flat = [wire for family in families for wire in family]
        random.shuffle(flat)
        mine = settings(proxy.url, batch_size=3, max_retries=20, pace=replace(QUICK, request_s=0.5))
        spool(mine, flat)
        for _ in range(8):
            there.next.append(
                random.choice(
                    [
                        answering(503),
                        html(200),
                        refuse(lambda traces, _: len(traces) > 1, say(413)),
                        out_of_time(random.randint(0, 2)),
                        garbage(b'{"results": ['),
                    ]
                )
            )
        proxy.next.extend([Plan(cut_down=10), Plan(cut_up=300), Plan(refuse=True), Plan(cut_down=200)])
        for _ in range(6):
            done = await sync_now(mine)
            if not done.pending:
                break
    assert done.pending == 0
    assert sorted(there.arrived) == sorted(ids(flat))
    for wire in flat:
        if "parentTraceId" in wire:
            assert there.arrived.index(wire["parentTraceId"]) < there.arrived.index(wire["traceId"])


async def test_a_child_waits_for_a_parent_that_is_put_off(settings: Settings) -> None:
    """F31: while the server says "later" of a parent, nothing below it is sent in a batch of its own."""
    family = chain(3)
    with cloud(KEY) as there:
        mine = settings(there.url, batch_size=1)
        spool(mine, family)
        (other,) = spool(mine, [trace()])
        for _ in range(3):
            there.next.append(item(lambda t: t["traceId"] == ids(family)[0], status="retry"))
        done = await sync_now(mine)
    assert done.pending == 0
    first = there.batches.index([ids(family)[1]])
    assert [ids(family)[0]] not in there.batches[first:]
    assert [x for x in there.arrived if x != other] == ids(family)


async def test_a_half_waits_for_what_the_half_before_it_left(settings: Settings) -> None:
    """F31, F32: a batch sent by halves: the second is not sent while a parent in the first was put off."""
    parent, child = chain(2)
    with cloud(KEY) as there:
        sent = spool(settings(there.url), [parent, trace(), child, trace()])
        there.next.extend([answering(413), item(lambda t: t["traceId"] == sent[0], status="retry")])
        done = await sync_now(settings(there.url))
    assert done.pending == 0
    assert there.batches == [sent, sent[:2], [sent[3]], [sent[0], sent[2]]]


async def test_a_child_of_a_dead_letter_is_sent(settings: Settings) -> None:
    """F31, F32: a parent that the server will never take keeps nobody back."""
    family = chain(2)
    with cloud(KEY) as there:
        spool(settings(there.url), family)
        there.always = item(lambda t: "parentTraceId" not in t, status="rejected", code="NO", message="no")
        done = await sync_now(settings(there.url))
    assert (done.pending, done.dead) == (0, 1)
    assert there.arrived == ids(family)[1:]


# ---- trying again


FAILURES = {
    "408": answering(408),
    "425": answering(425),
    "429": answering(429),
    "500": answering(500),
    "502": answering(502),
    "503": answering(503),
    "404": answering(404),
    "html": html(200),
    "half json": garbage(b'{"results":'),
    "half an answer": garbage(b'{"results": []}', declared=400),
    "nonsense": garbage(b'{"results": [1, 2]}'),
    "no word of ours": answering(200, results=[]),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_two_failures_and_then_it_works(settings: Settings, failure: Any) -> None:
    """F30, F33: tried again until it works, nothing lost, nothing twice, and the error is forgotten then."""
    with cloud(KEY) as there:
        sent = spool(settings(there.url), [trace() for _ in range(3)])
        there.next.extend([failure, failure])
        done = await sync_now(settings(there.url))
    assert there.arrived == sent
    assert (done.pending, done.dead, done.last_error) == (0, 0, None)
    assert (done.counters["sent"], done.counters["failed"]) == (9, 2)


@pytest.mark.parametrize("form", ["seconds", "date", "date by a clock of its own"])
async def test_retry_after_is_a_floor(settings: Settings, form: str) -> None:
    """F30: 429 with two seconds, said in either form: the next attempt comes no sooner, and not much later."""
    with cloud(KEY) as there:
        spool(settings(there.url), [trace()])
        now = time.time() if form == "date" else 1e9
        headers = {"retry-after": "2"} if form == "seconds" else {"retry-after": formatdate(now + 2.999, usegmt=True)}
        if form == "date by a clock of its own":
            headers["date"] = formatdate(now + 0.999, usegmt=True)
        there.next.append(answering(429, headers))
        done = await sync_now(settings(there.url, pace=replace(QUICK, backoff_cap_s=5)))
    first, second = (request.at for request in there.requests)
    # By a date it is the date that counts, and this test may have been slow to come to its first request.
    late = time.monotonic() - first - (time.time() - now) if form == "date" else 0.0
    assert 1.99 + late <= second - first < 4.5
    assert done.pending == 0


async def test_back_off_grows_and_is_random(settings: Settings) -> None:
    """F30: each wait is a random part of a range that doubles, up to the cap."""
    with cloud(KEY) as there:
        mine = settings(there.url, max_retries=7, pace=replace(QUICK, backoff_base_s=0.05, backoff_cap_s=0.2))
        spool(mine, [trace()])
        there.always = answering(503)
        done = await sync_now(mine)
    times = [request.at for request in there.requests]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert len(waits) == 7
    for n, wait in enumerate(waits):
        assert wait < min(0.05 * 2**n, 0.2) + 0.3
    assert len({round(wait, 3) for wait in waits}) > 3
    assert done.pending == 1
    assert done.last_error == "the server answered 503"


async def test_after_the_last_attempt_it_says_why(settings: Settings) -> None:
    """F30: one attempt and `max_retries` more; the trace waits on, and is not a dead letter."""
    with cloud(KEY) as there:
        spool(settings(there.url), [trace() for _ in range(25)])
        there.always = answering(502)
        done = await sync_now(settings(there.url))
        assert len(there.requests) == 4
        assert (done.pending, done.dead, done.last_error) == (25, 0, "the server answered 502")
        there.always = None
        done = await sync_now(settings(there.url))
    assert (done.pending, done.last_error) == (0, None)


async def test_a_long_retry_after_is_not_waited_for(settings: Settings) -> None:
    """Whoever asks to send now does not wait for an hour: it ends at once and says why."""
    with cloud(KEY) as there:
        spool(settings(there.url), [trace()])
        there.always = answering(429, {"retry-after": "3600"})
        began = time.monotonic()
        done = await sync_now(settings(there.url))
    assert time.monotonic() - began < 10
    assert len(there.requests) == 1
    assert (done.pending, done.last_error) == (1, "the server answered 429")


async def test_a_deadline_is_kept(settings: Settings) -> None:
    """F35: with a server that never answers, `sync_now` ends at its deadline and what waits is still there."""
    with cloud(KEY) as there:
        mine = settings(there.url, pace=Pace())
        spool(mine, [trace()])
        there.always = never()
        began = time.monotonic()
        done = await sync_now(mine, deadline_s=4.0)
        assert 3.9 < time.monotonic() - began < 6
        assert done.pending == 1
        assert done.last_error == "the time is up; the rest waits in the spool"
        there.always = None
        assert (await sync_now(mine)).pending == 0


# ---- parked


async def test_a_wrong_key_parks_and_the_right_one_goes_on(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """401: one request, said once, nothing lost. The right key has a folder of its own; the same key, once it is
    accepted, sends everything."""
    with cloud("the key that is taken") as there:
        sent = spool(settings(there.url), [trace() for _ in range(15)])
        with caplog.at_level(logging.WARNING, logger="belljar"):
            done = await sync_now(settings(there.url))
        assert len(there.requests) == 1
        assert done.pending == 15
        assert done.parked is not None
        assert "401" in done.parked
        assert len([record for record in caplog.records if "401" in record.getMessage()]) == 1
        assert KEY not in caplog.text + done.parked
        # Traces made for one key are never sent with another.
        other = settings(there.url, api_key="the key that is taken")
        assert (await sync_now(other)).pending == 0
        assert len(there.requests) == 1
        there.key = KEY
        done = await sync_now(settings(there.url))
    assert (done.pending, done.parked) == (0, None)
    assert there.arrived == sent


async def test_a_redirect_parks_and_the_key_stays_here(settings: Settings) -> None:
    """A redirect to another port: counted, told, and nothing is ever sent there."""
    with cloud() as other, cloud(KEY) as there:
        spool(settings(there.url), [trace()])
        there.always = answering(307, {"location": f"{other.url}/api/traces"})
        done = await sync_now(settings(there.url))
    assert other.requests == []
    assert done.pending == 1
    assert done.counters["redirected"] == 1
    assert done.parked is not None
    assert "307" in done.parked


@pytest.mark.parametrize("then", [answering(503), answering(400)], ids=["busy", "bad"])
async def test_what_stops_it_now_is_what_is_told(settings: Settings, then: Behaviour) -> None:
    """A key that was refused is not the reason any more once the server has said something else."""
    with cloud(KEY) as there:
        spool(settings(there.url), [trace()])
        there.key = "another"
        assert (await sync_now(settings(there.url))).parked is not None
        there.key, there.always = KEY, then
        assert (await sync_now(settings(there.url))).parked is None


@pytest.mark.parametrize("url", ["http://example.com", "http://10.0.0.1:8080", "http://localhost.example.com"])
def test_only_https_leaves_the_machine(settings: Settings, url: str) -> None:
    """Keys and traces cross no network in the clear."""
    with pytest.raises(ConfigError, match="https"):
        settings(url)
    assert settings("http://[::1]:8080").destination.url == "http://[::1]:8080"


# ---- the end


async def test_what_is_appended_last_is_sent_as_well(settings: Settings) -> None:
    """F35: the last trace is appended, and the order to flush heard, while the syncer has just looked at the spool."""
    sent: list[str] = []
    with cloud(KEY) as there:
        mine = settings(there.url, flush_interval_s=3600)
        bell = Bell()

        class Late(Outbox):
            def take_in(self) -> int:
                taken = super().take_in()
                if not sent:
                    sent.extend(spool(mine, [trace()]))
                    bell.flush(20)
                return taken

        with Late(mine.folder, mine.limits) as outbox:
            async with Server.connect(mine.destination.url, mine.api_key, mine.pace) as server:
                await Syncer(mine, outbox, server, Masks(mine), Gate(mine.pace), bell).serve()
    assert there.arrived == sent


# ---- others


async def test_another_syncer_is_not_disturbed(settings: Settings) -> None:
    """One syncer per destination: while another holds the lock, nothing is sent, and the status says so."""
    with cloud(KEY) as there:
        mine = settings(there.url)
        spool(mine, [trace()])
        lock = SyncerLock.take(mine.folder)
        assert lock is not None
        with lock:
            done = await sync_now(mine, deadline_s=0.3)
            assert done.pending == 1
            assert done.last_error == "another process is sending to this server now"
            assert there.requests == []
        assert (await sync_now(mine)).pending == 0


async def test_an_empty_spool(settings: Settings) -> None:
    """Nothing to send: no connection, no error."""
    with cloud(KEY) as there:
        done = await sync_now(settings(there.url))
    assert (done.pending, done.dead) == (0, 0)
    assert there.requests == []


async def test_it_can_be_cancelled_at_any_moment(settings: Settings) -> None:
    """F33: cut off at twenty moments, then let through: everything arrives, nothing twice."""
    random = Random(7)
    with cloud(KEY) as there:
        mine = settings(there.url, batch_size=2)
        sent = spool(mine, [trace() for _ in range(30)])
        there.always = slow(0.02)
        for _ in range(20):
            with anyio.move_on_after(random.uniform(0, 0.25)):
                await sync_now(mine)
        done = await sync_now(mine)
    assert done.pending == 0
    assert there.arrived == sent
    assert there.stored.keys() == set(sent)


async def test_the_clock_may_be_wrong(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traces captured by a clock that is years ahead, or behind, are sent like any other."""
    with cloud(KEY) as there:
        mine = settings(there.url)
        real = time.time_ns
        sent: list[str] = []
        for shift_s in (5 * 365 * 86400, 0, -86400):
            with monkeypatch.context() as patch:
                patch.setattr(time, "time_ns", lambda shift=shift_s: real() + shift * 10**9)
                sent += spool(mine, [trace()])
        done = await sync_now(mine)
    assert done.pending == 0
    assert sorted(there.arrived) == sorted(sent)


def test_nothing_secret_is_shown(settings: Settings) -> None:
    """The settings show neither the key nor what they know."""
    mine: SyncSettings = settings("http://localhost:1", known=frozenset({"hunter22"}), pseudonym_key=b"0123456789")
    assert SyncSettings.from_order(json.loads(json.dumps(mine.to_order()))) == mine
    for secret in (KEY, "hunter22", "0123456789"):
        assert secret not in repr(mine)
    assert status(mine).pending == 0
