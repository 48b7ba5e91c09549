# /// script
# dependencies = []
# [tool.belljar]
# name = "git:release_notes"
# description = "What changed in a repository, grouped by author"
# servers = ["git"]
# permissions = ["git:git_log", "git:git_show"]
# ///
"""Release notes of a Git repository, grouped by author.

This code has no files and no `git`: all it learns of the repository comes through two tools of the `git` server. The
log names the commits; then each is asked for, all at once. What counts is read from `git_show`, which indents messages:
nothing that somebody wrote into a commit message can pass for a header there.
"""

import asyncio
import re
from datetime import datetime

LOGGED = re.compile(r"^Commit: ([0-9a-f]{40,64})$", re.MULTILINE)
SHOWN = re.compile(r"commit \S+\nAuthor: (?P<author>.*) <.*>\nDate: +(?P<date>.*)\n\n {4}(?P<subject>.*)")
FILE = re.compile(r"^--- (?:a/(.+)|/dev/null)\n\+\+\+ (?:b/(.+)|/dev/null)$", re.MULTILINE)


async def main(repo: str = ".", max_count: int = 50) -> dict:
    """Read the newest `max_count` commits of `repo`; subjects are listed newest first."""
    log = await mcp.git.git_log(repo_path=repo, max_count=max_count)
    ids = list(dict.fromkeys(LOGGED.findall(log)))
    answers = await asyncio.gather(*(show(repo, commit) for commit in ids))
    commits = [answer for answer in answers if "error" not in answer]
    dates = [commit["date"] for commit in commits]
    return {
        "commits": len(commits),
        "from": min(dates).isoformat() if dates else None,
        "to": max(dates).isoformat() if dates else None,
        "authors": by_author(commits),
        "unreadable": [answer for answer in answers if "error" in answer],
    }


async def show(repo: str, commit: str) -> dict:
    """One commit; or, if the server cannot show it (a change may be larger than an answer), why not."""
    try:
        text = await mcp.git.git_show(repo_path=repo, revision=commit)
    except ToolError as error:
        return {"commit": commit, "error": error.code}
    head = SHOWN.match(text)
    if head is None:
        return {"commit": commit, "error": "git_show answered in a form this code does not know"}
    return {
        "author": head["author"],
        "date": datetime.strptime(head["date"], "%Y-%m-%d %H:%M:%S %z"),
        "subject": head["subject"].strip(),
        "files": {name for pair in FILE.findall(text) for name in pair if name},
    }


def by_author(commits: list) -> dict:
    """Each author's changes, the busiest author first."""
    authors = {}
    for commit in commits:
        entry = authors.setdefault(commit["author"], {"changes": [], "files": set()})
        entry["changes"].append(commit["subject"])
        entry["files"] |= commit["files"]
    busiest_first = sorted(authors.items(), key=lambda item: (-len(item[1]["changes"]), item[0]))
    return {
        name: {"commits": len(entry["changes"]), "files": len(entry["files"]), "changes": entry["changes"]}
        for name, entry in busiest_first
    }
