"""A stdio server as a process: started under its warden, read and written without blocking, always ended.

The descriptors are ours from the first moment (`anyio.wait_readable` on plain pipes), because asyncio's subprocess
reads ahead without a bound we could set, and waits for pipes that a grandchild may hold open. `_warden.py` says what
the process in between is for.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread

from belljar.limits import KIB
from belljar.rpc.servers import ServerSpec

__all__ = ["Program", "StartError"]

_WARDEN = Path(__file__).with_name("_warden.py")
_CHUNK = 64 * KIB
_ORDER_S = 2.0
# Ctrl-C ends everything within 2 s: a polite server needs a few hundred milliseconds after its stdin ended, one that
# deserves SIGTERM gets half a second, then all below the warden is killed.
_STDIN_ENDED_S = 0.7
_TERMINATED_S = 0.5
_KILLED_S = 1.0


class StartError(Exception):
    """A server cannot be started; the message says why, for a sentence that begins with the server's name."""


class Program:
    """One running server. `start` it, run `watch` in a task, `stop` it, `close` it."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, pipes: tuple[int, int, int]) -> None:
        self._process = process
        self._control = control
        self._stdin, self._stdout, self._stderr = pipes
        self._told = anyio.Event()
        self._refused = ""
        self._runs = False
        self.status: int | None = None
        """Exit status once it ended; negative: the signal."""
        self.gone = anyio.Event()
        """Nothing of it is left."""

    @classmethod
    def start(cls, spec: ServerSpec) -> Program:
        """Start the warden, which starts the server.

        Raises:
            StartError: no such command, or no way to start a process here.
        """
        order = _order(spec)
        if not sys.executable:
            raise StartError("no Python interpreter is known to start it with")
        ours, theirs = socket.socketpair()
        stdin, stdout, stderr = os.pipe(), os.pipe(), os.pipe()
        try:
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_WARDEN), str(theirs.fileno())],
                    stdin=stdin[0],
                    stdout=stdout[1],
                    stderr=stderr[1],
                    pass_fds=(theirs.fileno(),),
                    env=_warden_environment(),
                    start_new_session=True,
                )
        except OSError as exc:
            _close(ours, stdin[1], stdout[0], stderr[0])
            raise StartError(f"no process can be started here: {exc.strerror}") from exc
        finally:
            _close(stdin[0], stdout[1], stderr[1])
        for descriptor in (stdin[1], stdout[0], stderr[0]):
            os.set_blocking(descriptor, False)
        # An order that does not fit into the socket waits for its reader, which is up within milliseconds.
        ours.settimeout(_ORDER_S)
        with suppress(OSError):  # a warden that does not take it ends, and `started` says so
            ours.sendall(order)
        ours.setblocking(False)
        return cls(process, ours, (stdin[1], stdout[0], stderr[0]))

    @property
    def stdin(self) -> int:
        """The descriptor, non-blocking; -1 once it was closed."""
        return self._stdin

    @property
    def stdout(self) -> int:
        """The descriptor, non-blocking."""
        return self._stdout

    async def watch(self) -> None:
        """Follow what the warden tells, until it has nothing more to tell."""
        told = b""
        try:
            while chunk := await _receive(self._control.fileno()):
                *lines, told = (told + chunk).split(b"\n")
                for line in lines:
                    self._hear(line.decode(errors="replace"))
        except ConnectionError:
            pass  # killed: the same as gone
        finally:
            self._told.set()
            self.gone.set()

    def _hear(self, line: str) -> None:
        if line.startswith("X"):
            self.status = int(line[1:])
        elif line.startswith("E"):
            self._refused = line[1:]
        elif line.startswith("S"):
            self._runs = True
        self._told.set()

    async def started(self, spec: ServerSpec) -> None:
        """Wait until the warden has started it.

        Raises:
            StartError: it could not.
        """
        await self._told.wait()
        if self._refused or not self._runs:
            raise StartError(f"{spec.command!r} cannot be started: {self._refused or 'its warden ended'}")

    async def read_stdout(self) -> bytes:
        """The next bytes; empty at the end."""
        return await _receive(self._stdout)

    async def read_stderr(self) -> bytes:
        """The next bytes; empty at the end."""
        return await _receive(self._stderr)

    async def write(self, data: bytes) -> None:
        """All of it into the server's stdin. Raises OSError when nobody reads it any more."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._stdin, view) :]
            except BlockingIOError:
                await anyio.wait_writable(self._stdin)
        await anyio.lowlevel.checkpoint()

    async def stop(self) -> None:
        """End it: stdin first, then SIGTERM, then SIGKILL to everything it started. Bounded; shield it."""
        self._close_stdin()
        for order, seconds in ((b"", _STDIN_ENDED_S), (b"T", _TERMINATED_S), (b"K", _KILLED_S)):
            with suppress(OSError):
                self._control.send(order)
            with anyio.move_on_after(seconds):
                await self.gone.wait()
                return
        self._process.kill()  # the server has PDEATHSIG

    async def close(self) -> None:
        """Let go of everything; call it when no task uses it any more. Shield it."""
        self._close_stdin()
        _close(self._control, self._stdout, self._stderr)
        await anyio.to_thread.run_sync(self._reap)

    def _close_stdin(self) -> None:
        if self._stdin >= 0:
            anyio.notify_closing(self._stdin)
            os.close(self._stdin)
            self._stdin = -1

    def _reap(self) -> None:
        """The warden ends by itself when its socket does; it may still be killing."""
        try:
            self._process.wait(_KILLED_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _order(spec: ServerSpec) -> bytes:
    if not hasattr(socket, "AF_UNIX") or os.name != "posix":
        raise StartError("programs are started on POSIX systems only; run it as a server and give its url")
    command = spec.command if os.path.isabs(spec.command) else shutil.which(spec.command, path=_absolute(spec))
    if command is None:
        raise StartError(f"{spec.command!r} is not in PATH; install it, or give an absolute path")
    order = {"argv": [command, *spec.args], "env": dict(spec.env), "cwd": spec.cwd, "parent": os.getpid()}
    return json.dumps(order).encode() + b"\n"


def _warden_environment() -> dict[str, str]:
    """Nothing, except what some builds of Python need to find their own library."""
    return {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}


def _absolute(spec: ServerSpec) -> str:
    """PATH without the entries that mean the folder we happen to stand in."""
    return os.pathsep.join(entry for entry in spec.env.get("PATH", "").split(os.pathsep) if os.path.isabs(entry))


async def _receive(descriptor: int) -> bytes:
    while True:
        try:
            chunk = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            await anyio.wait_readable(descriptor)
        else:
            await anyio.lowlevel.checkpoint()
            return chunk


def _close(*things: socket.socket | int) -> None:
    for thing in things:
        if isinstance(thing, int):
            os.close(thing)
        else:
            thing.close()
