"""The application behind a real socket, on either engine; clients with keys; traces to send."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from belljar.server.run import Serving, listen
from belljar.server.services import Services
from belljar.server.settings import Settings
from belljar.server.store import keys
from belljar.server.store.engine import Database

SQLITE_ALONE = pytest.mark.parametrize("db_url", ["sqlite"], indirect=True)
"""For what happens before a database is asked, or says nothing of it."""

# Far more than a start or an end takes.
_DEADLINE_S = 30


def task(number: int = 1, **changes: Any) -> dict[str, Any]:
    """One call, as a client sends it."""
    return {
        "taskId": f"t{number}",
        "tool": "git:git_log",
        "args": {"repo_path": ".", "max_count": 5},
        "result": ["a commit"],
        "success": True,
        "state": "applied",
        "durationMs": 1.5,
        "timestamp": "2026-01-02T03:04:05.678Z",
        "source": "real",
        "isWrite": False,
        **changes,
    }


def trace(**changes: Any) -> dict[str, Any]:
    """One trace, as a client sends it, with an id of its own."""
    return {
        "traceId": str(UUID(int=uuid4().int, version=4)),
        "capabilityId": "local.default.git.release_notes.a7f3",
        "capabilityHash": "a" * 64,
        "success": True,
        "durationMs": 12.5,
        "timestamp": "2026-01-02T03:04:05.678Z",
        "taskResults": [task()],
        "decisions": [{"nodeId": "L4", "outcome": "true"}],
        "metadata": {"backend": "wasm", "walls": ["wasm"], "sdkVersion": "0.1.0"},
        **changes,
    }


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@dataclass(frozen=True)
class Api:
    """A server that is being served."""

    serving: Serving
    url: str
    clients: ExitStack = field(repr=False)

    @property
    def services(self) -> Services:
        return self.serving.services

    @property
    def db(self) -> Database:
        return self.services.db

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def key(self, tenant: str = "default", *scopes: str) -> str:
        """A new key."""
        chosen: dict[str, Any] = {"scopes": scopes} if scopes else {}
        return keys.create_key(self.db, tenant, now=datetime.now(UTC), **chosen).key

    def client(self, key: str | None = None, **headers: str) -> httpx2.Client:
        """A client; with a key of the default tenant that may do everything, unless told otherwise ('' for none)."""
        given = self.key("default", "admin") if key is None else key
        sent = {**({"x-api-key": given} if given else {}), **headers}
        client = httpx2.Client(base_url=self.url, headers=sent, timeout=_DEADLINE_S, trust_env=False)
        return self.clients.enter_context(client)

    def metric(self, name: str, **labels: str) -> float:
        """One figure of /metrics."""
        return self.services.metrics.value(name, **labels)


@contextmanager
def serving(settings: Settings, db: Database) -> Iterator[Api]:
    """The application on a port of its own, in a thread."""
    ready = threading.Event()
    with listen("127.0.0.1", 0) as sock, ExitStack() as clients:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        server = Serving(settings, db, ready.set)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])))
        thread.start()
        try:
            assert ready.wait(_DEADLINE_S)
            yield Api(server, url, clients)
        finally:
            clients.close()
            if not server.should_exit:
                server.stop()
            thread.join(_DEADLINE_S)
            assert not thread.is_alive()


Serve = Callable[..., Api]


@pytest.fixture
def serve(db: Database) -> Iterator[Serve]:
    """`serve(**settings)`: the application on the test's database; limits by name."""
    with ExitStack() as stack:

        def started(**settings: Any) -> Api:
            given = {"rate_per_s": 0.0, **settings}
            return stack.enter_context(serving(Settings(database="(opened)", **given), db))

        yield started


@pytest.fixture
def api(serve: Serve) -> Api:
    return serve()


@pytest.fixture
def client(api: Api) -> httpx2.Client:
    return api.client()
