"""Recordings kept for debugging: the owner's alone, the newest only, and never a reason for a run to fail."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import pytest

from belljar.errors import ValidationError
from belljar.rpc.kept import KeptRuns
from belljar.rpc.ledger import Ledger

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes of files")


def run_id(n: int) -> str:
    return f"019a0000-0000-7000-8000-{n:012x}"


def closed(n: int, code: str = "1") -> Ledger:
    ledger = Ledger(run_id(n), source="real")
    ledger.open(code=code, args_text="{}", seed="ab" * 32, now_ns=n, backend="wasm")
    ledger.close(outcome="ok")
    return ledger


def test_what_is_kept_is_found_and_the_owners_alone(tmp_path: Path) -> None:
    """A kept run reads back whole; folder and file are closed to everybody else, whatever the umask."""
    kept = KeptRuns(tmp_path / "state" / "runs")
    before = os.umask(0)
    try:
        path = kept.keep(closed(1, "secret = 'swordfish'"))
    finally:
        os.umask(before)
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert kept.find(run_id(1)).code == "secret = 'swordfish'"


def test_the_oldest_go_first(tmp_path: Path) -> None:
    """Bounded by number and by bytes; the newest stays, however large it is."""
    kept = KeptRuns(tmp_path, most=3)
    for n in range(6):
        kept.keep(closed(n))
    assert [path.stem for path in sorted(tmp_path.iterdir())] == [run_id(n) for n in (3, 4, 5)]
    KeptRuns(tmp_path, most_bytes=1).keep(closed(7))
    assert [path.stem for path in tmp_path.iterdir()] == [run_id(7)]


def test_what_cannot_be_kept_is_a_line_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file in the folder's place, a run kept twice, one that is not over: no exception, and the log says so."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    open_ledger = Ledger(run_id(2), source="real")
    open_ledger.open(code="", args_text="{}", seed="ab" * 32, now_ns=1, backend="wasm")
    kept = KeptRuns(tmp_path)
    kept.keep(closed(1))
    with caplog.at_level(logging.WARNING, "belljar.rpc"):
        assert KeptRuns(blocked).keep(closed(1)) is None
        assert kept.keep(closed(1)) is None
        assert kept.keep(open_ledger) is None
    assert len(caplog.records) == 3


@pytest.mark.parametrize("name", ["", "../passwd", run_id(1).upper(), run_id(1) + "\n", "019a"])
def test_only_a_run_id_is_looked_for(tmp_path: Path, name: str) -> None:
    """A name that is no run id never becomes a path."""
    (tmp_path / f"{name.replace('/', '_')}.recording").write_text("{}")
    with pytest.raises(ValidationError, match="not a run id"):
        KeptRuns(tmp_path / "runs").find(name)
    with pytest.raises(ValidationError, match="no recording"):
        KeptRuns(tmp_path / "runs").find(run_id(9))
