"""`belljar faker sessions serve`: from a session to an MCP server on stdio or on a port of this machine."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from belljar import show
from belljar.cli import _screen
from belljar.errors import ConfigError, ValidationError
from belljar.faker.sessions.replayer import Mask, Replayer

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

    from belljar.faker.sessions.document import Recorded
    from belljar.faker.sessions.redact import Redactor

__all__ = ["serve"]

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(
    recorded: Recorded,
    *,
    server: str | None,
    http: str | None,
    strict: bool,
    timing: bool,
    redactor: Callable[[], Redactor] | None,
) -> int:
    """Serve until the client has gone; the exit status.

    Raises:
        ConfigError: an address that cannot be used.
        ValidationError: the session has no such server, or several and none is named.
    """
    session, events, tools = recorded
    chosen = _server(recorded, server)
    replayer = Replayer(
        [event for event in events if event.server == chosen],
        strict=strict,
        timing=timing,
        mask=None if redactor is None else _mask(redactor),
    )
    listening = None if http is None else _listen(http)
    from belljar.faker.sessions.serving import session_server

    made = session_server(tools, replayer, server=chosen, name=chosen)
    what = f"{replayer.left} calls of {show.name(chosen)}, session {show.name(session.id)}"
    if listening is None:
        _screen.note(f"belljar: serving {what}, on stdio")
        return _by_stdio(made)
    _screen.note(f"belljar: serving {what}, on http://{_address(listening)}/mcp")
    return _by_http(made, listening)


def _server(recorded: Recorded, wanted: str | None) -> str:
    _, events, tools = recorded
    there = list(dict.fromkeys([each.server for each in tools] + [event.server for event in events]))
    if wanted is None and len(there) == 1:
        return there[0]
    if wanted in there:
        return wanted
    names = ", ".join(map(show.name, there)) or "none"
    raise ValidationError(f"name one of the session's servers with --server; there are: {names}")


def _mask(redactor: Callable[[], Redactor]) -> Mask:
    """Made with the first call that is not found as it is: most clients of a redacted session never need it."""
    made: list[Redactor] = []

    def mask(args: Mapping[str, Any]) -> Mapping[str, Any]:
        if not made:
            made.append(redactor())
        return made[0].arguments(args)

    return mask


def _by_stdio(server: Server[Any]) -> int:
    import anyio
    from mcp.server.stdio import stdio_server

    # A thread waits for a line that may never come. Nothing is kept here that an end could hurt.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)

    async def run() -> None:
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())

    anyio.run(run)
    return 0


def _listen(address: str) -> socket.socket:
    host, colon, port = address.rpartition(":")
    host = host.strip("[]")
    if not colon or host not in _LOOPBACK or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--http {show.text(address, max_chars=60)}: give 127.0.0.1:PORT or [::1]:PORT")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # By its protocol's number: a socket made with 0 gets no NODELAY, and each answer would wait 40 ms.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, int(port)))
        listening.listen(64)
    except OSError as exc:
        raise ConfigError(f"--http {show.text(address, max_chars=60)}: {exc.strerror}") from None
    return listening


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _by_http(server: Server[Any], listening: socket.socket) -> int:
    import uvicorn

    config = uvicorn.Config(
        server.streamable_http_app(host=listening.getsockname()[0]),
        log_level="critical",
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run([listening])
    return 0
