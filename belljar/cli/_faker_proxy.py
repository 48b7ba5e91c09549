"""From the options of `belljar faker` to a proxy that runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Wanted", "run"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    command: tuple[str, ...]
    url: str | None
    http: str | None
    env: tuple[str, ...]
    passthrough: bool
    real: bool
    overrides: str | None
    world_file: str | None
    faults: tuple[str, ...]
    seed: int
    ai_instruction: str | None
    start_timeout: float
    call_timeout: float
    config: str | None
    debug: bool

    @classmethod
    def of(cls, *, command: str | None, args: list[str] | None, rest: list[str] | None, **given: Any) -> Wanted:
        """The options as they were given."""
        words = rest if rest is not None else [] if command is None else [command, *_listed(args or [])]
        faults, env = given.pop("fault") or (), given.pop("env") or ()
        return cls(command=tuple(words), faults=tuple(faults), env=tuple(env), **given)


def _listed(args: list[str]) -> list[str]:
    """`a,b,"c,d"` as three words."""
    import csv

    return [word for row in csv.reader(args) for word in row]


def run(wanted: Wanted) -> int:
    """Stand before the server until the client has gone; the exit status."""
    from belljar.cli import _ending
    from belljar.errors import ConfigError

    def body() -> int:
        raise ConfigError("the proxy is not built yet")

    return _ending.ending(body, debug=wanted.debug)
