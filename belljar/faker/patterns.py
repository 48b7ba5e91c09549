"""Patterns of tools, as overrides and faults are given for: `write_file`, `git_*`, and with the server `git:git_*`.

The name of a tool is its server's to choose: `git:wipe_all` of a server `evil` must not pass for a tool of `git`. So
what a pattern says of the server is held against the server, and what it says of the tool against the tool.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

__all__ = ["fits"]


def fits(pattern: str, server: str, tool: str) -> bool:
    """Whether it means this tool of this server; a pattern without a colon means tools of any server."""
    if ":" not in pattern:
        return fnmatchcase(tool, pattern)
    # A server may have a colon in its name, which the user chose: any colon of the pattern may be the one between.
    colons = (at for at, character in enumerate(pattern) if character == ":")
    return any(fnmatchcase(server, pattern[:at]) and fnmatchcase(tool, pattern[at + 1 :]) for at in colons)
