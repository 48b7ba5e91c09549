"""The seven walls of Linux in their order: what the zygote makes ready and a worker puts up.

Imported by `walls.prepare`, on Linux and nowhere else. All that takes time or can be refused happens in `make_ready`;
`Ready.steps` is then system calls on what lies there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from belljar.errors import WallError
from belljar.sandbox import _landlock, _prctl, _rlimits, _seccomp, _threads

__all__ = ["Folders", "Ready", "count_threads", "make_ready", "stand"]

_T = TypeVar("_T")
Step = tuple[str, Callable[[], None]]


@dataclass(frozen=True, slots=True)
class Folders:
    """What Landlock grants; nothing by default."""

    read_only: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ready:
    """What lies ready in the zygote. Ruleset or filter is None if its wall is waived."""

    libc: _prctl.Libc
    parent: int
    ids: tuple[int, int]
    folders: Folders
    ruleset: _landlock.Ruleset | None
    filter: _seccomp.Filter | None
    kind: _rlimits.Kind

    def steps(self, room: _rlimits.Room | None, threads: _threads.Threads | None) -> list[Step]:
        """Each wall's name and what puts it up, in order; without those that are waived."""
        steps: list[Step] = [
            ("ids", partial(_prctl.drop_ids, self.libc, *self.ids)),
            ("pdeathsig", partial(_prctl.die_with_parent, self.libc, self.parent)),
            ("undumpable", partial(_prctl.make_undumpable, self.libc)),
            ("no_new_privs", partial(_prctl.forbid_new_privileges, self.libc)),
        ]
        if self.filter and threads:  # it needs a descriptor for a moment
            steps.append(("seccomp", partial(threads.install, self.libc)))
        if self.ruleset:
            steps.append(("landlock", partial(self.ruleset.enter, self.libc)))
        steps.append(("rlimits", partial(_rlimits.lower_limits, room, self.kind)))
        if self.filter:
            steps.append(("seccomp", partial(self.filter.load, self.libc)))
        return steps


def make_ready(waive: frozenset[str], folders: Folders, kind: _rlimits.Kind, ids: tuple[int, int]) -> Ready:
    """Ask the kernel, compile the filter, build the ruleset.

    Raises:
        WallError: a wall that is not waived cannot stand on this machine.
    """
    libc = _prctl.Libc()
    ruleset = filter_ = None
    if "seccomp" not in waive:
        filter_ = stand("seccomp", partial(_seccomp.build_filter, _allowed(kind)))
    if "landlock" not in waive:  # last: it holds a descriptor
        ruleset = stand("landlock", partial(_landlock.build_ruleset, libc, folders.read_only, folders.writable))
    return Ready(libc, os.getpid(), ids, folders, ruleset, filter_, kind)


def granting(ready: Ready, folder: str) -> Ready:
    """The same with a ruleset that also grants a folder to write in.

    Raises:
        WallError: it cannot be opened.
    """
    assert ready.ruleset is not None
    folders = replace(ready.folders, writable=(*ready.folders.writable, folder))
    build = partial(_landlock.build_ruleset, ready.libc, folders.read_only, folders.writable)
    ruleset = stand("landlock", build)
    ready.ruleset.close()
    return replace(ready, folders=folders, ruleset=ruleset)


def count_threads() -> _threads.Threads:
    """A counter for the workers of this process.

    Raises:
        WallError: no libseccomp, which knows the numbers.
    """
    return stand("seccomp", lambda: _threads.Threads(_seccomp.resolver()))


def stand(name: str, put_up: Callable[[], _T]) -> _T:
    """Do it, or say which wall is missing and what can be done about it."""
    try:
        return put_up()
    except OSError as exc:
        why = ", ".join(str(part) for part in (exc.strerror, exc.filename, errno.errorcode.get(exc.errno or 0)) if part)
        raise WallError(
            f"wall {name} does not stand here ({why}); use a kernel that has it, or go without it: --waive {name}",
            walls=(name,),
        ) from exc


def _allowed(kind: _rlimits.Kind) -> tuple[_seccomp.Allowed, ...]:
    allowed = _seccomp.ALLOWED
    if kind.native:
        allowed += _seccomp.NATIVE
    if kind.threads:
        allowed += _seccomp.THREADS
    if kind.reading or kind.writing:
        allowed += _seccomp.READING
    if kind.writing:
        allowed += _seccomp.WRITING
    return allowed
