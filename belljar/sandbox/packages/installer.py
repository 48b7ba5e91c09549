"""Fills the store, outside the box: `uv` if there is one, else `pip`. Wheels only, so no code of a package is run.

Two steps, and a person says yes before each: to ask the index which versions fit (it learns the names), and to fetch
exactly what the lock lists. `--install` says yes to both. Which index that is, and how to reach it, is this machine's
configuration of uv or pip: a company's own index must not be passed over. The working directory has no say in it, and
of our environment the installer gets what it needs to run and its own variables; keys of ours are not among them.

The environment appears whole or not at all. While it grows its size is watched, so that a wheel that unpacks to
terabytes is stopped early.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from belljar import show
from belljar.errors import ConfigError
from belljar.limits import MIB
from belljar.sandbox.packages.store import GUEST_PYTHON, Locked, Store, approval_required
from belljar.sandbox.packages.unpacked import FOLDER, WRITABLE_FOLDER, check_pure, finish

__all__ = ["MAX_UNPACKED", "Approve", "Installation"]

MAX_UNPACKED = 200 * MIB
"""Bytes of one environment."""
_MAX_FILES = 50_000
_DEADLINE_S = 600.0
_TICK_S = 0.2
_KEPT_OUTPUT = 2000
_MOST_SAID = 400
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PREFIXES = ("UV_", "PIP_", "NETRC")
_PROXIES = frozenset({"http_proxy", "https_proxy", "no_proxy", "all_proxy"})

Approve = Callable[[str, Sequence[str]], bool]
"""Asks a person: what would be done, and with which packages."""


class Installation:
    """Makes one set of requirements ready."""

    def __init__(self, store: Store, approve: Approve) -> None:
        self._store = store
        self._approve = approve
        self._boxed = store.backend != "process"
        self._uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))

    def run(self) -> Path:
        """The environment, made if need be.

        Raises:
            BelljarError: APPROVAL_REQUIRED, nobody said yes; CONFIG_ERROR, it cannot be made, and why.
        """
        store = self._store
        try:
            locked = store.locked() or self._lock()
            if not store.approved(locked):
                if not self._approve("install", locked.pinned):
                    raise approval_required(store.requirements, store.backend)
                store.approve(locked)
            path = store.environment(locked)
            if not path.is_dir():
                self._fetch(locked, path)
        except OSError as exc:
            raise ConfigError(f"cannot install packages in {store.folder}: {exc.strerror or exc}") from exc
        return path

    def _lock(self) -> Locked:
        store = self._store
        if not self._approve("look up", store.requirements):
            raise approval_required(store.requirements, store.backend)
        store.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix="lock-", dir=store.folder) as scratch:
            wanted, lock = Path(scratch) / "requirements.in", Path(scratch) / "requirements.lock"
            wanted.write_text("".join(f"{line}\n" for line in store.requirements), encoding="utf-8")
            if self._uv:
                python = ["--python", sys.executable, *(_UV_BOXED if self._boxed else ())]
                self._call([self._uv, "pip", "compile", *_UV_LOCK, *python, wanted, "-o", lock], scratch)
            else:
                report = Path(scratch) / "report.json"
                boxed = (*_PIP_BOXED, "--target", Path(scratch) / "none") if self._boxed else ()
                self._call([*_PIP, "install", *_PIP_LOCK, *boxed, "--report", report, "-r", wanted], scratch)
                lock.write_text(_lock_of(report), encoding="utf-8")
            os.replace(wanted, store.folder / wanted.name)
            os.replace(lock, store.folder / lock.name)
        locked = store.locked()
        if locked is None or not locked.pinned:
            raise ConfigError("the installer found no packages for these dependencies")
        return locked

    def _fetch(self, locked: Locked, path: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=self._store.folder) as scratch:
            fresh, lock = Path(scratch) / "fresh", Path(scratch) / "requirements.lock"
            fresh.mkdir()
            lock.write_text(locked.text, encoding="utf-8")
            if self._uv:
                command = [self._uv, "pip", "install", *_UV_INSTALL, "--python", sys.executable]
                command += _UV_BOXED if self._boxed else ()
            else:
                command = [*_PIP, "install", *_PIP_INSTALL, *(_PIP_BOXED if self._boxed else ())]
            self._call([*command, "--target", fresh, "-r", lock], scratch, watched=fresh)
            _check_size(fresh)
            if self._boxed:
                check_pure(fresh)
            finish(fresh, compiled=not self._boxed)
            with suppress(FileExistsError, NotADirectoryError):  # another process was first
                _move(fresh, path)

    def _call(self, command: Sequence[str | Path], folder: str, *, watched: Path | None = None) -> None:
        try:
            _call(command, folder, watched=watched)
        except ConfigError as exc:
            if not self._boxed:
                raise
            raise ConfigError(f"{_PURE}; for others use --backend process ({exc.message[:_MOST_SAID]})") from exc


_PURE = "a wasm box takes packages of pure Python alone"
# Wheels for any platform. uv has no name for WASI: that of Pyodide takes those, and its own, which are found out later.
_UV_BOXED = ("--python-version", GUEST_PYTHON, "--python-platform", "wasm32-pyodide2025")
_PIP_BOXED = ("--python-version", GUEST_PYTHON, "--platform", "any", "--implementation", "py", "--abi", "none")
_UV_LOCK = ("--quiet", "--generate-hashes", "--only-binary", ":all:", "--no-header", "--no-annotate")
_UV_INSTALL = (
    "--quiet",
    "--require-hashes",
    "--only-binary",
    ":all:",
    "--no-deps",
    "--link-mode",
    "copy",
)
_PIP = (sys.executable, "-I", "-m", "pip", "--no-input", "--disable-pip-version-check", "--quiet")
_PIP_LOCK = ("--dry-run", "--ignore-installed", "--only-binary", ":all:")
_PIP_INSTALL = ("--require-hashes", "--only-binary", ":all:", "--no-deps", "--no-compile")


def _move(fresh: Path, path: Path) -> None:
    os.chmod(fresh, WRITABLE_FOLDER)  # one that is not cannot be moved
    os.rename(fresh, path)
    os.chmod(path, FOLDER)


def _environment() -> dict[str, str]:
    """For the installer: what it needs to run, and what configures it."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(_PREFIXES) or name.lower() in _PROXIES
    }


def _call(command: Sequence[str | Path], folder: str, *, watched: Path | None = None) -> None:
    """Run an installer to its end, in a folder of ours.

    Raises:
        ConfigError: it failed, took too long, or fetched too much.
    """
    deadline = time.monotonic() + _DEADLINE_S
    with tempfile.TemporaryFile(dir=folder) as said:
        child = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            while not _ended(child):
                if time.monotonic() > deadline:
                    raise ConfigError(f"the installer did not end within {_DEADLINE_S:.0f} s")
                if watched is not None:
                    _check_size(watched)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, 9)
            child.wait()
        if child.returncode != 0:
            said.seek(max(0, said.tell() - _KEPT_OUTPUT))
            words = " ".join(said.read(_KEPT_OUTPUT).decode("utf-8", "replace").split())
            raise ConfigError(f"the dependencies cannot be installed: {show.text(words, max_chars=_KEPT_OUTPUT)}")


def _ended(child: subprocess.Popen[bytes]) -> bool:
    try:
        child.wait(_TICK_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _check_size(folder: Path) -> None:
    size = count = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # it moves files about while we look
                size += os.lstat(os.path.join(root, name)).st_size
                count += 1
        if size > MAX_UNPACKED or count > _MAX_FILES:
            raise ConfigError(
                f"the dependencies are larger than {MAX_UNPACKED // MIB} MiB or {_MAX_FILES} files unpacked; use fewer"
            )


def _lock_of(report: Path) -> str:
    """pip's report of what it would install, as a lock."""
    import json

    found: list[Any] = json.loads(report.read_text(encoding="utf-8"))["install"]
    return "".join(sorted(_lock_line(item) for item in found))


def _lock_line(item: Any) -> str:
    name, version = item["metadata"]["name"], item["metadata"]["version"]
    try:
        digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
    except KeyError:
        raise ConfigError(f"pip gave no hash for {show.name(name)}") from None
    return f"{name.lower()}=={version} \\\n    --hash=sha256:{digest}\n"
