"""The two sides of `doctor`, for each backend: natively behind wall 2, and as a capability in a box.

The native probes fork, so they run in a fresh process with one thread, like the zygote they stand for. The probes in
the box are capabilities like any other: each is a run, and what a probe may see is what strangers' code may see. A
probe in the box answers True if it was denied; that it says so itself is no matter, because the code of it is ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any, Literal

import anyio

from belljar._run import Run
from belljar.cli._box_probes import BORDER, BOXES, LIMITS, PROBES, BoxProbe
from belljar.config import Config
from belljar.errors import WallError
from belljar.jar import Jar, RunOptions, open_jar
from belljar.sandbox.compiled import search_path
from belljar.sandbox.probes import ProbeResult
from belljar.sandbox.walls import WALLS, WallInfo

__all__ = ["BACKENDS", "Backend", "boxed", "native", "walls"]

Backend = Literal["wasm", "process"]
BACKENDS: tuple[Backend, ...] = ("wasm", "process")
_UP = "is up in a worker"
_STANDS = ("missing or waived", "up")
# What ends by itself, and should be denied before that.
_PLENTY_S = 20.0
# A second and a half on a slow machine; it is killed after that, and a doctor who hangs is none.
_NATIVE_S = 120.0
_CHILD = """
import json, sys
sys.path[:0] = sys.argv[1].split("\\n")
from belljar.errors import WallError
from belljar.sandbox.probes import examine, native_probes, to_json
from belljar.sandbox.walls import prepare
native, waive = sys.argv[2] == "process", frozenset(sys.argv[3:])
try:
    wall = prepare(waive=waive, threads=native, native=native)
    print(json.dumps({"results": to_json(examine(wall, native_probes() if native else None))}))
except WallError as exc:
    print(json.dumps({"message": exc.message, "walls": exc.walls}))
"""


def walls(backend: Backend) -> tuple[WallInfo, ...]:
    """Every protection of a backend, from the capability outwards."""
    return (BOXES[backend], *WALLS, LIMITS, BORDER)


# Wall 2


def native(waive: frozenset[str], backend: Backend) -> list[ProbeResult]:
    """What code that owns a worker's process could do."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _CHILD, search_path(), backend, *sorted(waive)],
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
        return [
            ProbeResult("can be put up", wall, denied=False, detail=found["message"], backend=backend)
            for wall in failed
        ]
    return [replace(ProbeResult(**each), backend=backend) for each in found["results"]]


# The box


def boxed(config: Config, waive: frozenset[str], backend: Backend) -> list[ProbeResult]:
    """What code in a box could do, and which walls its worker named."""
    try:
        return anyio.run(_boxed, config, waive, backend)
    except WallError as exc:
        failed = exc.walls or (BOXES[backend].name,)
        return [ProbeResult(_UP, wall, denied=False, detail=exc.message, backend=backend) for wall in failed]


async def _boxed(config: Config, waive: frozenset[str], backend: Backend) -> list[ProbeResult]:
    async with open_jar(config) as jar:
        options = RunOptions(backend=backend, waive=waive)
        jar.warm(options)
        up = await jar.run("1", None, options)
        probes = [probe for probe in PROBES if backend in probe.backends]
        return [*_standing(up, backend), *[await _probe(jar, probe, options) for probe in probes]]


def _standing(run: Run, backend: str) -> list[ProbeResult]:
    """Whether each wall stands, by the word of a worker that has just put them up."""
    if run.error is not None:
        raise WallError(run.error.message)
    named = run.trace["metadata"].get("walls", ())
    expected = [info.name for info in WALLS if sys.platform == "linux"]
    if backend == "wasm":
        expected.insert(0, BOXES[backend].name)
    return [
        ProbeResult(_UP, name, denied=name in named, detail=_STANDS[name in named], backend=backend)
        for name in expected
    ]


async def _probe(jar: Jar, probe: BoxProbe, options: RunOptions) -> ProbeResult:
    limits = jar.config.limits.with_(**{"wall": _PLENTY_S, **probe.limits})
    denied, detail = probe.judge(await jar.run(probe.code, None, replace(options, limits=limits)))
    return ProbeResult(probe.name, probe.wall or BOXES[options.backend].name, denied, detail, options.backend)
