"""Makes `guest.wasm`: CPython and the guest package as one WebAssembly component.

Used from three sides - the wheel's build hook, an editable install, `belljar guest build` - and therefore alone: it
imports the standard library only and nothing of ours, so that the hook can load it by path before anything is
installed. componentize-py is needed where a component is built and nowhere else; a wheel carries the finished file.

Building *executes* the guest (its state afterwards is what every box starts from), so what it may see is kept small:
a copy of the guest's sources, an environment of our own, and an empty `site-packages`, because componentize-py would
otherwise put the one of whatever Python is on the PATH within the guest's reach. A build takes about half a minute and
is skipped while the record beside the component says that its inputs are the same.

Stripping the component was tried: names and producers are 1.5 % of it, the rest is CPython and its memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = [
    "COMPONENT",
    "COMPONENTIZE_PY",
    "GUEST",
    "WORLD",
    "BuildFailed",
    "BuildRecord",
    "componentize",
    "fingerprint",
    "read_record",
    "record_path",
]

COMPONENTIZE_PY = "0.25.1"
"""Exactly this version: it brings the guest's CPython and is part of what a component is."""

GUEST = Path(__file__).parent / "guest"
"""The guest package; its WIT world lies in `wit/` beside its modules."""

COMPONENT = Path(__file__).parent / "_build" / "guest.wasm"
"""Where the component lies, in a wheel as in a source tree."""

WORLD = "capability"
_ENTRY = "guest.app"
# 25-40 s on two slow cores; a build that takes ten times as long will not end.
_DEADLINE_S = 400.0
_RUN = "import sys, componentize_py; sys.exit(componentize_py.script())"
# What a child needs to start at all on the systems we build on; nothing of the builder's own environment beyond it.
# PYTHONPATH is how an isolated build finds componentize-py.
_PASSED_ON = ("PATH", "PYTHONPATH", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "LANG")


class BuildFailed(Exception):
    """componentize-py is missing, has another version or made no component. The message says what to do."""


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """What a component was made from; a JSON file beside it."""

    inputs: str
    """`fingerprint` of the sources, SHA-256 in hex."""
    componentize_py: str
    component: str
    """SHA-256 of the component, in hex."""


def componentize(source: Path, out: Path, *, force: bool = False) -> bool:
    """Build `out` from the guest package in `source`, unless its record says that it is there already.

    Each file appears whole or not at all; two builds at once are wasteful but harmless.

    Returns:
        Whether a build took place.

    Raises:
        BuildFailed: see there.
    """
    inputs = fingerprint(source)
    if not force and _is_current(out, inputs):
        return False
    _require_tool()
    import tempfile  # only a build pays for it: who runs code imports this module too

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="guest-", dir=out.parent) as scratch:
        fresh = _build(source, Path(scratch))
        record = BuildRecord(inputs, COMPONENTIZE_PY, _sha256(fresh.read_bytes()))
        note = Path(scratch) / "record.json"
        note.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
        # Between the two steps there is no record at all: never one that speaks of another component.
        record_path(out).unlink(missing_ok=True)
        os.replace(fresh, out)
        os.replace(note, record_path(out))
    return True


def fingerprint(source: Path) -> str:
    """SHA-256 over the guest's files, the tool's version and this recipe itself; in hex."""
    digest = hashlib.sha256(COMPONENTIZE_PY.encode())
    digest.update(Path(__file__).read_bytes())
    for path in _inputs(source):
        name = path.relative_to(source).as_posix()
        content = path.read_bytes()
        digest.update(f"{len(name)}:{name}:{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()


def record_path(component: Path) -> Path:
    """Where the record of a component lies."""
    return component.with_suffix(".json")


def read_record(component: Path) -> BuildRecord | None:
    """The record beside a component, or None if there is none that can be read."""
    try:
        fields = json.loads(record_path(component).read_text(encoding="utf-8"))
        return BuildRecord(fields["inputs"], fields["componentize_py"], fields["component"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_current(out: Path, inputs: str) -> bool:
    record = read_record(out)
    return record is not None and record.inputs == inputs and out.is_file()


def _inputs(source: Path) -> Iterator[Path]:
    for path in sorted(source.rglob("*")):
        if path.suffix in {".py", ".wit"} and path.is_file():
            yield path


def _require_tool() -> None:
    from importlib import metadata

    try:
        found = metadata.version("componentize-py")
    except metadata.PackageNotFoundError:
        found = "none"
    if found != COMPONENTIZE_PY:
        raise BuildFailed(
            f"building the guest needs componentize-py {COMPONENTIZE_PY}, found {found}: "
            f"pip install componentize-py=={COMPONENTIZE_PY}"
        )


def _build(source: Path, scratch: Path) -> Path:
    """Run componentize-py over a copy of the sources; the new component lies in `scratch`."""
    import shutil

    package = scratch / "path" / "guest"
    for path in _inputs(source):
        copy = package / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    empty = scratch / "venv"
    (empty / "lib" / "site-packages").mkdir(parents=True)
    out = scratch / "guest.wasm"
    command = [sys.executable, "-c", _RUN, "--quiet", "--wit-path", str(package / "wit"), "--world", WORLD]
    command += ["componentize", "--python-path", str(package.parent), _ENTRY, "--output", str(out)]
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        done = subprocess.run(
            command,
            env={**environment, "VIRTUAL_ENV": str(empty)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise BuildFailed(f"componentize-py did not end within {_DEADLINE_S:.0f} s; try again") from late
    if done.returncode != 0 or not out.is_file():
        said = done.stdout.decode("utf-8", "replace").strip()
        raise BuildFailed(f"componentize-py failed with status {done.returncode}:\n{said}")
    return out


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
