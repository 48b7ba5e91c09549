"""The words of the filesystem server: sizes, diffs, edits, heads and tails, as its own code makes them."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from belljar.faker.generate import EPOCH
from belljar.faker.scene import Refusal

__all__ = ["diff", "edited", "head", "info", "sized", "sort_key", "tail"]

_UNITS: Final = ("B", "KB", "MB", "GB", "TB")
_CONTEXT: Final = 4


def head(text: str, lines: float) -> str:
    """The first lines; a fraction of one counts as one."""
    if lines <= 0:
        return ""
    parts = text.split("\n")
    if parts[-1] == "":
        parts.pop()
    return "\n".join(parts[: math.ceil(lines)])


def tail(text: str, lines: float) -> str:
    """The last lines; a line feed at the end begins an empty one."""
    if lines <= 0 or not text:
        return ""
    parts = text.replace("\r\n", "\n").split("\n")
    whole = int(lines)
    return "\n".join(parts[-whole:] if whole else parts)


def sized(size: int) -> str:
    """`1.50 KB`."""
    if size <= 0:
        return "0 B"
    unit = min(int(math.log(size) / math.log(1024)), len(_UNITS) - 1)
    return f"{size} B" if unit == 0 else f"{size / 1024**unit:.2f} {_UNITS[unit]}"


def info(size: int, at: int, mode: str, *, is_dir: bool) -> str:
    """What `get_file_info` says of what was written here."""
    moment = EPOCH + timedelta(days=200, seconds=at)
    shown = moment.strftime("%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)")
    facts = {
        "size": size,
        "created": shown,
        "modified": shown,
        "accessed": shown,
        "isDirectory": str(is_dir).lower(),
        "isFile": str(not is_dir).lower(),
        "permissions": mode,
    }
    return "\n".join(f"{name}: {value}" for name, value in facts.items())


def sort_key(name: str) -> tuple[str, str]:
    """Near to how names are sorted for people: letters before case."""
    return name.casefold(), name.swapcase()


def edited(text: str, edits: Sequence[tuple[str, str]]) -> str:
    """The text after all edits, one after the other; an edit need not keep to the blanks around lines.

    Raises:
        Refusal: the old text of one is not there.
    """
    now = text.replace("\r\n", "\n")
    for old, new in edits:
        now = _edit(now, old.replace("\r\n", "\n"), new.replace("\r\n", "\n"), old)
    return now


def _edit(text: str, old: str, new: str, shown: str) -> str:
    if old in text:
        return text.replace(old, new, 1)
    old_lines, lines = old.split("\n"), text.split("\n")
    wanted = [line.strip() for line in old_lines]
    stripped = [line.strip() for line in lines]
    for at in range(len(lines) - len(old_lines) + 1):
        if stripped[at : at + len(wanted)] == wanted:
            indent = _indent(lines[at])
            lines[at : at + len(old_lines)] = [
                _reindented(line, n, indent, old_lines) for n, line in enumerate(new.split("\n"))
            ]
            return "\n".join(lines)
    raise Refusal(f"Could not find exact match for edit:\n{shown}")


def _reindented(line: str, n: int, indent: str, old_lines: Sequence[str]) -> str:
    if n == 0:
        return indent + line.lstrip()
    old_indent = _indent(old_lines[n]) if n < len(old_lines) else ""
    new_indent = _indent(line)
    if not old_indent or not new_indent:
        return line
    return indent + " " * max(0, len(new_indent) - len(old_indent)) + line.lstrip()


def _indent(line: str) -> str:
    found = re.match(r"\s*", line)
    return found[0] if found else ""


def diff(before: str, after: str, path: str) -> str:
    """What `edit_file` answers: a unified diff in a fence that the diff does not hold."""
    header = f"Index: {path}\n{'=' * 67}\n--- {path}\toriginal\n+++ {path}\tmodified\n"
    made = header + "".join(_hunks(_lines(before.replace("\r\n", "\n")), _lines(after)))
    fence = "```"
    while fence in made:
        fence += "`"
    return f"{fence}diff\n{made}{fence}\n\n"


def _lines(text: str) -> list[str]:
    """Lines with their line feeds, split at those alone."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _hunks(before: list[str], after: list[str]) -> list[str]:
    made: list[str] = []
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for group in matcher.get_grouped_opcodes(_CONTEXT):
        (_, old_start, _, new_start, _), (_, _, old_end, _, new_end) = group[0], group[-1]
        made.append(f"@@ -{_span(old_start, old_end)} +{_span(new_start, new_end)} @@\n")
        for tag, i1, i2, j1, j2 in group:
            made += [_shown(" " if tag == "equal" else "-", line) for line in before[i1:i2]]
            made += [] if tag == "equal" else [_shown("+", line) for line in after[j1:j2]]
    return made


def _span(start: int, end: int) -> str:
    return f"{start + 1 if end > start else start},{end - start}"


def _shown(sign: str, line: str) -> str:
    return f"{sign}{line}" if line.endswith("\n") else f"{sign}{line}\n\\ No newline at end of file\n"
