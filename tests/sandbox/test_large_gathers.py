"""Many large calls at once: neither side of the border waits for the other, whatever lies in between."""

from __future__ import annotations

from typing import Any

import pytest

from belljar.jar import Jar, RunOptions
from belljar.limits import Limits
from tests.worlds import ALL, Lab

pytestmark = pytest.mark.anyio
_CODE = """
import asyncio
size, count = args["size"], args["count"]
found = await asyncio.gather(*[mcp.lab.echo(n=n, text="x" * size) for n in range(count)])
[[each["n"] for each in found] == list(range(count)), {len(each["text"]) for each in found} == {size}]
"""
BACKENDS: tuple[Any, ...] = ("wasm", "process")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("count", "size"),
    [
        (200, 10_000),
        pytest.param(1000, 10_000, marks=pytest.mark.slow),
        pytest.param(64, 10**6, marks=pytest.mark.slow),
    ],
)
async def test_each_is_answered(jar: Jar, world: Lab, backend: Any, count: int, size: int) -> None:
    """F8: a gather of megabytes each way, past what sockets and places in flight hold, comes back whole."""
    limits = Limits().with_(wall=60, memory="768MiB")
    run = await jar.run(_CODE, {"count": count, "size": size}, RunOptions(policy=ALL, backend=backend, limits=limits))
    assert run.unwrap() == [True, True]
    assert len(world.made) == count
    assert world.most_at_once <= 64
