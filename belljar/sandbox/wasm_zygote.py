"""The wasm zygote: wasmtime and the compiled guest, loaded once; forks inside the first box's question for a job."""

from __future__ import annotations

import gc
import os
import socket
from typing import TYPE_CHECKING

from belljar.errors import WallError
from belljar.rpc.messages import Ready
from belljar.sandbox.carried import Carried
from belljar.sandbox.channel import Reporter
from belljar.sandbox.walls import prepare
from belljar.sandbox.worker import Worker
from belljar.sandbox.zygote import Zygote, ZygoteConfig

if TYPE_CHECKING:
    from belljar.sandbox._rlimits import Room

__all__ = ["run"]

# What the worker itself may need beside its box: frames of 16 MiB, decoded, and their texts.
_OWN_MEMORY = 256 << 20
# Address space wasmtime sets aside for one more box in a worker that is reused: 4 GiB and its guards.
_BOX_RESERVE = 12 << 30


class _Wasm:
    """Where the first box's question leads: the fork server, and each worker's walls."""

    def __init__(self, control: socket.socket, config: ZygoteConfig) -> None:
        self._config = config
        self._wall = prepare(waive=frozenset(config.waive))
        self._zygote = Zygote(control, self._confine)
        self._room: Room | None = None
        carried = Carried.read(config.packages) if config.packages >= 0 else None
        self.worker = Worker(self._serve, carried)

    def _serve(self) -> None:
        missing = {"wall", "monotonic", "random"} - self.worker.shadowed
        if missing:
            raise WallError(f"this wasmtime ignores our {', '.join(sorted(missing))}", walls=("wasm",))
        reused = self._config.reuse != 1
        gc.collect()
        gc.freeze()  # a collection in a worker must not copy these pages
        if not reused:
            gc.disable()  # nor must there be one: a worker lives for one run, and its own garbage is little
        self._room = self._wall.room(memory=self._config.memory + _OWN_MEMORY, reserve=_BOX_RESERVE if reused else 0)
        self._zygote.serve()

    def _confine(self, descriptors: list[int]) -> None:
        reporter = Reporter(socket.socket(fileno=descriptors[0]))
        walls = ("wasm", *self._wall.tighten(self._room))
        self.worker.attach(reporter, Ready("wasm", self.worker.python, walls))


def run(control: socket.socket, config: ZygoteConfig) -> None:
    """The life of a wasm zygote, and of every worker that comes out of it."""
    from wasmtime.component import Component

    from belljar.sandbox.engine import link, load_engine, new_run

    worker = _Wasm(control, config).worker
    engine = load_engine()
    component = Component.deserialize_file(engine, f"/proc/self/fd/{config.cwasm}")
    linker = link(engine, worker)
    enter = new_run(engine, linker, component, config.memory)
    for _ in range(config.reuse):  # the first turn is entered by the zygote; a worker comes out of it
        try:
            worker.report(*enter())
        except Exception as exc:  # a trap: the box broke down, and its worker with it
            if not worker.attached:
                raise  # no worker yet: the zygote itself cannot serve
            worker.report_trap(exc)
            break
        if config.reuse > 1:
            enter = new_run(engine, linker, component, config.memory)
    os._exit(0)
