"""The component's entry: executed once at build time, then snapshotted.

`run` asks for a job, and is told to rehearse one first as often as the worker likes: a rehearsal runs a whole job with
nobody on the other side, so that the pages an interpreter touches are this box's own when the real job comes. Page
faults are most of a fresh box's answer time.
"""

from __future__ import annotations

import gc
import platform

import wit_world

from . import packages, patched, stdlib
from .plug import plug
from .rehearsal import rehearse
from .runner import execute
from .seam import Job

CARRIED = stdlib.install("/python")
packages.install(wit_world.packaged)


class _Component:
    """The real host: the imports of the component."""

    def job(self) -> Job:
        return Job(*wit_world.job())

    def step(self, calls: str, timeout_ms: int) -> str:
        return wit_world.step(calls, timeout_ms)

    def log(self, stream: str, text: str) -> None:
        wit_world.log(stream, text)

    def wake(self) -> None:
        pass


class WitWorld(wit_world.WitWorld):
    """The component's one export."""

    def run(self) -> tuple[bool, str, str]:
        host = _Component()
        host.log("", platform.python_version())
        job, whole = host.job(), True
        while not job.code:  # the worker wants a rehearsal first
            rehearse(whole=whole)
            # The second is in a fork of the first: each page it writes to is copied, so it takes the shortest way.
            job, whole = host.job(), False
        return tuple(execute(host, job))  # type: ignore[return-value]


rehearse()
# What is alive now lives as long as any box: a collection inside a box must not visit (and so copy) these pages.
patched.keep_seed_quiet()
gc.collect()
plug()
gc.freeze()
