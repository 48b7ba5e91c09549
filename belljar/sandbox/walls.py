"""Wall 2: a worker takes its own rights away, for good, before anything of a guest's is near it.

`prepare` runs in the zygote: trusted, single-threaded, before any fork. It asks the kernel what it can do, compiles the
seccomp filter and builds the Landlock ruleset, and fails there if a wall cannot stand. `Wall.tighten` runs in each
worker right after the fork and takes 1-2 ms: system calls on what lies ready, no file opened, nothing imported. The
order matters:

    ids          first: it needs rights that the others take away
    pdeathsig    a change of credentials would clear it
    undumpable   the same
    no_new_privs the kernel asks for it before the next two
    landlock     denies files, TCP, signals and abstract sockets to what seccomp lets through
    rlimits      after the last descriptor was closed, so that no slot below the limit is free
    seccomp      last: it forbids all of the above

The walls overlap on purpose: `Wall.alone` puts up one of them, so that `probes.py` can show that each denies what it is
there for when no other helps. Waiving a wall leaves it out altogether; that is never silent, `waived` says so.
Everything before `tighten` runs unconfined, so a worker's bootstrap reads nothing a guest could have written.

Elsewhere than on Linux there is no wall 2: the profile is "wasm-only", and WebAssembly alone confines. What is left to
the worker: closing the descriptors it does not need, and holding no secret.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from belljar.errors import ConfigError

if TYPE_CHECKING:
    from belljar.sandbox._linux import Ready
    from belljar.sandbox._rlimits import Room
    from belljar.sandbox._threads import Threads

__all__ = ["NOBODY", "WALLS", "Wall", "WallInfo", "check_waivable", "prepare"]

# `nobody` everywhere; owns nothing, so a worker that got out of all else could still not touch a user's files.
NOBODY = 65534
"""Whom a worker becomes that was started by root."""


@dataclass(frozen=True, slots=True)
class WallInfo:
    """One wall: what it stops, and what follows if it is missing."""

    name: str
    stops: str
    without: str


WALLS = (
    WallInfo(
        "ids",
        "being root, or holding any capability or group",
        "a worker started as root keeps root's rights wherever another wall has a gap",
    ),
    WallInfo(
        "pdeathsig",
        "outliving the process that started it",
        "after a crash of the host a worker may go on running, unwatched and without a deadline",
    ),
    WallInfo(
        "undumpable",
        "core files, and other processes of the same user reading its memory",
        "arguments and results of a run can be read from /proc or a core file by other programs of that user",
    ),
    WallInfo(
        "no_new_privs",
        "gaining rights by running a set-user-id program",
        "with it go landlock and seccomp for ordinary users: the kernel insists on it",
    ),
    WallInfo(
        "landlock",
        "files, TCP, signals and abstract sockets of others",
        "files and the network are closed by seccomp alone",
    ),
    WallInfo(
        "rlimits",
        "new descriptors, files, processes, core dumps, locked memory and message queues",
        "a worker that got out of its box may use up the machine",
    ),
    WallInfo(
        "seccomp",
        "every system call not on a short list: sockets, processes, files, keys, tracing, new executable memory",
        "the whole of the kernel can be attacked from inside the worker",
    ),
)
"""Every wall, in the order they go up. The list is closed; names are what `--waive` takes and a trace shows."""

_NAMES = tuple(info.name for info in WALLS)


@dataclass(frozen=True, slots=True)
class Wall:
    """Wall 2 as prepared for the workers of one zygote. Make one with `prepare`."""

    profile: str
    """"linux", or "wasm-only" where there is no wall 2."""
    waived: frozenset[str]
    _ready: Ready | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The walls `tighten` puts up, in order; the rest is waived."""
        return tuple(info.name for info in WALLS if info.name not in self.waived) if self._ready else ()

    @property
    def landlock_abi(self) -> int:
        """The kernel's Landlock version; 0 without Landlock or if it is waived."""
        return self._ready.ruleset.abi if self._ready and self._ready.ruleset else 0

    def room(self, *, memory: int, reserve: int = 0) -> Room | None:
        """Ceilings for workers forked from here on, beyond what this process holds now; part of the wall "rlimits".

        Args:
            memory: bytes of private writable memory.
            reserve: bytes of address space that are never written: wasmtime reserves 4 GiB and guards for each box.

        Raises:
            WallError: there is no /proc to measure by.
        """
        if self._ready is None:
            return None
        from belljar.sandbox._linux import stand
        from belljar.sandbox._rlimits import Room

        return stand("rlimits", lambda: Room.beyond_now(memory, reserve))

    def threads(self) -> Threads | None:
        """What counts the threads of workers forked from here on; part of the wall "seccomp".

        Raises:
            WallError: this kernel cannot.
        """
        if self._ready is None or self._ready.filter is None:
            return None
        from belljar.sandbox._linux import count_threads

        return count_threads()

    def tighten(self, room: Room | None = None, threads: Threads | None = None) -> tuple[str, ...]:
        """Put every wall up around this process, just forked from the one that prepared, and name them.

        `threads` must be answered by that one from then on.

        Raises:
            WallError: a wall did not go up; `walls` names it. The process must end: it is half walled in.
        """
        if self._ready is None:
            return ()
        from belljar.sandbox._linux import stand  # there already: `prepare` imported it

        names = self.names
        for name, put_up in self._ready.steps(room, threads):
            if name in names:
                stand(name, put_up)
        return names

    def granting(self, folder: str) -> Wall:
        """The same wall, for one worker that may also write in this folder. Built there: rulesets are shared by forks.

        Raises:
            WallError: the folder cannot be granted.
        """
        if self._ready is None or self._ready.ruleset is None:
            return self
        from belljar.sandbox._linux import granting

        return replace(self, _ready=granting(self._ready, folder))

    def alone(self, name: str) -> Wall:
        """This wall with only `name` up, to see what it does by itself.

        With it comes no_new_privs where the kernel asks for it. What is waived stays waived. Both share one descriptor:
        close only one.
        """
        needed = {name, "no_new_privs"} if name in ("landlock", "seccomp") else {name}
        others = frozenset(info.name for info in WALLS if info.name not in needed)
        return replace(self, waived=self.waived | others)

    def close(self) -> None:
        """Give back the one descriptor held ready for workers."""
        if self._ready and self._ready.ruleset:
            self._ready.ruleset.close()


def check_waivable(waive: frozenset[str]) -> None:
    """
    Raises:
        ConfigError: a name in `waive` is no wall's.
    """
    if unknown := waive.difference(_NAMES):
        raise ConfigError(f"no wall is called {', '.join(sorted(unknown))}; there are: {', '.join(_NAMES)}")


def prepare(
    *,
    waive: frozenset[str] = frozenset(),
    read_only: tuple[str, ...] = (),
    writable: tuple[str, ...] = (),
    threads: bool = False,
    native: bool = False,
    work: bool = False,
    uid: int = NOBODY,
    gid: int = NOBODY,
) -> Wall:
    """Make everything ready for workers forked from this process.

    Args:
        waive: walls to leave out, by name.
        read_only: folders a worker may read and import from.
        writable: folders it may read, write, and remove files in.
        threads: whether it may start threads.
        native: whether it runs a capability in CPython itself, rather than in a box.
        work: whether each is granted a work folder of its own, by `granting`.
        uid: whom to become if started as root.
        gid: its group.

    Raises:
        ConfigError: `waive` names no wall.
        WallError: a wall cannot stand on this machine and is not waived; `walls` names it.
    """
    check_waivable(waive)
    if sys.platform != "linux":
        return Wall("wasm-only", waive)
    from belljar.sandbox._linux import Folders, make_ready  # Linux alone has what it imports
    from belljar.sandbox._rlimits import Kind

    kind = Kind(threads, bool(read_only), work or bool(writable), native)
    return Wall("linux", waive, make_ready(waive, Folders(read_only, writable), kind, (uid, gid)))
