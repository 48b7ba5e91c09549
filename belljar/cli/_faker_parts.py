"""What stands behind the proxy of `belljar faker`: the fake world, the session, the spans."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from belljar.cli import _faker_ai, _screen, _setup, _telemetry
from belljar.config import Config
from belljar.faker.calls import Tool, Verdict
from belljar.faker.classify import ClassifyOptions
from belljar.faker.faults import fault_of
from belljar.faker.recording import Recording, open_recording
from belljar.faker.sessions import FILE, ServedTool
from belljar.faker.world import FakeWorld, WorldOptions, open_world
from belljar.rpc.servers import ServerSpec
from belljar.rpc.world import Hop

if TYPE_CHECKING:
    from belljar.cli._faker_proxy import Wanted

__all__ = ["Parts", "Telling", "configured", "opened", "world"]

_FLUSH_S = 1.0


@dataclass(frozen=True, slots=True)
class Parts:
    """All of it."""

    spec: ServerSpec
    wanted: Wanted
    world: FakeWorld
    recording: Recording
    telling: Telling

    def classify(self, tool: Tool) -> Verdict:
        """Whether a tool reads or writes."""
        return self.world.verdict(self.spec.name, tool)

    def listed(self, tools: Mapping[str, Tool]) -> None:
        """The server's tools, whenever a list was seen whole."""
        self.recording.serves(ServedTool(self.spec.name, tool) for tool in tools.values())
        self.telling.listed(tools)


class Telling:
    """Says what will be intercepted, if it is to be said, and again when it is something else."""

    def __init__(self, wanted: Wanted, spec: ServerSpec, world: FakeWorld) -> None:
        self._wanted = wanted
        self._spec = spec
        self._world = world
        self._said = ""

    def listed(self, tools: Mapping[str, Tool]) -> None:
        """The server's tools."""
        if not self._wanted.debug:
            return
        from belljar.cli import _faker_report

        verdicts = {name: self._world.verdict(self._spec.name, tool) for name, tool in tools.items()}
        text = "\n".join(_faker_report.lines(self._spec.name, verdicts, safety=not self._wanted.passthrough))
        if text != self._said:
            self._said = text
            _screen.note(text)


def configured(wanted: Wanted) -> Config:
    """The settings.

    Raises:
        ConfigError: there are none to be used.
    """
    return _setup.configure(config=None if wanted.config is None else Path(wanted.config))


@contextmanager
def opened(wanted: Wanted, spec: ServerSpec) -> Generator[Parts]:
    """The parts, for as long as something is served.

    Raises:
        ConfigError: an option, or a file of ours that cannot be used.
    """
    config = configured(wanted)
    recording = open_recording(
        config.paths.state / "faker" / FILE,
        instruction=wanted.ai_instruction or "",
        command=(spec.command, *spec.args) if spec.command else (spec.origin,),
        safety_mode=not wanted.passthrough,
        telemetry=_telemetry.telemetry(),
        hop=_hop(spec),
        known=spec.secrets,
        # The client has gone, or has asked us to: a collector that does not answer must not keep us.
        flush_s=min(_FLUSH_S, config.tracing.exit_flush_s),
    )
    with world(wanted, spec, config) as fake, recording as kept:
        if wanted.debug:
            _screen.note(f"session {kept.session_id}")
        yield Parts(spec, wanted, fake, kept, Telling(wanted, spec, fake))


def _hop(spec: ServerSpec) -> Hop:
    if spec.command:
        return Hop(transport="pipe")
    where = urlsplit(spec.url)
    port = where.port or (443 if where.scheme == "https" else 80)
    return Hop(transport="tcp", address=where.hostname or "", port=port)


@contextmanager
def world(wanted: Wanted, spec: ServerSpec, config: Config) -> Generator[FakeWorld]:
    """The fake world.

    Raises:
        ConfigError: an option or a file of it that cannot be used.
    """
    options = WorldOptions(
        seed=wanted.seed,
        classify=_classifying(wanted),
        safety=not wanted.passthrough,
        instruction=wanted.ai_instruction or "",
        faults=tuple(map(fault_of, wanted.faults)),
        world_file=None if wanted.world_file is None else Path(wanted.world_file),
        ai=_faker_ai.completer(os.environ, config, spec.secrets),
    )
    with open_world(options) as opened:
        yield opened


def _classifying(wanted: Wanted) -> ClassifyOptions:
    annotations = not wanted.ignore_annotations
    if wanted.overrides is None:
        return ClassifyOptions(annotations=annotations)
    from belljar.cli import _faker_classify

    return _faker_classify.overrides_in(Path(wanted.overrides), annotations=annotations)
