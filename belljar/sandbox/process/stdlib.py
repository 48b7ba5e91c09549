"""The standard library of a native box: in memory, because a box can read no file.

Letting it read the library's folder was tried and dropped. It takes the system calls that open and stat any path, and
those tell of every path on the machine whether it exists; and a worker started by root becomes `nobody`, who may not
even enter the folder where root's Python lies. So the zygote reads what CPython has compiled already (11 MB in 20 ms),
imports every extension module that is a file of its own, and forks. What was never compiled is carried as its source.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import marshal
import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from types import CodeType, ModuleType

__all__ = ["Carried", "carry"]

# Test suites, GUIs, installers: no use in a box.
_SKIPPED = frozenset(
    {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "site-packages", "lib2to3", "__pycache__"}
)
# For terminals, screens, passwords and CPython's own tests; some change the process they are loaded into.
_NOT_IMPORTED = tuple("_test _xx xx _ctypes_test _tkinter _curses readline nis ossaudiodev syslog".split())
_HEADER_BYTES = 16


class Carried(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and loads modules from memory. Before all that looks into folders: the library comes first everywhere."""

    def __init__(self) -> None:
        self._modules: dict[str, tuple[bool, bytes, str]] = {}

    def add(self, name: str, is_package: bool, path: str) -> None:
        """Read a module, compiled if CPython has compiled it."""
        with suppress(OSError), open(importlib.util.cache_from_source(path), "rb") as file:
            data = file.read()
            if data.startswith(importlib.util.MAGIC_NUMBER):
                self._modules[name] = (is_package, data, "")
                return
        with suppress(OSError), open(path, "rb") as file:
            self._modules[name] = (is_package, file.read(), path)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module, if it is carried."""
        found = self._modules.get(fullname)
        if found is None:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin="carried", is_package=found[0])

    def create_module(self, spec: ModuleSpec) -> None:
        """The default one."""

    def exec_module(self, module: ModuleType) -> None:
        """Execute it."""
        exec(self.get_code(module.__name__), module.__dict__)  # noqa: S102 - the standard library's own code

    def get_code(self, fullname: str) -> CodeType:
        """Its code; how `runpy` and `inspect` ask too."""
        _, data, path = self._modules[fullname]
        if path:
            return compile(data, path, "exec", dont_inherit=True)
        return marshal.loads(memoryview(data)[_HEADER_BYTES:])  # noqa: S302 - as above

    def get_source(self, fullname: str) -> None:
        """Only compiled code is carried."""


def carry(preloaded: Sequence[str]) -> Carried:
    """Make the whole library importable without a file; import what is `preloaded`, and every extension module."""
    carried = Carried()
    for name, is_package, path in _sources(sysconfig.get_path("stdlib")):
        carried.add(name, is_package, path)
    for name in [*preloaded, *_extensions()]:
        with suppress(Exception):  # this Python was built without it, or is older than the module
            importlib.import_module(name)
    sys.meta_path.insert(-1, carried)
    return carried


def _sources(root: str, prefix: str = "") -> Iterator[tuple[str, bool, str]]:
    with os.scandir(root) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = entry.name
            if name in _SKIPPED:
                continue
            if name.endswith(".py") and (prefix or name != "__init__.py"):
                is_package = name == "__init__.py"
                yield (prefix[:-1] if is_package else prefix + name[:-3]), is_package, entry.path
            elif entry.is_dir() and os.path.exists(f"{entry.path}/__init__.py"):
                yield from _sources(entry.path, f"{prefix}{name}.")


def _extensions() -> list[str]:
    suffix = EXTENSION_SUFFIXES[0]
    try:
        found = os.listdir(str(sysconfig.get_config_var("DESTSHARED")))
    except OSError:
        return []  # a Python with all of them built in
    names = [name.removesuffix(suffix) for name in sorted(found) if name.endswith(suffix)]
    return [name for name in names if not name.startswith(_NOT_IMPORTED)]
