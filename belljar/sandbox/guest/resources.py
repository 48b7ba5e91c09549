"""`importlib.resources` and `importlib.metadata` over packages that lie in no folder."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from importlib import metadata
from importlib.resources.abc import Traversable, TraversableResources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .packages import Packages

__all__ = ["Folder", "Reader", "distributions"]


class Folder(Traversable):
    """A file or a folder of a package."""

    def __init__(self, packages: Packages, path: str) -> None:
        self._packages = packages
        self._path = path

    @property
    def name(self) -> str:
        return self._path.rpartition("/")[2]

    def iterdir(self) -> Iterator[Folder]:
        below = f"{self._path}/"
        found = {path[len(below) :].partition("/")[0] for path in self._packages.files if path.startswith(below)}
        return iter([Folder(self._packages, below + name) for name in sorted(found)])

    def is_dir(self) -> bool:
        return self._packages.is_folder(self._path)

    def is_file(self) -> bool:
        return self._path in self._packages.files

    def joinpath(self, *descendants: Any) -> Folder:
        parts = [part for text in descendants for part in str(text).split("/") if part not in ("", ".")]
        return Folder(self._packages, "/".join([self._path, *parts]))

    __truediv__ = joinpath

    def read_bytes(self) -> bytes:
        return self._packages.read(self._path)

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def open(self, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        data = io.BytesIO(self.read_bytes())
        return data if "b" in mode else io.TextIOWrapper(data, *args, **{"encoding": "utf-8", **kwargs})


class Reader(TraversableResources):
    """What `importlib.resources.files` asks."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def files(self) -> Folder:
        return self._folder


class _Distribution(metadata.Distribution):
    def __init__(self, packages: Packages, folder: str) -> None:
        self._packages = packages
        self._folder = folder

    def read_text(self, filename: str) -> str | None:
        path = f"{self._folder}/{filename}"
        return self._packages.read(path).decode() if path in self._packages.files else None

    def locate_file(self, path: Any) -> Any:
        return Folder(self._packages, str(path))


def distributions(packages: Packages, name: str | None) -> Iterator[_Distribution]:
    """Those of this name, or all."""
    folders = {path.partition("/")[0] for path in packages.files if ".dist-info/" in path}
    for folder in sorted(folders):
        if name is None or _normal(folder.partition("-")[0]) == _normal(name):
            yield _Distribution(packages, folder)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
