"""What benchmarks share: an event loop that stays between timed calls, jars on it, the bare interpreter, the report."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from belljar.config import Config, Paths, PoolConfig
from belljar.jar import Jar, open_jar
from belljar.rpc.world import World
from belljar.tracing import standalone
from benchmarks.report import Figure, Report, samples

_T = TypeVar("_T")
_REPORT = pytest.StashKey[Report]()

BARE = ("-I", "-S", "-c", "1")
_BARE_ROUNDS = 30


class Held:
    """An event loop that lives between timed calls, and what is open on it.

    pytest-benchmark times plain functions. Running each one through a thread's portal would cost more than a box; here
    the loop is entered for each timed call, and what must stay open is held by a task of its own in between. Entering
    the loop is part of every time taken (tens of microseconds).
    """

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        self._open: list[tuple[asyncio.Event, asyncio.Task[None]]] = []

    def __call__(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self._loop.run_until_complete(work)

    def enter(self, context: AbstractAsyncContextManager[_T]) -> _T:
        """Open a context and keep it open until `leave` or `close`."""
        opened: asyncio.Future[_T] = self._loop.create_future()
        over = asyncio.Event()
        self._open.append((over, self._loop.create_task(_hold(context, opened, over))))
        return self._loop.run_until_complete(opened)

    def leave(self) -> None:
        """Close what was opened last."""
        over, task = self._open.pop()
        over.set()
        self._loop.run_until_complete(task)

    def close(self) -> None:
        while self._open:
            self.leave()
        self._runner.close()


async def _hold(context: AbstractAsyncContextManager[_T], opened: asyncio.Future[_T], over: asyncio.Event) -> None:
    try:
        async with context as value:
            opened.set_result(value)
            await over.wait()
    except Exception as exc:
        if opened.done():
            raise
        opened.set_exception(exc)


class OpenJar(Protocol):
    """Opens a jar on the held loop and has run something in it."""

    def __call__(self, *, reuse: int = 1, size: int | None = None, world: World | None = None) -> Jar: ...


@pytest.fixture
def held() -> Iterator[Held]:
    loop = Held()
    yield loop
    loop.close()


@pytest.fixture(scope="session")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """The user's own cache, so that the guest is compiled once per machine and not once per session."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    fresh = tmp_path_factory.mktemp("belljar")
    return Paths(state=fresh / "state", data=fresh / "data", cache=cache / "belljar")


@pytest.fixture
def open_held_jar(held: Held, paths: Paths) -> OpenJar:
    def opened(*, reuse: int = 1, size: int | None = None, world: World | None = None) -> Jar:
        jar = held.enter(open_jar(Config(paths, pool=PoolConfig(size=size, reuse=reuse)), world=world))
        assert held(jar.run("1 + 1")).unwrap() == 2  # the zygote is up, the guest compiled
        return jar

    return opened


@pytest.fixture
def traced() -> Iterator[None]:
    """Tracing on: every trace is made and logged, to a handler that drops it."""
    logger, handler = logging.getLogger(standalone.LOGGER), logging.NullHandler()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield
    logger.removeHandler(handler)
    logger.setLevel(before[0])
    logger.propagate = before[1]


@pytest.fixture(scope="module")
def bare(report: Report, request: pytest.FixtureRequest) -> list[float]:
    """Seconds of `python3 -I -S -c 1`, measured beside the benchmarks of one file."""
    taken = samples(_BARE_ROUNDS, start_python(*BARE))
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_")
    report.add(Figure(name, "baseline: bare interpreter", "python3 " + " ".join(BARE), taken))
    return taken


def start_python(*arguments: str) -> Callable[[], object]:
    """A whole process of our own interpreter, from start to end."""
    command = [sys.executable, *arguments]
    return lambda: subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)


# The report


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_REPORT] = Report()


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Report:
    return request.config.stash[_REPORT]


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    report = config.stash[_REPORT]
    if report.figures or report.notes:
        terminalreporter.section("figures")
        terminalreporter.write_line(report.text())
