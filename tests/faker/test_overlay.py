"""The cells of a fake world, and the file that several fakers share."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from belljar.errors import ConfigError
from belljar.faker.overlay import Changes, Overlay, OverlayFullError

_ROOT = Path(__file__).parents[2]


def count_up(file: Path, rounds: int) -> None:
    """In a process of its own."""
    with Overlay(file) as overlay:
        for _ in range(rounds):
            while True:
                changes = Changes(overlay)
                changes.set("s", "n", int(changes.get("s", "n") or 0) + 1)
                if changes.commit():
                    break


def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    """F80: four processes count up in one file, each looking and then writing; no step is lost."""
    file = tmp_path / "world.db"
    code = f"from pathlib import Path; from {__name__} import count_up; count_up(Path({str(file)!r}), 50)"
    workers = [subprocess.Popen([sys.executable, "-c", code], cwd=_ROOT) for _ in range(4)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0, 0]
    with Overlay(file) as overlay:
        overlay.refresh()
        assert overlay.get("s", "n") == 200
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("in_file", [False, True])
def test_who_was_not_first_changes_nothing(tmp_path: Path, in_file: bool) -> None:
    """A commit after another one's is refused as a whole, and sees the other's cells when it looks again."""
    file = tmp_path / "world.db" if in_file else None
    with Overlay(file) as overlay:
        one, other = Changes(overlay), Changes(overlay)
        one.set("s", "a", 1)
        other.set("s", "a", 2)
        other.set("s", "b", 2)
        assert one.commit()
        assert not other.commit()
        assert list(overlay.items("s")) == [("a", 1)]
        again = Changes(overlay)
        assert again.get("s", "a") == 1
        again.set("s", "a", None)
        again.set("s", "c", {"x": [1]})
        assert list(again.items("s")) == [("c", {"x": [1]})]
        assert again.commit()
    if file is not None:
        with Overlay(file) as overlay:
            overlay.refresh()
            assert list(overlay.items("s")) == [("c", {"x": [1]})]


def test_it_is_bounded() -> None:
    """A world that is full refuses more, keeps what it has, and takes what fits."""
    with Overlay(max_bytes=1000) as overlay:
        changes = Changes(overlay)
        changes.set("s", "a", "x" * 900)
        assert changes.commit()
        changes = Changes(overlay)
        changes.set("s", "b", "x" * 900)
        with pytest.raises(OverlayFullError):
            changes.commit()
        changes = Changes(overlay)
        changes.set("s", "a", "y" * 950)
        assert changes.commit()


def test_files_that_are_none(tmp_path: Path) -> None:
    """A folder, a link, another program's file and another version's are refused by name."""
    other = tmp_path / "other"
    other.write_text("no database at all, but long enough to be looked at")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    later = tmp_path / "later"
    connection = sqlite3.connect(later)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    for file in (tmp_path, other, link, later, tmp_path / "no" / "such"):
        with pytest.raises(ConfigError, match="world file"):
            Overlay(file)
    assert not os.path.lexists(tmp_path / "elsewhere")
