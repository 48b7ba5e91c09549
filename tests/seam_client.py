"""One client of the seam: a process that runs many capabilities through `belljar.open`, with a server configured.

Reads its order from stdin as JSON and says on stdout what it ran. Every tenth run calls another capability, so that a
parent and a child are on their way; every one holds what must not arrive.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import anyio

import belljar
from belljar import fqdn
from belljar.config import Config, Paths, TracingConfig
from belljar.registry import CapabilityStore

__all__ = ["NESTED_EVERY"]

NESTED_EVERY = 10

_AT_ONCE = 4
_LEAF = "async def main(text: str):\n    return await mcp.s.echo(text=text)"
_FLAT = "await mcp.s.echo(text=args['text'], n=args['n'])"
_NESTED = "await mcp.capability['seam:leaf'](text=args['text'])"


async def _all(order: dict[str, Any]) -> dict[str, Any]:
    folder = Path(order["folder"])
    config = Config(
        Paths(folder / "state" / "belljar", folder / "data", Path(order["cache"])),
        tracing=TracingConfig(cloud_url=order["url"], api_key=order["key"], flush_interval_s=1.0),
    )
    CapabilityStore(config.paths.data / "capabilities").add(fqdn.parse("local.default.seam.leaf"), _LEAF, pin=True)
    ran: dict[str, list[str]] = {"flat": [], "nested": []}
    numbers = iter(range(order["runs"]))

    async def some(jar: Any) -> None:
        for n in numbers:
            kind = "flat" if n % NESTED_EVERY else "nested"
            run = await jar.run(_FLAT if n % NESTED_EVERY else _NESTED, {"text": order["text"], "n": n})
            assert run.success, run.error
            await run.captured()
            ran[kind].append(run.run_id)

    async with (
        belljar.open(config=config, servers=order["servers"], allow=["s:*", "capability:*"]) as jar,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(_AT_ONCE):
            tasks.start_soon(some, jar)
    return ran


if __name__ == "__main__":
    print(json.dumps(anyio.run(_all, json.load(sys.stdin))))
