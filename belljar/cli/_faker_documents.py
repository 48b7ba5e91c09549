"""`belljar faker sessions replay | export | import`: a session as a document, out and in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from belljar.cli._faker_store import ConfigFile, Debug, Json, Which, end, recorded, redactor

if TYPE_CHECKING:
    from belljar.config import Config
    from belljar.faker.sessions import Session, SessionStore

__all__ = ["add"]

_EXPORT = """\b
Examples:
  belljar faker sessions replay 6c2c7577 > scenario.json
  belljar faker sessions export 6c2c7577 --redact -o scenario.json
"""
_IMPORT = """\b
Examples:
  belljar faker sessions import scenario.json
  belljar faker sessions import cassette.json --as-new --json
"""
_JsonAnyway = Annotated[bool, typer.Option("--json", help="What is printed is JSON anyway.")]
_Redact = Annotated[
    bool, typer.Option("--redact", help="Mask secrets, and replace personal values by pseudonyms under your key.")
]


def add(sessions: typer.Typer) -> None:
    """Register the verbs."""
    sessions.command("replay", epilog=_EXPORT)(_replay)
    sessions.command("export", epilog=_EXPORT)(_export)
    sessions.command("import", epilog=_IMPORT)(_import)


def _replay(
    which: Which,
    redact: _Redact = False,
    config: ConfigFile = None,
    as_json: _JsonAnyway = False,
    debug: Debug = False,
) -> None:
    """Print a session as one JSON document: every call with arguments and answer, and the tools."""
    end(lambda store, settled: _written(store, settled, which, redact, None), config, debug)


def _export(
    which: Which,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Write it here, for you alone.")
    ] = None,
    redact: _Redact = False,
    config: ConfigFile = None,
    as_json: _JsonAnyway = False,
    debug: Debug = False,
) -> None:
    """Write a session as one JSON document that `import` reads again; with --redact, one to be shown to others."""
    end(lambda store, settled: _written(store, settled, which, redact, output), config, debug)


def _written(store: SessionStore, config: Config, which: str, redact: bool, output: str | None) -> int:
    import json

    from belljar.cli import _screen
    from belljar.faker.sessions import document

    kept = recorded(store, which)
    if redact:
        kept = redactor(config).recorded(kept)
    text = json.dumps(document.write(*kept), indent=2)
    if output is None:
        _screen.out(text)
        return 0
    _write_file(Path(output), text + "\n")
    _screen.note(f"belljar: {len(kept[1])} calls written")
    return 0


def _write_file(path: Path, text: str) -> None:
    import os

    from belljar.errors import ConfigError

    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        draft.replace(path)
    except OSError as exc:
        draft.unlink(missing_ok=True)
        raise ConfigError(f"{str(path)!r} cannot be written: {exc.strerror}") from None


def _import(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A recording; - for standard input.")],
    as_new: Annotated[bool, typer.Option("--as-new", help="Under a new id, also if it is here already.")] = False,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Take a recording in: an exported session, or one of mcp-recorder (JSON) or mcp-rec (JSONL)."""

    def body(store: SessionStore, _: Config) -> int:
        import uuid
        from dataclasses import replace

        from belljar.cli import _faker_screen, _screen
        from belljar.faker.sessions import imports

        session, events, tools = imports.parse(_read_file(file, imports.MAX_BYTES))
        if as_new:
            session = replace(session, id=str(uuid.uuid4()))
        store.put(session, events, tools)
        here: Session = store.session(session.id)
        if as_json:
            _screen.out_json(_faker_screen.facts(here))
        else:
            _screen.note(f"belljar: {here.calls} calls and {len(tools)} tools imported from {here.origin}")
            _screen.out(here.id)
        return 0

    end(body, config, debug)


def _read_file(name: str, most: int) -> bytes:
    import os
    import stat
    import sys

    from belljar.errors import ConfigError

    if name == "-":
        return sys.stdin.buffer.read(most + 1)
    try:
        # Opening a pipe would wait for whoever writes into it.
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError(f"{name!r} is no file")
            return file.read(most + 1)
    except OSError as exc:
        raise ConfigError(f"{name!r} cannot be read: {exc.strerror}") from None
