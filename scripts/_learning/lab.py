"""The small world at work: a server that learns, clients that run capabilities against MCP servers, and who asks.

All of it is real: `belljar serve` on an SQLite file, processes with a jar each, boxes, spools and syncers between them.
What is measured is what a user would be told: suggestions, for words nobody ever ran anything in.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import anyio

from belljar.config import TracingConfig
from belljar.tracing.stored import StoredTraces
from scripts._learning import world
from scripts._learning.processes import Failed, Started, started, within
from scripts._learning.world import Capability, Question

__all__ = ["Failed", "Lab", "Row", "opened"]

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
# Far more than each takes on a busy machine; past it something is broken.
_START_S, _BATCH_S = 60.0, 180.0
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Row:
    """How good suggestions are by now, held against the truth; shares and chances, 0 to 1."""

    traces: int
    worse: bool
    """`north` got worse before the last batch."""
    capabilities: float
    """Hit@1: how often the capability suggested first is the best one."""
    tools: float
    """The same of the next tool."""
    abstained: int
    """Questions that had no answer."""
    followed: float
    """How likely a run is to succeed that does what is suggested first; where nothing is, one at random."""
    possible: float
    """The same for whoever knows the truth."""
    brier: float
    """Mean squared error of what the server foresaw of the last batch; 0 of none."""
    known: float
    """The same for whoever knows the truth: what chance leaves."""

    @property
    def hits(self) -> float:
        """Hit@1 of all questions."""
        asked = sum(bool(question.intent) for question in world.QUESTIONS)
        share = asked / len(world.QUESTIONS)
        return share * self.capabilities + (1 - share) * self.tools

    @property
    def excess(self) -> float:
        """Squared error that knowing better would have saved."""
        return self.brier - self.known


class Lab:
    """Everything that runs."""

    def __init__(self, folder: Path, seed: int, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._seed = seed
        self._mark = folder / "north-is-worse"
        self.database = f"sqlite:///{folder / 'traces.db'}"
        self._clients: list[_Client] = []
        self._traces = 0
        self.url = ""
        self.key = ""
        """May read."""

    @property
    def worse(self) -> bool:
        """Whether `north` got worse."""
        return self._mark.exists()

    def worsen(self) -> None:
        """From now on `north` fails most of the time."""
        self._mark.touch()

    async def start(self, cache: Path, clients: int) -> None:
        """The server, keys, clients."""
        words = ["-m", "belljar", "serve", "--db", self.database, "--port", "0", "--rate", "0", "--json"]
        server = await started(self._stack, words, self.environment, self._folder / "server.log", told=True)
        with within(_START_S, "the server did not start"):
            self.url = (await server.line())["url"]
        keys = dict[int, str]()
        async with anyio.create_task_group() as tasks:
            for number in range(clients + 1):
                tasks.start_soon(self._make_key, keys, number)
        self.key = keys[0]
        for number in range(1, clients + 1):
            await self._client(f"client{number}", keys[number], cache)

    async def batch(self, runs: Sequence[Capability], told: Callable[[int], None] = lambda _: None) -> list[Any]:
        """Run them, shared among the clients; when the server has their traces, these, the newest first.

        `told`: how many it has.
        """
        parts = [runs[number :: len(self._clients)] for number in range(len(self._clients))]
        ran = list[str]()
        with within(_BATCH_S, "the runs did not end, or their traces did not arrive"):
            async with anyio.create_task_group() as tasks:
                for client, part in zip(self._clients, parts, strict=True):
                    tasks.start_soon(client.run, part, ran)
                while True:
                    stored = await self._asker.newest({}, len(runs))
                    arrived = len({each["traceId"] for each in stored} & set(ran))
                    told(arrived)
                    if arrived == len(runs):
                        break
                    await anyio.sleep(_LOOK_S)
        self._traces += len(runs)
        return stored

    async def row(self, stored: Sequence[Any]) -> Row:
        """Ask all questions; `stored` are the traces of the last batch."""
        worse, chosen = self.worse, [(each, await self.suggested(each)) for each in world.QUESTIONS]
        hits = [(question, name is world.best(question, worse=worse)) for question, name in chosen]
        return Row(
            self._traces,
            worse,
            fmean(hit for question, hit in hits if question.intent),
            fmean(hit for question, hit in hits if not question.intent),
            sum(name is None for _, name in chosen),
            fmean(world.worth(question, name, worse=worse) for question, name in chosen),
            fmean(world.chance(world.best(question, worse=worse), worse=worse) for question, _ in chosen),
            fmean(each["tdError"] ** 2 for each in stored) if stored else 0.0,
            fmean(_left(each, worse=worse) for each in stored) if stored else 0.0,
        )

    async def suggested(self, question: Question) -> Capability | None:
        """What is suggested first, as far as it serves the question at all."""
        found = (await self.suggestions(intent=question.intent, context=question.context))["suggestions"]
        return world.answered(question, found[0]["name"]) if found else None

    async def suggestions(self, **query: str) -> dict[str, Any]:
        """What GET /api/suggest answers."""
        return await self._asker.suggestions({name: text for name, text in query.items() if text})

    async def belljar(self, *words: str, seconds: float = _START_S) -> str:
        """What the program says."""
        with within(seconds, f"belljar {words[0]} did not end"):
            done = await anyio.run_process(
                [sys.executable, "-m", "belljar", *words], env=self.environment, check=False, stderr=None
            )
        if done.returncode:
            raise Failed(f"belljar {words[0]} ended with {done.returncode}")
        return done.stdout.decode()

    @property
    def environment(self) -> dict[str, str]:
        """Of processes of ours: nothing of the user's configuration, and where the server is."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BELLJAR_")}
        folders = {f"XDG_{name}_HOME": str(self._folder / name.lower()) for name in ("CONFIG", "STATE", "DATA")}
        asking = {"BELLJAR_CLOUD_URL": self.url, "BELLJAR_API_KEY": self.key} if self.key else {}
        return {**kept, **folders, **asking, "PYTHONPATH": str(_ROOT)}

    @property
    def _asker(self) -> StoredTraces:
        return StoredTraces(TracingConfig(cloud_url=self.url, api_key=self.key))

    async def _make_key(self, keys: dict[int, str], number: int) -> None:
        scope = "ingest" if number else "read"
        words = ["server", "key", "create", "--db", self.database, "--scope", scope, "--json"]
        keys[number] = json.loads(await self.belljar(*words))["key"]

    async def _client(self, name: str, key: str, cache: Path) -> None:
        server = str(_HERE / "server.py")
        known = {
            each: {"command": sys.executable, "args": [server, each, str(self._seed), name, str(self._mark)]}
            for each in world.SERVERS
        }
        folder = self._folder / name
        folder.mkdir()
        order = {"url": self.url, "key": key, "folder": str(folder), "cache": str(cache), "servers": known}
        words, log = [str(_HERE / "client.py")], self._folder / f"{name}.log"
        client = await started(self._stack, words, self.environment, log, told=False)
        await client.say(order)
        self._clients.append(_Client(client))


def _left(trace: Any, *, worse: bool) -> float:
    """Squared error of the truth."""
    likely = world.chance(world.named(trace["capabilityId"]), worse=worse)
    return (trace["success"] - likely) ** 2


@dataclass(frozen=True, slots=True)
class _Client:
    process: Started

    async def run(self, part: Sequence[Capability], ran: list[str]) -> None:
        await self.process.say([(each.name, each.source, each.intent) for each in part])
        ran += [run_id for run_id, _ in await self.process.line()]


@asynccontextmanager
async def opened(folder: Path, *, cache: Path, seed: int, clients: int) -> AsyncIterator[Lab]:
    """A lab in an empty folder; after the block no process of it is left.

    Args:
        cache: where the compiled guest lies.
    """
    async with AsyncExitStack() as stack:
        lab = Lab(folder, seed, stack)
        await lab.start(cache, clients)
        yield lab
