"""Clients that mean harm, or die: slow ones, half ones, bombs. Raw sockets, so that nobody's library is in between."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from belljar.server.store import ingest
from tests.server.api.conftest import SQLITE_ALONE, Api, Serve, task, trace, until

pytestmark = SQLITE_ALONE

MIB = 1 << 20


def head(api: Api, *lines: str, length: int | None = None, key: str | None = None) -> bytes:
    given = ["POST /api/traces HTTP/1.1", "Host: localhost", f"x-api-key: {key or api.key()}"]
    given += ["content-type: application/json", *lines, *([] if length is None else [f"content-length: {length}"])]
    return "\r\n".join([*given, "", ""]).encode()


def rest(sock: socket.socket, seconds: float = 20.0) -> bytes:
    """All that comes until the server closes; a connection that it cuts off ends it, too."""
    sock.settimeout(seconds)
    received = b""
    try:
        while chunk := sock.recv(65536):
            received += chunk
    except ConnectionError:
        pass
    return received


def test_a_head_that_drips(serve: Serve) -> None:
    """Slow-loris: a byte now and then does not extend the deadline; the connection is cut, and counted."""
    api = serve(head_timeout_s=0.5)
    began = time.monotonic()
    with socket.create_connection(api.address, timeout=10) as sock:
        sock.settimeout(0.05)
        ended = False
        for byte in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 1000:
            try:
                sock.sendall(bytes([byte]))
                ended = sock.recv(1) == b""
            except TimeoutError:
                continue  # nothing to read yet: it is still listening
            except ConnectionError:
                ended = True
            if ended:
                break
    assert ended
    assert time.monotonic() - began < 5
    assert api.metric("belljar_http_turned_away_total", reason="slow-head") == 1


def test_a_connection_that_says_nothing(serve: Serve) -> None:
    """Is cut after the same time, the first and any later head."""
    api = serve(head_timeout_s=0.5)
    with socket.create_connection(api.address, timeout=10) as sock:
        assert rest(sock) == b""
    with socket.create_connection(api.address, timeout=10) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /heal")
        answer = rest(sock)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_body_that_drips(serve: Serve) -> None:
    """408 after the deadline of bodies, and the connection ends."""
    api = serve(body_timeout_s=0.5)
    with socket.create_connection(api.address, timeout=10) as sock:
        sock.sendall(head(api, length=1000) + b"[")
        answer = rest(sock)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in answer.lower()


def test_a_client_that_leaves_in_its_body(api: Api) -> None:
    """Half a body is nothing: nothing is stored, it is counted, and others are served."""
    with socket.create_connection(api.address, timeout=10) as sock:
        sock.sendall(head(api, length=100_000) + json.dumps([trace()]).encode())
    until(lambda: api.metric("belljar_http_disconnects_total") == 1)
    assert api.client().get("/api/traces").json()["traces"] == []
    until(lambda: api.metric("belljar_http_requests_in_flight") == 0)


def test_a_client_that_leaves_before_its_answer(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """F37: what was sent whole is stored whole, once; sent again it is a duplicate."""
    entered, go = threading.Event(), threading.Event()
    real = ingest.ingest

    def held(*args: Any, **options: Any) -> Any:
        entered.set()
        assert go.wait(20)
        return real(*args, **options)

    monkeypatch.setattr(ingest, "ingest", held)
    body = json.dumps([trace() for _ in range(10)]).encode()
    with socket.create_connection(api.address, timeout=10) as sock:
        sock.sendall(head(api, length=len(body)) + body)
        assert entered.wait(20)
    go.set()
    until(lambda: api.metric("belljar_traces_total", outcome="stored") == 10)
    answer = api.client().post("/api/traces", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["duplicates"]) == (200, 10)


def test_a_key_is_asked_for_before_the_body(api: Api) -> None:
    """Without a key nothing of a body is waited for: 401 at once, also while the body is still to come."""
    with socket.create_connection(api.address, timeout=10) as sock:
        began = time.monotonic()
        sock.sendall(head(api, "expect: 100-continue", length=8 * MIB, key="bj_none"))
        answer = rest(sock)
    assert answer.startswith(b"HTTP/1.1 401")
    assert time.monotonic() - began < 5


def test_too_long_by_its_own_word(api: Api) -> None:
    """A length over the bound is refused by the head alone."""
    with socket.create_connection(api.address, timeout=10) as sock:
        sock.sendall(head(api, length=1 << 40))
        answer = rest(sock)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"TOO_LARGE"' in answer


def test_more_connections_than_there_may_be(serve: Serve) -> None:
    """Connections over the bound are cut at once; when others end, there is room again."""
    api = serve(max_connections=5)
    client = api.client("")
    open_ones = [socket.create_connection(api.address, timeout=10) for _ in range(5)]
    until(lambda: api.metric("belljar_http_connections") >= 5)
    with socket.create_connection(api.address, timeout=10) as sock:
        assert rest(sock) == b""
    assert api.metric("belljar_http_turned_away_total", reason="connections") == 1
    for sock in open_ones:
        sock.close()
    until(lambda: api.metric("belljar_http_connections") == 0)
    assert client.get("/healthz").status_code == 200


def test_request_smuggling(api: Api) -> None:
    """A request with two lengths, or a length and chunks, is not taken for two requests."""
    for lines in (("content-length: 5", "transfer-encoding: chunked"), ("content-length: 0", "content-length: 40")):
        with socket.create_connection(api.address, timeout=10) as sock:
            sock.sendall(head(api, *lines) + b"0\r\n\r\nGET /api/traces HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = rest(sock)
        assert (answer[:12], answer.count(b"HTTP/1.1")) == (b"HTTP/1.1 400", 1)


# Bombs


def zeros(megabytes: int) -> bytes:
    """That many MB of blanks, gzipped piece by piece."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([packer.compress(b" " * MIB) for _ in range(megabytes)]) + packer.flush()


def lists(depth: int) -> bytes:
    """Lists within lists, each of which claims to be as long as any may be."""
    return b"\xdd\x00\x01\xff\xff" * depth


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "headers", "statuses"),
    [
        (lambda: zeros(1024), {"content-encoding": "gzip"}, {413}),
        (lambda: lists(1000), {"content-type": "application/msgpack"}, {400}),
        (
            lambda: gzip.compress(b"\x90" * 30 * MIB),
            {"content-type": "application/msgpack", "content-encoding": "gzip"},
            {400},
        ),
        (lambda: gzip.compress(b"[" + b"[]," * (10 * MIB) + b"[]]"), {"content-encoding": "gzip"}, {400}),
        (lambda: gzip.compress(b'{"traces":[' + b"7," * (15 * MIB) + b"7]}"), {"content-encoding": "gzip"}, {413}),
        (lambda: gzip.compress(b'["' + b"\\u0041" * (5 * MIB) + b'"]'), {"content-encoding": "gzip"}, {207}),
    ],
    ids=["1 GB of blanks", "long lists", "30 M lists as msgpack", "10 M lists", "15 M traces", "one long text"],
)
def test_a_bomb(api: Api, make: Callable[[], bytes], headers: dict[str, str], statuses: set[int]) -> None:
    """Small on the wire, huge unpacked: refused, with memory bounded and the server answering others meanwhile."""
    body = make()
    client, other = api.client(), api.client("")
    process, peak = psutil.Process(), 0
    before = process.memory_info().rss
    answers: list[int] = []

    def send() -> None:
        answer = client.post("/api/traces", content=body, headers={"content-type": "application/json", **headers})
        answers.append(answer.status_code)

    thread = threading.Thread(target=send)
    thread.start()
    slowest = 0.0
    while thread.is_alive():
        began = time.monotonic()
        assert other.get("/healthz").status_code == 200
        slowest = max(slowest, time.monotonic() - began)
        peak = max(peak, process.memory_info().rss)
        thread.join(0.01)
    assert set(answers) <= statuses
    assert peak - before < 600 * MIB
    assert slowest < 2.0


@pytest.mark.slow
def test_texts_that_are_slow_to_look_through(api: Api) -> None:
    """Traces made to keep the sanitizer busy cost seconds, not minutes; what was not looked at is to be sent again."""
    hostile = [trace(taskResults=[task(1, result={f"token{n}": n for n in range(20_000)})]) for _ in range(20)]
    began = time.monotonic()
    answer = api.client().post("/api/traces", json=hostile)
    assert time.monotonic() - began < 30
    assert {result["status"] for result in answer.json()["results"]} <= {"stored", "rejected", "retry"}
    assert answer.json()["results"][0]["status"] == "stored"


def test_the_event_loop_is_not_held_up(api: Api) -> None:
    """While a large batch is parsed and stored, others are answered in milliseconds."""
    body = json.dumps([trace(taskResults=[task(n, result="x" * 8000) for n in range(25)]) for _ in range(30)]).encode()
    assert len(body) > 6_000_000
    client, other = api.client(), api.client("")
    other.get("/healthz")
    thread = threading.Thread(
        target=lambda: client.post("/api/traces", content=body, headers={"content-type": "application/json"})
    )
    thread.start()
    times: list[float] = []
    while thread.is_alive():
        began = time.monotonic()
        assert other.get("/healthz").status_code == 200
        times.append(time.monotonic() - began)
    assert len(times) >= 3
    assert sorted(times)[len(times) // 2] < 0.1
