"""`belljar serve` as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from typing import Any

import httpx2

__all__ = ["DEADLINE_S", "Server"]

# Far more than a start or an end takes on a busy machine.
DEADLINE_S = 30


class Server:
    """A server process, and what it says."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, "\n".join(self.lines)
        self.said: dict[str, Any] = json.loads(said)
        self.url: str = self.said["url"]

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines += (line.decode() for line in self.process.stderr)

    def client(self, key: str) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, headers={"x-api-key": key}, timeout=DEADLINE_S, trust_env=False)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(DEADLINE_S)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        return status
