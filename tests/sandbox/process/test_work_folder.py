"""The work folder: what a run may write there, what comes out of it, and what never does."""

from __future__ import annotations

import os
import socket
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from belljar._run import Run
from belljar.errors import Code, ConfigError
from belljar.jar import Jar, RunOptions
from belljar.limits import MIB, Limits
from belljar.sandbox import workfolder
from belljar.sandbox.walls import WALLS
from belljar.sandbox.workfolder import MAX_ENTRIES, Keeping, Kept, WorkFolder, remove_left_behind
from tests.sandbox.process.conftest import BACKEND
from tests.sandbox.test_pool import until
from tests.worlds import ALL

EVERY_WALL = frozenset(info.name for info in WALLS)


@pytest.fixture
def wish(tmp_path: Path) -> Keeping:
    return Keeping(tmp_path / "kept")


@pytest.fixture
def keep(jar: Jar, wish: Keeping) -> Callable[..., Any]:
    """`await keep(code)`: a run with a work folder."""

    async def go(code: str, **options: Any) -> Run:
        within = Limits().with_(wall=20)
        return await jar.run(
            textwrap.dedent(code),
            None,
            RunOptions(policy=ALL, limits=within, backend=BACKEND, keep=wish, **options),
        )

    return go


def found(wish: Keeping) -> dict[str, int]:
    return {
        str(path.relative_to(wish.destination)): path.stat().st_size
        for path in wish.destination.rglob("*")
        if path.is_file()
    }


# Through a box


@pytest.mark.anyio
async def test_files_are_kept(keep: Any, wish: Keeping, jar: Jar) -> None:
    """Files and folders written below the current folder come out; the folder itself is gone afterwards."""
    code = """
        import os, sqlite3, tempfile, pathlib
        open("a.txt", "w").write("hello")
        os.makedirs("deep/er")
        pathlib.Path("deep/er/b").write_bytes(b"x" * 1000)
        os.replace("a.txt", "c.txt")
        with sqlite3.connect("data.db") as db:
            db.execute("create table t (n)")
        os.listdir(), open("c.txt").read()
    """
    run = await keep(code)
    assert run.unwrap()[1] == "hello"
    assert wish.kept is not None
    assert set(wish.kept.files) == {"c.txt", "deep/er/b", "data.db"} == set(found(wish))
    assert found(wish)["deep/er/b"] == 1000
    base = workfolder.base_for(jar.config.paths.cache)
    ours = f"belljar-work-{os.getpid()}-*"
    await until(lambda: len(list(base.glob(ours))) <= len(jar.pool.pids()), "the folder to go")


@pytest.mark.anyio
async def test_files_of_a_failed_run_are_kept_too(keep: Any, wish: Keeping) -> None:
    """What it wrote until then may be what its author needs to see."""
    run = await keep("open('log', 'w').write('so far')\n1 / 0")
    assert run.error.code == Code.CAPABILITY_ERROR
    assert found(wish) == {"log": 6}


@pytest.mark.anyio
async def test_a_run_sees_no_other_runs_files(keep: Any, wish: Keeping) -> None:
    """C: what one run writes is not there for the next, and no other folder can be reached."""
    assert (await keep("import os\nopen('left', 'w').close()\nos.listdir()")).unwrap() == ["left"]
    wish.destination = wish.destination.with_name("again")
    code = """
        import os
        out = [os.listdir()]
        for path in ("..", "../..", "/tmp", "/"):
            try:
                out.append(os.listdir(path))
            except PermissionError:
                out.append("denied")
        out
    """
    assert (await keep(code)).unwrap() == [[], "denied", "denied", "denied", "denied"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "attempt",
    [
        "os.symlink('/etc/passwd', 'x')",
        "os.link('/etc/passwd', 'x')",
        "(open('a', 'w').close(), os.link('a', 'x'))",
        "os.mkfifo('x')",
        "os.mknod('x', 0o060600, os.makedev(8, 0))",
        "socket.socket(socket.AF_UNIX).bind('x')",
        "os.rename('/etc/passwd', 'x')",
        "open('../belljar-x', 'w')",
        "open('/tmp/belljar-x', 'w')",
        "os.chmod('.', 0o777)",
        "os.truncate('/etc/passwd', 0)",
        "open('/etc/passwd')",
    ],
)
async def test_nothing_but_files_and_folders_can_be_made(keep: Any, wish: Keeping, attempt: str) -> None:
    """C: links, fifos, devices and sockets, and whatever lies elsewhere, are denied while it runs."""
    code = f"""
        import os, socket
        try:
            {attempt}
            said = "succeeded"
        except OSError as exc:
            said = type(exc).__name__
        said
    """
    assert (await keep(code)).unwrap() == "PermissionError"
    assert wish.kept is not None
    assert "x" not in found(wish)


@pytest.mark.anyio
async def test_what_no_wall_stopped_does_not_get_out(keep: Any, wish: Keeping) -> None:
    """C: with every wall waived links, fifos and sockets can be made; what is collected are regular files alone."""
    code = """
        import os, socket
        os.symlink("/etc/passwd", "link")
        os.symlink("/etc", "folder")
        open("one", "w").write("x")
        os.link("one", "two")
        os.mkfifo("fifo")
        socket.socket(socket.AF_UNIX).bind("sock")
        open(".hidden", "w").close()
        open("esc\\x1b[2J", "w").close()
        open("line\\nfeed", "w").close()
        open(b"\\xff\\xfe", "w").close()
        open("good", "w").write("g")
        1
    """
    assert (await keep(code, waive=EVERY_WALL)).unwrap() == 1
    assert found(wish) == {"good": 1}
    assert wish.kept is not None
    assert wish.kept.refused == 10
    assert len(wish.kept.reasons) == 10


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("n = 0\nwhile True:\n    open(f'f{n}', 'w').close()\n    n += 1", "files and folders"),
        (
            "n = 0\nx = b'x' * (60 << 20)\nwhile True:\n    open(f'f{n}', 'wb').write(x)\n    n += 1",
            "MiB",
        ),
        ("import os\nn = 0\nwhile True:\n    f = open(f'f{n}', 'wb')\n    f.truncate(60 << 20)\n    n += 1", "MiB"),
        ("import os\np = 'd'\nwhile len(p) < 4000:\n    os.mkdir(p)\n    p += '/d'\nwhile True: pass", "nested"),
    ],
    ids=["files", "bytes", "sparse", "deep"],
)
async def test_the_quota_ends_the_run(keep: Any, wish: Keeping, code: str, what: str) -> None:
    """F4: files by the million, bytes without end, holes, nesting: RESULT_LIMIT, and nothing of it stays."""
    run = await keep(code)
    assert run.error.code == Code.RESULT_LIMIT
    assert what in run.error.message
    assert wish.kept is not None
    assert len(wish.kept.files) <= MAX_ENTRIES
    assert wish.kept.bytes <= workfolder.MAX_BYTES


@pytest.mark.anyio
async def test_one_file_is_limited_by_the_kernel(keep: Any) -> None:
    """A single file cannot be larger than its limit, holes included."""
    code = """
        import errno
        with open("big", "wb") as file:
            try:
                file.truncate(65 << 20)
            except OSError as exc:
                said = errno.errorcode[exc.errno]
        said
    """
    assert (await keep(code)).unwrap() == "EFBIG"


@pytest.mark.anyio
async def test_no_folder_no_files(run: Any, jar: Jar) -> None:
    """Without the wish there is no place to write; in a wasm box it is refused."""
    assert (await run("open('x', 'w')")).error.message.startswith("PermissionError")
    with pytest.raises(ConfigError, match="--backend process"):
        await jar.run("1", None, RunOptions(keep=Keeping(Path("/nonexistent/x"))))


# The collector by itself, against what no guest of ours can make


@pytest.fixture
def folder(tmp_path: Path) -> WorkFolder:
    return WorkFolder(tmp_path / "work")


def collected(folder: WorkFolder, destination: Path) -> Kept:
    try:
        return folder.collect(destination)
    finally:
        folder.remove()
        assert not folder.path.exists()


def test_links_are_not_followed(folder: WorkFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C: neither to files nor to folders, nor does a file with a second name come out."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("s")
    (secret / "other").write_text("o")  # with one name: nothing but the link is wrong with it
    (folder.path / "a").symlink_to(secret / "other")
    (folder.path / "b").symlink_to(secret)
    os.link(secret / "key", folder.path / "c")
    os.mkfifo(folder.path / "d")
    monkeypatch.chdir(folder.path)  # a socket's path has 107 bytes at most, and temporary folders lie deep
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("e")
        kept = collected(folder, tmp_path / "out")
    assert kept.files == []
    assert kept.refused == 5
    assert (secret / "key").read_text() == "s"  # removing followed none either


def test_a_sparse_file_is_as_large_as_it_says(folder: WorkFolder, tmp_path: Path) -> None:
    """C: a file of 100 GB without a block is refused by its size."""
    with open(folder.path / "sparse", "wb") as file:
        file.truncate(100 << 30)
    assert folder.excess()
    kept = collected(folder, tmp_path / "out")
    assert (kept.files, kept.refused) == ([], 1)


@pytest.mark.parametrize("name", [".bashrc", "-rf", "a\tb", "a\x1b", "a\u202eb", "x" * 220, "~", "_" * 3 + "\n"])
def test_names_that_mean_something_stay_behind(folder: WorkFolder, tmp_path: Path, name: str) -> None:
    """No hidden file, no option, no control or bidi character, nothing over-long becomes a name on the host."""
    (folder.path / name).write_text("x")
    (folder.path / "ok.txt").write_text("x")
    assert collected(folder, tmp_path / "out").files == ["ok.txt"]


def test_a_destination_with_something_in_it_is_refused(folder: WorkFolder, tmp_path: Path) -> None:
    """C: a run cannot add a configuration file to a folder somebody trusts."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(ConfigError, match="not empty"):
        folder.collect(tmp_path / "out")
    folder.remove()


def test_a_destination_that_is_a_link_is_refused(folder: WorkFolder, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    (folder.path / "a").write_text("x")
    with pytest.raises(ConfigError):
        folder.collect(tmp_path / "out")
    folder.remove()


def test_nesting_without_end_is_removed(folder: WorkFolder) -> None:
    """Deeper than any path or recursion can reach: still removed, with two descriptors."""
    top = os.dup(folder.descriptor)
    for _ in range(5000):
        os.mkdir("d", 0o700, dir_fd=top)
        inner = os.open("d", os.O_RDONLY, dir_fd=top)
        os.close(top)
        top = inner
    os.close(top)
    assert "nested" in folder.excess()
    folder.remove()
    assert not folder.path.exists()


def test_folders_nobody_may_enter_are_removed(folder: WorkFolder) -> None:
    os.mkdir(folder.path / "closed")
    (folder.path / "closed" / "x").write_text("x")
    os.chmod(folder.path / "closed", 0)
    folder.remove()
    assert not folder.path.exists()


def test_folders_left_by_dead_processes_are_removed(tmp_path: Path) -> None:
    """A host that was killed could not; the next one does. A living one's stay."""
    (tmp_path / "belljar-work-4194305-dead").mkdir()
    (tmp_path / "belljar-work-4194305-dead" / "x").write_text("x")
    alive = WorkFolder(tmp_path)
    remove_left_behind(tmp_path)
    assert list(tmp_path.iterdir()) == [alive.path]
    alive.remove()


def test_the_quota_is_told(folder: WorkFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder.excess() == ""
    monkeypatch.setattr(workfolder, "MAX_BYTES", MIB)
    (folder.path / "big").write_bytes(bytes(2 * MIB))
    assert "1 MiB" in folder.excess()
    folder.remove()
