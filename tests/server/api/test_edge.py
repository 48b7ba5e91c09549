"""What every request and every answer passes: hosts, ids, headers, problems, the end of the server."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from belljar.server.store import queries
from tests.server.api.conftest import SQLITE_ALONE, Api, Serve, trace

pytestmark = SQLITE_ALONE


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "NOT_FOUND"),
        ("GET", "/api/traces/", 404, "NOT_FOUND"),
        ("GET", "/api/traces/not-a-uuid", 404, "NOT_FOUND"),
        ("GET", "/api/traces/..%2f..%2fetc%2fpasswd", 404, "NOT_FOUND"),
        ("GET", "/api/traces/%00", 404, "NOT_FOUND"),
        ("GET", "/api/traces/" + "x" * 100, 400, "BAD_REQUEST"),
        ("PUT", "/api/traces", 405, "METHOD_NOT_ALLOWED"),
        ("TRACE", "/api/traces", 405, "METHOD_NOT_ALLOWED"),
        ("OPTIONS", "/api/traces", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/api/traces?limit=0", 400, "BAD_REQUEST"),
        ("GET", "/api/traces?limit=x", 400, "BAD_REQUEST"),
        ("GET", "/api/traces?limits=5", 400, "BAD_REQUEST"),
        ("GET", "/api/traces?since=yesterday", 400, "BAD_REQUEST"),
        ("GET", "/api/traces?text=%00", 400, "BAD_REQUEST"),
        ("GET", "/api/traces?cursor=bm9uZQ", 400, "BAD_CURSOR"),
        ("GET", "/api/traces?cursor=%ff%fe", 400, "BAD_CURSOR"),
        ("GET", "/api/suggest?context=a,,b", 400, "BAD_REQUEST"),
        ("GET", "/api/suggest?limit=0", 400, "BAD_REQUEST"),
        ("GET", "/api/suggest?intent=%00", 400, "BAD_REQUEST"),
    ],
)
def test_every_error_is_a_problem(client: httpx2.Client, method: str, path: str, status: int, code: str) -> None:
    """F36: problem+json with type, title, status, detail, code and the request's id; 400 where others say 422."""
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem.keys() == {"type", "title", "status", "detail", "code", "requestId"}
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["requestId"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/api/traces", "GET, POST"), ("/api/registry/a.b.c.d", "DELETE, GET"), ("/docs", "GET"), ("/healthz", "GET")],
)
def test_which_methods_there_are(client: httpx2.Client, path: str, allowed: str) -> None:
    """405 names every method of the path."""
    answer = client.put(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_a_fault_of_ours_says_nothing(
    client: httpx2.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """500 with the id under which the log has it; nothing of the exception."""

    def broken(*_args: Any, **_options: Any) -> None:
        raise RuntimeError("secret-of-the-database")

    monkeypatch.setattr(queries, "list_traces", broken)
    answer = client.get("/api/traces")
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL")
    assert "secret" not in answer.text
    faults = [record for record in caplog.records if record.getMessage() == "fault"]
    assert [vars(record)["fields"]["requestId"] for record in faults] == [answer.json()["requestId"]]
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-123.DEF_9", True), ("short", False), ("x" * 65, False), ("a b\tc d e f", False), ('"><script>', False)],
)
def test_request_ids(client: httpx2.Client, given: str, kept: bool) -> None:
    """A sane id is taken over, anything else replaced by one of ours."""
    answer = client.get("/healthz", headers={"x-request-id": given})
    assert (answer.headers["x-request-id"] == given) is kept
    assert re.fullmatch("[A-Za-z0-9._-]{8,64}", answer.headers["x-request-id"])


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/docs", "/openapi.json", "/metrics", "/api/traces", "/nothing"]
)
def test_every_answer_carries_the_safe_headers(client: httpx2.Client, path: str) -> None:
    """No sniffing, no framing, no referrer, no script; no CORS, no server's name."""
    headers = client.get(path, headers={"origin": "https://evil.example"}).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert not [name for name in headers if name.startswith("access-control") or name == "server"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8420", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8420", 200),
        ("10.1.2.3", 200),
        ("traces.example.com", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost@evil.example", 400),
        ("localhost/x", 400),
        ("", 400),
    ],
)
def test_only_our_own_names(serve: Serve, host: str, status: int) -> None:
    """A name that a stranger pointed at us (DNS rebinding) is refused before any route; addresses cannot be."""
    api = serve(allowed_hosts=("traces.example.com",))
    assert api.client("").get("/healthz", headers={"host": host}).status_code == status


def test_two_hosts_and_no_host(api: Api) -> None:
    """A request that names two hosts, or none, is no request."""
    for lines in ("Host: localhost\r\nHost: evil.example\r\n", ""):
        assert said(api, f"GET /healthz HTTP/1.1\r\n{lines}\r\n").startswith("HTTP/1.1 400")


def said(api: Api, text: str) -> str:
    """What comes back for these bytes, until the server closes or is silent."""
    with socket.create_connection(api.address, timeout=10) as sock:
        sock.sendall(text.encode())
        sock.settimeout(2)
        received = b""
        try:
            while chunk := sock.recv(65536):
                received += chunk
                if b"\r\n\r\n" in received and b"connection: close" not in received.lower():
                    break
        except TimeoutError:
            pass
    return received.decode()


def test_what_is_no_http(api: Api) -> None:
    """A problem, and the connection ends."""
    answer = said(api, "HELLO\r\n\r\n")
    assert answer.startswith("HTTP/1.1 400")
    assert json.loads(answer.partition("\r\n\r\n")[2])["code"] == "BAD_REQUEST"
    assert api.metric("belljar_http_turned_away_total", reason="not-http") == 1


def test_metrics(client: httpx2.Client, api: Api) -> None:
    """Requests by route and status, times, traces, the pool; no series that a stranger can make."""
    client.post("/api/traces", json=[trace()])
    for number in range(20):
        client.request(f"M{number}", f"/x/{number}")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = answer.text
    assert 'belljar_http_requests_total{method="POST",route="/api/traces",status="200"} 1.0' in text
    assert 'belljar_traces_total{outcome="stored"} 1.0' in text
    assert 'belljar_http_request_seconds_bucket{le="+Inf",route="/api/traces"} 1.0' in text
    assert 'belljar_db_pool_connections{state="size"}' in text
    assert text.count('belljar_http_requests_total{method="OTHER"') == 1
    assert "default" not in text  # no tenant
    assert api.metric("belljar_http_requests_in_flight") <= 1


def test_the_documents(client: httpx2.Client, api: Api) -> None:
    """/docs and /openapi.json are open, name every route with an example, and point nowhere else."""
    public = api.client("")
    document = public.get("/openapi.json").json()
    assert {"/api/traces", "/api/traces/{traceId}", "/api/registry", "/api/registry/{fqdn}", "/api/stats"} <= set(
        document["paths"]
    )
    assert {"/api/suggest", "/api/learning", "/healthz", "/readyz", "/metrics"} <= set(document["paths"])
    ingest = document["paths"]["/api/traces"]["post"]
    example = ingest["requestBody"]["content"]["application/json"]["example"]
    assert client.post("/api/traces", json=example).json()["stored"] == 1
    published = document["paths"]["/api/registry"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert client.post("/api/registry", json=published).status_code == 201
    assert not re.findall(r'"422"', json.dumps(document))
    for reference in set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document))):
        assert reference in document["components"]["schemas"]
    page = public.get("/docs").text
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=[\"'](?!/openapi\.json)", page)
    assert all(path.replace("{", "{") in page for path in document["paths"])


def test_ready_and_alive(client: httpx2.Client, api: Api) -> None:
    """/readyz fails while the server ends, /healthz does not; both are open."""
    public = api.client("")
    assert (public.get("/healthz").json(), public.get("/readyz").json()) == ({"status": "ok"}, {"status": "ready"})
    api.services.life.ending = True
    assert public.get("/healthz").status_code == 200
    for refused in (public.get("/readyz"), client.post("/api/traces", json=[trace()])):
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1


def test_too_many_at_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over the bound is told to come again, at once; health is still answered; nothing is left counted."""
    api = serve(max_in_flight=2)
    entered, go = threading.Semaphore(0), threading.Event()
    real = queries.list_traces

    def held(*args: Any, **options: Any) -> Any:
        entered.release()
        assert go.wait(20)
        return real(*args, **options)

    monkeypatch.setattr(queries, "list_traces", held)
    clients = [api.client() for _ in range(3)]
    statuses: list[int] = []
    threads = [in_thread(lambda c=c: statuses.append(c.get("/api/traces").status_code)) for c in clients[:2]]
    assert all(entered.acquire(timeout=20) for _ in threads)
    refused = clients[2].get("/api/traces")
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "UNAVAILABLE", "1")
    assert clients[2].get("/healthz").status_code == 200
    go.set()
    for thread in threads:
        thread.join(20)
    assert statuses == [200, 200]
    assert api.metric("belljar_http_turned_away_total", reason="busy") == 1
    assert clients[2].get("/api/traces").status_code == 200


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_server_that_ends_finishes_what_is_under_way(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told to end in the middle of a request: that one is answered, the next is not taken, the port closes."""
    api = serve()
    entered, go = threading.Event(), threading.Event()
    real = queries.list_traces

    def held(*args: Any, **options: Any) -> Any:
        entered.set()
        assert go.wait(20)
        return real(*args, **options)

    monkeypatch.setattr(queries, "list_traces", held)
    client, statuses = api.client(), list[int]()
    thread = in_thread(lambda: statuses.append(client.get("/api/traces").status_code))
    assert entered.wait(20)
    api.serving.stop()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            assert api.client("").get("/readyz").status_code == 503
        except httpx2.TransportError:
            break
    else:
        pytest.fail("the port is still open")
    go.set()
    thread.join(20)
    assert statuses == [200]
