"""Dependencies of a wasm box: read by the zygote before any box exists, and handed to boxes file by file.

A box has no folder to read, and giving it one would take WASI's file system: threads, which wall 2 forbids, and the
system calls that open and stat. So the files of an environment are read into memory once, each worker has that memory
by fork, and a box asks for what it imports. Nothing here looks into a file; what is a package's is the box's to parse.
"""

from __future__ import annotations

import json
import os
import stat

from belljar.errors import ConfigError
from belljar.limits import MIB

__all__ = ["MAX_CARRIED", "Carried"]

MAX_CARRIED = 64 * MIB
"""Bytes of one environment that a wasm zygote will hold."""


class Carried:
    """The files of one environment."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files
        self._listed = json.dumps(sorted(files)) if files else ""

    @staticmethod
    def read(descriptor: int) -> Carried:
        """Read a folder that was opened and checked; closes it.

        Raises:
            ConfigError: it holds more than fits.
        """
        root = f"/proc/self/fd/{descriptor}"
        files: dict[str, bytes] = {}
        room = MAX_CARRIED
        try:
            for folder, _, names in os.walk(f"{root}/."):
                for name in names:
                    path = f"{folder}/{name}"
                    data = _content(path, room)
                    room -= len(data)
                    files[os.path.relpath(path, f"{root}/.")] = data
        finally:
            os.close(descriptor)
        return Carried(files)

    def give(self, path: str) -> str | None:
        """A file as Latin-1, the list of all for no path, or None."""
        if not path:
            return self._listed
        data = self._files.get(path)
        return None if data is None else data.decode("latin-1")


def _content(path: str, room: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError("a dependency is no regular file")
        data = file.read(room + 1)
    if len(data) > room:
        raise ConfigError(f"the dependencies hold more than {MAX_CARRIED // MIB} MiB; use --backend process")
    return data
