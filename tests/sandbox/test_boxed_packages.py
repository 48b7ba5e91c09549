"""Dependencies in a wasm box: pure Python, carried in memory, imported inside; native code is refused by name."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from belljar.errors import BelljarError, Code, ConfigError
from belljar.jar import Jar, RunOptions, open_jar
from belljar.limits import MIB, Limits
from belljar.sandbox import carried
from belljar.sandbox.carried import Carried
from belljar.sandbox.compiled import open_folder
from belljar.sandbox.packages import Installation, Store
from belljar.sandbox.packages.requirements import normalized
from tests.sandbox.wheels import Asked, wheel
from tests.worlds import ALL, config_in

pytestmark = pytest.mark.anyio
_PURE = {
    "boxed/__init__.py": "from . import inner\nwhere = __file__\n",
    "boxed/inner.py": """
        found = {}
        for name, attempt in {"open": lambda: open("/etc/passwd"), "exec": lambda: __import__("os").system("true"),
                              "net": lambda: __import__("socket").create_connection(("127.0.0.1", 1))}.items():
            try:
                attempt()
                found[name] = "succeeded"
            except Exception as exc:
                found[name] = type(exc).__name__
    """,
    "boxed/data/text.txt": "h\u00e9re",
    "boxed/data/raw.bin": bytes(range(256)),
    "spaced/only/deep.py": "x = 7\n",
    "json.py": "raise SystemExit",
}


@pytest.fixture(scope="module")
async def jar(anyio_backend: str, guest_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Jar]:
    """One whose dependencies are nobody else's; the compiled guest is everybody's."""
    folder = tmp_path_factory.mktemp("boxed")
    async with open_jar(config_in(folder, _with_guest(folder / "cache", guest_cache))) as jar:
        yield jar


def _with_guest(cache: Path, compiled: Path) -> Path:
    cache.mkdir()
    (compiled / "guest").mkdir(parents=True, exist_ok=True, mode=0o700)
    (cache / "guest").symlink_to(compiled / "guest")
    return cache


@pytest.fixture(params=["uv", "pip"])
def install(request: pytest.FixtureRequest, jar: Jar, index: Path, needs: Callable[[str], Any]) -> Callable[..., Path]:
    def go(name: str) -> Path:
        needs(request.param)
        paths = jar.config.paths
        store = Store(paths.cache, paths.data, normalized([name]), "wasm")
        installation = Installation(store, Asked("look up", "install"))
        if request.param == "pip":
            installation._uv = None
        return installation.run()

    return go


@pytest.fixture
def run_with(jar: Jar) -> Callable[..., Any]:
    async def go(name: str, code: str) -> Any:
        source = f"# /// script\n# dependencies = ['{name}']\n# ///\n" + textwrap.dedent(code)
        return await jar.run(source, None, RunOptions(policy=ALL, limits=Limits().with_(wall=20)))

    return go


async def test_a_pure_package_is_imported_inside(
    request: pytest.FixtureRequest, run_with: Any, install: Any, index: Path
) -> None:
    """A dependency is a stranger behind both walls; modules, data and version are there; the library comes first."""
    name = f"belljar-test-{request.node.callspec.params['install']}"
    wheel(index, name, {path: textwrap.dedent(it) if isinstance(it, str) else it for path, it in _PURE.items()})
    install(name)
    code = f"""
        import boxed, importlib.metadata as m, importlib.resources as r, json, pkgutil, spaced.only.deep
        data = r.files("boxed") / "data"
        [boxed.inner.found, boxed.where, (data / "text.txt").read_text(), sorted(p.name for p in data.iterdir()),
         pkgutil.get_data("boxed", "data/raw.bin") == bytes(range(256)), spaced.only.deep.x, json.dumps(1),
         m.version("{name}"), (data / "none").is_file(), (data / ".." / ".." / ".." / "etc" / "passwd").is_file()]
    """
    found = (await run_with(name, code)).unwrap()
    denied = {"open": "FileNotFoundError", "exec": "AttributeError", "net": "PermissionError"}
    assert found.pop(0) == denied
    assert found == [
        *("/packages/boxed/__init__.py", "h\u00e9re", ["raw.bin", "text.txt"], True, 7, "1", "1.0", False, False)
    ]


async def test_what_is_not_installed_is_not_there(run_with: Any) -> None:
    """Nobody said yes: APPROVAL_REQUIRED, naming both ways out."""
    with pytest.raises(BelljarError, match=r"--install.*--backend process") as caught:
        await run_with("belljar-test-unheard-of", "1")
    assert caught.value.code == Code.APPROVAL_REQUIRED


@pytest.mark.parametrize("tag", ["py3-none-any", "cp314-cp314-manylinux_2_28_x86_64"])
async def test_native_code_is_refused(install: Any, index: Path, tag: str) -> None:
    """With the name of the backend that runs it, whether the wheel says that it is native or not."""
    wheel(index, "belljar-test-native", {"n/__init__.py": "", "n/_fast.cpython-314-x86_64.so": b"\x7fELF"}, tag=tag)
    with pytest.raises(ConfigError, match="--backend process"):
        install("belljar-test-native")


async def test_more_than_fits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zygote holds the files of an environment in memory: so many bytes and no more."""
    assert carried.MAX_CARRIED == 64 * MIB
    monkeypatch.setattr(carried, "MAX_CARRIED", 1000)
    (tmp_path / "a.py").write_bytes(bytes(600))
    assert Carried.read(open_folder(tmp_path)).give("a.py") == "\0" * 600
    (tmp_path / "b.py").write_bytes(bytes(600))
    with pytest.raises(ConfigError, match="--backend process"):
        Carried.read(open_folder(tmp_path))
