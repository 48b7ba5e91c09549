"""Wall 2: what goes up, in what order, what it leaves working, and how a wall that is missing says so."""

from __future__ import annotations

import ctypes
import faulthandler
import importlib
import importlib.util
import json
import mmap
import os
import platform
import select
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack._cmsgpack
import pytest

from belljar.errors import Code, ConfigError, WallError
from belljar.limits import MIB
from belljar.sandbox import _seccomp
from belljar.sandbox._prctl import Libc
from belljar.sandbox.walls import WALLS, prepare

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="wall 2 is Linux's"),
    # The only other thread is pytest's own watchdog, which a forked child does not have.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has this to lose")
x86_64_only = pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers and instructions of x86-64")

# Landlock decides about files, so it must do so alone as well as with seccomp.
BY_LANDLOCK = pytest.mark.parametrize("waive", [frozenset[str](), frozenset({"seccomp"})], ids=["both", "landlock"])

NAMES = tuple(info.name for info in WALLS)
NOBODY = 65534
DEADLINE_S = 20


def in_child(do: Callable[[], Any]) -> Any:
    """What `do` returns in a forked child, as JSON; its exception's text as AssertionError. Killed at a deadline."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            os.write(writer, json.dumps(["ok", do()]).encode())
        except BaseException:
            os.write(writer, json.dumps(["raised", traceback.format_exc()]).encode())
        finally:
            os._exit(0)
    os.close(writer)
    try:
        told = b""
        while select.select([reader], [], [], DEADLINE_S)[0] and (chunk := os.read(reader, 1 << 16)):
            told += chunk
    finally:
        os.close(reader)
        os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not told:
        return status
    kind, value = json.loads(told)
    assert kind == "ok", value
    return value


def walled(do: Callable[[], Any], **options: Any) -> Any:
    """What `do` returns behind a wall prepared with these options; -N if signal N ended it."""
    wall = prepare(**options)
    try:
        return in_child(lambda: (wall.tighten(), do())[1])
    finally:
        wall.close()


def as_nobody(do: Callable[[], Any]) -> Any:
    """The same as an ordinary user, if we are root: a child that became one, dumpable as any login's."""

    prepare().close()  # imports what nobody may not read

    def drop() -> Any:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
        return do()

    return in_child(drop)


def refused(do: Callable[[], Any]) -> str:
    """The name of the error `do` ends in, or empty."""
    try:
        do()
    except (OSError, MemoryError) as exc:
        return type(exc).__name__
    return ""


def test_every_wall_goes_up_in_order() -> None:
    """`tighten` names all seven walls, as root and as an ordinary user."""

    def names() -> Any:
        return in_child(prepare().tighten)

    assert tuple(in_child(names)) == tuple(as_nobody(names)) == NAMES


def test_each_wall_says_what_it_is_for() -> None:
    """The list of walls is data for people: a name, what it stops, what follows without it."""
    assert len(set(NAMES)) == len(NAMES) == 7
    assert all(info.stops and info.without for info in WALLS)


@pytest.mark.parametrize("name", NAMES)
def test_waived_wall_is_left_out_and_said(name: str) -> None:
    """`waive` leaves exactly that wall out, and the wall knows it."""
    wall = prepare(waive=frozenset({name, *needing(name)}))
    try:
        up = in_child(wall.tighten)
    finally:
        wall.close()
    assert name not in up
    assert set(up) | wall.waived == set(NAMES)
    assert tuple(up) == wall.names


def needing(name: str) -> set[str]:
    """Without no_new_privs the kernel refuses these two to whoever is not root."""
    return {"landlock", "seccomp"} if name == "no_new_privs" else set()


def test_unknown_wall_cannot_be_waived() -> None:
    """A misspelt waiver is a ConfigError that lists the walls, not a wall more or less."""
    with pytest.raises(ConfigError, match=r"landlok.*landlock"):
        prepare(waive=frozenset({"landlok"}))


def test_kernel_without_landlock_is_a_missing_wall() -> None:
    """Where the kernel has no Landlock, `prepare` fails with WALL_MISSING and its name; waived, the rest stands."""

    def without_landlock() -> Any:
        import pyseccomp

        rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
        rules.add_rule(pyseccomp.ERRNO(38), 444)
        rules.load()
        with pytest.raises(WallError, match="--waive landlock") as caught:
            prepare()
        return [caught.value.walls, caught.value.code, in_child(prepare(waive=frozenset({"landlock"})).tighten)]

    walls, code, rest = in_child(without_landlock)
    assert walls == ["landlock"]
    assert code == Code.WALL_MISSING
    assert rest == [name for name in NAMES if name != "landlock"]


def test_machine_without_libseccomp_is_a_missing_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without libseccomp `prepare` names the wall seccomp."""
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    with pytest.raises(WallError, match="libseccomp") as caught:
        prepare()
    assert caught.value.walls == ("seccomp",)


def test_wall_without_its_zygote_does_not_go_up() -> None:
    """A worker whose parent is not the process that prepared refuses: that parent's death would go unnoticed."""
    wall = prepare()

    def grandchild() -> Any:
        with pytest.raises(WallError, match="parent") as caught:
            wall.tighten()
        return caught.value.walls

    assert in_child(lambda: in_child(grandchild)) == ["pdeathsig"]
    wall.close()


@root_only
def test_root_that_may_not_leave_root_does_not_pass() -> None:
    """Root without the right to change its id (a container's) is a missing wall, not a worker that stays root."""

    def powerless() -> Any:
        wall = prepare()

        def tighten() -> Any:
            with pytest.raises(WallError) as caught:
                wall.tighten()
            return caught.value.walls

        Libc().drop_capabilities()
        return in_child(tighten)

    assert in_child(powerless) == ["ids"]


@root_only
def test_root_becomes_nobody_for_good() -> None:
    """Started as root, a worker has nobody's ids, no groups, no capability, and an empty bounding set."""

    def look() -> Any:
        bounds = [ctypes.CDLL(None).prctl(23, n, 0, 0, 0) for n in range(64)]
        status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines())
        return [os.getresuid(), os.getresgid(), os.getgroups(), max(bounds), status["CapPrm"], status["CapEff"]]

    def with_groups() -> Any:
        os.setgroups([1, 2])
        return walled(look, waive=frozenset({"seccomp", "landlock", "rlimits", "undumpable"}))

    seen = in_child(with_groups)
    assert seen == [[NOBODY] * 3, [NOBODY] * 3, [], 0, "0" * 16, "0" * 16]


def test_worker_dies_with_its_zygote() -> None:
    """kill -9 of the zygote ends its workers: the pipe only they hold is closed."""
    reader, writer = os.pipe()

    def zygote() -> None:
        wall = prepare()
        told, tell = os.pipe()
        never, _held = os.pipe()
        if os.fork() == 0:
            wall.tighten()
            os.write(tell, b"x")
            os.read(never, 1)
            os._exit(0)
        os.close(writer)
        os.read(told, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(zygote) == -signal.SIGKILL
    os.close(writer)
    assert select.select([reader], [], [], DEADLINE_S)[0], "the worker outlived its zygote"
    assert os.read(reader, 1) == b""
    os.close(reader)


@pytest.mark.parametrize(("waive", "readable"), [(False, False), (True, True)])
def test_other_processes_cannot_read_a_worker(waive: bool, readable: bool) -> None:
    """Another process of the same user cannot open a worker's memory; without the wall it could."""

    def same_user() -> Any:
        names = set(NAMES) if waive else set(NAMES) - {"undumpable"}
        wall = prepare(waive=frozenset(names))
        told, tell = os.pipe()
        worker = os.fork()
        if worker == 0:
            wall.tighten()
            os.write(tell, b"x")
            signal.pause()
        os.read(told, 1)
        answer = refused(lambda: os.close(os.open(f"/proc/{worker}/mem", os.O_RDONLY)))
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        return answer

    assert as_nobody(same_user) == ("" if readable else "PermissionError")


def test_channel_still_works() -> None:
    """A worker sends, receives and waits with a deadline on the sockets it has, and passes no descriptor on."""
    ours, theirs = socket.socketpair()
    _silent, quiet = socket.socketpair()
    quiet.settimeout(0.01)

    def talk() -> Any:
        waited = refused(lambda: quiet.recv(1))
        theirs.sendall(b"ready")
        return [waited, theirs.recv(9).decode(), refused(lambda: socket.send_fds(theirs, [b"x"], [0]))]

    with ours, theirs, _silent, quiet:
        ours.sendall(b"go")
        assert walled(talk) == ["TimeoutError", "go", "PermissionError"]
        assert ours.recv(9) == b"ready"


def test_computing_still_works() -> None:
    """Memory grows and shrinks, the clock runs, and random bytes come."""

    def compute() -> Any:
        blocks = [bytearray(1 << n) for n in range(24)]
        blocks[-1].extend(bytes(MIB))
        with mmap.mmap(-1, 8 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
            area[-1] = 1
        return [len(blocks[-1]), len(os.urandom(8)), time.monotonic() > 0]

    assert walled(compute) == [(1 << 23) + MIB, 8, True]


@pytest.mark.parametrize(("room_for", "got"), [(32 * MIB, ""), (256 * MIB, "MemoryError")])
def test_memory_has_a_ceiling(room_for: int, got: str) -> None:
    """`room(memory=...)` counts what a worker writes, beyond what its zygote held."""
    wall = prepare()
    room = wall.room(memory=64 * MIB, reserve=1024 * MIB)
    assert in_child(lambda: (wall.tighten(room), refused(lambda: bytearray(room_for)))[1]) == got
    wall.close()


@pytest.mark.parametrize(("reserve", "got"), [(0, False), (2048 * MIB, True)])
def test_reserved_memory_has_its_own_ceiling(reserve: int, got: bool) -> None:
    """Address space that is only reserved, as wasmtime does, counts against `reserve`, not against `memory`."""
    wall = prepare()
    room = wall.room(memory=64 * MIB, reserve=reserve)
    anywhere, nothing, private = None, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    reserve_space = ctypes.CDLL(None).mmap
    reserve_space.restype = ctypes.c_long
    reserve_space.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]

    def attempt() -> bool:
        wall.tighten(room)
        return reserve_space(anywhere, 1024 * MIB, nothing, private, -1, 0) != -1

    assert in_child(attempt) is got
    wall.close()


def test_crash_ends_the_worker() -> None:
    """abort(), which a panic in wasmtime calls, ends a worker by a signal although it may not signal itself."""

    def crash() -> None:
        faulthandler.disable()  # nobody wants to read that
        os.abort()

    assert walled(crash) in (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGILL, -signal.SIGTRAP)


@x86_64_only
def test_x32_numbers_kill() -> None:
    """A number of the x32 calling convention, where numbers mean other calls, ends the process by SIGSYS."""
    libc = ctypes.CDLL(None)
    assert walled(lambda: libc.syscall(ctypes.c_long(0x40000000 | 39))) == -signal.SIGSYS


@x86_64_only
def test_32_bit_system_calls_kill() -> None:
    """`int 0x80` enters the kernel as another architecture, where numbers mean other calls: SIGSYS, also here."""
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid); int 0x80; ret
    getpid_32 = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    if in_child(getpid_32) == -signal.SIGSEGV:
        pytest.skip("this kernel has no 32-bit system calls")
    assert walled(getpid_32) == -signal.SIGSYS


def test_threads_only_when_asked_for() -> None:
    """With `threads` a worker starts threads, and still no process."""

    def both() -> Any:
        thread = threading.Thread(target=time.monotonic)
        thread.start()
        thread.join(DEADLINE_S)
        return [thread.is_alive(), refused(os.fork), refused(lambda: os.posix_spawn("/bin/true", ["true"], {}))]

    assert walled(both, threads=True) == [False, "PermissionError", "PermissionError"]


@BY_LANDLOCK
def test_folder_to_read(tmp_path: Path, waive: frozenset[str]) -> None:
    """A worker with a read-only folder imports from it, native code too; it writes nothing and reads nothing else."""
    other = tmp_path / "other"
    other.write_text("secret")
    folder = reachable(tmp_path / "folder")
    (folder / "capability_dependency.py").write_text("ANSWER = 42")
    wheel = shutil.copy(msgpack._cmsgpack.__file__, folder)

    def use() -> Any:
        sys.path.insert(0, str(folder))
        answer = importlib.import_module("capability_dependency").ANSWER
        spec = importlib.util.spec_from_file_location("msgpack._cmsgpack", wheel)
        assert spec
        assert spec.loader
        native = importlib.util.module_from_spec(spec)
        return [
            answer,
            native.__file__ == wheel,
            refused(other.read_text),
            refused(lambda: (folder / "new").write_text("x")),
        ]

    assert walled(use, waive=waive, read_only=(str(folder),)) == [42, True, *["PermissionError"] * 2]


def test_code_to_import_is_never_writable(tmp_path: Path) -> None:
    """Native wheels may be mapped executable where there is a folder to import from, but not writable as well."""
    pages: dict[str, int] = {"r": mmap.PROT_READ, "w": mmap.PROT_WRITE, "x": mmap.PROT_EXEC}

    def attempt() -> Any:
        wanted, private = ("rx", "rwx", "wx"), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        return [refused(lambda p=p: mmap.mmap(-1, 4096, private, sum(pages[c] for c in p)).close()) for p in wanted]

    assert walled(attempt, read_only=(str(tmp_path),)) == ["", "PermissionError", "PermissionError"]


@BY_LANDLOCK
def test_folder_to_write(tmp_path: Path, waive: frozenset[str]) -> None:
    """A worker with a work folder writes, reads and removes files in it: no link, no fifo, nothing outside."""
    folder = reachable(tmp_path / "work")
    with_file = folder / "inner" / "file"

    def use() -> Any:
        with_file.parent.mkdir()
        with_file.write_text("kept")
        (folder / "gone").write_text("x")
        (folder / "gone").unlink()
        return [
            with_file.read_text(),
            refused(lambda: (folder / "link").symlink_to("/")),
            refused(lambda: os.mkfifo(folder / "fifo")),
            refused(lambda: (tmp_path / "outside").write_text("x")),
        ]

    assert walled(use, waive=waive, writable=(str(folder),)) == ["kept", *["PermissionError"] * 3]
    assert with_file.read_text() == "kept"


def reachable(folder: Path) -> Path:
    """A folder open to everybody, so that it is Landlock and not its mode that keeps a worker (nobody's) out."""
    folder.mkdir()
    folder.chmod(0o777)
    for parent in folder.parents:
        if parent.stat().st_uid == os.getuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    return folder


def test_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A folder to grant that cannot be opened is an error, not a grant less."""
    with pytest.raises(WallError, match="missing") as caught:
        prepare(read_only=(str(tmp_path / "missing"),))
    assert caught.value.walls == ("landlock",)


def test_preparing_leaves_nothing_open() -> None:
    """A prepared wall holds one descriptor, closing gives it back, and closing twice harms nobody."""
    prepare().close()  # what is imported once stays open

    def descriptors() -> set[str]:
        return set(os.listdir("/proc/self/fd"))

    before = descriptors()
    wall = prepare()
    assert len(descriptors() - before) <= 1
    wall.close()
    with open(os.devnull) as reused:
        wall.close()
        assert os.fstat(reused.fileno())
    assert descriptors() == before


def test_worker_holds_nothing_of_the_wall() -> None:
    """After tightening no descriptor is open that was not open before: the ruleset is gone."""
    wall = prepare(waive=frozenset({"seccomp", "rlimits"}), read_only=("/proc",))
    before = len(os.listdir("/proc/self/fd"))
    wall.close()
    wall = prepare(waive=frozenset({"seccomp", "rlimits", "ids", "undumpable"}), read_only=("/proc",))
    assert in_child(lambda: (wall.tighten(), len(os.listdir("/proc/self/fd")))[1]) <= before
    wall.close()


def test_allow_list_is_short_known_and_reasoned() -> None:
    """Every allowed call has a reason and a known name; what opens, connects or starts things is not in it."""
    resolve = _seccomp.resolver()
    every = (*_seccomp.ALLOWED, *_seccomp.THREADS, *_seccomp.READING, *_seccomp.WRITING)
    assert [call.name for call in every if not call.why or resolve(call.name) == -1] == []
    names = {call.name for call in _seccomp.ALLOWED}
    assert len(names) == len(_seccomp.ALLOWED) <= 30
    assert not names & {
        "open",
        "openat",
        "socket",
        "connect",
        "execve",
        "clone",
        "fork",
        "ioctl",
        "prctl",
        "sendmsg",
        "kill",
    }


def test_other_systems_have_the_documented_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on Linux nothing goes up, and the profile says so."""
    monkeypatch.setattr(sys, "platform", "darwin")
    wall = prepare()
    assert (wall.profile, wall.tighten(), wall.names, wall.room(memory=1)) == ("wasm-only", (), (), None)
