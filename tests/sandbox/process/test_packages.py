"""Dependencies: what may be asked for, that a person has to say yes, and that nothing of a package runs outside a box.

The index is a folder of wheels made here; the installers are real.
"""

from __future__ import annotations

import hashlib
import os
import stat
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from belljar.errors import BelljarError, Code, ConfigError, ValidationError
from belljar.jar import Jar, RunOptions, open_jar
from belljar.limits import MIB, Limits
from belljar.sandbox.loader import load_code
from belljar.sandbox.packages import Installation, Store, installer, ready, requirements_of
from belljar.sandbox.packages.requirements import normalized
from tests.sandbox.process.conftest import BACKEND
from tests.sandbox.wheels import Asked, wheel
from tests.worlds import ALL, config_in

# What is asked for


def asked(*dependencies: str, more: str = "") -> tuple[str, ...]:
    listed = ", ".join(repr(each) for each in dependencies)
    lines = f"dependencies = [{listed}]\n{more}".splitlines()
    block = "\n".join(f"# {line}".rstrip() for line in ["/// script", *lines, "///"])
    return requirements_of(load_code(f"{block}\n1", Limits()))


def test_names_and_versions_are_taken() -> None:
    """In one form, sorted: the same set of requirements is the same environment."""
    found = asked("NumPy", "six >= 1.0 , < 2", "a.b_c==1.*", "six<2,>=1.0", "x (>=1)", "y~=1.2", "z===1+local")
    assert found == ("a-b-c==1.*", "numpy", "six<2,>=1.0", "x>=1", "y~=1.2", "z===1+local")


@pytest.mark.parametrize(
    "text",
    [
        "pkg @ https://example.com/x.whl",
        "pkg @ file:///etc/passwd",
        "git+https://example.com/x",
        "./local",
        "/abs/path",
        "../up",
        "x.whl/..",
        "pkg[extra]",
        "pkg; python_version < '3'",
        "-r /etc/passwd",
        "--extra-index=https://example.com",
        "-e .",
        "pkg --hash=sha256:00",
        "pkg\n--find-links x",
        "pkg>=1 --pre",
        "pkg=1",
        "pkg>=",
        "pkg>=-1",
        "pkg>=$(id)",
        " ",
        "p" * 300,
        "pаypal",
        "pkg # comment",
    ],
)
def test_what_says_where_it_comes_from_is_refused(text: str) -> None:
    """Names and version specifiers alone: no URL, path, option, extra or marker."""
    with pytest.raises(ValidationError, match="no name with versions"):
        normalized([text])


@pytest.mark.parametrize("table", ["uv", "pip", "poetry"])
def test_settings_of_an_installer_are_refused(table: str) -> None:
    """The file cannot choose an index."""
    with pytest.raises(ValidationError, match=rf"tool\.{table}"):
        asked("six", more=f"[tool.{table}]\nindex = 'x'\n")


def test_too_many_are_refused() -> None:
    with pytest.raises(ValidationError, match="64"):
        normalized([f"p{n}" for n in range(65)])


# Made of wheels of our own


@pytest.fixture(scope="module")
async def jar(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Jar]:
    """One with a cache of its own: what is installed here shall be nobody else's."""
    folder = tmp_path_factory.mktemp("packages")
    async with open_jar(config_in(folder, folder / "cache")) as jar:
        yield jar


@pytest.fixture(params=["uv", "pip"])
def install(request: pytest.FixtureRequest, tmp_path: Path, needs: Callable[[str], Any]) -> Callable[..., Path]:
    """`install("six", asked=...)` with one of the installers, into a store of this test's own."""

    def go(*requirements: str, asked: Asked | None = None) -> Path:
        store = Store(tmp_path / "cache", tmp_path / "data", normalized(requirements))
        installation = Installation(store, asked or Asked("look up", "install"))
        needs(request.param)
        if request.param == "pip":
            installation._uv = None
        return installation.run()

    return go


def test_nothing_is_done_unasked(install: Any, index: Path, tmp_path: Path) -> None:
    """APPROVAL_REQUIRED before a name leaves the machine, and again before anything is fetched; one yes lasts."""
    wheel(index, "belljar-test-a", {"mine.py": "x = 1\n"}, requires=["belljar-test-b>=1"])
    wheel(index, "belljar-test-b", {"b.py": "x = 2\n"})
    for yes in ((), ("look up",)):
        person = Asked(*yes)
        with pytest.raises(BelljarError, match="--install") as caught:
            install("belljar-test-a", asked=person)
        assert caught.value.code == Code.APPROVAL_REQUIRED
        assert "belljar-test-a" in caught.value.message
    assert person.questions == [
        ("look up", ("belljar-test-a",)),
        ("install", ("belljar-test-a==1.0", "belljar-test-b==1.0")),
    ]
    assert not list((tmp_path / "cache").rglob("*.py"))
    person = Asked("install")
    path = install("belljar-test-a", asked=person)
    assert person.questions == [("install", ("belljar-test-a==1.0", "belljar-test-b==1.0"))]  # it was looked up before
    person = Asked()
    assert install("belljar-test-a", asked=person) == path
    assert person.questions == []


def test_an_environment_is_plain_files_nobody_may_write(install: Any, index: Path) -> None:
    """Read-only, compiled ahead, locked by hash beside it; no `.pth`, no link, nothing run."""
    marker = index.parent / "ran"
    evil = f"open({str(marker)!r}, 'w').close()\n"
    wheel(
        index,
        "belljar-test-a",
        {"mine/__init__.py": evil + "x = 1\n", "evil.pth": "import mine\n", "mine/broken.py": "(\n"},
    )
    path = install("belljar-test-a")
    assert not marker.exists()
    for entry in path.rglob("*"):
        mode = entry.lstat().st_mode
        assert stat.S_ISREG(mode) or stat.S_ISDIR(mode)
        assert not mode & 0o222
        assert entry.suffix != ".pth"
    assert list((path / "mine" / "__pycache__").glob("__init__.*.pyc"))
    assert not list((path / "mine" / "__pycache__").glob("broken.*"))
    assert "--hash=sha256:" in (path.parent / "requirements.lock").read_text()


def test_a_changed_lock_needs_a_new_yes(install: Any, index: Path, tmp_path: Path) -> None:
    """An approval is for one lock: whoever writes into the cache has approved nothing."""
    wheel(index, "belljar-test-a", {"mine.py": "x = 1\n"})
    path = install("belljar-test-a")
    lock = path.parent / "requirements.lock"
    lock.write_text(lock.read_text() + "# changed\n")
    path.rename(path.parent / hashlib.sha256(lock.read_bytes()).hexdigest()[:32])
    with pytest.raises(BelljarError, match="--install"):
        ready(tmp_path / "cache", tmp_path / "data", ("belljar-test-a",))
    person = Asked()
    with pytest.raises(BelljarError):
        install("belljar-test-a", asked=person)
    assert [what for what, _ in person.questions] == ["install"]


def test_a_wheel_that_changed_since_the_lock_is_refused(install: Any, index: Path, tmp_path: Path) -> None:
    """Hash-locked: another file under the same name and version is not installed."""
    wheel(index, "belljar-test-a", {"mine.py": "x = 1\n"})
    with pytest.raises(BelljarError):
        install("belljar-test-a", asked=Asked("look up"))
    wheel(index, "belljar-test-a", {"mine.py": "x = 'other'\n"})
    try:
        install("belljar-test-a")
    except ConfigError as exc:
        assert "cannot be installed" in exc.message  # noqa: PT017 - uv may have kept the one that was locked
    assert {path.read_text() for path in (tmp_path / "cache").rglob("mine.py")} <= {"x = 1\n"}


def test_source_distributions_are_never_built(install: Any, index: Path, tmp_path: Path) -> None:
    """A `setup.py` would be code run outside a box: what has no wheel cannot be had."""
    import tarfile

    marker = tmp_path / "ran"
    source = tmp_path / "sdist-1.0"
    source.mkdir()
    (source / "setup.py").write_text(f"open({str(marker)!r}, 'w').close()\nfrom setuptools import setup\nsetup()\n")
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: belljar-test-sdist\nVersion: 1.0\n")
    with tarfile.open(index / "belljar_test_sdist-1.0.tar.gz", "w:gz") as file:
        file.add(source, "belljar_test_sdist-1.0")
    with pytest.raises(ConfigError, match="cannot be installed"):
        install("belljar-test-sdist")
    assert not marker.exists()


def test_too_much_is_refused(install: Any, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 MiB unpacked is the most, however small the wheel; nothing of it stays."""
    assert installer.MAX_UNPACKED == 200 * MIB
    monkeypatch.setattr(installer, "MAX_UNPACKED", 4 * MIB)
    wheel(index, "belljar-test-bomb", {"bomb.bin": bytes(16 * MIB)})
    with pytest.raises(ConfigError, match="larger than"):
        install("belljar-test-bomb")
    assert not list((tmp_path / "cache").rglob("bomb.bin"))


def test_the_installer_sees_no_key_of_ours(install: Any, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of our environment it gets what it needs and its own settings."""
    monkeypatch.setenv("BELLJAR_API_KEY", "bj_secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("PYTHONPATH", "/nonexistent")
    passed = installer._environment()
    assert not {"BELLJAR_API_KEY", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH"} & passed.keys()
    assert passed["PIP_FIND_LINKS"] == str(index)


# In a box


@pytest.fixture
def run_with(jar: Jar) -> Callable[..., Any]:
    """`await run_with("six", code)`: a run of code that declares a dependency."""

    async def go(name: str, code: str, **limits: Any) -> Any:
        source = f"# /// script\n# dependencies = ['{name}']\n# ///\n" + textwrap.dedent(code)
        options = RunOptions(policy=ALL, backend=BACKEND, limits=Limits().with_(**{"wall": 20, **limits}))
        return await jar.run(source, None, options)

    return go


@pytest.fixture
def installed(jar: Jar, index: Path) -> Callable[[str], Path]:
    paths = jar.config.paths
    return lambda name: Installation(
        Store(paths.cache, paths.data, normalized([name])), Asked("look up", "install")
    ).run()


@pytest.mark.anyio
async def test_a_package_is_imported_inside(run_with: Any, installed: Any, index: Path) -> None:
    """A dependency is a stranger too: what it does on import it does behind the walls, and its data files are there."""
    code = "import importlib.resources as r\ntry:\n    found = open('/etc/passwd').read()\nexcept OSError as exc:\n"
    code += "    found = type(exc).__name__\ndata = (r.files('boxed') / 'data.txt').read_text()\n"
    wheel(
        index,
        "belljar-test-boxed",
        {"boxed/__init__.py": code, "boxed/data.txt": "here", "json.py": "raise SystemExit"},
    )
    installed("belljar-test-boxed")
    read = "import boxed, json, importlib.metadata as m\n[boxed.found, boxed.data, m.version('belljar-test-boxed')]"
    found = await run_with("belljar-test-boxed", read)
    assert found.unwrap() == ["PermissionError", "here", "1.0"]


@pytest.mark.anyio
async def test_what_it_depends_on_is_read_only_for_it(run_with: Any, installed: Any, index: Path) -> None:
    """C: nothing written into an environment survives into the next run, or can be written at all."""
    wheel(index, "belljar-test-kept", {"kept.py": "x = 1\n"})
    path = installed("belljar-test-kept")
    code = """
        import os, sys
        import kept
        out = []
        folder = sys.path[0]
        for attempt in (lambda: open(f"{folder}/kept.py", "a"), lambda: open(f"{folder}/new.py", "w"),
                        lambda: os.unlink(f"{folder}/kept.py"), lambda: os.listdir(f"{folder}/.."),
                        lambda: open(f"{folder}/../requirements.lock"), lambda: os.chmod(folder, 0o777),
                        lambda: os.rename(f"{folder}/kept.py", f"{folder}/k.py")):
            try:
                attempt()
                out.append("succeeded")
            except OSError as exc:
                out.append(type(exc).__name__)
        set(out) == {"PermissionError"} or out
    """
    assert (await run_with("belljar-test-kept", code)).unwrap() is True
    assert (path / "kept.py").read_text() == "x = 1\n"


@pytest.mark.anyio
async def test_without_a_yes_nothing_runs(run_with: Any, jar: Jar) -> None:
    """The run ends before a box is spent on it; on wasm it says what to do about native code."""
    with pytest.raises(BelljarError, match="--install") as caught:
        await run_with("belljar-test-unheard-of", "1")
    assert caught.value.code == Code.APPROVAL_REQUIRED
    with pytest.raises(BelljarError, match="--backend process") as caught:
        await jar.run("# /// script\n# dependencies = ['numpy']\n# ///\n1")
    assert caught.value.code == Code.APPROVAL_REQUIRED


@pytest.mark.anyio
async def test_a_version_of_a_library_of_ours_is_its_own(run_with: Any, installed: Any, index: Path) -> None:
    """The zygote uses msgpack; a capability that brings one gets the one it brought."""
    wheel(index, "msgpack", {"msgpack/__init__.py": "mine = True\n"})
    installed("msgpack")
    assert (await run_with("msgpack", "import msgpack\nmsgpack.mine")).unwrap() is True


@pytest.mark.anyio
async def test_numpy(jar: Jar, run_with: Any) -> None:
    """Native wheels work: vectors, linear algebra on threads, memory counted. From the machine's own index."""
    paths = jar.config.paths
    try:
        Installation(Store(paths.cache, paths.data, ("numpy",)), Asked("look up", "install")).run()
    except ConfigError as exc:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no numpy can be had here: {exc.message[:200]}")
    assert (await run_with("numpy", "import numpy\nint(numpy.arange(5).sum())")).unwrap() == 10
    code = "import numpy as np\na = np.eye(300) * 2\n[float(np.linalg.det(a[:5, :5])), float((a @ a).sum())]"
    assert (await run_with("numpy", code)).unwrap() == [32.0, 1200.0]
    found = await run_with("numpy", "import numpy\nnumpy.ones(10**9)")
    assert found.error.code == Code.MEMORY_LIMIT
