"""Dependencies of a capability, in a box: modules and data that the worker carries, asked for when they are imported.

A box has no files, so a package's files are asked for one by one, over the border, as text. Only what is imported
crosses. They come after the standard library: no package can stand in for a module of it.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from .resources import Folder, Reader, distributions

__all__ = ["ROOT", "Packages", "install"]

ROOT = "/packages"
"""Where packages seem to lie: what `__file__` begins with."""


class Packages(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and loads modules of dependencies."""

    def __init__(self, ask: Callable[[str], str | None]) -> None:
        self._ask = ask
        self._files: frozenset[str] | None = None
        self._folders: frozenset[str] = frozenset()

    # ---- what there is

    @property
    def files(self) -> frozenset[str]:
        """Paths of all files, below the root."""
        if self._files is None:
            self._files = frozenset(json.loads(self._ask("") or "[]"))
            self._folders = frozenset(
                path[:end] for path in self._files for end, letter in enumerate(path) if letter == "/"
            )
        return self._files

    def is_folder(self, path: str) -> bool:
        """Whether there is something below this path."""
        return bool(self.files) and path in self._folders

    def read(self, path: str) -> bytes:
        """The bytes of a file.

        Raises:
            FileNotFoundError: there is none.
        """
        text = self._ask(path) if path in self.files else None
        if text is None:
            raise FileNotFoundError(2, "No such file or directory", f"{ROOT}/{path}")
        return text.encode("latin-1")

    # ---- modules

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        place = fullname.replace(".", "/")
        for file, is_package in ((f"{place}/__init__.py", True), (f"{place}.py", False)):
            if file in self.files:
                return self._spec(fullname, file, place if is_package else None)
        return self._spec(fullname, None, place) if self.is_folder(place) else None

    def _spec(self, name: str, file: str | None, folder: str | None) -> importlib.machinery.ModuleSpec:
        loader, origin = (self, f"{ROOT}/{file}") if file is not None else (None, None)
        spec = importlib.machinery.ModuleSpec(name, loader, origin=origin, is_package=folder is not None)
        if folder is not None:
            spec.submodule_search_locations = [f"{ROOT}/{folder}"]
        spec.has_location = file is not None
        return spec

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.get_code(module.__name__), module.__dict__)

    def get_code(self, fullname: str) -> Any:
        place = self._place(fullname)
        return compile(self.read(place), f"{ROOT}/{place}", "exec", dont_inherit=True)

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self.read(self._place(fullname)))

    def is_package(self, fullname: str) -> bool:
        return self._place(fullname).endswith("/__init__.py")

    def get_data(self, path: str) -> bytes:
        return self.read(path.removeprefix(f"{ROOT}/"))

    def _place(self, fullname: str) -> str:
        place = fullname.replace(".", "/")
        package = f"{place}/__init__.py"
        return package if package in self.files else f"{place}.py"

    # ---- data beside them

    def get_resource_reader(self, fullname: str) -> Any:
        return Reader(Folder(self, fullname.replace(".", "/")))

    def find_distributions(self, context: Any = None) -> Iterator[Any]:
        return distributions(self, getattr(context, "name", None))


def install(ask: Callable[[str], str | None]) -> None:
    """Make dependencies importable, after all else."""
    sys.meta_path.append(Packages(ask))
