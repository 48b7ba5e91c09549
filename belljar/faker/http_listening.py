"""Listens on this machine: a socket, uvicorn on it, the application of `http_server.py`."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Generator

import anyio
import uvicorn

from belljar import show
from belljar.errors import ConfigError
from belljar.faker.http_server import PATH, Serve, Sessions, application, is_loopback

__all__ = ["listen"]

_GOODBYE_S = 2


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals are our caller's."""
        yield


async def listen(where: str, serve: Serve, *, ready: Callable[[str], None]) -> None:
    """Serve at HOST:PORT until cancelled; `ready` is told the URL. Port 0 is any that is free.

    Raises:
        ConfigError: no address of this machine, or one that is taken.
    """
    host, port = _address(where)
    with _socket(host, port) as sock:
        async with Sessions.open(serve) as sessions:
            config = uvicorn.Config(
                application(sessions, host),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=_GOODBYE_S,
            )
            server = _Server(config)
            shown = f"[{host}]" if ":" in host else host
            ready(f"http://{shown}:{sock.getsockname()[1]}{PATH}")
            try:
                await server.serve(sockets=[sock])
            finally:
                server.should_exit = True
                with anyio.CancelScope(shield=True), anyio.move_on_after(_GOODBYE_S):
                    await server.shutdown(sockets=[sock])


def _address(where: str) -> tuple[str, int]:
    host, colon, port = where.rpartition(":")
    host = host.strip("[]")
    if not colon or not port.isdigit() or int(port) > 65535 or not is_loopback(host):
        shown = show.text(where, max_chars=100)
        raise ConfigError(f"--http {shown}: write an address of this machine and a port, for example 127.0.0.1:8931")
    return host, int(port)


def _socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY; without it an answer may wait 40 ms.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(128)
    except OSError as exc:
        sock.close()
        raise ConfigError(f"--http {host}:{port}: {exc.strerror}") from None
    return sock
