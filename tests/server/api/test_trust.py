"""GET /api/trust: evidence for what was asked for, of one's own tenant, to who may read; nonsense is refused."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.server.api.conftest import SQLITE_ALONE, Api, task, trace

CODE = "local.default.git.release_notes." + "a" * 64


def ask(client: httpx2.Client, tools: str = "git:*", capability: str = CODE) -> httpx2.Response:
    return client.get("/api/trust", params={"capability": capability, "tools": tools})


def test_evidence(api: Api, client: httpx2.Client) -> None:
    """F49: what runs came to, for the one who asks; another key of the tenant is told that it is not its own."""
    assert ask(client).json() == {"capability": CODE, "tools": []}
    failed = trace(success=False, taskResults=[task(success=False, state="failed")])
    assert client.post("/api/traces", json=[*(trace() for _ in range(4)), failed]).json()["stored"] == 5
    (found,) = ask(client).json()["tools"]
    assert found["tool"] == "git:git_log"
    for seen in (found["overall"], found["capability"]):
        assert (seen["n"], seen["nFailed"], seen["keys"], seen["own"]) == (5, 1, 1, True)
        assert 3.5 < seen["successes"] < 4
        assert 0.9 < seen["failures"] <= 1
    (found,) = ask(api.client(api.key("default", "read")), "git:git_log,no:such").json()["tools"]
    assert (found["overall"]["keys"], found["overall"]["own"]) == (1, False)
    assert ask(api.client(api.key("stranger", "read"))).json()["tools"] == []


@SQLITE_ALONE
@pytest.mark.parametrize(
    "query",
    [
        {},
        {"capability": CODE},
        {"tools": "*"},
        {"capability": CODE[:-60], "tools": "*"},
        {"capability": "git:release_notes", "tools": "*"},
        {"capability": "x" * 401, "tools": "*"},
        {"capability": "\x00", "tools": "*"},
        {"capability": CODE, "tools": ""},
        {"capability": CODE, "tools": "git"},
        {"capability": CODE, "tools": "git:a,,git:b"},
        {"capability": CODE, "tools": "git:\x1b"},
        {"capability": CODE, "tools": ",".join(["a:b"] * 65)},
        {"capability": CODE, "tools": "a:" + "b" * 4000},
    ],
    ids=repr,
)
def test_nonsense_is_refused(client: httpx2.Client, query: dict[str, Any]) -> None:
    """F37: 400 and a problem document, whatever stands in the query."""
    answer = client.get("/api/trust", params=query)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json()["detail"].isprintable()


@SQLITE_ALONE
def test_who_may_ask(api: Api) -> None:
    """The scope is `read`; a key that may only send is told nothing."""
    assert ask(api.client(api.key("default", "ingest"))).status_code == 403
    assert ask(api.client("")).status_code == 401
