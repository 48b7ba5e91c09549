"""A tree of files over a real one, as overlayfs keeps it: cells for what was written, everything else shows through.

    file   its text; or, moved here, the real file it comes from
    dir    the real folder that shows through it, or none: made new, or in place of one that was deleted
    gone   something real was here

A path without a cell is what its folder shows through. The tree never asks the target by itself: it says which real
path stands behind a path (`Lower`), and who needs to know more asks for that.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypedDict, cast

from belljar.faker.scene import Scene

__all__ = ["Dir", "File", "Lower", "Missing", "Node", "Tree"]

SPACE: Final = "filesystem"


class _Cell(TypedDict, total=False):
    kind: str
    text: str
    lower: str
    mode: str
    at: int


@dataclass(frozen=True, slots=True)
class File:
    """A file whose text was written here."""

    text: str
    mode: str
    at: int
    """When: the world's version."""


@dataclass(frozen=True, slots=True)
class Dir:
    """A folder with a cell."""

    lower: str | None
    at: int


@dataclass(frozen=True, slots=True)
class Lower:
    """Whatever is at this real path: a file, a folder, or nothing."""

    real: str


@dataclass(frozen=True, slots=True)
class Missing:
    """Nothing; and if `through` is set, because that is a file and no folder."""

    through: str = ""


Node = File | Dir | Lower | Missing


class Tree:
    """The tree as one call sees and changes it. Paths are absolute and normal."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def _cell(self, path: str) -> _Cell | None:
        return cast("_Cell | None", self._scene.get(SPACE, path))

    def node(self, path: str) -> Node:
        """What is at a path."""
        real: str | None = "/"
        walked = ""
        parts = [part for part in path.split("/") if part]
        node: Node = Lower("/")
        for at, part in enumerate(parts):
            walked = f"{walked}/{part}"
            cell = self._cell(walked)
            if cell is None:
                if real is None:
                    return Missing()
                real = posixpath.join(real, part)
                node = Lower(real)
                continue
            match cell.get("kind"):
                case "gone":
                    return Missing()
                case "dir":
                    real = cell.get("lower")
                    node = Dir(real, cell.get("at", 0))
                case _:
                    node = self._file(cell)
                    if at < len(parts) - 1:
                        return (
                            Missing(through=walked)
                            if isinstance(node, File)
                            else Lower(self._below(node, parts[at + 1 :]))
                        )
        return node

    def _file(self, cell: _Cell) -> File | Lower:
        if "text" in cell:
            return File(cell["text"], cell.get("mode", "644"), cell.get("at", 0))
        return Lower(cell.get("lower", ""))

    def _below(self, node: Lower, parts: list[str]) -> str:
        return posixpath.join(node.real, *parts)

    def moved(self, path: str) -> bool:
        """Whether what is at it is not what really is, whatever lies below."""
        node = self.node(path)
        return not isinstance(node, Lower | Dir) or (node.real if isinstance(node, Lower) else node.lower) != path

    def touched(self, path: str) -> bool:
        """Whether anything at or below it is not as it really is."""
        return self.moved(path) or next(self.below(path), None) is not None

    def below(self, path: str) -> Iterator[str]:
        """Paths with a cell below it."""
        prefix = path.rstrip("/") + "/"
        for key, _ in self._scene.changes.items(SPACE):
            if key.startswith(prefix):
                yield key

    def children(self, path: str) -> dict[str, Node]:
        """Names with a cell in a folder; `Missing` hides what shows through."""
        prefix = path.rstrip("/") + "/"
        names = [key[len(prefix) :] for key in self.below(path)]
        return {name: self.node(prefix + name) for name in names if "/" not in name}

    # changes

    def write(self, path: str, text: str, mode: str = "644") -> None:
        self._set(path, {"kind": "file", "text": text, "mode": mode, "at": self._scene.changes.seen + 1})

    def make_dir(self, path: str) -> None:
        """A new folder, through which nothing shows."""
        self._set(path, {"kind": "dir", "at": self._scene.changes.seen + 1})

    def move(self, source: str, target: str, *, is_dir: bool) -> None:
        """What is at `source`, with all below it."""
        node = self.node(source)
        below = [(key, cast("_Cell", self._cell(key))) for key in self.below(source)]
        cell = self._cell(source)
        if cell is None:
            assert isinstance(node, Lower)
            moved: _Cell = {"kind": "dir" if is_dir else "file", "lower": node.real, "at": self._scene.changes.seen + 1}
            cell = moved
        for key, each in below:
            self._set(key, None)
            self._set(target + key[len(source) :], each)
        self._set(target, cell)
        self._set(source, {"kind": "gone"} if self._shows_through(source) else None)

    def _shows_through(self, path: str) -> bool:
        """Whether something real might be seen at a path if it had no cell."""
        parent = self.node(posixpath.dirname(path))
        return isinstance(parent, Lower) or (isinstance(parent, Dir) and parent.lower is not None)

    def _set(self, path: str, cell: _Cell | None) -> None:
        self._scene.set(SPACE, path, cell)
