"""The trust store: what is kept, what changes, and whom it does not believe."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from belljar.errors import ConfigError
from belljar.registry import TrustStore, identity
from belljar.rpc.servers import ServerSpec
from belljar.rpc.world import ToolInfo

GIT = ServerSpec("git", command="mcp-server-git", args=("-r", "."), env_names=("TOKEN",), env={"TOKEN": "a"})
WEB = ServerSpec("web", url="https://h.org/mcp", headers={"K": "a"})


def tools(**digests: str) -> dict[str, ToolInfo]:
    return {name: ToolInfo("git", name, digest=digest) for name, digest in digests.items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "belljar" / "trust.json"


def test_nothing_is_trusted_or_known_at_first(path: Path) -> None:
    """An empty store trusts nobody, knows no tool, and reading it makes no file."""
    store = TrustStore(path)
    assert not store.trusted(GIT)
    assert store.pinned(GIT, "log") is None
    assert store.changed(GIT, tools(log="1")) == frozenset()
    assert not path.parent.exists()


def test_first_sight_pins_and_a_later_change_is_named(path: Path) -> None:
    """Trust on first use: pinned tools are known; one that differs, and one that is new, is named until pinned anew."""
    TrustStore(path).pin(GIT, tools(log="1", show="2"))
    store = TrustStore(path)
    assert store.pinned(GIT, "log") == "1"
    assert store.changed(GIT, tools(log="1", show="2")) == frozenset()
    assert store.changed(GIT, tools(log="1")) == frozenset()
    assert store.changed(GIT, tools(log="9", show="2", new="3")) == {"log", "new"}
    store.pin(GIT, tools(log="9"))
    assert store.changed(GIT, tools(log="9", show="2", new="3")) == {"new"}


def test_a_server_with_no_tools_has_been_seen_too(path: Path) -> None:
    """A server that listed nothing at first and a tool later is one that changed."""
    store = TrustStore(path)
    store.pin(GIT, {})
    assert store.changed(GIT, tools(log="1")) == {"log"}


def test_a_tool_that_cannot_be_called_counts_as_new_once_it_can(path: Path) -> None:
    """Unavailable tools are neither pinned nor changed."""
    store = TrustStore(path)
    broken = {"log": ToolInfo("git", "log", digest="1", unavailable="bad schema")}
    store.pin(GIT, broken)
    assert store.changed(GIT, broken) == frozenset()
    assert store.changed(GIT, tools(log="1")) == {"log"}


def test_trust_is_given_and_taken(path: Path) -> None:
    """trust survives the process; untrust forgets pins too."""
    TrustStore(path).pin(GIT, tools(log="1"))
    TrustStore(path).trust(GIT)
    store = TrustStore(path)
    assert store.trusted(GIT)
    assert store.pinned(GIT, "log") == "1"
    store.untrust(GIT)
    assert not TrustStore(path).trusted(GIT)
    assert TrustStore(path).pinned(GIT, "log") is None


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (ServerSpec("git", command="mcp-server-git", args=("-r", "."), env_names=("TOKEN",), env={"TOKEN": "b"}), True),
        (ServerSpec("git2", command="mcp-server-git", args=("-r", "."), env_names=("TOKEN",)), False),
        (ServerSpec("git", command="/tmp/mcp-server-git", args=("-r", "."), env_names=("TOKEN",)), False),
        (ServerSpec("git", command="mcp-server-git", args=("-r", "/"), env_names=("TOKEN",)), False),
        (ServerSpec("git", command="mcp-server-git", args=("-r", "."), env_names=("LD_PRELOAD", "TOKEN")), False),
        (ServerSpec("git", url="https://h.org"), False),
    ],
)
def test_a_server_is_its_name_and_how_it_is_reached(path: Path, other: ServerSpec, same: bool) -> None:
    """Another command, argument or variable under the same name inherits nothing; another value of a variable does."""
    store = TrustStore(path)
    store.trust(GIT)
    assert store.trusted(other) is same
    assert (identity(other) == identity(GIT)) is same


def test_an_endpoint_is_its_origin(path: Path) -> None:
    """Another path or header is the same endpoint, another host or port is not."""
    assert identity(WEB) == identity(ServerSpec("web", url="https://h.org/other", headers={"K": "b"}))
    assert identity(WEB) != identity(ServerSpec("web", url="https://h.org:8443/mcp"))
    assert identity(WEB) != identity(ServerSpec("web", url="https://evil.org/mcp"))


def test_the_file_is_private_and_holds_no_secret(path: Path) -> None:
    """Mode 0600 in a folder of mode 0700; values of variables and headers are not in it; nothing else lies about."""
    store = TrustStore(path)
    store.trust(ServerSpec("git", command="c", env_names=("T",), env={"T": "sesame"}))
    store.trust(ServerSpec("web", url="https://u:sesame@h.org/?k=sesame", headers={"K": "sesame"}))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "sesame" not in path.read_text()
    assert {entry.name for entry in path.parent.iterdir()} == {"trust.json", "trust.json.lock"}


def test_knowing_already_writes_nothing(path: Path) -> None:
    """Pinning what is pinned, on every run, leaves the file alone."""
    store = TrustStore(path)
    store.pin(GIT, tools(log="1"))
    before = path.stat()
    store.pin(GIT, tools(log="1"))
    TrustStore(path).pin(GIT, tools(log="1"))
    assert path.stat().st_ino == before.st_ino


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is not our JSON"),
        ("[]", "is not of version 1"),
        ('{"version": 2, "servers": {}}', "is not of version 1"),
        ('{"version": 1, "servers": []}', "is not of version 1"),
        ('{"version": 1, "servers": {"a": 5}}', "holds an entry that is none"),
        ('{"version": 1, "servers": {"a": {"tools": {"t": 5}}}}', "holds an entry that is none"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_not_an_empty_store(path: Path, text: str, why: str) -> None:
    """Neither asked nor changed: it says what it is and what to do, and stays as it is."""
    path.parent.mkdir(mode=0o700)
    path.write_text(text)
    path.chmod(0o600)
    store = TrustStore(path)
    for use in (lambda: store.trusted(GIT), lambda: store.trust(GIT), lambda: store.changed(GIT, {})):
        with pytest.raises(ConfigError, match=why) as caught:
            use()
        assert caught.value.message.endswith("move it away to start without trust and pins")
    assert path.read_text() == text


def test_a_file_or_folder_that_others_can_write_is_not_believed(path: Path) -> None:
    """Group- or world-writable, a link, or no file at all: refused."""
    TrustStore(path).trust(GIT)
    for mode, kind in ((0o666, "its file"), (0o620, "its file")):
        path.chmod(mode)
        with pytest.raises(ConfigError, match=f"can be written by others \\({kind}\\)"):
            TrustStore(path).trusted(GIT)
    path.chmod(0o600)
    path.parent.chmod(0o777)
    with pytest.raises(ConfigError, match=r"can be written by others \(its folder\)"):
        TrustStore(path).trusted(GIT)
    with pytest.raises(ConfigError, match=r"can be written by others \(its folder\)"):
        TrustStore(path).trust(WEB)
    path.parent.chmod(0o700)
    assert TrustStore(path).trusted(GIT)


def test_links_are_not_followed(path: Path, tmp_path: Path) -> None:
    """A link in place of the file or of its lock is refused; what it points to is not touched."""
    target = tmp_path / "target"
    target.write_text('{"version": 1, "servers": {}}')
    path.parent.mkdir(mode=0o700)
    path.symlink_to(target)
    with pytest.raises(ConfigError, match="Too many levels of symbolic links"):
        TrustStore(path).trusted(GIT)
    path.unlink()
    path.with_name("trust.json.lock").symlink_to(tmp_path / "created")
    with pytest.raises(ConfigError, match="cannot be locked"):
        TrustStore(path).trust(GIT)
    assert not (tmp_path / "created").exists()


def test_a_folder_in_place_of_the_file_is_refused(path: Path) -> None:
    """Not a file."""
    path.mkdir(parents=True, mode=0o700)
    with pytest.raises(ConfigError, match="is in the way: not a file"):
        TrustStore(path).trusted(GIT)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_not_believed(path: Path) -> None:
    """The file's owner must be us."""
    TrustStore(path).trust(GIT)
    os.chown(path, 12345, 12345)
    with pytest.raises(ConfigError, match=r"belongs to another user \(its file\)"):
        TrustStore(path).trusted(GIT)


_PIN = """
import sys
from pathlib import Path
from belljar.registry import TrustStore
from belljar.rpc.servers import ServerSpec
from belljar.rpc.world import ToolInfo

name = sys.argv[2]
TrustStore(Path(sys.argv[1])).pin(ServerSpec("git", command="c"), {name: ToolInfo("git", name, digest=name)})
"""


def test_processes_lose_nothing_of_each_others(path: Path) -> None:
    """Eight processes pin a tool each at the same time: all eight are there."""
    names = [f"t{number}" for number in range(8)]
    running = [subprocess.Popen([sys.executable, "-c", _PIN, str(path), name]) for name in names]
    assert [process.wait() for process in running] == [0] * 8
    entry = json.loads(path.read_text())["servers"][identity(ServerSpec("git", command="c"))]
    assert set(entry["tools"]) == set(names)


def test_the_oldest_are_forgotten_beyond_a_hundred(path: Path) -> None:
    """The file is bounded: what is forgotten is asked about again."""
    store = TrustStore(path)
    servers = [ServerSpec(f"s{number}", command="c") for number in range(103)]
    for server in servers:
        store.trust(server)
    assert [store.trusted(server) for server in servers] == [False] * 3 + [True] * 100
