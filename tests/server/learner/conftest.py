"""Runs to learn from, stored as clients would send them; learners as processes of their own."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from belljar.server.learner.handle import LearnerProcess
from belljar.server.learner.service import Rules
from belljar.server.metrics import Metrics
from belljar.server.settings import Settings
from belljar.server.store import learned
from belljar.server.store.engine import Database
from belljar.server.store.ingest import ingest
from belljar.server.store.keys import Principal
from belljar.server.store.schema import checkpoint
from tests.server.conftest import NOW
from tests.server.traces import call, trace

DEADLINE_S = 60
# For learners that have a test's time, not a day.
SOON = Rules(least=60, further=30, growth=0.1, rest_s=0.5, steps=20, batch=16, linger_s=0.5)

WAYS = {
    "acme.tools.git.notes": (("git:log", "git:show", "mail:send"), "write the release notes"),
    "acme.tools.sky.forecast": (("sky:look", "sky:map"), "will it rain tomorrow"),
    "acme.tools.chat.digest": (("chat:read", "git:show", "chat:post"), "what was said in the chat"),
}
_numbers = count(100_000)


def until(condition: Callable[[], object], what: str, seconds: float = DEADLINE_S) -> None:
    """Wait for it."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, what
        time.sleep(0.05)


def feed(db: Database, owner: Principal, times: int, *, seed: int = 1) -> None:
    """Real runs of a small world: a way each, cut off now and then, and one of its tools that mostly fails."""
    dice = random.Random(seed)
    traces = list[Any]()
    for _ in range(times):
        name, (path, intent) = dice.choice(sorted(WAYS.items()))
        success = dice.random() < (0.2 if "chat:post" in path else 0.95)
        tasks = [call(i, tool=tool, args={}, result=None) for i, tool in enumerate(path)]
        one = {"capabilityId": f"{name}.abab", "intent": intent, "success": success, "taskResults": tasks}
        traces.append(trace(next(_numbers), **one))
    for start in range(0, times, 50):
        results = ingest(db, owner, traces[start : start + 50], now=NOW, learn=partial(learned.learn, now=NOW))
        assert {result.status for result in results} == {"stored"}


def versions(db: Database, owner: Principal) -> list[int]:
    with db.read() as connection:
        mine = select(checkpoint.c.version).where(checkpoint.c.tenant_id == owner.tenant_id)
        return sorted(connection.scalars(mine))


@contextmanager
def learning(url: str, rules: Rules = SOON, **settings: Any) -> Iterator[tuple[LearnerProcess, Metrics]]:
    """A learner on a database, as a server has it."""
    metrics = Metrics()
    with LearnerProcess(Settings(database=url, **settings), metrics, rules=rules) as handle:
        yield handle, metrics


_HOLD = """
import sys, json, threading
from belljar.server import logs
from belljar.server.learner.handle import LearnerProcess
from belljar.server.learner.service import Rules
from belljar.server.metrics import Metrics
from belljar.server.settings import Settings
logs.configure()
url, rules = sys.argv[1] or sys.stdin.readline().strip(), json.loads(sys.argv[2])
metrics = Metrics()
with LearnerProcess(Settings(database=url, learn_share=1.0), metrics, rules=Rules(**rules)) as handle:
    for line in sys.stdin:
        print(json.dumps([handle.pid, metrics.value("belljar_learner_" + line.strip())]), flush=True)
"""


class Holder:
    """A process that has a learner, as a server does, and can be killed like one."""

    def __init__(self, url: str, rules: dict[str, Any], **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _HOLD, "", json.dumps(rules)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **environment},
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._say(url)

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines += self.process.stderr

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def ask(self, figure: str) -> tuple[int | None, float]:
        """The learner's process id, and a figure of it."""
        self._say(figure)
        assert self.process.stdout is not None
        pid, value = json.loads(self.process.stdout.readline())
        return pid, value

    def leads(self) -> bool:
        return self.ask("leading")[1] == 1

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.close()

    def close(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


Hold = Callable[..., Holder]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """`hold(url, **rules)`."""
    with ExitStack() as stack:

        def held(url: str, environment: dict[str, str] | None = None, **rules: Any) -> Holder:
            holder = Holder(url, rules, **(environment or {}))
            stack.callback(holder.close)
            return holder

        yield held
