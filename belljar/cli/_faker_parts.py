"""What stands behind the proxy of `belljar faker`: the fake world, the session, the spans."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from belljar.cli import _screen, _setup, _telemetry
from belljar.config import Config
from belljar.faker.calls import Call, CallEvent, Recorder, Tool, Verdict
from belljar.faker.classify import ClassifyOptions
from belljar.faker.faults import fault_of
from belljar.faker.sessions.model import ServedTool
from belljar.faker.sessions.recorder import SessionRecorder
from belljar.faker.sessions.store import FILE
from belljar.faker.world import FakeWorld, WorldOptions, open_world
from belljar.rpc.servers import ServerSpec
from belljar.rpc.world import JsonValue

if TYPE_CHECKING:
    from belljar.cli._faker_proxy import Wanted
    from belljar.faker.spans import FakerSpans

__all__ = ["Parts", "Telling", "opened", "world"]


@dataclass(frozen=True, slots=True)
class Parts:
    """All of it; a `Recorder` that tells the others."""

    spec: ServerSpec
    wanted: Wanted
    world: FakeWorld
    session: SessionRecorder
    spans: FakerSpans | None
    telling: Telling

    def classify(self, tool: Tool) -> Verdict:
        """Whether a tool reads or writes."""
        return self.world.verdict(self.spec.name, tool)

    @property
    def begin(self) -> Callable[[Call, Mapping[str, JsonValue]], None] | None:
        """To be told of a call when it comes in."""
        return None if self.spans is None else self.spans.begin

    def record(self, event: CallEvent) -> None:
        """A call was answered."""
        both: tuple[Recorder | None, ...] = (self.session, self.spans)
        for recorder in both:
            if recorder is not None:
                recorder.record(event)

    def listed(self, tools: Mapping[str, Tool]) -> None:
        """The server's tools, whenever a list was seen whole."""
        self.session.serves(ServedTool(self.spec.name, tool) for tool in tools.values())
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


@contextmanager
def opened(wanted: Wanted, spec: ServerSpec) -> Generator[Parts]:
    """The parts, for as long as something is served.

    Raises:
        ConfigError: an option, or a file of ours that cannot be used.
    """
    config = _setup.configure(config=None if wanted.config is None else Path(wanted.config))
    with (
        world(wanted) as fake,
        _session(wanted, spec, config) as session,
        _spans(wanted, spec, session) as spans,
    ):
        if wanted.debug:
            _screen.note(f"session {session.session_id}")
        yield Parts(spec, wanted, fake, session, spans, Telling(wanted, spec, fake))


@contextmanager
def world(wanted: Wanted) -> Generator[FakeWorld]:
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
    )
    with open_world(options) as opened:
        yield opened


def _classifying(wanted: Wanted) -> ClassifyOptions:
    if wanted.overrides is None:
        return ClassifyOptions()
    from belljar.cli import _faker_classify

    return _faker_classify.overrides_in(Path(wanted.overrides))


def _session(wanted: Wanted, spec: ServerSpec, config: Config) -> SessionRecorder:
    return SessionRecorder(
        config.paths.state / "faker" / FILE,
        instruction=wanted.ai_instruction or "",
        command=(spec.command, *spec.args) if spec.command else (spec.origin,),
        safety_mode=not wanted.passthrough,
    )


@contextmanager
def _spans(wanted: Wanted, spec: ServerSpec, session: SessionRecorder) -> Generator[FakerSpans | None]:
    telemetry = _telemetry.telemetry()
    if telemetry is None:
        yield None
        return
    from belljar.faker.spans import FakerSpans

    spans = FakerSpans(
        telemetry,
        session_id=session.session_id,
        instruction=wanted.ai_instruction or "",
        safety_mode=not wanted.passthrough,
        known=spec.secrets,
    )
    try:
        yield spans
    finally:
        spans.close(_SPANS_S)
        telemetry.shutdown(_SPANS_S)


# What a collector that answers needs; one that does not must not keep the client.
_SPANS_S = 1.0
