"""Registries to ask, and a store to keep in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from belljar.registry import CapabilityStore
from tests.registries import FakeRegistry, serving


@pytest.fixture
def far() -> Iterator[FakeRegistry]:
    """A registry that is empty."""
    app = FakeRegistry()
    with serving(app) as url:
        app.url = url
        yield app


@pytest.fixture
def store(tmp_path: Path) -> CapabilityStore:
    return CapabilityStore(tmp_path / "belljar" / "capabilities")
