"""Natively hostile code in a native box: what it tries is denied, and goes through where the walls are waived.

Each attempt is a program like any other, run end to end. It says the name of the error it met, or that it succeeded.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import psutil
import pytest

from belljar.errors import Code
from belljar.jar import Jar
from belljar.limits import MIB
from belljar.rpc.frames import encode
from belljar.rpc.messages import Call, Log, Ready, Result
from belljar.sandbox._threads import MOST_THREADS
from belljar.sandbox.probes import run_probes
from belljar.sandbox.walls import WALLS, prepare
from tests.worlds import Lab

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the process backend is Linux's"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]
EVERY_WALL = frozenset(info.name for info in WALLS)
DENIED = {"EPERM", "EACCES", "ENOSYS", "EMFILE", "EFBIG", "EAGAIN", "EAFNOSUPPORT", "ENOMEM"}

_TRY = '''
import ctypes, errno, os, platform, signal, socket, subprocess, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def raw(x86, arm, *words):
    """A system call by its number; the arguments are such that it does no harm where it is allowed."""
    words = [ctypes.c_long(w) if isinstance(w, int) else w for w in words]
    if libc.syscall(ctypes.c_long(x86 if platform.machine() == "x86_64" else arm), *words) < 0:
        raise OSError(ctypes.get_errno(), "raw")
def attempt():
    {attempt}
try:
    attempt()
    said = "succeeded"
except OSError as exc:
    said = errno.errorcode.get(exc.errno, str(exc))
except (RuntimeError, MemoryError) as exc:
    said = "EAGAIN"
said
'''
# Name, program, what it says with no wall up if that is not success.
ATTEMPTS = [
    # files
    ("read /etc/passwd", "open('/etc/passwd').read()", "succeeded"),
    ("read a key", "open(os.path.expanduser('/root/.ssh/belljar-none')).read()", "ENOENT"),
    ("read /proc/self/environ", "open('/proc/self/environ').read()", "succeeded"),
    ("read /proc/self/mem", "open('/proc/self/mem', 'rb').close()", "succeeded"),
    ("read /proc/self/maps", "open('/proc/self/maps').read()", "succeeded"),
    ("enter /proc/1/root", "os.listdir('/proc/1/root')", "succeeded|EACCES|EPERM"),
    ("list /", "os.listdir('/')", "succeeded"),
    ("stat /etc/shadow", "os.stat('/etc/shadow')", "succeeded"),
    ("read our sources", "open(args['source']).read()", "succeeded"),
    ("create a file", "open('/tmp/belljar-hostile', 'w').close(); os.unlink('/tmp/belljar-hostile')", "succeeded"),
    ("open the terminal", "open('/dev/tty').close()", "succeeded|ENXIO|ENOENT"),
    ("write to /dev/shm", "open('/dev/shm/belljar-x', 'w').close(); os.unlink('/dev/shm/belljar-x')", "succeeded"),
    ("chdir", "os.chdir('/')", "succeeded"),
    ("open by handle", "raw(304, 265, -100, 0, 0)", "EFAULT|EBADF"),
    # processes
    ("fork", "pid = os.fork()\n    if pid == 0: os._exit(0)\n    os.waitpid(pid, 0)", "succeeded"),
    ("spawn", "pid = os.posix_spawn('/bin/true', ['true'], {{}}); os.waitpid(pid, 0)", "succeeded"),
    ("raw clone", "raw(56, 220, 0x10000, 0, 0, 0, 0)", "EINVAL"),
    ("clone3", "raw(435, 435, 0, 0)", "EINVAL"),
    ("run a command", "subprocess.run(['true'], check=True)", "succeeded"),
    ("exec", "os.execv('/nonexistent/belljar', ['x'])", "ENOENT"),
    ("exec from memory", "os.execve(os.memfd_create('x'), ['x'], {{}})", "ENOEXEC|EACCES"),
    ("double fork and setsid", "os.setsid()", "succeeded|EPERM"),
    ("signal the parent", "os.kill(os.getppid(), 0)", "succeeded"),
    ("signal everybody", "os.kill(-1, 0)", "succeeded"),
    ("ptrace", "raw(101, 117, 2, os.getppid(), 0, 0)", "ESRCH|EIO|EPERM"),
    ("read another's memory", "raw(310, 270, os.getppid(), 0, 0, 0, 0, 1)", "EINVAL"),
    ("pidfd of the parent", "os.close(os.pidfd_open(os.getppid()))", "succeeded"),
    ("renice", "os.nice(-5)", "succeeded|EPERM|EACCES"),
    # network and messages
    *[
        (f"socket of family {family}, type {kind}", f"socket.socket({family}, {kind}).close()", expected)
        for family, kind, expected in [
            (1, 1, "succeeded"),
            (2, 1, "succeeded"),
            (2, 2, "succeeded"),
            (10, 1, "succeeded|EAFNOSUPPORT"),
            (16, 3, "succeeded"),
            (17, 3, "succeeded|EPERM|EAFNOSUPPORT"),
            (38, 5, "succeeded|EAFNOSUPPORT"),
            (40, 1, "succeeded|EAFNOSUPPORT"),
        ]
    ],
    ("socket pair", "socket.socketpair()", "succeeded"),
    ("pipe", "os.pipe()", "succeeded"),
    ("shared memory", "raw(29, 194, 0x62656c6c, 4096, 0)", "ENOENT"),
    ("message queue", "raw(68, 186, 0x62656c6c, 0)", "ENOENT"),
    ("anonymous shared memory", "import mmap; mmap.mmap(-1, 4096).close()", "succeeded"),
    # kernel surface
    ("io_uring", "raw(425, 425, 0, 0)", "EFAULT|EINVAL|EPERM|ENOSYS"),
    ("bpf", "raw(321, 280, 99, 0, 0)", "EINVAL|EPERM|E2BIG|EFAULT"),
    ("perf", "raw(298, 241, 0, 0, -1, -1, 0)", "EFAULT|EACCES|EINVAL|ENOENT"),
    ("userfaultfd", "raw(323, 282, -1)", "EINVAL|EPERM|ENOSYS"),
    ("new namespace", "raw(272, 97, 0)", "succeeded"),
    ("setns", "raw(308, 268, -1, 0)", "EBADF|EINVAL"),
    ("personality", "raw(135, 92, 0xffffffff)", "succeeded"),
    ("mount", "raw(165, 40, 0, b'/', b'belljar-none', 0, 0)", "ENODEV|EPERM|EFAULT"),
    ("new mount API", "raw(428, 428, -100, b'/nonexistent', 0)", "ENOENT|EPERM"),
    ("keyring", "raw(250, 219, 0, -1, 0)", "succeeded|ENOKEY|EINVAL"),
    ("executable memory", "import mmap; mmap.mmap(-1, 4096, flags=2|32, prot=7).close()", "succeeded"),
    ("be dumpable again", "raw(157, 167, 4, 1, 0, 0, 0)", "succeeded"),
    ("read or raise a limit", "import resource; resource.getrlimit(resource.RLIMIT_CORE)", "succeeded"),
    ("host name", "raw(63, 160, ctypes.create_string_buffer(500))", "succeeded"),
    ("real time", "os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))", "succeeded"),
]


def program(attempt: str) -> str:
    return _TRY.format(attempt=attempt.replace("{{", "{").replace("}}", "}"))


@pytest.mark.anyio
@pytest.mark.parametrize(("attempt", "open_"), [a[1:] for a in ATTEMPTS], ids=[a[0] for a in ATTEMPTS])
async def test_it_is_denied_by_walls_and_by_nothing_else(run: Any, attempt: str, open_: str) -> None:
    """F1: denied behind the walls; with every wall waived the same program gets through to the kernel."""
    args = {"source": prepare.__code__.co_filename}
    behind = (await run(program(attempt), args)).unwrap()
    assert behind in DENIED
    free = (await run(program(attempt), args, waive=EVERY_WALL)).unwrap()
    assert free in open_.split("|")


def test_every_native_probe_is_denied_but_threads() -> None:
    """F1: the probes of `doctor`, behind the wall of a native worker: all denied but the start of a thread."""
    open_ = {
        (result.wall, result.probe) for result in run_probes(prepare(threads=True, native=True)) if not result.denied
    }
    assert open_ == {("seccomp", "thread")}


# Memory, threads


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("flags", "protection"),
    [(0x21, 3), (0x122, 3), (0x122, 5), (0x21, 5), (0x22, 7), (0x8022, 3)],
    ids=["shared", "growing", "growing, then written", "shared, then written", "executable", "populated"],
)
async def test_memory_no_limit_counts_cannot_be_had(run: Any, flags: int, protection: int) -> None:
    """F3: mapped by its own system calls, a capability holds no more than its limit: what is not counted is denied."""
    code = f"""
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
        libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        got, size = 0, 4 << 20
        for _ in range(1000):
            there = libc.mmap(None, size, {protection}, {flags}, -1, 0)
            if there in (None, ctypes.c_void_p(-1).value) or libc.mprotect(there, size, 3):
                break
            ctypes.memset(there, 1, size)
            got += size
        got
    """
    assert (await run(code, memory="64MiB")).unwrap() <= 128 * MIB


@pytest.mark.anyio
async def test_threads_are_counted(run: Any) -> None:
    """A hundred thousand threads end at the bound, one after the other and at once; the next run is unaffected."""
    for hold in ("thread.join()", "kept.append(thread)"):
        code = f"""
            import threading
            threading.stack_size(32768)
            kept, started, stop = [], 0, threading.Event()
            try:
                for _ in range(10**5):
                    thread = threading.Thread(target=(lambda: None) if {hold!r} == "thread.join()" else stop.wait)
                    thread.start()
                    started += 1
                    {hold}
            except RuntimeError:
                pass
            stop.set()
            started
        """
        assert (await run(code)).unwrap() == MOST_THREADS
    assert (await run("import threading\nt = threading.Thread(target=int)\nt.start()\nt.join()\n1")).unwrap() == 1


@pytest.mark.anyio
async def test_a_bomb_of_raw_clones_stops_at_the_bound(run: Any) -> None:
    """Clone without libc, for ever: after the bound the kernel itself says no, and the zygote hears nothing of it."""
    code = """
        import ctypes, threading
        threading.stack_size(32768)
        for _ in range(300):
            try:
                threading.Thread(target=int).start()
            except RuntimeError:
                pass
        libc = ctypes.CDLL(None, use_errno=True)
        flags = 0x3d0f00
        results = set()
        for _ in range(10_000):
            libc.syscall(ctypes.c_long(56 if ctypes.sizeof(ctypes.c_long) else 220), ctypes.c_long(flags), 0, 0, 0, 0)
            results.add(ctypes.get_errno())
        sorted(results)
    """
    assert (await run(code)).unwrap() == [38]


# The process itself


@pytest.mark.anyio
async def test_only_what_it_needs_is_open(run: Any) -> None:
    """No descriptor of the zygote's or the host's: standard streams, the channel, and what wakes the loop."""
    code = """
        import select
        found = []
        for descriptor in range(256):
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            if all(event != select.POLLNVAL for _, event in poll.poll(0)):
                found.append(descriptor)
        found
    """
    found = (await run(code)).unwrap()
    assert found[:3] == [0, 1, 2]
    assert len(found) == 5


@pytest.mark.anyio
async def test_nothing_of_the_host_is_in_it(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """H: no environment, arguments, host name, user id; no secret of the host among its objects."""
    monkeypatch.setenv("BELLJAR_API_KEY", "bj_" + "s" * 32)
    code = """
        import ctypes, gc, os, platform, sys
        def found():
            secret = "".join(["bj", "_", "s" * 32])
            held = (o for o in gc.get_objects() if isinstance(o, dict))
            return [key for each in held for key, value in list(each.items()) if str is type(value) and value == secret]
        environ = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
        [dict(os.environ), environ[0] if environ else None, sys.argv, sys.orig_argv, sys.executable, platform.node(),
         os.uname().nodename, os.getuid(), found()]
    """
    assert (await run(code)).unwrap() == [{}, None, [""], [], "", "", "", -1, []]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.kill(os.getppid(), 9)",
        "import os\nos.kill(-1, 9)",
        "import signal\nfor n in set(range(1, 32)) - {9, 19}:\n    signal.signal(n, signal.SIG_IGN)\nwhile 1: pass",
        "import ctypes\nctypes.memset(ctypes.CDLL(None)._handle, 0, 1 << 20)",
        "import types\nf = (lambda: 0)\nf.__code__ = f.__code__.replace(co_code=bytes(range(200)) * 2)\nf()",
        "import os\nfor n in range(64):\n    try: os.close(n)\n    except OSError: pass\nprint('x')\nwhile 1: pass",
        "import gc\nfor o in gc.get_objects():\n    if isinstance(o, dict): o.clear()\n1 / 0",
        "import sys\nsys.setrecursionlimit(10**9)\nx = []\nfor _ in range(10**5):\n    x = [x]\nrepr(x)\n1/0",
        "import os\nos.abort()",
        "import ctypes\nctypes.string_at(8)",
    ],
)
async def test_what_it_does_to_itself_is_its_own(run: Any, jar: Jar, code: str) -> None:
    """F1: the run ends with a code; zygote and host live, no process stays, and the next run works."""
    before = set(jar.pool.pids())
    zygotes = {child.pid for child in psutil.Process().children()}
    found = await run(code, wall=3)
    assert found.error is not None
    assert found.error.code in (Code.CAPABILITY_ERROR, Code.WORKER_CRASH, Code.EXECUTION_TIMEOUT, Code.MEMORY_LIMIT)
    assert (await run("1 + 1")).unwrap() == 2
    if before:
        assert zygotes <= {child.pid for child in psutil.Process().children()}


# The channel

_SEND_RAW = """
import posix
for descriptor in range(3, 16):
    try:
        posix.write(descriptor, bytes.fromhex({frames!r}))
    except OSError:
        pass
import time
time.sleep(20)
"""
_ONE = encode(Call(1, "lab", "write", "{}", 1))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "frames",
    [
        b"\xff\xff\xff\xff" + b"x" * 64,
        b"\0\0\0\0",
        b"garbage that is no frame at all",
        b"\x06\0\0\0\xdd\xff\xff\xff\xff\xc0",
        b"\x03\0\0\0\x91\x91\x91",
        _ONE + _ONE,
        encode(Call(7, "lab", "echo", "{}", 1)),
        encode(Ready("process", "3", ())),
        encode(Result("1", (), (), {}))[:-1] + b"\xff",
        encode(Log("stdout", "x")).replace(b"stdout", b"stdoux"),
    ],
    ids=["4 GiB", "empty", "garbage", "array of 2^32", "lists", "id twice", "id ahead", "ready", "cut", "stream"],
)
async def test_forged_frames_end_the_run(run: Any, world: Lab, frames: bytes) -> None:
    """G: what comes past the guest's own client is believed no more than what passes it."""
    before = psutil.Process().memory_info().rss
    found = await run(_SEND_RAW.format(frames=frames.hex()), wall=5)
    assert found.error.code == Code.PROTOCOL_ERROR
    assert len(world.made) <= 1
    assert psutil.Process().memory_info().rss - before < 20 * MIB
    assert (await run("1 + 1")).unwrap() == 2


@pytest.mark.anyio
async def test_a_forged_call_is_a_call_like_any_other(run: Any, world: Lab) -> None:
    """G: the ledger says what was asked of the host, whoever wrote the frame."""
    frames = encode(Call(1, "nowhere", "echo", "{}", 1)) + encode(Result("7", (), (), {}))
    found = await run(_SEND_RAW.format(frames=frames.hex()), wall=5)
    assert [(record.server, record.tool) for record in found.calls] == [("nowhere", "echo")]
    assert world.made == []


@pytest.mark.anyio
async def test_a_closed_channel_ends_the_run(run: Any) -> None:
    """The host does not wait for one who cannot answer."""
    code = "import os, time\nfor n in range(3, 64):\n    try: os.close(n)\n    except OSError: pass\ntime.sleep(20)"
    found = await run(code, wall=5)
    assert found.error.code == Code.WORKER_CRASH
    assert found.duration_ms < 4000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has this to lose")
@pytest.mark.anyio
async def test_root_is_left(run: Any) -> None:
    """Started by root, a worker is nobody; without that wall it is still root."""
    code = "import ctypes\nctypes.CDLL(None).setresuid(0, 0, 0)"
    waive = frozenset({"seccomp"})
    assert (await run(code, waive=waive)).unwrap() == -1
    assert (await run(code, waive=waive | {"ids"})).unwrap() == 0
