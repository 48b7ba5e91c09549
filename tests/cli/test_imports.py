"""What takes a tenth of a second to import and more is loaded by who needs it, and by nobody else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.conftest import Belljar

_HEAVY = set("presidio_analyzer spacy fastapi sqlalchemy httpx2 mcp opentelemetry.sdk pydantic typer".split())


def loaded(belljar: Belljar, *words: str, **env: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words],
        cwd=belljar.folder,
        env={**belljar.environment, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


@pytest.mark.parametrize("words", [["-c", "import belljar"], ["-m", "belljar", "run", "-c", "1 + 1"]])
def test_a_run_loads_nothing_slow(belljar: Belljar, words: list[str]) -> None:
    """Neither importing us nor a run without servers loads any of it."""
    found = loaded(belljar, *words)
    assert "belljar" in found
    assert not found & _HEAVY


def test_nor_does_a_run_that_syncs(belljar: Belljar) -> None:
    """F28: with a server named, the network and Presidio are loaded in the syncer's process, not in the run's."""
    found = loaded(belljar, "-m", "belljar", "run", "-c", "1 + 1", BELLJAR_CLOUD_URL="http://127.0.0.1:9")
    assert "belljar.tracing.spool" in found
    assert not found & _HEAVY
    # F49: what decides by evidence is for who asks for it.
    assert not [name for name in found if name.startswith(("belljar.auto", "belljar.learning", "belljar.cloud"))]
