"""What an installer unpacked, made fit to be read by a box: plain files, compiled, read-only.

Compiling means to hand a stranger's text to CPython's parser, which is not made for that. So it happens in a child
behind wall 2 that has no file and no network: it is sent sources and sends back bytes, which are written and never
looked at here. Nothing of a package is imported or run outside a box.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import select
import socket
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from belljar import show
from belljar.errors import ConfigError, WallError
from belljar.limits import MIB
from belljar.sandbox.compiled import search_path

__all__ = ["FOLDER", "WRITABLE_FOLDER", "check_pure", "finish", "main"]

_NATIVE = frozenset((".so", ".pyd", ".dylib", ".dll", ".wasm"))
_FILE, FOLDER, WRITABLE_FOLDER = 0o444, 0o555, 0o755

# Of one module: the largest we have met has 3 MiB.
_MAX_SOURCE = 16 * MIB
_MAX_CODE = 64 * MIB
_MEMORY = 512 * MIB
_DEADLINE_S = 300.0
_ENTRY = (
    "import sys; sys.path[:0] = sys.argv[1].split('\\n'); from belljar.sandbox.packages.unpacked import main; main()"
)
_LENGTH = struct.Struct("<I")
# A hash instead of a time, never checked: the folder is read-only, and so is what it was made from.
_HEADER = importlib.util.MAGIC_NUMBER + struct.pack("<I", 1) + bytes(8)


def check_pure(folder: Path) -> None:
    """
    Raises:
        ConfigError: a package in it has native code; names it.
    """
    for path in sorted(folder.rglob("*")):
        if path.suffix in _NATIVE or ".so." in path.name:
            name = path.relative_to(folder).parts[0].removesuffix(path.suffix)
            raise ConfigError(f"{show.name(name)} has native code, which a wasm box cannot run: use --backend process")


def finish(folder: Path, *, compiled: bool = True) -> None:
    """Check, compile and write-protect an environment.

    Raises:
        ConfigError: there is something else than files and folders in it.
        WallError: sources cannot be compiled behind a wall on this machine.
    """
    sources = list(_checked(folder))
    if compiled:
        _compile(sources)
    _protect(folder)


def _checked(folder: Path) -> list[Path]:
    sources: list[Path] = []
    for root, names, files in os.walk(folder):
        for name in (*names, *files):
            path = Path(root) / name
            mode = os.lstat(path).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise ConfigError(f"a package holds {name!a}, which is neither file nor folder")
            if stat.S_ISREG(mode) and path.suffix == ".pth":
                path.unlink()  # lines of code for an interpreter's start; a box starts without
            elif stat.S_ISREG(mode) and path.suffix == ".py" and os.lstat(path).st_size <= _MAX_SOURCE:
                sources.append(path)
    return sources


def _protect(folder: Path) -> None:
    """Readable by everybody, because a worker may be nobody; writable by none."""
    for root, names, files in os.walk(folder):
        for name in files:
            os.chmod(Path(root) / name, _FILE)
        for name in names:
            os.chmod(Path(root) / name, WRITABLE_FOLDER)
    for root, names, _ in os.walk(folder, topdown=False):
        for name in names:
            os.chmod(Path(root) / name, FOLDER)
    os.chmod(folder, FOLDER)


def _compile(sources: list[Path]) -> None:
    with _Compiler() as compiler:
        for path in sources:
            code = compiler.compiled(path.read_bytes())
            if not code:
                continue  # it does not compile: that is its importer's error to see
            target = Path(importlib.util.cache_from_source(path))
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(_HEADER + code)


class _Compiler:
    """A walled process that compiles; a new one if a source has killed it."""

    def __init__(self) -> None:
        self._deadline = time.monotonic() + _DEADLINE_S
        self._process: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None

    def __enter__(self) -> _Compiler:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def compiled(self, source: bytes) -> bytes:
        """Marshalled code; nothing if it could not be compiled."""
        sock = self._sock or self._start()
        try:
            sock.sendall(_LENGTH.pack(len(source)) + source)
            (length,) = _LENGTH.unpack(self._receive(sock, _LENGTH.size))
            if length > _MAX_CODE:
                raise EOFError
            return self._receive(sock, length)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self._end()
            return b""

    def _receive(self, sock: socket.socket, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            if not select.select([sock], [], [], max(0.0, self._deadline - time.monotonic()))[0]:
                raise ConfigError("compiling the dependencies takes too long")
            chunk = sock.recv(min(1 << 20, count - len(data)))
            if not chunk:
                raise EOFError
            data += chunk
        return bytes(data)

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _ENTRY, search_path(), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={},
            )
        self._sock = ours
        try:
            self._receive(ours, 1)
        except EOFError:
            raise WallError("sources cannot be compiled behind walls here; run `belljar doctor`") from None
        return ours

    def _end(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def main() -> NoReturn:
    """The process: `argv` = search path, descriptor. A child of it is walled in and compiles, and dies with it."""
    from belljar.sandbox.walls import prepare

    sock = socket.socket(fileno=int(sys.argv[2]))
    wall = prepare()
    room = wall.room(memory=_MEMORY)
    pid = os.fork()
    if pid == 0:
        try:
            wall.tighten(room)
            sock.sendall(b"R")
            _serve(sock)
        finally:
            os._exit(1)
    sock.close()
    os.waitpid(pid, 0)
    os._exit(0)


def _serve(sock: socket.socket) -> NoReturn:
    """Sources in, code out."""
    while True:
        head = sock.recv(_LENGTH.size, socket.MSG_WAITALL)
        if len(head) < _LENGTH.size:
            os._exit(0)
        source = sock.recv(_LENGTH.unpack(head)[0], socket.MSG_WAITALL)
        try:
            code = marshal.dumps(compile(source, "<package>", "exec", dont_inherit=True, optimize=0))
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            code = b""
        sock.sendall(_LENGTH.pack(len(code)) + code)
