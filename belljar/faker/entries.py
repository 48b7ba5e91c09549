"""Entries of an mcp.json that start a faker: made anew, or of the entries that are there. Values in, values out.

Commands are written with their absolute paths, because programs that read such a file often have another PATH than the
person who wrote it. What an entry keeps in `env` stays there: the faker gets it and hands it on to its server. What a
remote server is told in headers goes into the environment too, never into arguments, which every process can read.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from belljar import show
from belljar.errors import ConfigError
from belljar.rpc.servers import ServerSpec, parse_servers

__all__ = [
    "HEADERS",
    "URL",
    "Faked",
    "endpoint",
    "faked",
    "look_at_arguments",
    "own_command",
    "program_entry",
    "servers_of",
]

URL = "BELLJAR_FAKER_URL"
HEADERS = "BELLJAR_FAKER_HEADERS"
"""A JSON object: names and values of the headers that go to the server."""

_TABLES = ("mcpServers", "servers")
_REPLACED = frozenset({"command", "args", "url", "headers", "type", "transport", "env"})
_VARIABLE = re.compile(r"\$\{?[A-Za-z_]")


@dataclass(frozen=True, slots=True)
class Faked:
    """A document whose servers are faked, and what its owner should know."""

    document: Mapping[str, Any]
    names: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())
    """Fit to be shown."""


def own_command() -> list[str]:
    """What starts us, whoever does it and wherever."""
    script = Path(sys.executable).with_name("belljar")
    # -P: the folder a client happens to stand in must not be where we are imported from.
    return [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-P", "-m", "belljar"]


def program_entry(
    name: str, words: Sequence[str], *, env: Iterable[str] = (), options: Sequence[str] = ()
) -> dict[str, Any]:
    """The entry of a faker before a program; the command must be a path or be found by its reader.

    `env` are names of variables; their values stay where they are.
    """
    own = own_command()
    entry: dict[str, Any] = {"command": own[0], "args": [*own[1:], "faker", "--name", name, *options, "--", *words]}
    if table := {variable: f"${{{variable}}}" for variable in env}:
        entry["env"] = table
    return entry


def servers_of(document: Any) -> dict[str, Any]:
    """The table of servers in a document, by either of the two names it goes by.

    Raises:
        ConfigError: there is none.
    """
    holder = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    for key in _TABLES:
        if isinstance(holder.get(key), dict):
            return cast("dict[str, Any]", holder[key])
    raise ConfigError("no mcpServers is in it; expected an object with an object mcpServers")


def faked(document: Any, environ: Mapping[str, str], folder: Path, *, options: Sequence[str] = ()) -> Faked:
    """The document with a faker before each of its servers; those that are faked already stay as they are.

    Args:
        document: a parsed mcp.json.
        environ: where commands are looked for, if an entry has no PATH of its own.
        folder: what commands with a slash are relative to.
        options: of each faker.

    Raises:
        ConfigError: an entry that is none; the message names it.
    """
    servers = servers_of(document)
    notes: list[str] = []
    made = {name: _faked(name, entry, environ, folder, options, notes.append) for name, entry in servers.items()}
    holder = cast("dict[str, Any]", document)
    key = next(key for key in _TABLES if holder.get(key) is servers)
    return Faked({**holder, key: made}, tuple(made), tuple(notes))


def _faked(
    name: str,
    entry: Any,
    environ: Mapping[str, str],
    folder: Path,
    options: Sequence[str],
    note: Callable[[str], None],
) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ConfigError(f"{show.name(name)}: a server is an object")
    keys = cast("dict[str, Any]", entry)
    if ("command" in keys) == ("url" in keys):
        raise ConfigError(f"{show.name(name)}: a server has a command or a url, one of them")
    if "url" in keys:
        made = _before_url(name, keys, options)
    else:
        words = _words(name, keys)
        if _is_faker(words):
            note(f"{show.name(name)} is faked already")
            return keys
        words[0] = _absolute(name, words[0], keys, environ, folder, note)
        look_at_arguments(name, words, note)
        made = program_entry(name, words, options=options)
        made.update({"env": keys["env"]} if "env" in keys else {})
    rest = {key: value for key, value in keys.items() if key not in _REPLACED}
    return {**made, **rest}


def _words(name: str, keys: Mapping[str, Any]) -> list[str]:
    args: Any = keys.get("args") or []
    words: list[Any] = [keys["command"], *(args if isinstance(args, list) else [None])]
    if not words[0] or not all(isinstance(word, str) for word in words):
        raise ConfigError(f"{show.name(name)}: command is text, args are a list of texts")
    return words


def _is_faker(words: Sequence[str]) -> bool:
    return any(
        verb == "faker" and Path(word).name in ("belljar", "belljar.exe") for word, verb in itertools.pairwise(words)
    )


def _absolute(
    name: str,
    command: str,
    keys: Mapping[str, Any],
    environ: Mapping[str, str],
    folder: Path,
    note: Callable[[str], None],
) -> str:
    if os.sep in command:
        return os.path.abspath(folder / command)
    env = keys.get("env")
    own_path = cast("dict[str, Any]", env).get("PATH") if isinstance(env, dict) else None
    found = shutil.which(command, path=own_path if isinstance(own_path, str) else environ.get("PATH", os.defpath))
    if found is None:
        note(
            f"{show.name(name)}: {show.text(command, max_chars=100)} is not on this machine; its name is left as it is"
        )
        return command
    return os.path.abspath(found)


def look_at_arguments(name: str, words: Sequence[str], note: Callable[[str], None]) -> None:
    """Arguments are the server's own; we can only say what they give away."""
    from belljar.tracing.sanitizer import Sanitizer

    sanitizer = Sanitizer()
    for at, word in enumerate(words[1:], 1):
        if _VARIABLE.search(word) or sanitizer.text(word) != word:
            note(f"{show.name(name)}: argument {at} holds what may be a secret, and every process here can read it")


def _before_url(name: str, keys: Mapping[str, Any], options: Sequence[str]) -> dict[str, Any]:
    url: Any = keys["url"]
    headers: Any = keys.get("headers") or {}
    if not isinstance(url, str) or not isinstance(headers, dict):
        raise ConfigError(f"{show.name(name)}: url is text, headers are an object")
    env: dict[str, Any] = {}
    own = own_command()
    args = [*own[1:], "faker", "--name", name, *options]
    if _is_plain(url):
        args += ["--url", url]
    else:
        env[URL] = url
    if headers:
        env[HEADERS] = json.dumps(headers)
    return {"command": own[0], "args": args, **({"env": env} if env else {})}


def _is_plain(url: str) -> bool:
    """Nothing in it could be a secret: neither password nor query, nor a variable that brings one."""
    parts = urlsplit(url)
    return not parts.query and "@" not in parts.netloc and "$" not in url


def endpoint(url: str, headers: str, *, name: str = "") -> ServerSpec:
    """The server at a URL; `headers` is the text of a JSON object, or empty.

    Raises:
        ConfigError: a URL that may not be used, or headers that are none.
    """
    try:
        table: Any = json.loads(headers or "{}")
    except ValueError:
        raise ConfigError(f"{HEADERS} holds no JSON; expected an object of names and values") from None
    name = name or (urlsplit(url).hostname or "server").replace(":", "-")
    # Written for the reader of mcp.json, whose rules for URLs and headers are the same.
    document = {"mcpServers": {name: {"url": url, "headers": table}}}
    return parse_servers(json.dumps(document), {}, source="the server")[name]
