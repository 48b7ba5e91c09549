"""The protocol's own conformance suite before a recorded session: what was recorded scores what its server scored."""

from __future__ import annotations

from pathlib import Path

import pytest

from belljar.faker.sessions import FILE, SessionStore
from tests.faker.test_conformance import endpoint, score, suite
from tests.faker.test_http import served
from tests.faker.wire import Wire, faker

__all__ = ["endpoint", "suite"]

pytestmark = pytest.mark.slow

# A session holds tools and their calls; what a server says of itself during a call, or asks its client, is none of it.
_RECORDED = (
    "server-initialize",
    "ping",
    "tools-list",
    "tools-call-simple-text",
    "tools-call-image",
    "tools-call-audio",
    "tools-call-embedded-resource",
    "tools-call-mixed-content",
    "tools-call-error",
)


def test_a_recorded_session_scores_what_its_server_scored(suite: list[str], endpoint: str, tmp_path: Path) -> None:
    """F67: the suite against a server through the faker, and again against the session of it with the server gone."""
    with served(tmp_path, "--passthrough", "--url", endpoint) as (url, _):
        direct = score(suite, url, tmp_path)
    with SessionStore(tmp_path / "belljar" / "faker" / FILE) as store:
        session = store.sessions()[0].id
    with Wire(faker("sessions", "serve", session, "--http", "127.0.0.1:0"), state=tmp_path) as wire:
        assert wire.process.stderr is not None
        url = wire.process.stderr.readline().decode().rpartition(" on ")[2].strip()
        again = score(suite, url, tmp_path)
    assert {name: again[name] for name in _RECORDED} == {name: direct[name] for name in _RECORDED}
    assert sum(again[name][0] for name in _RECORDED) >= len(_RECORDED) - 1
