"""Making the component: only when an input changed, whole or not at all, and with errors that say what to do."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from belljar.sandbox import componentize as recipe


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """The smallest guest that this world's component can be made of."""
    folder = tmp_path / "source"
    shutil.copytree(recipe.GUEST / "wit", folder / "wit")
    (folder / "__init__.py").write_text("")
    (folder / "app.py").write_text(
        "import wit_world\n\n\nclass WitWorld(wit_world.WitWorld):\n    def run(self):\n        return (True, '', '')\n"
    )
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "build" / "guest.wasm"


def finished(out: Path, source: Path) -> None:
    """A component as an earlier build left it."""
    out.parent.mkdir()
    out.write_bytes(b"\0asm")
    record = {"inputs": recipe.fingerprint(source), "componentize_py": recipe.COMPONENTIZE_PY, "component": "00"}
    recipe.record_path(out).write_text(json.dumps(record))


@pytest.mark.parametrize("change", ["app.py", "wit/world.wit", "new.py"])
def test_every_source_counts(guest: Path, change: str) -> None:
    """A changed, a new and a renamed source each give another fingerprint."""
    before = recipe.fingerprint(guest)
    with (guest / change).open("a") as file:
        file.write("\n")
    changed = recipe.fingerprint(guest)
    (guest / change).rename(guest / change.replace(".", "_."))
    assert len({before, changed, recipe.fingerprint(guest)}) == 3


def test_what_is_no_source_does_not_count(guest: Path) -> None:
    """Bytecode and editor leftovers do not cause a build."""
    before = recipe.fingerprint(guest)
    (guest / "__pycache__").mkdir()
    (guest / "__pycache__" / "app.cpython-314.pyc").write_bytes(b"x")
    (guest / "app.py~").write_text("x")
    assert recipe.fingerprint(guest) == before


def test_a_current_component_is_kept(guest: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing runs, and nothing is needed to run it, while the record fits."""
    finished(out, guest)
    monkeypatch.setattr(sys, "path", [])
    assert recipe.componentize(guest, out) is False
    assert out.read_bytes() == b"\0asm"


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"inputs": "x"}'])
def test_a_damaged_record_is_no_record(guest: Path, out: Path, damage: str) -> None:
    """Half a record never passes for one."""
    finished(out, guest)
    recipe.record_path(out).write_text(damage)
    assert recipe.read_record(out) is None


def test_without_the_tool_the_error_says_how_to_get_it(guest: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No componentize-py here: the message is the command that installs the right one."""
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(recipe.BuildFailed, match=f"pip install componentize-py=={recipe.COMPONENTIZE_PY}"):
        recipe.componentize(guest, out)
    assert not out.exists()


@pytest.mark.slow
def test_a_guest_that_fails_leaves_what_was_there(guest: Path, out: Path) -> None:
    """A guest that raises while it is being built: its traceback is the message, the old component stays."""
    finished(out, guest)
    (guest / "app.py").write_text("raise RuntimeError('guest is broken')\n")
    with pytest.raises(recipe.BuildFailed, match="guest is broken"):
        recipe.componentize(guest, out)
    assert sorted(path.name for path in out.parent.iterdir()) == ["guest.json", "guest.wasm"]
    assert out.read_bytes() == b"\0asm"


@pytest.mark.slow
def test_a_build_sees_the_guest_and_nothing_of_ours(guest: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed for the host - here msgpack - does not exist while the guest is executed; neither does its
    environment."""
    monkeypatch.setenv("BELLJAR_API_KEY", "bj_planted")
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    with (guest / "app.py").open("a") as file:
        file.write("import os\nassert 'BELLJAR_API_KEY' not in os.environ\n")
        file.write("import importlib.util as util\n")
        file.write("assert util.find_spec('msgpack') is None and util.find_spec('belljar') is None\n")
    assert recipe.componentize(guest, out) is True
    record = recipe.read_record(out)
    assert record is not None
    assert record.inputs == recipe.fingerprint(guest)
    assert out.read_bytes()[:4] == b"\0asm"
    assert sorted(path.name for path in out.parent.iterdir()) == ["guest.json", "guest.wasm"]
