"""Ctrl-C, SIGTERM and SIGKILL: everything ends, in time, and what can be told is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.conftest import Belljar

_UP_S = 30.0
_PROMISED_S = 2.0


def _wait(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _UP_S
    while not ready():
        assert time.monotonic() < deadline, "not ready in time"
        time.sleep(0.02)


def _calling(belljar: Belljar, server: Callable[..., Any], said: Path, *words: str, **options: Any) -> Any:
    """A run in the middle of a call that is never answered."""
    servers = belljar.servers(slow=server("slow", str(said)))
    command = ["run", "-c", "await mcp.slow.wait()", "--servers", servers, "--allow", "*", *words]
    process = belljar.start(*command, **options)
    _wait(lambda: said.exists() and "called" in said.read_text())
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_tells_its_calls(
    belljar: Belljar, server: Callable[..., Any], tmp_path: Path, number: signal.Signals
) -> None:
    """Exit 130 within 2 s, one object, and the call that was being made is `unknown`: nobody need guess."""
    process = _calling(belljar, server, tmp_path / "said", "--json")
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - began < _PROMISED_S
    assert process.returncode == 130
    told = json.loads(out)
    assert told["error"]["code"] == "INTERRUPTED"
    assert [call["state"] for call in told["calls"]] == ["unknown"]
    assert b"Traceback" not in err


def test_endless_code_is_interrupted(belljar: Belljar) -> None:
    """The box is killed, whatever it does."""
    process = belljar.start("run", "-c", "while True: pass", "--json")
    tree = psutil.Process(process.pid)
    _wait(lambda: any(child.cpu_times().user > 0.6 for child in tree.children(recursive=True)))
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert time.monotonic() - began < _PROMISED_S
    assert (process.returncode, json.loads(out)["error"]["code"]) == (130, "INTERRUPTED")


def test_a_stubborn_server_does_not_hold_us(belljar: Belljar, server: Callable[..., Any], tmp_path: Path) -> None:
    """A server that ignores every polite end is gone as well, and so is what it started."""
    pids = tmp_path / "pids"
    servers = belljar.servers(s=server("stubborn", str(pids)))
    code = "await mcp.s.ok()\nwhile True: pass"
    process = belljar.start("run", "-c", code, "--servers", servers, "--allow", "*", "--json")
    tree = psutil.Process(process.pid)
    _wait(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    _wait(lambda: any(child.cpu_times().user > 0.6 for child in tree.children(recursive=True)))
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert time.monotonic() - began < _PROMISED_S
    assert json.loads(out)["error"]["code"] == "INTERRUPTED"
    _wait(lambda: not any(psutil.pid_exists(int(pid)) for pid in pids.read_text().split()))


def test_killing_the_host_leaves_nothing(belljar: Belljar, server: Callable[..., Any], tmp_path: Path) -> None:
    """kill -9: no zygote, no worker, no warden, no upstream is left."""
    process = _calling(belljar, server, tmp_path / "said", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    tree = psutil.Process(process.pid).children(recursive=True)
    assert len(tree) >= 4  # a zygote, a worker, a warden, a server
    os.kill(process.pid, signal.SIGKILL)
    process.wait(20)
    _, alive = psutil.wait_procs(tree, timeout=10)
    assert not alive
