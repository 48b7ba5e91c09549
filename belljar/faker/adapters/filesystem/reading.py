"""What is at a path of the fake tree, asking the target for what shows through."""

from __future__ import annotations

import base64
import os
import posixpath
import re
import time
from typing import Any, Final, Literal, cast
from urllib.parse import quote

from belljar.faker import results
from belljar.faker.adapters.filesystem import globs, texts
from belljar.faker.adapters.filesystem.tree import Dir, File, Lower, Missing, Node, Tree
from belljar.faker.calls import RealError
from belljar.faker.results import Answer
from belljar.faker.scene import Refusal, Scene
from belljar.rpc import jsontext
from belljar.rpc.world import JsonValue

__all__ = ["Reading", "Seen"]

Kind = Literal["file", "dir", ""]
_ALLOWED: Final = "list_allowed_directories"
_DRIVE: Final = re.compile(r"[A-Za-z]:(?:[\\/]|$)")
_MAX_DEPTH: Final = 60
_MAX_ENTRIES: Final = 50_000
_MAX_FOLDERS: Final = 1_000
_FRESH_S: Final = 2.0
_MIME: Final = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".svg": "image/svg+xml",
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
    ".ogg": "audio/ogg",
    ".flac": "audio/flac",
}
_INVENTED: Final = (("README.md", False), ("notes.txt", False), ("src", True))


class Seen:
    """What the target said of folders a moment ago, so that a burst of writes asks once.

    Only writes go by it, and nothing is really written: what changed meanwhile costs an answer its exactness at most.
    """

    def __init__(self) -> None:
        self.allowed: tuple[float, list[str]] = (0.0, [])
        self.folders: dict[str, tuple[float, dict[str, bool]]] = {}

    def folder(self, real: str) -> dict[str, bool] | None:
        until, entries = self.folders.get(real, (0.0, {}))
        return entries if time.monotonic() < until else None

    def saw(self, real: str, entries: dict[str, bool]) -> None:
        if len(self.folders) >= _MAX_FOLDERS:
            self.folders.clear()
        self.folders[real] = time.monotonic() + _FRESH_S, entries


class Reading:
    """The tree together with what is real, for one call."""

    def __init__(self, scene: Scene, tree: Tree, seen: Seen) -> None:
        self._scene = scene
        self._tree = tree
        self._seen = seen

    @property
    def _alone(self) -> bool:
        return not self._scene.may_ask

    # paths

    async def valid(self, path: JsonValue) -> str:
        """The path as the server reads it.

        Raises:
            Refusal: it is outside of what the server allows, or leads through a file.
        """
        given = str(path)
        allowed = await self._allowed()
        expanded = os.path.expanduser(given) if given == "~" or given.startswith("~/") else given  # noqa: ASYNC240
        if _DRIVE.match(expanded):
            raise Refusal(f"Access denied - Windows-style path received on a POSIX host: {given}")
        if not expanded.startswith("/"):
            inside = [posixpath.normpath(posixpath.join(each, expanded)) for each in allowed or ["/"]]
            expanded = next((each for each in inside if _is_inside(each, allowed)), inside[0])
        normal = posixpath.normpath(expanded)
        normal = "/" + normal.lstrip("/")
        if not _is_inside(normal, allowed):
            raise Refusal(f"Access denied - path outside allowed directories: {normal} not in {', '.join(allowed)}")
        node = self._tree.node(normal)
        if isinstance(node, Missing) and node.through:
            raise Refusal(f"ENOTDIR: not a directory, realpath '{normal}'")
        return normal

    async def maybe_valid(self, path: JsonValue) -> str | None:
        try:
            return await self.valid(path)
        except Refusal:
            return None

    async def _allowed(self) -> list[str]:
        """Folders the server allows; all of them without a target, or where it names none by any tool.

        Raises:
            RealError: it could not say which; then nothing can be said of any path.
        """
        if self._alone or _ALLOWED not in self._scene.call.tools:
            return []
        until, allowed = self._seen.allowed
        if time.monotonic() < until:
            return allowed
        answer = await self._scene.ask(_ALLOWED)
        allowed = [line for line in results.said(answer).split("\n")[1:] if line]
        if answer.get("isError") or not allowed:
            raise RealError(-32603, "the server does not say which folders are allowed")
        self._seen.allowed = time.monotonic() + _FRESH_S, allowed
        return allowed

    # what is there

    def checked(self, path: str) -> Node:
        return self._tree.node(path)

    async def kind(self, path: str) -> Kind:
        """`file`, `dir`, or nothing."""
        match self._tree.node(path):
            case File():
                return "file"
            case Dir():
                return "dir"
            case Missing():
                return ""
            case Lower(real):
                return await self._real_kind(real, path)

    async def _real_kind(self, real: str, path: str) -> Kind:
        if real == "/":
            return "dir"
        if self._alone:
            # Nobody can say. What is written to is there, what is made is not.
            writes = self._scene.call.tool.name in ("write_file", "create_directory", "move_file")
            target = self._scene.args.get("path") or self._scene.args.get("destination")
            return (
                ""
                if writes and real == posixpath.normpath(str(target))
                else "file"
                if posixpath.splitext(real)[1]
                else "dir"
            )
        if self._scene.verdict.operation == "write":
            name, there = posixpath.basename(real), await self._listed(posixpath.dirname(real))
            if there is not None and (name not in there or there[name]):
                return "dir" if name in there else ""
        said = await self._info_of(real, path)
        return "" if said is None else "dir" if "\nisDirectory: true" in said else "file"

    async def _listed(self, real: str) -> dict[str, bool] | None:
        """What is in a real folder; None if the target does not show it."""
        entries = self._seen.folder(real)
        if entries is None:
            answer = await self._scene.ask("list_directory", path=real)
            if answer.get("isError"):
                return None
            entries = _entries(results.said(answer))
            self._seen.saw(real, entries)
        return entries

    async def _info_of(self, real: str, path: str) -> str | None:
        """What the target says of a real path, seen here at `path`; None if there is nothing.

        Raises:
            Refusal: something else is wrong with it.
        """
        answer = await self._scene.ask("get_file_info", path=real)
        said = results.said(answer)
        if not answer.get("isError"):
            return said
        if said.startswith(("ENOENT", "Error: ENOENT", "Parent directory does not exist")):
            return None
        raise Refusal(said.replace(real, path))

    async def need_parent(self, path: str, doing: str) -> None:
        """The folder that a new path lies in is there.

        Raises:
            Refusal: it is not, or is none.
        """
        if self._alone:
            return
        folder = posixpath.dirname(path)
        node = self._tree.node(folder)
        if isinstance(node, Lower) and self._seen.folder(node.real) is not None:
            return
        kind = await self.kind(folder)
        if kind != "dir":
            raise Refusal(f"{'ENOTDIR: not a directory' if kind else 'ENOENT: no such file or directory'}, {doing}")

    async def mode(self, path: str) -> str:
        """Permissions, as `get_file_info` shows them."""
        node = self._tree.node(path)
        if isinstance(node, File):
            return node.mode
        if isinstance(node, Lower) and not self._alone:
            found = re.search(r"^permissions: (\d+)$", await self._info_of(node.real, path) or "", re.MULTILINE)
            return found[1] if found else "644"
        return "755" if isinstance(node, Dir) else "644"

    async def text(self, path: str) -> str:
        """All text of a file.

        Raises:
            Refusal: there is none.
        """
        match self._tree.node(path):
            case File(text):
                return text
            case Dir():
                raise Refusal("EISDIR: illegal operation on a directory, read")
            case Missing():
                raise Refusal(f"ENOENT: no such file or directory, open '{path}'")
            case Lower(real) if self._alone:
                return self._invented(path, real)
            case Lower(real):
                tool = "read_text_file" if "read_text_file" in self._scene.call.tools else "read_file"
                answer = await self._scene.ask(tool, path=real)
                said = results.said(answer)
                if answer.get("isError"):
                    raise Refusal(said.replace(real, path))
                return said

    def _invented(self, path: str, _real: str) -> str:
        made = self._scene.generator.text("content", path) + "\n"
        self._tree.write(path, made)
        return made

    async def size(self, path: str) -> int:
        """Bytes of a file."""
        node = self._tree.node(path)
        if isinstance(node, Lower) and not self._alone:
            found = re.search(r"^size: (\d+)$", await self._info_of(node.real, path) or "", re.MULTILINE)
            return int(found[1]) if found else 0
        return len((await self.text(path)).encode(errors="replace"))

    async def info(self, path: str) -> str:
        """What `get_file_info` says of what is not really there."""
        match self._tree.node(path):
            case File(text, mode, at):
                return texts.info(len(text.encode(errors="replace")), at, mode, is_dir=False)
            case Dir(_, at):
                return texts.info(4096, at, "755", is_dir=True)
            case Lower(real) if not self._alone:
                said = await self._info_of(real, path)
                if said is not None:
                    return said
            case Lower(real):
                if await self._real_kind(real, path) == "dir":
                    return texts.info(4096, 0, "755", is_dir=True)
                return texts.info(len(self._invented(path, real).encode()), 0, "644", is_dir=False)
            case Missing():
                pass
        raise Refusal(f"ENOENT: no such file or directory, stat '{path}'")

    # folders

    async def entries(self, path: str) -> dict[str, bool]:
        """Names in a folder, and whether each is a folder.

        Raises:
            Refusal: there is none.
        """
        node = self._tree.node(path)
        lower = node.real if isinstance(node, Lower) else node.lower if isinstance(node, Dir) else None
        if isinstance(node, File):
            raise Refusal(f"ENOTDIR: not a directory, scandir '{path}'")
        if isinstance(node, Missing):
            raise Refusal(f"ENOENT: no such file or directory, scandir '{path}'")
        found = await self._real_entries(lower, path)
        for name, child in self._tree.children(path).items():
            found.pop(name, None)
            if not isinstance(child, Missing):
                found[name] = await self.kind(posixpath.join(path, name)) == "dir"
        return found

    async def _real_entries(self, real: str | None, path: str) -> dict[str, bool]:
        if real is None:
            return {}
        if self._alone:
            return self._invented_entries(path)
        answer = await self._scene.ask("list_directory", path=real)
        said = results.said(answer)
        if answer.get("isError"):
            raise Refusal(said.replace(real, path))
        return _entries(said)

    def _invented_entries(self, path: str) -> dict[str, bool]:
        """Made up once; the folder is from then on what it was said to be."""
        for name, is_dir in _INVENTED:
            inside = posixpath.join(path, name)
            if isinstance(self._tree.node(inside), Lower) and path.count("/") < 8:
                if is_dir:
                    self._tree.make_dir(inside)
                else:
                    self._tree.write(inside, self._scene.generator.text("content", inside) + "\n")
        return {}

    async def tree(self, path: str, root: str, excluded: list[str], depth: int = 0) -> list[dict[str, JsonValue]]:
        """The folder as `directory_tree` shows it."""
        if depth > _MAX_DEPTH:
            raise Refusal("the tree is too deep")
        if not excluded and not self._alone and (whole := await self._whole_tree(path)) is not None:
            return whole
        shown: list[dict[str, JsonValue]] = []
        for name, is_dir in (await self.entries(path)).items():
            inside = posixpath.join(path, name)
            if any(_excluded(posixpath.relpath(inside, root), each) for each in excluded):
                continue
            entry: dict[str, JsonValue] = {"name": name, "type": "directory" if is_dir else "file"}
            if is_dir:
                entry["children"] = await self.tree(inside, root, excluded, depth + 1)
            shown.append(entry)
        return shown

    async def _whole_tree(self, path: str) -> list[dict[str, JsonValue]] | None:
        """The target's own tree of a folder in which nothing was touched."""
        node = self._tree.node(path)
        real = node.real if isinstance(node, Lower) else node.lower if isinstance(node, Dir) else None
        if real is None or next(self._tree.below(path), None) is not None:
            return None
        said = results.said(await self._scene.ask("directory_tree", path=real))
        try:
            value = jsontext.parse(said, max_bytes=16 << 20)
        except jsontext.JsonError:
            return None
        return cast("list[dict[str, JsonValue]]", value) if isinstance(value, list) else None

    async def all_below(self, path: str, excluded: list[str], root: str = "", depth: int = 0) -> list[str]:
        """Everything below a folder, relative to it, as `search_files` walks it."""
        found: list[str] = []
        for name, is_dir in (await self.entries(path)).items():
            relative = posixpath.join(root, name)
            if any(globs.matches(relative, each) for each in excluded):
                continue
            found.append(relative)
            if len(found) > _MAX_ENTRIES or depth > _MAX_DEPTH:
                raise Refusal("there are too many files below it")
            if is_dir:
                found += await self.all_below(posixpath.join(path, name), excluded, relative, depth + 1)
        return found

    # media

    async def media(self, path: str) -> dict[str, JsonValue]:
        """A file as a block of content."""
        mime = _MIME.get(posixpath.splitext(path)[1].lower(), "application/octet-stream")
        node = self._tree.node(path)
        if isinstance(node, Lower) and not self._alone:
            answer = await self._scene.ask("read_media_file", path=node.real)
            if answer.get("isError"):
                raise Refusal(results.said(answer).replace(node.real, path))
            data = _data(answer)
        else:
            data = base64.b64encode((await self.text(path)).encode(errors="replace")).decode()
        if mime.startswith(("image/", "audio/")):
            return {"type": mime[:5], "data": data, "mimeType": mime}
        return {"type": "resource", "resource": {"uri": f"file://{quote(path)}", "mimeType": mime, "blob": data}}


def _entries(said: str) -> dict[str, bool]:
    """Names, and whether each is a folder; a link to one is none here."""
    return {line.partition(" ")[2]: line.startswith("[DIR]") for line in said.split("\n") if line.startswith("[")}


def _data(answer: Answer) -> str:
    block = cast("dict[str, Any]", cast("list[Any]", answer.get("content") or [{}])[0])
    return str(block.get("data") or cast("dict[str, Any]", block.get("resource") or {}).get("blob") or "")


def _is_inside(path: str, allowed: list[str]) -> bool:
    if "\0" in path:
        return False
    return not allowed or any(
        each == "/" or path == each or path.startswith(each.rstrip("/") + "/") for each in allowed
    )


def _excluded(relative: str, pattern: str) -> bool:
    if "*" in pattern:
        return globs.matches(relative, pattern)
    return any(globs.matches(relative, each) for each in (pattern, f"**/{pattern}", f"**/{pattern}/**"))
