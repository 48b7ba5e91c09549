"""A TCP proxy that damages connections: cuts at a byte, stalls, slows down, refuses. In threads of its own.

Each connection follows the next plan, or passes unharmed. Bytes are counted each way; what was forwarded arrived.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Plan", "TcpProxy", "tcp_proxy"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to one connection. `up` is towards the server."""

    refuse: bool = False
    """Reset as soon as it is accepted."""
    cut_up: int | None = None
    """Reset after so many bytes of the request."""
    cut_down: int | None = None
    """Reset after so many bytes of the answer."""
    stall_up: int | None = None
    """After so many bytes of the request nothing moves any more, and nobody hangs up."""
    stall_down: int | None = None
    drip_s: float = 0.0
    """The answer comes byte by byte, with this pause after each."""


_PASS = Plan()


class TcpProxy:
    """Told by a test, written to by the proxy's threads."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.next: deque[Plan] = deque()
        self.always = _PASS
        self.connections = 0
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._spawn(self._accept)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def close(self) -> None:
        """Nothing of it is left after this."""
        self._done.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for sock in self._open:
                _hang_up(sock)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self._listening.close()

    def _spawn(self, work: Callable[..., None], *args: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        while not self._done.is_set():
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._spawn(self._serve, client, self.next.popleft() if self.next else self.always)

    def _serve(self, client: socket.socket, plan: Plan) -> None:
        with self._kept(client):
            if plan.refuse:
                _reset(client)
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                _reset(client)
                return
            with self._kept(server):
                up = self._spawn(self._pump, client, server, plan.cut_up, plan.stall_up, 0.0, client)
                self._pump(server, client, plan.cut_down, plan.stall_down, plan.drip_s, client)
                _hang_up(server)
                _hang_up(client)
                up.join()

    @contextmanager
    def _kept(self, sock: socket.socket) -> Iterator[None]:
        with self._lock:
            self._open.add(sock)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(sock)
            sock.close()

    def _pump(
        self,
        source: socket.socket,
        sink: socket.socket,
        cut: int | None,
        stall: int | None,
        drip_s: float,
        client: socket.socket,
    ) -> None:
        room = cut if cut is not None else stall
        try:
            while (room is None or room > 0) and (chunk := source.recv(1 if drip_s else 1 << 16)):
                chunk = chunk[:room]
                room = None if room is None else room - len(chunk)
                sink.sendall(chunk)
                self._done.wait(drip_s)
            if room == 0 and stall is not None:
                self._done.wait()
            elif room == 0:
                # Sudden for the client. The server sees an ordinary end: what was forwarded is all there.
                _reset(client)
            if sink is not client:
                _hang_up(sink)
        except OSError:
            _hang_up(source)
            _hang_up(sink)


def _reset(sock: socket.socket) -> None:
    """No end but a reset."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        _disconnect(sock)
    except OSError:
        pass


def _disconnect(sock: socket.socket) -> None:
    # connect() with AF_UNSPEC ends a connection; with no time to linger it does so by a reset, at once, although
    # another thread is still reading.
    libc = ctypes.CDLL(None, use_errno=True)
    libc.connect(sock.fileno(), struct.pack("H14x", socket.AF_UNSPEC), 16)


def _hang_up(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


@contextmanager
def tcp_proxy(target: int) -> Iterator[TcpProxy]:
    """A proxy before a port of this machine, while the block lasts."""
    proxy = TcpProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
