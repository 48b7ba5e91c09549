"""`--world`: who answers the calls of a run. The names are known here; what they mean is imported when it is wanted."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal, cast

from belljar import show
from belljar.cli import _faker_ai, _session_world
from belljar.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from belljar.cli._running import Wanted
    from belljar.config import Config
    from belljar.rpc.policy import Trust
    from belljar.rpc.servers import ServerSpec
    from belljar.rpc.upstreams import RealWorld
    from belljar.rpc.world import World

__all__ = ["check", "over"]

_FAKED = ("fake", "dry")


def check(name: str) -> None:
    """Refuse a world that there is none of, before anything is started.

    Raises:
        ConfigError: with the names there are.
    """
    if name not in ("real", *_FAKED) and not _session_world.is_session(name):
        raise ConfigError(f"--world {show.name(name)}: there are real, dry (reads are real), fake and session:ID")


def over(
    wanted: Wanted, config: Config, servers: RealWorld, specs: Mapping[str, ServerSpec], trust: Trust
) -> AbstractContextManager[World]:
    """The world that is wanted, over the real servers; `trust` says whose annotations are believed.

    Raises:
        ConfigError: it cannot be opened.
    """
    return _faked(wanted, config, servers, specs, trust) if wanted.world in _FAKED else nullcontext(servers)


def _faked(
    wanted: Wanted, config: Config, servers: RealWorld, specs: Mapping[str, ServerSpec], trust: Trust
) -> AbstractContextManager[World]:
    from contextlib import contextmanager

    from belljar.faker.under_run import FakedRun
    from belljar.faker.world import WorldOptions, open_world

    # Of all servers: what one answered may be an argument of another one's call.
    secrets = {secret for spec in specs.values() for secret in spec.secrets}
    options = WorldOptions(ai=_faker_ai.completer(os.environ, config, secrets))

    @contextmanager
    def opened() -> Generator[World]:
        with open_world(options) as world:
            name = cast("Literal['fake', 'dry']", wanted.world)
            yield FakedRun(servers, world, config.limits, trust, name=name)

    return opened()
