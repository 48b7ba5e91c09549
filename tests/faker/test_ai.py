"""A model in the target's place: a real endpoint on this machine that answers like an OpenAI-compatible one."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from belljar.errors import ConfigError
from belljar.faker.ai import ChatCompleter, ChatSettings, chat_settings
from belljar.faker.calls import Tool
from belljar.faker.overlay import Changes, Overlay
from belljar.faker.world import FakeWorld, WorldOptions, open_world
from belljar.tracing.outbound import Outbound
from belljar.tracing.sanitizer import Sanitizer
from tests.faker.tracker import Client, text_of, value_of
from tests.faker.wire import Wire, faker

pytestmark = pytest.mark.anyio

_LIES = str(Path(__file__).parents[1] / "fixtures" / "servers" / "lies.py")
_ISSUES = {"type": "array", "items": {"type": "object"}}
_SCHEMA = {"type": "object", "properties": {"issues": _ISSUES}, "required": ["issues"]}


class _Endpoint:
    """Keeps what it was asked, and answers with what `say` gives: a text, a status, or raw bytes."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.say: Callable[[dict[str, Any]], str | int | bytes] = lambda _: "{}"
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                endpoint.asked.append(body)
                endpoint.keys.append(self.headers["authorization"])
                said = endpoint.say(json.loads(body["messages"][1]["content"]))
                status = said if isinstance(said, int) else 200
                completion = {"choices": [{"message": {"role": "assistant", "content": said}}]}
                data = said if isinstance(said, bytes) else json.dumps(completion).encode()
                self.send_response(status)
                self.send_header("location", "/elsewhere")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
def endpoint() -> Iterator[_Endpoint]:
    made = _Endpoint()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def _options(endpoint: _Endpoint, instruction: str = "", **more: Any) -> WorldOptions:
    settings = ChatSettings(endpoint.url, "m", "sk-secret", **more)
    return WorldOptions(instruction=instruction, ai=ChatCompleter(settings, Outbound(Sanitizer())))


def _issues(asked: dict[str, Any]) -> str:
    return "```json\n" + json.dumps({"text": json.dumps([{"number": 1, "title": asked["scenario"]}])}) + "\n```"


async def test_a_model_answers_reads_and_writes_are_laid_over(endpoint: _Endpoint) -> None:
    """F58: a model's answer is asked for once, depends on the instruction, and agrees with what is written later."""
    endpoint.say = _issues
    with open_world(_options(endpoint, "a cost spike")) as world:
        client = Client(world, None)
        first = await client("list_issues", repo="r")
        assert (first.source, first.ai, first.synthesized, first.real_used) == ("ai", True, True, False)
        assert value_of(first) == [{"number": 1, "title": "a cost spike"}]
        await client("create_issue", repo="r", title="mine")
        await client("update_issue", repo="r", issue_number=1, title="changed")
        assert [each["title"] for each in value_of(await client("list_issues", repo="r"))] == ["changed", "mine"]
    assert len(endpoint.asked) == 1
    assert endpoint.keys == ["Bearer sk-secret"]


async def test_prompts_are_masked(endpoint: _Endpoint) -> None:
    """What leaves for a model has passed the sanitizer."""
    endpoint.say = _issues
    with open_world(_options(endpoint)) as world:
        await Client(world, None)("search_issues", query="from kim@corp.example with 4556737586899855")
    sent = json.dumps(endpoint.asked)
    assert "kim@corp" not in sent
    assert "4556737586899855" not in sent
    assert "[EMAIL]" in sent


def test_a_server_s_secret_is_no_part_of_a_prompt(endpoint: _Endpoint, tmp_path: Path) -> None:
    """F58: what a faker's server is told stays between the two, and the second pass looks at a prompt as well."""
    endpoint.say = _issues
    env = {"BELLJAR_AI_URL": endpoint.url, "BELLJAR_AI_KEY": "key-of-the-model", "MY_TOKEN": "correct-horse-battery"}
    command = faker("--no-real", "--ai-instruction", "correct-horse-battery", "--", sys.executable, _LIES, "written")
    with Wire(command, state=tmp_path, env=env) as wire:
        wire.begin()
        wire.ask("tools/list")
        wire.call("get_it", query="correct-horse-battery key-of-the-model jörg@müller.de")
        assert wire.end()[0] == 0
    sent = json.dumps(endpoint.asked, ensure_ascii=False)
    assert "get_it" in sent
    for secret in ("correct-horse", "key-of-the", "müller"):
        assert secret not in sent


@pytest.mark.parametrize(
    "said",
    ["no JSON at all", '{"issues": "no list"}', 500, 302, b"no completion", b"[" * 100_000, b"x" * 600_000, "[NaN]"],
)
async def test_what_cannot_be_used_falls_back_to_the_generator(endpoint: _Endpoint, said: str | int | bytes) -> None:
    """F58: a model that fails, lies about the schema or says nothing usable is replaced by the seeded generator."""
    endpoint.say = lambda _: said
    tools = {"list_issues": Tool("list_issues", {"name": "list_issues", "outputSchema": _SCHEMA})}
    with open_world(_options(endpoint)) as world, open_world() as plain:
        reply = await Client(world, None, tools)("list_issues")
        assert (reply.source, reply.ai) == ("synthesized", False)
        assert reply.result == (await Client(plain, None, tools)("list_issues")).result


async def test_a_world_that_cannot_keep_an_answer_says_so(
    endpoint: _Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F58: a world file that is locked or full is an answer that says so, and never an exception."""
    endpoint.say = _issues
    monkeypatch.setattr("belljar.faker.overlay._BUSY_S", 0.05)
    file = tmp_path / "world.db"
    with open_world(replace(_options(endpoint), world_file=file)) as world:
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert (await Client(world, None)("list_issues", repo="r")).is_error
        assert (await Client(world, None)("list_issues", repo="r")).source == "ai"
    options = _options(endpoint)
    with Overlay(max_bytes=10) as full:
        assert "ENOSPC" in text_of(await Client(FakeWorld(options, full), None)("list_labels"))


async def test_two_who_ask_at_once_are_told_the_same(endpoint: _Endpoint, tmp_path: Path) -> None:
    """F58, F80: one question has one answer, also where somebody writes before it is kept."""
    told = iter(range(9))
    endpoint.say = lambda _: json.dumps({"text": f"answer {next(told)}"})
    file = tmp_path / "world.db"
    with open_world(replace(_options(endpoint), world_file=file)) as one, Overlay(file) as other:
        commit = one._overlay.commit

        def late(*args: Any) -> bool:
            one._overlay.commit = commit
            other.refresh()
            changes = Changes(other)
            changes.set("else", "n", 1)
            assert changes.commit()
            return commit(*args)

        one._overlay.commit = late  # pyright: ignore[reportAttributeAccessIssue]
        said = [text_of(await Client(one, None)("list_labels")) for _ in range(2)]
    assert said[0] == said[1]
    assert len(endpoint.asked) == 1


async def test_a_silent_model_is_given_up(endpoint: _Endpoint) -> None:
    """No answer in time is no answer; the call does not wait for longer."""
    released = threading.Event()
    endpoint.say = lambda _: str(released.wait(20))
    with open_world(_options(endpoint, timeout_s=0.3)) as world:
        assert (await Client(world, None)("list_notes")).source == "synthesized"
    released.set()


async def test_a_model_is_not_asked_what_is_known(endpoint: _Endpoint) -> None:
    """Writes, and reads of what was written, need no model."""
    with open_world(_options(endpoint)) as world:
        client = Client(world, None)
        await client("write_note", name="n", content="c")
    assert endpoint.asked == []


def test_where_a_model_may_be() -> None:
    """https, or this machine; the key comes from the environment, and without a URL there is no model."""
    for url in ("http://example.com/v1", "ftp://127.0.0.1", "nonsense", "http://[", "http://127.0.0.1.example.com"):
        with pytest.raises(ConfigError):
            ChatSettings(url, "m")
    assert chat_settings({"OPENAI_API_KEY": "sk"}) is None
    found = chat_settings({"BELLJAR_AI_URL": "https://h/v1/", "BELLJAR_AI_KEY": "k", "BELLJAR_AI_MODEL": "m"})
    assert found == ChatSettings("https://h/v1", "m", "k")
