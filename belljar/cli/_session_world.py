"""`--world session:ID`: a run whose calls are answered from a recorded session."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from belljar.config import Config
    from belljar.faker.sessions.world import SessionWorld

__all__ = ["is_session", "session_world"]

_PREFIXES = ("session:", "replay:")


def is_session(world: str) -> bool:
    """Whether it names a session."""
    return world.startswith(_PREFIXES)


def session_world(world: str, config: Config, configured: Collection[str]) -> SessionWorld:
    """The session it names, as a world; `configured` are the servers of the caller's mcp.json.

    Raises:
        ValidationError: there is no such session, or there are several.
    """
    from belljar.cli._faker_store import opened, recorded
    from belljar.faker.sessions.world import SessionWorld

    with opened(config) as store:
        found = recorded(store, world.partition(":")[2])
    return SessionWorld(found, configured=tuple(configured), limits=config.limits)
