"""What this user has decided about servers: which are trusted, and which tools were seen.

Trust on first use: the first list of tools is pinned by digest, tool by tool; a tool that is new or different
afterwards is named by `changed`, and the policy asks again until it is pinned anew. A server is its name *and* how it
is reached - command, arguments and names of variables, or the origin of its URL - so that nobody inherits trust by
taking a name.

One JSON file, by default `$XDG_DATA_HOME/belljar/trust.json`, mode 0600. Whoever can write it can grant, so it and its
folder must be ours and closed to others, it is opened without following links, and what cannot be read is an error
that says what to do, never an empty store. Changes are made under a lock, on a fresh reading, and put in place by a
rename: two processes lose nothing of each other's, and a crash leaves the old file or the new.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from belljar import show
from belljar.errors import ConfigError
from belljar.limits import MIB
from belljar.rpc import jsontext
from belljar.rpc.servers import ServerSpec
from belljar.rpc.world import ToolInfo

__all__ = ["TrustStore", "identity"]

_VERSION = 1
# A hundred servers of ten thousand tools; the oldest are dropped beyond, and asked about again.
_MAX_BYTES = 128 * MIB
_MAX_SERVERS = 100
_LOCK_S = 5.0
_LOCK_PAUSE_S = 0.02


def identity(server: ServerSpec) -> str:
    """`name@digest` of a server and how it is reached. Values of variables and headers are no part of it."""
    if server.command:
        reached: Any = {"command": server.command, "args": list(server.args), "env": list(server.env_names)}
    else:
        reached = {"origin": server.origin}
    return f"{server.name}@{jsontext.sha256(reached)}"


class TrustStore:
    """Reads the file when first asked, and again before each change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._servers: dict[str, dict[str, Any]] | None = None

    def trusted(self, server: ServerSpec) -> bool:
        """Whether the user trusts what this server says of its tools.

        Raises:
            ConfigError: the file cannot be used; so do all methods.
        """
        return self._entry(server).get("trusted") is True

    def pinned(self, server: ServerSpec, tool: str) -> str | None:
        """The digest under which this tool was seen, or None."""
        return self._pins(server).get(tool)

    def changed(self, server: ServerSpec, tools: Mapping[str, ToolInfo]) -> frozenset[str]:
        """Names of the tools that are new or different since this server's were pinned; none if they never were.

        A tool that cannot be called is passed over, here and in `pin`: it counts as new on the day it can be.
        """
        pins = self._pins(server)
        if not self._entry(server).get("pinned"):
            return frozenset()
        return frozenset(name for name, digest in _digests(tools).items() if pins.get(name) != digest)

    def pin(self, server: ServerSpec, tools: Mapping[str, ToolInfo]) -> None:
        """These tools, as they are now, are known. Tools of the server that are not named keep their pins."""
        digests = _digests(tools)
        if self._entry(server).get("pinned") and digests.items() <= self._pins(server).items():
            return
        self._change(server, lambda entry: entry.update(pinned=True, tools={**entry.get("tools", {}), **digests}))

    def trust(self, server: ServerSpec) -> None:
        """The user trusts what this server says of its tools."""
        self._change(server, lambda entry: entry.update(trusted=True))

    def untrust(self, server: ServerSpec) -> None:
        """Forget all about this server: trust and pins."""
        self._change(server, lambda entry: entry.clear())

    def _pins(self, server: ServerSpec) -> Mapping[str, str]:
        return self._entry(server).get("tools", {})

    def _entry(self, server: ServerSpec) -> dict[str, Any]:
        if self._servers is None:
            self._servers = self._read()
        return self._servers.get(identity(server), {})

    def _change(self, server: ServerSpec, change: Callable[[dict[str, Any]], object]) -> None:
        with self._locked():
            servers = self._read()
            entry = servers.pop(identity(server), {})
            change(entry)
            if entry:
                servers[identity(server)] = entry  # last: the most recent
            servers = dict(list(servers.items())[-_MAX_SERVERS:])
            self._write(servers)
            self._servers = servers

    # the file

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return {}
        except OSError as exc:
            raise self._unusable(exc.strerror or "cannot be opened") from None
        try:
            self._check(os.fstat(descriptor), stat.S_ISREG, "file")
            self._check(os.stat(self._path.parent), stat.S_ISDIR, "folder")
            with open(descriptor, "rb", closefd=False) as file:
                return self._servers_of(file.read(_MAX_BYTES + 1))
        finally:
            os.close(descriptor)

    def _servers_of(self, text: bytes) -> dict[str, dict[str, Any]]:
        try:
            document = jsontext.parse(text, max_bytes=_MAX_BYTES)
        except jsontext.JsonError as exc:
            raise self._unusable(f"is not our JSON: {exc}") from None
        fields = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
        servers: Any = fields.get("servers")
        if not isinstance(servers, dict) or fields.get("version") != _VERSION:
            raise self._unusable(f"is not of version {_VERSION}")
        if not all(_is_entry(entry) for entry in cast("dict[str, Any]", servers).values()):
            raise self._unusable("holds an entry that is none")
        return cast("dict[str, dict[str, Any]]", servers)

    def _write(self, servers: dict[str, dict[str, Any]]) -> None:
        text = json.dumps({"version": _VERSION, "servers": servers}, ensure_ascii=False, indent=1)
        descriptor, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".trust-")  # mode 0600, O_EXCL
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, self._path)
        except BaseException:
            os.unlink(temporary)
            raise

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Alone among all processes, or an error after 5 s. The lock file stays: removing it would be a race."""
        import fcntl

        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check(os.stat(self._path.parent), stat.S_ISDIR, "folder")
        lock = self._path.with_name(f"{self._path.name}.lock")
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            raise self._unusable(f"cannot be locked: {exc.strerror}") from None
        try:
            deadline = time.monotonic() + _LOCK_S
            while not _try_lock(fcntl.flock, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
                if time.monotonic() > deadline:
                    raise self._unusable(f"has been locked by another process for {_LOCK_S:g} s")
                time.sleep(_LOCK_PAUSE_S)
            yield
        finally:
            os.close(descriptor)

    def _check(self, status: os.stat_result, is_kind: Callable[[int], bool], kind: str) -> None:
        if not is_kind(status.st_mode):
            raise self._unusable(f"is in the way: not a {kind}")
        if status.st_uid != os.geteuid():
            raise self._unusable(f"belongs to another user (its {kind})")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise self._unusable(f"can be written by others (its {kind}); chmod go-w it after looking inside")

    def _unusable(self, what: str) -> ConfigError:
        path = show.text(str(self._path), max_chars=200)
        return ConfigError(f"{path} {what}; move it away to start without trust and pins")


def _digests(tools: Mapping[str, ToolInfo]) -> dict[str, str]:
    return {name: tool.digest for name, tool in tools.items() if not tool.unavailable}


def _try_lock(flock: Callable[[int, int], None], descriptor: int, operation: int) -> bool:
    try:
        flock(descriptor, operation)
    except BlockingIOError:
        return False
    return True


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    tools: Any = cast("dict[str, Any]", entry).get("tools", {})
    return isinstance(tools, dict) and all(isinstance(pin, str) for pin in cast("dict[str, Any]", tools).values())
