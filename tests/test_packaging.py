"""What people get: a source distribution without binaries, and a wheel that runs without the tools that made it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from belljar.sandbox import componentize as recipe

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# The component is built (40 s on two slow cores) and a dozen distributions are fetched.
DEADLINE_S = 500


def run(*command: str | Path, cwd: Path, status: int = 0, **environment: str) -> str:
    """Standard output; the environment is the bare one, so that no active venv or setting helps."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    kept |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HTTP", "NO_PROXY"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=kept | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that was built from it: what the sdist lacks, the wheel cannot have."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    return out


@pytest.fixture(scope="session")
def wheel(distributions: Path) -> Path:
    (found,) = distributions.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def clean_venv(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its `bin` folder: a new environment with the wheel, what the example starts, and nothing else."""
    venv = tmp_path_factory.mktemp("clean") / "venv"
    run(sys.executable, "-m", "venv", venv, cwd=venv.parent)
    run(venv / "bin" / "python", "-m", "pip", "install", "--quiet", f"{wheel}[examples]", cwd=venv.parent)
    return venv / "bin"


@pytest.fixture
def repository(tmp_path: Path, needs: Callable[[str], list[str]]) -> Path:
    """Three commits by two authors."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (git,) = needs("git")
    run(git, "init", "--quiet", ".", cwd=folder)
    for author, subject in (("Ada", "Begin"), ("Grace", "Add a compiler"), ("Ada", "Mend the loop")):
        (folder / "notes.txt").write_text(subject)
        identity = ("-c", f"user.name={author}", "-c", f"user.email={author}@example.org")
        run(git, "add", ".", cwd=folder)
        run(git, *identity, "commit", "--quiet", "--message", f"{subject}\n\nCommit: not a header", cwd=folder)
    return folder


@pytest.mark.slow
def test_a_source_distribution_has_sources_only(distributions: Path) -> None:
    """No component, compiled guest or installed package in it, and everything that a build needs."""
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert not [name for name in names if name.endswith((".wasm", ".cwasm", ".pyc")) or "node_modules" in name]
    assert {"LICENSE", "README.md", "hatch_build.py", "belljar/sandbox/guest/wit/world.wit", "scripts/test"} <= names


@pytest.mark.slow
def test_a_wheel_runs_anywhere_and_carries_the_component(wheel: Path) -> None:
    """One wheel for every platform, with the component its record speaks of, the types marker and no tests."""
    assert wheel.name == f"belljar-{_version()}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        component = archive.read("belljar/sandbox/_build/guest.wasm")
        record = json.loads(archive.read("belljar/sandbox/_build/guest.json"))
    assert record["component"] == hashlib.sha256(component).hexdigest()
    assert record["inputs"] == recipe.fingerprint(recipe.GUEST)
    assert "belljar/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "hatch_build"))]


@pytest.mark.slow
def test_the_wheel_needs_no_component_builder(clean_venv: Path, tmp_path: Path) -> None:
    """Where componentize-py does not exist, code runs in a box."""
    probe = "import importlib.util as util; print(util.find_spec('componentize_py'))"
    assert run(clean_venv / "python", "-I", "-c", probe, cwd=tmp_path).strip() == "None"
    answer = json.loads(run(clean_venv / "belljar", "run", "-c", "1 + 1", "--json", cwd=tmp_path))
    assert (answer["success"], answer["value"]) == (True, 2)


@pytest.mark.slow
def test_the_example_runs_from_the_wheel(clean_venv: Path, repository: Path) -> None:
    """Release notes by author, through the real git server, from an environment that is not activated."""
    example = ROOT / "examples"
    words = ("run", example / "release_notes.py", "--servers", example / "mcp.json", "--allow", "git:*", "--json")
    answer = json.loads(run(clean_venv / "belljar", *words, "--args", json.dumps({"repo": str(repository)}), cwd=ROOT))
    notes = answer["value"]
    assert notes["commits"] == 3
    assert notes["authors"] == {
        "Ada": {"commits": 2, "files": 1, "changes": ["Mend the loop", "Begin"]},
        "Grace": {"commits": 1, "files": 1, "changes": ["Add a compiler"]},
    }
    assert [call["tool"] for call in answer["calls"]] == ["git_log", *["git_show"] * 3]


def test_one_version_builds_the_component_everywhere() -> None:
    """The development environment has the componentize-py that the build hook asks for."""
    pins = [line for line in PROJECT["optional-dependencies"]["dev"] if line.startswith("componentize-py")]
    assert pins == [f"componentize-py=={recipe.COMPONENTIZE_PY}"]


def test_the_repository_names_no_registry() -> None:
    """Where packages come from is the machine's business: no file of ours, the lock file least of all, says it."""
    lock = (ROOT / "tests" / "node" / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    hosts = ("registry" + ".npmjs", "files." + "pythonhosted", "pypi.org" + "/simple", "index" + "-url")
    named = [(path, host) for path in _our_files() for host in hosts if host.encode() in (ROOT / path).read_bytes()]
    assert named == []


def _our_files() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: nothing tells our files from others")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    return [path for path in listed.split("\0") if path and (ROOT / path).is_file()]


def _version() -> str:
    from belljar._version import __version__

    return __version__
