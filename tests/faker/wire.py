"""A client that speaks raw lines, to see what really passes."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

_ROOT = Path(__file__).parents[2]
_DEADLINE_S = 30.0


def faker(*words: str) -> list[str]:
    """The command line of a faker."""
    return [sys.executable, "-P", "-m", "belljar", "faker", *words]


class Wire:
    """A program that speaks MCP on its pipes."""

    def __init__(self, command: Sequence[str], *, state: Path, env: Mapping[str, str] | None = None) -> None:
        mine = {key: value for key, value in os.environ.items() if not key.startswith(("BELLJAR_", "OTEL_"))}
        mine |= {key: value for key, value in os.environ.items() if key.startswith("BELLJAR_TEST")}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=state,
            env={**mine, "PYTHONPATH": str(_ROOT), "XDG_STATE_HOME": str(state), "HOME": str(state), **(env or {})},
        )
        self._rest = b""
        self.lines: list[bytes] = []
        self._count = 0
        self._err = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def say(self, message: Mapping[str, Any] | bytes) -> None:
        assert self.process.stdin is not None
        line = message if isinstance(message, bytes) else json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def line(self, deadline_s: float = _DEADLINE_S) -> bytes:
        """The next line of its stdout; empty at the end."""
        assert self.process.stdout is not None
        descriptor, until = self.process.stdout.fileno(), time.monotonic() + deadline_s
        while b"\n" not in self._rest:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"nothing was said within {deadline_s} s"
            chunk = os.read(descriptor, 1 << 20)
            if not chunk:
                return b""
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        self.lines.append(line)
        return line

    def message(self, deadline_s: float = _DEADLINE_S) -> Any:
        return json.loads(self.line(deadline_s))

    def answer(self, request: Any, deadline_s: float = _DEADLINE_S) -> Any:
        """The answer to this request; what comes before it stays in `lines`."""
        while True:
            message = self.message(deadline_s)
            if message.get("id") == request and "method" not in message:
                return message

    def ask(self, method: str, params: Mapping[str, Any] | None = None, deadline_s: float = _DEADLINE_S) -> Any:
        self._count += 1
        self.say({"id": self._count, "method": method, **({} if params is None else {"params": params})})
        return self.answer(self._count, deadline_s)

    def call(self, name: str, **args: Any) -> Any:
        return self.ask("tools/call", {"name": name, "arguments": args})

    def begin(self, **capabilities: Any) -> Any:
        client = {"name": "wire", "version": "1"}
        params = {"protocolVersion": "2025-06-18", "capabilities": capabilities, "clientInfo": client}
        answer = self.ask("initialize", params)
        self.say({"method": "notifications/initialized"})
        return answer

    def end(self, deadline_s: float = _DEADLINE_S) -> tuple[int, str]:
        """Close its stdin and wait; exit status and stderr. Nothing more may stand on stdout than messages."""
        out, err = self.process.communicate(timeout=deadline_s)
        for line in (self._rest + out).splitlines():
            assert "jsonrpc" in json.loads(line)
        return self.process.returncode, err.decode()

    def below(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)
