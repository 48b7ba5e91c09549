"""The fourteen tools of the filesystem server, over a tree that was written to and a target that was not.

Where nothing below a path was touched, a read is the target's own answer. Where something was, the parts that show
through are asked for - by the same server's reading tools - and put together with what was written, in the server's
words. Without a target what nobody wrote is made up, and stays. Symbolic links are not seen: the server does not say
which entries are some.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any, Final, cast

from belljar.faker import results
from belljar.faker.adapters.filesystem import globs, texts
from belljar.faker.adapters.filesystem.reading import Reading, Seen
from belljar.faker.adapters.filesystem.tree import Lower, Tree
from belljar.faker.results import Answer
from belljar.faker.scene import Model, Outcome, Refusal, Scene
from belljar.rpc.world import JsonValue

__all__ = ["TOOLS", "FilesystemModel"]

TOOLS: Final = frozenset(
    """
    read_file read_text_file read_media_file read_multiple_files write_file edit_file create_directory list_directory
    list_directory_with_sizes directory_tree move_file search_files get_file_info list_allowed_directories
    """.split()
)

_OF_FILES: Final = frozenset({"read_file", "read_text_file", "read_media_file", "read_multiple_files", "get_file_info"})


class FilesystemModel:
    """Answers for a filesystem server; what it does not know goes to `otherwise`."""

    def __init__(self, otherwise: Model) -> None:
        self._otherwise = otherwise
        self._seen = Seen()

    async def answer(self, scene: Scene) -> Outcome:
        """Answer the call."""
        name = scene.call.tool.name
        if name not in TOOLS:
            return await self._otherwise.answer(scene)
        if scene.verdict.operation == "read" and not scene.offline and _untouched(scene):
            return Outcome(await scene.real(), "real")
        tools: Any = _Tools(scene, self._seen)
        return await getattr(tools, name)(scene.args)


def _untouched(scene: Scene) -> bool:
    """Whether a read is about nothing that was written to: then it costs no more than without us."""
    paths = scene.args.get("paths", [scene.args.get("path", "/")])
    tree = Tree(scene)
    named = cast("list[Any]", paths) if isinstance(paths, list) else [None]
    plain = [isinstance(each, str) and each.startswith("/") and posixpath.normpath(each) for each in named]
    # Of a file nothing else matters; looking below a folder takes longer the more was written.
    touched = tree.moved if scene.call.tool.name in _OF_FILES else tree.touched
    return all(isinstance(each, str) and not touched(each) for each in plain)


class _Tools:
    """Each tool as a method, by its name."""

    def __init__(self, scene: Scene, seen: Seen) -> None:
        self._scene = scene
        self._tree = Tree(scene)
        self._reading = Reading(scene, self._tree, seen)

    def _said(self, text: str) -> Outcome:
        structured = {"content": text} if self._scene.call.tool.output_schema is not None else None
        return Outcome(results.text(text, structured=structured), "overlay")

    async def _through(self, path: str) -> Outcome | None:
        """The target's own answer, where nothing was touched."""
        if self._scene.offline or self._tree.touched(path):
            return None
        return Outcome(await self._scene.real(), "real")

    # ---- reads

    async def read_file(self, args: Mapping[str, JsonValue]) -> Outcome:
        path = await self._reading.valid(args["path"])
        first, last = _lines(args.get("head")), _lines(args.get("tail"))
        if first and last:
            raise Refusal("Cannot specify both head and tail parameters simultaneously")
        node = self._reading.checked(path)
        if isinstance(node, Lower) and (untouched := await self._through(path)) is not None:
            return untouched
        text = await self._reading.text(path)
        return self._said(texts.tail(text, last) if last else texts.head(text, first) if first else text)

    read_text_file = read_file

    async def read_multiple_files(self, args: Mapping[str, JsonValue]) -> Outcome:
        given = cast("list[Any]", args["paths"])
        if not self._scene.offline:
            valid = [await self._reading.maybe_valid(each) for each in given]
            if not any(path is None or self._tree.touched(path) for path in valid):
                return Outcome(await self._scene.real(), "real")
        said: list[str] = []
        for each in given:
            try:
                said.append(f"{each}:\n{await self._reading.text(await self._reading.valid(each))}\n")
            except Refusal as exc:
                said.append(f"{each}: Error - {exc}")
        return self._said("\n---\n".join(said))

    async def read_media_file(self, args: Mapping[str, JsonValue]) -> Outcome:
        path = await self._reading.valid(args["path"])
        self._reading.checked(path)
        if (untouched := await self._through(path)) is not None:
            return untouched
        block = await self._reading.media(path)
        result: Answer = {"content": [block]}
        if self._scene.call.tool.output_schema is not None:
            result["structuredContent"] = {"content": [block]}
        return Outcome(result, "overlay")

    async def list_directory(self, args: Mapping[str, JsonValue]) -> Outcome:
        path = await self._reading.valid(args["path"])
        self._reading.checked(path)
        if (untouched := await self._through(path)) is not None:
            return untouched
        entries = await self._reading.entries(path)
        return self._said("\n".join(f"{'[DIR]' if is_dir else '[FILE]'} {name}" for name, is_dir in entries.items()))

    async def list_directory_with_sizes(self, args: Mapping[str, JsonValue]) -> Outcome:
        path = await self._reading.valid(args["path"])
        self._reading.checked(path)
        if (untouched := await self._through(path)) is not None:
            return untouched
        entries = await self._reading.entries(path)
        sizes = {
            name: 0 if is_dir else await self._reading.size(posixpath.join(path, name))
            for name, is_dir in entries.items()
        }
        names = sorted(entries, key=texts.sort_key)
        if args.get("sortBy") == "size":
            names = sorted(entries, key=lambda name: -(sizes[name] if not entries[name] else 4096))
        lines = [_entry(name, None if entries[name] else sizes[name]) for name in names]
        files = sum(not is_dir for is_dir in entries.values())
        lines += ["", f"Total: {files} files, {len(entries) - files} directories"]
        lines += [f"Combined size: {texts.sized(sum(sizes.values()))}"]
        return self._said("\n".join(lines))

    async def directory_tree(self, args: Mapping[str, JsonValue]) -> Outcome:
        path = await self._reading.valid(args["path"])
        self._reading.checked(path)
        if (untouched := await self._through(path)) is not None:
            return untouched
        import json

        tree = await self._reading.tree(path, path, _texts(args.get("excludePatterns")))
        return self._said(json.dumps(tree, ensure_ascii=False, indent=2))

    async def search_files(self, args: Mapping[str, JsonValue]) -> Outcome:
        path = await self._reading.valid(args["path"])
        self._reading.checked(path)
        if (untouched := await self._through(path)) is not None:
            return untouched
        pattern, excluded = str(args["pattern"]), _texts(args.get("excludePatterns"))
        found = [each for each in await self._reading.all_below(path, excluded) if globs.matches(each, pattern)]
        return self._said("\n".join(posixpath.join(path, each) for each in found) or "No matches found")

    async def get_file_info(self, args: Mapping[str, JsonValue]) -> Outcome:
        path = await self._reading.valid(args["path"])
        node = self._reading.checked(path)
        if isinstance(node, Lower) and node.real == path and not self._scene.offline:
            return Outcome(await self._scene.real(), "real")
        return self._said(await self._reading.info(path))

    async def list_allowed_directories(self, _args: Mapping[str, JsonValue]) -> Outcome:
        if self._scene.offline:
            return self._said("Allowed directories:\n/")
        return Outcome(await self._scene.real(), "real")

    # ---- writes

    async def write_file(self, args: Mapping[str, JsonValue]) -> Outcome:
        path = await self._reading.valid(args["path"])
        kind = await self._reading.kind(path)
        if kind == "dir":
            raise Refusal(f"EISDIR: illegal operation on a directory, open '{path}'")
        if kind == "":
            await self._reading.need_parent(path, f"open '{path}'")
        self._tree.write(path, str(args["content"]), await self._reading.mode(path) if kind else "644")
        return self._said(f"Successfully wrote to {args['path']}")

    async def edit_file(self, args: Mapping[str, JsonValue]) -> Outcome:
        path = await self._reading.valid(args["path"])
        before = await self._reading.text(path)
        edits = [(str(each["oldText"]), str(each["newText"])) for each in cast("list[dict[str, Any]]", args["edits"])]
        after = texts.edited(before, edits)
        if args.get("dryRun") is not True:
            self._tree.write(path, after, await self._reading.mode(path))
        return self._said(texts.diff(before, after, path))

    async def create_directory(self, args: Mapping[str, JsonValue]) -> Outcome:
        path = await self._reading.valid(args["path"])
        missing: list[str] = []
        at = path
        while (kind := await self._reading.kind(at)) == "":
            missing.append(at)
            at = posixpath.dirname(at)
        if kind == "file" and at == path:
            raise Refusal(f"EEXIST: file already exists, mkdir '{path}'")
        if kind == "file":
            raise Refusal(f"ENOTDIR: not a directory, mkdir '{path}'")
        for each in reversed(missing):
            self._tree.make_dir(each)
        return self._said(f"Successfully created directory {args['path']}")

    async def move_file(self, args: Mapping[str, JsonValue]) -> Outcome:
        source, target = await self._reading.valid(args["source"]), await self._reading.valid(args["destination"])
        both = f"rename '{source}' -> '{target}'"
        kind = await self._reading.kind(source)
        if await self._reading.kind(target):
            raise Refusal(f"Destination already exists: {target}")
        if not kind:
            raise Refusal(f"ENOENT: no such file or directory, {both}")
        await self._reading.need_parent(target, both)
        if target.startswith(source.rstrip("/") + "/"):
            raise Refusal(f"EINVAL: invalid argument, {both}")
        self._tree.move(source, target, is_dir=kind == "dir")
        return self._said(f"Successfully moved {args['source']} to {args['destination']}")


def _entry(name: str, size: int | None) -> str:
    return f"[DIR] {name:<30} " if size is None else f"[FILE] {name:<30} {texts.sized(size):>10}"


def _lines(value: JsonValue) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _texts(value: JsonValue) -> list[str]:
    return [str(each) for each in cast("list[Any]", value)] if isinstance(value, list) else []
