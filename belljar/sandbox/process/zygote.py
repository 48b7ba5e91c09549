"""The native zygote: CPython with the standard library and the guest package in memory; forks workers behind wall 2."""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.util
import os
import platform
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from belljar.rpc.messages import Ready
from belljar.sandbox.channel import Reporter
from belljar.sandbox.componentize import GUEST
from belljar.sandbox.process.stdlib import carry
from belljar.sandbox.process.worker import NativeHost, forget, hide_machine, our_modules, serve
from belljar.sandbox.walls import prepare
from belljar.sandbox.zygote import Zygote, ZygoteConfig

if TYPE_CHECKING:
    from belljar.sandbox._rlimits import Room

__all__ = ["run"]

# The frames of this side: one of 16 MiB, decoded or encoded.
_OWN_MEMORY = 48 << 20
# What libc reserves for heaps of threads and never writes.
_RESERVE = 4 << 30
# Libraries of the system that wheels count on (manylinux): a worker cannot open them any more.
_SYSTEM_LIBRARIES = """
    libm.so.6 libdl.so.2 librt.so.1 libutil.so.1 libpthread.so.0 libresolv.so.2 libgcc_s.so.1 libstdc++.so.6
    libatomic.so.1 libz.so.1 libexpat.so.1
""".split()


class _Native:
    """The life of the zygote, and of every worker that comes out of it."""

    def __init__(self, control: socket.socket, config: ZygoteConfig) -> None:
        self._config = config
        packages = _folder(config.packages)
        self._path = [packages] if packages else []
        self._wall = prepare(
            waive=frozenset(config.waive), read_only=tuple(self._path), threads=True, native=True, work=config.work
        )
        self._threads = self._wall.threads()
        self._zygote = Zygote(control, self._confine, self._threads)
        self._room: Room | None = None
        self._reporter: Reporter | None = None
        self._host: NativeHost | None = None
        self._walls: tuple[str, ...] = ()
        self._ours: tuple[str, ...] = ()

    def run(self) -> None:
        guest = _load_guest()
        carry(guest.stdlib.PRELOADED)
        if self._path:
            _load_system_libraries()
        guest.rehearsal.rehearse()
        sys.path[:] = self._path
        hide_machine()
        self._ours = our_modules()
        gc.collect()
        gc.freeze()  # a collection in a worker must not copy these pages
        self._room = self._wall.room(memory=self._config.memory + _OWN_MEMORY, reserve=_RESERVE)
        self._zygote.serve()
        self._be_worker(guest)

    def _confine(self, descriptors: list[int]) -> None:
        channel, stdout, stderr, *folders = descriptors
        for descriptor, standard in ((stdout, 1), (stderr, 2)):
            os.dup2(descriptor, standard)
            os.close(descriptor)
        wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._reporter = Reporter(socket.socket(fileno=channel), wake)
        self._host = NativeHost(self._reporter, wake)
        wall = self._wall
        for folder in folders:  # one, if there is a work folder
            os.fchdir(folder)
            wall = wall.granting(_folder(folder))
            os.close(folder)
        self._walls = wall.tighten(self._room, self._threads)

    def _be_worker(self, guest: Any) -> NoReturn:
        assert self._reporter is not None
        assert self._host is not None
        forget(self._ours)
        guest.rehearsal.rehearse(whole=False)
        ready = Ready("process", platform.python_version(), self._walls)
        serve(self._host, self._reporter, ready, guest.runner.execute, guest.seam.Job)


def _folder(descriptor: int) -> str:
    """A path of an open folder that a worker can walk, whoever it has become and wherever the folder lies."""
    return f"/proc/self/fd/{descriptor}" if descriptor >= 0 else ""


def _load_guest() -> Any:
    """The guest package under the name it has in a component, with the modules that are used here."""
    spec = importlib.util.spec_from_file_location(
        "guest", GUEST / "__init__.py", submodule_search_locations=[str(GUEST)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules["guest"] = guest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(guest)
    for name in ("rehearsal", "runner", "seam", "stdlib"):
        importlib.import_module(f"guest.{name}")
    return guest


def _load_system_libraries() -> None:
    for name in _SYSTEM_LIBRARIES:
        with suppress(OSError):  # not on this machine: a wheel that needs it says so
            ctypes.CDLL(name)


def run(control: socket.socket, config: ZygoteConfig) -> None:
    """The life of a native zygote, and of every worker that comes out of it."""
    _Native(control, config).run()
