"""What a program that got out of its box would try next: each attempt made natively, once, and harmless if it succeeds.

They must be harmless, because a probe says most where a wall is missing - perhaps as root. So: signal 0, files in a
folder made for the purpose, children that end at once, and for whatever would change the machine arguments the kernel
refuses only *after* it asked whether we may (a file system that does not exist, a negative length, a wrong magic
number). Another error than "you may not" then shows that no wall stood there.

An attempt returns if it succeeded and raises OSError if not. It runs after the walls are up, so it imports nothing.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import signal
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock, Thread

from belljar.sandbox._prctl import Libc

__all__ = ["PROBES", "Probe", "Scene"]

_NOWHERE = b"/nonexistent/belljar"
_BAD = -1  # a descriptor that is none
_ALL_BITS = 0xFFFFFFFF
_AT_FDCWD, _CLONE_NEWUSER, _TIOCSTI = -100, 0x10000000, 0x5412
_PTRACE_PEEKDATA, _KCMP_VM = 2, 1
_AF_ALG, _AF_VSOCK = 38, 40
_PR_GET_PDEATHSIG, _PR_GET_DUMPABLE, _PR_SET_DUMPABLE, _PR_GET_NO_NEW_PRIVS = 2, 3, 4, 39
# Numbers are the same everywhere from 424 on; an older libseccomp does not know all of these names.
_NUMBERS = {
    "io_uring_setup": 425,
    "open_tree": 428,
    "fsopen": 430,
    "pidfd_open": 434,
    "clone3": 435,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "landlock_create_ruleset": 444,
    "memfd_secret": 447,
}
# Landlock versions that brought a right; older kernels cannot be blamed for not denying it.
_TRUNCATE, _TCP, _SCOPES = 3, 4, 6


@dataclass(frozen=True, slots=True)
class Scene:
    """What the attempts are made on. Built before the walls are up, by the process the attempts call the parent."""

    libc: Libc
    resolve: Callable[[str], int]
    """Number of a system call; negative if this architecture has none of that name."""
    parent: int
    folder: str
    """Ours to write in, with a file `kept`; removed afterwards."""
    abstract: str
    """Name of an abstract socket the parent listens on."""
    memory_file: int
    """Open for writing, in memory."""
    word: ctypes.Array[ctypes.c_char]
    """Scratch space, at the same address in the parent."""

    def call(self, name: str, *args: int | bytes) -> int:
        """Make a system call by name; bytes are passed by address."""
        number = _NUMBERS.get(name) or self.resolve(name)
        if number < 0:
            raise OSError(errno.ENOSYS, name)
        kept = [ctypes.create_string_buffer(arg) if isinstance(arg, bytes) else arg for arg in args]
        words = [arg if isinstance(arg, int) else ctypes.addressof(arg) for arg in kept]
        return self.libc.syscall(name, number, *words)

    def path(self, name: str) -> str:
        return f"{self.folder}/{name}"


Attempt = Callable[[Scene], object]


@dataclass(frozen=True, slots=True)
class Probe:
    """One attempt, and the wall that denies it even with no other up.

    `landlock_abi` is the version of Landlock from which that wall can.
    """

    name: str
    wall: str
    attempt: Attempt
    landlock_abi: int = 1


def _raw(name: str, *args: int | bytes) -> Attempt:
    return lambda scene: scene.call(name, *args)


def _socket(family: int, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> Attempt:
    return lambda _: socket.socket(family, kind, protocol).close()


def _open(path: str) -> Attempt:
    return lambda _: os.close(os.open(path, os.O_RDONLY))


def _new(make: Callable[[str], object], remove: Callable[[str], object] = os.unlink) -> Attempt:
    """Make something new in the scene's folder, and remove it again."""

    def attempt(scene: Scene) -> None:
        make(scene.path("new"))
        remove(scene.path("new"))

    return attempt


def _make_file(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT))


def _make_unix_socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)


def _hard_link(scene: Scene) -> None:
    os.link(scene.path("kept"), scene.path("new"))
    os.unlink(scene.path("new"))


def _rename(scene: Scene) -> None:
    os.rename(scene.path("kept"), scene.path("new"))
    os.rename(scene.path("new"), scene.path("kept"))


def _connect(_: Scene) -> None:
    with socket.socket() as client:
        client.settimeout(2)
        client.connect(("127.0.0.1", 1))


def _bind(_: Scene) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))


def _connect_abstract(scene: Scene) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        client.connect("\0" + scene.abstract)


def _socketpair(_: Scene) -> None:
    for end in socket.socketpair():
        end.close()


def _fork(_: Scene) -> None:
    _reap(os.fork())


def _clone(scene: Scene) -> None:
    """As fork, without what libc and Python do around it."""
    _reap(scene.call("clone", signal.SIGCHLD))


def _reap(pid: int) -> None:
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _run_program(_: Scene) -> None:
    """In a child, because an exec that succeeds does not come back."""
    pid = os.fork()
    if pid == 0:
        try:
            os.execv("/bin/true", ["true"])
        except OSError as exc:
            os._exit(exc.errno or 255)
    if status := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise OSError(status, "execve")


def _start_thread(_: Scene) -> None:
    running = Lock()
    running.acquire()
    try:
        Thread(target=running.release).start()
    except RuntimeError as exc:
        raise OSError(errno.EPERM, "clone") from exc
    running.acquire(timeout=2)


def _read_parent(scene: Scene) -> None:
    there = struct.pack("@PN", ctypes.addressof(scene.word), 1)
    scene.call("process_vm_readv", scene.parent, there, 1, there, 1, 0)


def _signal_parent(scene: Scene) -> None:
    os.kill(scene.parent, 0)


def _map_executable(_: Scene) -> None:
    mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()


def _make_executable(scene: Scene) -> None:
    address = scene.call("mmap", 0, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, _BAD, 0)
    try:
        scene.call("mprotect", address, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC)
    finally:
        scene.call("munmap", address, mmap.PAGESIZE)


def _set(option: int, value: int) -> Attempt:
    return lambda scene: scene.libc.prctl("prctl", option, value)


def _is(option: int, denied: int) -> Attempt:
    """What the process may is state here, not an act; `denied` is its value with the wall up."""

    def attempt(scene: Scene) -> None:
        if scene.libc.prctl("prctl", option) == denied:
            raise OSError(errno.EPERM, "prctl")

    return attempt


def _hold_capability(scene: Scene) -> None:
    """Any in the effective or permitted set: words 0, 1, 3 and 4 of capget's answer."""
    scene.call("capget", struct.pack("@Ii", 0x20080522, 0), ctypes.addressof(scene.word))
    words = struct.unpack("@6I", scene.word.raw[:24])
    if not any(words[:2] + words[3:5]):
        raise OSError(errno.EPERM, "capget")


def _outlive_parent(scene: Scene) -> None:
    scene.word[:4] = bytes(4)
    scene.libc.prctl("prctl", _PR_GET_PDEATHSIG, ctypes.addressof(scene.word))
    if scene.word.raw[:4] != bytes(4):
        raise OSError(errno.EPERM, "prctl")


def _dump_core(_: Scene) -> None:
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        raise OSError(errno.EPERM, "RLIMIT_CORE")


def _raise_limit(scene: Scene) -> None:
    """One more than the hard limit."""
    scene.call("prlimit64", 0, resource.RLIMIT_NPROC, 0, ctypes.addressof(scene.word))
    soft, hard = struct.unpack("@QQ", scene.word.raw[:16])
    scene.call("prlimit64", 0, resource.RLIMIT_NPROC, struct.pack("@QQ", soft, min(hard + 1, (1 << 64) - 1)))


def _become_real_time(_: Scene) -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _make_queue(scene: Scene) -> None:
    name = scene.abstract.encode()
    os.close(scene.call("mq_open", name, os.O_CREAT | os.O_RDWR, 0o600, 0))
    scene.call("mq_unlink", name)


def _of(wall: str, *attempts: tuple[str, Attempt] | tuple[str, Attempt, int]) -> tuple[Probe, ...]:
    return tuple(Probe(name, wall, attempt, *since) for name, attempt, *since in attempts)


_BY_ROOT: tuple[tuple[str, Attempt], ...] = (
    ("change the root folder", lambda _: os.chroot("/")),
    ("mount", _raw("mount", 0, b"/", b"belljar-none", 0, 0)),
    ("pivot_root", _raw("pivot_root", _NOWHERE, _NOWHERE)),
    ("load a kernel module", _raw("init_module", 0, 0, b"")),
    ("unload a kernel module", _raw("delete_module", b"belljar_none", os.O_NONBLOCK)),
    ("load another kernel", _raw("kexec_load", 0, 0, 0, _ALL_BITS)),
    ("reboot", _raw("reboot", 0, 0, 0, 0)),
    ("set the host name", _raw("sethostname", b"", -1)),
    ("swap on a file", _raw("swapon", _NOWHERE, 0)),
    ("process accounting", _raw("acct", _NOWHERE)),
)

PROBES: tuple[Probe, ...] = (
    *_of(
        "ids",
        ("become root", lambda _: os.setresuid(0, 0, 0)),
        ("become root's group", lambda _: os.setresgid(0, 0, 0)),
        ("join a group", lambda _: os.setgroups([0])),
        ("hold a capability", _hold_capability),
        *_BY_ROOT,
    ),
    *_of("pdeathsig", ("outlive the parent", _outlive_parent)),
    *_of("undumpable", ("be dumped or traced", _is(_PR_GET_DUMPABLE, 0))),
    *_of("no_new_privs", ("privileges by exec", _is(_PR_GET_NO_NEW_PRIVS, 1))),
    *_of(
        "landlock",
        ("read /etc/passwd", _open("/etc/passwd")),
        ("read /proc/self/environ", _open("/proc/self/environ")),
        ("read /proc/self/mem", _open("/proc/self/mem")),
        ("list /", lambda _: os.listdir("/")),
        ("run a program", _run_program),
        ("create a file", _new(_make_file)),
        ("create a folder", _new(os.mkdir, os.rmdir)),
        ("create a symlink", _new(lambda path: os.symlink("/", path))),
        ("create a fifo", _new(os.mkfifo)),
        ("create a socket file", _new(_make_unix_socket)),
        ("create a hard link", _hard_link),
        ("rename a file", _rename),
        ("truncate a file", lambda scene: os.truncate(scene.path("kept"), 0), _TRUNCATE),
        ("connect by TCP", _connect, _TCP),
        ("listen on TCP", _bind, _TCP),
        ("connect to an abstract socket", _connect_abstract, _SCOPES),
        ("signal the parent", _signal_parent, _SCOPES),
        ("read the parent's memory", _read_parent),
        ("mount", _raw("mount", 0, b"/", b"belljar-none", 0, 0)),
    ),
    *_of(
        "rlimits",
        ("one more descriptor", lambda _: os.close(os.eventfd(0))),
        ("write to an open file", lambda scene: os.write(scene.memory_file, b"x")),
        ("create a message queue", _make_queue),
        ("dump core", _dump_core),
    ),
    *_of(
        "seccomp",
        # files
        ("read /etc/passwd", _open("/etc/passwd")),
        ("read /proc/self/environ", _open("/proc/self/environ")),
        ("list /", lambda _: os.listdir("/")),
        ("stat /etc/shadow", lambda _: os.stat("/etc/shadow")),
        ("readlink /proc/self/exe", lambda _: os.readlink("/proc/self/exe")),
        ("change the folder", lambda _: os.chdir("/")),
        ("create a file", _new(_make_file)),
        ("create a folder", _new(os.mkdir, os.rmdir)),
        ("create a symlink", _new(lambda path: os.symlink("/", path))),
        ("create a fifo", _new(os.mkfifo)),
        ("create a hard link", _hard_link),
        ("rename a file", _rename),
        ("chmod", lambda scene: os.chmod(scene.folder, 0o700)),
        ("set times of a file", lambda scene: os.utime(scene.folder)),
        ("open by handle", _raw("open_by_handle_at", _AT_FDCWD, 0, 0)),
        ("handle of a path", _raw("name_to_handle_at", _AT_FDCWD, b"/", 0, 0, 0)),
        ("watch files", lambda scene: os.close(scene.call("inotify_init1", 0))),
        ("watch a mount", _raw("fanotify_init", _ALL_BITS, 0)),
        ("file in memory", lambda scene: os.close(scene.call("memfd_create", b"belljar", 0))),
        ("secret memory", _raw("memfd_secret", _ALL_BITS)),
        ("duplicate a descriptor", lambda scene: os.close(os.dup(scene.memory_file))),
        ("splice", _raw("splice", _BAD, 0, _BAD, 0, 1, 0)),
        ("vmsplice", _raw("vmsplice", _BAD, 0, 0, 0)),
        # network and messages
        ("TCP socket", _socket(socket.AF_INET)),
        ("TCP socket, IPv6", _socket(socket.AF_INET6)),
        ("UDP socket", _socket(socket.AF_INET, socket.SOCK_DGRAM)),
        ("raw socket", _socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)),
        ("unix socket", _socket(socket.AF_UNIX)),
        ("netlink socket", _socket(socket.AF_NETLINK, socket.SOCK_RAW)),
        ("vsock socket", _socket(_AF_VSOCK)),
        ("kernel crypto socket", _socket(_AF_ALG, socket.SOCK_SEQPACKET)),
        ("packet socket", _socket(socket.AF_PACKET, socket.SOCK_RAW)),
        ("socket pair", _socketpair),
        ("send to an address", _raw("sendto", _BAD, b"", 0, 0, b"\0" * 16, 16)),
        ("send a descriptor", _raw("sendmsg", _BAD, 0, 0)),
        ("receive a descriptor", _raw("recvmsg", _BAD, 0, 0)),
        ("shared memory", _raw("shmget", 0x62656C6C, 4096, 0)),
        ("message queue", _raw("msgget", 0x62656C6C, 0)),
        ("semaphores", _raw("semget", 0x62656C6C, 1, 0)),
        ("POSIX message queue", _raw("mq_open", b"belljar-none", 0, 0, 0)),
        # processes
        ("fork", _fork),
        ("clone", _clone),
        ("clone3", _raw("clone3", 0, 0)),
        ("spawn", lambda _: os.posix_spawn(_NOWHERE, ["none"], {})),
        ("exec", lambda _: os.execv(_NOWHERE, ["none"])),
        ("exec by descriptor", _raw("execveat", _BAD, b"", 0, 0, 0x1000)),
        ("signal the parent", _signal_parent),
        ("signal everybody", lambda _: os.kill(-1, 0)),
        ("signal a thread", lambda scene: scene.call("tgkill", scene.parent, scene.parent, 0)),
        ("queue a signal", lambda scene: scene.call("rt_sigqueueinfo", scene.parent, 0, 0)),
        ("trace the parent", lambda scene: scene.call("ptrace", _PTRACE_PEEKDATA, scene.parent, 0, 0)),
        ("read the parent's memory", _read_parent),
        ("compare with the parent", lambda scene: scene.call("kcmp", scene.parent, scene.parent, _KCMP_VM, 0, 0)),
        ("hold the parent", lambda scene: os.close(os.pidfd_open(scene.parent))),
        ("take a descriptor", _raw("pidfd_getfd", _BAD, 0, 0)),
        ("advise another's memory", _raw("process_madvise", _BAD, 0, 0, 0, 0)),
        ("leave the session", lambda _: os.setsid()),
        ("set own id", lambda _: os.setuid(os.getuid())),
        ("real-time priority", _become_real_time),
        ("change priority", lambda _: os.setpriority(os.PRIO_PROCESS, 0, 19)),
        ("raise a limit", _raise_limit),
        ("be dumpable again", _set(_PR_SET_DUMPABLE, 1)),
        ("lock memory", _raw("mlock", 0, 0)),
        ("executable memory", _map_executable),
        ("make memory executable", _make_executable),
        ("pkey_mprotect", _raw("pkey_mprotect", 0, 0, 0, _BAD)),
        # kernel surface
        ("io_uring", _raw("io_uring_setup", 0, 0)),
        ("kernel keys", _raw("keyctl", 0, -3, 0)),
        ("add a key", _raw("add_key", 0, 0, 0, 0, 0)),
        ("bpf", _raw("bpf", 9999, 0, 0)),
        ("performance events", _raw("perf_event_open", 0, 0, 0, _BAD, 0)),
        ("userfaultfd", _raw("userfaultfd", _ALL_BITS)),
        ("personality", _raw("personality", _ALL_BITS)),
        ("enter a namespace", _raw("setns", _BAD, 0)),
        ("leave namespaces", _raw("unshare", 0)),
        ("new mount API", _raw("fsopen", b"belljar-none", 0)),
        ("open a mount tree", _raw("open_tree", _AT_FDCWD, _NOWHERE, 0)),
        ("kernel log", _raw("syslog", 10, 0, 0)),
        ("quotas", _raw("quotactl", 0, _NOWHERE, 0, 0)),
        ("set the clock", _raw("clock_settime", 0, 0)),
        ("adjust the clock", _raw("clock_adjtime", 0, 0)),
        ("timers", _raw("timer_create", 9999, 0, 0)),
        ("I/O ports", _raw("ioperm", 0, 0, 0)),
        ("segment table", _raw("modify_ldt", 0, 0, 0)),
        ("type for the user (TIOCSTI)", lambda scene: scene.call("ioctl", scene.memory_file, _TIOCSTI, b"x")),
        ("another filter", _raw("seccomp", 99, 0, 0)),
        ("another ruleset", _raw("landlock_create_ruleset", 0, 0, 1)),
        *_BY_ROOT,
        # these change the process that tries: last
        ("user namespace", _raw("unshare", _CLONE_NEWUSER)),
        ("thread", _start_thread),
    ),
)
"""Every probe, in the order they run within a wall."""
