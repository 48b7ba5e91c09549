"""The fake tree against the real filesystem server: the same calls, on a folder that changes and on one that does not.

Two servers run: one really writes, one stands behind the fake world and must never be asked to.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from belljar.faker.calls import Ask, Call, RealError, Reply
from belljar.faker.classify import classify
from belljar.faker.world import FakeWorld, WorldOptions, open_world
from tests.conftest import Needs
from tests.faker.servers import Faked, Server, digest_of

_FILES = {
    "a.txt": "one\ntwo\nthree\n",
    "b.md": "# title\n\n  indented\nlast line",
    "d/c.txt": "in d\n",
    "d/e/deep.txt": "deep\n" * 40,
    "d/e/.hidden": "h",
    "pic.png": "not really a picture",
    "Z empty": "",
}


def _fill(folder: Path) -> None:
    for name, text in _FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "hollow").mkdir()


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("canary").resolve()
    _fill(folder)
    return folder


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch").resolve()


@pytest.fixture(scope="module")
def server(canary: Path, needs: Needs) -> Iterator[Server]:
    with Server([*needs("server-filesystem"), str(canary)], "filesystem") as running:
        yield running


@pytest.fixture(scope="module")
def other(scratch: Path, needs: Needs) -> Iterator[Server]:
    with Server([*needs("server-filesystem"), str(scratch)], "filesystem") as running:
        yield running


def test_the_four_tools_that_write(server: Server) -> None:
    """F53, F54: of fourteen tools four write, with the risks that the verb table gives."""
    writes = {name: classify(tool).risk for name, tool in server.tools.items() if classify(tool).operation == "write"}
    assert writes == {"edit_file": "medium", "create_directory": "medium", "move_file": "medium", "write_file": "high"}
    assert len(server.tools) == 14


@pytest.mark.parametrize("fails", [RealError(-32000, "gone"), {"content": [], "isError": True}, {"content": []}])
def test_no_answer_is_not_every_folder(server: Server, canary: Path, fails: RealError | dict[str, Any]) -> None:
    """F55: while the server cannot say which folders it allows, none is: nothing is written, not even in a fake."""

    async def ask(tool: str, args: Mapping[str, Any]) -> dict[str, Any]:
        if tool != "list_allowed_directories":
            return await server.answer(tool, args)
        if isinstance(fails, RealError):
            raise fails
        return fails

    async def written(world: FakeWorld, path: str, ask: Ask) -> Reply:
        args = {"path": path, "content": "x"}
        call = Call(server.name, server.tools["write_file"], args, tools=server.tools, ask=ask)
        return await world.call(call, None)

    with open_world() as world:
        for path in ("/etc/passwd", str(canary / "new.txt")):
            reply = server.portal.call(written, world, path, ask)
            assert (reply.is_error, reply.intercepted) == (True, True)
        assert server.portal.call(written, world, "/etc/passwd", server.answer).is_error
        assert not server.portal.call(written, world, str(canary / "new.txt"), server.answer).is_error


def _ops() -> st.SearchStrategy[list[tuple[str, dict[str, Any]]]]:
    name = st.sampled_from(
        [*"a.txt b.md d d/c.txt d/e d/e/deep.txt new.txt n n/x.txt hollow a.txt/no d/new".split(), ""]
    )
    text = st.sampled_from(["", "x", "one\ntwo\n", "  indented\n\tmore", "é\n\r\nlast", "```\n"])
    lines = st.sampled_from([None, 1, 2, 50, 0])
    pattern = st.sampled_from(["**/*.txt", "*", "**", "d/*", "?.md", "**/e", "*.{md,png}", "[ab]*"])
    excluded = st.sampled_from([[], ["e"], ["*.txt"], ["d/**"]])
    old = st.sampled_from(["one", "two\n", "indented", "missing", "in d", "deep\ndeep"])
    edit = st.fixed_dictionaries({"oldText": old, "newText": text})
    calls = st.one_of(
        st.tuples(st.just("write_file"), st.fixed_dictionaries({"path": name, "content": text})),
        st.tuples(
            st.just("edit_file"),
            st.fixed_dictionaries(
                {"path": name, "edits": st.lists(edit, min_size=1, max_size=2), "dryRun": st.booleans()}
            ),
        ),
        st.tuples(st.just("create_directory"), st.fixed_dictionaries({"path": name | st.just("n/m/o")})),
        st.tuples(st.just("move_file"), st.fixed_dictionaries({"source": name, "destination": name})),
        st.tuples(st.just("move_file"), st.fixed_dictionaries({"source": name, "destination": name})),
        st.tuples(st.just("read_text_file"), st.fixed_dictionaries({"path": name, "head": lines, "tail": lines})),
        st.tuples(
            st.just("read_multiple_files"), st.fixed_dictionaries({"paths": st.lists(name, min_size=1, max_size=3)})
        ),
        st.tuples(st.just("read_media_file"), st.fixed_dictionaries({"path": name | st.just("pic.png")})),
        st.tuples(st.just("list_directory"), st.fixed_dictionaries({"path": name})),
        st.tuples(
            st.just("list_directory_with_sizes"),
            st.fixed_dictionaries({"path": name, "sortBy": st.sampled_from(["name", "size"])}),
        ),
        st.tuples(st.just("directory_tree"), st.fixed_dictionaries({"path": name, "excludePatterns": excluded})),
        st.tuples(
            st.just("search_files"),
            st.fixed_dictionaries({"path": name, "pattern": pattern, "excludePatterns": excluded}),
        ),
        st.tuples(st.just("get_file_info"), st.fixed_dictionaries({"path": name})),
    )
    return st.lists(calls, min_size=1, max_size=12)


def _placed(args: dict[str, Any], root: Path) -> dict[str, Any]:
    placed = {name: each for name, each in args.items() if each is not None}
    for name in ("path", "source", "destination"):
        if name in placed:
            placed[name] = str(root / placed[name])
    if "paths" in placed:
        placed["paths"] = [str(root / each) for each in placed["paths"]]
    return placed


# Orders of folders on disks, times, and names of temporary files are not what this is about.
_SORTED = ("list_directory", "list_directory_with_sizes", "directory_tree", "search_files")


def _plain(tool: str, result: dict[str, Any] | Any, root: Path) -> Any:
    text = "\n".join(block.get("text", repr(block)) for block in result["content"]).replace(str(root), "ROOT")
    if result.get("isError"):
        return "error", re.sub(r"EISDIR: illegal operation on a directory, (?:open|rename) .*", "EISDIR", text)
    if "structuredContent" in result and tool != "read_media_file":
        assert result["structuredContent"] == {"content": result["content"][0]["text"]}
    if tool in _SORTED:
        return sorted(line.rstrip(" ,") for line in text.split("\n"))
    if tool == "get_file_info":
        facts = dict(line.split(": ", 1) for line in text.split("\n"))
        is_dir = facts["isDirectory"] == "true"
        return {name: facts[name] for name in ("isDirectory", "isFile", *(() if is_dir else ("size", "permissions")))}
    return text


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ops=_ops())
def test_it_answers_as_the_real_one_would(
    server: Server, other: Server, canary: Path, scratch: Path, ops: list[tuple[str, dict[str, Any]]]
) -> None:
    """F57: after any calls, every answer of the fake tree is what the real server says of a folder that was changed so.

    Errors, diffs, sizes, trees and searches included; and the folder behind the fake one stays as it was.
    """
    for path in list(scratch.iterdir()):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    _fill(scratch)
    before = digest_of(canary)
    with open_world() as world:
        faked = Faked(world, server)
        done: list[str] = []
        for tool, args in ops:
            done.append(f"{tool} {args}")
            real = other.call(tool, **_placed(args, scratch))
            fake = faked(tool, **_placed(args, canary))
            assert fake.error is None
            assert _plain(tool, fake.result, canary) == _plain(tool, real, scratch), done
        for tool, args in (("directory_tree", {"path": ""}), ("search_files", {"path": "", "pattern": "**"})):
            real, fake = other.call(tool, **_placed(args, scratch)), faked(tool, **_placed(args, canary))
            assert _plain(tool, fake.result, canary) == _plain(tool, real, scratch), done
    assert digest_of(canary) == before


def _text(reply: Reply) -> str:
    return reply.result["content"][0]["text"]


def test_a_canary_folder_never_changes(server: Server, canary: Path) -> None:
    """F55: no writing tool changes one byte, name, mode or time of the real folder; safety is on by default."""
    before = digest_of(canary)
    with open_world() as world:
        faked = Faked(world, server)
        root = str(canary)
        replies = [
            faked("write_file", path=f"{root}/a.txt", content="gone?"),
            faked("write_file", path=f"{root}/fresh.txt", content="x"),
            faked("edit_file", path=f"{root}/b.md", edits=[{"oldText": "title", "newText": "T"}]),
            faked("create_directory", path=f"{root}/made/deep"),
            faked("move_file", source=f"{root}/d", destination=f"{root}/moved"),
            faked("write_file", path=f"{root}/../outside.txt", content="x"),
        ]
        assert [reply.is_error for reply in replies] == [False] * 5 + [True]
        assert all(reply.intercepted for reply in replies)
        assert "Access denied" in _text(replies[-1])
        assert _text(faked("read_text_file", path=f"{root}/moved/e/deep.txt", head=1)) == "deep"
        assert _text(faked("read_text_file", path=f"{root}/a.txt")) == "gone?"
        assert faked("list_directory", path=f"{root}/d").is_error
    assert digest_of(canary) == before
    assert not {"write_file", "edit_file", "create_directory", "move_file"} & set(server.asked)


def test_two_worlds_share_a_file(server: Server, canary: Path, tmp_path: Path) -> None:
    """F80: what is written through one faker is read through another one with the same world file."""
    options = WorldOptions(world_file=tmp_path / "world.db")
    with open_world(options) as one, open_world(options) as two:
        Faked(one, server)("write_file", path=f"{canary}/shared.txt", content="seen?")
        assert _text(Faked(two, server)("read_text_file", path=f"{canary}/shared.txt")) == "seen?"
        Faked(two, server)("move_file", source=f"{canary}/shared.txt", destination=f"{canary}/s2.txt")
        assert Faked(one, server)("read_text_file", path=f"{canary}/shared.txt").is_error
    with open_world(options) as later:
        assert _text(Faked(later, server)("read_text_file", path=f"{canary}/s2.txt")) == "seen?"


def test_without_a_target_a_tree_is_made_up_and_kept(server: Server) -> None:
    """F57, F58: with nobody to ask, folders and files are made up once, and then agree with what was written."""
    with open_world(WorldOptions(seed=4)) as world:
        faked = Faked(world, server, offline=True)
        faked("write_file", path="/work/mine.txt", content="hello")
        listed = _text(faked("list_directory", path="/work"))
        assert "[FILE] mine.txt" in listed
        assert _text(faked("list_directory", path="/work")) == listed
        for line in listed.split("\n"):
            if line.startswith("[FILE]"):
                assert _text(faked("read_text_file", path=f"/work/{line[7:]}"))
        made = _text(faked("read_text_file", path="/work/unknown.txt"))
        assert _text(faked("read_text_file", path="/work/unknown.txt")) == made
        assert "unknown.txt" in _text(faked("list_directory", path="/work"))
        faked("move_file", source="/work/mine.txt", destination="/work/yours.txt")
        assert faked("read_text_file", path="/work/mine.txt").is_error
