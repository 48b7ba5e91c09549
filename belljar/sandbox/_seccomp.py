"""The system calls a tightened worker may still make, and why; everything else is EPERM.

An allow-list, so that what the kernel grows tomorrow is denied tomorrow. `ALLOWED` was found by following a real
worker (CPython 3.11 + wasmtime 50) with strace from its tightening to its end: parking, running, growing memory, traps
and stack exhaustion, reuse, a panic. A few were never seen there and meet the same needs by another road: another
architecture, a pipe for a socket, a clock without vDSO, locks that are contended, SIGSTOP. Nothing in it names a path,
makes a descriptor, a process or a thread, or maps executable memory: once the compiled guest is loaded, none of that
is needed to run it.

libseccomp turns names into the numbers of this architecture and the table into a program; that takes ~20 ms and
happens once, in the zygote. The program is plain bytes: loading it in a worker is one system call.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from belljar.sandbox._prctl import Libc

__all__ = [
    "ALLOWED",
    "NATIVE",
    "READING",
    "THREADS",
    "WRITING",
    "Allowed",
    "Filter",
    "Header",
    "build_filter",
    "compile_program",
    "resolver",
]

_SET_MODE_FILTER, _FLAG_TSYNC = 1, 1
_PROT_WRITE, _PROT_EXEC = 2, 4
# What pthread_create asks for in glibc, and musl's CLONE_DETACHED besides: a thread and nothing but a thread.
_THREAD_FLAGS, _CLONE_DETACHED = 0x3D0F00, 0x400000
_WORD = 0xFFFFFFFF
_CLONE3 = 435  # everywhere; an older libseccomp does not know the name


@dataclass(frozen=True, slots=True)
class Allowed:
    """One system call, why it is needed, and what its arguments must be: (position, mask, value), all of them."""

    name: str
    why: str
    when: tuple[tuple[int, int, int], ...] = ()


_NO_ADDRESS = (4, 0xFFFFFFFFFFFFFFFF, 0)
_NOT_EXECUTABLE = (2, _PROT_EXEC, 0)
# Memory that RLIMIT_DATA counts: shared memory and stacks that grow are not. The same bits on all we have a filter for.
_MAP_SHARED, _MAP_ANONYMOUS, _MAP_GROWSDOWN = 0x1, 0x20, 0x100
_COUNTED = (3, _MAP_SHARED | _MAP_GROWSDOWN, 0)

ALLOWED = (
    Allowed("read", "the channel, when it is a pipe"),
    Allowed("write", "the channel, when it is a pipe; a last word on stderr"),
    Allowed("recvfrom", "socket.recv on the channel; never asks who sent", (_NO_ADDRESS,)),
    Allowed("sendto", "socket.send on the channel; never to an address", (_NO_ADDRESS,)),
    Allowed("poll", "wait for the channel with a deadline"),
    Allowed("ppoll", "the same where there is no poll (aarch64)"),
    Allowed("close", "give descriptors back"),
    Allowed("mmap", "memory of the box and of CPython; private, not executable", (_NOT_EXECUTABLE, _COUNTED)),
    Allowed("mprotect", "the box's memory grows; not executable", (_NOT_EXECUTABLE,)),
    Allowed("munmap", "memory given back"),
    Allowed("mremap", "realloc of large blocks; cannot change protection"),
    Allowed("madvise", "wasmtime and malloc give pages back"),
    Allowed("brk", "malloc"),
    Allowed("futex", "locks of CPython, wasmtime and malloc"),
    Allowed("sched_yield", "the same locks, spinning"),
    Allowed("rt_sigreturn", "back from the handler that turns a fault in the box into a trap"),
    Allowed("rt_sigaction", "a fault that is not the box's gets the default action back: the worker dies of it"),
    Allowed("rt_sigprocmask", "abort() the same way, after a Rust panic"),
    Allowed("sigaltstack", "the stack that handler runs on, made at the first call into the box"),
    Allowed("restart_syscall", "a wait goes on after SIGSTOP and SIGCONT"),
    Allowed("clock_gettime", "time, where the vDSO cannot tell"),
    Allowed("clock_getres", "resolution of the box's clock"),
    Allowed("gettimeofday", "time, where the vDSO cannot tell"),
    Allowed("getrandom", "seeds of Rust's hash maps"),
    Allowed("exit_group", "the end"),
)
"""What every worker may do."""

THREADS = (
    Allowed("clone", "a thread and nothing but a thread", ((0, _WORD & ~_CLONE_DETACHED, _THREAD_FLAGS),)),
    Allowed("exit", "the end of a thread"),
    Allowed("gettid", "CPython, for each thread"),
    Allowed("set_robust_list", "libc, in each new thread"),
    Allowed("rseq", "libc, in each new thread"),
    Allowed("sched_getaffinity", "libc, for the stack of a new thread"),
)
"""And with threads."""

NATIVE = (
    Allowed("getpid", "names of threads and log records"),
    Allowed("clock_nanosleep", "time.sleep"),
    Allowed("getrusage", "resource.getrusage"),
    Allowed("writev", "last words of libc, and prints of other C libraries"),
)
"""And where a capability runs in CPython itself."""

READING = (
    Allowed("openat", "import; Landlock says which files"),
    Allowed("open", "the same, older spelling"),
    Allowed("newfstatat", "import; tells of any path whether it exists: Landlock has no say in that"),
    Allowed("fstat", "import"),
    Allowed("statx", "Rust and newer C libraries; as newfstatat"),
    Allowed("getdents64", "import lists folders"),
    Allowed("lseek", "files"),
    Allowed("pread64", "the dynamic loader"),
    Allowed("readlink", "os.path.realpath"),
    Allowed("readlinkat", "the same"),
    Allowed("getcwd", "relative paths"),
    Allowed("fcntl", "close-on-exec", ((1, ~0x3 & _WORD, 0),)),
    Allowed(
        "mmap",
        "code of native wheels; never writable as well",
        ((2, _PROT_WRITE | _PROT_EXEC, _PROT_EXEC), _COUNTED),
    ),
    Allowed(
        "mmap",
        "a file read as memory",
        (_NOT_EXECUTABLE, (3, _MAP_SHARED | _MAP_ANONYMOUS | _MAP_GROWSDOWN, _MAP_SHARED)),
    ),
)
"""And with folders to read: what importing from them takes, native wheels included."""

WRITING = (
    Allowed("mkdirat", "a work folder has folders"),
    Allowed("mkdir", "the same"),
    Allowed("unlinkat", "remove"),
    Allowed("unlink", "the same"),
    Allowed("rmdir", "the same"),
    Allowed("ftruncate", "open for writing"),
    Allowed("pwrite64", "files"),
    Allowed("rename", "os.replace; within one folder, Landlock says"),
    Allowed("renameat", "the same"),
    Allowed("renameat2", "the same, without its flags", ((4, _WORD, 0),)),
    Allowed("fcntl", "locks of files, as SQLite wants them: F_GETLK to F_SETLKW", ((1, _WORD & ~0x3, 4),)),
    Allowed("faccessat", "os.access"),
    Allowed("faccessat2", "the same"),
    Allowed("access", "the same"),
    Allowed("geteuid", "SQLite, for files it makes"),
    Allowed("fsync", "files"),
    Allowed("fdatasync", "files"),
)
"""And with a folder to write."""


class Header:
    """A program as seccomp(2) takes it, kept in C memory: `struct sock_fprog`."""

    def __init__(self, program: bytes) -> None:
        self._code = ctypes.create_string_buffer(program, len(program))
        header = struct.pack("@HxxxxxxQ", len(program) // 8, ctypes.addressof(self._code))
        self._header = ctypes.create_string_buffer(header, len(header))
        self.address = ctypes.addressof(self._header)


class Filter:
    """A filter ready to be loaded: the program, kept in C memory, and the number of seccomp(2) on this machine."""

    def __init__(self, number: int, program: bytes) -> None:
        self.program = program
        self._number = number
        self._header = Header(program)

    def load(self, libc: Libc) -> None:
        """Put it on, for every thread of this process; nothing takes it off."""
        if libc.syscall("seccomp", self._number, _SET_MODE_FILTER, _FLAG_TSYNC, self._header.address):
            raise OSError(errno.ESRCH, "a thread could not be brought under the filter")


def build_filter(allowed: tuple[Allowed, ...]) -> Filter:
    """Compile the table for this machine.

    Raises:
        OSError: no libseccomp, or an architecture whose calling conventions were never checked.
    """
    return Filter(resolver()("seccomp"), compile_program(allowed, _libseccomp().system_arch()))


def compile_program(allowed: tuple[Allowed, ...], arch: int) -> bytes:
    """The table as a program for machines of one architecture, this one or not.

    Raises:
        OSError: as `build_filter`.
    """
    seccomp = _libseccomp()
    # Positions of arguments differ elsewhere (s390x: clone's flags come second, mmap's arguments lie in memory).
    if arch not in (seccomp.Arch.X86_64, seccomp.Arch.AARCH64, seccomp.Arch.RISCV64):
        raise OSError(errno.ENOSYS, "the filter is not known for this architecture")
    rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    rules.set_attr(seccomp.Attr.ACT_BADARCH, seccomp.KILL_PROCESS)  # 32-bit and x32 numbers mean other calls
    if arch != seccomp.system_arch():
        rules.add_arch(arch)
        rules.remove_arch(seccomp.system_arch())
    # libc takes ENOSYS for an old kernel and falls back to clone, whose flags a filter can see.
    rules.add_rule_exactly(seccomp.ERRNO(errno.ENOSYS), _CLONE3)
    for call in allowed:
        if seccomp.resolve_syscall(arch, call.name) >= 0:  # negative: that architecture has no such call
            matches = [seccomp.Arg(at, seccomp.MASKED_EQ, mask, value) for at, mask, value in call.when]
            # Numbers are this machine's; libseccomp knows those of others.
            rules.add_rule_exactly(seccomp.ALLOW, seccomp.resolve_syscall(seccomp.Arch.NATIVE, call.name), *matches)
    return _exported(rules)


def resolver() -> Callable[[str], int]:
    """What gives the number of a system call on this machine, negative if it has none; makes no system call itself.

    Raises:
        OSError: no libseccomp.
    """
    seccomp = _libseccomp()
    return lambda name: seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)


def _libseccomp() -> ModuleType:
    """pyseccomp, imported late: it looks for its C library on import, which takes 20 ms and may fail."""
    try:
        return import_module("pyseccomp")  # by name: it has types, but does not say so
    except (ImportError, RuntimeError) as exc:
        raise OSError(errno.ENOPKG, "libseccomp is not installed") from exc


def _exported(rules: Any) -> bytes:
    with os.fdopen(os.memfd_create("seccomp", os.MFD_CLOEXEC), "r+b") as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
