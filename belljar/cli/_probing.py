"""The two sides of `doctor`: natively behind wall 2, and as a capability inside WebAssembly.

The native probes fork, so they run in a fresh process with one thread, like the zygote they stand for. The probes in
the box are capabilities like any other: each is a run, and what a probe may see is what strangers' code may see. A
probe in the box answers True if it was denied; that it says so itself is no matter, because the code of it is ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import anyio

from belljar._run import Run
from belljar.config import Config
from belljar.errors import Code, WallError
from belljar.jar import Jar, RunOptions, open_jar
from belljar.sandbox.compiled import search_path
from belljar.sandbox.probes import ProbeResult
from belljar.sandbox.walls import WALLS, WallInfo

__all__ = ["boxed", "native", "walls"]

_WASM = WallInfo(
    "wasm",
    "everything but computing: there is no file, socket, process or thread to ask for",
    "there is no box",
)
_UP = "is up in a worker"
# A second and a half on a slow machine; it is killed after that, and a doctor who hangs is none.
_NATIVE_S = 120.0
_CHILD = """
import json, sys
sys.path[:0] = sys.argv[1].split("\\n")
from belljar.errors import WallError
from belljar.sandbox.probes import examine, to_json
from belljar.sandbox.walls import prepare
try:
    print(json.dumps({"results": to_json(examine(prepare(waive=frozenset(sys.argv[2:]))))}))
except WallError as exc:
    print(json.dumps({"message": exc.message, "walls": exc.walls}))
"""


def walls() -> tuple[WallInfo, ...]:
    """Every wall, the outer ones last."""
    return (_WASM, *WALLS)


# Wall 2


def native(waive: frozenset[str]) -> list[ProbeResult]:
    """What a worker that got out of its box could do."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _CHILD, search_path(), *sorted(waive)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={},
        timeout=_NATIVE_S,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise WallError(f"the native probes could not run: {said[-1] if said else f'status {done.returncode}'}")
    found: dict[str, Any] = json.loads(done.stdout)
    if "message" in found:
        failed: list[str] = found["walls"] or [info.name for info in WALLS]
        return [ProbeResult("can be put up", wall, denied=False, detail=found["message"]) for wall in failed]
    return [ProbeResult(**each) for each in found["results"]]


# The box


def _said_denied(run: Run) -> tuple[bool, str]:
    if run.error is not None:
        return False, f"{run.error.code}: {run.error.message}"
    denied, detail = run.value
    return denied is True, str(detail)


def _stopped(run: Run) -> tuple[bool, str]:
    if run.error is None:
        return False, "succeeded"
    return run.error.code is Code.EXECUTION_TIMEOUT, run.error.code.value


def _out_of_memory(run: Run) -> tuple[bool, str]:
    """The box was ended, or the code was told so."""
    if run.error is not None and run.error.code is Code.MEMORY_LIMIT:
        return True, run.error.code.value
    return _said_denied(run)


@dataclass(frozen=True, slots=True)
class _BoxProbe:
    name: str
    code: str
    judge: Callable[[Run], tuple[bool, str]] = _said_denied


def _raises(name: str, attempt: str) -> _BoxProbe:
    """Denied if the attempt raises."""
    return _BoxProbe(name, _RAISES.format(attempt=attempt.replace("\n", "\n    ")))


def _empty(name: str, expression: str) -> _BoxProbe:
    """Denied if there is nothing to see."""
    return _BoxProbe(name, f"import os, sys\nfound = {expression}\n[not found, f'{{len(found)}} found']")


_RAISES = """
try:
    {attempt}
    said = [False, "succeeded"]
except BaseException as exc:
    said = [not isinstance(exc, NameError), f"{{type(exc).__name__}}: {{exc}}"[:200]]
said
"""
_TAKES_ALL = """
kept = []
try:
    while True: kept.append(bytearray(1 << 24))
except MemoryError:
    kept = [True, "MemoryError"]
kept
"""
# Long enough for a slow machine to be in the middle of it, short enough not to wait for.
_DEADLINE_S = 0.4
_PLENTY_S = 20.0

_PROBES = (
    _raises("read a file", "open('/etc/passwd').read()"),
    _raises("write a file", "open('/tmp/belljar-probe', 'w').write('x')"),
    _raises("write beside the code", "open('belljar-probe', 'w').write('x')"),
    _raises("list a folder", "import os\nassert os.listdir('/')"),
    _raises("open a connection", "import socket\nsocket.create_connection(('127.0.0.1', 9), 1)"),
    _raises("listen", "import socket\nsocket.create_server(('127.0.0.1', 0))"),
    _raises("resolve a name", "import socket\nsocket.getaddrinfo('localhost', 80)"),
    _raises("start a process", "import subprocess\nsubprocess.run(['true'])"),
    _raises("fork", "import os\nos.fork()"),
    _raises("run a command", "import os\nassert os.system('true') == 0"),
    _raises("start a thread", "import threading\nthreading.Thread(target=print).start()"),
    _raises("load native code", "import ctypes\nctypes.CDLL(None)"),
    _raises("end another process", "import os\nos.kill(1, 0)"),
    _empty("see the environment", "dict(os.environ)"),
    _empty("see the command line", "[word for word in getattr(sys, 'orig_argv', sys.argv) if word]"),
    _BoxProbe("compute for ever", "while True: pass", _stopped),
    _BoxProbe("sleep for ever", "import time\ntime.sleep(3600)", _stopped),
    _BoxProbe(
        "take all memory",
        _TAKES_ALL,
        _out_of_memory,
    ),
)


def boxed(config: Config, waive: frozenset[str]) -> list[ProbeResult]:
    """What code in a box could do, and which walls its worker named."""
    try:
        return anyio.run(_boxed, config, waive)
    except WallError as exc:
        return [ProbeResult(_UP, wall, denied=False, detail=exc.message) for wall in exc.walls or ("wasm",)]


async def _boxed(config: Config, waive: frozenset[str]) -> list[ProbeResult]:
    async with open_jar(config) as jar:
        options = RunOptions(waive=waive)
        jar.warm(options)
        up = await jar.run("1", None, options)
        return [*_standing(up), *[await _probe(jar, probe, options) for probe in _PROBES]]


def _standing(run: Run) -> list[ProbeResult]:
    """Whether each wall stands, by the word of a worker that has just put them up."""
    if run.error is not None:
        raise WallError(run.error.message)
    named = run.trace["metadata"].get("walls", ())
    expected = walls() if sys.platform == "linux" else (_WASM,)
    return [
        ProbeResult(_UP, info.name, info.name in named, "up" if info.name in named else "missing or waived")
        for info in expected
    ]


async def _probe(jar: Jar, probe: _BoxProbe, options: RunOptions) -> ProbeResult:
    limits = replace(jar.config.limits, wall=_DEADLINE_S if probe.judge is _stopped else _PLENTY_S)
    denied, detail = probe.judge(await jar.run(probe.code, None, replace(options, limits=limits)))
    return ProbeResult(probe.name, _WASM.name, denied, detail)
