"""guest_cpu: the same code in the box, decisions observed, and under the host's own CPython in a fresh process.

Both are wall time seen by the host, less an empty run of the same kind taken in the same turn: what starting costs is
measured elsewhere. The two are not the same Python: the guest's version is its own, the host's is whatever runs us.
"""

from __future__ import annotations

import time

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from belljar.jar import Jar
from benchmarks.conftest import Held, OpenJar, start_python
from benchmarks.report import Baseline, Figure, Report, median, per

_ROUNDS = 7
_EMPTY = "import json\ndef main():\n    return 0\n"

# Each repeated until it is long beside the start of a process, whose jitter would drown it.
_FIB = """\
import json
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
def main():
    for _ in range(15):
        fib(22)
    return 0
"""
_LOOP = """\
import json
def main():
    total = 0
    for _ in range(5):
        for i in range(300_000):
            total = (total * 31 + i) % 1_000_003
    return total
"""
_JSON = """\
import json
def main():
    rows = [{"id": i, "name": "row %d" % i, "tags": ["a", "b"], "score": i / 7} for i in range(1000)]
    for _ in range(20):
        rows = json.loads(json.dumps(rows))
    return len(rows)
"""


async def _in_box(jar: Jar, code: str) -> float:
    run = await jar.run(code)
    assert run.success, run.error
    return run.duration_ms / 1e3


def _on_host(code: str) -> float:
    began = time.perf_counter()
    start_python("-I", "-S", "-c", code + "\nmain()\n")()
    return time.perf_counter() - began


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ("15 x fib(22)", _FIB),
        ("5 x 300k turns of arithmetic", _LOOP),
        ("20 x json of 1000 rows, dumps and loads", _JSON),
    ],
    ids=["fib", "loop", "json"],
)
def test_guest_cpu(
    benchmark: BenchmarkFixture,
    held: Held,
    open_held_jar: OpenJar,
    report: Report,
    request: pytest.FixtureRequest,
    payload: str,
    code: str,
) -> None:
    jar = open_held_jar()
    box: list[float] = []
    empty_box: list[float] = []
    host: list[float] = []
    empty_host: list[float] = []

    def beside() -> None:
        empty_host.append(_on_host(_EMPTY))
        host.append(_on_host(code))
        empty_box.append(held(_in_box(jar, _EMPTY)))

    benchmark.pedantic(lambda: box.append(held(_in_box(jar, code))), setup=beside, rounds=_ROUNDS, warmup_rounds=1)
    name = request.node.callspec.id
    host_took, box_took = per(1, host, empty_host)[1:], per(1, box, empty_box)[1:]
    report.add(Figure("guest_cpu", f"baseline: {name}, host's CPython", payload, host_took))
    base = [Baseline("host", median(host_took or [0.0]))]
    report.add(Figure("guest_cpu", f"{name} in the box", payload, box_took, base, "<= 2.3x"))
