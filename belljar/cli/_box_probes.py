"""What `doctor` has a capability try in a box, on either backend: the ways out, the limits, and the word of a guest.

Like the native attempts they do no harm where they succeed, perhaps as root: what is made is new and removed again, a
signal is number 0, a child ends at once, and what takes memory or calls stops by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from belljar._run import Run
from belljar.errors import Code
from belljar.sandbox.walls import WallInfo

__all__ = ["BORDER", "BOXES", "LIMITS", "PROBES", "BoxProbe"]

BOXES = {
    "wasm": WallInfo(
        "wasm",
        "everything but computing: there is no file, socket, process or thread to ask for",
        "there is no box",
    ),
    "process": WallInfo(
        "process",
        "what the walls below stop, as a capability in native Python meets them",
        "a capability has whatever rights are left to its worker",
    ),
}
"""The box of each backend."""
LIMITS = WallInfo(
    "limits",
    "computing, sleeping, printing, answering and calling without end, and taking memory",
    "one capability uses up the machine",
)
BORDER = WallInfo(
    "border",
    "calls that were not granted, forged ids, and answers that are none: the host believes nothing",
    "a capability calls what nobody allowed, or tells a tale about what it called",
)


@dataclass(frozen=True, slots=True)
class BoxProbe:
    """One capability, and how its run shows that it was denied: whether, and in what words."""

    name: str
    code: str
    judge: Callable[[Run], tuple[bool, str]]
    wall: str = ""
    """Empty: the box's."""
    limits: dict[str, float] = field(default_factory=dict[str, float])
    backends: tuple[str, ...] = ("wasm", "process")


def _said_denied(run: Run) -> tuple[bool, str]:
    if run.error is not None:
        return False, f"{run.error.code}: {run.error.message}"
    denied, detail = run.value
    return denied is True, str(detail)


def _ends_in(*codes: Code) -> Callable[[Run], tuple[bool, str]]:
    def judge(run: Run) -> tuple[bool, str]:
        return (False, "succeeded") if run.error is None else (run.error.code in codes, run.error.code.value)

    return judge


def _out_of_memory(run: Run) -> tuple[bool, str]:
    """The box was ended, or the code was told so."""
    if run.error is not None and run.error.code is Code.MEMORY_LIMIT:
        return True, run.error.code.value
    return _said_denied(run)


def _cut(run: Run) -> tuple[bool, str]:
    kept = len(run.stdout)
    return kept == _PRINTED, f"{kept} of {run.output_bytes['stdout']} bytes kept"


def _raises(name: str, attempt: str, *, backends: tuple[str, ...] = ("wasm", "process")) -> BoxProbe:
    """Denied if the attempt raises."""
    code = _RAISES.format(attempt=attempt.replace("\n", "\n    "))
    return BoxProbe(name, code, _said_denied, backends=backends)


def _empty(name: str, expression: str) -> BoxProbe:
    """Denied if there is nothing to see."""
    code = f"import os, sys\nfound = {expression}\n[not found, f'{{len(found)}} found']"
    return BoxProbe(name, code, _said_denied)


_RAISES = """
try:
    {attempt}
    said = [False, "succeeded"]
except BaseException as exc:
    said = [not isinstance(exc, NameError), f"{{type(exc).__name__}}: {{exc}}"[:200]]
said
"""
_NEW_FILE = "import os\npath = {folder!r} + f'belljar-probe-{{id([])}}'\nopen(path, 'x').close()\nos.unlink(path)"
_FORK = "import os\npid = os.fork()\nif pid == 0: os._exit(0)\nos.waitpid(pid, 0)"
# A GiB at most, of pages that nobody touches.
_TAKES_MEMORY = """
kept = []
try:
    for n in range(64): kept.append(bytearray(1 << 24))
    kept = [False, "1 GiB"]
except MemoryError:
    kept = [True, "MemoryError"]
kept
"""
_CALLS = "for n in range(20):\n    try: await mcp.nobody.at_home()\n    except ToolError: pass"
# What the guest's own client would send, with an id that is not the next one.
_FORGED = "mcp._wire._count = 41\ntry: await mcp.nobody.at_home()\nexcept BaseException: pass\n1"
_NOT_GRANTED = "try:\n    await mcp.nobody.at_home()\nexcept ToolError as exc:\n    said = [True, exc.code]\nsaid"
_THREADS = """
import threading
begun, stop = 0, threading.Event()
try:
    for begun in range(2000): threading.Thread(target=stop.wait, daemon=True).start()
    said = [False, "2000 threads"]
except RuntimeError:
    said = [True, f"after {begun} threads"]
stop.set()
said
"""
# Long enough for a slow machine to be in the middle of it, short enough not to wait for.
_SOON = {"wall": 0.4}
_PRINTED = 100

PROBES = (
    _raises("read a file", "open('/etc/passwd').read()"),
    _raises("write a file", _NEW_FILE.format(folder="/tmp/")),  # noqa: S108 - a name of its own in it
    _raises("write beside the code", _NEW_FILE.format(folder="")),
    _raises("list a folder", "import os\nassert os.listdir('/')"),
    _raises("open a connection", "import socket\nsocket.create_connection(('127.0.0.1', 9), 1)"),
    _raises("listen", "import socket\nsocket.create_server(('127.0.0.1', 0)).close()"),
    _raises("resolve a name", "import socket\nsocket.getaddrinfo('localhost', 80)"),
    _raises("start a process", "import subprocess\nsubprocess.run(['true'])"),
    _raises("fork", _FORK),
    _raises("run a command", "import os\nassert os.system('true') == 0"),
    _raises("start a thread", "import threading\nthreading.Thread(target=print).start()", backends=("wasm",)),
    _raises("load native code", "import ctypes\nctypes.CDLL(None)", backends=("wasm",)),
    _raises("end another process", "import os\nos.kill(1, 0)"),
    _empty("see the environment", "dict(os.environ)"),
    _empty("see the command line", "[word for word in getattr(sys, 'orig_argv', sys.argv) if word]"),
    _empty("see the host's name", "os.uname().nodename.replace('(none)', '') if hasattr(os, 'uname') else ''"),
    BoxProbe("compute for ever", "while True: pass", _ends_in(Code.EXECUTION_TIMEOUT), LIMITS.name, _SOON),
    BoxProbe("sleep for ever", "import time\ntime.sleep(60)", _ends_in(Code.EXECUTION_TIMEOUT), LIMITS.name, _SOON),
    BoxProbe("take all memory", _TAKES_MEMORY, _out_of_memory, LIMITS.name),
    BoxProbe("start threads without end", _THREADS, _said_denied, LIMITS.name, backends=("process",)),
    BoxProbe("print without end", "print('x' * 10_000)\n1", _cut, LIMITS.name, {"output": _PRINTED}),
    BoxProbe("answer too much", "'x' * 10_000", _ends_in(Code.RESULT_LIMIT), LIMITS.name, {"result": 1000}),
    BoxProbe("call without end", _CALLS, _ends_in(Code.CALL_LIMIT), LIMITS.name, {"calls": 10}),
    BoxProbe("call what was not granted", _NOT_GRANTED, _said_denied, BORDER.name),
    BoxProbe("forge the id of a call", _FORGED, _ends_in(Code.PROTOCOL_ERROR), BORDER.name),
)
"""Every probe in a box."""
