"""The process that stands between us and one stdio server, and outlives us just long enough to end it.

    host --- control socket --- warden --- server --- whatever the server starts
      `------ stdin, stdout, stderr: the server's own pipes ------'

Why a process of its own. A server that ignores the end of its stdin, SIGTERM, and leaves its session must still be
gone within two seconds of our death, and we may die by SIGKILL, when no handler of ours runs. The warden learns of it
from the kernel (the socket ends; a pidfd fires, in case some fork of ours kept the socket) and kills everything below
it. It sees *everything* below it because it is a child subreaper: a grandchild that forks twice and calls setsid
becomes the warden's child, not init's. `PR_SET_PDEATHSIG` alone would do neither, and its signal comes when the
*thread* that forked ends; in the warden, which has one thread, it is safe and used for the opposite case, the warden
itself being killed.

It is run as a script with `-I -S`, imports the standard library alone, and learns what to start over the socket, so
that no environment and no secret ever is in an argv. Host -> warden: one JSON line `{argv, env, cwd, parent}`, then
`T` (SIGTERM to all) or `K` (SIGKILL to all). Warden -> host: `S` started, `E<reason>`, `X<exit status>`; then the
socket ends, which says that nothing is left. Where there is no /proc (not Linux) only the server's process group is
found.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
# A process that cannot be killed (it waits inside the kernel) would keep us for ever.
_KILL_SECONDS = 10.0
_LINUX = sys.platform == "linux"


class _Order:
    """What to start. The host is trusted; the names are spelled once here."""

    def __init__(self, line: bytes) -> None:
        order = json.loads(line)
        self.argv: list[str] = order["argv"]
        self.env: dict[str, str] = order["env"]
        self.cwd: str | None = order["cwd"]
        self.parent: int = order["parent"]


def main(descriptor: int) -> None:
    """Start what the control socket asks for, and stay until nothing of it is left."""
    control = socket.socket(fileno=descriptor)
    order = _read_order(control)
    wake = _wakeup()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        server = _start(order)
    except (OSError, ValueError) as exc:
        control.sendall(f"E{getattr(exc, 'strerror', None) or exc}\n".encode(errors="replace"))
        return
    _let_go_of_pipes()
    _say(control, b"S\n")
    _watch(control, wake, server.pid, order.parent)


def _read_order(control: socket.socket) -> _Order:
    with control.makefile("rb") as lines:
        return _Order(lines.readline())


def _wakeup() -> int:
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) if hasattr(os, "pipe2") else os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _ignore)
    return reading


def _ignore(_number: int, _frame: object) -> None:
    """SIG_IGN would do more: the kernel would collect the children, and their status with them."""


def _prctl(option: int, value: int) -> None:
    if _LINUX:
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _start(order: _Order) -> subprocess.Popen[bytes]:
    def in_child() -> None:  # safe: this process has one thread
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return subprocess.Popen(order.argv, env=order.env, cwd=order.cwd, start_new_session=True, preexec_fn=in_child)


def _let_go_of_pipes() -> None:
    """The server's pipes must end when the server does, not when we do."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


def _say(control: socket.socket, line: bytes) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more: the next read says so
        control.sendall(line)


def _watch(control: socket.socket, wake: int, server: int, parent: int) -> None:
    waiting = select.poll()
    waiting.register(control, select.POLLIN)
    waiting.register(wake, select.POLLIN)
    if (host := _pidfd(parent)) is not None:
        waiting.register(host, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in waiting.poll(None if host is not None else 1000)}
        if host in ready or os.getppid() != parent:
            return _kill_all(server)
        if wake in ready and (status := _reap(wake, server)) is not None:
            _say(control, f"X{status}\n".encode())
            return _kill_all(server)
        if control.fileno() in ready and not _obey(control, server):
            return _kill_all(server)


def _pidfd(process: int) -> int | None:
    try:
        return os.pidfd_open(process)
    except (AttributeError, OSError):
        return None


def _reap(wake: int, server: int) -> int | None:
    """Collect whatever ended; the server's exit status (negative: the signal) if it is among it."""
    with contextlib.suppress(BlockingIOError):
        os.read(wake, 4096)
    found = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == server:
                found = os.waitstatus_to_exitcode(ended[1])
    return found


def _obey(control: socket.socket, server: int) -> bool:
    try:
        orders = control.recv(64)
    except OSError:
        return False
    if b"T" in orders:
        _signal_all(server, signal.SIGTERM)
    return bool(orders) and b"K" not in orders


def _kill_all(server: int) -> None:
    """SIGKILL to everything below us, again until nothing is left: it may fork faster than we look."""
    deadline = time.monotonic() + _KILL_SECONDS
    pause = 0.001
    while _signal_all(server, signal.SIGKILL) and time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def _signal_all(server: int, number: int) -> bool:
    """Whether there was anyone to send it to."""
    below = _descendants()
    for process in below:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)
    if _LINUX:
        return bool(below)
    try:
        os.killpg(server, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _descendants() -> list[int]:
    """Everyone below us by /proc, zombies that wait for a parent other than us left out."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc") if _LINUX else ():
        if entry.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{entry}/stat", "rb") as file:
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
                if state != b"Z" or int(parent) == os.getpid():
                    children.setdefault(int(parent), []).append(int(entry))
    found: list[int] = []
    todo = [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]))
