"""The fake repository against the real git server: the same calls, on one that changes and on one that does not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from belljar.faker.world import WorldOptions, open_world
from tests.conftest import Needs
from tests.faker.servers import Faked, Server, digest_of

_WHEN = "2026-03-01T12:00:00+00:00"


def _git(folder: Path, *words: str) -> None:
    identity = {"NAME": "Ada", "EMAIL": "ada@example.com", "DATE": _WHEN}
    env = {f"GIT_{who}_{name}": value for who in ("AUTHOR", "COMMITTER") for name, value in identity.items()}
    config = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "HOME": str(folder)}
    subprocess.run(["git", *words], cwd=folder, env={**os.environ, **env, **config}, check=True, capture_output=True)


def _fill(folder: Path) -> None:
    _git(folder, "init", "-q", "-b", "main")
    _git(folder, "config", "user.name", "Ada")
    _git(folder, "config", "user.email", "ada@example.com")
    (folder / "a.txt").write_text("one\n")
    (folder / "b.txt").write_text("b\n" * 20)
    (folder / "d").mkdir()
    (folder / "d" / "c.txt").write_text("c\n")
    _git(folder, "add", ".")
    _git(folder, "commit", "-qm", "first")
    _git(folder, "branch", "feature")
    (folder / "b.txt").write_text("b\n" * 19 + "B\n")
    _git(folder, "commit", "-qam", "second")
    (folder / "a.txt").write_text("one\ntwo\n")
    (folder / "d" / "c.txt").write_text("changed\n")
    (folder / "b.txt").unlink()
    (folder / "new.txt").write_text("new\n")
    (folder / "z.txt").write_text("z\n")
    _git(folder, "add", "d/c.txt")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, needs: Needs) -> tuple[Path, Path, Path]:
    """A canary, a scratch, and what both began as."""
    needs("git")
    canary, scratch, master = (tmp_path_factory.mktemp(name).resolve() for name in ("canary", "scratch", "master"))
    _fill(master)
    shutil.copytree(master, canary, dirs_exist_ok=True)
    # A first look writes the index anew, as git does when times are not those it knows.
    _git(canary, "status")
    return canary, scratch, master


@pytest.fixture(scope="module")
def server(needs: Needs) -> Iterator[Server]:
    with Server(needs("mcp-server-git"), "git", {"GIT_OPTIONAL_LOCKS": "0"}) as running:
        yield running


def _ops() -> st.SearchStrategy[list[tuple[str, dict[str, Any]]]]:
    path = st.sampled_from([".", "a.txt", "new.txt", "d", "d/c.txt", "b.txt", "none.txt", "../out.txt"])
    branch = st.sampled_from(["main", "feature", "topic", "-x", "nowhere", "HEAD~1"])
    revision = st.sampled_from(["HEAD", "HEAD~1", "HEAD~2", "feature", "main", "nowhere", "HEAD:d/c.txt", "-x"])
    nothing = st.just({})
    return st.lists(
        st.one_of(
            st.tuples(st.just("git_add"), st.fixed_dictionaries({"files": st.lists(path, min_size=1, max_size=2)})),
            st.tuples(
                st.just("git_commit"), st.fixed_dictionaries({"message": st.sampled_from(["m", "two\n\nlines"])})
            ),
            st.tuples(st.just("git_reset"), nothing),
            st.tuples(st.just("git_create_branch"), st.fixed_dictionaries({"branch_name": branch})),
            st.tuples(st.just("git_checkout"), st.fixed_dictionaries({"branch_name": st.just("topic")})),
            st.tuples(st.just("git_show"), st.fixed_dictionaries({"revision": revision})),
            st.tuples(st.just("git_branch"), st.fixed_dictionaries({"branch_type": st.sampled_from(["local", "all"])})),
            st.tuples(st.just("git_log"), st.fixed_dictionaries({"max_count": st.sampled_from([1, 2, 10])})),
            st.tuples(st.just("git_diff_unstaged"), nothing),
            st.tuples(st.just("git_status"), nothing),
        ),
        min_size=1,
        max_size=6,
    )


def _plain(tool: str, result: dict[str, Any] | Any, root: Path) -> Any:
    """An answer without what only a repository that was written to can have: hashes and times of new commits."""
    text = result["content"][0]["text"].replace(str(root), "ROOT")
    if result.get("isError"):
        return "error", text.split("\n")[0]
    text = re.sub(r"\b[0-9a-f]{40}\b", "HASH", text)
    text = re.sub(r"(?m)^(Date: +).*$", r"\1", text)
    # What an untracked file holds is not told by any tool.
    text = re.sub(r"(?ms)^(--- /dev/null\n\+\+\+ b/(?:new|z)\.txt\n).*?(?=^--- |\Z)", r"\1", text)
    return text.rstrip()


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ops=_ops())
def test_it_answers_as_the_real_one_would(
    server: Server, folders: tuple[Path, Path, Path], ops: list[tuple[str, dict[str, Any]]]
) -> None:
    """F55, F57: status, diffs, log, branches and commits are what a repository changed so would have; nothing is."""
    canary, scratch, master = folders
    before = digest_of(canary)
    shutil.rmtree(scratch)
    shutil.copytree(master, scratch)
    with open_world() as world:
        faked = Faked(world, server)
        head: dict[str, Any] = {"revision": "HEAD"}
        ends = [("git_status", {}), ("git_log", {}), ("git_branch", {"branch_type": "local"}), ("git_show", head)]
        done: list[str] = []
        for tool, args in [*ops, *ends]:
            done.append(f"{tool} {args}")
            real = server.call(tool, repo_path=str(scratch), **args)
            fake = faked(tool, repo_path=str(canary), **args)
            assert _plain(tool, fake.result, canary) == _plain(tool, real, scratch), done
    assert digest_of(canary) == before


def _text(reply: Any) -> str:
    return reply.result["content"][0]["text"]


def test_a_canary_repository_never_changes(server: Server, folders: tuple[Path, Path, Path]) -> None:
    """F55: every tool that writes is answered, and not one byte below the repository is another one."""
    canary, before = folders[0], digest_of(folders[0])
    with open_world(WorldOptions()) as world:
        faked = Faked(world, server)
        repo = str(canary)
        assert _text(faked("git_add", repo_path=repo, files=["a.txt"])) == "Files staged successfully"
        done = _text(faked("git_commit", repo_path=repo, message="never made"))
        sha = done.rsplit(" ", 1)[1]
        assert "+two" in _text(faked("git_show", repo_path=repo, revision=sha[:10]))
        assert sha in _text(faked("git_log", repo_path=repo))
        assert (
            _text(faked("git_create_branch", repo_path=repo, branch_name="topic"))
            == "Created branch 'topic' from 'main'"
        )
        assert _text(faked("git_checkout", repo_path=repo, branch_name="feature")) == "Switched to branch 'feature'"
        assert sha not in _text(faked("git_log", repo_path=repo))
        assert "second" not in _text(faked("git_log", repo_path=repo))
        assert "* feature" in _text(faked("git_branch", repo_path=repo, branch_type="local"))
        faked("git_checkout", repo_path=repo, branch_name="topic")
        assert sha in _text(faked("git_log", repo_path=repo))
        faked("git_reset", repo_path=repo)
    assert digest_of(canary) == before


def test_a_repository_without_a_target(server: Server) -> None:
    """With nobody to ask, add, commit, log and branch agree with each other."""
    with open_world(WorldOptions()) as world:
        faked = Faked(world, server, offline=True)
        faked("git_add", repo_path="/r", files=["x.txt"])
        assert "new file:   x.txt" in _text(faked("git_status", repo_path="/r"))
        sha = _text(faked("git_commit", repo_path="/r", message="made up")).rsplit(" ", 1)[1]
        assert sha in _text(faked("git_log", repo_path="/r"))
        assert "nothing to commit" in _text(faked("git_status", repo_path="/r"))
