"""A whole run with nobody on the other side, so that the real one finds everything warm."""

from __future__ import annotations

import sys

from .runner import execute
from .seam import Job

__all__ = ["rehearse"]

# Touches what most capabilities touch: a call each way, gather, a function, a branch, a caught error, a print.
_CODE = """
import asyncio, json, os, time
os.urandom(1), time.time(), time.monotonic()
def pick(values):
    return {"sum": sum(values), "text": f"{values!r}"} if values else None
async def ask(n):
    try:
        return await mcp.none.echo(n=n, text="x", items=[1, 2.5, None, True])
    except ToolError as exc:
        return exc.code
found = await asyncio.gather(*[ask(n) for n in range(3)])
print("rehearsal")
[pick([n for n in range(4)]), json.loads(json.dumps({"a": [1, "b"]})), found, args]
"""

# Watching branches makes the interpreter look at each function again when it next runs: this is when.
_PLAIN = "import asyncio\nawait asyncio.sleep(0)\nargs"


class _Nobody:
    """Answers every call at once: the first well, the others badly."""

    def __init__(self, code: str) -> None:
        self._code = code

    def job(self) -> Job:
        return Job(self._code, '{"a": [1, 2, {"b": null}]}', "0", True)

    def step(self, calls: str, timeout_ms: int) -> str:
        count = calls.count("echo")
        bad = r',[%d,false,"{\"code\":\"RPC_ERROR\",\"message\":\"no\",\"data\":null}"]'
        return '[[1,true,"{\\"ok\\":1}"]' + "".join(bad % n for n in range(2, count + 1)) + "]"

    def log(self, stream: str, text: str) -> None:
        pass

    def wake(self) -> None:
        pass


def rehearse(*, whole: bool = True) -> None:
    """Run the rehearsal, or only its plain part, and take its traces away again."""
    streams = sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__
    for code in (_CODE, _PLAIN) if whole else (_PLAIN,):
        host = _Nobody(code)
        outcome = execute(host, host.job())
        if not outcome.ok:
            raise RuntimeError(f"the rehearsal failed: {outcome.text}")
    sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__ = streams
    sys.modules.pop("__main__", None)
