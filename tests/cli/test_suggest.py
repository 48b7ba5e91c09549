"""`belljar suggest`: a real `belljar serve` that learned from traces, and servers that are not what they should be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.conftest import Belljar
from tests.cli.test_traces_list import Far, call, far, trace
from tests.registries import FakeRegistry, serving

__all__ = ["far"]

_ESC = "s:\x1b[31mred\u202e"


def test_help(belljar: Belljar) -> None:
    """Every option is named, and how the verb is used."""
    done = belljar("suggest", "--help")
    assert {"INTENT", "--context", "--goal", "--limit", "--config", "--debug", "--json"} <= set(done.out.split())
    assert "  belljar suggest" in done.out.split("Examples:")[1]


def test_suggest(belljar: Belljar, far: Far) -> None:
    """F48: nothing yet, said in words; then what fits, with its numbers and a trace; foreign text is escaped."""
    none = belljar("suggest", "release notes", env=far.env)
    assert (none.status, none.out) == (0, "")
    assert "knows nothing yet" in none.err
    tasks = [call("git:git_log"), call(_ESC, taskId="t2")]
    far.store(*(trace(n, intent="notes for a release", taskResults=tasks) for n in range(5)))
    shown = belljar("suggest", "release notes", "--goal", _ESC, env=far.env)
    assert shown.status == 0
    assert "local.default.git.release_notes.a7f3" in shown.out
    assert "ok 5 of 5" in shown.out
    way, first, second = shown.out.splitlines()[1:]
    assert way == r"the way to s:\x1b[31mred\u202e:"
    assert "git:git_log" in first
    assert r"s:\x1b[31mred\u202e" in second
    assert not {"\x1b", "\u202e"} & set(shown.out + shown.err)
    told = belljar("suggest", "--context", "git:git_log", "--json", env=far.env).json
    assert (told["suggestions"][0]["tool"], told["suggestions"][0]["n"]) == (_ESC, 5)


def test_without_a_server(belljar: Belljar) -> None:
    """Misuse, and what to set."""
    done = belljar("suggest", "x")
    assert done.status == 2
    assert "BELLJAR_CLOUD_URL" in done.err


_GOOD = {"tool": "a:b", "score": 0.5, "successRate": 1.0, "interval": [0, 1], "n": 1, "evidence": ["x"]}


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {"abstained": True},
        {"suggestions": [7]},
        {"suggestions": [{**_GOOD, "tool": 5}]},
        {"suggestions": [{**_GOOD, "interval": [0]}]},
        {"suggestions": [{**_GOOD, "n": "many"}]},
        {"suggestions": [{**_GOOD, "evidence": [1]}]},
        {"suggestions": [], "path": {}},
        {"suggestions": [_GOOD], "model": 7},
    ],
)
def test_an_answer_that_is_none(belljar: Belljar, answer: Any) -> None:
    """A server that answers something else: exit 4, one line, no traceback."""
    answer = {"model": "counts", **answer} if isinstance(answer, dict) else answer
    lying = FakeRegistry(instead=(200, {"content-type": "application/json"}, [json.dumps(answer).encode()]))
    with serving(lying) as url:
        done = belljar("suggest", "x", env={"BELLJAR_CLOUD_URL": url, "BELLJAR_API_KEY": "bj_" + "0" * 32})
    assert done.status == 4
    assert "its answer cannot be used" in done.err
    assert "Traceback" not in done.err


def test_who_ranked_is_said(belljar: Belljar) -> None:
    """F47: a model that ranks in place of counts is named, beside the answer and not in it; foreign text is escaped."""
    body = json.dumps({"suggestions": [_GOOD], "abstained": False, "model": f"shgat 3{_ESC}"}).encode()
    with serving(FakeRegistry(instead=(200, {"content-type": "application/json"}, [body]))) as url:
        done = belljar("suggest", "x", env={"BELLJAR_CLOUD_URL": url, "BELLJAR_API_KEY": "bj_" + "0" * 32})
    assert (done.status, done.out.split()[0]) == (0, "0.50")
    assert r"ranked by shgat 3s:\x1b" in done.err
    assert "shgat" not in done.out
