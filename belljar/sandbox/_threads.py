"""Counts the threads of each worker, exactly: the kernel asks the zygote before it makes one.

RLIMIT_NPROC counts all of a user's, and a cgroup needs rights that a user may not have. A second seccomp filter needs
nothing: it hands `clone` to whoever holds its listener (`SECCOMP_RET_USER_NOTIF`, Linux 5.5). Each worker sends its
listener to the zygote while it is still trusted; the zygote lets so many pass and then closes it, after which the
kernel itself says ENOSYS. What else than a thread is asked for never gets here: the first filter says no, and no
outranks asking. Arguments are not looked at, so there is nothing to race for.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable

from belljar.sandbox._prctl import Libc
from belljar.sandbox._seccomp import Header

__all__ = ["MOST_THREADS", "Threads"]

MOST_THREADS = 256
"""Threads one worker may start in its life, ended ones included. Each costs the kernel 30 KiB that no limit counts."""

_SET_MODE_FILTER, _FLAG_NEW_LISTENER = 1, 8
_RET_ALLOW, _RET_USER_NOTIF = 0x7FFF0000, 0x7FC00000
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
# ioctl numbers hold the sizes of what they carry: `struct seccomp_notif` and `struct seccomp_notif_resp`.
_NOTIFICATION_BYTES = 80
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1


class Threads:
    """The zygote's side, and what a worker does first. `resolve` gives numbers of system calls."""

    def __init__(self, resolve: Callable[[str], int]) -> None:
        self._number = resolve("seccomp")
        program = struct.pack(
            "=HBBIHBBIHBBIHBBI",
            *(_LOAD, 0, 0, 0),  # the number of the call
            *(_JUMP_IF_EQUAL, 0, 1, resolve("clone")),
            *(_RETURN, 0, 0, _RET_USER_NOTIF),
            *(_RETURN, 0, 0, _RET_ALLOW),
        )
        self._header = Header(program)
        self._theirs, self._ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ours.setblocking(False)
        self._left: dict[int, int] = {}

    @property
    def descriptor(self) -> int:
        """Readable when a worker has sent its listener."""
        return self._ours.fileno()

    def install(self, libc: Libc) -> None:
        """In a worker, when it can gain no privileges any more: be counted from here on."""
        flags = _FLAG_NEW_LISTENER
        listener = libc.syscall("seccomp", self._number, _SET_MODE_FILTER, flags, self._header.address)
        try:
            socket.send_fds(self._theirs, [b"L"], [listener])
        finally:
            os.close(listener)
            self._theirs.close()
            self._ours.close()
            for other in self._left:
                os.close(other)

    def arrived(self) -> int | None:
        """In the zygote: take a listener; readable when a thread is asked for."""
        try:
            _, descriptors, _, _ = socket.recv_fds(self._ours, 1, 1)
        except BlockingIOError:
            return None
        self._left[descriptors[0]] = MOST_THREADS
        return descriptors[0]

    def answer(self, listener: int) -> bool:
        """In the zygote: let one more pass. False when this was the last of it, and the listener is closed."""
        request = bytearray(_NOTIFICATION_BYTES)
        try:
            if self._left[listener] > 0:
                fcntl.ioctl(listener, _RECEIVE, request)
                fcntl.ioctl(listener, _SEND, struct.pack("=QqiI", *struct.unpack_from("=Q", request), 0, 0, _CONTINUE))
                self._left[listener] -= 1
                return True
        except OSError as exc:
            if exc.errno in (errno.ENOENT, errno.EINTR, errno.EINPROGRESS):
                return True  # who asked is gone, or we were interrupted
        self.forget(listener)
        return False

    def forget(self, listener: int) -> None:
        """The worker is gone, or had its share."""
        del self._left[listener]
        os.close(listener)
