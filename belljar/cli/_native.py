"""What `belljar run` does before there is a box: dependencies, and a folder for files.

A capability's dependencies are fetched when a person has said yes: `--install` does, or an answer at the terminal.
Without either the run ends APPROVAL_REQUIRED, and nothing was looked up.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from belljar import show
from belljar.cli import _screen
from belljar.config import Config
from belljar.errors import ConfigError
from belljar.sandbox.loader import Capability
from belljar.sandbox.packages import Installation, Store, requirements_of
from belljar.sandbox.workfolder import Keeping, check_destination

__all__ = ["install", "keeping", "tell_kept"]

_SHOWN = 40


def install(capability: Capability, config: Config, backend: str, *, yes: bool, may_ask: bool) -> None:
    """Make its dependencies ready for this kind of box, if it has any.

    Raises:
        BelljarError: nobody said yes (APPROVAL_REQUIRED), or they cannot be had.
    """
    requirements = requirements_of(capability)
    if not requirements:
        return
    store = Store(config.paths.cache, config.paths.data, requirements, backend)

    def approve(what: str, names: Sequence[str]) -> bool:
        return yes or (may_ask and os.isatty(0) and sys.stderr.isatty() and _ask(what, names))

    Installation(store, approve).run()


def _ask(what: str, names: Sequence[str]) -> bool:
    shown = ", ".join(show.name(name) for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    _screen.note(f"\nThe capability depends on packages. To {what}, as pip or uv is configured here: {shown}{more}")
    print(f"{what.capitalize()} them? [y]es / [n]o: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def keeping(destination: str | None) -> Keeping | None:
    """Where the files of the run shall go.

    Raises:
        ConfigError: there is something there.
    """
    if destination is None:
        return None
    if not destination:
        raise ConfigError("--keep-files needs a folder")
    folder = Path(os.path.abspath(destination))
    check_destination(folder)
    return Keeping(folder)


def tell_kept(wish: Keeping | None) -> None:
    """What came of it, on standard error."""
    if wish is None or wish.kept is None:
        return
    kept = wish.kept
    where = show.text(str(wish.destination), max_chars=200)
    _screen.note(f"belljar: {len(kept.files)} files, {kept.bytes} bytes, kept in {where}; {kept.refused} left behind")
    for reason in kept.reasons:
        _screen.note(f"  left behind: {show.text(reason, max_chars=300)}")
