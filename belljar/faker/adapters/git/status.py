"""`git status` and `git diff`, read and written: what is staged, what is not, what is not tracked.

Read from the words of git itself, changed, and written in the same words. A change carries its part of the diff, so
that it can go from one side to the other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Change", "Status", "diff_of", "files_of", "hunks_of", "read"]

_SECTIONS: Final = {
    "Changes to be committed:": "staged",
    "Changes not staged for commit:": "unstaged",
    "Untracked files:": "untracked",
}
_LINE: Final = re.compile(r"\t(?:(new file|modified|deleted|renamed|copied|typechange|both modified):\s+)?(.+)")


@dataclass(frozen=True, slots=True)
class Change:
    """One path that is not as it was."""

    path: str
    kind: str
    """As git calls it: `new file`, `modified`, `deleted` ..."""
    diff: str = ""
    """Its part of the diff, from `diff --git` on; empty if nobody could tell."""


@dataclass(slots=True)
class Status:
    """What differs, on both sides of the index."""

    branch: str = "main"
    preface: list[str] = field(default_factory=list[str])
    """What git says between the branch and the first section: how far ahead, that there are no commits."""
    staged: dict[str, Change] = field(default_factory=dict[str, Change])
    unstaged: dict[str, Change] = field(default_factory=dict[str, Change])
    untracked: list[str] = field(default_factory=list[str])

    def add(self, paths: list[str]) -> bool:
        """Stage these, or all with `.`; whether there was anything to stage."""
        done = False
        for path in [each for each in self.unstaged if _meant(each, paths)]:
            change = self.unstaged.pop(path)
            there = self.staged.get(path)
            self.staged[path] = change if there is None else Change(path, there.kind, there.diff or change.diff)
            done = True
        for path in [each for each in self.untracked if _meant(each, paths) or _inside(each, paths)]:
            whole = _meant(path, paths)
            if whole:
                self.untracked.remove(path)
            for name in [path] if whole else [each for each in paths if each.startswith(path)]:
                self.staged[name] = Change(name, "new file")
            done = True
        return done

    def knows(self, name: str) -> bool:
        """Whether a path, or something in a folder of that name, is there and not as it was."""
        there = [path for path, change in self.staged.items() if change.kind != "deleted"]
        paths = [*there, *self.unstaged, *self.untracked]
        return any(_meant(path, [name]) or _inside(path, [name]) for path in paths)

    def reset(self) -> None:
        """Nothing is staged any more."""
        for path, change in self.staged.items():
            if change.kind == "new file":
                self.untracked.append(path)
                self.unstaged.pop(path, None)
            else:
                self.unstaged.setdefault(path, change)
        self.staged = {}
        self.untracked.sort()

    def text(self) -> str:
        """As `git status` writes it."""
        lines = [self.branch, *self.preface]
        if self.staged:
            lines += ["Changes to be committed:", '  (use "git restore --staged <file>..." to unstage)']
            lines += [_shown(change) for _, change in sorted(self.staged.items())] + [""]
        if self.unstaged:
            deleted = any(change.kind == "deleted" for change in self.unstaged.values())
            lines += ["Changes not staged for commit:"]
            lines += [f'  (use "git add{"/rm" if deleted else ""} <file>..." to update what will be committed)']
            lines += ['  (use "git restore <file>..." to discard changes in working directory)']
            lines += [_shown(change) for _, change in sorted(self.unstaged.items())] + [""]
        if self.untracked:
            lines += ["Untracked files:", '  (use "git add <file>..." to include in what will be committed)']
            lines += [f"\t{path}" for path in sorted(self.untracked)] + [""]
        if not self.staged:
            lines.append(self._nothing())
        return "\n".join(lines)

    def _nothing(self) -> str:
        if self.unstaged:
            return 'no changes added to commit (use "git add" and/or "git commit -a")'
        if self.untracked:
            return 'nothing added to commit but untracked files present (use "git add" to track)'
        return "nothing to commit, working tree clean"


def _meant(path: str, paths: list[str]) -> bool:
    return any(each in (".", "./") or path == each or path.startswith(each.rstrip("/") + "/") for each in paths)


def _inside(folder: str, paths: list[str]) -> bool:
    """Whether one of the paths lies in an untracked folder, which git shows as `folder/`."""
    return folder.endswith("/") and any(each.startswith(folder) for each in paths)


def _shown(change: Change) -> str:
    return f"\t{change.kind + ':':<11} {change.path}"


def read(text: str, unstaged: str, staged: str) -> Status:
    """From the words of `git status` and of both diffs."""
    lines = text.split("\n")
    status = Status(branch=lines[0] if lines else "On branch main")
    section = ""
    diffs = {"staged": files_of(staged), "unstaged": files_of(unstaged)}
    for line in lines[1:]:
        if line in _SECTIONS:
            section = _SECTIONS[line]
        elif not section and not line.startswith(("nothing to commit", "nothing added", "no changes added")):
            status.preface.append(line)
        elif (found := _LINE.fullmatch(line)) is not None:
            path = found[2].rpartition(" -> ")[2]
            if section == "untracked":
                status.untracked.append(path)
            elif section:
                change = Change(path, found[1] or "modified", diffs[section].get(path, ""))
                (status.staged if section == "staged" else status.unstaged)[path] = change
    return status


def files_of(diff: str) -> dict[str, str]:
    """The parts of a diff by the path they are about."""
    found: dict[str, str] = {}
    for part in re.split(r"(?m)^(?=diff --git )", diff):
        header = re.match(r'diff --git "?a/.*? "?b/(.*?)"?$', part.split("\n", 1)[0])
        if header is not None:
            found[header[1]] = part if part.endswith("\n") else part + "\n"
    return found


def diff_of(changes: dict[str, Change]) -> str:
    """As `git diff` writes it, without a last line feed. What a new file holds is not known here."""
    made = ""
    for path, change in sorted(changes.items()):
        if change.diff:
            made += change.diff
        elif change.kind == "new file":
            made += f"diff --git a/{path} b/{path}\nnew file mode 100644\n"
        else:
            made += f"diff --git a/{path} b/{path}\n"
    return made.removesuffix("\n")


def hunks_of(diff: str) -> tuple[str, str, str]:
    """Both names and the hunks of one file's part, as `git_show` prints them."""
    start = diff.find("\n@@")
    before = re.search(r"(?m)^--- (.*)$", diff[: start + 1])
    after = re.search(r"(?m)^\+\+\+ (.*)$", diff[: start + 1])
    return (before[1] if before else ""), (after[1] if after else ""), diff[start + 1 :] if start >= 0 else ""
