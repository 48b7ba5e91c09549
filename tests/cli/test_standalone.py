"""Without a server nothing of a network happens: proven by a kernel that kills whoever asks for a socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.conftest import Belljar

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="seccomp")

# Becomes the program it is given, in which - and in all it starts - asking for a socket is the end. A socket *pair* is
# no way out: it is how an event loop wakes itself, and how we speak with a worker.
_NO_SOCKETS = """
import os, sys
import pyseccomp
rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
for call in ("socket", "connect", "bind", "listen"):
    rules.add_rule(pyseccomp.KILL_PROCESS, call)
rules.load()
os.execv(sys.argv[1], sys.argv[1:])
"""
_CODE = "a = await mcp.s.wrapped()\nprint(a)\n'from the box'"


def without_sockets(belljar: Belljar, *words: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", _NO_SOCKETS, sys.executable, *words],
        cwd=belljar.folder,
        env={**belljar.environment, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_rule_kills(belljar: Belljar) -> None:
    """The control: under this rule a program that asks for a socket of any family does not live on."""
    for family in ("AF_INET", "AF_INET6", "AF_UNIX"):
        status, _, _ = without_sockets(belljar, "-c", f"import socket; socket.socket(socket.{family})")
        assert status == -signal.SIGSYS
    assert without_sockets(belljar, "-c", "import socket; socket.socketpair()")[0] == 0


@pytest.mark.parametrize("cloud", [None, ""], ids=["not set", "empty"])
def test_a_standalone_run_opens_no_socket(belljar: Belljar, server: Callable[..., Any], cloud: str | None) -> None:
    """F34: a whole run - box, calls of a server, trace in the debug log - with no cloud_url asks for no socket."""
    servers = belljar.servers(s=server("answers"))
    env = {} if cloud is None else {"BELLJAR_CLOUD_URL": cloud}
    status, out, err = without_sockets(
        belljar, "-m", "belljar", "run", "-c", _CODE, "--servers", servers, "--allow", "*", "--debug", env=env
    )
    assert status == 0, err
    assert out.endswith("from the box\n")
    (line,) = (line for line in err.splitlines() if line.startswith("DEBUG belljar.trace "))
    trace = json.loads(line.removeprefix("DEBUG belljar.trace "))
    assert [task["tool"] for task in trace["taskResults"]] == ["s:wrapped"]
    state = belljar.folder / "home" / ".local" / "state"
    assert not [path for path in state.rglob("*") if path.is_file()], "nothing is spooled for nobody"


def test_with_a_server_the_rule_would_have_seen_it(belljar: Belljar) -> None:
    """The same run with a cloud_url: its answer is there all the same, and the syncer is what was killed."""
    env = {"BELLJAR_CLOUD_URL": "http://127.0.0.1:9", "BELLJAR_API_KEY": "bj_" + "0" * 32}
    status, out, err = without_sockets(belljar, "-m", "belljar", "run", "-c", "1 + 1", env=env)
    assert (status, out) == (0, "2\n"), err
    spool = belljar.folder / "home" / ".local" / "state" / "belljar" / "spool"
    assert [path for path in spool.rglob("*") if path.is_file() and os.path.getsize(path)], "the trace waits"
