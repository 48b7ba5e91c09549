"""Who may do what: keys, scopes, tenants, the rate of each key."""

from __future__ import annotations

import http.client
import logging
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from belljar.errors import ConfigError
from belljar.server.settings import Settings
from belljar.server.store import keys
from tests.server.api.conftest import SQLITE_ALONE, Api, Serve, trace, until

ROUTES = [
    ("POST", "/api/traces", "ingest"),
    ("GET", "/api/traces", "read"),
    ("GET", "/api/traces/019a0000-0000-7000-8000-000000000001", "read"),
    ("POST", "/api/traces/019a0000-0000-7000-8000-000000000001/anonymize", "admin"),
    ("POST", "/api/registry", "publish"),
    ("GET", "/api/registry", "read"),
    ("GET", "/api/registry/acme.default.git.log", "read"),
    ("DELETE", "/api/registry/acme.default.git.log", "publish"),
    ("GET", "/api/stats", "read"),
    ("GET", "/api/suggest", "read"),
    ("GET", "/api/learning", "read"),
    ("GET", "/metrics", "admin"),
]


@SQLITE_ALONE
@pytest.mark.parametrize(("method", "path", "_scope"), ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": "bj_" + "x" * 32},
        {"x-api-key": "bj_' OR '1'='1"},
        {"x-api-key": "k" * 5000},
        {"x-api-key": "\u00e9".encode("latin-1")},
        {"authorization": "Basic Ymo6eA=="},
        {"authorization": "Bearer"},
        {"authorization": "Bearer bj_nothing"},
    ],
    ids=str,
)
def test_without_a_valid_key(api: Api, method: str, path: str, _scope: str, headers: dict[str, str]) -> None:
    """F36: 401 on every route, in the same words whatever is wrong with the key, and with a challenge."""
    answer = api.client("").request(method, path, headers=headers, content=b"[]")
    assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@SQLITE_ALONE
@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
def test_every_route_needs_its_scope(api: Api, method: str, path: str, scope: str) -> None:
    """F36: a key with all other scopes is refused with 403; one with the scope, or with admin, gets past that."""
    others = [each.value for each in keys.Scope if each.value not in (scope, "admin")]
    refused = api.client(api.key("default", *others)).request(method, path)
    assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")
    for given in {scope, "admin"}:
        assert api.client(api.key("default", given)).request(method, path).status_code not in (401, 403)


def test_both_ways_to_send_a_key(api: Api) -> None:
    """x-api-key or Bearer; two that differ are no key."""
    key, other = api.key(), api.key()
    client = api.client("")
    assert client.get("/api/traces", headers={"x-api-key": key}).status_code == 200
    assert client.get("/api/traces", headers={"authorization": f"bearer {key}"}).status_code == 200
    assert client.get("/api/traces", headers={"authorization": f"Bearer {key}", "x-api-key": key}).status_code == 200
    assert client.get("/api/traces", headers={"authorization": f"Bearer {key}", "x-api-key": other}).status_code == 401
    assert client.get("/api/traces", headers=[("x-api-key", key), ("x-api-key", other)]).status_code == 401


def test_a_revoked_key(api: Api) -> None:
    """Ends at once, on connections that are open, too."""
    made = keys.create_key(api.db, now=datetime.now(UTC))
    client = api.client(made.key)
    assert client.get("/api/traces").status_code == 200
    assert keys.revoke_key(api.db, made.id, now=datetime.now(UTC))
    assert client.get("/api/traces").status_code == 401


def test_an_expired_key(api: Api) -> None:
    """F36: is answered like any other that is not valid."""
    end = datetime.now(UTC) - timedelta(seconds=1)
    made = keys.create_key(api.db, expires_at=end, now=end - timedelta(days=1))
    expired = api.client(made.key).get("/api/traces")
    unknown = api.client("bj_" + "x" * 32).get("/api/traces")
    assert (expired.status_code, expired.json()["detail"]) == (401, unknown.json()["detail"])


def test_a_revoked_key_stores_nothing(api: Api) -> None:
    """F36: a key that was good a moment ago has its batch read first; revoked, it is told so and nothing is stored."""
    made = keys.create_key(api.db, now=datetime.now(UTC))
    client, reader = api.client(made.key), api.client(api.key())
    for _ in range(2):
        assert client.post("/api/traces", json=[trace()]).json()["stored"] == 1
    assert keys.revoke_key(api.db, made.id, now=datetime.now(UTC))
    for body in ([trace()], [], [{"no": "trace"}]):
        answer = client.post("/api/traces", json=body)
        assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert len(reader.get("/api/traces").json()["traces"]) == 2


def test_only_a_good_key_may_have_its_body_read(api: Api) -> None:
    """F36: a stranger's, or a large one, is not waited for: the answer comes before the body."""
    good, length = api.key(), {"content-length": "100", "content-type": "application/json"}
    assert api.client(good).post("/api/traces", json=[]).status_code == 200
    for key, large, status in (
        ("bj_" + "x" * 32, False, 401),
        (api.key("default", "read"), False, 403),
        (good, True, 413),
    ):
        head = length | {"content-length": str(9 << 20)} if large else length
        connection = http.client.HTTPConnection(*api.address, timeout=20)
        connection.putrequest("POST", "/api/traces")
        for name, value in (head | {"x-api-key": key}).items():
            connection.putheader(name, value)
        connection.endheaders(b"[")  # and no more
        assert connection.getresponse().status == status
        connection.close()


def test_another_tenant_sees_nothing(api: Api) -> None:
    """F38, F41: another tenant's trace is 404, not in lists and counts; the same id there is a trace of its own."""
    mine, theirs = api.client(api.key("mine")), api.client(api.key("theirs"))
    one = trace()
    assert mine.post("/api/traces", json=[one]).json()["stored"] == 1
    assert theirs.get(f"/api/traces/{one['traceId']}").status_code == 404
    assert theirs.get("/api/traces").json()["traces"] == []
    assert theirs.get("/api/stats").json()["total"]["count"] == 0
    child = trace(parentTraceId=one["traceId"])
    assert theirs.post("/api/traces", json=[{**one, "durationMs": 7}, child]).json()["stored"] == 2
    assert mine.get(f"/api/traces/{one['traceId']}").json()["durationMs"] == 12.5
    assert mine.get(f"/api/traces/{one['traceId']}").json()["children"] == []
    assert theirs.get(f"/api/traces/{one['traceId']}").json()["children"][0]["traceId"] == child["traceId"]


def test_a_key_that_is_too_fast(serve: Serve) -> None:
    """F36: 429 with Retry-After in whole seconds, per key; nothing is stored. Another key is not touched."""
    api = serve(rate_per_s=0.05, rate_burst=3)
    client, other = api.client(), api.client()
    answers = [client.post("/api/traces", json=[trace()]) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[3].headers["retry-after"]) <= 20
    assert answers[3].json()["code"] == "RATE_LIMITED"
    assert other.post("/api/traces", json=[trace()]).status_code == 200
    assert len(other.get("/api/traces").json()["traces"]) == 4


def test_no_key_is_in_a_log(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """F83: neither good nor bad keys, nor queries, are logged, at any level; the key's id is."""
    caplog.set_level(logging.DEBUG)
    good = api.key()
    api.client(good).get("/api/traces", params={"text": "sesame"})
    api.client("bj_sesame").get("/api/traces")

    def lines() -> list[str]:
        ours = [record for record in caplog.records if record.name.startswith("belljar")]
        return [f"{record.getMessage()} {vars(record)}" for record in ours]

    # A request is logged after its answer is on its way.
    until(lambda: sum(line.startswith("request ") for line in lines()) == 2)
    said = lines()
    assert not [line for line in said if "sesame" in line or good in line]


def test_open_to_all(serve: Serve) -> None:
    """--no-auth: no key is asked for; but a page of another site may not write, and only loopback may be open."""
    api = serve(no_auth=True)
    client: httpx2.Client = api.client("")
    one = trace()
    assert client.post("/api/traces", json=[one]).json()["stored"] == 1
    assert client.get(f"/api/traces/{one['traceId']}").status_code == 200
    assert client.post("/api/traces", json=[one], headers={"origin": "https://evil.example"}).status_code == 403
    assert client.post("/api/traces", json=[one], headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert client.post("/api/traces", json=[one], headers={"origin": api.url}).status_code == 200
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.com"):
        with pytest.raises(ConfigError, match="this machine alone"):
            Settings(database="", host=host, no_auth=True)
