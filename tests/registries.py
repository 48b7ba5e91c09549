"""A registry at the other end of a socket: a real uvicorn with a small app that keeps what is published, and can lie.

The server of ours has tests of its own. This one is for what a client meets elsewhere: answers that are not what was
asked for, redirects, silence, floods. It notes every request, so that a test can say that there was none.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

__all__ = ["Asked", "FakeRegistry", "serving"]

_STARTED_S = 20.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class FakeRegistry:
    """An ASGI app. `known` maps what stands behind /api/registry/ to the object that is answered.

    `instead`: (status, headers, chunks) in place of an answer of its own; `hang`: no answer at all, or none to end.
    """

    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    instead: tuple[int, dict[str, str], list[bytes]] | None = None
    hang: bool = False
    drip_s: float = 0.0
    url: str = ""

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        asked = Asked(scope["method"], scope["path"], headers, body)
        self.asked.append(asked)
        if self.hang:
            await asyncio.Event().wait()
        status, answer_headers, chunks = self.instead or self._answer(asked)
        names = [(name.encode(), value.encode()) for name, value in answer_headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": names})
        for chunk in chunks:
            await asyncio.sleep(self.drip_s)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _answer(self, asked: Asked) -> tuple[int, dict[str, str], list[bytes]]:
        if asked.method == "POST":
            said = json.loads(asked.body)
            status = 200 if said["fqdn"] in self.known else 201
            self.put(said["fqdn"], said["code"], said["sha256"])
        else:
            said = self.known.get(asked.path.removeprefix("/api/registry/"), {"detail": "there is no such capability"})
            status = 200 if "code" in said else 404
        return status, {"content-type": "application/json"}, [json.dumps(said).encode()]

    def put(self, fqdn: str, code: str, sha256: str, *, answer: str = "", yanked: bool = False) -> None:
        """Answer this code to the name with the hash, with four digits of it, and without one."""
        family = ".".join(fqdn.split(".")[:4])
        shown = answer or f"{family}.{sha256[:4]}"
        said = {"fqdn": shown, "sha256": sha256, "code": code}
        if yanked:
            said["yankedAt"] = "2026-01-01T00:00:00Z"
        for name in (family, f"{family}.{sha256[:4]}", f"{family}.{sha256}"):
            self.known[name] = said


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The app on a port of this machine; gives its URL."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="error", lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        _until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(_STARTED_S)


def _until(done: Callable[[], bool]) -> None:
    waited = threading.Event()
    for _ in range(int(_STARTED_S / 0.01)):
        if done():
            return
        waited.wait(0.01)
    raise TimeoutError("the registry did not start")
