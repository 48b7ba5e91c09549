"""The same jar and world as everywhere, and runs on the process backend."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from belljar._run import Run
from belljar.jar import Jar, RunOptions
from belljar.limits import Limits
from tests.worlds import ALL, Lab

_WALL_S = 20
BACKEND: Any = "process"


@pytest.fixture
def run(jar: Jar, world: Lab) -> Callable[..., Any]:
    """`await run(code, args, seed=..., waive=..., limit=...)`: one run in a fresh native box."""

    async def go(
        code: str,
        args: dict[str, Any] | None = None,
        /,
        *,
        seed: str | None = None,
        waive: frozenset[str] = frozenset(),
        **limits: Any,
    ) -> Run:
        within = Limits().with_(**{"wall": _WALL_S, **limits})
        options = RunOptions(policy=ALL, limits=within, seed=seed, backend=BACKEND, waive=waive)
        return await jar.run(textwrap.dedent(code), args, options)

    return go
