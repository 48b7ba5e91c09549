"""The key of the pseudonyms: one for all processes, the owner's alone, and refused when it is not."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from belljar.errors import ConfigError
from belljar.tracing.pseudonyms import load_or_make


def test_one_key_however_many_ask_at_once(tmp_path: Path) -> None:
    """The first to come makes it; all get the same, and no draft is left."""
    path = tmp_path / "state" / "pseudonym.key"
    with ThreadPoolExecutor(16) as threads:
        keys = set(threads.map(lambda _: load_or_make(path), range(64)))
    assert len(keys) == 1
    assert len(keys.pop()) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["pseudonym.key"]


@pytest.mark.parametrize("what", ["link", "fifo", "folder", "readable", "short", "long"])
def test_what_is_no_key_of_ours_is_refused(tmp_path: Path, what: str) -> None:
    """A link is not followed, a FIFO not waited for, a file others can read not trusted."""
    path = tmp_path / "pseudonym.key"
    other = tmp_path / "other"
    other.write_bytes(bytes(32))
    other.chmod(0o600)
    if what == "link":
        path.symlink_to(other)
    elif what == "fifo":
        os.mkfifo(path, 0o600)
    elif what == "folder":
        path.mkdir(0o700)
    else:
        path.write_bytes(bytes({"readable": 32, "short": 31, "long": 33}[what]))
        path.chmod(0o644 if what == "readable" else 0o600)
    with pytest.raises(ConfigError, match=r"pseudonym\.key"):
        load_or_make(path)
