"""One jar for each module, with a real pool of boxes behind it, and a new world for each test."""

from __future__ import annotations

import os
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from belljar._run import Run
from belljar.jar import Jar, RunOptions, open_jar
from belljar.limits import Limits
from tests.worlds import ALL, Lab, config_in, guest_cache_in

# A run that hangs fails its test and not the session; a box that works answers in milliseconds.
_WALL_S = 20


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    # As everywhere, but in a scope that lets a jar live longer than one test.
    return "asyncio"


@pytest.fixture(scope="session")
def guest_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return guest_cache_in(tmp_path_factory)


@pytest.fixture(scope="module")
async def jar(anyio_backend: str, guest_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Jar]:
    config = config_in(tmp_path_factory.mktemp("jar"), guest_cache)
    async with open_jar(config, world=Lab()) as jar:
        yield jar


@pytest.fixture
def world(jar: Jar) -> Lab:
    """This test's world; nothing of another test's calls is in it."""
    jar.world = world = Lab()
    return world


@pytest.fixture
def run(jar: Jar, world: Lab) -> Callable[..., Any]:
    """`await run(code, args, seed=..., limit=...)`: one run in a fresh box; everything may be called."""

    async def go(code: str, args: dict[str, Any] | None = None, /, *, seed: str | None = None, **limits: Any) -> Run:
        options = RunOptions(policy=ALL, limits=Limits().with_(**{"wall": _WALL_S, **limits}), seed=seed)
        return await jar.run(textwrap.dedent(code), args, options)

    return go


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, and no other index."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    settings = tmp_path / "uv.toml"
    settings.write_text(f"no-index = true\nfind-links = [{str(folder)!r}]\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder
