"""The probes: everything is denied behind the walls, each wall denies its own, and without a wall they say so."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from belljar.errors import WallError
from belljar.sandbox._attempts import Probe, Scene
from belljar.sandbox.probes import ProbeResult, all_probes, examine, run_probes, to_json
from belljar.sandbox.walls import WALLS, Wall, prepare

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="wall 2 is Linux's"),
    # The only other thread is pytest's own watchdog, which a forked child does not have.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]
NAMES = tuple(info.name for info in WALLS)
NOBODY = 65534

# Open to every process on every Linux with no wall around it: if one of these is denied then, the probe is broken.
OPEN_TO_ALL = {
    ("pdeathsig", "outlive the parent"),
    ("undumpable", "be dumped or traced"),
    ("no_new_privs", "privileges by exec"),
    ("landlock", "read /etc/passwd"),
    ("landlock", "list /"),
    ("landlock", "create a file"),
    ("landlock", "create a symlink"),
    ("landlock", "listen on TCP"),
    ("landlock", "connect by TCP"),
    ("landlock", "connect to an abstract socket"),
    ("landlock", "run a program"),
    ("landlock", "signal the parent"),
    ("rlimits", "one more descriptor"),
    ("rlimits", "write to an open file"),
    ("seccomp", "read /etc/passwd"),
    ("seccomp", "stat /etc/shadow"),
    ("seccomp", "TCP socket"),
    ("seccomp", "UDP socket"),
    ("seccomp", "unix socket"),
    ("seccomp", "socket pair"),
    ("seccomp", "file in memory"),
    ("seccomp", "fork"),
    ("seccomp", "clone"),
    ("seccomp", "spawn"),
    ("seccomp", "exec"),
    ("seccomp", "thread"),
    ("seccomp", "signal the parent"),
    ("seccomp", "set own id"),
    ("seccomp", "be dumpable again"),
    ("seccomp", "make memory executable"),
    ("seccomp", "type for the user (TIOCSTI)"),
    ("seccomp", "send a descriptor"),
    ("seccomp", "send to an address"),
}


@pytest.fixture(params=["as we are", "as an ordinary user"])
def somebody(request: pytest.FixtureRequest) -> Callable[[Callable[[], Any]], None]:
    """Runs a check as the user of this session - root, perhaps - or as one with no rights."""
    if request.param == "as we are":
        return lambda check: check()
    if os.geteuid() != 0:
        pytest.skip("we are an ordinary user")
    return _as_nobody


def _as_nobody(check: Callable[[], Any]) -> None:
    """In a forked child: an interpreter started anew might lie where nobody may read."""
    examine(prepare())  # imports what nobody may not read
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as dumpable as any login's processes
            check()
        except BaseException:
            os.write(writer, traceback.format_exc().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as report:
        text = report.read()
    assert os.waitpid(pid, 0)[1] == 0
    assert not text, text


def not_denied(results: list[ProbeResult]) -> set[tuple[str, str]]:
    return {(result.wall, result.probe) for result in results if not result.denied}


def without(name: str) -> Wall:
    """The wall with this one left out, and with it what the kernel will not put up in its absence."""
    needing = {"landlock", "seccomp"} if name == "no_new_privs" else set[str]()
    return prepare(waive=frozenset({name, *needing}))


def test_everything_is_denied(somebody: Callable[[Callable[[], Any]], None]) -> None:
    """F1: natively, behind the whole wall, each of more than a hundred attempts is denied."""

    def check() -> None:
        results = run_probes(prepare())
        assert len(results) >= 100
        assert [result for result in results if not result.denied] == []

    somebody(check)


def test_each_wall_denies_its_own(somebody: Callable[[Callable[[], Any]], None]) -> None:
    """Each wall by itself denies what it is there for."""

    def check() -> None:
        wall = prepare()
        results = examine(wall)
        assert [result for result in results if not result.denied] == []
        assert {result.wall for result in results} == set(NAMES)

    somebody(check)


@pytest.mark.parametrize("name", NAMES)
def test_missing_wall_is_seen(name: str, somebody: Callable[[Callable[[], Any]], None]) -> None:
    """A wall that is left out shows up in `examine`, whatever the others deny in its place, and only that wall does."""

    def check() -> None:
        if name == "ids" and os.geteuid() != 0:
            return  # an ordinary user has nothing of root's to lose
        wall = without(name)
        seen = {wall for wall, _ in not_denied(examine(wall))}
        assert name in seen
        assert not seen & set(wall.names)

    somebody(check)


def test_without_walls_the_probes_get_through(somebody: Callable[[Callable[[], Any]], None]) -> None:
    """No probe passes because it cannot fail: with no wall up, what any process may do succeeds."""

    def check() -> None:
        assert not_denied(run_probes(prepare(waive=frozenset(NAMES)))) >= OPEN_TO_ALL

    somebody(check)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has this to lose")
def test_as_root_without_ids_root_gets_through() -> None:
    """With every wall but that one, only the ids keep root from being root."""
    assert ("ids", "become root") in not_denied(run_probes(prepare(waive=frozenset(NAMES))))
    assert ("ids", "become root") not in not_denied(run_probes(prepare().alone("ids")))


def test_probes_are_many_and_distinct() -> None:
    """At least 45 different attempts, each named once within its wall, each for a wall there is."""
    probes = all_probes()
    assert len({probe.name for probe in probes}) >= 45
    assert len({(probe.wall, probe.name) for probe in probes}) == len(probes)
    assert {probe.wall for probe in probes} == set(NAMES)


def test_probes_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no wall stops them: no file, no descriptor, no child."""
    examine(prepare())  # what is imported once stays open
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before, children = set(os.listdir("/proc/self/fd")), psutil.Process().children()
    wall = prepare(waive=frozenset(NAMES))
    run_probes(wall)
    wall.close()
    assert set(os.listdir("/proc/self/fd")) == before
    assert list(tmp_path.iterdir()) == []
    assert psutil.Process().children() == children


def _hang(_: Scene) -> None:
    while True:
        signal.pause()


def _die(_: Scene) -> None:
    os._exit(3)


@pytest.mark.parametrize("attempt", [_hang, _die])
def test_probe_child_that_hangs_or_dies_is_named(attempt: Callable[[Scene], None]) -> None:
    """A probe that never returns or ends its process is an error that names it, and its child is gone."""
    children, stuck = psutil.Process().children(), Probe("the one", "rlimits", attempt)
    with pytest.raises(WallError, match="the one") as caught:
        run_probes(prepare(waive=frozenset(NAMES)), [stuck], deadline_s=0.5)
    assert caught.value.walls == ("rlimits",)
    assert psutil.Process().children() == children


def test_probe_that_breaks_is_not_a_denial() -> None:
    """An attempt that fails for a reason of its own has shown nothing."""

    def broken(_: Scene) -> None:
        raise ValueError

    (result,) = run_probes(prepare(), [Probe("broken", "seccomp", broken)])
    assert (result.denied, result.detail) == (False, "ValueError")


def test_wall_that_does_not_go_up_is_an_error() -> None:
    """If the child cannot be tightened there are no results, but a WallError that names the wall."""
    wall = prepare()

    def elsewhere() -> None:
        with pytest.raises(WallError) as caught:
            run_probes(wall)
        assert caught.value.walls == ("pdeathsig",)

    pid = os.fork()  # a process that is not the one that prepared
    if pid == 0:
        try:
            elsewhere()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_probes_without_libseccomp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without libseccomp, its wall waived, what cannot be tried counts as not denied."""
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    open_ = not_denied(run_probes(prepare(waive=frozenset({"seccomp"}))))
    assert ("seccomp", "bpf") in open_
    assert ("landlock", "read /etc/passwd") not in open_


def test_json_is_what_doctor_prints() -> None:
    """One object a probe: probe, wall, denied, detail, backend."""
    (first, *_) = to_json([ProbeResult("fork", "seccomp", denied=True, detail="EPERM")])
    assert first == {"probe": "fork", "wall": "seccomp", "denied": True, "detail": "EPERM", "backend": "wasm"}


def test_other_systems_have_nothing_to_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no wall 2 there are no results, rather than good ones."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert examine(prepare()) == run_probes(prepare()) == []
