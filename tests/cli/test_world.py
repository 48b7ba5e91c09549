"""`belljar run --world`: runs whose writes are faked, before real servers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import FIXTURES, Belljar, Done
from tests.conftest import Needs
from tests.faker.servers import digest_of

_CODE = """
await mcp.fs.write_file(path=args["root"] + "/new.txt", content="written")
await mcp.fs.edit_file(path=args["root"] + "/real.txt", edits=[{"oldText": "real", "newText": "edited"}])
listed = await mcp.fs.list_directory(path=args["root"])
new = await mcp.fs.read_text_file(path=args["root"] + "/new.txt")
try:
    await mcp.fs.read_text_file(path=args["root"] + "/none.txt")
except ToolError as exc:
    failed = exc.code
info = await mcp.fs.list_allowed_directories()
{"listed": listed, "new": new, "failed": failed, "info": info}
"""


@pytest.fixture
def root(belljar: Belljar, needs: Needs, tmp_path: Path) -> Path:
    folder = tmp_path / "canary"
    folder.mkdir()
    (folder / "real.txt").write_text("a real text\n")
    command, *args = [*needs("server-filesystem"), str(folder)]
    config = {"mcpServers": {"fs": {"command": command, "args": args}}}
    (belljar.folder / "mcp.json").write_text(json.dumps(config))
    return folder


def _run(belljar: Belljar, root: Path, world: str, *more: str) -> Done:
    options = ["--servers", "mcp.json", "--arg", f"root={root}", "--world", world, "--json", *more]
    return belljar("run", "-c", _CODE, *options)


def _sources(done: Done) -> list[str]:
    return [call["source"] for call in done.json["calls"]]


def test_a_dry_run_reads_what_is_real_and_writes_nothing(belljar: Belljar, root: Path) -> None:
    """F81: writes are faked, reads agree with them, results and trace say which and how much."""
    before = digest_of(root)
    done = _run(belljar, root, "dry", "--allow", "fs:*")
    assert done.status == 0, done.err
    assert done.json["value"]["new"] == {"content": "written"}
    assert "[FILE] new.txt" in done.json["value"]["listed"]["content"]
    assert "[FILE] real.txt" in done.json["value"]["listed"]["content"]
    assert done.json["value"]["failed"] == "RPC_ERROR"
    assert str(root) in done.json["value"]["info"]["content"]
    assert _sources(done) == ["fake", "fake", "fake", "fake", "real", "real"]
    trace = done.json["trace"]
    assert [task["source"] for task in trace["taskResults"]] == _sources(done)
    assert trace["taskResults"][0]["sourceDetail"] == "overlay"
    assert trace["metadata"]["mockedShare"] == pytest.approx(4 / 6, abs=0.01)
    assert digest_of(root) == before


def test_a_fake_run_asks_for_the_list_of_tools_alone(belljar: Belljar, root: Path) -> None:
    """F81, F82: nothing of what happens is real, and the trace says so."""
    before = digest_of(root)
    done = _run(belljar, root, "fake", "--allow", "fs:*")
    assert done.status == 1  # what nobody wrote is made up: nothing fails, and `failed` has no value
    code = "await mcp.fs.read_text_file(path=args['root'] + '/real.txt')"
    options = ["--servers", "mcp.json", "--arg", f"root={root}", "--world", "fake", "--json", "--allow", "fs:*"]
    read = belljar("run", "-c", code, *options)
    assert read.status == 0, read.err
    assert "real" not in read.json["value"]["content"]
    assert _sources(read) == ["fake"]
    assert read.json["trace"]["metadata"]["mockedShare"] == 1.0
    assert belljar("run", "-c", code, *options).json["value"] == read.json["value"]
    assert digest_of(root) == before


def test_a_grant_is_needed_in_any_world(belljar: Belljar, root: Path) -> None:
    """A faked write needs the same approval as a real one."""
    done = _run(belljar, root, "dry")
    assert (done.status, done.code) == (3, "APPROVAL_REQUIRED")
    assert _run(belljar, root, "fake", "--allow", "*", "--deny", "fs:write_file").code == "PERMISSION_DENIED"


@pytest.mark.parametrize("said", [None, "annotations"])
def test_a_stranger_is_not_believed_when_it_says_that_it_only_reads(
    belljar: Belljar, tmp_path: Path, said: str | None
) -> None:
    """F81: `wipe_all` with `readOnlyHint` reaches a server in a dry run only if the user trusts that server."""
    written = tmp_path / "written"
    entry = {"command": sys.executable, "args": [str(FIXTURES / "lies.py"), str(written)]}
    servers = belljar.servers(liar=entry if said is None else {**entry, "trust": said})
    code = "await mcp.liar.wipe_all()\nawait mcp.liar.get_it()"
    words = ("run", "-c", code, "--servers", servers, "--world", "dry", "--allow", "*", "--json")
    done = belljar(*words)
    assert done.status == 0, done.err
    trusted = ["wipe_all", "get_it"]
    assert written.read_text().split() == (["get_it"] if said is None else trusted)
    assert _sources(done) == (["fake", "real"] if said is None else ["real", "real"])
    if said is None:
        assert belljar("servers", "trust", "liar", "--servers", servers).status == 0
        written.unlink()
        assert _sources(belljar(*words)) == ["real", "real"]
        assert written.read_text().split() == trusted


def test_a_world_that_is_none(belljar: Belljar) -> None:
    """Exit 2, with the names there are."""
    done = belljar("run", "-c", "1", "--world", "upside-down")
    assert done.status == 2
    assert "dry" in done.last()
