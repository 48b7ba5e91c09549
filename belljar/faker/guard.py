"""What a faker refuses to stand before: itself; and how the server it does stand before is started.

A faker whose command starts a faker again would start processes without end. The plain case is seen in the command.
Through a shell or a launcher it is not; then the inner faker finds the mark that the outer one left in the environment,
and ends with a word that the outer one passes on. Serving a recorded session is no faker in this sense.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from belljar import show
from belljar.errors import ConfigError
from belljar.rpc.servers import ServerSpec, is_secret

__all__ = ["DEPTH", "check_depth", "spec_of"]

DEPTH = "BELLJAR_FAKER_DEPTH"
_OWN = "BELLJAR_"
# What a program needs to be found and to find its files; the same as servers of a run get.
_BASE = ("PATH", "HOME", "LANG", "TMPDIR")
_MIN_SECRET = 4
# Keys and headers for our own spans; no server's business.
_OURS_TOO = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")


def check_depth(environ: Mapping[str, str]) -> None:
    """Whether we stand behind another faker.

    Raises:
        ConfigError: we do.
    """
    if environ.get(DEPTH):
        raise ConfigError(
            f"a faker cannot stand before a faker: this one was started by another one ({DEPTH} is set); "
            "give the outer one the command of the real server"
        )


def spec_of(
    words: Sequence[str], environ: Mapping[str, str], *, cwd: Path, names: Iterable[str] = (), name: str = ""
) -> ServerSpec:
    """The server of a command line, found, with the environment it gets.

    Args:
        words: the command and its arguments.
        environ: ours. The server gets it without what is ours alone.
        cwd: what a command with a slash is relative to.
        names: if any, the only variables it gets besides PATH, HOME, LANG and TMPDIR.
        name: what it is called; the command's file name by default.

    Raises:
        ConfigError: there is no such command, or it is a faker.
    """
    command = _found(words[0], environ.get("PATH", os.defpath), cwd)
    _check_itself([command, *words[1:]])
    env = _environment(environ, frozenset(names))
    return ServerSpec(
        name=name or Path(words[0]).name,
        command=command,
        args=tuple(words[1:]),
        env={**env, DEPTH: "1"},
        secrets=frozenset(_secrets(env)),
    )


def _found(command: str, path: str, cwd: Path) -> str:
    if os.sep in command:
        found = shutil.which(cwd / command)
    else:
        entries = (entry for entry in path.split(os.pathsep) if os.path.isabs(entry))
        found = shutil.which(command, path=os.pathsep.join(entries))
    if found is None:
        shown = show.text(command, max_chars=200)
        raise ConfigError(f"there is no command {shown}; install it, or give its absolute path")
    return os.path.abspath(found)


def _check_itself(argv: Sequence[str]) -> None:
    ours = {os.path.realpath(path) for path in (sys.argv[0], Path(sys.executable).with_name("belljar"))}
    for word, verb, following in zip(argv, argv[1:], [*argv[2:], ""], strict=False):
        is_us = Path(word).name in ("belljar", "belljar.exe") or os.path.realpath(word) in ours
        if is_us and verb == "faker" and following != "sessions":
            raise ConfigError("a faker cannot stand before itself; give it the command of the real server")


def _secrets(env: Mapping[str, str]) -> Iterator[str]:
    """What its name says is one; shorter values would blank out half of what is shown."""
    for key, value in env.items():
        if len(value) >= _MIN_SECRET and is_secret(key, value, literal=False):
            yield value


def _environment(environ: Mapping[str, str], names: frozenset[str]) -> dict[str, str]:
    if names:
        return {key: value for key, value in environ.items() if key in names or key in _BASE}
    return {key: value for key, value in environ.items() if not key.startswith(_OWN) and key not in _OURS_TOO}
