"""The transport seam below the guest: the few things a backend must offer. Two exist: the component's imports, and
frames on a socket in a native process."""

from __future__ import annotations

from typing import NamedTuple, Protocol

__all__ = ["CAPABILITY_FILE", "Host", "Job"]

CAPABILITY_FILE = "<capability>"
"""File name under which the capability is compiled: how its own frames are told from ours."""


class Job(NamedTuple):
    """What to run."""

    code: str
    args: str
    """JSON text of one object."""
    seed: str
    """Seeds the `random` module, whose state would otherwise be that of the snapshot: the same in every box."""
    decisions: bool


class Host(Protocol):
    """What the other side of the border does for the guest."""

    def job(self) -> Job:
        """Block until there is something to run."""
        ...

    def step(self, calls: str, timeout_ms: int) -> str:
        """Send new calls, wait for answers; see `wit/world.wit` for both texts."""
        ...

    def log(self, stream: str, text: str) -> None:
        """Pass on what was printed."""
        ...

    def wake(self) -> None:
        """End a step that waits, from another thread; nothing where there are none."""
        ...
