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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from belljar.limits import MIB
from belljar.registry._private import PrivateFile
from belljar.rpc import jsontext
from belljar.rpc.servers import ServerSpec
from belljar.rpc.world import ToolInfo

__all__ = ["TrustStore", "identity"]

_VERSION = 1
# A hundred servers of ten thousand tools; the oldest are dropped beyond, and asked about again.
_MAX_BYTES = 128 * MIB
_MAX_SERVERS = 100


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
        self._file = PrivateFile(path, advice="move it away to start without trust and pins")
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
        with self._file.locked():
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
        text = self._file.read(_MAX_BYTES)
        return {} if text is None else self._servers_of(text)

    def _servers_of(self, text: bytes) -> dict[str, dict[str, Any]]:
        try:
            document = jsontext.parse(text, max_bytes=_MAX_BYTES)
        except jsontext.JsonError as exc:
            raise self._file.unusable(f"is not our JSON: {exc}") from None
        fields = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
        servers: Any = fields.get("servers")
        if not isinstance(servers, dict) or fields.get("version") != _VERSION:
            raise self._file.unusable(f"is not of version {_VERSION}")
        if not all(_is_entry(entry) for entry in cast("dict[str, Any]", servers).values()):
            raise self._file.unusable("holds an entry that is none")
        return cast("dict[str, dict[str, Any]]", servers)

    def _write(self, servers: dict[str, dict[str, Any]]) -> None:
        text = json.dumps({"version": _VERSION, "servers": servers}, ensure_ascii=False, indent=1)
        self._file.write(text.encode())


def _digests(tools: Mapping[str, ToolInfo]) -> dict[str, str]:
    return {name: tool.digest for name, tool in tools.items() if not tool.unavailable}


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    tools: Any = cast("dict[str, Any]", entry).get("tools", {})
    return isinstance(tools, dict) and all(isinstance(pin, str) for pin in cast("dict[str, Any]", tools).values())
