"""A guest that has patched its own runner: whatever it calls its result, its fault and its branches, on both backends.

It gives back any texts it likes. The host may take a value only if it is strict JSON; it may call a failure only what a
guest can know or the ledger knows of too; and the trace is in order, whatever the branches are said to be.
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from belljar.errors import Code
from belljar.jar import Jar, RunOptions
from belljar.limits import Limits
from belljar.rpc import jsontext
from belljar.tracing.types import decode
from tests.worlds import ALL, Lab

pytestmark = pytest.mark.anyio
BACKENDS: tuple[Any, ...] = ("wasm", "process")
# Put into the places where the runner makes its texts; what is raised or returned does not matter any more.
_PATCHED = """
import sys
runner = sys.modules["guest.runner"]
runner._encode_result = runner._fault = lambda *_: args["text"]
runner._Run.close = lambda self: args["observed"]
1 if args["ok"] else 1 / 0
"""
# What a fault may be called: what a guest can know, and what its worker says of it.
_POSSIBLE = frozenset(
    {
        *(Code.CAPABILITY_ERROR, Code.SYNTAX_ERROR, Code.RESULT_NOT_JSON, Code.MEMORY_LIMIT, Code.RESULT_LIMIT),
        *(Code.PROTOCOL_ERROR, Code.WORKER_CRASH),
    }
)
_TEXTS = (
    *("", " ", "{", "[1,", "NaN", "Infinity", "1e999", '"\\ud800"', '{"a":1,"a":2}', "1" * 5000, "tru", "\u202e"),
    *("[" * 70 + "]" * 70, "[" * 100_000, "null", "1", "[1] [2]", "\ufeff1", "'a'", "\x00", "1\x00", "-", "0x1"),
)
_LINES = (-5, 10**12, 2**70, 1.5, "7", None, [], True)


def faults() -> list[str]:
    """Reports of failure, most of them wrong in one place."""
    good: dict[str, Any] = {"code": "CAPABILITY_ERROR", "message": "m", "traceback": "t", "line": 1, "data": "null"}
    wrong: list[dict[str, Any]] = [{"code": code.value} for code in Code]
    wrong += [{"code": code} for code in ("", "ok", 5, None, [], {}, "\x1b[2J")]
    wrong += [{"line": line} for line in _LINES]
    wrong += [{"message": message} for message in ("\x00\x1b[2J\u202e", "x" * 10**6, 5, None, {"a": []})]
    wrong += [{"data": data} for data in ("{bad", "[" * 200, 7, None)]
    wrong += [{"traceback": 10**400 if n else ["x"] * 50} for n in range(2)]
    return [json.dumps({**good, **each}) for each in wrong] + ["[]", "5", "{}", "null", '{"code": {}}']


def branches() -> list[str]:
    """What was observed: lists of branches, most of them none."""
    many = json.dumps([[f"L{n}", "true", "x"] for n in range(3000)])
    odd = json.dumps([["\x1b[2J", "maybe", "<script>"], [1, 2, 3], ["L1", "true"]])
    return [
        many,
        odd,
        "",
        "{",
        "[[]]",
        '[["L1","true","x"]]',
        "[null]",
        "7",
        json.dumps([["L" * 10**5, "true", "y" * 10**5]]),
    ]


@pytest.mark.parametrize("backend", BACKENDS)
async def test_no_forged_end_is_believed(jar: Jar, world: Lab, backend: Any) -> None:
    """F1, F7: each of a hundred forged ends is a strict value, or a failure that a guest can have."""
    rng = random.Random(5)
    observed = branches()
    ends = [(True, text) for text in _TEXTS] + [(False, text) for text in faults()]
    for ok, text in ends:
        forged = {"ok": ok, "text": text, "observed": rng.choice(observed)}
        run = await jar.run(_PATCHED, forged, RunOptions(policy=ALL, backend=backend, limits=Limits().with_(wall=20)))
        if run.error is None:
            assert run.value == jsontext.parse(text, max_bytes=1 << 20)
        else:
            assert run.error.code in _POSSIBLE, (text, run.error)
            assert run.error.line is None or 0 <= run.error.line < 2**31
        decode(run.trace)
        assert len(run.trace["decisions"]) <= 1000
        assert run.calls == []
        json.dumps(run.to_json()).encode()


@pytest.mark.parametrize("backend", BACKENDS)
async def test_an_honest_end_goes_the_same_way(jar: Jar, world: Lab, backend: Any) -> None:
    """The patch takes: a text that is in order is the value."""
    options = RunOptions(policy=ALL, backend=backend)
    run = await jar.run(_PATCHED, {"ok": True, "text": '{"mine":[1]}', "observed": '[["L1","true","x"]]'}, options)
    assert run.unwrap() == {"mine": [1]}
    assert len(run.trace["decisions"]) == 1
