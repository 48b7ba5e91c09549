"""What several test modules share: a world of Python functions, and a jar's configuration with one compiled guest.

`Lab` stands at the bridge's own seam, so that everything on this side of it is the real thing: box, worker, frames,
policy, ledger. It counts what it was asked, how many calls it answered at once, and which of them were cancelled.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from belljar.config import Config, Paths, PoolConfig
from belljar.errors import Code, UpstreamError
from belljar.rpc.policy import Policy
from belljar.rpc.world import Answer, ToolInfo

__all__ = ["ALL", "Lab", "config_in", "guest_cache_in"]

ALL = Policy(allow=("*",))

_READ = {"readOnlyHint": True, "openWorldHint": False}
_READ_TOOLS = ("echo", "look", "sleep", "hold", "answer", "notjson", "crash", "fail", "table")
_TOOLS = {
    **{name: ToolInfo("lab", name, annotations=_READ, digest=f"digest of {name}") for name in _READ_TOOLS},
    **{name: ToolInfo("lab", name, digest=f"digest of {name}") for name in ("write", "write_slowly", "do-it", "class")},
}


class Lab:
    """Servers `lab` and `my-server` with the same tools; `down` never starts.

    echo(**args) -> args             look(n) -> {"n": n}, the n-th after a pause of 3 n turns of the loop
    sleep(s), write_slowly(s)        hold(): waits until `release` was called
    answer(bytes) -> a text          notjson() -> NaN          crash(): a bug of the world
    fail(message, data): a tool error
    """

    name = "real"

    def __init__(self) -> None:
        self.made: list[tuple[str, Mapping[str, Any]]] = []
        self.cancelled: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.started = anyio.Event()
        self._released = anyio.Event()

    def servers(self) -> tuple[str, ...]:
        return ("lab", "my-server", "down")

    async def tools(self, server: str) -> Mapping[str, ToolInfo]:
        if server == "down":
            raise UpstreamError("it did not start", server=server, code=Code.UPSTREAM_UNAVAILABLE)
        if server not in self.servers():
            raise UpstreamError(f"no server is called {server!r}", server=server, code=Code.UNKNOWN_TOOL)
        return _TOOLS

    async def call(self, tool: ToolInfo, args: Mapping[str, Any]) -> Answer:
        self.made.append((tool.name, args))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.started.set()
        try:
            return Answer(await self._answer(tool.name, args))
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(tool.name)
            raise
        finally:
            self.at_once -= 1

    def release(self) -> None:
        """Let every `hold` be answered."""
        self._released.set()

    async def _answer(self, tool: str, args: Mapping[str, Any]) -> Any:
        if tool in ("sleep", "write_slowly"):
            await anyio.sleep(args["s"])
        elif tool == "hold":
            await self._released.wait()
        elif tool == "look":
            await self._turns(args["n"])
        elif tool == "fail":
            raise UpstreamError(args["message"], server="lab", data=args.get("data"))
        elif tool == "crash":
            raise RuntimeError(f"a bug that quotes its arguments: {args}")
        elif tool == "answer":
            return "x" * args["bytes"]
        elif tool == "notjson":
            return float("nan")
        elif tool == "write":
            return len([1 for name, _ in self.made if name == "write"])
        elif tool == "table":
            return [
                {"row": row, "name": f"n{row}", "deep": {"list": [row, None, True, 1.5]}} for row in range(args["n"])
            ]
        return dict(args)

    async def _turns(self, count: int) -> None:
        for _ in range(3 * count):
            await anyio.lowlevel.checkpoint()


def guest_cache_in(factory: pytest.TempPathFactory) -> Path:
    """Where the compiled guest lies: the same folder for all of a session, because compiling takes ten seconds."""
    configured = os.environ.get("BELLJAR_TEST_CACHE")
    return Path(configured) if configured else factory.getbasetemp() / "guest-cache"


def config_in(folder: Path, cache: Path, **pool: Any) -> Config:
    """A configuration with nothing of this machine's in it."""
    return Config(Paths(folder / "state", folder / "data", cache), pool=PoolConfig(**pool))
