"""`belljar run --backend process`: its options, from the command line to the files it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_DEADLINE_S = 60
_DECLARES = "# /// script\n# dependencies = ['belljar-test-nothing']\n# ///\n1"


@pytest.fixture
def belljar(tmp_path: Path) -> Any:
    """`belljar("-c", "1")`: the status, the object of `--json`, standard error."""
    home = {f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("CACHE", "CONFIG", "DATA", "STATE")}

    def go(*words: str) -> tuple[int, dict[str, Any], str]:
        done = subprocess.run(
            [sys.executable, "-m", "belljar", "run", "--json", *words],
            env={**os.environ, **home},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
        )
        return done.returncode, json.loads(done.stdout), done.stderr

    return go


def test_a_native_run(belljar: Any) -> None:
    """Nothing is compiled for it; the trace says what it ran in, and that nobody saw its branches."""
    status, said, _ = belljar("-c", "if args: pass\n1 + 1", "--backend", "process")
    assert (status, said["value"]) == (0, 2)
    metadata = said["trace"]["metadata"]
    assert metadata["backend"] == "process"
    assert metadata["decisions"] == ("guest-reported" if sys.version_info >= (3, 14) else "unavailable")


def test_dependencies_need_a_yes(belljar: Any) -> None:
    """Without a terminal and without --install: APPROVAL_REQUIRED, exit 3, naming both; on wasm what to do."""
    status, said, error = belljar("-c", _DECLARES, "--backend", "process")
    assert (status, said["error"]["code"]) == (3, "APPROVAL_REQUIRED")
    assert "belljar-test-nothing" in error
    assert "--install" in error
    status, said, error = belljar("-c", _DECLARES)
    assert (status, said["error"]["code"]) == (3, "APPROVAL_REQUIRED")
    assert "--backend process" in error


def test_files_are_kept(belljar: Any, tmp_path: Path) -> None:
    code = "open('out.txt', 'w').write('x')"
    status, said, error = belljar("-c", code, "--backend", "process", "--keep-files", "kept")
    assert (status, said["value"]) == (0, 1)
    assert (tmp_path / "kept" / "out.txt").read_text() == "x"
    assert "1 files" in error
    status, said, _ = belljar("-c", code, "--backend", "process", "--keep-files", "kept")
    assert (status, said["error"]["code"]) == (2, "CONFIG_ERROR")


def test_options_of_the_other_backend_are_refused(belljar: Any) -> None:
    status, said, _ = belljar("-c", "1", "--keep-files", "kept")
    assert (status, said["error"]["code"]) == (2, "CONFIG_ERROR")


def test_a_wall_can_be_waived_by_name(belljar: Any) -> None:
    """And the trace lacks it: never silently."""
    status, said, _ = belljar("-c", "1", "--backend", "process", "--waive", "pdeathsig")
    assert status == 0
    assert "pdeathsig" not in said["trace"]["metadata"]["walls"]
    assert "seccomp" in said["trace"]["metadata"]["walls"]
