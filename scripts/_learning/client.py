"""One client of the small world: a process with a jar of its own, kept open for many runs.

Its first line of stdin says where it is and what it may use; each further one is a batch: `[[name, source, intent],
...]`. For each it runs every capability in a fresh box, a few at once, and answers in one line, when all of them are
captured: `[[run id, whether it succeeded], ...]`. It ends when stdin does, also in the middle of a batch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

import belljar
from belljar.config import Config, Paths, TracingConfig

_AT_ONCE = 3
# For each of the parts on its way: the syncer lets what was captured go by itself, and we only look whether it came.
_FLUSH_S = 0.2


async def _serve(order: dict[str, Any]) -> None:
    folder = Path(order["folder"])
    config = Config(
        Paths(folder / "state", folder / "data", Path(order["cache"])),
        tracing=TracingConfig(cloud_url=order["url"], api_key=order["key"], batch_size=25, flush_interval_s=_FLUSH_S),
    )
    opened = belljar.open(config=config, servers=order["servers"], allow=[f"{name}:*" for name in order["servers"]])
    async with opened as jar, anyio.create_task_group() as tasks:
        while line := await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            tasks.start_soon(_batch, jar, json.loads(line))
        tasks.cancel_scope.cancel()


async def _batch(jar: belljar.Jar, batch: list[tuple[str, str, str]]) -> None:
    ran = list[tuple[str, bool]]()
    waiting = iter(enumerate(batch))

    async def some() -> None:
        for item, (_, source, intent) in waiting:
            run = await jar.run(source, {"item": item}, belljar.RunOptions(intent=intent))
            await run.captured()
            ran.append((run.run_id, run.success))

    async with anyio.create_task_group() as tasks:
        for _ in range(_AT_ONCE):
            tasks.start_soon(some)
    sys.stdout.write(json.dumps(ran) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(_serve, json.loads(sys.stdin.readline()))
