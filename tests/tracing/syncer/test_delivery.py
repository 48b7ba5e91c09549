"""One batch to one server, real sockets: what each answer means, and what no answer may do."""

from __future__ import annotations

import gzip
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from random import Random

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.tracing.syncer.delivery import (
    Answer,
    Later,
    Letter,
    Parked,
    Refused,
    Results,
    Server,
    TooLarge,
    retry_after,
)
from belljar.tracing.syncer.settings import Pace
from tests.cloud import Behaviour, Reply, cloud, garbage, html, item, never, replying, say, slow, status
from tests.tcp_proxy import Plan, tcp_proxy

pytestmark = pytest.mark.anyio

KEY = "bj_0123456789abcdef0123456789abcdef"
PACE = Pace(connect_s=1.0, request_s=1.0)


def letter(number: int, **more: object) -> Letter:
    trace_id = f"019a0000-0000-7000-8000-{number:012d}"
    return Letter(trace_id, json.dumps({"traceId": trace_id, **more}, separators=(",", ":")).encode())


THREE = [letter(1), letter(2), letter(3)]
IDS = [x.trace_id for x in THREE]


@asynccontextmanager
async def connected(url: str, pace: Pace = PACE) -> AsyncIterator[Server]:
    async with Server.connect(url, KEY, pace) as server:
        yield server


async def answer_to(behaviour: Behaviour) -> Answer:
    with cloud(KEY) as there:
        there.next.append(behaviour)
        async with connected(there.url) as server:
            return await server.post(THREE)


async def test_a_batch_is_stored_and_then_a_duplicate() -> None:
    """F32, F33: what went out, how, and what a second time says."""
    with cloud(KEY) as there:
        async with connected(there.url) as server:
            assert await server.post(THREE) == Results(frozenset(IDS), frozenset(), {})
            assert await server.post(THREE[:2]) == Results(frozenset(), frozenset(IDS[:2]), {})
    first = there.requests[0]
    assert there.arrived == IDS
    assert (first.method, first.path) == ("POST", "/api/traces")
    assert first.body == b'{"traces":[' + b",".join(x.body for x in THREE) + b"]}"
    assert first.headers["x-api-key"] == KEY
    assert first.headers["content-type"] == first.headers["accept"] == "application/json"
    assert first.headers["content-encoding"] == "gzip"
    assert first.headers["accept-encoding"] == "identity"
    assert first.headers["user-agent"].startswith("belljar/")


async def test_the_same_bytes_each_time() -> None:
    """F33: the compressed request says nothing of when it was made."""
    assert gzip.compress(b"x", 6, mtime=0) == gzip.compress(b"x", 6, mtime=0)
    with cloud() as there:
        async with connected(there.url) as server:
            await server.post(THREE)
            await server.post(THREE)
    assert there.requests[0].body == there.requests[1].body
    assert there.requests[0].headers["content-length"] == there.requests[1].headers["content-length"]


async def test_each_trace_has_its_own_result() -> None:
    """F32: stored, rejected with the server's words, and later are told apart; what is not ours is ignored."""
    stranger = {"traceId": "019a0000-0000-7000-8000-999999999999", "status": "stored"}
    results = [
        {"traceId": IDS[0], "status": "stored"},
        {"traceId": IDS[1], "status": "rejected", "code": "BAD_TIME", "message": "timestamp"},
        {"traceId": IDS[2], "status": "retry"},
        stranger,
        {"traceId": IDS[0], "status": "rejected"},  # the first word counts
        {"traceId": 7},
        "nonsense",
    ]
    answer = await answer_to(status(207, results=results))
    assert isinstance(answer, Results)
    assert (answer.stored, answer.duplicates) == ({IDS[0]}, frozenset())
    assert {k: (v.code, v.message) for k, v in answer.rejected.items()} == {IDS[1]: ("BAD_TIME", "timestamp")}


LATER: dict[str, Behaviour] = {
    **{str(code): status(code) for code in (100 + 308, 425, 429, 500, 502, 503, 504, 404, 405, 409, 201, 204, 418)},
    "html": html(200),
    "html 400": html(400),
    "html 503": html(503),
    "empty": garbage(b""),
    "half json": garbage(b'{"results": [{"traceId":'),
    "half an answer": garbage(b'{"results": []}', declared=500),
    "a list": garbage(b"[]"),
    "no results": garbage(b"{}"),
    "results are a number": garbage(b'{"results": 7}'),
    "results are none": garbage(b'{"results": []}'),
    "results of others": status(200, results=[{"traceId": "019a0000-0000-7000-8000-999999999999", "status": "stored"}]),
    "unknown status": item(lambda _: True, status="fine"),
    "status of a wrong type": item(lambda _: True, status={"a": 1}),
    "deep": garbage(b"[" * 100_000),
    "NaN": garbage(b'{"results": NaN}'),
    "not UTF-8": garbage(b'{"results": "\xff"}'),
    "too long": item(lambda _: True, status="stored", message="x" * (1 << 20)),
    "gzip": replying(Reply(200, gzip.compress(b"0" * (50 << 20)), {"content-encoding": "gzip"})),
    "never": never(),
}


@pytest.mark.parametrize("behaviour", LATER.values(), ids=LATER)
async def test_what_is_no_decision_is_sent_again(behaviour: Behaviour) -> None:
    """F30: errors, garbage and silence are never taken for "stored" nor for "rejected"."""
    answer = await answer_to(behaviour)
    assert isinstance(answer, Later)
    assert KEY not in answer.reason


@pytest.mark.parametrize("code", [401, 403])
async def test_a_refused_key_parks(code: int) -> None:
    """A server that does not take our key is not asked again at once."""
    answer = await answer_to(status(code))
    assert isinstance(answer, Parked)
    assert str(code) in answer.reason
    assert not answer.redirected


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_the_key_follows_no_redirect(code: int) -> None:
    """A redirect to another port: nothing is ever sent there, and the queue parks."""
    with cloud() as other, cloud(KEY) as there:
        there.always = status(code, {"location": f"{other.url}/api/traces"})
        async with connected(there.url) as server:
            answer = await server.post(THREE)
    assert isinstance(answer, Parked)
    assert answer.redirected
    assert other.requests == []


async def test_too_large_and_wrong() -> None:
    """413 is about the size, 400 and 422 about what was sent; the server's words are kept, bounded."""
    assert await answer_to(status(413)) == TooLarge()
    for code in (400, 422):
        answer = await answer_to(status(code, code="NO_TRACES", detail="x" * 100_000))
        assert isinstance(answer, Refused)
        assert (answer.verdict.code, len(answer.verdict.message)) == ("NO_TRACES", 2000)
    for body in (b"", b"nonsense", b'{"code": "has blanks\\u001b", "message": 7}'):
        answer = await answer_to(garbage(body, 400))
        assert isinstance(answer, Refused)
        assert (answer.verdict.code, answer.verdict.message) == ("HTTP_400", "")


async def test_a_request_takes_no_longer_than_it_may() -> None:
    """F28: a server that drips its answer byte by byte, so that no single read takes long, is given up."""
    with cloud() as there, tcp_proxy(there.port) as proxy:
        proxy.always = Plan(drip_s=0.05)
        async with connected(proxy.url) as server:
            began = time.monotonic()
            assert isinstance(await server.post(THREE), Later)
            assert time.monotonic() - began < PACE.request_s + 1


CUTS = {
    "refused": Plan(refuse=True),
    "in the request's head": Plan(cut_up=20),
    "in the request's body": Plan(cut_up=600),
    "before the answer": Plan(cut_down=0),
    "in the answer's head": Plan(cut_down=30),
    "in the answer's body": Plan(cut_down=220),
    "stalled request": Plan(stall_up=100),
    "stalled answer": Plan(stall_down=100),
}


@pytest.mark.parametrize("plan", CUTS.values(), ids=CUTS)
async def test_a_cut_line_means_again_and_nothing_is_stored_twice(plan: Plan) -> None:
    """F33: wherever the line is cut, the next attempt ends with each trace stored exactly once."""
    letters = [letter(n, padding=Random(n).randbytes(300).hex()) for n in range(3)]
    with cloud() as there, tcp_proxy(there.port) as proxy:
        proxy.next.append(plan)
        async with connected(proxy.url) as server:
            assert isinstance(await server.post(letters), Later)
            answer = await server.post(letters)
    assert isinstance(answer, Results)
    assert answer.stored | answer.duplicates == {x.trace_id for x in letters}
    assert there.arrived == [x.trace_id for x in letters]


async def test_nobody_listens() -> None:
    """A port nobody listens on is "later", at once."""
    with cloud() as gone:
        pass
    async with connected(gone.url) as server:
        assert await server.post(THREE) == Later("the server cannot be reached")


async def test_no_log_line_holds_the_key_or_a_body(caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG, neither is said."""
    with caplog.at_level(logging.DEBUG), cloud("another key") as there:
        async with connected(there.url) as server:
            await server.post([letter(1, secret="a value of mine")])
            there.always = status(503)
            await server.post([letter(1, secret="a value of mine")])
    assert KEY not in caplog.text
    assert "a value of mine" not in caplog.text


async def test_a_cookie_is_not_sent_back() -> None:
    """What a server wants us to remember, we do not."""
    with cloud() as there:
        there.next.append(status(503, {"set-cookie": "track=me; Path=/"}))
        async with connected(there.url) as server:
            await server.post(THREE)
            await server.post(THREE)
    assert "cookie" not in there.requests[1].headers


async def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, no certificates and no .netrc is taken from it."""
    with cloud(KEY) as there, cloud() as other:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, other.url)
        async with connected(there.url) as server:
            assert isinstance(await server.post(THREE), Results)
    assert other.requests == []


async def test_a_certificate_of_nobody_is_not_believed(tmp_path: Path, needs: Callable[[str], list[str]]) -> None:
    """TLS with a certificate that this machine does not trust: nothing is sent, and the reason says so."""
    crt, private = str(tmp_path / "crt.pem"), str(tmp_path / "key.pem")
    make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost"]
    await anyio.run_process([*needs("openssl"), *make, "-keyout", private, "-out", crt])
    with cloud(KEY, certificate=(crt, private)) as there:
        async with connected(there.url.replace("http://127.0.0.1", "https://localhost")) as server:
            answer = await server.post(THREE)
    assert answer == Later("the server's certificate is not one this machine trusts")
    assert there.requests == []


async def test_a_slow_server_is_waited_for() -> None:
    """Slow is not dead: an answer within the time counts."""
    assert isinstance(await answer_to(slow(0.3)), Results)


NOW = 1_800_000_000.0
DATE = formatdate(NOW, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "2"}, 2),
        ({"retry-after": " 120 "}, 120),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "9" * 18}, 1e18),
        ({"retry-after": "9" * 400}, 0),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "1.5"}, 0),
        ({"retry-after": "inf"}, 0),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "2, 7"}, 0),
        ({"retry-after": "\u0663"}, 0),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, 30),
        ({"retry-after": formatdate(NOW - 30, usegmt=True)}, 0),
        # The server's clock is ten years behind ours, and it means thirty seconds.
        ({"retry-after": formatdate(NOW - 3e8 + 30, usegmt=True), "date": formatdate(NOW - 3e8, usegmt=True)}, 30),
        ({"retry-after": formatdate(NOW + 30, usegmt=True), "date": "garbage"}, 30),
        ({"retry-after": "Sun, 99 Nov 9999 99:99:99 GMT"}, 0),
        ({"retry-after": "Fri, 31 Dec 99999 23:59:59 GMT"}, 0),
    ],
)
def test_retry_after_in_both_forms(headers: dict[str, str], seconds: float) -> None:
    """F30: seconds or a date, the date against the server's own clock; what is neither is ignored."""
    assert retry_after(headers, NOW) == seconds


@given(st.text(), st.text())
def test_retry_after_takes_anything(after: str, date: str) -> None:
    """F30: whatever a server writes there is a number of seconds, not negative."""
    assert 0 <= retry_after({"retry-after": after, "date": date}, NOW) < 1e18 + 1


async def test_retry_after_reaches_the_answer_and_is_capped() -> None:
    """F30: the floor that the answer carries; no server stops us for longer than an hour."""
    assert await answer_to(status(429, {"retry-after": "2"})) == Later("the server answered 429", 2.0)
    assert await answer_to(status(503, {"retry-after": "1000000"})) == Later("the server answered 503", 3600.0)
    in_a_minute = {"retry-after": formatdate(NOW + 60, usegmt=True), "date": DATE}
    later = await answer_to(status(503, in_a_minute))
    assert isinstance(later, Later)
    assert later.floor_s == 60.0


def test_what_is_shown_holds_no_body() -> None:
    """A letter in a log line or a traceback shows its id."""
    assert "secret" not in repr(letter(1, secret=1))
    assert say(200).status == 200
