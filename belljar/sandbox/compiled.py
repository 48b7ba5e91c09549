"""The guest, compiled ahead of time: once per machine, shared by every run.

A `.cwasm` is native code, and whoever can write it owns us. So every folder on the way to it must belong to us or root
and be writable by no one else, the file is opened without following links, and what was checked is what is loaded: the
open descriptor is handed to the zygote. The key holds the component's hash, wasmtime's version and the processor's
features, so that a cache carried to another machine is simply not found.

Compiling takes seconds and several threads; a child process does it, so that neither stays with us. It happens under a
file lock, and the file appears whole or not at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from belljar.errors import ConfigError
from belljar.sandbox.componentize import COMPONENT, read_record

__all__ = ["Progress", "compiled_path", "main", "open_compiled", "open_folder", "search_path"]

Progress = Callable[[float, float], None]
"""Told (seconds so far, seconds expected) a few times a second while the guest compiles."""

# 5 s on a fast pair of cores, 12 on a slow one; only a progress bar believes it.
_EXPECTED_S = 10.0
_DEADLINE_S = 300.0
_TICK_S = 0.1


def compiled_path(cache: Path) -> Path:
    """Where the compiled guest of this machine lies, or will.

    Raises:
        ConfigError: there is no component to compile.
    """
    record = read_record(COMPONENT)
    if record is None or not COMPONENT.is_file():
        raise ConfigError("the guest component is missing; make it with `belljar guest build`")
    key = f"{record.component[:16]}-{metadata.version('wasmtime')}-{_processor()}"
    return cache / "guest" / f"{key}.cwasm"


def _processor() -> str:
    features = ""
    with suppress(OSError), open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        # "flags" on x86, "Features" on ARM; one core's line is enough.
        features = next((line for line in file if line.lower().startswith(("flags", "features"))), "")
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:8]}"


def open_compiled(cache: Path, progress: Progress | None = None) -> int:
    """A descriptor of the compiled guest, checked; compiles it first where need be.

    Raises:
        ConfigError: the cache cannot be trusted or written, or compiling failed; says what to do.
    """
    path = compiled_path(cache)
    try:
        _make_folder(path.parent)
        if not path.exists():
            _compile_once(path, progress)
        return _open_checked(path)
    except OSError as exc:
        raise ConfigError(f"cannot use the compiled guest in {path.parent}: {exc.strerror or exc}") from exc


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def open_folder(path: Path) -> int:
    """A descriptor of a folder that holds code, checked as the compiled guest is.

    Raises:
        ConfigError: it is not there, or cannot be trusted.
    """
    try:
        return _open_checked(path, stat.S_IFDIR)
    except OSError as exc:
        raise ConfigError(f"cannot use {path}: {exc.strerror or exc}") from exc


def _open_checked(path: Path, kind: int = stat.S_IFREG) -> int:
    """Open `path` component by component, each one owned by us or root and writable by no one else."""
    path = Path(os.path.abspath(path))
    real = Path(os.path.realpath(path.parent)) / path.name  # links on the way are followed once, then walked as folders
    folder = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in real.parts[1:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = inner
            _check_owner(os.fstat(folder), f"the folder {part!r} on the way to {path}")
        # Not blocking, so that a fifo put in its place is refused and not waited for.
        fd = os.open(real.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)
    status = os.fstat(fd)
    try:
        if stat.S_IFMT(status.st_mode) != kind:
            raise ConfigError(f"{path} is no {'folder' if kind == stat.S_IFDIR else 'regular file'}; remove it")
        _check_owner(status, str(path))
    except ConfigError:
        os.close(fd)
        raise
    return fd


def _check_owner(status: os.stat_result, what: str) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"{what} belongs to someone else: native code is not loaded from there")
    # In a sticky folder, such as /tmp, others can add but neither rename nor replace what is ours.
    if status.st_mode & 0o022 and not (stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX):
        raise ConfigError(f"others may write to {what}: native code is not loaded from there (chmod go-w)")


def _compile_once(path: Path, progress: Progress | None) -> None:
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _wait_for(lambda: _locked(lock), "another process to compile the guest", progress)
        if not path.exists():
            _compile(path, progress)
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for(done: Callable[[], bool], what: str, progress: Progress | None) -> None:
    began = time.monotonic()
    while not done():
        passed = time.monotonic() - began
        if passed > _DEADLINE_S:
            raise ConfigError(f"waited {_DEADLINE_S:.0f} s for {what}; try again")
        if progress is not None:
            progress(passed, _EXPECTED_S)
        time.sleep(_TICK_S)


def _compile(path: Path, progress: Progress | None) -> None:
    fresh = path.with_suffix(f".{os.getpid()}.tmp")
    script = "import sys; sys.path[:0] = sys.argv[1].split('\\n'); from belljar.sandbox.compiled import main; main()"
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", script, search_path(), str(COMPONENT), str(fresh)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={},
    )
    try:
        _wait_for(lambda: child.poll() is not None, "the guest to compile", progress)
        if child.returncode != 0:
            said = (child.stderr.read() if child.stderr else b"").decode("utf-8", "replace").strip().splitlines()
            raise ConfigError(f"compiling the guest failed: {said[-1] if said else f'status {child.returncode}'}")
        os.replace(fresh, path)
    finally:
        child.kill()
        child.wait()
        if child.stderr:
            child.stderr.close()
        fresh.unlink(missing_ok=True)


def search_path() -> str:
    """`sys.path` for a child that starts without `site`: what we run with, less the working directory."""
    own = str(Path(__file__).parents[2])
    return "\n".join([own, *(entry for entry in sys.path if entry and os.path.isabs(entry) and entry != own)])


def main() -> None:
    """Compile `argv[2]` into `argv[3]`; what the child does."""
    from belljar.sandbox.engine import compile_component

    source, out = Path(sys.argv[2]), sys.argv[3]
    data = compile_component(source.read_bytes())
    fd = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
