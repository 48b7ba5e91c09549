"""GET /api/traces and /api/stats: lists, pages, trees, entity tags, figures."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.server.api.conftest import Api, task, trace


def post(client: httpx2.Client, *traces: dict[str, Any]) -> None:
    answer = client.post("/api/traces", json={"traces": list(traces)})
    assert answer.json()["stored"] == len(traces), answer.text


def ids(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["traceId"] for one in answer.json()["traces"]]


def test_pages_follow_one_another(client: httpx2.Client) -> None:
    """F41, F85: the newest first; Link and cursor lead through all, each once, also while others are stored."""
    batch = [trace(timestamp=f"2026-01-02T03:04:{second:02}Z") for second in range(25)]
    post(client, *batch)
    seen: list[str] = []
    path = "/api/traces?limit=10&success=true"
    while path:
        answer = client.get(path)
        seen += ids(answer)
        post(client, trace(timestamp="2026-03-03T03:03:03Z"))
        link = answer.links.get("next", {}).get("url", "")
        assert parse_qs(urlsplit(link).query).get("cursor", [None])[0] == answer.json()["next"]
        assert not link or "success=true" in link
        path = link
    assert seen == [one["traceId"] for one in reversed(batch)]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {"a", "b", "c"}),
        ("success=false", {"b"}),
        ("capability=git:log", {"b"}),
        ("capability=local.default.git.release_notes", {"a", "c"}),
        ("workflow=w1", {"a"}),
        ("tool=mail:send", {"b"}),
        ("mocked=true", {"c"}),
        ("text=BOOM", {"b"}),
        ("text=%25", set()),
        ("since=2026-02-01T00:00:00Z", {"b", "c"}),
        ("since=2026-02-01", {"b", "c"}),
        ("until=2026-02-01T00:00:00%2B00:00", {"a"}),
        ("roots=true", {"a", "b"}),
        ("success=true&mocked=false", {"a"}),
    ],
)
def test_filters(client: httpx2.Client, query: str, found: set[str]) -> None:
    """F41: each filter by itself and together; text is text, not a pattern."""
    a = trace(workflowId="w1")
    b = trace(
        success=False,
        errorMessage="went boom",
        capabilityId="local.default.git.log.bbbb",
        taskResults=[task(tool="mail:send")],
        timestamp="2026-02-02T00:00:00Z",
    )
    c = trace(parentTraceId=a["traceId"], taskResults=[task(source="fake")], timestamp="2026-02-03T00:00:00Z")
    post(client, a, b, c)
    names = {one["traceId"]: name for name, one in (("a", a), ("b", b), ("c", c))}
    assert {names[each] for each in ids(client.get(f"/api/traces?{query}"))} == found


def test_a_tree_whose_parent_came_last(client: httpx2.Client) -> None:
    """F21, F85: children before their parent are linked; the tree has them all, as deep as was asked for."""
    root = trace()
    child = trace(parentTraceId=root["traceId"])
    grandchild = trace(parentTraceId=child["traceId"])
    post(client, grandchild, child)
    post(client, root)
    tree = client.get(f"/api/traces/{root['traceId']}").json()
    assert tree["children"][0]["traceId"] == child["traceId"]
    assert tree["children"][0]["children"][0]["traceId"] == grandchild["traceId"]
    shallow = client.get(f"/api/traces/{root['traceId']}?depth=1").json()
    assert shallow["children"][0].get("children", []) == []


def test_a_trace_that_did_not_change_is_not_sent_again(client: httpx2.Client) -> None:
    """ETag and If-None-Match: 304 without a body; a child that arrives changes the tag."""
    one = trace()
    post(client, one)
    path = f"/api/traces/{one['traceId']}"
    tag = client.get(path).headers["etag"]
    for known in (tag, f'"x", W/{tag}', "*"):
        again = client.get(path, headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert client.get(path, headers={"if-none-match": '"other"'}).status_code == 200
    post(client, trace(parentTraceId=one["traceId"]))
    assert client.get(path, headers={"if-none-match": tag}).status_code == 200


def test_a_trace_is_made_nobodys(client: httpx2.Client, api: Api) -> None:
    """F41: arguments, results and texts are gone for good; the shape stays; another tenant's is 404, and stays."""
    planted = "what nobody may read"
    one = trace(intent=planted, taskResults=[task(args={"a": planted}, result=[planted])], success=True)
    post(client, one)
    path = f"/api/traces/{one['traceId']}"
    tag = client.get(path).headers["etag"]
    assert api.client(api.key("other", "admin")).post(f"{path}/anonymize").status_code == 404
    assert planted in client.get(path).text
    done = client.post(f"{path}/anonymize")
    assert done.status_code == 200
    back = client.get(path, headers={"if-none-match": tag})
    for text in (done.text, back.text, client.get("/api/traces").text):
        assert planted not in text
    assert (back.json()["taskResults"][0]["tool"], back.json()["durationMs"]) == ("git:git_log", 12.5)
    assert "userId" not in back.json()
    assert client.post("/api/traces", json=[one]).json()["duplicates"] == 1
    assert planted not in client.get(path).text
    assert client.post("/api/traces/not-an-id/anonymize").status_code == 404


def test_stats(client: httpx2.Client) -> None:
    """F41: counts, success rates and latencies of all, by capability and by tool."""
    post(client, *(trace(success=n > 0, durationMs=10.0 * (n + 1)) for n in range(4)))
    stats = client.get("/api/stats").json()
    assert (stats["total"]["count"], stats["total"]["successRate"]) == (4, 0.75)
    assert stats["capabilities"][0]["count"] == 4
    assert stats["tools"][0]["name"] == "git:git_log"
    assert client.get("/api/stats?since=2030-01-01").json()["total"]["count"] == 0


def test_capabilities_are_resolved(api: Api) -> None:
    """F38: a published capability's traces carry its UUID; unknown, malformed and another tenant's do not."""
    import hashlib

    mine, theirs = api.client(api.key("mine")), api.client(api.key("theirs"))
    code = "async def main(): return 1"
    digest = hashlib.sha256(code.encode()).hexdigest()
    made = mine.post("/api/registry", json={"fqdn": "acme.default.git.log", "code": code, "sha256": digest})
    assert made.status_code == 201, made.text
    fqdn = f"acme.default.git.log.{digest[:4]}"
    known = trace(capabilityId=fqdn, capabilityHash=digest)
    unknown, malformed = trace(capabilityId="acme.default.git.other.aaaa"), trace(capabilityId="not a name")
    post(mine, known, unknown, malformed)
    post(theirs, known)
    uuids = [
        mine.get(f"/api/traces/{one['traceId']}").json().get("capabilityUuid") for one in (known, unknown, malformed)
    ]
    assert uuids == [made.json()["id"], None, None]
    assert theirs.get(f"/api/traces/{known['traceId']}").json().get("capabilityUuid") is None
