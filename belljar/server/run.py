"""Serving the application with uvicorn, in this process, until it is told to end.

The end is graceful: from the signal on new requests are told to come again, the listening socket closes, what is under
way is finished and answered - so whatever was stored is also acknowledged, if its client still listens - and only then
does the process go. All of it has a deadline, threads that a database holds up included.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import uvicorn

from belljar import show
from belljar.errors import ConfigError
from belljar.limits import KIB
from belljar.server import logs
from belljar.server._protocol import bounded_protocol
from belljar.server.app import create_app
from belljar.server.learner.handle import LearnerProcess
from belljar.server.metrics import Metrics
from belljar.server.services import Services
from belljar.server.settings import Settings
from belljar.server.store.engine import Database

__all__ = ["Listening", "Serving", "listen", "serve"]

# A client keeps its connection for the next batch, which it may send every 5 s.
_KEEP_ALIVE_S = 30
_HEAD_BYTES = 32 * KIB
# What a client does not take in this time, it will not take: the connection ends.
_UNSENT_MS = 30_000
_LAST_S = 5.0
# To tell those who are not waited for any longer; more than `edge` reads of a body that nobody wants.
_REFUSING_S = 2.0
_SWITCH_S = 0.0005
_STUCK = 4


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a server can be reached."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """To open, and to set as BELLJAR_CLOUD_URL."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - shown, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is any free one.

    Raises:
        ConfigError: there is no such address here, or the port is taken.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # Named, not 0: asyncio turns Nagle's delay off only where it sees TCP; 40 ms a batch otherwise.
        sock = socket.socket(family, kind, socket.IPPROTO_TCP)
    except OSError as exc:
        raise ConfigError(f"--host {show.name(host)}: {exc.strerror or 'no such address'}") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNSENT_MS)
        sock.bind(address)
        sock.listen(2048)
    except OSError as exc:
        sock.close()
        raise ConfigError(f"cannot listen on {show.name(host)} port {port}: {exc.strerror}") from None
    return sock


class Serving(uvicorn.Server):
    """One server on one socket. `stop` ends it from any thread."""

    def __init__(self, settings: Settings, db: Database, ready: Callable[[], None]) -> None:
        app = create_app(settings, db)
        self.services: Services = app.state.services
        self._settings = settings
        self._ready = ready
        self._told = 0
        super().__init__(
            uvicorn.Config(
                app,
                http=bounded_protocol(settings, self.services.metrics),
                loop="asyncio",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=math.ceil(settings.shutdown_s),
                h11_max_incomplete_event_size=_HEAD_BYTES,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's; then says that it is ready."""
        await super().startup(sockets)
        logs.event("serving", pid=os.getpid(), database=self.services.db.dialect, auth=not self._settings.no_auth)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's. What that gives up on, it leaves to the end of the loop; here it is answered, logged once."""
        await super().shutdown(sockets)
        given_up = set(self.server_state.tasks)
        if self.force_exit:
            for task in given_up:
                task.cancel()
        if given_up:
            await asyncio.wait(given_up, timeout=_REFUSING_S)
        if self.force_exit:
            await self.lifespan.shutdown()

    def stop(self) -> None:
        """Finish what is under way and end. Told twice: end now."""
        self.services.life.ending = True
        self.force_exit = self.should_exit
        self.should_exit = True
        self._told += 1
        if self._told == 1:
            logs.event("ending", grace=self._settings.shutdown_s)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """SIGTERM and Ctrl-C mean `stop`; unlike uvicorn's own, nothing is raised again afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
                # What comes now finds the end under way, and must not make a traceback of it.
                signal.signal(number, signal.SIG_IGN)

    def _signalled(self) -> None:
        self.stop()
        if self._told == 1:
            watchdog = threading.Timer(self._settings.shutdown_s + _LAST_S, _give_up)
            watchdog.daemon = True
            watchdog.start()


def _give_up() -> None:
    logs.event("stuck", level=logging.ERROR)
    os._exit(_STUCK)


def _learning(settings: Settings, metrics: Metrics, debug: bool) -> AbstractContextManager[object]:
    return LearnerProcess(settings, metrics, debug=debug) if settings.learn else nullcontext()


def serve(settings: Settings, db: Database, *, ready: Callable[[Listening], None], debug: bool = False) -> None:
    """Serve until told to end; `ready` is called when requests are answered.

    Raises:
        ConfigError: nothing can listen at that address.
    """
    # Threads compute while the event loop waits its turn: 5 ms, Python's default, is longer than most answers take.
    sys.setswitchinterval(_SWITCH_S)
    with listen(settings.host, settings.port) as sock:
        where = Listening(settings.host, sock.getsockname()[1])

        def begun() -> None:
            # What is there now stays: a full collection would look through it all, in the middle of somebody's request.
            gc.collect()
            gc.freeze()
            ready(where)

        serving = Serving(settings, db, begun)
        with _learning(settings, serving.services.metrics, debug):
            asyncio.run(serving.serve(sockets=[sock]))
    logs.event("ended")
