"""/api/suggest and /api/learning: the next step, with what speaks for it."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.server.api.conftest import Api, task, trace


def ran(
    client: httpx2.Client, name: str, *tools: str, times: int = 1, success: bool = True, **changes: Any
) -> list[str]:
    """Send runs of a capability that called these tools; their ids, the newest last."""
    ids = list[str]()
    for _ in range(times):
        tasks = [task(i, tool=tool, source=changes.get("source", "real")) for i, tool in enumerate(tools)]
        more = {key: value for key, value in changes.items() if key != "source"}
        one = trace(capabilityId=f"local.default.{name}.a7f3", success=success, taskResults=tasks, **more)
        assert client.post("/api/traces", json=[one]).json()["stored"] == 1
        ids.append(one["traceId"])
    return ids


def suggest(client: httpx2.Client, **query: Any) -> dict[str, Any]:
    answer = client.get("/api/suggest", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def names(answer: dict[str, Any]) -> list[str]:
    return [each.get("capabilityId") or each["tool"] for each in answer["suggestions"]]


def test_an_empty_server_knows_nothing(client: httpx2.Client) -> None:
    """F48: it abstains, and says so, whatever it is asked."""
    for query in ({}, {"intent": "release notes"}, {"context": "git:git_log"}, {"goal": "git:git_log"}):
        assert suggest(client, **query) == {"suggestions": [], "abstained": True, "model": "counts"}


def test_a_capability_for_an_intent(client: httpx2.Client) -> None:
    """F48: what fits the words, the more reliable one first, with rate, interval, count and traces as evidence."""
    ran(client, "git.release_notes_old", "git:log", times=6, success=False, intent="write the release notes")
    ids = ran(client, "git.release_notes", "git:log", times=6, intent="write the release notes")
    ran(client, "weather.forecast", "sky:look", times=6, intent="will it rain tomorrow")
    answer = suggest(client, intent="notes for the next release")
    assert names(answer) == ["local.default.git.release_notes.a7f3", "local.default.git.release_notes_old.a7f3"]
    best, worst = answer["suggestions"]
    assert (best["n"], best["successRate"], worst["successRate"]) == (6, 1.0, 0.0)
    assert best["interval"][0] < 1.0 == best["interval"][1]
    assert set(best["evidence"]) <= set(ids)
    assert len(best["evidence"]) == 5
    assert best["score"] > worst["score"] > 0
    assert not answer["abstained"]


def test_words_that_fit_nothing_are_met_with_silence(client: httpx2.Client) -> None:
    """F48: no guess where nothing fits."""
    ran(client, "git.release_notes", "git:log", times=3)
    assert suggest(client, intent="quantum chromodynamics")["abstained"]


def test_the_next_tool(client: httpx2.Client) -> None:
    """F48: what came next after these very calls; where they were never made, after the last of them."""
    ran(client, "a.one", "git:log", "git:show", "mail:send", times=4)
    ids = ran(client, "a.two", "git:log", "git:diff", times=2)
    ran(client, "a.three", "chat:read", "git:show", "chat:post", times=3)
    assert names(suggest(client, context="git:log")) == ["git:show", "git:diff"]
    after = suggest(client, context="git:log,git:show")
    assert names(after)[0] == "mail:send"
    assert names(suggest(client, context="never:seen,git:show")) == ["mail:send", "chat:post"]
    diff = suggest(client, context="git:log")["suggestions"][1]
    assert (diff["n"], set(diff["evidence"])) == (2, set(ids))


def test_a_tool_that_fails_is_suggested_less(client: httpx2.Client) -> None:
    """F46: as often as another one, but its runs fail: below it."""
    ran(client, "a.one", "git:log", "s:bad", times=8, success=False)
    ran(client, "a.two", "git:log", "s:good", times=8)
    assert names(suggest(client, context="git:log")) == ["s:good", "s:bad"]


def test_the_way_to_a_goal(client: httpx2.Client) -> None:
    """F48: the calls most likely to end well at the goal, not those most often made."""
    ran(client, "a.direct", "s:flaky", "s:goal", times=9, success=False)
    ran(client, "a.round", "s:first", "s:second", "s:goal", times=5)
    answer = suggest(client, goal="s:goal")
    assert [step["tool"] for step in answer["path"]] == ["s:first", "s:second", "s:goal"]
    assert all(step["evidence"] for step in answer["path"])
    assert "path" not in suggest(client, goal="s:nowhere")


def test_mocked_runs_suggest_nothing(client: httpx2.Client) -> None:
    """F82: what only fakes answered is neither a suggestion nor evidence."""
    ran(client, "a.one", "s:x", "s:y", times=5, source="fake")
    assert suggest(client)["abstained"]
    assert suggest(client, context="s:x")["abstained"]


def test_tenants_do_not_see_each_other(client: httpx2.Client, api: Api) -> None:
    """Another tenant's runs are as if they were not."""
    ran(client, "a.one", "s:x", times=3)
    other = api.client(api.key("stranger", "read"))
    assert suggest(other)["abstained"]
    assert other.get("/api/learning").json()["known"] == {}


def test_what_was_learned(client: httpx2.Client) -> None:
    """F43: counts of things, the Brier score falling as runs repeat themselves, and what surprised most."""
    ran(client, "a.one", "s:x", "s:y", times=30)
    (odd,) = ran(client, "a.one", "s:x", "s:y", success=False, timestamp="2026-01-03T00:00:00Z")
    state = client.get("/api/learning").json()
    assert state["model"] == "counts"
    assert state["known"]["tool"] == {"things": 2, "n": 62}
    assert state["known"]["path"]["things"] == 2
    assert state["mostSurprising"][0]["traceId"] == odd
    assert sum(part["traces"] for part in state["surprise"]) == 31
    first, *_, later, _last = [part["brier"] for part in state["surprise"]]
    assert later < first


@pytest.mark.parametrize("scope", ["ingest", "publish"])
def test_reading_needs_the_scope(api: Api, scope: str) -> None:
    """A key that may only send is told nothing."""
    client = api.client(api.key("default", scope))
    for path in ("/api/suggest", "/api/learning"):
        assert client.get(path).status_code == 403
