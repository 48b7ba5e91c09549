"""wasmtime as we use it: one configuration, and the imports a box gets.

WASI 0.2 is linked because CPython cannot start without it, with nothing granted: no folders, no environment, no
arguments, no network. Randomness and clocks are defined over again by us (`allow_shadowing`), so that a box with a
given seed and given clock readings runs the same way twice. Whether that took effect is checked, not assumed: the name
of an interface holds its version, and a definition under another version is silently not used.

Epochs are left out: they cost 25-45 % and do not end a sleep. A deadline is the end of the worker process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from wasmtime import Config, Engine, Store, WasiConfig
from wasmtime.component import Component, Linker, LinkerInstance, Record, ResourceAny, Variant

__all__ = ["Imports", "NotInABoxError", "compile_component", "link", "load_engine", "new_run"]

# What wasmtime 50 registers WASI under. A newer one makes `Imports` unused, and the zygote then refuses to serve.
_WASI = "0.2.12"

# wasmtime's default is 512 KiB, which CPython exhausts (a trap) before its own limits raise RecursionError. More than
# 2 MiB wasmtime refuses, because of stacks for async code that we do not use.
_STACK_BYTES = 1536 << 10
_SOCKETS = (
    ("tcp-create-socket", "create-tcp-socket"),
    ("udp-create-socket", "create-udp-socket"),
    ("ip-name-lookup", "resolve-addresses"),
)
_WAITS = ("poll", "[method]pollable.block")
_WRITES = ("blocking-write-and-flush", "blocking-flush", "blocking-write-zeroes-and-flush")


class NotInABoxError(Exception):
    """The box asked WASI for what there is none of here."""


class Imports(Protocol):
    """What the box asks of the worker."""

    def job(self, store: Any) -> tuple[str, str, str, bool]: ...

    def step(self, store: Any, calls: str, timeout_ms: int) -> str: ...

    def log(self, store: Any, stream: str, text: str) -> None: ...

    def packaged(self, store: Any, path: str) -> str | None: ...

    def random_bytes(self, store: Any, count: int) -> bytes: ...

    def random_u64(self, store: Any) -> int: ...

    def wall_ns(self, store: Any) -> int: ...

    def monotonic_ns(self, store: Any) -> int: ...


def load_engine() -> Engine:
    """An engine without threads of its own: a fork keeps only the thread that forks."""
    config = Config()
    config.parallel_compilation = False
    config.max_wasm_stack = _STACK_BYTES
    return Engine(config)


def compile_component(component: bytes) -> bytes:
    """Native code for this machine. Uses every core, so it is for a process that ends right after."""
    return bytes(Component(Engine(Config()), component).serialize())


def link(engine: Engine, imports: Imports) -> Linker:
    """The imports of every box of this process."""
    linker = Linker(engine)
    linker.allow_shadowing = True
    linker.add_wasip2()
    with linker.root() as root:
        root.add_func("job", imports.job)
        root.add_func("step", imports.step)
        root.add_func("log", imports.log)
        root.add_func("packaged", imports.packaged)
        with root.add_instance(f"wasi:random/random@{_WASI}") as random:
            random.add_func("get-random-bytes", imports.random_bytes)
            random.add_func("get-random-u64", imports.random_u64)
        with root.add_instance(f"wasi:clocks/monotonic-clock@{_WASI}") as monotonic:
            monotonic.add_func("now", imports.monotonic_ns)
        with root.add_instance(f"wasi:clocks/wall-clock@{_WASI}") as wall:
            wall.add_func("now", partial(_datetime, imports))
        _close_network(root)
        _close_waits(root)
    return linker


def _close_network(root: LinkerInstance) -> None:
    # WASI would deny these too, having been granted nothing, but only after starting threads of its own for it, which
    # wall 2 forbids: a guest that opened a socket would be a worker that crashed, where an OSError tells it more.
    for interface, function in _SOCKETS:
        with root.add_instance(f"wasi:sockets/{interface}@{_WASI}") as sockets:
            sockets.add_func(function, _denied)


def _close_waits(root: LinkerInstance) -> None:
    # The same threads stand behind whatever may wait. Python's own waits and prints go through `step` and `log`; here
    # come `select`, C code that prints before it aborts (to nobody: it goes on and aborts), and who looks for trouble.
    with root.add_instance(f"wasi:io/poll@{_WASI}") as poll:
        for name in _WAITS:
            poll.add_func(name, _no_wait)
    with root.add_instance(f"wasi:io/streams@{_WASI}") as streams:
        for name in _WRITES:
            streams.add_func(f"[method]output-stream.{name}", _unheard)


def _no_wait(store: Any, waited_for: ResourceAny | list[ResourceAny]) -> Any:
    # More than one in a list never gets here: wasmtime 50 fails to hand them over, and that is a trap too.
    _give_back(store, waited_for if isinstance(waited_for, list) else [waited_for])
    raise NotInABoxError("the capability waits below Python (select, poll): a box has no descriptors to wait for")


def _unheard(store: Any, *args: Any) -> Variant:
    _give_back(store, args)
    return Variant("ok")


def _denied(store: Any, *args: Any) -> str:
    _give_back(store, args)
    return "access-denied"


def _give_back(store: Any, lent: Iterable[Any]) -> None:
    """A handle that was lent for a call has to be dropped before it ends."""
    for each in lent:
        if isinstance(each, ResourceAny):
            each.drop(store)


def _datetime(imports: Imports, store: Any) -> Record:
    record: Any = Record()
    record.seconds, record.nanoseconds = divmod(imports.wall_ns(store), 1_000_000_000)
    return record


def new_run(engine: Engine, linker: Linker, component: Component, memory: int) -> Callable[[], tuple[bool, str, str]]:
    """A fresh box, ready to run; calling it enters the guest."""
    store = Store(engine)
    store.set_limits(memory_size=memory)
    store.set_wasi(WasiConfig())
    run: Any = linker.instantiate(store, component).get_func(store, "run")
    return lambda: run(store)
