"""Every hostile program, on both backends: its ending, the host after it, its trace, and the run after it.

The programs and what they declare: `corpus.py`. One for each row of the list runs always, all of them in a full run:
alone, and three at once without a pause. That a declared ending says something is shown by the mutation run: with a
wall or a limit switched off, the program that names it must end otherwise.

Walls are switched off for the few programs alone that say so at their heads. Those look and touch nothing; any other
would then do to this machine, perhaps as root, what it tries.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from belljar._run import Run
from belljar.cli._report import Report
from belljar.errors import EXIT, Code, ValidationError
from belljar.jar import Jar, RunOptions, open_jar
from belljar.limits import Limits
from belljar.rpc.policy import Policy
from belljar.sandbox.loader import load_code
from belljar.sandbox.walls import WALLS
from belljar.sandbox.workfolder import Keeping
from belljar.tracing.sanitizer import Sanitizer
from belljar.tracing.types import decode
from tests.sandbox.hostile.corpus import BACKENDS, PROGRAMS, ROWS, Program, Red
from tests.sandbox.hostile.watched import Host, adopting
from tests.worlds import Lab, config_in

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="boxes run on Linux"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]

EVERY_WALL = frozenset(info.name for info in WALLS)
# A key of the host's, and one that a program is given.
HOST_KEY = "bj_" + "host" * 8
SECRET = "ghp_" + "Zx8Qw2Er5Ty7Ui9Op3As6Df1Gh4Jk0Lz2Xc5"
# Only what the programs set: a box has no more than this, so that each backend needs one zygote.
_LIMITS = {"memory": "96MiB", "wall": "30"}
_AT_ONCE = 3
# `setresuid` to root of a process that is root or stays who it is; three `prctl` that read; a file opened to be read,
# and closed; a socket that is made and closed; memory.
_ONLY_LOOK = frozenset(
    "b_become_root b_no_new_privs b_pdeathsig b_undumpable a_ctypes c_landlock d_seccomp f_memory_rlimits".split()
)
# Limits whose breach belongs to upstreams and their byte streams, and is tested with them.
_UPSTREAMS = {"tools_list", "tools"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def _one_for_each_row() -> frozenset[str]:
    """Names of programs that between them are for every row of the list."""
    chosen: dict[str, str] = {}
    for program in PROGRAMS:
        for row in program.headers.get("row", ()) if "slow" not in program.headers else ():
            chosen.setdefault(row, program.name)
    return frozenset(chosen.values())


def programs() -> list[Any]:
    always = _one_for_each_row()
    return [
        pytest.param(
            backend,
            program,
            id=f"{backend}-{program.name}",
            marks=[] if program.name in always else [pytest.mark.slow],
        )
        for backend in BACKENDS
        for program in PROGRAMS
    ]


@pytest.fixture(scope="module")
async def jar(anyio_backend: str, guest_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Jar]:
    """One jar for all of them, and its own key for the programs to look for."""
    config = config_in(tmp_path_factory.mktemp("jar"), guest_cache)
    config = replace(config, tracing=replace(config.tracing, api_key=HOST_KEY))
    with adopting():
        async with open_jar(config, world=Lab()) as jar:
            yield jar


@pytest.fixture(scope="module")
async def host(jar: Jar, tmp_path_factory: pytest.TempPathFactory) -> Host:
    for backend in BACKENDS:
        (await go(jar, _plain(), backend)).unwrap()
    keeping = Program("keeping", "1", {"keep": ("yes",)})  # boxes with a work folder are a kind of their own
    (await go(jar, keeping, "process", keep=tmp_path_factory.mktemp("keeping") / "kept")).unwrap()
    await _all_parked(jar)
    return Host(jar)


@pytest.fixture
def clean(host: Host) -> Host:
    host.before()
    return host


async def _all_parked(jar: Jar) -> None:
    """Until the pool holds as many boxes as it ever will."""
    seen, count = 0, 0
    with anyio.move_on_after(10):
        while count < 20:
            now = len(jar.pool.pids())
            seen, count = now, count + 1 if now == seen else 0
            await anyio.sleep(0.02)


def _plain(code: str = "1 + 1") -> Program:
    return Program("plain", code, {"expect": ("value 2",)})


async def go(
    jar: Jar,
    program: Program,
    backend: Any,
    *,
    limits: dict[str, str] | None = None,
    waive: frozenset[str] = frozenset(),
    keep: Path | None = None,
) -> Run:
    """Run it as it declares."""
    within = Limits().with_(**{**_LIMITS, **program.limits, **(limits or {})})
    return await jar.run(
        load_code(program.code, within),
        program.args if program.args is not None else {"secret": SECRET},
        RunOptions(
            policy=Policy(
                allow=() if "ask" in program.headers else ("*",), deny=tuple(program.headers.get("deny", ()))
            ),
            limits=within,
            backend=backend,
            waive=waive,
            keep=Keeping(keep) if keep and "keep" in program.headers and backend == "process" else None,
        ),
    )


async def ending(jar: Jar, program: Program, backend: str, **options: Any) -> tuple[str | None, Any, Run | None]:
    try:
        run = await go(jar, program, backend, **options)
    except ValidationError as exc:
        return exc.code.value, None, None
    return (run.error.code.value if run.error else None), run.value, run


# Alone


@pytest.mark.parametrize(("backend", "program"), programs())
async def test_it_ends_as_declared_and_leaves_nothing(
    jar: Jar, clean: Host, backend: str, program: Program, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """F1-F9: the declared ending, the host as it was, one true trace, nothing raw on a screen, a next run."""
    jar.world = world = Lab()
    kept = tmp_path / "kept"
    code, value, run = await ending(jar, program, backend, keep=kept)
    said = run.error if run else None
    assert program.ended_well(backend, code, value), f"{code} {value!r:.500} {said}"
    if run is not None:
        check_calls(program, run, world)
        await run.captured()
        check_trace(program, run, backend)
        capsysbinary.readouterr()
        check_shown(run, capsysbinary)
    assert await clean.unchanged() == []
    assert not [path for path in kept.rglob("*") if path.is_symlink() or not (path.is_file() or path.is_dir())]
    assert (await go(jar, _plain(), backend)).unwrap() == 2


def check_calls(program: Program, run: Run, world: Lab) -> None:
    """The ledger holds what was asked, the world what was granted."""
    if (calls := program.number("calls")) is not None:
        assert len(run.calls) == calls
    if (made := program.number("made")) is not None:
        assert len(world.made) == made
    assert len([record for record in run.calls if record.state == "applied"]) <= len(world.made)
    if (kept := program.number("output")) is not None:
        assert len(run.stdout) + len(run.stderr) == kept
    if "printed" in program.headers:
        assert run.stdout == program.one("printed")
    assert len(run.stdout.encode()) + len(run.stderr.encode()) <= Limits().output


def check_trace(program: Program, run: Run, backend: str) -> None:
    """One trace, in the wire format, that says what the host saw, masked; nothing in it can act on a screen."""
    trace = run.trace
    decode(trace)
    assert trace["traceId"] == run.run_id
    assert trace["success"] is (run.error is None) is run.success
    assert trace.get("errorCode") == (run.error.code.value if run.error else None)
    assert trace["metadata"]["backend"] == backend
    assert set(trace["metadata"]["walls"]) >= EVERY_WALL
    assert "ERROR" not in trace["metadata"]["redactions"]
    text = json.dumps(trace)  # what is sent, logged and spooled: no control character is raw in it
    assert _CONTROL.search(text) is None
    assert HOST_KEY not in text
    if program.one("secret") != "documented":
        assert SECRET not in text
    assert len(text) <= 256 << 10
    assert Sanitizer().trace(trace)["taskResults"] == trace["taskResults"]
    json.dumps(run.to_json()).encode()


def check_shown(run: Run, screen: pytest.CaptureFixture[bytes]) -> None:
    """The command line says of it what it says, in characters that cannot act on a terminal."""
    for as_json in (False, True):
        assert Report(as_json=as_json).ran(run) == (EXIT[run.error.code] if run.error else 0)
        out, err = screen.readouterr()
        assert run.run_id.encode() in out + err or as_json
        for text in (out.decode(), err.decode()):
            assert _CONTROL.search(text) is None, text[:2000]


# After another, and beside another


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
async def test_in_any_company(jar: Jar, clean: Host, backend: str) -> None:
    """F1: three at once, in another order, no pause between them: each ends as alone; nothing is left after all."""
    jar.world = Lab()
    waiting = [PROGRAMS[n * 101 % len(PROGRAMS)] for n in range(len(PROGRAMS))]
    assert len({program.name for program in waiting}) == len(PROGRAMS)
    wrong: list[str] = []

    async def some() -> None:
        while waiting:
            program = waiting.pop()
            code, value, _ = await ending(jar, program, backend)
            if not program.ended_well(backend, code, value):
                wrong.append(f"{program.name}: {code} {value!r:.100}")

    async with anyio.create_task_group() as tasks:
        for _ in range(_AT_ONCE):
            tasks.start_soon(some)
    assert wrong == []
    assert [what for what in await clean.unchanged() if "MiB" not in what] == []
    assert (await go(jar, _plain(), backend)).unwrap() == 2


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
async def test_five_hundred_in_a_row(jar: Jar, clean: Host, backend: str) -> None:
    """F1: a thousand hostile runs, half on each backend, leave no process, descriptor or file behind."""
    jar.world = Lab()
    short = [program for program in PROGRAMS if program.name[0] in "bcde" and "keep" not in program.headers]
    short = [program for program in short if "wall" not in program.limits]
    assert len(short) > 30
    for n in range(500):
        program = short[n % len(short)]
        code, value, _ = await ending(jar, program, backend)
        assert program.ended_well(backend, code, value), f"{n} {program.name}: {code} {value!r:.100}"
    assert [what for what in await clean.unchanged() if "MiB" not in what] == []


# Each can fail


def _mutations() -> list[Any]:
    """Limits on both backends; walls natively, where nothing else stands before them."""
    return [
        pytest.param(backend, program, red, id=f"{backend}-{program.name}-{'-'.join([*red.waive, *red.limits])}")
        for backend in BACKENDS
        for program in PROGRAMS
        for red in program.reds
        if red.limits or backend == "process"
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "program", "red"), _mutations())
async def test_it_goes_red_without_what_it_is_for(jar: Jar, backend: str, program: Program, red: Red) -> None:
    """F1-F9: with its limit raised or its wall waived the program ends otherwise, and as declared just before."""
    jar.world = Lab()
    code, value, run = await ending(jar, program, backend, waive=red.given)
    assert program.ended_well(backend, code, value), f"{code} {value!r:.300} {run and run.error}"
    code, value, run = await ending(jar, program, backend, limits=dict(red.limits), waive=red.given | red.waive)
    kept = program.number("output")
    as_much = run is None or kept is None or len(run.stdout) + len(run.stderr) == kept
    assert not (as_much and program.ended_well(backend, code, value))


def test_programs_behind_fewer_walls_only_look() -> None:
    """With a wall off a program may succeed: those that run so make no file, process, connection or change."""
    for program in PROGRAMS:
        if any(red.waive for red in program.reds):
            assert program.name in _ONLY_LOOK, f"{program.name}: read it, then list it"


def test_every_wall_and_limit_has_a_case() -> None:
    """The mutation run leaves none out."""
    reds = [red for program in PROGRAMS for red in program.reds]
    assert {wall for red in reds for wall in red.waive} == EVERY_WALL
    limits = set(Limits.__dataclass_fields__) - _UPSTREAMS
    assert {limit for red in reds for limit in red.limits} == limits


def test_every_row_has_a_program() -> None:
    """Each row of the list is in a program, and no program is for a row that is not on it."""
    assert len(PROGRAMS) >= 120
    named = {row for program in PROGRAMS for row in program.headers.get("row", ())}
    assert named == set(ROWS)
    assert {row[0] for row in ROWS} == set("ABCDEFGH")
    assert [program.name for program in PROGRAMS if "row" not in program.headers] == []


def test_every_declared_code_is_one() -> None:
    """A misspelt code would be an ending that never comes."""
    codes = {code.value for code in Code} | {"ok"}
    for program in PROGRAMS:
        for backend in BACKENDS:
            expected = program.expects(backend)
            if not expected.startswith("value "):
                assert set(expected.split("|")) <= codes, program.name
