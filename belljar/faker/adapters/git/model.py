"""The tools of the git server, over a repository that they do not touch.

What was done is kept as a list of steps - staged these, reset, committed, branched, switched - and played over what the
real repository says now. Commits that were never made have hashes made up from the seed; their diffs are those of what
was staged. What only git could work out (merges, diffs across commits that are not there) is answered by what is known,
or refused.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, cast

from belljar.faker import results
from belljar.faker.adapters.git import status as words
from belljar.faker.adapters.git.status import Status
from belljar.faker.generate import EPOCH
from belljar.faker.scene import Model, Outcome, Refusal, Scene
from belljar.rpc.world import JsonValue

__all__ = ["TOOLS", "GitModel"]

TOOLS: Final = frozenset(
    """
    git_status git_diff_unstaged git_diff_staged git_diff git_commit git_add git_reset git_log git_create_branch
    git_checkout git_show git_branch
    """.split()
)
_NOTHING_STAGED: Final = (
    "No changes staged for commit. Use git_add to stage changes first; git_status shows what is currently staged."
)
_NOTHING_NEW: Final = (
    "No changes were staged: the given paths had nothing new to stage. git_status shows what is modified or untracked."
)
# How the library that the server is written with begins the words of a tool that failed.
_FAILED: Final = "Error executing tool "
_CLEAN_REF: Final = re.compile(r"[^ ~^:?*\[\\]+")
_MAX_WALK: Final = 200


class GitModel:
    """Answers for a git server; what it does not know goes to `otherwise`."""

    def __init__(self, otherwise: Model) -> None:
        self._otherwise = otherwise

    async def answer(self, scene: Scene) -> Outcome:
        """Answer the call."""
        name = scene.call.tool.name
        if name not in TOOLS or not isinstance(scene.args.get("repo_path"), str):
            return await self._otherwise.answer(scene)
        repository = _Repository(scene)
        if scene.verdict.operation == "read" and not scene.offline and not repository.steps:
            return Outcome(await scene.real(), "real")
        tools: Any = repository
        try:
            return Outcome(results.text(await getattr(tools, name)(scene.args)), "overlay")
        except Refusal as exc:
            raise Refusal(f"{_FAILED}{name}: {exc}") from None


class _Repository:
    """One repository, as one call sees and changes it."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._path = posixpath.normpath(str(scene.args["repo_path"]))
        cell = scene.get("git", self._path)
        self.steps = cast("list[dict[str, Any]]", list(cast("list[Any]", cell)) if isinstance(cell, list) else [])

    def _did(self, **step: JsonValue) -> None:
        self.steps.append(step)
        self._scene.set("git", self._path, cast("JsonValue", self.steps))

    async def _real(self, tool: str, **args: JsonValue) -> str:
        """What the real repository says; empty without a target.

        Raises:
            Refusal: it says that something is wrong.
        """
        if not self._scene.may_ask:
            return ""
        answer = await self._scene.ask(tool, repo_path=self._scene.args["repo_path"], **args)
        said = results.said(answer)
        if answer.get("isError"):
            raise Refusal(said.removeprefix(f"{_FAILED}{tool}: "))
        return said

    # ---- the index

    async def _status(self) -> Status:
        """After all steps."""
        said = (await self._real("git_status")).partition("\n")[2] or "On branch main"
        unstaged = (await self._real("git_diff_unstaged")).partition("\n")[2]
        staged = (await self._real("git_diff_staged")).partition("\n")[2]
        now = words.read(said, unstaged, staged)
        for step in self.steps:
            match step["do"]:
                case "add":
                    self._stage(now, step["files"])
                case "reset":
                    now.reset()
                case "commit":
                    now.staged = {}
                    now.preface = [line for line in now.preface if "No commits yet" not in line]
                case "checkout":
                    now.branch, now.preface = step["shown"], []
                case _:
                    pass
        return now

    def _stage(self, now: Status, names: list[str]) -> bool:
        if not self._scene.may_ask:
            # Nobody can say what is there: what is staged was there.
            known = {*now.staged, *now.untracked}
            now.untracked += [name for name in names if name != "." and name not in known]
        return now.add(names)

    async def git_status(self, _args: Mapping[str, Any]) -> str:
        return f"Repository status:\n{(await self._status()).text()}"

    async def git_diff_unstaged(self, _args: Mapping[str, Any]) -> str:
        return f"Unstaged changes:\n{words.diff_of((await self._status()).unstaged)}"

    async def git_diff_staged(self, _args: Mapping[str, Any]) -> str:
        return f"Staged changes:\n{words.diff_of((await self._status()).staged)}"

    async def git_add(self, args: Mapping[str, Any]) -> str:
        files = [str(each) for each in args["files"]]
        for each in files if files != ["."] else []:
            inside = posixpath.normpath(posixpath.join(self._path, each))
            if inside != self._path and not inside.startswith(self._path + "/"):
                raise Refusal(f"Path '{each}' is outside the repository '{self._path}'")
        names = [posixpath.normpath(each.removeprefix(self._path + "/")) for each in files]
        now = await self._status()
        before = dict(now.staged)
        for name in names:
            await self._need_path(name, now)
        if not self._stage(now, names):
            return _NOTHING_NEW
        self._did(do="add", files=names)
        return "Files staged successfully" if now.staged != before else _NOTHING_NEW

    async def _need_path(self, name: str, now: Status) -> None:
        """A path that nobody knows is an error of git's."""
        if name == "." or not self._scene.may_ask or now.knows(name):
            return
        kinds = [step["kinds"][name] for step in self.steps if step["do"] == "commit" and name in step["kinds"]]
        kinds += [now.staged[name].kind] if name in now.staged else []
        if kinds and kinds[-1] != "deleted":
            return
        try:
            if kinds:
                raise Refusal("deleted here")
            await self._real("git_show", revision=f"HEAD:{name}")
        except Refusal:
            stderr = f"fatal: pathspec '{name}' did not match any files"
            command = f"git add -- {name}"
            said = f"Cmd('git') failed due to: exit code(128)\n  cmdline: {command}\n  stderr: '{stderr}'"
            raise Refusal(said) from None

    async def git_reset(self, _args: Mapping[str, Any]) -> str:
        await self._real("git_branch", branch_type="local")
        self._did(do="reset")
        return "All staged changes reset"

    async def git_commit(self, args: Mapping[str, Any]) -> str:
        now = await self._status()
        if not now.staged:
            raise Refusal(_NOTHING_STAGED)
        branch, parent = await self._head()
        name, email = await self._author()
        source = self._scene.generator.random("commit", self._path, parent, str(args["message"]), str(len(self.steps)))
        sha = f"{source.getrandbits(160):040x}"
        moment = EPOCH + timedelta(days=200, seconds=self._scene.changes.seen)
        parts = {path: change.diff for path, change in sorted(now.staged.items())}
        kinds = {path: change.kind for path, change in now.staged.items()}
        self._did(
            do="commit", sha=sha, parent=parent, branch=branch, message=str(args["message"]), name=name, email=email,
            at=moment.isoformat(), diffs=parts, kinds=kinds,
        )  # fmt: skip
        return f"Changes committed successfully with hash {sha}"

    # ---- branches and commits

    def _commits(self) -> dict[str, dict[str, Any]]:
        return {step["sha"]: step for step in self.steps if step["do"] == "commit"}

    async def _branches(self) -> tuple[str, dict[str, str]]:
        """The current branch (or, detached, the text git shows for it), and those that were made or moved here."""
        said = await self._real("git_branch", branch_type="local")
        current = next((line[2:] for line in said.split("\n") if line.startswith("* ")), "main")
        moved: dict[str, str] = {}
        for step in self.steps:
            match step["do"]:
                case "branch":
                    moved[step["name"]] = step["at"]
                case "checkout":
                    current = step["name"]
                    if step.get("at"):
                        moved[current] = step["at"]
                case "commit":
                    moved[step["branch"]] = step["sha"]
                case _:
                    pass
        return current, moved

    async def _head(self) -> tuple[str, str]:
        current, moved = await self._branches()
        return current, moved.get(current) or await self._sha_of(current if "(" not in current else "HEAD")

    async def _sha_of(self, revision: str) -> str:
        if not self._scene.may_ask:
            return ""
        try:
            said = await self._real("git_show", revision=revision)
        except Refusal:
            return ""
        found = re.match(r"commit ([0-9a-f]{40})", said)
        return found[1] if found else ""

    async def _author(self) -> tuple[str, str]:
        try:
            found = re.search(r"(?m)^Author: (.*) <(.*)>$", await self._real("git_show", revision="HEAD"))
        except Refusal:
            found = None
        return (found[1], found[2]) if found else ("Belljar", "belljar@example.com")

    async def git_branch(self, args: Mapping[str, Any]) -> str:
        kind = str(args["branch_type"])
        if kind == "remote" or args.get("contains") or args.get("not_contains"):
            asked = {name: args[name] for name in ("contains", "not_contains") if args.get(name)}
            return await self._real("git_branch", branch_type=kind, **asked)
        if kind not in ("local", "all"):
            raise Refusal(f"Invalid branch type: {kind}")
        said = await self._real("git_branch", branch_type=kind)
        current, moved = await self._branches()
        there = [line[2:] for line in said.split("\n") if line and "(HEAD detached" not in line]
        local = sorted(
            {*(name for name in there if not name.startswith("remotes/")), *(n for n in moved if "(" not in n)}
        )
        shown = [f"* {current}"] if current not in local else []
        shown += [f"{'*' if name == current else ' '} {name}" for name in local]
        return "\n".join(shown + [f"  {name}" for name in there if name.startswith("remotes/")])

    async def git_create_branch(self, args: Mapping[str, Any]) -> str:
        name, base = str(args["branch_name"]), args.get("base_branch")
        _no_flag(name, "branch name")
        _no_flag(str(base or ""), "base branch")
        if not _CLEAN_REF.fullmatch(name):
            raise Refusal(
                f"Invalid reference 'refs/heads/{name}': references cannot contain spaces, tildes (~), carets (^), "
                "colons (:), question marks (?), asterisks (*), open brackets ([) or backslashes (\\)"
            )
        current, moved = await self._branches()
        if base is None and "(" in current:
            raise Refusal("HEAD is detached, so there is no current branch to branch from; pass base_branch")
        start = str(base) if base else current
        at = moved.get(start) or await self._sha_of(start)
        if not at and self._scene.may_ask:
            raise Refusal(f"No item found with id '{start}'")
        if name in moved or (self._scene.may_ask and await self._is_branch(name)):
            raise Refusal(f"Cannot create branch '{name}': refs/heads/{name} already exists")
        self._did(do="branch", name=name, at=at)
        return f"Created branch '{name}' from '{start}'"

    async def _is_branch(self, name: str) -> bool:
        said = await self._real("git_branch", branch_type="local")
        return name in [line[2:] for line in said.split("\n")]

    async def git_checkout(self, args: Mapping[str, Any]) -> str:
        name = str(args["branch_name"])
        _no_flag(name, "branch name")
        _, moved = await self._branches()
        if name in moved or not self._scene.may_ask or await self._is_branch(name):
            self._did(do="checkout", name=name, shown=f"On branch {name}")
            return f"Switched to branch '{name}'"
        sha = await self._resolved(name)
        if not sha:
            raise Refusal(f"Ref '{name}' did not resolve to an object")
        shown = f"HEAD detached at {sha[:7]}"
        self._did(do="checkout", name=f"({shown})", shown=shown, at=sha)
        return f"HEAD is now detached at {sha[:7]}"

    async def _resolved(self, revision: str) -> str:
        """The hash of a revision, made here or real; empty if there is none."""
        base, _, back = revision.partition("~")
        steps = int(back or 1) if "~" in revision and back.isdigit() | (not back) else 0
        _, moved = await self._branches()
        commits = self._commits()
        sha = (await self._head())[1] if base in ("HEAD", "@") else moved.get(base, "")
        sha = sha or next((each for each in commits if len(base) >= 4 and each.startswith(base)), "")
        while sha in commits and steps:
            sha, steps = commits[sha]["parent"], steps - 1
        if sha:
            return sha if not steps else await self._sha_of(f"{sha}~{steps}")
        return await self._sha_of(revision)

    async def git_log(self, args: Mapping[str, Any]) -> str:
        wanted = args.get("max_count", 10)
        wanted = int(wanted) if isinstance(wanted, int | float) and wanted >= 0 else _MAX_WALK
        times = {name: args[name] for name in ("start_timestamp", "end_timestamp") if args.get(name)}
        commits, entries = self._commits(), list[str]()
        _, sha = await self._head()
        while sha in commits and len(entries) < wanted:
            if "end_timestamp" not in times:
                entries.append(_logged(commits[sha]))
            sha = commits[sha]["parent"]
        left = wanted - len(entries)
        if left > 0 and sha and self._scene.may_ask:
            entries += await self._real_log(sha, left, times)
        return "Commit history:\n" + "\n".join(entries)

    async def _real_log(self, sha: str, wanted: int, times: dict[str, Any]) -> list[str]:
        if sha == await self._sha_of("HEAD"):
            said = (await self._real("git_log", max_count=wanted, **times)).partition("\n")[2]
            return [each for each in re.split(r"\n(?=Commit: [0-9a-f]{40}\n)", said) if each]
        found: list[str] = []
        for back in range(min(wanted, _MAX_WALK)):
            try:
                said = await self._real("git_show", revision=f"{sha}~{back}")
            except Refusal:
                break
            found.append(_logged_from(said))
        return found

    async def git_show(self, args: Mapping[str, Any]) -> str:
        revision = str(args["revision"])
        _no_flag(revision, "revision")
        name, colon, path = revision.partition(":")
        sha = await self._resolved(name)
        commit = self._commits().get(sha)
        if commit is None:
            if not sha and self._scene.may_ask:
                raise Refusal(f"Ref '{revision}' did not resolve to an object")
            return await self._real("git_show", revision=f"{sha or name}{colon}{path}")
        if colon:
            return await self._file_at(commit, path)
        return _shown(commit)

    async def _file_at(self, commit: dict[str, Any], path: str) -> str:
        """A file in a commit that is not there: what it is in the real one below, if nothing above it touched it."""
        commits = self._commits()
        at: dict[str, Any] | None = commit
        sha = ""
        while at is not None:
            if path in at["kinds"]:
                raise Refusal(f"the content of {path} in a commit that was not really made is not known")
            sha = at["parent"]
            at = commits.get(sha)
        return await self._real("git_show", revision=f"{sha}:{path}")

    async def git_diff(self, args: Mapping[str, Any]) -> str:
        target = str(args["target"])
        _no_flag(target, "target")
        sha = await self._resolved(target)
        commits = self._commits()
        if sha and sha not in commits:
            return f"Diff with {target}:\n" + (await self._real("git_diff", target=sha)).partition("\n")[2]
        if not sha:
            raise Refusal(f"Ref '{target}' did not resolve to an object")
        now = await self._status()
        return f"Diff with {target}:\n{words.diff_of({**now.unstaged, **now.staged})}"


def _no_flag(value: str, what: str) -> None:
    if value.startswith("-"):
        raise Refusal(f"Invalid {what}: '{value}' - cannot start with '-'")


def _logged(commit: Mapping[str, Any]) -> str:
    date = str(commit["at"]).replace("T", " ")
    return f"Commit: {commit['sha']}\nAuthor: {commit['name']}\nDate: {date}\nMessage: {commit['message']}\n"


def _logged_from(said: str) -> str:
    """A log entry out of what `git_show` prints."""
    head = re.match(r"commit (\w+)\nAuthor: (.*) <.*>\nDate:   (\S+ \S+) ([+-]\d\d)(\d\d)\n\n((?:    .*\n)*)", said)
    if head is None:
        return said
    message = "".join(line[4:] + "\n" for line in head[6].splitlines())
    return f"Commit: {head[1]}\nAuthor: {head[2]}\nDate: {head[3]}{head[4]}:{head[5]}\nMessage: {message}\n"


def _shown(commit: Mapping[str, Any]) -> str:
    """As `git_show` prints a commit."""
    date = str(commit["at"]).replace("T", " ").replace("+00:00", " +0000")
    message = "".join(f"    {line}\n" for line in str(commit["message"]).rstrip("\n").split("\n"))
    made = f"commit {commit['sha']}\nAuthor: {commit['name']} <{commit['email']}>\nDate:   {date}\n\n{message}"
    for path, diff in cast("dict[str, str]", commit["diffs"]).items():
        before, after, hunks = words.hunks_of(diff)
        is_new = commit["kinds"].get(path) == "new file"
        made += f"\n--- {before or ('/dev/null' if is_new else f'a/{path}')}\n+++ {after or f'b/{path}'}\n{hunks}"
    return made
