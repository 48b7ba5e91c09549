"""The command line: one module a verb, each of them wiring and nothing more.

A run of one expression ought to feel like starting Python, so what is imported is what is used: of the verbs only the
one that was asked for is loaded, rich when there is something to draw, the MCP client when a server is called. Help is
plain text for the same reason, and because our texts hold brackets that a markup would eat.

Exit statuses are those of `errors.EXIT`; misuse of options is 2. No traceback of ours ever reaches a user: `ending`
sees to that for what a verb does, and what goes wrong before is the option parser's own one line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program and exit."""
    _hold_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _call(words)
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


def _hold_streams() -> None:
    """Give a stream that was closed by whoever started us to nobody.

    Otherwise the next socket gets its number, and what is meant for stderr is printed on stdout.
    """
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), fd)
            setattr(sys, name, open(fd, "r" if fd == 0 else "w", closefd=False))  # noqa: SIM115 - for good


def _call(words: list[str]) -> int:
    if words[:1] == ["run"]:
        from belljar.cli import _words

        given = _words.read(words[1:])
        if given is not None:
            from belljar.cli import _running

            return _running.run(_running.Wanted.of(**given))
    if words[:1] == ["faker"]:
        from belljar.cli import _words

        given = _words.read_faker(words[1:])
        if given is not None:
            from belljar.cli import _faker_proxy

            return _faker_proxy.run(_faker_proxy.Wanted.of(**given))
    from belljar.cli._app import call

    return call(words)
