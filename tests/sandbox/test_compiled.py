"""The compiled guest is native code: it is loaded only from where nobody else could have put it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from belljar.errors import ConfigError
from belljar.sandbox import compiled
from belljar.sandbox.compiled import compiled_path, open_compiled, search_path

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

_NOBODY = 65534


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache that holds something in the guest's place: what is checked here is the way to it."""
    folder = tmp_path / "cache"
    path = compiled_path(folder)
    path.parent.mkdir(parents=True, mode=0o700)
    path.write_bytes(b"native code")
    path.chmod(0o600)
    return folder


def refused(cache: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        os.close(open_compiled(cache))
    assert "\n" not in caught.value.message
    return caught.value.message


def test_what_was_checked_is_what_is_opened(cache: Path) -> None:
    fd = open_compiled(cache)
    try:
        assert os.read(fd, 100) == b"native code"
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_refused(cache: Path, mode: int) -> None:
    compiled_path(cache).chmod(mode)
    assert "others may write" in refused(cache)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
@pytest.mark.parametrize("level", [0, 1])
def test_a_folder_that_others_may_write_is_refused(cache: Path, mode: int, level: int) -> None:
    """Also one further up: who can rename a folder can put another in its place."""
    (compiled_path(cache).parent, cache)[level].chmod(mode)
    assert "chmod go-w" in refused(cache)


def test_a_sticky_folder_on_the_way_is_fine(cache: Path) -> None:
    """/tmp: others may add, but neither rename nor replace what is ours."""
    cache.chmod(0o1777)
    os.close(open_compiled(cache))


def test_a_link_in_the_guests_place_is_refused(cache: Path, tmp_path: Path) -> None:
    path = compiled_path(cache)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refused(cache)


def test_a_dangling_link_is_not_written_through(cache: Path, tmp_path: Path) -> None:
    path = compiled_path(cache)
    path.unlink()
    path.symlink_to(tmp_path / "target")
    path.with_suffix(".lock").symlink_to(tmp_path / "lock")
    refused(cache)
    assert not (tmp_path / "target").exists()
    assert not (tmp_path / "lock").exists()


@pytest.mark.parametrize("make", [lambda p: p.mkdir(), lambda p: os.mkfifo(p, 0o600)], ids=["folder", "fifo"])
def test_no_regular_file_is_refused_without_waiting(cache: Path, make: object) -> None:
    """A FIFO would wait for a writer for ever: a child does the opening, and has ten seconds."""
    path = compiled_path(cache)
    path.unlink()
    make(path)  # type: ignore[operator]
    script = "import sys; from pathlib import Path; from belljar.sandbox.compiled import open_compiled as o; "
    script += "o(Path(sys.argv[1]))"
    found = subprocess.run(
        [sys.executable, "-c", script, str(cache)],
        capture_output=True,
        text=True,
        timeout=10,
        env={"PYTHONPATH": search_path().replace("\n", os.pathsep)},
    )
    assert "ConfigError" in found.stderr


@root_only
@pytest.mark.parametrize("level", [0, 1, 2])
def test_what_belongs_to_others_is_refused(cache: Path, level: int) -> None:
    path = compiled_path(cache)
    os.chown((path, path.parent, cache)[level], _NOBODY, _NOBODY)
    assert "belongs to someone else" in refused(cache)


def test_a_cache_that_cannot_be_made_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "compiled guest" in refused(tmp_path / "file")


def test_a_missing_component_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "COMPONENT", tmp_path / "guest.wasm")
    assert "belljar guest build" in refused(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_component_that_does_not_compile_leaves_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a file is never there: it appears whole or not at all."""
    path = compiled_path(cache)
    path.unlink()
    broken = tmp_path / "guest.wasm"
    broken.write_bytes(b"\0asm rubbish")
    (tmp_path / "guest.json").write_text(compiled.COMPONENT.with_suffix(".json").read_text())
    monkeypatch.setattr(compiled, "COMPONENT", broken)
    key = compiled_path(cache)
    assert "compiling the guest failed" in refused(cache)
    assert not key.exists()
    assert list(key.parent.glob("*.tmp")) == []


def test_children_do_not_import_from_the_working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The working directory is hostile: a `msgpack.py` lying there is not ours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    found = search_path().split("\n")
    assert "" not in found
    assert "." not in found
    assert all(os.path.isabs(entry) for entry in found)


@pytest.mark.slow
def test_two_processes_that_compile_at_once_make_one_file(tmp_path: Path) -> None:
    """The second waits for the first and loads what it made; progress is told meanwhile."""
    script = (
        "import os, sys; from pathlib import Path; from belljar.sandbox.compiled import open_compiled as o; told = []\n"
        "fd = o(Path(sys.argv[1]), lambda *t: told.append(t)); print(os.fstat(fd).st_ino, len(told) > 0)"
    )
    env = {"PYTHONPATH": search_path().replace("\n", os.pathsep)}
    both = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=env)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=200)[0] for process in both]
    assert said[0] == said[1] != ""
    assert said[0].endswith("True\n")
    folder = compiled_path(tmp_path).parent
    assert sorted(entry.suffix for entry in folder.iterdir()) == [".cwasm", ".lock"]
    assert compiled_path(tmp_path).stat().st_mode & 0o777 == 0o600
