"""Every limit, hit on the process backend: the tests of the other one, with runs in native boxes."""

from __future__ import annotations

from tests.sandbox.test_limits_hit import *  # noqa: F403
