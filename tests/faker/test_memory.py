"""The fake graph against the real memory server: the same calls, on a file that is written to and one that is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from belljar.faker.world import WorldOptions, open_world
from tests.conftest import Needs
from tests.faker.servers import Faked, Server, digest_of

_LINES = [
    {"type": "entity", "name": "Ada", "entityType": "person", "observations": ["wrote notes"]},
    {"type": "entity", "name": "engine", "entityType": "machine", "observations": []},
    {"type": "relation", "from": "Ada", "to": "engine", "relationType": "describes"},
    {"type": "relation", "from": "Ada", "to": "nobody", "relationType": "knows"},
]


def _fill(folder: Path) -> None:
    (folder / "memory.jsonl").write_text("\n".join(map(json.dumps, _LINES)))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    canary, scratch = (tmp_path_factory.mktemp(name) for name in ("canary", "scratch"))
    _fill(canary)
    return canary, scratch


@pytest.fixture(scope="module")
def servers(folders: tuple[Path, Path], needs: Needs) -> Iterator[tuple[Server, Server]]:
    command = needs("server-memory")
    one, other = (Server(command, "memory", {"MEMORY_FILE_PATH": str(each / "memory.jsonl")}) for each in folders)
    with one, other:
        yield one, other


def _ops() -> st.SearchStrategy[list[tuple[str, dict[str, Any]]]]:
    name, text = st.sampled_from(["Ada", "engine", "Bob", "nobody"]), st.sampled_from(["wrote notes", "is here", "Ada"])
    kind = st.sampled_from(["person", "machine"])
    texts = st.lists(text, max_size=2, unique=True)
    entity = st.fixed_dictionaries({"name": name, "entityType": kind, "observations": texts})
    relation = st.fixed_dictionaries(
        {"from": name, "to": name, "relationType": st.sampled_from(["knows", "describes"])}
    )
    entities = st.lists(entity, max_size=3, unique_by=lambda each: str(each["name"]))
    # Key order is part of a repr, and of none of them.
    relations = st.lists(relation, max_size=2, unique_by=lambda each: json.dumps(each, sort_keys=True))
    added = st.lists(st.fixed_dictionaries({"entityName": name, "contents": texts}), max_size=2)
    dropped = st.lists(st.fixed_dictionaries({"entityName": name, "observations": texts}), max_size=2)
    return st.lists(
        st.one_of(
            st.tuples(st.just("create_entities"), st.fixed_dictionaries({"entities": entities})),
            st.tuples(st.just("create_relations"), st.fixed_dictionaries({"relations": relations})),
            st.tuples(st.just("add_observations"), st.fixed_dictionaries({"observations": added})),
            st.tuples(st.just("delete_entities"), st.fixed_dictionaries({"entityNames": st.lists(name, max_size=2)})),
            st.tuples(st.just("delete_observations"), st.fixed_dictionaries({"deletions": dropped})),
            st.tuples(st.just("delete_relations"), st.fixed_dictionaries({"relations": relations})),
            st.tuples(st.just("search_nodes"), st.fixed_dictionaries({"query": text | kind})),
            st.tuples(st.just("open_nodes"), st.fixed_dictionaries({"names": st.lists(name, max_size=2)})),
        ),
        min_size=1,
        max_size=8,
    )


def _plain(result: dict[str, Any] | Any) -> Any:
    """An answer; the order of a graph is not what this is about."""
    text = result["content"][0]["text"]
    if result.get("isError"):
        return "error", text
    if text[:1] in "[{":
        said = result["structuredContent"]
        shown = json.loads(text)
        assert shown == (said if isinstance(shown, dict) else next(iter(said.values())))
        return {key: sorted(map(json.dumps, each)) if key != "results" else each for key, each in said.items()}
    return text, result["structuredContent"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ops=_ops())
def test_it_answers_as_the_real_one_would(
    servers: tuple[Server, Server], folders: tuple[Path, Path], ops: list[tuple[str, dict[str, Any]]]
) -> None:
    """F55, F57: every answer is what the real server says of a graph changed so; the real file keeps its bytes."""
    before = digest_of(folders[0])
    _fill(folders[1])
    with open_world() as world:
        faked = Faked(world, servers[0])
        for tool, args in [*ops, ("read_graph", {})]:
            assert _plain(faked(tool, **args).result) == _plain(servers[1].call(tool, **args)), (tool, args)
    assert digest_of(folders[0]) == before


def test_a_graph_without_a_target(servers: tuple[Server, Server]) -> None:
    """With nobody to ask, the graph is what was written and nothing else."""
    with open_world(WorldOptions()) as world:
        faked = Faked(world, servers[0], offline=True)
        faked("create_entities", entities=[{"name": "x", "entityType": "t", "observations": []}])
        assert _plain(faked("read_graph").result)["entities"] == [
            json.dumps({"name": "x", "entityType": "t", "observations": []})
        ]


def test_a_graph_that_cannot_be_read_is_not_empty(needs: Needs, tmp_path: Path) -> None:
    """F55: a write onto a graph that its server cannot read fails as it would for real, and nothing is kept of it."""
    file = tmp_path / "memory.jsonl"
    file.write_text("no JSON\n")
    ada = {"name": "Ada", "entityType": "person", "observations": []}
    with Server(needs("server-memory"), "memory", {"MEMORY_FILE_PATH": str(file)}) as server, open_world() as world:
        faked = Faked(world, server)
        reply = faked("create_entities", entities=[ada])
        assert (reply.is_error, reply.intercepted) == (True, True)
        _fill(tmp_path)
        assert faked("create_entities", entities=[ada]).result["structuredContent"] == {"entities": []}
