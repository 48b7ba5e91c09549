"""/api/registry: publish, fetch, list, yank."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx2
import pytest

from tests.server.api.conftest import SQLITE_ALONE, Api

CODE = "async def main(n: int):\n    return n\n"


def capability(code: str = CODE, **changes: Any) -> dict[str, Any]:
    return {
        "fqdn": "acme.default.git.log",
        "code": code,
        "sha256": hashlib.sha256(code.encode()).hexdigest(),
        "description": "größer",
        "schema": {"type": "object"},
        "servers": ["git"],
        "permissions": ["git:git_log"],
        **changes,
    }


def test_published_and_fetched(client: httpx2.Client) -> None:
    """F39: 201 when new, 200 for the same again; found by 4 parts, 5 parts and by its whole hash, with its code."""
    body = capability()
    made = client.post("/api/registry", json=body)
    assert made.status_code == 201, made.text
    assert client.post("/api/registry", json=body).status_code == 200
    fqdn = f"{body['fqdn']}.{body['sha256'][:4]}"
    for name in (body["fqdn"], fqdn, body["sha256"]):
        found = client.get(f"/api/registry/{name}").json()
        assert (found["fqdn"], found["sha256"], found["code"]) == (fqdn, body["sha256"], CODE)
        assert (found["description"], found["schema"], found["permissions"]) == (
            "größer",
            {"type": "object"},
            ["git:git_log"],
        )
    tag = client.get(f"/api/registry/{fqdn}").headers["etag"]
    assert client.get(f"/api/registry/{fqdn}", headers={"if-none-match": tag}).status_code == 304


def test_listed_and_yanked(client: httpx2.Client) -> None:
    """Lists page by name and hold no code; what is yanked is found by its hash alone, and marked."""
    for name in ("a", "b", "c"):
        client.post("/api/registry", json=capability(fqdn=f"acme.default.git.{name}"))
    first = client.get("/api/registry?limit=2")
    assert [each["fqdn"].split(".")[3] for each in first.json()["capabilities"]] == ["a", "b"]
    assert not any(each.get("code") for each in first.json()["capabilities"])
    assert [each["fqdn"].split(".")[3] for each in client.get(first.links["next"]["url"]).json()["capabilities"]] == [
        "c"
    ]
    exact = client.get("/api/registry/acme.default.git.a").json()["fqdn"]
    tag = client.get(f"/api/registry/{exact}").headers["etag"]
    assert client.delete(f"/api/registry/{exact}").status_code == 204
    assert client.get("/api/registry/acme.default.git.a").status_code == 404
    marked = client.get(f"/api/registry/{exact}", headers={"if-none-match": tag})
    assert marked.status_code == 200
    assert marked.json()["yankedAt"]
    assert client.delete("/api/registry/acme.default.git.zzz.abcd").status_code == 404


def test_an_org_belongs_to_a_tenant(api: Api) -> None:
    """F38: another tenant cannot publish under it, and does not see what is there."""
    mine, theirs = api.client(api.key("mine")), api.client(api.key("theirs"))
    assert mine.post("/api/registry", json=capability()).status_code == 201
    refused = theirs.post("/api/registry", json=capability("other = 1"))
    assert (refused.status_code, refused.json()["code"]) == (403, "ORG_TAKEN")


@SQLITE_ALONE
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "the body"),
        ({}, "fqdn"),
        (capability(fqdn="../../x"), ""),
        (capability(fqdn="A.b.c.d"), ""),
        (capability(sha256="0" * 64), ""),
        (capability(sha256="ABC"), "sha256"),
        ({**capability(), "code": 7}, "code"),
        (capability(schema=[]), "schema"),
        (capability(servers="git"), "servers"),
        (capability(permissions=["x"] * 1000), "permissions"),
        (capability(extra="field"), "extra"),
        (capability(code="x = 1\n" * 100_000), ""),
    ],
)
def test_what_is_no_capability(client: httpx2.Client, body: Any, words: str) -> None:
    """400 naming the field; nothing of the value."""
    answer = client.post("/api/registry", json=body)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["detail"]


@SQLITE_ALONE
@pytest.mark.parametrize("name", ["..%2f..", "%00", "a.b.c.d.zzzz", "x" * 300, "%27%20OR%201=1", "git:log"])
def test_odd_names(client: httpx2.Client, name: str) -> None:
    """No such capability, whatever is asked for."""
    assert client.get(f"/api/registry/{name}").status_code in (400, 404)
