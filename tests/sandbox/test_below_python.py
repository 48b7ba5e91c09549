"""What a guest asks WASI for below Python: wasmtime would start threads for it, which wall 2 forbids."""

from __future__ import annotations

from typing import Any

import pytest

from belljar.errors import Code

pytestmark = pytest.mark.anyio

# A fresh module, as whoever looks for a way round has one.
_SELECT = "import sys\nsys.modules.pop('select', None)\nimport select\n"


async def test_what_is_written_below_is_heard_by_nobody(run: Any) -> None:
    """F1: descriptors 1 and 2 of C take what they are given; the run goes on."""
    found = await run("import posix\n[posix.write(1, b'x' * 9000) > 0, posix.write(2, b'abc')]")
    assert found.unwrap() == [True, 3]
    assert found.stdout + found.stderr == ""


@pytest.mark.parametrize(
    ("code", "expected", "says"),
    [
        (_SELECT + "select.select([], [], [], 0.01)", Code.CAPABILITY_ERROR, "waits below Python"),
        (_SELECT + "select.select([0], [1], [], 0.01)", Code.WORKER_CRASH, "the box broke down"),
        (_SELECT + "p = select.poll()\np.register(0, 1)\np.poll(10)", Code.WORKER_CRASH, "the box broke down"),
        ("import wit_world\nwit_world.log('stdout', '\\ud800')", Code.WORKER_CRASH, "unreachable"),
        ("import os\nos.abort()", Code.WORKER_CRASH, "unreachable"),
    ],
)
async def test_waits_and_panics_end_the_box_and_not_its_process(run: Any, code: str, expected: Code, says: str) -> None:
    """F1: the worker lives to say how its box ended; no signal ends it."""
    found = await run(code)
    assert (found.error.code, says in found.error.message) == (expected, True), found.error
    assert "SIG" not in found.error.message
