"""The C library and the four walls that need nothing but it: ids, parent-death signal, not dumpable, no new privileges.

`ctypes` alone, because the standard library has no `prctl` and each extension module more is code inside the worker.
One `Libc` is made in the zygote; after a fork a call through it allocates nothing that could be refused. Raw system
calls go through `syscall(2)`: numbers come from libseccomp, except Landlock's, which are the same everywhere.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal

__all__ = ["Libc", "die_with_parent", "drop_ids", "forbid_new_privileges", "make_undumpable"]

PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE = 1, 3, 4
PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 23, 24, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
# linux/capability.h, _LINUX_CAPABILITY_VERSION_3: two words of three sets each.
_CAPABILITY_VERSION = 0x20080522
_CAPABILITY_BYTES = 24


class Libc:
    """`syscall` and `prctl` that raise OSError; every argument is a machine word, pointers are addresses."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._syscall = library.syscall
        self._syscall.restype = ctypes.c_long
        self._syscall.argtypes = [ctypes.c_long] * 7
        self._prctl = library.prctl
        self._prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
        self._capset = library.capset
        self._capset.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        self._cap_header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
        self._capabilities = next(n for n in range(64) if self._prctl(PR_CAPBSET_READ, n, 0, 0, 0) < 0)
        self._no_caps = ctypes.create_string_buffer(_CAPABILITY_BYTES)

    def syscall(self, what: str, number: int, *args: int) -> int:
        """Make system call `number`; `what` names it in the error."""
        return _checked(what, self._syscall(number, *args, *[0] * (6 - len(args))))

    def prctl(self, what: str, option: int, *args: int) -> int:
        return _checked(what, self._prctl(option, *args, *[0] * (4 - len(args))))

    def empty_bounding_set(self) -> None:
        """No exec shall bring a capability back. Root without CAP_SETPCAP may not; its own sets still go."""
        drop = self._prctl
        for capability in range(self._capabilities):
            if drop(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 and ctypes.get_errno() != errno.EPERM:
                raise OSError(ctypes.get_errno(), "PR_CAPBSET_DROP")

    def drop_capabilities(self) -> None:
        """Empty the permitted, effective and inheritable sets; giving up is allowed to everybody."""
        _checked("capset", self._capset(self._cap_header, self._no_caps))


def drop_ids(libc: Libc, uid: int, gid: int) -> None:
    """Leave root for `uid` and `gid`, with no groups; whoever we are, leave every capability.

    An ordinary user keeps its id (it cannot change it) but not what its container may have lent it.
    """
    libc.prctl("clear ambient capabilities", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    if 0 in os.getresuid():
        libc.empty_bounding_set()
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    libc.drop_capabilities()
    if 0 in os.getresuid():
        raise OSError(errno.EPERM, "still root")


def die_with_parent(libc: Libc, parent: int) -> None:
    """Be killed when `parent` ends. After the ids: a change of credentials clears it.

    The parent may have ended between the fork and here, and then nobody would send the signal: hence the look.
    """
    libc.prctl("PR_SET_PDEATHSIG", PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise OSError(errno.ESRCH, "the parent has gone")


def make_undumpable(libc: Libc) -> None:
    """No core file, no ptrace, and /proc/PID/{mem,environ,maps} belongs to root."""
    libc.prctl("PR_SET_DUMPABLE", PR_SET_DUMPABLE, 0)
    if libc.prctl("PR_GET_DUMPABLE", PR_GET_DUMPABLE) != 0:
        raise OSError(errno.EPERM, "still dumpable")


def forbid_new_privileges(libc: Libc) -> None:
    """No exec gains rights from a set-id bit or file capabilities; the kernel wants this before the next two walls."""
    libc.prctl("PR_SET_NO_NEW_PRIVS", PR_SET_NO_NEW_PRIVS, 1)


def _checked(what: str, result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), what)
    return result
