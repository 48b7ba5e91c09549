"""The standard library, carried in memory.

A box has no files, and a module that was not seen when the interpreter was snapshotted does not exist at run time. So
at build time every module is compiled and kept as compressed code; what capabilities use most is imported right away
and costs nothing later. Docstrings and asserts are left out of what is carried: they are a third of its size.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import marshal
import os
import sys
import zlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

__all__ = ["PRELOADED", "UNAVAILABLE", "Carried", "install"]

# Test suites, GUIs, installers: no use in a box. Everything else is carried, also what will fail to import here.
_SKIPPED = frozenset({"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "site-packages", "__pycache__"})

UNAVAILABLE = frozenset(
    {"_aix_support", "_android_support", "_apple_support", "_ios_support", "_osx_support", "lib2to3", "turtle"}
)
"""Modules of the tree that are for other systems or need a screen: not carried."""

PRELOADED = """
    __future__ abc argparse ast asyncio base64 binascii bisect calendar cmath codecs collections.abc configparser
    contextlib contextvars copy csv dataclasses datetime decimal difflib email.message enum fnmatch fractions functools
    gc glob graphlib hashlib heapq hmac html html.parser inspect io ipaddress itertools json keyword linecache locale
    logging math numbers opcode operator os os.path pathlib pickle platform pprint queue random re reprlib secrets shlex
    statistics string string.templatelib struct tempfile textwrap threading time timeit tokenize tomllib traceback types
    typing unicodedata unittest urllib.parse uuid warnings weakref xml.etree.ElementTree zlib zoneinfo
""".split()
"""Imported while building: an `import` of one of these costs a look-up."""


class Carried(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and loads modules from memory. Last on `sys.meta_path`: built-in and frozen modules come first."""

    def __init__(self) -> None:
        self._modules: dict[str, tuple[bool, bytes, str]] = {}

    def add(self, name: str, is_package: bool, source: bytes, origin: str) -> None:
        code = compile(source, origin, "exec", dont_inherit=True, optimize=2)
        self._modules[name] = (is_package, zlib.compress(marshal.dumps(code), 9), origin)

    @property
    def names(self) -> list[str]:
        return sorted(self._modules)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        found = self._modules.get(fullname)
        if found is None:
            return None
        is_package, _, origin = found
        return importlib.util.spec_from_loader(fullname, self, origin=origin, is_package=is_package)

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        _, packed, origin = self._modules[module.__name__]
        module.__file__ = origin
        exec(marshal.loads(zlib.decompress(packed)), module.__dict__)


def _sources(root: str, prefix: str = "") -> Iterator[tuple[str, bool, str]]:
    for entry in sorted(os.listdir(root)):
        path = f"{root}/{entry}"
        if entry in _SKIPPED or entry.removesuffix(".py") in UNAVAILABLE:
            continue
        if entry.endswith(".py") and (prefix or entry != "__init__.py"):
            is_package = entry == "__init__.py"
            yield (prefix[:-1] if is_package else prefix + entry[:-3]), is_package, path
        elif os.path.exists(f"{path}/__init__.py"):
            yield from _sources(path, f"{prefix}{entry}.")


def install(root: str) -> Carried:
    """Carry every module below `root`, import what is preloaded, and make the rest importable."""
    carried = Carried()
    for name, is_package, path in _sources(root):
        with open(path, "rb") as file:
            carried.add(name, is_package, file.read(), path)
    sys.meta_path.append(carried)
    for name in PRELOADED:
        importlib.import_module(name)
    return carried
