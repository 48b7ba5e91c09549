"""Whether the OpenAPI document tells the truth, asked by a stranger: schemathesis reads it and writes the requests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.api.conftest import Api

_ROOT = Path(__file__).parents[3]
_BOUND_S = 240
# Of each operation, in each of two ways; what every field can be is tried beside it.
_EXAMPLES = "3"

# What this check cannot know: a cursor is a text, but only those that a list gave are taken; a name must be its code's.
_UNKNOWABLE = "positive_data_acceptance"


@pytest.mark.slow
@pytest.mark.parametrize("db_url", ["postgresql"], indirect=True)
def test_every_answer_is_as_documented(api: Api, tmp_path: Path) -> None:
    """F36: a thousand requests, right and wrong, to every operation: no 5xx, no undocumented status, header or body,
    nothing without a key, nothing wrong that is taken; and each operation was answered well at least once."""
    command = [
        *(
            Path(sys.executable).with_name("st"),
            "run",
            f"{api.url}/openapi.json",
            "--header",
            f"x-api-key: {api.key('default', 'admin')}",
        ),
        *("--checks", "all", "--exclude-checks", _UNKNOWABLE),
        *("--max-examples", _EXAMPLES, "--workers", "1", "--generation-deterministic", "--no-color"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "SCHEMATHESIS_HOOKS": "tests.server.api.msgpack_bodies"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=_BOUND_S)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    said = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert said is not None
    assert int(said[1]) > 1000, done.stdout
    assert _operations(api) - _answered_well(api) == set()


def _operations(api: Api) -> set[tuple[str, str]]:
    paths = api.client("").get("/openapi.json").json()["paths"]
    return {(method.upper(), path) for path, methods in paths.items() for method in methods}


def _answered_well(api: Api) -> set[tuple[str, str]]:
    lines = api.services.metrics.text().decode().splitlines()
    pattern = re.compile(r'belljar_http_requests_total\{method="(\w+)",route="([^"]+)",status="2\d\d"\}')
    return {(found[1], found[2]) for line in lines if (found := pattern.match(line))}
