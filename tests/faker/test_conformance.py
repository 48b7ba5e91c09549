"""The protocol's own conformance suite: a server scores through the proxy what it scores by itself."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.faker.test_http import served

pytestmark = pytest.mark.slow

_SERVER = [sys.executable, str(Path(__file__).with_name("targets") / "conforming.py")]
_LINE = re.compile(r"^. ([\w-]+): (\d+) passed, (\d+) failed", re.MULTILINE)
_DEADLINE_S = 180


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with subprocess.Popen([*_SERVER, "http"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
        process.kill()


@pytest.fixture(scope="module")
def suite(needs: Needs) -> list[str]:
    """The suite's command. It needs a newer Node than some machines have; the wheel has one."""
    from tests.conftest import _node_from_wheel

    script = needs("conformance")[-1]
    return [_node_from_wheel() or needs("node")[0], script]


def score(suite: list[str], url: str, folder: Path, *words: str) -> dict[str, tuple[int, int]]:
    """(passed, failed) by scenario. The one about the Host is about who listens, not about what passes."""
    done = subprocess.run(
        [*suite, "server", "--url", url, *words], cwd=folder, capture_output=True, timeout=_DEADLINE_S, check=False
    )
    found = {name: (int(passed), int(failed)) for name, passed, failed in _LINE.findall(done.stdout.decode())}
    found.pop("dns-rebinding-protection", None)
    return found


def test_the_score_is_the_same(suite: list[str], endpoint: str, tmp_path: Path) -> None:
    """F51, F52: before a URL, passing through, and with the fake world in between when every tool is called a read."""
    direct = score(suite, endpoint, tmp_path)
    assert sum(passed for passed, _ in direct.values()) >= 20
    overrides = tmp_path / "overrides.json"
    overrides.write_text('{"*": "read"}')
    for options in ["--passthrough"], ["--overrides", str(overrides)]:
        with served(tmp_path, *options, "--url", endpoint) as (url, _):
            assert (options, score(suite, url, tmp_path)) == (options, direct)


def test_a_program_scores_what_it_scores_by_http(suite: list[str], tmp_path: Path) -> None:
    """F52: what a server asks its client over a pipe arrives by HTTP, in the stream of the request it belongs to."""
    overrides = tmp_path / "overrides.json"
    overrides.write_text('{"*": "read"}')
    with served(tmp_path, "--overrides", str(overrides), "--", *_SERVER) as (url, _):
        for scenario in "tools-call-sampling", "tools-call-elicitation", "tools-call-with-progress":
            done = subprocess.run(
                [*suite, "server", "--url", url, "--scenario", scenario],
                cwd=tmp_path,
                capture_output=True,
                timeout=_DEADLINE_S,
                check=False,
            )
            assert done.returncode == 0, done.stdout
