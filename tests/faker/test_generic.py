"""The world before a server nobody knows: what was written is read, nothing reaches the server, no model helps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from belljar.faker.calls import Tool
from belljar.faker.faults import fault_of, faults_of_instruction
from belljar.faker.generate import Generator
from belljar.faker.world import FakeWorld, WorldOptions, open_world
from tests.faker.tracker import Client, Tracker, text_of, value_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def world() -> Iterator[FakeWorld]:
    with open_world() as opened:
        yield opened


@pytest.fixture
def client(world: FakeWorld) -> Client:
    return Client(world, Tracker())


def _tracker(client: Client) -> Tracker:
    assert client.tracker is not None
    return client.tracker


async def test_a_made_thing_is_read_listed_found_changed_and_deleted(client: Client) -> None:
    """F57: write, read, list, search, update, delete, list agree, beside what is real, and no write reaches it."""
    before = await client("list_issues", repo="r")
    assert (before.source, before.real_used) == ("real", True)
    made = await client("create_issue", repo="r", title="mine", body="why")
    assert made.intercepted
    number = value_of(made)["number"]
    assert isinstance(number, int)
    got = await client("get_issue", repo="r", issue_number=number)
    assert (value_of(got)["title"], value_of(got)["body"], got.source) == ("mine", "why", "overlay")
    listed = value_of(await client("list_issues", repo="r"))
    assert [each["title"] for each in listed["issues"]] == ["real 1", "real 2", "real 3", "mine"]
    assert listed["total_count"] == 4
    assert {"number", "title", "state", "id"} <= set(listed["issues"][3])
    await client("update_issue", repo="r", issue_number=number, title="ours")
    assert value_of(await client("get_issue", repo="r", issue_number=number))["title"] == "ours"
    assert "ours" in text_of(await client("search_issues", query="ours"))
    assert "ours" not in text_of(await client("search_issues", query="theirs"))
    await client("delete_issue", repo="r", issue_number=number)
    assert value_of(await client("list_issues", repo="r"))["total_count"] == 3
    gone = await client("get_issue", repo="r", issue_number=number)
    assert gone.is_error
    assert set(_tracker(client).asked) == {"list_issues", "search_issues"}


async def test_a_real_thing_is_changed_and_deleted_in_the_overlay(client: Client) -> None:
    """F57: an update of a real thing shows in reads and lists of it, a deleted one is in neither."""
    await client("update_issue", repo="r", issue_number=2, title="changed")
    assert value_of(await client("get_issue", repo="r", issue_number=2)) == {
        "number": 2, "title": "changed", "state": "open", "id": 502,
    }  # fmt: skip
    await client("close_issue", repo="r", issue_number=1)
    await client("delete_issue", repo="r", issue_number=3)
    listed = value_of(await client("list_issues", repo="r"))
    assert [(each["number"], each["title"], each["state"]) for each in listed["issues"]] == [
        (1, "real 1", "closed"),
        (2, "changed", "open"),
    ]
    shown = value_of(await client("list_issues", repo="r", state="open"))
    assert [each["number"] for each in shown["issues"]] == [2]
    assert (await client("delete_issue", repo="r", issue_number=3)).is_error
    assert _tracker(client).issues[2]["title"] == "real 2"


async def test_what_lies_elsewhere_is_not_shown(client: Client) -> None:
    """A thing made in one place is not in the list of another."""
    await client("create_issue", repo="r", title="mine")
    assert value_of(await client("list_issues", repo="other"))["total_count"] == 3
    await client("delete_issue", repo="other", issue_number=1)
    assert value_of(await client("list_issues", repo="r"))["total_count"] == 4


async def test_texts_are_written_appended_renamed_and_deleted(client: Client) -> None:
    """F57: notes that are plain text and lists that are lines behave like files."""
    await client("write_note", name="a.txt", content="one")
    await client("append_note", name="a.txt", content=" two")
    assert text_of(await client("read_note", name="a.txt")) == "one two"
    await client("append_note", name="x.txt", content=" and more")
    assert text_of(await client("read_note", name="x.txt")) == "the text of x and more"
    await client("rename_note", old_name="a.txt", new_name="b.txt")
    assert text_of(await client("list_notes")) == "- x.txt\n- y.txt\n- b.txt"
    assert text_of(await client("read_note", name="b.txt")) == "one two"
    assert (await client("read_note", name="a.txt")).is_error
    await client("rename_note", old_name="y.txt", new_name="z.txt")
    assert text_of(await client("read_note", name="z.txt")) == "the text of y"
    await client("write_note", name="a.txt", content="again")
    assert text_of(await client("read_note", name="a.txt")) == "again"
    await client("delete_note", name="x.txt")
    assert sorted(text_of(await client("list_notes")).split("\n")) == ["- a.txt", "- b.txt", "- z.txt"]


async def test_many_are_made_at_once(client: Client) -> None:
    """Each thing of a list becomes one; a list of plain names gets the new names, in text and structure."""
    await client("create_labels", labels=[{"name": "new"}, {"name": "bug"}])
    listed = await client("list_labels")
    assert listed.result["structuredContent"] == {"labels": ["bug", "idea", "new"]}
    assert value_of(listed) == {"labels": ["bug", "idea", "new"]}


def _named(*listed: str) -> dict[str, Tool]:
    """Tools with these names and untyped arguments: `post_message channel_id text`."""
    tools: dict[str, Tool] = {}
    for line in listed:
        name, *arguments = line.split()
        schema = {"type": "object", "properties": {each: {} for each in arguments}}
        tools[name] = Tool(name, {"name": name, "inputSchema": schema})
    return tools


@pytest.fixture
def empty() -> Iterator[FakeWorld]:
    """A world in which nothing is made up."""
    with open_world(WorldOptions(instruction="an empty account")) as opened:
        yield opened


async def test_chats(empty: FakeWorld) -> None:
    """F57: a message is in the history of its channel and of no other one, a reply among those of its thread."""
    client = Client(empty, None, _named(
        "slack_post_message channel_id text", "slack_reply_to_thread channel_id thread_ts text",
        "slack_get_channel_history channel_id", "slack_get_thread_replies channel_id thread_ts",
    ))  # fmt: skip
    made = value_of(await client("slack_post_message", channel_id="C1", text="hi"))
    await client("slack_reply_to_thread", channel_id="C1", thread_ts=made["id"], text="re")
    assert "hi" in text_of(await client("slack_get_channel_history", channel_id="C1"))
    assert "re" in text_of(await client("slack_get_thread_replies", channel_id="C1", thread_ts=made["id"]))
    assert value_of(await client("slack_get_channel_history", channel_id="C2")) == []


async def test_tools_that_do_not_name_their_things(empty: FakeWorld) -> None:
    """F57: `search` and `fetch` find what `create-pages` made, by its properties and by its id."""
    client = Client(empty, None, _named(
        "notion-create-pages pages", "notion-search query", "notion-fetch id", "notion-update-page page_id properties",
        "notion-delete-page page_id",
    ))  # fmt: skip
    pages = [{"properties": {"title": "Alpha"}}, {"properties": {"title": "Beta"}}]
    alpha = value_of(await client("notion-create-pages", pages=pages))[0]["id"]
    assert [each["title"] for each in value_of(await client("notion-search", query="alph"))] == ["Alpha"]
    await client("notion-update-page", page_id=alpha, properties={"title": "Gamma"})
    assert value_of(await client("notion-fetch", id=alpha))["title"] == "Gamma"
    await client("notion-delete-page", page_id=alpha)
    assert [each["title"] for each in value_of(await client("notion-search", query=""))] == ["Beta"]


async def test_documents_chosen_by_a_filter(empty: FakeWorld) -> None:
    """F57: documents are inserted, found, updated and deleted by their fields."""
    client = Client(empty, None, _named(
        "insert-many database collection documents", "find database collection filter",
        "delete-many database collection filter", "update-many database collection filter update",
    ))  # fmt: skip
    place = {"database": "d", "collection": "c"}
    await client("insert-many", **place, documents=[{"a": 1}, {"a": 2}, {"a": 3}])
    assert [each["a"] for each in value_of(await client("find", **place, filter={"a": 2}))] == [2]
    await client("delete-many", **place, filter={"a": 1})
    await client("update-many", **place, filter={"a": 2}, update={"$set": {"b": "x"}})
    assert [each.get("b") for each in value_of(await client("find", **place))] == ["x", None]
    assert value_of(await client("find", database="d", collection="other")) == []


async def test_things_first_and_clearing(empty: FakeWorld) -> None:
    """F57: names that begin with the thing, ask for one by its plural, or clear all at once."""
    client = Client(empty, None, _named(
        "pods_run name image namespace", "pods_list namespace", "pods_get name namespace", "pods_delete name namespace",
        "addTodo text", "getTodos", "clearTodos",
    ))  # fmt: skip
    await client("pods_run", name="web", image="nginx", namespace="d")
    assert value_of(await client("pods_list", namespace="d"))[0]["name"] == "web"
    assert value_of(await client("pods_get", name="web", namespace="d"))["image"] == "nginx"
    await client("pods_delete", name="web", namespace="d")
    assert value_of(await client("pods_list", namespace="d")) == []
    await client("addTodo", text="milk")
    await client("clearTodos")
    assert value_of(await client("getTodos")) == []
    await client("addTodo", text="bread")
    assert [each["text"] for each in value_of(await client("getTodos"))] == ["bread"]


async def test_arguments_that_do_not_fit_are_refused(client: Client) -> None:
    """An intercepted write fails where the real tool would have refused the arguments, and changes nothing."""
    failed = await client("create_issue", repo="r", title=7)
    assert failed.is_error
    assert "$.title" in text_of(failed)
    assert value_of(await client("list_issues", repo="r"))["total_count"] == 3


async def test_an_unknown_tool_is_intercepted(client: Client) -> None:
    """F53: what nobody can judge is a write: it is answered and does not reach the target."""
    done = await client("frobnicate", what="it")
    assert (done.intercepted, done.is_error) == (True, False)
    assert _tracker(client).asked == []


async def test_without_a_target_things_are_made_up_and_stay() -> None:
    """F58: offline, a list is made up once and then agrees with what is read, written and deleted."""
    with open_world(WorldOptions(seed=5)) as world:
        client = Client(world, None)
        first = await client("list_issues", repo="r")
        assert (first.source, first.synthesized) == ("synthesized", True)
        assert (await client("list_issues", repo="r")).source == "cache"
        named = value_of(first)[0]["number"]
        assert value_of(await client("get_issue", repo="r", issue_number=named)) == value_of(first)[0]
        await client("create_issue", repo="r", title="mine")
        await client("delete_issue", repo="r", issue_number=named)
        titles = [each["title"] for each in value_of(await client("list_issues", repo="r"))]
        assert titles == [each["title"] for each in value_of(first)[1:]] + ["mine"]
        invented = value_of(await client("get_issue", repo="r", issue_number=77))
        assert invented["issue_number"] == 77
        assert invented["title"] in text_of(await client("list_issues", repo="r"))


async def _said(options: WorldOptions) -> list[str]:
    with open_world(options) as world:
        client = Client(world, None)
        calls = [client("list_issues", repo="r"), client("create_issue", repo="r", title="t"), client("list_notes")]
        return [text_of(await each) for each in calls]


async def test_the_seed_decides() -> None:
    """F58: the same seed gives the same bytes without any model; another seed or instruction gives others."""
    assert await _said(WorldOptions(seed=1)) == await _said(WorldOptions(seed=1))
    assert await _said(WorldOptions(seed=1)) != await _said(WorldOptions(seed=2))
    assert await _said(WorldOptions(seed=1)) != await _said(WorldOptions(seed=1, instruction="AWS cost spike"))


async def test_a_cached_answer_is_dropped_by_a_write() -> None:
    """F61: a kept answer is a hit with source `cache`, until something is written; what a target says is not kept."""
    with open_world() as world:
        client = Client(world, None)
        replies = [await client("list_issues", repo="r") for _ in range(3)]
        assert [reply.source for reply in replies] == ["synthesized", "cache", "cache"]
        assert (await client("list_issues", repo="q")).source == "synthesized"
        await client("write_note", name="n", content="c")
        assert (await client("list_issues", repo="r")).source == "synthesized"
    with open_world() as world:
        client = Client(world, Tracker())
        assert [(await client("list_issues", repo="r")).source for _ in range(2)] == ["real", "real"]


_SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"issue": {"$ref": "#/$defs/i"}}, "required": ["issue"], "$defs": {
        "i": {"type": "object", "properties": {"number": {"type": "integer"}, "title": {"type": "string"},
              "state": {"enum": ["open", "closed"]}, "parent": {"anyOf": [{"$ref": "#/$defs/i"}, {"type": "null"}]}},
              "required": ["number", "title", "state"], "additionalProperties": False}}},
    {"type": "object", "properties": {"key": {"type": "string", "pattern": "^[A-Z]{2,5}-[0-9]+$"},
     "at": {"type": "string", "format": "date-time"}, "share": {"type": "number", "minimum": 0, "maximum": 1}},
     "required": ["key", "at", "share"]},
    {"type": "object", "allOf": [{"properties": {"a": {"type": "integer", "multipleOf": 7}}, "required": ["a"]},
     {"oneOf": [{"properties": {"b": {"const": "x"}}, "required": ["b"]}]}]},
    {"type": "object", "properties": {"tags": {"type": "array", "items": {"type": "string"}, "minItems": 2,
     "uniqueItems": True}}, "required": ["tags", "else"], "additionalProperties": {"type": "boolean"}},
]  # fmt: skip


@pytest.mark.parametrize("schema", _SCHEMAS)
async def test_answers_are_valid_against_the_output_schema(world: FakeWorld, schema: dict[str, Any]) -> None:
    """F56: what is made up for a write or a read fits the tool's schema, holds what was given, and is also text."""
    import jsonschema

    tools = {
        name: Tool(name, {"name": name, "inputSchema": {"type": "object"}, "outputSchema": schema})
        for name in ("create_issue", "get_issue", "list_issues")
    }
    client = Client(world, None, tools)
    for reply in [
        await client("create_issue", title="given"),
        await client("get_issue", number=4),
        await client("list_issues", repo="r"),
    ]:
        jsonschema.validate(reply.result["structuredContent"], schema)
        assert value_of(reply) == reply.result["structuredContent"]
    if schema is _SCHEMAS[0]:
        made = await client("create_issue", title="given")
        assert made.result["structuredContent"]["issue"]["title"] == "given"


async def test_hostile_schemas_end_in_an_error(world: FakeWorld) -> None:
    """A schema that never ends, asks the network or fits nothing gives a tool error, at once."""
    for schema in (
        {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/x"}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"type": "string", "pattern": "(a{1000}){1000}"},
    ):
        tools = {"get_it": Tool("get_it", {"name": "get_it", "outputSchema": schema})}
        assert (await Client(world, None, tools)("get_it")).is_error


def test_generated_values_do_not_depend_on_order() -> None:
    """What is made for one question is the same whatever was made before."""
    schema = _SCHEMAS[0]
    one, other = Generator(3), Generator(3)
    other.value(schema, "something else")
    assert one.value(schema, "x") == other.value(schema, "x")


async def test_faults() -> None:
    """F59: a named error is a tool error with its words, an rpc error is one, and the share of calls is seeded."""
    faults = tuple(map(fault_of, ("write_note=ENOSPC@0.5", "list_*=rpc:-32603", "read_note=disconnect")))
    runs: list[list[bool]] = []
    for _ in range(2):
        with open_world(WorldOptions(seed=9, faults=faults)) as world:
            client = Client(world, Tracker())
            replies = [await client("write_note", name=f"n{n}", content="c") for n in range(40)]
            runs.append([reply.is_error for reply in replies])
            assert {reply.source for reply in replies} == {"fault", "overlay"}
            assert all("ENOSPC" in text_of(reply) for reply in replies if reply.is_error)
            assert (await client("list_notes")).error == {"code": -32603, "message": "made to fail"}
            broken = await client("read_note", name="x.txt")
            assert (broken.source, broken.is_error) == ("fault", True)
            assert _tracker(client).asked == []
    assert runs[0] == runs[1]
    assert 8 < sum(runs[0]) < 32


_ASKED = {
    "429 customers in a slow season": "",
    "a shop without rate limits and no slow disks, never throttled": "",
    "corrupt officials, a flaky character, an access log": "",
    "HTTP 429 now and then": "RATE_LIMIT",
    "a rate-limited API behind a flaky network": "RATE_LIMIT UNAVAILABLE",
    "slow disks; the disk is full": "ENOSPC latency",
    "permission denied on a read-only file system, EIO": "EACCES EROFS EIO",
}


async def test_an_instruction_asks_for_faults() -> None:
    """F59: without a model, a full disk in the instruction is a full disk for writes; reads go on."""
    for words, what in _ASKED.items():
        assert [fault.name for fault in faults_of_instruction(words)] == what.split(), words
    options = WorldOptions(instruction="Simulate filesystem errors: no space left (ENOSPC)")
    with open_world(options) as world:
        client = Client(world, Tracker())
        failed = await client("write_note", name="a", content="b")
        assert (failed.result["isError"], failed.source) == (True, "fault")
        assert not (await client("read_note", name="x.txt")).is_error
